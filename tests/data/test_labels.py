"""Label order and remaps, spelled out once more by name, so that a swapped number shows."""

import numpy as np
import pytest

from fer_lib import labels


def test_class_order_is_fer2013s():
    assert labels.FER_CLASSES == ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")


def test_valence_of_each_class():
    expected = {
        "angry": "negative", "disgust": "negative", "fear": "negative", "sad": "negative",
        "neutral": "neutral", "happy": "positive",
    }  # fmt: skip
    ids = labels.remap_valence(np.arange(len(labels.FER_CLASSES)))
    found = {
        name: labels.VALENCE_CLASSES[i]
        for name, i in zip(labels.FER_CLASSES, ids, strict=True)
        if i != labels.LEFT_OUT
    }
    assert found == expected
    assert dict(zip(labels.VALENCE_CLASSES, labels.VALENCE_SIGN, strict=True)) == {
        "negative": -1, "neutral": 0, "positive": 1,
    }  # fmt: skip


def test_remap_keeps_the_shape_and_accepts_an_empty_array():
    assert labels.remap_valence(np.array([[3, 5], [6, 0]], dtype=np.uint8)).tolist() == [
        [2, -1],
        [1, 0],
    ]
    assert labels.remap_valence(np.zeros(0, dtype=np.int64)).shape == (0,)


@pytest.mark.parametrize("wrong", [-1, 7])
def test_remap_rejects_other_labels(wrong):
    with pytest.raises(ValueError, match=r"0\.\.6"):
        labels.remap_valence(np.array([0, wrong]))


def test_ckplus_names_map_to_the_same_emotion():
    same = {"anger": "angry", "sadness": "sad"}
    assert set(labels.CKPLUS_TO_FER) == set(labels.CKPLUS_EMOTIONS)
    for name, label in labels.CKPLUS_TO_FER.items():
        if name == "contempt":
            assert label == labels.LEFT_OUT
        else:
            assert labels.FER_CLASSES[label] == same.get(name, name)


def test_ckplus_numbers_are_the_releases():
    assert dict(enumerate(labels.CKPLUS_EMOTIONS)) == {
        0: "neutral", 1: "anger", 2: "contempt", 3: "disgust",
        4: "fear", 5: "happy", 6: "sadness", 7: "surprise",
    }  # fmt: skip


def test_fer_plus_columns_vote_for_the_same_emotion():
    same = {"happiness": "happy", "sadness": "sad", "anger": "angry"}
    assert len(labels.FER_PLUS_COLUMNS) == len(labels.FER_PLUS_TO_FER) == 10
    for name, label in zip(labels.FER_PLUS_COLUMNS, labels.FER_PLUS_TO_FER, strict=True):
        if name in ("contempt", "unknown", "NF"):
            assert label == labels.LEFT_OUT
        else:
            assert labels.FER_CLASSES[label] == same.get(name, name)


def test_every_task_names_its_outputs():
    assert {task: len(names) for task, names in labels.TASKS.items()} == {
        "fer13-7": 7, "fer13-3": 3, "ckplus-7": 7, "ferplus-7": 7, "ferplus-7-vgg": 7,
    }  # fmt: skip
