"""Latency of functions that are called in turns.

On a machine with other work, the milliseconds vary from one minute to the next. The calls of one
turn follow each other immediately, so their ratios are reliable.
"""

import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import onnxruntime
import torch
from torch import nn

from fer_tools.inference.onnx_backend import session_options

WARM_UP = 20  # turns that do not count


def onnx_call(model: nn.Module, image: torch.Tensor, path: Path) -> Callable[[], object]:
    """Export `model` to `path`; returns a function that runs it once with ONNX Runtime.

    Args:
        model: with one input; it is set to evaluation mode.
        image: its input, (1, C, H, W) float32.
        path: of the ONNX file.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the older exporter, which needs no further package
        torch.onnx.export(
            model.eval(), (image,), path, dynamo=False, opset_version=17, input_names=["image"]
        )
    session = onnxruntime.InferenceSession(
        path, session_options(), providers=["CPUExecutionProvider"]
    )
    return lambda: session.run(None, {"image": image.numpy()})


def take_turns(runs: Mapping[str, Callable[[], object]], turns: int) -> dict[str, list[float]]:
    """Seconds of each function in each of `turns` turns, after `WARM_UP` uncounted turns."""
    times: dict[str, list[float]] = {title: [] for title in runs}
    for turn in range(WARM_UP + turns):
        for title, run in runs.items():
            begin = time.perf_counter()
            run()
            if turn >= WARM_UP:
                times[title].append(time.perf_counter() - begin)
    return times
