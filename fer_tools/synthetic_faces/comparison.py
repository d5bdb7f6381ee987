"""Labelled faces on which an exported network is compared with the one it came from."""

import numpy as np

from fer_lib.data.arrays import Fer13, load_fer13
from fer_lib.labels import FER_PLUS_COLUMNS
from fer_lib.paths import build_folder
from fer_tools.synthetic_faces.fer2013 import draw_row, plan_rows

DRAWN_FACES = 128  # of each usage


def comparison_faces(study: str) -> tuple[Fer13, str]:
    """Labelled faces to compare on: of the model's own study, else of any, else drawn ones.

    Returns:
        The faces, and where they come from, in words.
    """
    for name in dict.fromkeys((study, "paper", "sample")):
        file = build_folder(name) / "fer13.npz"
        if file.is_file():
            return load_fer13(file), str(file)
    rows: list[dict] = []
    for usage in ("Training", "PublicTest"):
        rows += plan_rows(0, usage, DRAWN_FACES, rows)
    rows = [row for row in rows if row["duplicate_of"] < 0]
    data = Fer13(
        images=np.stack([draw_row(0, row) for row in rows]),
        labels=np.array([row["label"] for row in rows]),
        usage=np.array([row["usage"] for row in rows]),
        row=np.array([row["row"] for row in rows]),
        votes=np.full((len(rows), len(FER_PLUS_COLUMNS)), -1),
        duplicate_of_training=np.zeros(len(rows), dtype=bool),
    )
    return data, "faces drawn for this"
