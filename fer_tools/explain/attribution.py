"""Attribution: Grad-CAM, the attention weights of CBAM, and two tests of an attribution map.

A map can look convincing without being faithful to the network. So it is tested: does occluding the
regions of highest attribution lower the probability (deletion, Petsiuk et al. 2018), and does the
map change when weights are re-initialized (Adebayo et al. 2018)?

Shapes: N faces, K classes, h x w positions of the network's last feature map (6 x 6 in MSFERNet).
"""

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from fer_lib.models.forward import predict_logits, standardize
from fer_lib.models.msfernet import CBAM, Refinement
from fer_lib.progress import progress_bar

BATCH = 64  # faces; changes the memory used, not the result


@dataclass(frozen=True)
class Attention:
    """The attention weights of one CBAM, each in (0, 1).

    Attributes:
        channels: (N, C) float32, a weight for each channel.
        spatial: (N, H, W) float32, a weight for each position.
    """

    channels: Tensor
    spatial: Tensor


@contextmanager
def forward_hooks(
    modules: Iterable[nn.Module], hook: Callable[[nn.Module, Tensor], None]
) -> Iterator[None]:
    """Call `hook(module, output)` whenever one of `modules` has run, until the block ends.

    The hooks are removed also where the block raises.
    """
    handles = [m.register_forward_hook(lambda m, _, output: hook(m, output)) for m in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def grad_cam(model: nn.Module, images: Tensor, classes: Tensor, *, signed: bool = False) -> Tensor:
    r"""Grad-CAM: evidence for a class at each position (Selvaraju et al. 2017, eq. 1 and 2).

    With A the last feature map of the network, (C, h, w), and z_c the logit of the class:

    .. math:: \alpha_k = \frac{1}{hw} \sum_{ij} \frac{\partial z_c}{\partial A_{kij}}, \qquad
              L = \mathrm{ReLU}\Big(\sum_k \alpha_k A_k\Big)

    A is the last four-dimensional output in a forward pass; in MSFERNet the output of `refine2`,
    before global average pooling.

    Args:
        model: maps (B, 1, 48, 48) standardized faces to logits (B, K); run in evaluation mode.
        images: (N, 48, 48) uint8.
        classes: (N,) int64, the class c of each face.
        signed: without the ReLU; negative values are evidence against the class.

    Returns:
        (N, h, w) float32, in units of the logit.
    """
    was_training = model.training
    model.eval()
    last: list[Tensor] = []

    def keep_last_map(_module: nn.Module, output: Tensor) -> None:
        if output.ndim == 4:
            last[:] = [output]

    maps = []
    with forward_hooks(model.modules(), keep_last_map), torch.enable_grad():
        for batch, target in zip(images.split(BATCH), classes.split(BATCH), strict=True):
            logits = model(standardize(batch))
            # In evaluation mode faces are independent, so one backward pass serves the batch.
            score = logits.gather(1, target[:, None]).sum()
            (gradient,) = torch.autograd.grad(score, last[0])
            weights = gradient.mean(dim=(2, 3), keepdim=True)
            maps.append((weights * last[0]).sum(dim=1).detach())
    model.train(was_training)
    return torch.cat(maps) if signed else torch.cat(maps).relu()


def attention(encoder: nn.Module, images: Tensor) -> dict[str, Attention]:
    """The attention weights of every CBAM in a network (Woo et al. 2018, eq. 2 and 3).

    Args:
        encoder: maps (B, 1, 48, 48) standardized faces to anything; run in evaluation mode.
        images: (N, 48, 48) uint8.

    Returns:
        By the name of the block that holds the CBAM, in the order of the network; empty for a
        network without attention.
    """
    blocks = {n.rpartition(".")[0]: m for n, m in encoder.named_modules() if isinstance(m, CBAM)}
    outputs: dict[nn.Module, list[Tensor]] = {}
    for block in blocks.values():
        outputs |= {block.channel: [], block.spatial: []}
    with forward_hooks(outputs, lambda module, output: outputs[module].append(output)):
        predict_logits(encoder, images, batch_size=BATCH)
    return {
        name: Attention(
            torch.cat(outputs[block.channel]).flatten(1).float(),
            torch.cat(outputs[block.spatial]).squeeze(1).float(),
        )
        for name, block in blocks.items()
    }


class _Constant(nn.Module):
    """Attention weights that do not depend on the face."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights = weights

    def forward(self, _x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same weights for any input."""
        return self.weights


def with_constant_attention(
    model: nn.Module,
    *,
    spatial: Sequence[Tensor | None] = (),
    channels: Sequence[Tensor] = (),
) -> nn.Module:
    """A copy of a network whose CBAMs weigh all faces alike.

    Args:
        model: not changed.
        spatial: for each CBAM, in the order of the network, weights of the positions, (H, W) or a
            single 1; None leaves that one as it is. Empty leaves all.
        channels: likewise weights (C,).
    """
    copied = copy.deepcopy(model)
    for number, block in enumerate(m for m in copied.modules() if isinstance(m, CBAM)):
        if spatial and (positions := spatial[number]) is not None:
            block.spatial = _Constant(positions)  # type: ignore[assignment]
        if channels:
            block.channel = _Constant(channels[number][None, :, None, None])  # type: ignore[assignment]
    return copied


def eta_squared(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Fraction of the variance that lies between groups, as in a one-way analysis of variance.

    Args:
        values: (N, C), such as channel weights.
        groups: (N,) int, such as labels.

    Returns:
        (C,) in [0, 1]; NaN for a constant column. By chance it is about (groups - 1) / (N - 1).
    """
    within = np.zeros(values.shape[1])
    for group in np.unique(groups):
        part = values[groups == group]
        within += ((part - part.mean(axis=0)) ** 2).sum(axis=0)
    total = ((values - values.mean(axis=0)) ** 2).sum(axis=0)
    return 1 - np.divide(within, total, out=np.full(len(total), np.nan), where=total > 0)


def occlude(images: Tensor, scores: Tensor, count: int) -> Tensor:
    """Replace the `count` patches of highest score by the mean gray value of the face.

    Args:
        images: (N, H, W) uint8; not changed.
        scores: (N, h, w); h divides H and w divides W, so a position is a patch of pixels.
        count: patches to occlude in each face, 0 to h w.

    Returns:
        (N, H, W) uint8.
    """
    faces, h, w = scores.shape
    first = scores.flatten(1).argsort(dim=1, descending=True, stable=True)[:, :count]
    occluded = torch.zeros(faces, h * w, dtype=torch.bool).scatter_(1, first, True).view(-1, h, w)
    for side, patches in ((1, h), (2, w)):
        occluded = occluded.repeat_interleave(images.shape[side] // patches, dim=side)
    gray = images.float().mean(dim=(1, 2), keepdim=True).round().to(torch.uint8)
    return torch.where(occluded, gray, images)


def deletion_curve(
    model: nn.Module,
    images: Tensor,
    classes: Tensor,
    scores: Tensor,
    counts: Sequence[int],
    temperature: float = 1.0,
) -> np.ndarray:
    """Probability of a class while more and more of the face is occluded (Petsiuk et al. 2018).

    Args:
        model: maps (B, 1, 48, 48) standardized faces to logits (B, K).
        images: (N, 48, 48) uint8.
        classes: (N,) int64.
        scores: (N, h, w); the highest are occluded first.
        counts: S numbers of occluded patches.
        temperature: what the logits are divided by.

    Returns:
        (N, S) float64 in [0, 1].
    """
    curve = []
    with progress_bar(len(counts) * len(images), "occluded", unit="face") as bar:
        for count in counts:
            logits = predict_logits(model, occlude(images, scores, count), batch_size=BATCH)
            curve.append((logits / temperature).softmax(dim=1).gather(1, classes[:, None]))
            bar.update(len(images))
    return torch.cat(curve, dim=1).double().numpy()


def residual_blocks(encoder: nn.Module) -> list[str]:
    """Names of an encoder's residual blocks, in order; of its children, if it has none."""
    found = [name for name, module in encoder.named_modules() if isinstance(module, Refinement)]
    return found or [name for name, _ in encoder.named_children()]


def reinitialized(model: nn.Module, parts: Iterable[str], seed: int) -> nn.Module:
    """A copy of a network in which the layers of some parts are re-initialized.

    Args:
        model: not changed.
        parts: names of modules, such as "encoder.refine2.2".
        seed: of the new weights.
    """
    copied = copy.deepcopy(model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for part in parts:
            for module in copied.get_submodule(part).modules():
                if isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d):
                    module.reset_parameters()
    return copied


def map_correlation(first: Tensor, second: Tensor) -> np.ndarray:
    """Pearson correlation of two maps of each face over their positions.

    Args:
        first: (N, h, w).
        second: (N, h, w).

    Returns:
        (N,) float in [-1, 1]; NaN where a map is constant.
    """
    a, b = (m.flatten(1).double().numpy() for m in (first, second))
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    scale = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    return np.divide((a * b).sum(axis=1), scale, out=np.full(len(a), np.nan), where=scale > 1e-12)
