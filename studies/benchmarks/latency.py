"""Time of one call, for functions that take turns.

On a machine that does other work too, milliseconds mean little from one minute to the next. Runs of
one turn follow each other at once, so their ratios can be trusted.
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


def onnx_call(model: nn.Module, picture: torch.Tensor, path: Path) -> Callable[[], object]:
    """Export `model` to `path`, and return what runs it once on `picture` with ONNX Runtime.

    Args:
        model: of one input, put into evaluation mode.
        picture: its input, (1, C, H, W) float32.
        path: of the ONNX file.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the older exporter, which needs no further package
        torch.onnx.export(
            model.eval(), (picture,), path, dynamo=False, opset_version=17, input_names=["picture"]
        )
    session = onnxruntime.InferenceSession(
        path, session_options(), providers=["CPUExecutionProvider"]
    )
    return lambda: session.run(None, {"picture": picture.numpy()})


def take_turns(runs: Mapping[str, Callable[[], object]], turns: int) -> dict[str, list[float]]:
    """Seconds of each function in each of `turns` turns, after `WARM_UP` others."""
    times: dict[str, list[float]] = {title: [] for title in runs}
    for turn in range(WARM_UP + turns):
        for title, run in runs.items():
            begin = time.perf_counter()
            run()
            if turn >= WARM_UP:
                times[title].append(time.perf_counter() - begin)
    return times
