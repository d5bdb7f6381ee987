"""`fer export`: compare an exported network with the original on labeled faces."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from fer_lib.data.arrays import Fer13, load_fer13
from fer_lib.errors import UserError
from fer_lib.labels import FER_PLUS_COLUMNS, remap_valence
from fer_lib.paths import build_folder
from fer_tools.inference.export import export_onnx, quantize, save
from fer_tools.inference.recognizer import Recognizer
from fer_tools.synthetic_faces.fer2013 import draw_row, plan_rows

SYNTHETIC_FACES = 128  # of each usage
TOLERANCE = 1e-4  # of a probability, between PyTorch and the float32 file
COMPARED_FACES = 4000  # at most
CALIBRATION_FACES = 512  # at most


def comparison_faces(study: str) -> tuple[Fer13, str]:
    """Labeled faces to compare on: of the model's study, else of the other study, else synthetic.

    Returns:
        The faces, and a text that states their source.
    """
    for name in dict.fromkeys((study, "paper", "sample")):
        file = build_folder(name) / "fer13.npz"
        if file.is_file():
            return load_fer13(file), str(file)
    rows: list[dict] = []
    for usage in ("Training", "PublicTest"):
        rows += plan_rows(0, usage, SYNTHETIC_FACES, rows)
    rows = [row for row in rows if row["duplicate_of"] < 0]
    data = Fer13(
        images=np.stack([draw_row(0, row) for row in rows]),
        labels=np.array([row["label"] for row in rows]),
        usage=np.array([row["usage"] for row in rows]),
        row=np.array([row["row"] for row in rows]),
        votes=np.full((len(rows), len(FER_PLUS_COLUMNS)), -1),
        duplicate_of_training=np.zeros(len(rows), dtype=bool),
    )
    return data, "synthetic faces"


@dataclass(frozen=True)
class ExportCheck:
    """The comparison of a written file with PyTorch.

    Attributes:
        faces: number of faces compared.
        difference: largest difference of a probability, or an intensity, between PyTorch and the
            float32 file.
        accuracy: of the float32 file on these faces, in [0, 1].
        accuracy_int8: of the int8 file, or None without int8.
    """

    faces: int
    difference: float
    accuracy: float
    accuracy_int8: float | None


def write_checked(
    recognizer: Recognizer, out: Path, data: Fer13, int8: bool = False
) -> ExportCheck:
    """Write an ONNX file, if its predictions equal those of PyTorch.

    Args:
        recognizer: of a weights file.
        out: target, float32 or int8.
        data: labeled faces. Training calibrates the int8 file; PublicTest is compared.
        int8: write the int8 file.

    Raises:
        UserError: if a probability differs by more than `TOLERANCE` (then nothing is written), or
            the target cannot be written.
    """
    compared = np.flatnonzero(data.usage == "PublicTest")[:COMPARED_FACES]
    images, labels = data.images[compared], data.labels[compared]
    with tempfile.TemporaryDirectory() as folder:
        plain, small = Path(folder) / "float32.onnx", Path(folder) / "int8.onnx"
        export_onnx(recognizer, plain)
        exported, expected = Recognizer.load(plain).predict(images), recognizer.predict(images)
        difference = np.abs(exported.probabilities - expected.probabilities).max()
        if exported.intensities is not None:
            difference = max(difference, np.abs(exported.intensities - expected.intensities).max())
        if not difference <= TOLERANCE:
            raise UserError(
                f"the exported network differs from PyTorch by {difference:.1e} (more than "
                f"{TOLERANCE:.0e}), so {out} was not written: use the .safetensors file, and "
                "report this to the authors."
            )
        after = None
        if int8:
            training = data.images[data.usage == "Training"]
            step = max(len(training) // CALIBRATION_FACES, 1)
            quantize(plain, small, training[::step][:CALIBRATION_FACES])
            after = accuracy(Recognizer.load(small).probabilities(images), labels)
        save(onnx.load(small if int8 else plain), out)
    return ExportCheck(
        len(images), float(difference), accuracy(exported.probabilities, labels), after
    )


def accuracy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Share of the faces whose label is the predicted class, in [0, 1].

    Args:
        probabilities: (N, 7), or (N, 3) of the valence classes.
        labels: (N,) of FER2013; for three classes surprise is left out.
    """
    labels = remap_valence(labels) if probabilities.shape[1] == 3 else labels
    counted = labels >= 0
    return float((probabilities.argmax(axis=1) == labels)[counted].mean())
