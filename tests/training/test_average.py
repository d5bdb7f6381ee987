"""The moving average, and the network that is made of it for use."""

import copy

import pytest
import torch
from test_loop import SMALL, bars
from torch import nn

from fer_lib.models.forward import standardize
from fer_lib.models.msfernet import MSFERNet
from fer_lib.models.quantization import quantize
from fer_lib.training.average import MovingAverage
from studies.ablation.variants import LinearProbe


def test_average_follows_the_model():
    model = nn.Linear(2, 2)
    followed = MovingAverage(model, decay=0.9)
    before = followed.network.weight.clone()
    with torch.no_grad():
        model.weight += 1
    followed.update(step=10_000)
    torch.testing.assert_close(followed.network.weight, 0.9 * before + 0.1 * model.weight)
    copied = MovingAverage(model, decay=0.0)
    with torch.no_grad():
        model.weight += 1
    copied.update(step=0)
    assert torch.equal(copied.network.weight, model.weight)


def test_counts_are_copied():
    model = nn.BatchNorm2d(2)
    average = MovingAverage(model, decay=0.9)
    model(torch.randn(2, 2, 3, 3))
    average.update(step=10_000)
    assert average.network.num_batches_tracked == 1


def first_norm(network):
    """The first convolution and its batch norm."""
    return next(
        (b[0], b[1]) for b in network.modules()
        if isinstance(b, nn.Sequential) and len(b) > 1 and isinstance(b[1], nn.BatchNorm2d)
    )  # fmt: skip


def test_batch_norm_is_recalibrated_over_faces_as_they_are():
    """Whatever the moving average holds, batch norm's mean is that of the first layer's output."""
    torch.manual_seed(0)
    images, _ = bars()
    model = MSFERNet(4, SMALL)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.fill_(100.0)
    average = MovingAverage(model, 0.9)
    network, weights = average.deploy(images)
    convolution, norm = first_norm(network)
    mean = convolution(standardize(images)).mean(dim=(0, 2, 3))
    torch.testing.assert_close(norm.running_mean, mean, atol=1e-3, rtol=1e-2)
    kept = average.network.named_buffers()
    assert float(next(p for n, p in kept if "running_mean" in n).max()) == 100
    assert all(torch.equal(network.state_dict()[name], t.float()) for name, t in weights.items())


@pytest.mark.parametrize("count", [256, 257, 300, 511])
def test_each_face_weighs_alike_in_the_statistics(count):
    """Also where the last faces do not fill a batch: blank ones must not count for more."""
    torch.manual_seed(0)
    faces = torch.randint(0, 256, (count, 24, 24), dtype=torch.uint8)
    faces[256:] = 7
    network, _ = MovingAverage(MSFERNet(4, SMALL), 0.9).deploy(faces)
    convolution, norm = first_norm(network)
    expected = convolution(standardize(faces)).mean(dim=(0, 2, 3))
    torch.testing.assert_close(norm.running_mean, expected, atol=2e-3, rtol=1e-2)
    variance = convolution(standardize(faces)).var(dim=(0, 2, 3))
    # The variance of batches leaves out how their means differ.
    torch.testing.assert_close(norm.running_var, variance, atol=1e-3, rtol=0.05)


def test_an_encoder_that_is_kept_as_it_is_keeps_its_statistics():
    images, _ = bars()
    probe = LinearProbe(MSFERNet(4, SMALL).encoder, 4)
    before = copy.deepcopy(probe.state_dict())
    network, _ = MovingAverage(probe, 0.9).deploy(images)
    for name, tensor in quantize(before).items():
        assert torch.equal(network.state_dict()[name], tensor.float()), name
