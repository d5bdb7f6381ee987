"""Kernels in eight bits, so that a network's file is half the size of a float16 one.

Each weight becomes a whole number from -127 to 127 times a power of two, one for each output
channel: about a hundredth of the channel's largest weight apart, which a trained network does not
feel. The training loop rounds, so every figure is that of the very numbers that are published.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

LARGEST = 127
SMALLEST_EXPONENT = -24  # the smallest number that float16 holds is 2 to this power


def rounded(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A copy of a state dict on the CPU: kernels and matrices in steps of eight bits, as float16.

    Vectors (biases, batch norm) are rounded to float16 alone, and counts stay integers. Rounding
    the result once more changes nothing.
    """
    copy = {}
    for name, tensor in weights.items():
        tensor = tensor.detach().cpu()
        if tensor.is_floating_point():
            if tensor.ndim > 1:
                step = torch.exp2(_exponents(tensor))
                tensor = (tensor / step).round() * step
            copy[name] = tensor.half()
        else:
            copy[name] = tensor.clone()
    return copy


def pack(kernel: Tensor) -> tuple[Tensor, Tensor] | None:
    """A kernel (K, ...) of `rounded` as int8 of the same shape and exponents int8, (K, 1, ...).

    None if eight bits do not hold these very numbers.
    """
    if not kernel.is_floating_point() or kernel.ndim < 2:
        return None
    kernel = kernel.float()
    exponents = _exponents(kernel)
    steps = (kernel / torch.exp2(exponents)).round()
    packed = steps.to(torch.int8), exponents.to(torch.int8)
    return packed if torch.equal(unpack(*packed), kernel) else None


def unpack(steps: Tensor, exponents: Tensor) -> Tensor:
    """What `pack` was given, as float32."""
    return steps.float() * torch.exp2(exponents.float())


def _exponents(kernel: Tensor) -> Tensor:
    """The smallest e for which LARGEST 2^e reaches each output channel's largest weight."""
    largest = kernel.float().abs().amax(dim=tuple(range(1, kernel.ndim)), keepdim=True)
    return (largest / LARGEST).log2().ceil().clamp(min=SMALLEST_EXPONENT)
