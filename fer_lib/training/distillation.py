"""Several trained networks as one teacher, from whose answers a single network learns.

The labels of FER2013 name one emotion a face, and often another one than most people would. What
several networks say together of a face is a better guess at what people would say, and says so in
shares: more sad than angry, hardly happy. A network that is asked for these shares as well learns
more from each face (distillation: Hinton et al. 2015; networks of the same size as the learner:
Furlanello et al. 2018). The teachers know no image that the learner does not see.
"""

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

from fer_lib.labels import LEFT_OUT, TO_VALENCE, VALENCE_CLASSES
from fer_lib.models.weights import load_model


class Teachers(nn.Module):
    """The mean of several networks' class probabilities.

    Args:
        networks: each maps (B, 1, H, W) standardised faces to (B, 7) logits of the same classes.
        valence: answer for the three valence classes: the shares of a class's emotions added up,
            surprise left out.
    """

    to_valence: Tensor

    def __init__(self, networks: Iterable[nn.Module], valence: bool = False) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks).requires_grad_(False)
        self.valence = valence
        to_valence = torch.zeros(len(TO_VALENCE), len(VALENCE_CLASSES))
        for emotion, group in enumerate(TO_VALENCE):
            if group != LEFT_OUT:
                to_valence[emotion, group] = 1
        self.register_buffer("to_valence", to_valence)

    def forward(self, faces: Tensor) -> Tensor:
        """(B, 1, H, W) standardised faces -> probabilities (B, 7), or (B, 3), float32."""
        shares = torch.stack([n(faces).float().softmax(dim=1) for n in self.networks]).mean(dim=0)
        if not self.valence:
            return shares
        with torch.autocast(faces.device.type, enabled=False):
            shares = shares @ self.to_valence
        return shares / shares.sum(dim=1, keepdim=True)


def load_teachers(folder: Path, names: Iterable[str], task: str) -> Teachers:
    """The teachers of a study, for the task "fer13-7" or "fer13-3".

    Args:
        folder: of their weights files, `<name>.safetensors`.
        names: which of them.
        task: whose classes they shall answer for.

    Raises:
        UserError: if a file is missing or damaged.
    """
    networks = [load_model(folder / f"{name}.safetensors")[0] for name in names]
    return Teachers(networks, valence=task == "fer13-3").eval()
