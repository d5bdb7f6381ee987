"""Muon: AdamW with another step for convolution kernels (Jordan et al. 2024).

The gradient of a kernel, written as a matrix, is mostly made of few directions; a step along it
moves little else. Muon makes all singular values of the step alike, so that each direction moves
as far, and a network needs fewer epochs.
"""

import torch
from torch import Tensor, nn

from fer_lib.params import Training
from fer_lib.precision import native_bfloat16, resolve

MOMENTUM = 0.9


def orthogonalized(matrix: Tensor, iterations: int = 5, dtype: torch.dtype | None = None) -> Tensor:
    """Nearly U V' of the singular value decomposition U S V': all singular values near 1.

    Newton-Schulz iterations with the coefficients of Jordan et al., which bring the values to
    0.7..1.2 quickly rather than to 1 exactly. On a GPU bfloat16 is enough for that; most CPUs
    would emulate it slowly, so there the matrix stays as it is.

    Args:
        matrix: (M, N) float.
        iterations: five are enough for singular values above a thousandth of the largest.
        dtype: to compute in; by default that of the matrix.

    Returns:
        (M, N) of the matrix's dtype. Zeros stay zeros.
    """
    x = matrix.to(dtype or matrix.dtype)
    if wide := len(x) <= x.shape[1]:
        x = x.T
    x = x / (x.norm() + 1e-7)
    for _ in range(iterations):
        square = x.T @ x
        change = torch.addmm(square, square, square, beta=-4.775, alpha=2.0315)
        x = torch.addmm(x, x, change, beta=3.4445)
    return (x.T if wide else x).to(matrix.dtype)


class Muon(torch.optim.AdamW):
    """AdamW; in groups with `muon=True` kernels move along their orthogonalized momentum.

    The step is scaled by 0.2 sqrt(max(M, N)) to the size of AdamW's usual one, so `lr` and
    `weight_decay` mean the same for all parameters (Liu et al. 2025, eq. 4).

    Args:
        params: as for AdamW.
        dtype: in which the momentum is orthogonalized.
        settings: as for AdamW.
    """

    def __init__(self, params, dtype: torch.dtype | None = None, **settings) -> None:
        super().__init__(params, **settings)
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for kernel in group["params"] if group.get("muon") else ():
                if kernel.grad is None:
                    continue
                state = self.state[kernel]
                if not state:
                    # AdamW looks for a step in every state that it reads back from a file.
                    state |= {"step": torch.zeros(()), "momentum": torch.zeros_like(kernel)}
                state["momentum"].mul_(MOMENTUM).add_(kernel.grad)
                # Nesterov's look ahead
                ahead = (kernel.grad + MOMENTUM * state["momentum"]).flatten(1)
                step = orthogonalized(ahead, dtype=self.dtype).view(kernel.shape)
                step = 0.2 * max(ahead.shape) ** 0.5 * step
                kernel.mul_(1 - group["lr"] * group["weight_decay"]).sub_(group["lr"] * step)
                kernel.grad = None  # done: AdamW passes over what has no gradient
        return super().step(closure)


def make_optimizer(model: nn.Module, settings: Training) -> torch.optim.Optimizer:
    """AdamW or Muon; no decay of biases and batch norms."""
    settings = resolve(settings)
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    lr, decay, on_gpu = settings.lr, settings.weight_decay, vectors[0].is_cuda
    spared = {"params": vectors, "weight_decay": 0.0}
    if settings.optimizer == "adamw":
        groups = [{"params": matrices, "weight_decay": decay}, spared]
        return torch.optim.AdamW(groups, lr=lr, capturable=on_gpu)
    # A kernel with a single channel is a vector; the linear layer is left to AdamW as usual.
    kernels = [p for p in matrices if p.ndim == 4 and min(p.shape[:2]) > 1]
    others = [p for p in matrices if p.ndim != 4 or min(p.shape[:2]) == 1]
    groups = [
        {"params": kernels, "weight_decay": decay, "muon": True},
        {"params": others, "weight_decay": decay},
        spared,
    ]
    # Newton-Schulz as the network: in bfloat16 only where that is asked for and fast.
    short = settings.precision == "bf16-mixed" and native_bfloat16(vectors[0].device.type)
    return Muon(groups, dtype=torch.bfloat16 if short else None, lr=lr, capturable=on_gpu)
