"""Two heads on one encoder: which emotion, and how strong each of the seven is (paper B).

    faces -> encoder -> features -> classifier     -> logits           -> softmax: which one
                                 -> intensity head -> intensity logits -> sigmoid: how strong

Paper B states classification and an intensity for each of seven emotions, by two networks. Chosen
here: both heads on one encoder, which costs no more time than one of them. Two separate networks
are the same code with one weight of the loss at 0 (`training/two_head.py`).
"""

import torch
from torch import Tensor, nn

from fer_lib.models.msfernet import Classifier, Encoder
from fer_lib.models.vgg import VggEncoder


class TwoHeads(nn.Module):
    """Encoder, classifier and intensity head in one."""

    def __init__(self, encoder: Encoder | VggEncoder, classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.encoder = encoder
        self.classifier = Classifier(encoder.feature_width, classes, dropout)
        self.intensity = Classifier(encoder.feature_width, classes, dropout)

    def forward(self, faces: Tensor) -> Tensor:
        """(B, 1, 48, 48) standardized faces -> (B, 2 K): K logits, then K intensity logits."""
        features = self.encoder(faces)
        return torch.cat([self.classifier(features), self.intensity(features)], dim=1)


def split_heads(outputs: Tensor) -> tuple[Tensor, Tensor]:
    """(B, 2 K) -> logits (B, K) for a softmax, and intensities (B, K) in (0, 1)."""
    logits, intensity_logits = outputs.chunk(2, dim=1)
    return logits, intensity_logits.sigmoid()
