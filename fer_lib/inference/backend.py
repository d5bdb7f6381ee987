"""What the two ways to run a network, PyTorch and ONNX Runtime, have in common."""

from typing import NamedTuple, Protocol

import numpy as np

from fer_lib.models.card import Card


class Reading(NamedTuple):
    """What a network says of N faces.

    Attributes:
        probabilities: (N, C) float32 in [0, 1], rows sum to 1.
        intensities: (N, C) float32 in [0, 1], each class for itself; None from a model without an
            intensity head.
    """

    probabilities: np.ndarray
    intensities: np.ndarray | None = None


class Backend(Protocol):
    """What runs a network: `TorchBackend` or `OnnxBackend`."""

    @property
    def card(self) -> Card:
        """What the file says of itself."""

    @property
    def parameters(self) -> int:
        """Number of trained values."""

    def read(self, faces: np.ndarray, flip: bool) -> Reading:
        """What the network says of faces (N, 48, 48) uint8, N > 0."""
