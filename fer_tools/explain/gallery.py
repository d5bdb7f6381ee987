"""Images worth looking at: confident errors, confusions, conflicting labels, junk.

Functions that find images return positions into the arrays. Faces of CK+ are drawn by `ckplus_grid`
alone, which keeps to the terms of that data set.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from fer_lib.data.arrays import CkPlus, Fer13
from fer_lib.data.audit import blank, image_groups
from fer_lib.data.ferplus import not_a_face
from fer_lib.errors import UserError
from fer_lib.labels import FER_CLASSES, FER_PLUS_COLUMNS
from fer_lib.plots.style import face_grid

# CK+'s terms: only faces of these subjects may be printed, with the credit.
PRINTABLE_SUBJECTS = (
    "S052", "S055", "S074", "S106", "S111", "S113", "S121", "S124", "S125", "S130", "S132",
)  # fmt: skip
CKPLUS_CREDIT = "©Jeffrey Cohn"


def printable(subject: np.ndarray) -> np.ndarray:
    """Mark images of subjects whose face may be shown: (M,) text -> (M,) bool."""
    return np.isin(subject, PRINTABLE_SUBJECTS)


def ckplus_grid(
    data: CkPlus, positions: np.ndarray, titles: Sequence[str], *, synthetic: bool = False, **layout
) -> Figure:
    """Draw faces of CK+, with the credit that its terms require.

    Args:
        data: CK+ as prepared.
        positions: which images, integers into `data`.
        titles: one text for each image.
        synthetic: True only for synthetic faces; then any may be shown.
        layout: `columns` and `scale` of `plots.face_grid`.

    Raises:
        UserError: if a face may not be shown.
    """
    positions = np.asarray(positions, dtype=np.int64)
    if synthetic:
        return face_grid(data.images[positions], titles, **layout)
    subjects = data.subject[positions]
    refused = sorted(set(subjects[~printable(subjects)].tolist()))
    if refused:
        raise UserError(
            f"CK+ faces of {', '.join(refused)} may not be shown: choose among "
            f"{', '.join(PRINTABLE_SUBJECTS)} (CK+'s terms of use, see data/README.md)"
        )
    return face_grid(data.images[positions], titles, credit=CKPLUS_CREDIT, **layout)


def most_confident_errors(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Positions of the wrong predictions, the most confident first.

    Args:
        labels: (N,) int.
        probabilities: (N, K) float.

    Returns:
        (E,) int64.
    """
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    order = np.argsort(-probabilities[wrong].max(axis=1), kind="stable")
    return wrong[order]


def confusion_pairs(
    labels: np.ndarray, predictions: np.ndarray, classes: Sequence[str]
) -> pd.DataFrame:
    """Confusions between classes, most frequent first.

    Returns:
        Columns true, predicted (names), images (count), share (of the true class, in [0, 1]).
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    size = np.bincount(labels, minlength=len(classes))
    wrong = pd.DataFrame({"true": labels, "predicted": predictions})[labels != predictions]
    table = wrong.groupby(["true", "predicted"]).size().rename("images").reset_index()
    table["share"] = table.images / size[table.true]
    table = table.sort_values("images", ascending=False, kind="stable").reset_index(drop=True)
    names = dict(enumerate(classes))
    return table.assign(true=table.true.map(names), predicted=table.predicted.map(names))


def conflicting_pairs(data: Fer13) -> pd.DataFrame:
    """Pairs of different labels on byte-identical images.

    Returns:
        Columns one, other (class names), groups (of identical images with both labels), most
        frequent first.
    """
    frame = pd.DataFrame({"group": image_groups(data.images), "label": data.labels})
    frame = frame.drop_duplicates()
    both = frame.merge(frame, on="group")
    both = both[both.label_x < both.label_y]
    table = both.groupby(["label_x", "label_y"]).size().rename("groups").reset_index()
    table = table.sort_values("groups", ascending=False, kind="stable").reset_index(drop=True)
    names = dict(enumerate(FER_CLASSES))
    return pd.DataFrame(
        {"one": table.label_x.map(names), "other": table.label_y.map(names), "groups": table.groups}
    )


def conflicting_rows(data: Fer13) -> np.ndarray:
    """Positions of images that occur with several labels: (C,) int64, ascending."""
    groups = image_groups(data.images)
    return np.flatnonzero(pd.Series(data.labels).groupby(groups).transform("nunique") > 1)


def first_of_each(positions: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Keep the first position of each unit, so that a gallery shows each image or sequence once.

    Args:
        positions: (P,) int, in the order of the gallery.
        units: (N,) what an image belongs to: its sequence, or its group from `image_groups`.

    Returns:
        (Q,) int64, in the same order.
    """
    return positions[~pd.Series(units[positions]).duplicated().to_numpy()]


def sample_unique(images: np.ndarray, rng: np.random.Generator, count: int = 1000) -> np.ndarray:
    """Sorted positions of at most `count` images drawn at random, without duplicates.

    A duplicate would be its own nearest neighbor.
    """
    unique = first_of_each(np.arange(len(images)), image_groups(images))
    return np.sort(rng.permutation(unique)[:count])


def verdicts(labels: np.ndarray, predictions: np.ndarray, plurality: np.ndarray) -> pd.Series:
    """Whether the FER+ plurality agrees with the label or with the network, for each image.

    Args:
        labels: (N,) FER2013 labels.
        predictions: (N,) of the network.
        plurality: (N,) from `ferplus.plurality`.

    Returns:
        (N,) text: "network", "label", "both", "neither", or "undecided" without a plurality.
    """
    conditions = {
        "undecided": plurality < 0,
        "both": (plurality == labels) & (plurality == predictions),
        "label": plurality == labels,
        "network": plurality == predictions,
    }
    return pd.Series(np.select(list(conditions.values()), list(conditions), default="neither"))


def junk(data: Fer13, each: int) -> pd.DataFrame:
    """Examples of images that no label fits: without a face, blank, or with conflicting labels.

    Args:
        data: FER2013, all parts.
        each: at most how many of each kind, without duplicates, classes in turn.

    Returns:
        Columns position (into `data`), why (a caption of two lines).
    """
    groups, empty = image_groups(data.images), blank(data.images)
    faceless, conflicts = not_a_face(data.votes), conflicting_rows(data)

    def some(positions: np.ndarray) -> list[int]:
        unique = first_of_each(positions, groups)
        turn = pd.Series(unique).groupby(data.labels[unique]).cumcount().to_numpy()
        return unique[np.argsort(turn, kind="stable")][:each].tolist()

    rows = [(i, f"{_names(data.labels[[i]])}\n{_nf_votes(data.votes[i])}")
            for i in some(faceless[~empty[faceless]])]  # fmt: skip
    rows += [(i, f"{_names(data.labels[groups == groups[i]])}\none image")
             for i in some(conflicts[~empty[conflicts]])]  # fmt: skip
    rows += [(i, f"{_names(data.labels[[i]])}\nblank") for i in some(np.flatnonzero(empty))]
    return pd.DataFrame(rows, columns=["position", "why"])


def _names(labels: np.ndarray) -> str:
    return ", ".join(FER_CLASSES[label] for label in np.unique(labels))


def _nf_votes(votes: np.ndarray) -> str:
    return f"{votes[FER_PLUS_COLUMNS.index('NF')]} of {votes.sum()}: no face"
