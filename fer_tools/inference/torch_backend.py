"""Probabilities and intensities by PyTorch: any device, from a weights file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fer_lib.errors import UserError
from fer_lib.models.card import Card
from fer_lib.models.forward import predict_logits
from fer_lib.models.msfernet import MSFERNet, count_parameters
from fer_lib.models.two_head import TwoHeads
from fer_lib.models.weights import load_model
from fer_lib.precision import best_device
from fer_tools.inference.backend import Prediction


@dataclass(frozen=True)
class TorchBackend:
    """A network on its device, in evaluation mode."""

    model: MSFERNet | TwoHeads
    card: Card
    device: torch.device

    @classmethod
    def load(cls, path: Path, device: str) -> "TorchBackend":
        """Read a `.safetensors` file; errors as in `inference.Recognizer.load`."""
        target = find_device(device)
        model, card = load_model(path)
        return cls(model.to(target), card, target)

    @property
    def parameters(self) -> int:
        """Number of trained values."""
        return count_parameters(self.model)

    def predict(self, faces: np.ndarray) -> Prediction:
        """Classify faces (N, 48, 48) uint8, N > 0; see `Recognizer.predict`."""
        images = torch.from_numpy(np.ascontiguousarray(faces))
        outputs = activate(predict_logits(self.model, images), self.card)
        return Prediction(self.card.classes, *(output.numpy() for output in outputs))


def activate(outputs: Tensor, card: Card) -> tuple[Tensor, ...]:
    """A network's outputs as probabilities and, from one with two heads, intensities.

    Args:
        outputs: (N, C) logits, or (N, 2 C): logits, then intensity logits.
        card: of the network; its temperature divides the logits.

    Returns:
        (N, C) probabilities; of two heads also (N, C) intensities in (0, 1).
    """
    # Slices, not `split_heads`: ONNX knows their width beforehand.
    classes = len(card.classes)
    probabilities = (outputs[:, :classes] / card.temperature).softmax(dim=1)
    if not card.has_intensities:
        return (probabilities,)
    return probabilities, outputs[:, classes:].sigmoid()


def find_device(name: str) -> torch.device:
    """The device of a name; for "auto" CUDA, else Apple's GPU, else the CPU.

    Raises:
        UserError: if this machine has no such device.
    """
    if name == "auto":
        return torch.device(best_device())
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError):
        raise UserError(
            f"the device {name!r} is not available here: use --device cpu, or auto."
        ) from None
    return device
