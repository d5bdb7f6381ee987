"""What a network predicts, whichever of PyTorch and ONNX Runtime runs it."""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from fer_lib.evaluation import valence
from fer_lib.models.card import Card

ValenceSource = Literal["classes", "intensities"]


@dataclass(frozen=True)
class Prediction:
    """What a network predicts for N faces.

    Attributes:
        classes: names of the C columns.
        probabilities: (N, C) float32 in [0, 1], rows sum to 1.
        intensities: (N, C) float32 in [0, 1], each class for itself; None from a model without an
            intensity head.
    """

    classes: tuple[str, ...]
    probabilities: np.ndarray
    intensities: np.ndarray | None = None

    @property
    def valence_probabilities(self) -> np.ndarray:
        """(N, 3) P(negative), P(neutral), P(positive); see `valence.valence_probabilities`."""
        return valence.valence_probabilities(self.probabilities, self.classes)

    def valence(self, source: ValenceSource = "classes") -> np.ndarray:
        """(N,) in [-1, 1]: paper A's `valence.valence`, or `valence.valence_of_intensities`.

        Raises:
            ValueError: if intensities are asked of a model that has none.
        """
        if source == "classes":
            return valence.valence(self.probabilities, self.classes)
        if self.intensities is None:
            raise ValueError("the model gives no intensities")
        return valence.valence_of_intensities(self.intensities)


class Backend(Protocol):
    """What runs a network: `TorchBackend` or `OnnxBackend`."""

    @property
    def card(self) -> Card:
        """The model card in its file."""

    @property
    def parameters(self) -> int:
        """Number of trained values."""

    def predict(self, faces: np.ndarray) -> Prediction:
        """Classify faces (N, 48, 48) uint8, N > 0."""
