"""A linear probe: a new intensity head on the frozen encoder, cross-validated by subject.

CK+ has few subjects, and a whole network that is fine-tuned on a few hundred frames overfits to
them. So the encoder is frozen and only the intensity head, one linear layer, is fitted.
"""

import copy

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_lib.models.forward import predict_logits
from fer_lib.models.two_head import TwoHeads

STEPS = 60  # of L-BFGS, more than enough to converge


def probe(
    model: TwoHeads, images: np.ndarray, targets: np.ndarray, fold: np.ndarray, decay: float
) -> np.ndarray:
    """Intensities of every face by a head that was fitted on the other folds.

    Args:
        model: gives the encoder, and the intensity head where each fit starts; not changed.
        images: (N, 48, 48) uint8.
        targets: (N, K) float32 in [0, 1].
        fold: (N,) int64.
        decay: weight of the L2 penalty on the distance from the head's initial weights.

    Returns:
        (N, K) float32 in (0, 1), with horizontal-flip test-time augmentation.
    """
    flipped = np.ascontiguousarray(images[:, :, ::-1])
    views = [
        predict_logits(model.encoder, torch.from_numpy(view), title=title)
        for view, title in ((images, "frames"), (flipped, "flipped frames"))
    ]
    intensities = np.zeros(targets.shape, dtype=np.float32)
    wanted = torch.from_numpy(targets)
    for number in np.unique(fold):
        test = torch.from_numpy(fold == number)
        features = torch.cat([view[~test] for view in views])
        head = fit_head(model.intensity, features, torch.cat([wanted[~test]] * 2), decay)
        with torch.no_grad():
            predicted = [head(view[test]).sigmoid() for view in views]
        intensities[test.numpy()] = torch.stack(predicted).mean(dim=0).numpy()
    return intensities


def fit_head(head: nn.Module, features: Tensor, targets: Tensor, decay: float) -> nn.Module:
    r"""Fit a copy of a linear head by L-BFGS.

    .. math:: \min_\theta \; H_2(s, r_\theta) + \lambda |\theta - \theta_0|^2

    Args:
        head: returns K intensity logits; its weights are theta_0.
        features: (N, feature width).
        targets: (N, K) in [0, 1].
        decay: lambda.
    """
    start = [p.detach() for p in head.parameters()]
    head = copy.deepcopy(head).eval()
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=STEPS)

    def closure() -> Tensor:
        optimizer.zero_grad()
        moved = sum(((p - q) ** 2).sum() for p, q in zip(head.parameters(), start, strict=True))
        loss = F.binary_cross_entropy_with_logits(head(features), targets) + decay * moved
        loss.backward()
        return loss

    optimizer.step(closure)  # type: ignore[arg-type]  # torch's stub wants a float
    return head
