"""Cross-validation folds of CK+: by subject (clean) and at random (leaky, as often published).

CK+ holds several sequences of a subject and three near-identical frames of each sequence. Folds
drawn at random over images put the same subject, even the same second of video, on both sides;
folds by subject do not. The study reports both, side by side.
"""

import warnings

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from fer_lib.errors import UserError


def subject_folds(subjects: np.ndarray, labels: np.ndarray, k: int, seed: int) -> np.ndarray:
    """Distribute subjects over `k` folds, with classes as even as whole subjects allow.

    Args:
        subjects: (N,) subject of each image, such as 'S005'.
        labels: (N,) integer class of each image.
        k: number of folds, at least 2 and at most the number of subjects.
        seed: of the shuffle; the same seed gives the same folds.

    Returns:
        (N,) int64, 0 to k-1: the fold in which the image is tested.

    Raises:
        UserError: if there are fewer subjects than folds, or a fold would stay empty.
    """
    subjects = np.asarray(subjects)
    count = len(np.unique(subjects))
    if not 2 <= k <= count:
        raise UserError(
            f"{k} folds by subject cannot be made from {count} subjects: choose k from 2 to {count}"
        )
    splitter = StratifiedGroupKFold(n_splits=k, shuffle=True, random_state=seed)
    fold = _deal(splitter, labels, subjects)
    empty = sorted(set(range(k)) - set(fold.tolist()))
    if empty:
        raise UserError(
            f"fold(s) {empty} of {k} got no subject ({count} subjects in all): choose fewer folds"
        )
    return fold


def random_folds(labels: np.ndarray, k: int, seed: int) -> np.ndarray:
    """Distribute single images over `k` stratified folds, whatever their subject (leaky).

    Args:
        labels: (N,) integer class of each image.
        k: number of folds, at least 2 and at most N.
        seed: of the shuffle.

    Returns:
        (N,) int64, 0 to k-1: the fold in which the image is tested.

    Raises:
        UserError: if no class has as many as `k` images.
    """
    labels = np.asarray(labels)
    largest = int(np.unique(labels, return_counts=True)[1].max(initial=0))
    if not 2 <= k <= largest:
        raise UserError(
            f"{k} random folds cannot be made: the largest class has {largest} images, so choose k "
            f"from 2 to {largest}"
        )
    return _deal(StratifiedKFold(n_splits=k, shuffle=True, random_state=seed), labels, None)


def subjects_on_both_sides(subjects: np.ndarray, fold: np.ndarray) -> list[str]:
    """Subjects whose images stand in more than one fold, hence in training *and* in test.

    Args:
        subjects: (N,) subject of each image.
        fold: (N,) fold of each image.

    Returns:
        Sorted subjects; empty for a subject-independent protocol.
    """
    folds = pd.Series(fold).groupby(np.asarray(subjects)).nunique()
    return [str(subject) for subject in folds.index[folds > 1]]


def _deal(splitter, labels: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
    """Turn scikit-learn's (train, test) pairs into one fold number an image."""
    labels = np.asarray(labels)
    fold = np.full(len(labels), -1, dtype=np.int64)
    with warnings.catch_warnings():
        # A class rarer than k only warns; some folds then test without it, as they must.
        warnings.filterwarnings("ignore", message="The least populated class")
        for number, (_, test) in enumerate(splitter.split(np.zeros(len(labels)), labels, groups)):
            fold[test] = number
    return fold


def fold_accuracies(labels: np.ndarray, predictions: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Accuracy within each fold: (number of folds,) in [0, 1], in the folds' order."""
    right = np.asarray(labels) == np.asarray(predictions)
    return np.array([right[fold == number].mean() for number in np.unique(fold)])


def share_seen(units: np.ndarray, fold: np.ndarray) -> float:
    """Share of test images whose unit (subject, sequence) also stands in their fold's training set.

    Args:
        units: (N,) what an image belongs to.
        fold: (N,) the fold in which it is tested.

    Returns:
        In [0, 1]; 0 when folds keep units whole.
    """
    seen = np.zeros(len(fold), dtype=bool)
    for number in np.unique(fold):
        test = fold == number
        seen[test] = np.isin(units[test], units[~test])
    return float(seen.mean())
