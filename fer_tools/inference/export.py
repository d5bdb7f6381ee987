"""A trained network as an ONNX file, which runs without torch and twice as fast; int8 if wanted.

    export_onnx(Recognizer.load("fer13-7"), Path("fer13-7.onnx"))
    Recognizer.load("fer13-7.onnx").probabilities(faces)

Preprocessing, temperature and softmax lie inside: (N, 48, 48) uint8 faces in, (N, C) float32
probabilities out, N free, and from a network with two heads as many intensities. The metadata hold
the model's card as JSON.
"""

import json
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import Tensor, nn

from fer_lib.data.arrays import SIDE
from fer_lib.errors import UserError
from fer_lib.files import whole
from fer_lib.models.card import Card
from fer_lib.models.forward import standardize
from fer_tools.inference.onnx_backend import INPUT, INTENSITIES, OUTPUT
from fer_tools.inference.recognizer import Recognizer
from fer_tools.inference.torch_backend import activate

OPSET = 17
CALIBRATION_BATCH = 32

# Parts of the names of convolutions that stay float32. They have few channels, and integers only
# pay where a sum is long: so kept, the int8 file takes a tenth less time, with the same accuracy.
KEPT_IN_FLOAT = ("/stage1/", "/refine1/", "/spatial/")


class FacesToProbabilities(nn.Module):
    """Everything from the grey values of a face to its probabilities and intensities."""

    def __init__(self, model: nn.Module, card: Card) -> None:
        super().__init__()
        self.model, self.card = model, card

    def forward(self, faces: Tensor) -> tuple[Tensor, ...]:
        """(N, 48, 48) uint8 -> probabilities (N, C) float32, and intensities where there are."""
        return activate(self.model(standardize(faces)), self.card)


def export_onnx(recognizer: Recognizer, path: Path) -> None:
    """Write a network as an ONNX file, whole or not at all.

    Batch norm is folded into the convolutions before it.

    Args:
        recognizer: of a weights file; its network is left as it is.
        path: target.

    Raises:
        UserError: if the recognizer is itself an ONNX file, or the target cannot be written.
    """
    model = FacesToProbabilities(recognizer.model, recognizer.card).eval()
    outputs = [OUTPUT, INTENSITIES] if recognizer.card.has_intensities else [OUTPUT]
    device = next(model.parameters()).device
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the newer exporter, which it praises, needs onnxscript
        torch.onnx.export(
            model,
            (torch.zeros(2, SIDE, SIDE, dtype=torch.uint8, device=device),),
            Path(folder) / "written.onnx",
            dynamo=False,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=outputs,
            dynamic_axes={name: {0: "N"} for name in (INPUT, *outputs)},
        )
        graph = onnx.load(Path(folder) / "written.onnx")
    facts = {"labels": recognizer.classes, "parameters": recognizer.backend.parameters}
    header = recognizer.card.header() | {name: json.dumps(fact) for name, fact in facts.items()}
    onnx.helper.set_model_props(graph, header)
    save(graph, path)


def quantize(path: Path, out: Path, faces: np.ndarray) -> None:
    """Write an ONNX file of this project with 8-bit integers (Jacob et al. 2018).

    Weights are signed, with one scale a channel; what flows between the layers is unsigned, with
    scales from the smallest and largest values that the calibration faces cause.

    Args:
        path: what `export_onnx` wrote.
        out: target.
        faces: (N, 48, 48) uint8, N > 0, training faces: accuracy is measured on others.

    Raises:
        UserError: if the target cannot be written.
    """
    with tempfile.TemporaryDirectory() as folder:
        prepared, quantized = Path(folder) / "prepared.onnx", Path(folder) / "quantized.onnx"
        quant_pre_process(path, prepared)
        quantize_static(
            prepared,
            quantized,
            _Batches(faces),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["Conv"],
            nodes_to_exclude=_kept_in_float(prepared),
            calibrate_method=CalibrationMethod.MinMax,
        )
        graph = onnx.load(quantized)
    header = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    onnx.helper.set_model_props(graph, header)
    save(graph, out)


@dataclass
class _Batches(CalibrationDataReader):
    """Hands the calibration faces out, batch by batch."""

    faces: np.ndarray

    def __post_init__(self) -> None:
        self.batches: Iterator[np.ndarray] = iter(
            np.split(self.faces, range(CALIBRATION_BATCH, len(self.faces), CALIBRATION_BATCH))
        )

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next batch, or None after the last."""
        batch = next(self.batches, None)
        return None if batch is None else {INPUT: batch}


def _kept_in_float(path: Path) -> list[str]:
    """Names of the convolutions of an ONNX file that 8 bits do not make faster."""
    names = [node.name for node in onnx.load(path).graph.node if node.op_type == "Conv"]
    return [name for name in names if any(part in name for part in KEPT_IN_FLOAT)]


def save(graph: onnx.ModelProto, path: Path) -> None:
    """Check and write an ONNX file, whole or not at all."""
    onnx.checker.check_model(graph, full_check=True)
    try:
        with whole(path) as part:
            part.write_bytes(graph.SerializeToString(deterministic=True))
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror}): name another file."
        ) from None
