"""Quantization of kernels to int8, so that a network's file is half the size of a float16 one.

Each weight becomes an int8 code from -127 to 127 times a power of two, one for each output channel:
about a hundredth of the channel's largest weight apart, which does not change what a trained
network predicts. The training loop quantizes, so every figure is that of the weights published.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from fer_lib.errors import UserError

LARGEST = 127
SMALLEST_EXPONENT = -24  # the smallest number that float16 holds is 2 to this power


def quantize(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A copy of a state dict on the CPU: kernels and matrices as codes times 2^e, in float16.

    Vectors (biases, batch norm) are rounded to float16 alone, and counts stay integers. Quantizing
    the result once more changes nothing.

    Raises:
        UserError: if float16 does not hold a weight, naming its tensor.
    """
    copy = {}
    for name, tensor in weights.items():
        tensor = tensor.detach().cpu()
        if not tensor.is_floating_point():
            copy[name] = tensor.clone()
            continue
        if tensor.ndim > 1:
            scale = torch.exp2(_exponents(tensor))
            tensor = (tensor / scale).round() * scale
        copy[name] = tensor.half()
        if not copy[name].isfinite().all():
            raise UserError(
                f"{name} holds {float(tensor.abs().max()):g}, and float16 ends at 65504: lower lr "
                "or raise weight_decay in params.yaml."
            )
    return copy


def pack(kernel: Tensor) -> tuple[Tensor, Tensor] | None:
    """A quantized kernel (K, ...) as int8 codes of the same shape and int8 exponents (K, 1, ...).

    None if they do not give these very weights.
    """
    if not kernel.is_floating_point() or kernel.ndim < 2:
        return None
    kernel = kernel.float()
    exponents = _exponents(kernel)
    codes = (kernel / torch.exp2(exponents)).round()
    packed = codes.to(torch.int8), exponents.to(torch.int8)
    return packed if torch.equal(unpack(*packed), kernel) else None


def unpack(codes: Tensor, exponents: Tensor) -> Tensor:
    """What `pack` was given, as float32."""
    return codes.float() * torch.exp2(exponents.float())


def _exponents(kernel: Tensor) -> Tensor:
    """The smallest e for which LARGEST 2^e reaches each output channel's largest weight."""
    largest = kernel.float().abs().amax(dim=tuple(range(1, kernel.ndim)), keepdim=True)
    return (largest / LARGEST).log2().ceil().clamp(min=SMALLEST_EXPONENT)
