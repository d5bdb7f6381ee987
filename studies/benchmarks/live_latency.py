"""Latency from a camera frame to its emotion, on one core.

    uv run python studies/benchmarks/live_latency.py

Paper B states under 50 ms per frame for classes and intensities on live video. Here
`Engine.process_frame`, the live path of `fer app` and of `fer video 0`, processes a synthetic face
at 640x360 frame by frame, with one thread for everything: detect the face, crop it, classify it,
smooth the line. The models take turns, frame by frame, so that other work on the machine affects
all of them alike.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # read by torch and ONNX Runtime as they are loaded

import argparse
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from video_pipeline import first_frames, synthetic_video

from fer_tools.inference.export import export_onnx
from fer_tools.inference.recognizer import Recognizer
from fer_tools.rtfer.detectors import available_detectors, find_detector
from fer_tools.rtfer.engine import SMALLEST, Engine
from fer_tools.rtfer.video_reader import read_frames
from fer_tools.timing.speed import processor

GOAL = 50.0  # milliseconds per frame
FIRST = 10  # the first frames do not count: they initialize


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--models", nargs="+", default=["fer13-3", "ferplus-7", "ferplus-7-vgg"])
    parser.add_argument("--frames", type=int, default=300)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    print(f"one thread, {processor()}; one synthetic face, 640x360, {options.frames} frames")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        video = synthetic_video(folder / "face.mp4", options.frames)
        frames = first_frames(read_frames(video), options.frames)
        engines = {}
        for model in options.models:
            for kind, recognizer in both(model, folder).items():
                for detector in available_detectors():
                    engines[model, kind, detector] = Engine(
                        recognizer, find_detector(detector, smallest=SMALLEST)
                    )
        times: dict[tuple, list[float]] = {key: [] for key in engines}
        for frame in frames:
            for key, engine in engines.items():
                begin = time.perf_counter()
                engine.process_frame(frame.rgb, frame.time_s)
                times[key].append(1000 * (time.perf_counter() - begin))
    print(f"\n{'model':16}{'run by':10}{'detector':10}{'median ms':>10}{'p95 ms':>10}")
    for (model, kind, detector), milliseconds in times.items():
        median, high = np.percentile(milliseconds[FIRST:], [50, 95])
        note = "" if high < GOAL else f"   over {GOAL:.0f}"
        print(f"{model:16}{kind:10}{detector:10}{median:10.1f}{high:10.1f}{note}")


def both(model: str, folder: Path) -> dict[str, Recognizer]:
    """The model in PyTorch and as a float32 ONNX file."""
    torch_model = Recognizer.load(model, "cpu")
    export_onnx(torch_model, folder / f"{model}.onnx")
    return {"PyTorch": torch_model, "ONNX": Recognizer.load(folder / f"{model}.onnx")}


if __name__ == "__main__":
    main()
