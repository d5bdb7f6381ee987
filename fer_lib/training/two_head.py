"""What a network with two heads learns by, and how it is judged while it learns.

Both go into the one training loop:

    fit(..., Objective(two_head_loss(settings), validate=validate_two_heads, ...))
"""

import torch.nn.functional as F
from torch import Tensor, nn

from fer_lib.models.forward import predict_logits
from fer_lib.models.two_head import split_heads
from fer_lib.params import TwoHeadTraining
from fer_lib.training.losses import Loss, correct


def two_head_loss(settings: TwoHeadTraining) -> Loss:
    r"""The loss of `TwoHeads`: outputs (B, 2 K) and targets s (B, K) in [0, 1] to a scalar.

    .. math::
        L = \frac{1}{B} \sum_i \Big( w_c\, H\big(s_i / |s_i|, p_i\big)
            + w_r \sum_k H_2(s_{ik}, r_{ik}) \Big)

    p are the class probabilities and r the intensities; H is the cross entropy between two
    distributions over the classes (|s| is the sum of s), H_2 the binary one. If s_k is the share of
    taggers that saw emotion k, the second part is the negative log likelihood of their votes, and
    its best r is the expected share, as for the squared error that paper B's RMSE suggests; but its
    gradient does not vanish where r is near 0 or 1 and wrong.

    The weights w are those of `settings`. Each row of targets must have a sum above 0.
    """

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        logits, intensity_logits = outputs.float().chunk(2, dim=1)
        classes = F.cross_entropy(logits, targets / targets.sum(dim=1, keepdim=True))
        votes = F.binary_cross_entropy_with_logits(intensity_logits, targets, reduction="sum")
        return settings.class_weight * classes + settings.intensity_weight * votes / len(targets)

    return loss


def validate_two_heads(model: nn.Module, images: Tensor, targets: Tensor) -> dict[str, float]:
    """Judge a `TwoHeads` on images (N, 48, 48) uint8 and targets (N, K) float in [0, 1].

    Returns:
        val_loss (cross entropy of the classes, nats), val_accuracy (of the class with the largest
        target, in [0, 1]), val_rmse (of all intensities, in [0, 1]).
    """
    outputs = predict_logits(model, images)
    logits, intensities = split_heads(outputs)
    distribution = targets / targets.sum(dim=1, keepdim=True)
    return {
        "val_loss": float(F.cross_entropy(logits, distribution)),
        "val_accuracy": float(correct(outputs, targets).float().mean()),
        "val_rmse": float((intensities - targets).square().mean().sqrt()),
    }
