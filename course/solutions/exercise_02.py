"""Exercises of unit 2 with their solutions; scripts/build_course.py makes the starters from it."""

# %% [markdown]
# # 2 · Convolution, scales and attention
#
# You build the parts of MSFERNet by hand and count what they cost. No data is needed.

# %% setup
import matplotlib.pyplot as plt
import numpy as np
import torch

from fer_lib.models.msfernet import Encoder, count_multiply_adds
from fer_tools.course.grader import checker

check = checker(2)

# %% [markdown]
# ## 2.1 A convolution by hand (easy)
#
# Slide the kernel over the picture. At each place where it lies wholly inside, multiply what lies
# over one another and add up:
#
# $$y_{ij} = \sum_{u, v} k_{uv} x_{i+u, j+v}.$$
#
# Two loops will do. (In mathematics a convolution turns the kernel over first; in networks nobody
# does.)


# %% answer: convolve
def convolve(picture: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Convolve a picture as networks do, without padding.

    Args:
        picture: (H, W) float.
        kernel: (h, w) float, no larger than the picture.

    Returns:
        (H - h + 1, W - w + 1) float.
    """
    # BEGIN SOLUTION
    height, width = kernel.shape
    rows, columns = picture.shape[0] - height + 1, picture.shape[1] - width + 1
    result = np.zeros((rows, columns))
    for i in range(rows):
        for j in range(columns):
            result[i, j] = (picture[i : i + height, j : j + width] * kernel).sum()
    return result
    # END SOLUTION


# %%
check(convolve)

# %% [markdown]
# A kernel that looks for vertical edges:

# %%
square = np.zeros((16, 16))
square[4:12, 4:12] = 1
edges = convolve(square, np.array([[-1.0, 0, 1]] * 3))
figure, axes = plt.subplots(1, 2, figsize=(5, 2.5))
for axis, picture in zip(axes, (square, edges), strict=True):
    axis.imshow(picture, cmap="gray")

# %% [markdown]
# ## 2.2 What does a convolution cost? (easy)
#
# A layer of `outputs` kernels, each $k \times k$ over all `inputs` channels, without bias. The
# picture is square and padded by $\lfloor k/2 \rfloor$ on each side ($k$ is odd), so a stride of
# $s$ gives a side of $\lceil \text{side} / s \rceil$. Parameters are counted once; multiply-adds
# once for each place of each output channel.


# %% answer: convolution_cost
def convolution_cost(
    inputs: int, outputs: int, kernel: int, side: int, stride: int = 1
) -> tuple[int, int]:
    """Count what a convolution stores and computes.

    Args:
        inputs: channels in.
        outputs: channels out.
        kernel: side of the kernel, odd.
        side: of the picture that comes in, pixels.
        stride: step from place to place.

    Returns:
        Number of parameters; number of multiply-adds for one picture.
    """
    # BEGIN SOLUTION
    parameters = inputs * outputs * kernel * kernel
    side_out = -(-side // stride)
    return parameters, parameters * side_out * side_out
    # END SOLUTION


# %%
check(convolution_cost)

# %%
f"The whole encoder: {count_multiply_adds(Encoder()):,} multiply-adds a face"

# %% [markdown]
# ## 2.3 How far does a value see? (medium)
#
# One value behind several layers depends on a square of pixels, its receptive field. Behind one $k
# \times k$ layer its side is $k$. Each further layer adds $(k - 1)$ steps, and a step is as many
# pixels wide as the product of all strides *before* that layer.


# %% answer: receptive_field
def receptive_field(layers: list[tuple[int, int]]) -> int:
    """Side of the square of pixels on which one value depends.

    Args:
        layers: (kernel, stride) of each layer, from the picture on.

    Returns:
        Side in pixels; 1 without layers.
    """
    # BEGIN SOLUTION
    side, step = 1, 1
    for kernel, stride in layers:
        side += (kernel - 1) * step
        step *= stride
    return side
    # END SOLUTION


# %%
check(receptive_field)

# %% [markdown]
# ## 2.4 Two scales at once (medium)
#
# MSFERNet's multi-scale block convolves the same input with 3×3 and with 5×5 kernels, both padded
# so that the picture keeps its size. Stage 1 adds the two results and takes ReLU of the sum; stage
# 2 takes ReLU and puts the channels one after the other, those of the 3×3 kernels first. Leave
# batch norm out. `torch.nn.functional.conv2d` convolves.


# %% answer: multi_scale
def multi_scale(
    x: torch.Tensor, small: torch.Tensor, large: torch.Tensor, fuse: str
) -> torch.Tensor:
    """Parallel 3x3 and 5x5 convolutions and what becomes of them.

    Args:
        x: (B, C, H, W) float.
        small: (K, C, 3, 3) float, kernels.
        large: (K, C, 5, 5) float, kernels.
        fuse: "add" or "concat".

    Returns:
        (B, K, H, W) for "add", (B, 2 K, H, W) for "concat"; nothing below 0.
    """
    # BEGIN SOLUTION
    near = torch.nn.functional.conv2d(x, small, padding=1)
    far = torch.nn.functional.conv2d(x, large, padding=2)
    return torch.relu(near + far if fuse == "add" else torch.cat([near, far], dim=1))
    # END SOLUTION


# %%
check(multi_scale)

# %% [markdown]
# ## 2.5 Channel attention (hard)
#
# CBAM asks of each channel how much it matters. The mean $a$ and the maximum $m$ of each channel
# over all places go through the same two layers:
#
# $$w = \sigma\big(W_2 \mathrm{ReLU}(W_1 a + b_1) + b_2 +
# W_2 \mathrm{ReLU}(W_1 m + b_1) + b_2\big).$$
#
# Each channel of $x$ is then multiplied by its weight. $\sigma$ is `torch.sigmoid`.


# %% answer: channel_attention
def channel_attention(
    x: torch.Tensor,
    w1: torch.Tensor,
    b1: torch.Tensor,
    w2: torch.Tensor,
    b2: torch.Tensor,
) -> torch.Tensor:
    """Weigh the channels of a feature map (Woo et al. 2018, eq. 2).

    Args:
        x: (B, C, H, W) float.
        w1: (hidden, C) float.
        b1: (hidden,) float.
        w2: (C, hidden) float.
        b2: (C,) float.

    Returns:
        (B, C, H, W) float, x with each channel multiplied by its weight in (0, 1).
    """
    # BEGIN SOLUTION
    average, peak = x.mean(dim=(2, 3)), x.amax(dim=(2, 3))
    scores = [torch.relu(summary @ w1.T + b1) @ w2.T + b2 for summary in (average, peak)]
    return x * torch.sigmoid(scores[0] + scores[1])[:, :, None, None]
    # END SOLUTION


# %%
check(channel_attention)

# %% [markdown] open
# ## 2.6 What does the 5×5 branch buy? (medium, open)
#
# Two 3×3 layers in a row see as far as one 5×5 layer. Compare their parameters for 40 channels in
# and out, with your function of 2.2. Why may parallel branches still be worth their price on
# faces? How would you find out with this study, and how many trainings would you need before you
# believed the answer? (`studies.sample.model.branches` in `params.yaml` is the switch.)
