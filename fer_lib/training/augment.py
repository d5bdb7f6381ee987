"""Augmentation of whole batches, on whatever device they lie.

Written here because torchvision's transforms draw one set of numbers for a whole batch, and one
call an image costs more than the network's step on a GPU.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from fer_lib.params import Augmentation

DRAWS = 12  # random numbers a face: a fixed count keeps faces independent of the settings


def draw_numbers(faces: int, generator: torch.Generator) -> Tensor:
    """What `augment` decides by: (faces, DRAWS) uniform in [0, 1).

    The generator is one of the CPU, so a seed means the same everywhere. Draw for a whole epoch and
    send it to the GPU once: a copy in each step would make the GPU wait.
    """
    return torch.rand(faces, DRAWS, generator=generator)


def augment(images: Tensor, limits: Augmentation, draws: Tensor) -> Tensor:
    """Change every face of the batch at random, independently of the others.

    Args:
        images: (B, H, W) uint8 on any device.
        limits: of the changes.
        draws: (B, DRAWS) of `draw_numbers`, on the same device.

    Returns:
        (B, H, W) float32 in 0..255.
    """
    batch, height, width = images.shape
    u, signed = draws, 2 * draws - 1
    x = images.float().unsqueeze(1) / 255

    angle = signed[:, 0] * math.radians(limits.rotate)
    size = 1 + signed[:, 1] * limits.scale
    mirror = torch.where(u[:, 2] < limits.flip, -1.0, 1.0)
    theta = torch.stack(
        [
            torch.stack([mirror * angle.cos() / size, -angle.sin() / size], dim=1),
            torch.stack([mirror * angle.sin() / size, angle.cos() / size], dim=1),
        ],
        dim=1,
    )
    # grid_sample counts -1..1 over the side, so a share of the side is twice that.
    move = 2 * limits.shift * signed[:, 3:5]
    grid = F.affine_grid(
        torch.cat([theta, move[:, :, None]], dim=2), [batch, 1, height, width], align_corners=False
    )
    # Linear interpolation would halve the fine detail, which faces in use have.
    x = F.grid_sample(x, grid, mode="bicubic", padding_mode="border", align_corners=False)

    x = x.squeeze(1).clamp(0, 1) ** torch.exp2(limits.gamma * signed[:, 5])[:, None, None]
    return 255 * _erase(x, limits.erase, u[:, 6:11])


def mixup(faces: Tensor, labels: Tensor, alpha: float) -> tuple[Tensor, Tensor, float]:
    """Blend every face of a batch with another one (Zhang et al. 2018, eq. 1).

    Args:
        faces: (B, 1, H, W) float.
        labels: (B,) int64.
        alpha: of the Beta(alpha, alpha) that one share a batch is drawn from (by torch's generator
            of the CPU); 0 changes nothing and draws nothing.

    Returns:
        The blends, the labels (B,) of the partners, and the share of the faces themselves, at
        least one half: the loss is share * loss(labels) + (1 - share) * loss(partners).
    """
    if not alpha:
        return faces, labels, 1.0
    share = float(torch.distributions.Beta(alpha, alpha).sample())
    share = max(share, 1 - share)  # the same blends; the face in the foreground gives the label
    # The next one in the batch: its order is random already.
    return share * faces + (1 - share) * faces.roll(1, 0), labels.roll(1, 0), share


def _erase(x: Tensor, probability: float, u: Tensor) -> Tensor:
    """Grey out one box in a share of the faces (Zhong et al. 2020); x (B, H, W), u (B, 5)."""
    _, height, width = x.shape
    rows = torch.arange(height, device=x.device)[None, :]
    columns = torch.arange(width, device=x.device)[None, :]

    def span(places: Tensor, side: int, length: Tensor, start: Tensor) -> Tensor:
        length = side * (0.1 + 0.23 * length)[:, None]
        start = start[:, None] * (side - length)
        return (places >= start) & (places < start + length)

    box = span(rows, height, u[:, 1], u[:, 2])[:, :, None]
    box = box & span(columns, width, u[:, 3], u[:, 4])[:, None, :]
    box = box & (u[:, 0] < probability)[:, None, None]
    return x.masked_fill(box, 0.5)
