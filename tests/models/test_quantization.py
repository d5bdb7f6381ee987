"""Kernels in eight bits: what is rounded, what is not, and that nothing is lost on the way back."""

import torch

from fer_lib.models.quantization import pack, rounded, unpack


def weights():
    torch.manual_seed(0)
    kernel = torch.randn(6, 4, 3, 3) * torch.logspace(-3, 2, 6)[:, None, None, None]
    kernel[5] = 0.0
    return {
        "kernel": kernel,
        "matrix": torch.randn(3, 8),
        "bias": torch.randn(6),
        "count": torch.tensor(7),
    }


def test_a_kernel_s_channels_are_rounded_each_by_its_own_step():
    kernel, again = weights()["kernel"], rounded(weights())["kernel"].float()
    for before, after in zip(kernel[:5], again[:5], strict=True):
        largest = float(before.abs().max())
        steps = torch.unique((after / largest).abs())
        assert len(steps) > 12  # of 36 numbers
        # Half a step, and a step is at most two 127ths of the largest.
        assert float((after - before).abs().max()) <= largest / 127
    assert torch.equal(again[5], kernel[5])


def test_a_step_is_a_power_of_two_by_hand():
    kernel = torch.tensor([[127.0, 1.4, -3.6], [2.54, 0.03, 0.0]])
    found = rounded({"kernel": kernel})["kernel"].float()
    # The second row: 2.54 / 127 = 0.02, so the step is the next power of two, 1/32.
    assert torch.equal(found, torch.tensor([[127.0, 1.0, -4.0], [81 / 32, 1 / 32, 0.0]]))


def test_vectors_and_counts_are_not_put_in_steps():
    before, after = weights(), rounded(weights())
    assert torch.equal(after["bias"], before["bias"].half())
    assert torch.equal(after["count"], before["count"])
    assert all(t.dtype == torch.float16 for n, t in after.items() if n != "count")


def test_rounding_again_changes_nothing():
    once = rounded(weights())
    twice = rounded(
        {name: t.float() if t.dtype == torch.float16 else t for name, t in once.items()}
    )
    assert all(torch.equal(once[name], twice[name]) for name in once)


def test_what_is_packed_comes_back_and_nothing_else_is_packed():
    once = rounded(weights())
    for name in ("kernel", "matrix"):
        packed = pack(once[name])
        assert packed is not None and all(part.dtype == torch.int8 for part in packed)
        assert torch.equal(unpack(*packed), once[name].float())
        assert pack(weights()[name]) is None  # eight bits do not hold these
    assert pack(once["bias"]) is None
    assert pack(once["count"]) is None
