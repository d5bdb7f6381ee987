"""Probabilities and intensities by PyTorch: any device, from a weights file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from fer_lib.errors import UserError
from fer_lib.inference.backend import Reading
from fer_lib.models.card import Card
from fer_lib.models.forward import predict_logits
from fer_lib.models.msfernet import MSFERNet, count_parameters
from fer_lib.models.two_head import TwoHeads, split_heads
from fer_lib.models.weights import load_model


@dataclass(frozen=True)
class TorchBackend:
    """A network on its device, in evaluation mode."""

    model: MSFERNet | TwoHeads
    card: Card
    device: torch.device

    @classmethod
    def load(cls, path: Path, device: str) -> "TorchBackend":
        """Read a `.safetensors` file; errors as in `inference.Recogniser.load`."""
        target = find_device(device)
        model, card = load_model(path)
        return cls(model.to(target), card, target)

    @property
    def parameters(self) -> int:
        """Number of trained values."""
        return count_parameters(self.model)

    def read(self, faces: np.ndarray, flip: bool) -> Reading:
        """What the network says of faces (N, 48, 48) uint8, N > 0; see `Recogniser.read`."""
        images = torch.from_numpy(np.ascontiguousarray(faces))
        outputs = predict_logits(self.model, images, flip=flip)
        if not self.card.has_intensities:
            return Reading((outputs / self.card.temperature).softmax(dim=1).numpy())
        logits, intensities = split_heads(outputs)
        shares = (logits / self.card.temperature).softmax(dim=1)
        return Reading(shares.numpy(), intensities.numpy())


def find_device(name: str) -> torch.device:
    """The device of a name; for "auto" CUDA, else Apple's GPU, else the CPU.

    Raises:
        UserError: if this machine has no such device.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError):
        raise UserError(
            f"the device {name!r} is not available here: use --device cpu, or auto."
        ) from None
    return device
