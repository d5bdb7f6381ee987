"""Latency for one face on one core: `python studies/benchmarks/classifier_latency.py [fer13-7]`

This project's network as float32 and int8 ONNX and in PyTorch, and EfficientNet-B0 at 224 x 224 for
comparison (random weights, which take the same time). They take turns in one process, so that the
ratios are reliable even on a busy machine on which the milliseconds are not. The goals: float32 at
most a quarter of EfficientNet-B0's time, int8 at most a tenth.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch and ONNX Runtime read it

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch
import torchvision

from fer_tools.inference.export import export_onnx, quantize
from fer_tools.inference.recognizer import Recognizer
from fer_tools.study.export_check import CALIBRATION_FACES, comparison_faces
from fer_tools.timing.speed import processor
from studies.benchmarks.latency import onnx_call, take_turns

TURNS = 200
REFERENCE = "EfficientNet-B0, 224 x 224"
GOALS = {"float32 ONNX": 0.25, "int8 ONNX": 0.1}


def main(name: str = "fer13-7") -> None:
    """Print median and 95th percentile of each, and the ratio to EfficientNet-B0."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        runs = candidates(name, Path(folder))
        times = take_turns(runs, TURNS)
    print(f"{processor()}; 1 thread, 1 face; ONNX Runtime {onnxruntime.__version__}, ", end="")
    print(f"PyTorch {torch.__version__}; {TURNS} turns")
    reference = np.array(times[REFERENCE])
    for title, seconds in times.items():
        median, late = np.percentile(seconds, [50, 95])
        # The runs of one turn follow one another, so other work on the machine affects both alike.
        ratio = np.median(np.array(seconds) / reference)
        goal = f" (goal: at most {GOALS[title]})" if title in GOALS else ""
        print(
            f"{title:28} median {1000 * median:7.2f} ms  p95 {1000 * late:7.2f} ms  "
            f"ratio {ratio:.3f}{goal}"
        )


def candidates(name: str, folder: Path) -> dict[str, Callable[[], object]]:
    """The timed functions: each classifies one face, from gray values to probabilities."""
    eager = Recognizer.load(name, "cpu")
    data, _ = comparison_faces(eager.card.study)
    face, training = data.images[:1], data.images[data.usage == "Training"]
    export_onnx(eager, folder / "float32.onnx")
    step = max(len(training) // CALIBRATION_FACES, 1)
    quantize(folder / "float32.onnx", folder / "int8.onnx", training[::step][:CALIBRATION_FACES])
    plain, small = (Recognizer.load(folder / f"{kind}.onnx") for kind in ("float32", "int8"))
    return {
        REFERENCE: onnx_call(
            torchvision.models.efficientnet_b0(),  # Tan and Le 2019, run like our networks
            torch.rand(1, 3, 224, 224),
            folder / "efficientnet.onnx",
        ),
        "float32 ONNX": lambda: plain.probabilities(face),
        "int8 ONNX": lambda: small.probabilities(face),
        "float32 PyTorch": lambda: eager.probabilities(face),
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
