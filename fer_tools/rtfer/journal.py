"""What was found in a video so far, in a file that grows: a broken run goes on from it.

One line a batch of frames, as JSON; the first line says which run it is. A line that was cut short
is dropped, so whatever ends the program costs one batch. Numbers are written in full: a run that
goes on gives the same results, digit for digit, as one that was never broken off.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from fer_lib.errors import UserError
from fer_lib.faces.detection import Box
from fer_tools.inference.backend import Prediction
from fer_tools.outputs import short


class Journal:
    """The batches of frames that are done.

    Args:
        path: of the file; its folder exists.
        run: what makes two runs the same (input, model, settings), as JSON knows it.
        resume: take the file's batches over; else it is started again.

    Attributes:
        batches: how many the file holds.
        boxes: by frame number, the boxes of its faces in the order of detection.
        predictions: by the number of a batch's first frame, what the network predicted for its
            faces; None where it has none.

    Raises:
        UserError: if the file belongs to another run.
    """

    def __init__(self, path: Path, run: dict[str, Any], *, resume: bool = False) -> None:
        self.boxes: dict[int, list[Box]] = {}
        self.predictions: dict[int, Prediction | None] = {}
        lines = _whole_lines(path) if resume else []
        if lines and json.loads(lines[0]) != run:
            raise UserError(
                f"{short(path.parent.parent)} holds a run with another input, model or settings: "
                "give the same ones, or leave --resume out to begin again."
            )
        for line in lines[1:]:
            self._read(json.loads(line))
        # Rewritten: what was cut short is gone then.
        self._file = path.open("w", encoding="utf-8")
        self._file.writelines(f"{line}\n" for line in lines or [json.dumps(run)])
        self._file.flush()
        self.batches = len(self.predictions)

    def append(self, boxes: Mapping[int, Sequence[Box]], prediction: Prediction | None) -> None:
        """Add a batch; a disk that is full ends the journal, not the run.

        Args:
            boxes: by frame number, those of its faces.
            prediction: for all of them, in this order; None where there is no face.
        """
        if self._file.closed:
            return
        batch: dict[str, Any] = {
            "boxes": [[frame, [list(box) for box in found]] for frame, found in boxes.items()]
        }
        if prediction is not None:
            batch |= {
                "classes": prediction.classes,
                "probabilities": prediction.probabilities.tolist(),
                "intensities": None
                if prediction.intensities is None
                else prediction.intensities.tolist(),
            }
        try:
            self._file.write(json.dumps(batch) + "\n")
            self._file.flush()
            self.batches += 1
        except OSError:
            self.close()

    def close(self) -> None:
        """Close the file; it stays."""
        with suppress(OSError):
            self._file.close()

    def _read(self, batch: dict[str, Any]) -> None:
        self.boxes |= {frame: [Box(*box) for box in found] for frame, found in batch["boxes"]}
        first = batch["boxes"][0][0]
        if "probabilities" not in batch:
            self.predictions[first] = None
            return
        intensities = batch["intensities"]
        self.predictions[first] = Prediction(
            tuple(batch["classes"]),
            np.array(batch["probabilities"], np.float32),
            None if intensities is None else np.array(intensities, np.float32),
        )


def _whole_lines(path: Path) -> list[str]:
    """The file's lines, without one that was cut short; none if it is not there."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    except FileNotFoundError:
        return []
    return [line.rstrip("\n") for line in lines if line.endswith("\n")]
