"""Checks of unit 2. Oracles: PyTorch's layers and the study's own model."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from fer_lib.models.msfernet import ChannelAttention, MultiScale
from fer_tools.course.expectations import array, holds, same


def check_convolve(answer):
    rng = np.random.default_rng(1)
    for shape, size in (((4, 5), (2, 2)), ((9, 7), (3, 3)), ((6, 8), (5, 1))):
        image, kernel = rng.normal(size=shape), rng.normal(size=size)
        expected = torch_convolve(image, kernel)
        same(
            answer(image, kernel), expected,
            f"a {shape} image convolved with a {size} kernel", tolerance=1e-6,
            mistakes={
                "You flipped the kernel: neural networks do not.":
                    torch_convolve(image, kernel[::-1, ::-1].copy()),
                "Add the products up, do not average them.": expected / kernel.size,
                "There is no ReLU here.": np.maximum(expected, 0),
            },
            hint="The result has one value per position where the kernel lies completely inside.",
        )  # fmt: skip


def torch_convolve(image, kernel):
    x, k = torch.from_numpy(image)[None, None], torch.from_numpy(kernel)[None, None]
    return F.conv2d(x, k)[0, 0].numpy()


def check_convolution_cost(answer):
    for inputs, outputs, kernel, side, stride in (
        (1, 16, 3, 48, 1), (44, 44, 5, 24, 1), (16, 44, 3, 48, 2), (3, 8, 7, 15, 2),
    ):  # fmt: skip
        layer = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
        positions = layer(torch.zeros(1, inputs, side, side))[0, 0].numel()
        weights = layer.weight.numel()
        what = f"{inputs} to {outputs} channels, kernel {kernel}, side {side}, stride {stride}"
        found = array(answer(inputs, outputs, kernel, side, stride), what)
        holds(found.shape == (2,), f"{what}: expected two numbers, found {found.tolist()}.")
        same(
            found[0], weights, f"the parameters of {what}",
            mistakes={
                "Each kernel covers all input channels.": weights // inputs,
                "A kernel has kernel * kernel values for each channel.": weights // kernel,
                "There is no bias here.": weights + outputs,
            },
        )  # fmt: skip
        same(
            found[1], weights * positions, f"the multiply-adds of {what}",
            mistakes={
                "A stride makes the output smaller; count its positions.": weights * side * side,
                "Round the output's side up.": weights * (side // stride) ** 2,
                "Count them for all positions, not for one.": weights,
            },
        )  # fmt: skip


def check_receptive_field(answer):
    same(answer([]), 1, "the receptive field without layers")
    for layers in (
        [(3, 1)], [(3, 1), (3, 1)], [(3, 2), (3, 1)], [(5, 1), (3, 2), (3, 2), (3, 1)], [(7, 3)],
    ):  # fmt: skip
        without_strides = 1 + sum(kernel - 1 for kernel, _ in layers)
        same(
            answer(list(layers)), pixels_with_gradient(layers),
            f"the receptive field of {layers}",
            mistakes={
                "A layer after a stride takes wider steps.": without_strides,
                "Only the strides before a layer widen its steps, not the layer's stride.":
                    stride_applied_too_early(layers),
            },
        )  # fmt: skip


def pixels_with_gradient(layers):
    """Width in pixels of the area on which one value depends, by the gradient of a sum of ones."""
    x = torch.zeros(1, 1, 99, 99, requires_grad=True)
    y = x
    for kernel, stride in layers:
        y = F.conv2d(y, torch.ones(1, 1, kernel, kernel), stride=stride)
    y[0, 0, y.shape[2] // 2, y.shape[3] // 2].backward()
    return int((x.grad[0, 0].sum(dim=0) > 0).sum())


def stride_applied_too_early(layers):
    side, step = 1, 1
    for kernel, stride in layers:
        step *= stride
        side += (kernel - 1) * step
    return side


def check_multi_scale(answer):
    for seed, fuse in ((1, "add"), (2, "concat"), (3, "add")):
        torch.manual_seed(seed)
        block = MultiScale(3, 4, (3, 5), fuse).eval()
        for branch in block.branches:
            branch[1].eps = 0.0  # makes batch norm the identity
        x = torch.randn(2, 3, 10, 8)
        small, large = (branch[0].weight.detach() for branch in block.branches)
        with torch.no_grad():
            expected = block(x)
        near, far = F.conv2d(x, small, padding=1), F.conv2d(x, large, padding=2)
        mistakes = {"ReLU is missing: no value may be below 0.": near + far,
                    "Add first, then apply ReLU.": near.relu() + far.relu()}  # fmt: skip
        if fuse == "concat":
            mistakes = {"ReLU is missing: no value may be below 0.": torch.cat([near, far], 1),
                        "The channels of the 3x3 kernels come first.":
                            torch.cat([far, near], 1).relu()}  # fmt: skip
        same(
            answer(x, small, large, fuse), expected, f'the block with fuse "{fuse}"',
            tolerance=1e-4, mistakes=mistakes,
            hint="Pad by 1 and by 2, and concatenate channels along dimension 1.",
        )  # fmt: skip


def check_channel_attention(answer):
    for seed, channels in ((1, 6), (2, 40)):
        torch.manual_seed(seed)
        layer = ChannelAttention(channels)
        w1, b1, w2, b2 = (p.detach() * 2 for p in layer.parameters())
        with torch.no_grad():
            for parameter, doubled in zip(layer.parameters(), (w1, b1, w2, b2), strict=True):
                parameter.copy_(doubled)
            x = torch.randn(2, channels, 5, 7)
            weights = layer(x)
            average, peak = layer.mlp(x.mean(dim=(2, 3))), layer.mlp(x.amax(dim=(2, 3)))
            of_sum = layer.mlp(x.mean(dim=(2, 3)) + x.amax(dim=(2, 3))).sigmoid()[..., None, None]
        two_sigmoids = (average.sigmoid() + peak.sigmoid())[:, :, None, None]
        same(
            answer(x, w1, b1, w2, b2), x * weights, f"{channels} channels with attention",
            tolerance=1e-4,
            mistakes={
                "Multiply x by the weights.": weights.expand_as(x),
                "One sigmoid, of the sum of both.": x * two_sigmoids,
                "Mean and maximum go through the layers separately, not their sum.": x * of_sum,
                "The maximum is missing.": x * average.sigmoid()[:, :, None, None],
                "The mean is missing.": x * peak.sigmoid()[:, :, None, None],
            },
            hint="There is one weight per channel: give the weights the shape (B, C, 1, 1).",
        )  # fmt: skip
