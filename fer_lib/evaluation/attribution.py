"""Where a network looks: Grad-CAM, the weights of CBAM, and two tests of whether a map is true.

A map is a picture with one number a place. It persuades whether it is right or not, so it is
tested: does covering the places it names hurt the answer (Petsiuk et al. 2018), and does it change
when what the network has learned is destroyed (Adebayo et al. 2018)?

Shapes: N faces, K classes, h x w places of the network's last map (6 x 6 in MSFERNet).
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

BATCH = 64  # faces at a time; decides memory, not the result


@dataclass(frozen=True)
class Attention:
    """What one CBAM gave its input as weights, each in (0, 1).

    Attributes:
        channels: (N, C) float32, how much each channel is let through.
        places: (N, H, W) float32, how much each place is let through.
    """

    channels: Tensor
    places: Tensor


@contextmanager
def watching(
    modules: Iterable[nn.Module], see: Callable[[nn.Module, Tensor], None]
) -> Iterator[None]:
    """Call `see(module, output)` whenever one of `modules` has run, until the block ends.

    The hooks are taken off again however the block ends.
    """
    hooks = [m.register_forward_hook(lambda m, _, output: see(m, output)) for m in modules]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def grad_cam(model: nn.Module, images: Tensor, classes: Tensor, *, signed: bool = False) -> Tensor:
    r"""What speaks for a class, place by place (Selvaraju et al. 2017, eq. 1 and 2).

    With A the last map of the network, (C, h, w), and z_c the logit of the class:

    .. math:: \alpha_k = \frac{1}{hw} \sum_{ij} \frac{\partial z_c}{\partial A_{kij}}, \qquad
              L = \mathrm{ReLU}\Big(\sum_k \alpha_k A_k\Big)

    The last map is the last output of four dimensions while the model runs; in MSFERNet what
    `refine2` gives, just before the mean over places.

    Args:
        model: maps (B, 1, 48, 48) standardized faces to logits (B, K); run in evaluation mode.
        images: (N, 48, 48) uint8.
        classes: (N,) int64, of which class each face is asked.
        signed: leave the ReLU out: places below 0 speak against the class, and all can be ranked.

    Returns:
        (N, h, w) float32, in units of the logit.
    """
    was_training = model.training
    model.eval()
    last: list[Tensor] = []

    def see(_module: nn.Module, output: Tensor) -> None:
        if output.ndim == 4:
            last[:] = [output]

    maps = []
    with watching(model.modules(), see), torch.enable_grad():
        for batch, asked in zip(images.split(BATCH), classes.split(BATCH), strict=True):
            logits = model(standardize(batch))
            # Faces do not meet in evaluation mode, so the gradient of the sum is that of each.
            score = logits.gather(1, asked[:, None]).sum()
            (gradient,) = torch.autograd.grad(score, last[0])
            weights = gradient.mean(dim=(2, 3), keepdim=True)
            maps.append((weights * last[0]).sum(dim=1).detach())
    model.train(was_training)
    return torch.cat(maps) if signed else torch.cat(maps).relu()


def attention(encoder: nn.Module, images: Tensor) -> dict[str, Attention]:
    """The weights of every CBAM in a network (Woo et al. 2018, eq. 2 and 3).

    Args:
        encoder: maps (B, 1, 48, 48) standardized faces to anything; run in evaluation mode.
        images: (N, 48, 48) uint8.

    Returns:
        By the name of the block that CBAM sits in, in the order of the network; nothing for a
        network without attention.
    """
    blocks = {n.rpartition(".")[0]: m for n, m in encoder.named_modules() if isinstance(m, CBAM)}
    seen: dict[nn.Module, list[Tensor]] = {}
    for block in blocks.values():
        seen |= {block.channel: [], block.spatial: []}
    with watching(seen, lambda module, output: seen[module].append(output)):
        predict_logits(encoder, images, batch_size=BATCH)
    return {
        name: Attention(
            torch.cat(seen[block.channel]).flatten(1).float(),
            torch.cat(seen[block.spatial]).squeeze(1).float(),
        )
        for name, block in blocks.items()
    }


def share_between(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """How much of the variance between faces is variance between groups of faces (eta squared).

    Args:
        values: (N, C), such as channel weights.
        groups: (N,) int, such as labels.

    Returns:
        (C,) in [0, 1]; NaN for a column that does not vary. Groups drawn by lot give about
        (groups - 1) / (N - 1).
    """
    within = np.zeros(values.shape[1])
    for group in np.unique(groups):
        part = values[groups == group]
        within += ((part - part.mean(axis=0)) ** 2).sum(axis=0)
    total = ((values - values.mean(axis=0)) ** 2).sum(axis=0)
    return 1 - np.divide(within, total, out=np.full(len(total), np.nan), where=total > 0)


def grey_out(images: Tensor, scores: Tensor, count: int) -> Tensor:
    """Cover the `count` places of highest score with the mean grey of the face.

    Args:
        images: (N, H, W) uint8; not changed.
        scores: (N, h, w); h divides H and w divides W, so a place is a box of pixels.
        count: boxes to cover in each face, 0 to h w.

    Returns:
        (N, H, W) uint8.
    """
    faces, h, w = scores.shape
    first = scores.flatten(1).argsort(dim=1, descending=True, stable=True)[:, :count]
    covered = torch.zeros(faces, h * w, dtype=torch.bool).scatter_(1, first, True).view(-1, h, w)
    for side, places in ((1, h), (2, w)):
        covered = covered.repeat_interleave(images.shape[side] // places, dim=side)
    grey = images.float().mean(dim=(1, 2), keepdim=True).round().to(torch.uint8)
    return torch.where(covered, grey, images)


def deletion(
    model: nn.Module,
    images: Tensor,
    classes: Tensor,
    scores: Tensor,
    counts: Sequence[int],
    temperature: float = 1.0,
) -> np.ndarray:
    """Probability of a class while more and more of the face is covered (Petsiuk et al. 2018).

    Args:
        model: maps (B, 1, 48, 48) standardized faces to logits (B, K).
        images: (N, 48, 48) uint8.
        classes: (N,) int64.
        scores: (N, h, w); the highest are covered first.
        counts: S numbers of covered places.
        temperature: what the logits are divided by.

    Returns:
        (N, S) float64 in [0, 1].
    """
    curve = []
    with progress_bar(len(counts) * len(images), "covered", unit="face") as bar:
        for count in counts:
            logits = predict_logits(model, grey_out(images, scores, count), batch_size=BATCH)
            curve.append((logits / temperature).softmax(dim=1).gather(1, classes[:, None]))
            bar.update(len(images))
    return torch.cat(curve, dim=1).double().numpy()


def blocks(encoder: nn.Module) -> list[str]:
    """Names of an encoder's residual blocks, in order; of its parts, if it has no such blocks."""
    found = [name for name, module in encoder.named_modules() if isinstance(module, Refinement)]
    return found or [name for name, _ in encoder.named_children()]


def randomised(model: nn.Module, parts: Iterable[str], seed: int) -> nn.Module:
    """A copy of a network that has forgotten what some of its parts learned.

    Args:
        model: not changed.
        parts: names of modules, such as "encoder.refine2.2"; all layers in them start anew.
        seed: of the new weights.
    """
    forgetful = copy.deepcopy(model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for part in parts:
            for module in forgetful.get_submodule(part).modules():
                if isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d):
                    module.reset_parameters()
    return forgetful


def likeness(one: Tensor, other: Tensor) -> np.ndarray:
    """Correlation of two maps of each face over its places.

    Args:
        one: (N, h, w).
        other: (N, h, w).

    Returns:
        (N,) float in [-1, 1]; NaN where a map is the same everywhere.
    """
    a, b = (m.flatten(1).double().numpy() for m in (one, other))
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    scale = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    return np.divide((a * b).sum(axis=1), scale, out=np.full(len(a), np.nan), where=scale > 1e-12)
