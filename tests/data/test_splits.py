"""Folds: no subject on both sides by subject; at random, nearly everyone is."""

import numpy as np
import pytest

from fer_lib.data import splits
from fer_lib.data.splits import random_folds, subject_folds, subjects_on_both_sides
from fer_lib.errors import UserError


@pytest.fixture(scope="module")
def ckplus_like() -> tuple[np.ndarray, np.ndarray]:
    """40 subjects, one to six sequences each, three frames a sequence, six uneven classes."""
    rng = np.random.default_rng(3)
    subjects, labels = [], []
    for number in range(40):
        for label in rng.choice(6, rng.integers(1, 7), replace=False):
            subjects += [f"S{number:03d}"] * 3
            labels += [label] * 3
    return np.array(subjects), np.array(labels)


@pytest.mark.parametrize("seed", range(5))
def test_no_subject_stands_on_both_sides(ckplus_like, seed):
    subjects, labels = ckplus_like
    fold = subject_folds(subjects, labels, 10, seed)
    assert fold.dtype == np.int64 and fold.shape == labels.shape
    assert set(fold.tolist()) == set(range(10))
    for number in range(10):  # said plainly, without the checker
        test = set(subjects[fold == number])
        assert test and not test & set(subjects[fold != number])
    assert subjects_on_both_sides(subjects, fold) == []


def test_random_folds_mix_subjects(ckplus_like):
    subjects, labels = ckplus_like
    fold = random_folds(labels, 10, 0)
    assert fold.dtype == np.int64 and set(fold.tolist()) == set(range(10))
    mixed = subjects_on_both_sides(subjects, fold)
    assert len(mixed) > 0.9 * len(set(subjects))
    assert mixed == sorted(
        s for s in set(subjects.tolist()) if len(set(fold[subjects == s].tolist())) > 1
    )


def test_random_folds_keep_the_class_shares(ckplus_like):
    _, labels = ckplus_like
    fold = random_folds(labels, 5, 1)
    table = np.array([np.bincount(labels[fold == f], minlength=6) for f in range(5)])
    assert (table.max(axis=0) - table.min(axis=0)).max() <= 1


def test_seed_decides(ckplus_like):
    subjects, labels = ckplus_like
    for make in (
        lambda s: subject_folds(subjects, labels, 10, s),
        lambda s: random_folds(labels, 10, s),
    ):
        assert np.array_equal(make(1), make(1))
        assert not np.array_equal(make(1), make(2))


def test_too_many_folds():
    with pytest.raises(UserError, match="3 subjects: choose k from 2 to 3"):
        subject_folds(np.array(["a", "b", "c"]), np.array([0, 1, 0]), 4, 0)
    with pytest.raises(UserError, match="so choose k from 2 to 2"):
        random_folds(np.array([0, 1, 0]), 3, 0)


def test_accuracy_by_fold_and_share_seen():
    fold = np.array([0, 0, 1, 1])
    right = splits.fold_accuracies(np.array([1, 1, 1, 1]), np.array([1, 0, 1, 1]), fold)
    assert right.tolist() == [0.5, 1.0]
    person = np.array(["a", "b", "a", "c"])
    assert splits.share_seen(person, fold) == 0.5
    assert splits.share_seen(np.array(["a", "a", "b", "b"]), fold) == 0.0
