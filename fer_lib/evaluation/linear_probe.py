"""Another intensity from the same features: a new intensity head on a frozen encoder.

CK+ has few people, and a whole network that goes on learning from a few hundred frames learns the
people along. So the encoder stays as it is and only the intensity head, one linear layer, is fitted
anew: a linear probe. That takes a second, and can be cross-validated by person as often as wanted.
"""

import copy

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_lib.models.forward import predict_logits
from fer_lib.models.two_head import TwoHeads

STEPS = 60  # of L-BFGS, more than it needs


def probe(
    model: TwoHeads, images: np.ndarray, targets: np.ndarray, fold: np.ndarray, decay: float
) -> np.ndarray:
    """Intensities of every face by a head that was fitted without the face's fold.

    Args:
        model: whose encoder is used, and whose intensity head the new ones start from; stays as it
            is.
        images: (N, 48, 48) uint8.
        targets: (N, K) float32 in [0, 1].
        fold: (N,) int64.
        decay: how much it costs to move away from the head's own weights.

    Returns:
        (N, K) float32 in (0, 1), averaged over each face and its mirror image.
    """
    mirrored = np.ascontiguousarray(images[:, :, ::-1])
    views = [
        predict_logits(model.encoder, torch.from_numpy(one), title=title)
        for one, title in ((images, "frames"), (mirrored, "their mirror images"))
    ]
    answers = np.zeros(targets.shape, dtype=np.float32)
    wanted = torch.from_numpy(targets)
    for number in np.unique(fold):
        test = torch.from_numpy(fold == number)
        known = torch.cat([view[~test] for view in views])
        head = fit_head(model.intensity, known, torch.cat([wanted[~test]] * 2), decay)
        with torch.no_grad():
            said = [head(view[test]).sigmoid() for view in views]
        answers[test.numpy()] = torch.stack(said).mean(dim=0).numpy()
    return answers


def fit_head(head: nn.Module, known: Tensor, targets: Tensor, decay: float) -> nn.Module:
    r"""Fit a copy of a linear head by L-BFGS.

    .. math:: \min_\theta \; H_2(s, r_\theta) + \lambda |\theta - \theta_0|^2

    Args:
        head: gives K intensity logits; its weights are theta_0.
        known: (N, feature width) features.
        targets: (N, K) in [0, 1].
        decay: lambda.
    """
    start = [p.detach() for p in head.parameters()]
    head = copy.deepcopy(head).eval()
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=STEPS)

    def closure() -> Tensor:
        optimizer.zero_grad()
        moved = sum(((p - q) ** 2).sum() for p, q in zip(head.parameters(), start, strict=True))
        loss = F.binary_cross_entropy_with_logits(head(known), targets) + decay * moved
        loss.backward()
        return loss

    optimizer.step(closure)  # type: ignore[arg-type]  # torch's stub wants a float
    return head
