"""Muon and AdamW: which parameters each takes, and Muon's step."""

import pytest
import torch
from test_loop import SETTINGS, SMALL
from torch import nn

from fer_lib.models.msfernet import MSFERNet
from fer_lib.training.optimizers import Muon, make_optimizer, orthogonalized


def test_weight_decay_spares_biases_and_norms():
    groups = make_optimizer(MSFERNet(4, SMALL), SETTINGS).param_groups
    assert all(p.ndim > 1 for p in groups[0]["params"])
    assert all(p.ndim <= 1 for p in groups[1]["params"])
    assert groups[1]["weight_decay"] == 0


def test_muon_takes_the_kernels_alone():
    model = MSFERNet(4, SMALL)
    optimizer = make_optimizer(model, SETTINGS.model_copy(update={"optimizer": "muon"}))
    kernels, others, vectors = (group["params"] for group in optimizer.param_groups)
    assert all(p.ndim == 4 and min(p.shape[:2]) > 1 for p in kernels)
    assert all(p.ndim <= 1 for p in vectors)
    assert len(kernels) + len(others) + len(vectors) == len(list(model.parameters()))
    assert any(p is model.classifier.linear.weight for p in others)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(40, 100), (100, 40)])
def test_muon_makes_singular_values_alike(shape, dtype):
    torch.manual_seed(0)
    matrix = torch.randn(shape)
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    assert s.max() / s.min() > 2
    result = orthogonalized(matrix, dtype=dtype)
    assert result.dtype == torch.float32
    values = torch.linalg.svdvals(result)
    assert values.min() > 0.6 and values.max() < 1.3
    # ... and leaves the directions: near the orthogonal factor of the polar decomposition.
    assert torch.nn.functional.cosine_similarity(result.flatten(), (u @ v).flatten(), dim=0) > 0.97
    torch.testing.assert_close(orthogonalized(matrix.T, dtype=dtype), result.T)
    assert orthogonalized(torch.zeros(shape), dtype=dtype).abs().max() == 0


def test_muon_s_step_by_hand():
    torch.manual_seed(0)
    kernel, bias = nn.Parameter(torch.randn(6, 4, 3, 3)), nn.Parameter(torch.randn(6))
    twin = nn.Parameter(bias.detach().clone())
    muon = Muon([{"params": [kernel], "muon": True}, {"params": [bias]}], lr=0.1, weight_decay=0.5)
    adamw = torch.optim.AdamW([twin], lr=0.1, weight_decay=0.5)
    momentum, expected = torch.zeros(6, 36), kernel.detach().clone().flatten(1)
    for _ in range(3):
        kernel.grad, bias.grad = torch.randn_like(kernel), torch.randn_like(bias)
        gradient, twin.grad = kernel.grad.flatten(1).clone(), bias.grad.clone()
        momentum = 0.9 * momentum + gradient
        step = orthogonalized(gradient + 0.9 * momentum) * 0.2 * 36**0.5
        expected = expected * (1 - 0.1 * 0.5) - 0.1 * step
        muon.step()
        adamw.step()
    torch.testing.assert_close(kernel.detach().flatten(1), expected)
    assert torch.equal(bias, twin)
