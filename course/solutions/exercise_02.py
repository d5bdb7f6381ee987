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
# Slide the kernel over the image. At each position where it lies completely inside, multiply each
# kernel value by the pixel under it and add up the products:
#
# $$y_{ij} = \sum_{u, v} k_{uv} x_{i+u, j+v}.$$
#
# Two loops are enough. (In mathematics a convolution flips the kernel first; neural networks do
# not, so their "convolution" is strictly a cross-correlation.)


# %% answer: convolve
def convolve(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Convolve an image as neural networks do, without padding.

    Args:
        image: (H, W) float.
        kernel: (h, w) float, no larger than the image.

    Returns:
        (H - h + 1, W - w + 1) float.
    """
    # BEGIN SOLUTION
    height, width = kernel.shape
    rows, columns = image.shape[0] - height + 1, image.shape[1] - width + 1
    result = np.zeros((rows, columns))
    for i in range(rows):
        for j in range(columns):
            result[i, j] = (image[i : i + height, j : j + width] * kernel).sum()
    return result
    # END SOLUTION


# %%
check(convolve)

# %% [markdown]
# A kernel that detects vertical edges:

# %%
square = np.zeros((16, 16))
square[4:12, 4:12] = 1
edges = convolve(square, np.array([[-1.0, 0, 1]] * 3))
figure, axes = plt.subplots(1, 2, figsize=(5, 2.5))
for axis, image in zip(axes, (square, edges), strict=True):
    axis.imshow(image, cmap="gray")

# %% [markdown]
# ## 2.2 What does a convolution cost? (easy)
#
# A layer has `outputs` kernels, each $k \times k$ over all `inputs` channels, without bias. The
# image is square and padded by $\lfloor k/2 \rfloor$ on each side ($k$ is odd), so a stride of
# $s$ gives an output of side $\lceil \text{side} / s \rceil$. Count each parameter once, and its
# multiply-adds once for each position of the output.


# %% answer: convolution_cost
def convolution_cost(
    inputs: int, outputs: int, kernel: int, side: int, stride: int = 1
) -> tuple[int, int]:
    """Count what a convolution stores and computes.

    Args:
        inputs: channels in.
        outputs: channels out.
        kernel: side of the kernel, odd.
        side: side of the input image in pixels.
        stride: distance between neighboring positions of the kernel, in pixels.

    Returns:
        Number of parameters; number of multiply-adds for one image.
    """
    # BEGIN SOLUTION
    parameters = inputs * outputs * kernel * kernel
    side_out = -(-side // stride)
    return parameters, parameters * side_out * side_out
    # END SOLUTION


# %%
check(convolution_cost)

# %%
f"The whole encoder: {count_multiply_adds(Encoder()):,} multiply-adds per face"

# %% [markdown]
# ## 2.3 The receptive field (medium)
#
# One value after several layers depends on a square of pixels, its receptive field. After one $k
# \times k$ layer its side is $k$. Each further layer adds $(k - 1)$ steps, and a step is as many
# pixels wide as the product of all strides *before* that layer.


# %% answer: receptive_field
def receptive_field(layers: list[tuple[int, int]]) -> int:
    """Side of the square of pixels on which one value depends.

    Args:
        layers: (kernel, stride) of each layer, starting at the image.

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
# so that the image keeps its size. Stage 1 adds the two results and applies ReLU to the sum; stage
# 2 applies ReLU and concatenates the channels, those of the 3×3 kernels first. Leave batch norm
# out. `torch.nn.functional.conv2d` computes a convolution.


# %% answer: multi_scale
def multi_scale(
    x: torch.Tensor, small: torch.Tensor, large: torch.Tensor, fuse: str
) -> torch.Tensor:
    """Parallel 3x3 and 5x5 convolutions, added or concatenated, with ReLU.

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
# CBAM computes a weight for each channel. The mean $a$ and the maximum $m$ of each channel over
# all positions go through the same two layers:
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
    """Weight the channels of a feature map (Woo et al. 2018, eq. 2).

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
# Two 3×3 layers in a row have the receptive field of one 5×5 layer. Compare their parameters for
# 40 channels in and out, with your function of 2.2. Why may parallel branches still be worth their
# cost on faces? How would you find out with this study, and how many training runs would you need
# before you believed the result? (The setting is `studies.sample.model.branches` in `params.yaml`.)
