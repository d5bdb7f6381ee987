"""The losses: supervised contrast (Khosla et al. 2020), and cross entropy by torch.

A loss maps a network's outputs and the labels of a batch to a scalar.
"""

from collections.abc import Callable

import torch
import torch.distributed as dist
import torch.distributed.nn.functional as dist_with_gradient
import torch.nn.functional as F
from torch import Tensor

from fer_lib.params import Training

Loss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(settings: Training) -> Loss:
    """The classifier's loss: (B, K) logits and (B,) labels, smoothed by `label_smoothing`."""
    return lambda logits, labels: F.cross_entropy(
        logits, labels, label_smoothing=settings.label_smoothing
    )


def contrast(settings: Training) -> Loss:
    """SupCon's loss: (2 B, D) embeddings, all first views before all second, and (2 B,) labels."""

    def loss(embeddings: Tensor, labels: Tensor) -> Tensor:
        views = torch.stack(embeddings.chunk(2), dim=1)
        return supcon_loss(views, labels.chunk(2)[0], settings.temperature)

    return loss


def supcon_loss(embeddings: Tensor, labels: Tensor, temperature: float = 0.1) -> Tensor:
    r"""Pull the embeddings of one class together, push all others away: Khosla's L_out, eq. 2.

    .. math::
        L = \frac{1}{|I|} \sum_{i \in I} \frac{-1}{|P(i)|} \sum_{p \in P(i)}
            \log \frac{\exp(z_i z_p / \tau)}{\sum_{a \in A(i)} \exp(z_i z_a / \tau)}

    I are all B * V embeddings, A(i) all but i itself, P(i) those in A(i) with the label of i (among
    them the other views of the same face). An anchor without a positive has no term and does not
    count in the mean; with two or more views there is none. The paper sums over I; the mean keeps
    the learning rate independent of the batch size.

    Under torch.distributed the contrast is the joint batch of all processes, gathered with its
    gradient; the mean of the processes' losses is then the loss of the joint batch.

    Args:
        embeddings: (B, V, D) float, V views of B faces, each of length 1.
        labels: (B,) integer class of each face.
        temperature: tau > 0; small values weigh the hardest pairs most.

    Returns:
        Scalar float32, computed in float32 also under autocast.

    Raises:
        ValueError: on wrong shapes, a temperature that is not positive, or a batch in which no
            anchor has a positive.
    """
    if embeddings.ndim != 3 or labels.shape != embeddings.shape[:1]:
        raise ValueError(
            f"expected embeddings (B, V, D) and labels (B,), "
            f"found {tuple(embeddings.shape)} and {tuple(labels.shape)}"
        )
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, found {temperature}")
    with torch.autocast(embeddings.device.type, enabled=False):
        anchors = embeddings.float().flatten(0, 1)
        anchor_labels = labels.repeat_interleave(embeddings.shape[1])
        contrasted, contrasted_labels, first = _joint_batch(anchors, anchor_labels)

        logits = anchors @ contrasted.T / temperature
        places = torch.arange(len(anchors), device=logits.device)
        itself = places[:, None] + first == torch.arange(len(contrasted), device=logits.device)
        log_prob = logits - logits.masked_fill(itself, -torch.inf).logsumexp(dim=1, keepdim=True)

        positives = (anchor_labels[:, None] == contrasted_labels[None, :]) & ~itself
        count = positives.sum(dim=1)
        has_positive = count > 0
        # With two views every anchor has one; to check would make a GPU wait.
        if embeddings.shape[1] == 1 and not has_positive.any():
            raise ValueError(
                "no anchor has a positive: use two views, or a batch with two of a class"
            )
        per_anchor = -(log_prob * positives).sum(dim=1) / count.clamp(min=1)
        return per_anchor.sum() / has_positive.sum()


def _joint_batch(anchors: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, int]:
    """Anchors and labels of all processes, and the place of this process's first one."""
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return anchors, labels, 0
    joint = torch.cat(list(dist_with_gradient.all_gather(anchors)))
    gathered = [torch.empty_like(labels) for _ in range(dist.get_world_size())]
    dist.all_gather(gathered, labels.contiguous())
    return joint, torch.cat(gathered), dist.get_rank() * len(anchors)


def correct(outputs: Tensor, labels: Tensor) -> Tensor:
    """Where the largest logit is that of the label, or of the largest of K soft labels.

    Args:
        outputs: (B, K) logits; further columns (a second head's) are ignored.
        labels: (B,) int64, or (B, K) float.

    Returns:
        (B,) bool.
    """
    if labels.ndim == 2:
        outputs, labels = outputs[:, : labels.shape[1]], labels.argmax(dim=1)
    return outputs.argmax(dim=1) == labels
