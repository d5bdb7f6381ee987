"""The speed of a training step, its time by kind of work, and the ideal speed.

Used by `studies/benchmarks/training_speed.ipynb`, and by no study. The step timed here is that of
`fer_lib/training/step.py` with its batches and moving average, as in `loop.fit`.
"""

import itertools
import logging
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from fer_lib.models.msfernet import FACE_SIZE, MSFERNet
from fer_lib.params import Training
from fer_lib.precision import can_compile
from fer_lib.progress import progress_bar
from fer_lib.training.average import MovingAverage
from fer_lib.training.batches import Batches
from fer_lib.training.losses import cross_entropy
from fer_lib.training.objective import Objective
from fer_lib.training.step import Step

# Without a GPU the compiler logs, with date and process, that it found no CUDA tools.
logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)

CLASSES = 7
MATRIX_SIDE = {"cpu": 1024, "cuda": 8192}  # large enough that the memory does not limit a product
DTYPES = {"32-true": torch.float32, "bf16-mixed": torch.bfloat16}
# Kinds of work by parts of the profiler's names, searched in this order.
KINDS = {
    "convolution": ("conv",),
    "batch norm": ("batch_norm",),
    "fused by the compiler": ("fused", "compiledfxgraph"),
    "pooling": ("mean", "amax", "::max", "reduction", "::sum"),
    "elementwise": (
        "add", "mul", "relu", "threshold", "sigmoid", "div", "copy", "fill", "zero", "clamp", "pow",
        "lerp", "cat", "expand", "where", "masked", "eq", "sqrt", "elementwise",
    ),
}  # fmt: skip
OTHER = "other"


@dataclass(frozen=True)
class Variant:
    """One way to compute a step; `precision` as in lightning's Fabric."""

    device: str = "cpu"
    precision: str = "bf16-mixed"
    channels_last: bool = True
    compiled: bool = False

    @property
    def name(self) -> str:
        """Such as "bf16, channels last, compiled"."""
        parts = ["fp32" if self.precision == "32-true" else "bf16"]
        parts += ["channels last"] * self.channels_last + ["compiled"] * self.compiled
        return ", ".join(parts)


PLAIN = Variant(precision="32-true", channels_last=False, compiled=False)  # all switches off


def devices() -> list[str]:
    """ "cpu", and "cuda" if there is a GPU."""
    return ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def variants(device: str) -> list[Variant]:
    """Both precisions, with and without channels last, with and without `torch.compile`."""
    return [
        Variant(device, precision, channels_last, compiled)
        for precision in DTYPES
        for channels_last in (False, True)
        for compiled in (False, True)
        if not compiled or can_compile()
    ]


def gains(rate: pd.Series, every: Mapping[tuple[str, str], Variant], switch: str) -> list[float]:
    """The speedup by one switch, for each setting of the other two.

    Args:
        rate: faces per second by (device, name of the variant).
        every: the variants by the same keys.
        switch: "precision", "channels_last" or "compiled".
    """
    off = getattr(PLAIN, switch)
    return [
        rate[key] / rate[key[0], without.name]
        for key, variant in every.items()
        if (without := replace(variant, **{switch: off})) != variant
    ]


def processor() -> str:
    """The CPU's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if "model name" in line), "")


def gpu() -> str:
    """The GPU's name; "" if there is none."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else ""


def clock(device: str) -> float:
    """A clock in seconds; only differences are meaningful.

    With one thread on the CPU it is the CPU time of this process: the duration on an otherwise idle
    core, whatever else the machine does. Otherwise it is the wall-clock time.
    """
    if device == "cuda":
        torch.cuda.synchronize()
    elif torch.get_num_threads() == 1:
        return time.process_time()
    return time.perf_counter()


class TimedStep:
    """The training step of `loop.fit` without teacher, with the times of its parts.

    Args:
        variant: how to compute it. `fit` itself always uses channels last.
        settings: of the run; `precision` and `compile` are replaced by those of the variant.
        images: (N, 48, 48) uint8, N at least the batch size; by default 1024 random images.
        labels: (N,) int64.
    """

    def __init__(
        self,
        variant: Variant,
        settings: Training,
        images: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> None:
        settings = settings.model_copy(update={"precision": variant.precision})
        self.variant, self.settings = variant, settings
        if images is None or labels is None:
            images = torch.randint(0, 256, (1024, FACE_SIZE, FACE_SIZE), dtype=torch.uint8)
            labels = torch.arange(1024) % CLASSES
        torch.manual_seed(settings.seed)
        fabric = Fabric(accelerator=variant.device, devices=1, precision=variant.precision)  # type: ignore[arg-type]
        layout = torch.channels_last if variant.channels_last else torch.contiguous_format
        model = MSFERNet(CLASSES, dropout=settings.dropout).to(fabric.device)
        model.to(memory_format=layout)
        self.average = MovingAverage(model, settings.ema_decay)
        self.step = Step(
            model, Objective(cross_entropy(settings)), settings, fabric, variant.compiled
        )
        batches = Batches(images.to(fabric.device), labels.to(fabric.device), settings)
        self.batches = itertools.chain.from_iterable(map(batches.epoch, itertools.count(1)))

    def run(self, number: int = 0) -> tuple[float, float]:
        """Run one step.

        Args:
            number: of the step in its run, on which the moving average depends.

        Returns:
            Seconds of the whole step, and of the forward and backward pass alone.
        """
        device = self.variant.device
        begin = clock(device)
        batch = next(self.batches)
        network_begin = clock(device)
        self.step.backward(*batch)
        network_end = clock(device)
        self.step.update(self.settings.lr)
        self.average.update(number)
        return clock(device) - begin, network_end - network_begin


class Product:
    """A product of two large square matrices: about the fastest multiply-adds of a device.

    It is computed in two ways, and the faster one counts: by `torch.mm`, and as a convolution with
    a 1 x 1 kernel, which is the same product computed by the convolution library. On a CPU the two
    are different libraries, and neither is always faster.

    Args:
        device: "cpu" or "cuda".
        precision: as in lightning's Fabric.
        least: each way is repeated for at least this many seconds.
    """

    def __init__(self, device: str, precision: str, least: float = 0.2) -> None:
        self.device, self.least, self.side = device, least, MATRIX_SIDE[device]
        shape = (2, self.side, self.side)
        self.left, self.right = torch.randn(shape, device=device).to(DTYPES[precision])
        # The rows of the left matrix as positions of a feature map, its columns as channels.
        self.map, self.kernels = self.left.T[None, :, :, None], self.right.T[:, :, None, None]

    def rate(self) -> float:
        """Floating-point operations per second; a multiply-add counts as two."""
        return max(self._rate(self.by_mm), self._rate(self.by_convolution))

    def by_mm(self) -> Tensor:
        """The product, (side, side)."""
        return torch.mm(self.left, self.right)

    def by_convolution(self) -> Tensor:
        """The transposed product, (1, side, side, 1)."""
        return F.conv2d(self.map, self.kernels)

    def _rate(self, multiply: Callable[[], Tensor]) -> float:
        begin, count = clock(self.device), 0
        while count == 0 or clock(self.device) - begin < self.least:
            multiply()
            count += 1
        return 2 * count * self.side**3 / (clock(self.device) - begin)


def interleaved(
    jobs: Mapping[str, Callable[[], object]], turns: int, title: str
) -> Iterator[tuple[int, str, object]]:
    """Run every job once per turn, so that a slow minute of the machine affects all of them alike.

    Yields:
        Turn, from 1, name of the job, and its result. Turn 0 is a warm-up and is omitted.
    """
    with progress_bar((turns + 1) * len(jobs), title, unit="job") as bar:
        for turn in range(turns + 1):
            for name, job in jobs.items():
                result = job()
                bar.update()
                if turn:
                    yield turn, name, result


def kind_of(name: str) -> str:
    """The kind of work, a key of `KINDS` or "other", of an operation in the profile."""
    name = name.lower()
    return next((kind for kind, marks in KINDS.items() if any(m in name for m in marks)), OTHER)


def shares_by_kind(step: TimedStep, steps: int = 2) -> pd.Series:
    """The share of a step's time by kind of work; the shares add up to 1."""
    on_gpu = step.variant.device == "cuda"
    activities = [ProfilerActivity.CUDA] if on_gpu else [ProfilerActivity.CPU]
    step.run()
    with profile(activities=activities) as profiler:
        for _ in range(steps):
            step.run()
    rows = [
        (kind_of(row.key), row.self_device_time_total if on_gpu else row.self_cpu_time_total)
        for row in profiler.key_averages()
    ]
    total = pd.DataFrame(rows, columns=["kind", "time"]).groupby("kind")["time"].sum()
    return total.reindex([*KINDS, OTHER], fill_value=0.0) / total.sum()
