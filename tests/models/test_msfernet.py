"""MSFERNet: size, cost, shapes, switches, and CBAM against timm's."""

import pytest
import torch
from timm.layers.cbam import CbamModule

from fer_lib.models.msfernet import (
    CBAM,
    MSFERNet,
    SupConNet,
    count_multiply_adds,
    count_parameters,
)
from fer_lib.params import Architecture

FACES = torch.randn(3, 1, 48, 48, generator=torch.Generator().manual_seed(0))


def test_parameters_and_cost_are_paper_a_s():
    model = MSFERNet(7)
    assert count_parameters(model) == pytest.approx(2.37e6, rel=0.01)
    assert count_multiply_adds(model) <= 0.35e9


def test_multiply_adds_of_a_known_layer():
    layer = torch.nn.Conv2d(1, 4, 3, padding=1)
    assert count_multiply_adds(layer) == 48 * 48 * 4 * 9


@pytest.mark.parametrize(
    "switches",
    [
        {},
        {"branches": (3,)},
        {"branches": (5,)},
        {"attention": False},
        {"residual": False},
        {"fuse_first": "concat"},
    ],
)
def test_every_ablation_runs_and_learns_in_all_its_parts(switches):
    model = MSFERNet(7, Architecture(**switches))
    logits = model(FACES)
    assert logits.shape == (3, 7)
    logits.square().sum().backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    # The ReLUs of CBAM's small MLPs may be dead at the start; every other part has a gradient.
    assert not [name for name in without if "mlp" not in name]


@pytest.mark.parametrize(
    "switches",
    [
        {"branches": (3,)},
        {"attention": False},
        {"residual": False},
        {"fuse_first": "concat"},
    ],
)
def test_switches_change_the_network(switches):
    assert count_parameters(MSFERNet(7, Architecture(**switches))) != count_parameters(MSFERNet(7))


def test_cbam_equals_timm():
    torch.manual_seed(0)
    ours = CBAM(64).eval()
    theirs = CbamModule(64, rd_ratio=1 / 16, spatial_kernel_size=7).eval()
    with torch.no_grad():
        theirs.channel.fc1.weight.copy_(ours.channel.mlp[0].weight[:, :, None, None])
        theirs.channel.fc2.weight.copy_(ours.channel.mlp[2].weight[:, :, None, None])
        ours.channel.mlp[0].bias.zero_()  # timm's has no biases
        ours.channel.mlp[2].bias.zero_()
        theirs.spatial.conv.conv.weight.copy_(ours.spatial.conv.weight)
        theirs.spatial.conv.bn = torch.nn.Identity()
        x = torch.randn(2, 64, 9, 9)
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-6)


def test_embeddings_have_length_one_and_share_the_encoder():
    model = SupConNet(embedding_width=32)
    z = model(FACES)
    assert z.shape == (3, 32)
    torch.testing.assert_close(z.norm(dim=1), torch.ones(3))
    MSFERNet(7).encoder.load_state_dict(model.encoder.state_dict())


def test_refuses_unknown_fusion():
    with pytest.raises(ValueError, match="add"):
        Architecture(fuse_first="multiply")
