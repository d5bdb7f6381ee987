"""Quantized kernels: what is changed, what is not, and that nothing is lost on the way back."""

import pytest
import torch

from fer_lib.errors import UserError
from fer_lib.models.quantization import pack, quantize, unpack


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


def test_a_kernel_s_channels_have_each_its_own_scale():
    kernel, again = weights()["kernel"], quantize(weights())["kernel"].float()
    for before, after in zip(kernel[:5], again[:5], strict=True):
        largest = float(before.abs().max())
        steps = torch.unique((after / largest).abs())
        assert len(steps) > 12  # of 36 numbers
        # Half a step, and a step is at most two 127ths of the largest.
        assert float((after - before).abs().max()) <= largest / 127
    assert torch.equal(again[5], kernel[5])


def test_a_scale_is_a_power_of_two_by_hand():
    kernel = torch.tensor([[127.0, 1.4, -3.6], [2.54, 0.03, 0.0]])
    found = quantize({"kernel": kernel})["kernel"].float()
    # The second row: 2.54 / 127 = 0.02, so the scale is the next power of two, 1/32.
    assert torch.equal(found, torch.tensor([[127.0, 1.0, -4.0], [81 / 32, 1 / 32, 0.0]]))


def test_vectors_and_counts_are_not_quantized():
    before, after = weights(), quantize(weights())
    assert torch.equal(after["bias"], before["bias"].half())
    assert torch.equal(after["count"], before["count"])
    assert all(t.dtype == torch.float16 for n, t in after.items() if n != "count")


def test_quantizing_again_changes_nothing():
    once = quantize(weights())
    twice = quantize(
        {name: t.float() if t.dtype == torch.float16 else t for name, t in once.items()}
    )
    assert all(torch.equal(once[name], twice[name]) for name in once)


def test_what_is_packed_comes_back_and_nothing_else_is_packed():
    once = quantize(weights())
    for name in ("kernel", "matrix"):
        packed = pack(once[name])
        assert packed is not None and all(part.dtype == torch.int8 for part in packed)
        assert torch.equal(unpack(*packed), once[name].float())
        assert pack(weights()[name]) is None  # eight bits do not hold these
    assert pack(once["bias"]) is None
    assert pack(once["count"]) is None


@pytest.mark.parametrize("value", [7e4, float("nan")])
@pytest.mark.parametrize("shape", [(2,), (2, 3)])
def test_what_float16_does_not_hold_is_refused(value, shape):
    with pytest.raises(UserError, match=r"norm\.weight holds .*float16 ends at 65504: lower lr"):
        quantize({"norm.weight": torch.full(shape, value)})
