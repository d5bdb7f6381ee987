"""Steps as CUDA graphs, on a stand-in for a GPU: what runs, what is replayed, where it reads."""

from contextlib import contextmanager

import pytest
import torch

from fer_lib.training.cuda_graph import WARM_UP, GraphedStep


class Gpu:
    """Keeps what is captured, and repeats it in place as a CUDA graph does."""

    def __init__(self, monkeypatch):
        self.replays = 0
        as_tensor = torch.as_tensor
        monkeypatch.setattr(torch, "as_tensor", lambda value, device: as_tensor(value))
        monkeypatch.setattr(torch.cuda, "Stream", lambda: self)
        monkeypatch.setattr(torch.cuda, "current_stream", lambda: self)
        monkeypatch.setattr(torch.cuda, "stream", self.nothing)
        monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: self)
        monkeypatch.setattr(torch.cuda, "graph", self.nothing)

    def wait_stream(self, other):
        pass

    @contextmanager
    def nothing(self, _):
        yield

    def replay(self):
        self.replays += 1
        for result, fresh in zip(self.step.results, self.function(*self.step.inputs), strict=True):
            result.copy_(fresh)


@pytest.fixture
def step(monkeypatch):
    """A graphed function of a tensor and a number, and the stand-in it runs on."""
    gpu, seen = Gpu(monkeypatch), []

    def function(x, factor):
        seen.append(len(x))
        assert isinstance(factor, torch.Tensor) and factor.ndim == 0
        return x * factor, x.sum()

    gpu.function = lambda x, factor: (x * factor, x.sum())
    gpu.step = GraphedStep(function)
    return gpu.step, gpu, seen


def test_runs_then_captures_then_replays(step):
    take, gpu, seen = step
    for number in range(8):
        product, total = take(torch.full((4,), float(number)), 0.5)
        assert product.tolist() == [number / 2] * 4 and total == 4 * number
    assert len(seen) == WARM_UP + 1  # the capture is the last call that Python makes
    assert gpu.replays == 8 - WARM_UP


def test_another_size_is_captured_anew(step):
    take, _, seen = step
    for size in (4, 6):
        for number in range(6):
            assert take(torch.full((size,), 1.0), number)[0].tolist() == [number] * size
    assert seen == [4] * (WARM_UP + 1) + [6] * (WARM_UP + 1)


def test_what_is_given_stays_as_it_is(step):
    take, _, _ = step
    given = torch.ones(4)
    for _ in range(6):
        take(given, 2.0)
    assert given.tolist() == [1.0] * 4
    assert all(static is not given for static in take.inputs)
