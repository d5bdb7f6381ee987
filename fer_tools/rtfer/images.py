"""The faces of images as a table: what `fer predict` writes."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from fer_lib.data.images import read_grey
from fer_lib.errors import UserError
from fer_lib.faces.detection import to_48
from fer_tools.inference.recognizer import Recognizer
from fer_tools.outputs import readable, reason, short, write
from fer_tools.rtfer.engine import Engine, FaceObservation

TABLES = (".csv", ".tsv", ".txt")  # what the name of a table may end in


def predict_images(
    files: Iterable[Path],
    engine: Engine,
    *,
    cropped: bool = False,
    on_file: Callable[[Path, UserError | None], object] = lambda file, error: None,
) -> pd.DataFrame:
    """Detect and classify the faces of images.

    Args:
        files: images of any usual kind, see `data.images`.
        engine: detects and scores the faces.
        cropped: each image is a face, whatever its size; then the engine's detector should be
            `detectors.WholeImage`, and the table gives no boxes.
        on_file: called with each file when it has been read, or with the error why it cannot be.

    Returns:
        One row a face, the largest of an image first, with `columns`: path; x, y, w, h (Int64,
        pixels); label; confidence and p_<class>, in [0, 1]; valence, in [-1, 1]; with a model that
        gives them intensity_<class>, in [0, 1]. An image without a face has one row, which is empty
        but for its path; a file that cannot be read has none.
    """
    read_files: list[Path] = []

    def read() -> Iterator[np.ndarray]:
        for file in files:
            try:
                image = read_grey(file)
            except UserError as error:
                on_file(file, error)
                continue
            read_files.append(file)
            on_file(file, None)
            yield to_48(image) if cropped else image

    names = columns(engine.recognizer)
    rows = []
    for number, faces in enumerate(engine.process_images(read())):
        path = {"path": _no_formula(readable(read_files[number]))}
        rows += [path | _row(face, cropped) for face in faces] or [path]
    return pd.DataFrame(rows, columns=names).astype(dict.fromkeys("xywh", "Int64"))


def columns(recognizer: Recognizer) -> list[str]:
    """Names of the table's columns for a model."""
    intensities = [f"intensity_{name}" for name in recognizer.classes]
    return [
        "path", *"xywh", "label", "confidence", *(f"p_{name}" for name in recognizer.classes),
        "valence", *(intensities if recognizer.card.has_intensities else []),
    ]  # fmt: skip


def _row(face: FaceObservation, cropped: bool) -> dict:
    row = {} if cropped else face.box._asdict()
    row |= {"label": face.emotion, "confidence": face.probabilities.max(), "valence": face.valence}
    row |= {f"p_{name}": p for name, p in zip(face.classes, face.probabilities, strict=True)}
    if face.intensities is not None:
        named = zip(face.classes, face.intensities, strict=True)
        row |= {f"intensity_{name}": value for name, value in named}
    return row


def _no_formula(text: str) -> str:
    """The text, marked as such where a spreadsheet would take it for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def save_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV, whole or not at all; six digits, empty where a value is missing.

    Args:
        table: of `predict_images`.
        path: of `outputs.target_file`; a device or a pipe is written into.

    Raises:
        UserError: if the file cannot be written.
    """
    try:
        with write(path) as part:
            table.to_csv(part, index=False, float_format="%.6f", lineterminator="\n")
    except OSError as error:
        raise UserError(
            f"{short(path)} cannot be written ({reason(error)}): name another file."
        ) from None
