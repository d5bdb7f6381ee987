"""Evaluation of a valence line: how it follows a truth, its course, the crops behind it.

The line itself comes from `engine.analyze`; here it has one row a frame, see `engine.largest_face`.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from fer_lib.errors import UserError
from fer_lib.faces.detection import FACE_SIDE, Box, crop_face, to_grey
from fer_lib.files import whole
from fer_tools.rtfer.video_reader import Frame


def lag_seconds(time_s: np.ndarray, values: np.ndarray, truth: np.ndarray) -> float:
    """By how much `values` comes after `truth`.

    Each delay from -1 to 1 s in steps of 10 ms is tried; the one at which the delayed truth
    correlates best with the values counts.

    Args:
        time_s: (N,) seconds, growing.
        values: (N,) NaN in gaps.
        truth: (N,) without gaps.

    Returns:
        Seconds, positive if `values` is late; NaN where nothing varies.
    """
    times, values, truth = (np.asarray(a, dtype=np.float64) for a in (time_s, values, truth))
    there = np.isfinite(values)
    delays = np.arange(-100, 101) / 100
    fits = [correlation(values[there], np.interp(times[there] - d, times, truth)) for d in delays]
    return float("nan") if np.isnan(fits).all() else float(delays[int(np.nanargmax(fits))])


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's correlation over the places where both are numbers; NaN if one does not vary."""
    pairs = pd.DataFrame({"a": np.asarray(a), "b": np.asarray(b)}).dropna()
    if len(pairs) < 2 or (pairs.nunique() == 1).any():  # which pandas divides by zero for
        return float("nan")
    return float(pairs.a.corr(pairs.b))


def compare(table: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    """How well a line follows the truth, over the frames whose face is present and found.

    Args:
        table: one row a frame, see `engine.largest_face`.
        truth: one row a frame of the same video; columns valence, face_present (0 or 1).

    Returns:
        Rows "frame by frame" and "smoothed"; columns correlation, mean absolute error (0 to 2),
        and lag, seconds (see `lag_seconds`).

    Raises:
        UserError: if the truth has another number of frames than the video.
    """
    if len(truth) != len(table):
        raise UserError(
            f"the truth has {len(truth)} rows, the video {len(table)} frames: draw both again "
            "with `uv run dvc repro -f`."
        )
    shown = (truth.face_present == 1) & table.face_found
    rows = {}
    for name, line in (("frame by frame", table.valence), ("smoothed", table.valence_smooth)):
        rows[name] = {
            "correlation": correlation(line[shown], truth.valence[shown]),
            "mean absolute error": (line - truth.valence)[shown].abs().mean(),
            "lag, seconds": lag_seconds(table.time_s, line.where(shown), truth.valence),
        }
    return pd.DataFrame(rows).T


def thirds(table: pd.DataFrame) -> pd.DataFrame:
    """The line in three equally long parts of the video, not smoothed.

    Returns:
        Rows "first third", "second third", "last third"; columns valence (mean), spread (standard
        deviation), frames (with a face).
    """
    since = table.time_s - table.time_s.iloc[0]
    part = np.minimum((3 * since / max(since.iloc[-1], 1e-9)).astype(int), 2)
    parts = table.valence.groupby(part).agg(["mean", "std", "count"]).reindex(range(3))
    parts.columns = ["valence", "spread", "frames"]
    parts.index = ["first third", "second third", "last third"]
    return parts.astype({"frames": "Int64"})


def crops(frames: Sequence[Frame], table: pd.DataFrame, margin: float) -> np.ndarray:
    """What the network was given of some frames; (N, 48, 48) uint8, blank without a face."""
    faces = []
    for frame in frames:
        row = table.iloc[frame.index]
        box = Box(*(int(row[side]) for side in "xywh")) if row.face_found else None
        faces.append(_crop_or_blank(to_grey(frame.rgb), box, margin))
    return np.array(faces, dtype=np.uint8).reshape(-1, FACE_SIDE, FACE_SIDE)


def save_line(table: pd.DataFrame, path: Path) -> None:
    """Write the table as CSV (4 digits, gaps empty, Unix line ends), whole or not at all."""
    with whole(path) as part:
        table.to_csv(part, index=False, float_format="%.4f", lineterminator="\n")


def _crop_or_blank(grey: np.ndarray, box: Box | None, margin: float) -> np.ndarray:
    """The face, or a blank that keeps its place in the batch; (48, 48) uint8."""
    if box is None:
        return np.zeros((FACE_SIDE, FACE_SIDE), dtype=np.uint8)
    return crop_face(grey, box, margin)
