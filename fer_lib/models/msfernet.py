"""MSFERNet: the multi-scale network of paper A, as three separate parts.

    faces -> Encoder -> features -> Classifier -> logits              (training, use)
                                 -> ProjectionHead -> embeddings      (SupCon pretraining only)

What paper A states: two multi-scale stages of parallel 3x3 and 5x5 branches, refinement by residual
learning and CBAM, a strided convolution between the stages, channel-wise concatenation in the
second stage, 2.37 million parameters. What we infer: the first stage adds its branches. Everything
else (channel widths, depth, strides, where CBAM sits) is chosen here; see the report notebook.

Shapes below: B faces, C channels, H x W pixels.
"""

import functools

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from fer_lib.params import Architecture

FACE_SIZE = 48


def conv_bn(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Convolution that keeps the image's size (divided by `stride`), batch norm after it."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
    )


# CBAM takes its largest values by `max`, not `amax`: the gradient of `amax` searches for the
# largest value again, and a compiler that recomputes them, not rounded to bfloat16, finds none.


class ChannelAttention(nn.Module):
    """Which channels matter: one weight in (0, 1) a channel (Woo et al. 2018, eq. 2)."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(channels // reduction, 4)
        self.mlp = nn.Sequential(
            nn.Linear(channels, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> weights (B, C, 1, 1)."""
        average, peak = x.mean(dim=(2, 3)), x.flatten(2).max(dim=2).values
        return torch.sigmoid(self.mlp(average) + self.mlp(peak))[:, :, None, None]


class SpatialAttention(nn.Module):
    """Which places matter: one weight in (0, 1) a place (Woo et al. 2018, eq. 3)."""

    def __init__(self, kernel: int = 7) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> weights (B, 1, H, W)."""
        peak = x.max(dim=1, keepdim=True).values
        summary = torch.cat([x.mean(dim=1, keepdim=True), peak], dim=1)
        return torch.sigmoid(self.conv(summary))


class CBAM(nn.Module):
    """Convolutional block attention: channel weights first, then place weights."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channel = ChannelAttention(channels)
        self.spatial = SpatialAttention()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        x = x * self.channel(x)
        return x * self.spatial(x)


class MultiScale(nn.Module):
    """Parallel convolutions of different kernel sizes over the same input, then ReLU."""

    def __init__(self, inputs: int, width: int, branches: tuple[int, ...], fuse: str) -> None:
        super().__init__()
        self.branches = nn.ModuleList(conv_bn(inputs, width, kernel) for kernel in branches)
        self.fuse = fuse
        self.width = width * len(branches) if fuse == "concat" else width

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, width, H, W)."""
        outputs = [branch(x) for branch in self.branches]
        if self.fuse == "concat":
            # ReLU first: batch norm's backward pass is slow on the gradient of a concatenation.
            return torch.cat([F.relu(output) for output in outputs], dim=1)
        return F.relu(functools.reduce(torch.add, outputs))


class Refinement(nn.Module):
    """Two 3x3 convolutions, CBAM, and a shortcut around them (He et al. 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int, arch: Architecture) -> None:
        super().__init__()
        self.first = conv_bn(inputs, outputs, 3, stride)
        self.second = conv_bn(outputs, outputs, 3)
        self.attention = CBAM(outputs) if arch.attention else nn.Identity()
        self.shortcut: nn.Module | None = None
        if arch.residual:
            same_shape = inputs == outputs and stride == 1
            self.shortcut = nn.Identity() if same_shape else conv_bn(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""
        y = self.attention(self.second(F.relu(self.first(x))))
        return F.relu(y if self.shortcut is None else y + self.shortcut(x))


class Encoder(nn.Module):
    """Grey faces to features: the part that pretraining, training and use share."""

    def __init__(self, arch: Architecture | None = None) -> None:
        super().__init__()
        self.arch = arch = arch or Architecture()
        self.stage1 = MultiScale(1, arch.first_width, arch.branches, arch.fuse_first)
        self.refine1 = Refinement(self.stage1.width, arch.first_width, 1, arch)
        self.downsample = conv_bn(arch.first_width, arch.second_width, 3, stride=2)
        self.stage2 = MultiScale(arch.second_width, arch.second_width, arch.branches, "concat")
        blocks, width = [], self.stage2.width
        for index, outputs in enumerate(arch.widths):
            # 24 -> 12 -> 6 pixels a side; deeper blocks keep 6, below which a face has no parts.
            blocks.append(Refinement(width, outputs, 2 if index < 2 else 1, arch))
            width = outputs
        self.refine2 = nn.Sequential(*blocks)
        self.feature_width = width

    def forward(self, faces: Tensor) -> Tensor:
        """Encode faces.

        Args:
            faces: (B, 1, 48, 48) float, grey values standardized by `forward.standardize`.

        Returns:
            (B, feature_width) float features, averaged over the last map's places.
        """
        x = self.refine1(self.stage1(faces))
        x = F.relu(self.downsample(x))
        return self.refine2(self.stage2(x)).mean(dim=(2, 3))


class ProjectionHead(nn.Module):
    """Features to unit vectors for SupCon; thrown away afterwards (Khosla et al. 2020, 3.1)."""

    def __init__(self, feature_width: int, width: int = 128) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(feature_width, feature_width),
            nn.ReLU(inplace=True),
            nn.Linear(feature_width, width),
        )

    def forward(self, features: Tensor) -> Tensor:
        """(B, feature_width) -> (B, width) float32 of length 1."""
        return F.normalize(self.layers(features).float(), dim=1)


class Classifier(nn.Module):
    """Features to logits: dropout and one linear layer."""

    def __init__(self, feature_width: int, classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(feature_width, classes)

    def forward(self, features: Tensor) -> Tensor:
        """(B, feature_width) -> logits (B, classes)."""
        return self.linear(self.dropout(features))


class MSFERNet(nn.Module):
    """Encoder and classifier in one: faces to logits."""

    def __init__(
        self, classes: int, arch: Architecture | None = None, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.encoder = Encoder(arch)
        self.classifier = Classifier(self.encoder.feature_width, classes, dropout)

    def forward(self, faces: Tensor) -> Tensor:
        """(B, 1, 48, 48) standardized faces -> logits (B, classes)."""
        return self.classifier(self.encoder(faces))


class SupConNet(nn.Module):
    """Encoder and projection head in one: faces to embeddings."""

    def __init__(self, arch: Architecture | None = None, embedding_width: int = 128) -> None:
        super().__init__()
        self.encoder = Encoder(arch)
        self.projection = ProjectionHead(self.encoder.feature_width, embedding_width)

    def forward(self, faces: Tensor) -> Tensor:
        """(B, 1, 48, 48) standardized faces -> embeddings (B, embedding_width), length 1."""
        return self.projection(self.encoder(faces))


def count_parameters(model: nn.Module) -> int:
    """Number of trainable values."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


@torch.no_grad()
def count_multiply_adds(model: nn.Module) -> int:
    """Multiply-adds of one 48x48 face through the convolutions and linear layers of `model`."""
    training = model.training
    with FlopCounterMode(display=False) as counter:
        model.eval()(torch.zeros(1, 1, FACE_SIZE, FACE_SIZE))
    model.train(training)
    return counter.get_total_flops() // 2
