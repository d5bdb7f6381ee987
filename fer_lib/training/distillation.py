"""Several trained networks as one teacher, from whose predictions a single network learns.

The labels of FER2013 name one emotion a face, and often another one than most people would. The
ensemble of several networks is a better guess at the label most people would give, and it gives
soft targets, a probability for each class: more sad than angry, hardly happy. A network that learns
these as well learns more from each face (distillation: Hinton et al. 2015; networks of the same
size as the learner: Furlanello et al. 2018). The teachers know no image that the learner does not
see.
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
        networks: each maps (B, 1, H, W) standardized faces to (B, 7) logits of the same classes.
        valence: give the three valence classes: the probabilities of a class's emotions added up,
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
        """(B, 1, H, W) standardized faces -> probabilities (B, 7), or (B, 3), float32."""
        each = [network(faces).float().softmax(dim=1) for network in self.networks]
        probabilities = torch.stack(each).mean(dim=0)
        if not self.valence:
            return probabilities
        with torch.autocast(faces.device.type, enabled=False):
            probabilities = probabilities @ self.to_valence
        return probabilities / probabilities.sum(dim=1, keepdim=True)


def load_teachers(folder: Path, names: Iterable[str], task: str) -> Teachers:
    """The teachers of a study, for the task "fer13-7" or "fer13-3".

    Args:
        folder: of their weights files, `<name>.safetensors`.
        names: which of them.
        task: whose classes they predict.

    Raises:
        UserError: if a file is missing or damaged.
    """
    networks = [load_model(folder / f"{name}.safetensors")[0] for name in names]
    return Teachers(networks, valence=task == "fer13-3").eval()
