"""How a training is computed on this computer: precision, `torch.compile`, threads, and why.

`precision: auto` in `params.yaml` asks for bfloat16 where the processor multiplies such numbers
itself, and for float32 elsewhere: a CPU without bfloat16 emulates it, ten times slower. The choice
is made once, by `resolve`, before a run gets its name, so that checkpoint and card hold it.
"""

import os
import shutil
from timeit import repeat
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from fer_lib.errors import UserError
from fer_lib.params import PRECISIONS, Training
from fer_lib.processes import usable_cores

Settings = TypeVar("Settings", bound=Training)

INSTEAD_OF_AUTO = "FER_PRECISION"  # an environment variable
# Views of faces from which on compiling is earned back. On a GPU it takes half a minute and a step
# then 0.7 of its time; on a CPU a minute or two, for a twentieth to an eighth of the step.
COMPILE_PAYS = {"cuda": 250_000, "cpu": 500_000}
# Names of oneDNN's levels on which it knows bfloat16 at most as a format.
WITHOUT_BFLOAT16 = {
    "SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI",
}  # fmt: skip


def best_device() -> str:
    """ "cuda", "mps" or "cpu": what Fabric takes by `accelerator="auto"`."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def native_bfloat16(device: str) -> bool:
    """Whether the device multiplies bfloat16 itself, so that it is faster than float32.

    For "mps" the answer is no: nothing is known to be gained there. On a CPU it honors the
    variables that make PyTorch assume an older one, `ATEN_CPU_CAPABILITY` and
    `ONEDNN_MAX_CPU_ISA`.
    """
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    if torch.backends.mkldnn.is_acl_available():  # Arm
        return torch.ops.mkldnn._is_mkldnn_bf16_supported()
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", os.environ.get("DNNL_MAX_CPU_ISA", ""))
    allowed = limit.upper() not in WITHOUT_BFLOAT16
    allowed &= torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return allowed and native


def resolve(settings: Settings, device: str | None = None) -> Settings:
    """The same settings with the precision that "auto" means here.

    Args:
        settings: of a run.
        device: by default the best one here.

    Raises:
        UserError: if the environment variable `FER_PRECISION`, which takes the place of "auto",
            holds no precision.
    """
    if settings.precision != "auto":
        return settings
    wanted = os.environ.get(INSTEAD_OF_AUTO, "auto")
    if wanted not in PRECISIONS:
        raise UserError(
            f"{INSTEAD_OF_AUTO}={wanted} is no precision: set it to one of {', '.join(PRECISIONS)}."
        )
    if wanted == "auto":
        wanted = "bf16-mixed" if native_bfloat16(device or best_device()) else "32-true"
    return settings.model_copy(update={"precision": wanted})


def can_compile() -> bool:
    """Whether there is the C++ compiler that `torch.compile` needs."""
    return shutil.which(os.environ.get("CXX", "g++")) is not None


def compiles(settings: Training, views: int, device: str | None = None) -> tuple[bool, str]:
    """Whether `torch.compile` pays for a run, and why, in a few words.

    Args:
        settings: of the run; without `compile` nothing is compiled.
        views: how many faces the run sees, each view and epoch counted.
        device: by default the best one here.
    """
    device = device or best_device()
    if not settings.compile:
        return False, "not asked for"
    if not can_compile():
        return False, "there is no C++ compiler"
    if device not in COMPILE_PAYS:
        return False, f"not tried on {device}"
    if views < COMPILE_PAYS[device]:
        return False, "compiling would take longer than it saves"
    return True, "the run is long enough"


def summary(settings: Training, views: int) -> str:
    """One sentence: the precision of a run, whether it is compiled, its threads, and why.

    Where bfloat16 is asked for and emulated, it gives the slowdown, measured now.

    Args:
        settings: of the run, resolved or not.
        views: how many faces the run sees, each view and epoch counted.
    """
    compiled, why = compiles(settings, views)
    return (
        f"{describe_precision(settings)}; torch.compile {'on' if compiled else 'off'} ({why}); "
        f"{describe_threads()}."
    )


def describe_precision(settings: Training) -> str:
    """The precision of a run with these settings on this computer, and why."""
    device, chosen = best_device(), resolve(settings).precision
    native = native_bfloat16(device)
    if chosen == "bf16-mixed" and not native:
        why = f"{device} emulates it, {emulation_factor(device):.1f} times as slow as 32-true here"
    elif chosen == ("bf16-mixed" if native else "32-true"):
        why = f"{device} has {'' if native else 'no '}native bfloat16"
    else:
        why = "asked for"
    return f"Precision {chosen} ({why})"


def describe_threads() -> str:
    """With how many threads PyTorch works, for how many cores."""
    count = min(torch.get_num_threads(), usable_cores())
    return f"{count} thread{'s' * (count > 1)} for {usable_cores()} usable core(s)"


def use_cores() -> None:
    """Let PyTorch work with no more threads than there are cores for them."""
    torch.set_num_threads(min(torch.get_num_threads(), usable_cores()))


def emulation_factor(device: str = "cpu") -> float:
    """How many times as long as in float32 a few convolutions take in bfloat16; under a second."""
    layers = [nn.Conv2d(32, 32, 3, padding=1, device=device) for _ in range(2)]
    network = nn.Sequential(*layers).to(memory_format=torch.channels_last)
    faces = torch.randn(4, 32, 24, 24, device=device).to(memory_format=torch.channels_last)

    def step(enabled: bool = False) -> None:
        with torch.autocast(device, torch.bfloat16, enabled=enabled):
            cast(Tensor, network(faces)).float().sum().backward()
        if device != "cpu":
            torch.ones((), device=device).item()  # waits for the device

    step(True)  # the first calls allocate
    step(False)
    emulated, plain = min(repeat(lambda: step(True), number=1)), min(repeat(step, number=1))
    return emulated / plain
