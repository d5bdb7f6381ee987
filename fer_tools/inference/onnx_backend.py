"""A network run by ONNX Runtime, on the CPU: no torch, starts at once, less time a face.

The files are written by `export.export_onnx` and `export.quantize`.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

from fer_lib.data.arrays import SIDE
from fer_lib.errors import UserError
from fer_lib.labels import TASKS
from fer_lib.models.card import Card
from fer_tools.inference.backend import Prediction

INPUT, OUTPUT, INTENSITIES = "faces", "probabilities", "intensities"
BATCH = 64  # faces at a time; decides memory, not the result


@dataclass(frozen=True)
class OnnxBackend:
    """An ONNX file, ready to run.

    Attributes:
        session: maps `INPUT` (N, 48, 48) uint8 to `OUTPUT` (N, C) float32, and to `INTENSITIES`
            (N, C) float32 if the model gives them.
        card: the model card in the file.
        parameters: number of trained values.
    """

    session: onnxruntime.InferenceSession
    card: Card
    parameters: int

    @classmethod
    def load(cls, path: Path, device: str = "auto") -> "OnnxBackend":
        """Read an ONNX file of this project.

        Raises:
            UserError: if the file is missing, damaged, or not one of `fer export`, or if another
                device than the CPU is asked for.
        """
        if device not in ("auto", "cpu"):
            raise UserError(
                f"the device {device!r} is not available for an ONNX file: use --device cpu, or "
                "the .safetensors file of the model."
            )
        if not path.is_file():
            raise UserError(f"{path} is missing: write it with `fer export`, or name another.")
        session = _session(path)
        header = dict(session.get_modelmeta().custom_metadata_map)
        try:
            labels, parameters = json.loads(header["labels"]), int(header["parameters"])
        except (KeyError, ValueError):
            raise UserError(
                f"{path} was not written by `fer export` (it holds no labels): name an ONNX file "
                "of this project."
            ) from None
        card = Card.from_header(header, path)
        outputs = [OUTPUT, INTENSITIES] if card.has_intensities else [OUTPUT]
        if labels != list(TASKS.get(card.task, ())) or not _fits(session, outputs, len(labels)):
            raise UserError(
                f"{path} does not give the probabilities of {card.task} for faces of {SIDE} x "
                f"{SIDE} pixels: write it again with `fer export`."
            )
        return cls(session, card, parameters)

    def predict(self, faces: np.ndarray) -> Prediction:
        """Classify faces (N, 48, 48) uint8, N > 0; see `Recognizer.predict`."""
        batches = [
            self.session.run(None, {INPUT: np.ascontiguousarray(faces[start : start + BATCH])})
            for start in range(0, len(faces), BATCH)
        ]
        outputs = (np.concatenate(batch) for batch in zip(*batches, strict=True))
        return Prediction(self.card.classes, *outputs)


def session_options() -> onnxruntime.SessionOptions:
    """How a network is run: as many threads as for torch, which give way while they wait."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _threads()
    # A waiting thread would otherwise burn the core that decodes the video meanwhile.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # errors only
    return options


def _threads() -> int:
    """As OMP_NUM_THREADS says, of whose numbers the first counts; 0, all cores, if it is none."""
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(first) if first.isdecimal() else 0


def _session(path: Path) -> onnxruntime.InferenceSession:
    try:
        return onnxruntime.InferenceSession(
            path, session_options(), providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # ONNX Runtime's errors share no base class
        reason = " ".join(str(error).split())
        raise UserError(
            f"{path} is damaged, cut short, or no ONNX file ({reason}): write it again with "
            "`fer export`."
        ) from None


def _fits(session: onnxruntime.InferenceSession, outputs: list[str], classes: int) -> bool:
    """Whether the network takes faces and gives these outputs, one number a class."""
    inputs = [(i.name, i.type, i.shape[1:]) for i in session.get_inputs()]
    found = [(o.name, o.type, o.shape[1:]) for o in session.get_outputs()]
    return inputs == [(INPUT, "tensor(uint8)", [SIDE, SIDE])] and found == [
        (name, "tensor(float)", [classes]) for name in outputs
    ]
