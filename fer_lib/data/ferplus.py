"""Votes of FER+: ten taggers a face (Barsoum et al. 2016), as labels and as intensities."""

import numpy as np
import pandas as pd

from fer_lib.errors import UserError
from fer_lib.labels import FER_CLASSES, FER_PLUS_COLUMNS, FER_PLUS_TO_FER, LEFT_OUT

TAGGERS = 10


def targets_from_votes(votes: np.ndarray) -> tuple[np.ndarray, pd.Series]:
    """Fractions of FER+'s taggers, and which faces are not used.

    A face whose most-voted tag is contempt, unknown or not-a-face is left out; where an emotion
    ties with one of these, it is kept.

    Args:
        votes: (N, 10) int, in the order of `labels.FER_PLUS_COLUMNS`.

    Returns:
        (N, 7) float32 targets in [0, 1], whose rows sum to at most 1 (votes for contempt, unknown
        and not-a-face count in the divisor alone); and for each face, by name, why it is left out:
        "contempt", "unknown", "NF", or "" where it is used.

    Raises:
        UserError: if there are no votes at all, or a row has none, or more than the ten taggers
            can give.
    """
    if (votes < 0).all():
        raise UserError(
            "there are no FER+ votes, which this part of the study learns from: put "
            "fer2013new.csv beside fer2013.csv (data/README.md) and run `dvc repro`, or leave this "
            "part out."
        )
    total = votes.sum(axis=1)
    bad = np.flatnonzero((votes < 0).any(axis=1) | (total < 1) | (total > TAGGERS))
    if len(bad):
        raise UserError(
            f"the FER+ votes of row {bad[0]} sum to {total[bad[0]]}, expected 1 to {TAGGERS}: put "
            "the original fer2013new.csv beside fer2013.csv (data/README.md) and run `dvc repro`."
        )
    targets = np.zeros((len(votes), len(FER_CLASSES)), dtype=np.float32)
    known = FER_PLUS_TO_FER != LEFT_OUT
    targets[:, FER_PLUS_TO_FER[known]] = votes[:, known] / total[:, None]
    most = np.array(FER_PLUS_COLUMNS)[votes.argmax(axis=1)]  # emotions stand first, so win ties
    return targets, pd.Series(np.where(known[votes.argmax(axis=1)], "", most), name="left out")


def plurality(votes: np.ndarray) -> np.ndarray:
    """The class with most FER+ votes, as a FER2013 label.

    Barsoum et al. (2016) call this majority voting; most of the ten votes need not be over half.

    Args:
        votes: (N, 10) int, in the order of `labels.FER_PLUS_COLUMNS`.

    Returns:
        (N,) int64; -1 where contempt, unknown or not-a-face leads, where two tie for the lead, or
        without votes.
    """
    order = np.sort(votes, axis=1)
    clear = (order[:, -1] > order[:, -2]) & (order[:, -1] > 0)
    return np.where(clear, FER_PLUS_TO_FER[votes.argmax(axis=1)], -1)


def majority(votes: np.ndarray) -> np.ndarray:
    """The class that FER+'s own majority rule gives, as a FER2013 label.

    As the code of Barsoum et al. (2016) has it: a tag with a single vote does not count, and the
    winner needs more than half of the votes that remain.

    Args:
        votes: (N, 10) int, in the order of `labels.FER_PLUS_COLUMNS`.

    Returns:
        (N,) int64; -1 where contempt, unknown or not-a-face wins, or nobody.
    """
    counted = np.where(votes > 1, votes, 0)
    won = 2 * counted.max(axis=1) > counted.sum(axis=1)
    return np.where(won, FER_PLUS_TO_FER[counted.argmax(axis=1)], -1)


def not_a_face(votes: np.ndarray) -> np.ndarray:
    """Positions of images with "not a face" votes, most votes first: (F,) int64."""
    column = votes[:, FER_PLUS_COLUMNS.index("NF")]
    order = np.argsort(-column, kind="stable")
    return order[column[order] > 0]
