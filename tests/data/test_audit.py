"""The audit against hand-made sets and against the plainest possible loops."""

import json

import numpy as np
import pytest

from fer_lib.data.arrays import Fer13
from fer_lib.data.audit import (
    audit,
    blank,
    duplicate_of_training,
    fer_plus_summary,
    image_groups,
)


def make(contents: list[int], labels: list[int], usage: str, votes=None) -> Fer13:
    """Images named by a number (equal numbers, equal bytes); usage as letters T, P, Q."""
    splits = {"T": "Training", "P": "PublicTest", "Q": "PrivateTest"}
    textures = np.random.default_rng(0).integers(0, 256, (20, 48, 48)).astype(np.uint8)
    images, names = textures[contents], np.array([splits[u] for u in usage])
    return Fer13(
        images=images,
        labels=np.array(labels),
        usage=names,
        row=np.arange(len(labels)),
        votes=np.full((len(labels), 10), -1) if votes is None else np.array(votes),
        duplicate_of_training=duplicate_of_training(images, names),
    )


@pytest.fixture
def small() -> Fer13:
    #           0  1  2  3  4  5  6  7  8  9
    contents = [0, 1, 0, 2, 0, 3, 3, 4, 2, 5]
    labels = [0, 1, 0, 2, 1, 3, 3, 4, 2, 5]
    return make(contents, labels, "TTTTPPQQQQ")


def test_groups_are_numbered_as_they_appear(small):
    assert image_groups(small.images).tolist() == [0, 1, 0, 2, 0, 3, 3, 4, 2, 5]


def test_duplicates_of_training(small):
    assert np.flatnonzero(small.duplicate_of_training).tolist() == [4, 8]


def test_counts_of_the_small_set(small):
    found = audit(small)
    assert found["images"] == 10
    assert found["splits"] == {"Training": 4, "PublicTest": 2, "PrivateTest": 4}
    assert found["duplicates"] == {
        "groups": 3, "images": 7, "groups_across_splits": 3, "largest_group": 3,
        "test_images_in_training": {"PublicTest": 1, "PrivateTest": 1}, "share_of_test": 2 / 6,
    }  # fmt: skip
    assert found["conflicts"] == {"groups": 1, "images": 3}
    assert found["fer_plus"] is None
    assert found["classes"]["PublicTest"] == {
        "angry": 0, "disgust": 1, "fear": 0, "happy": 1, "sad": 0, "surprise": 0, "neutral": 0,
    }  # fmt: skip


def test_the_audit_is_plain_json(small):
    votes = np.tile([6, 4] + [0] * 8, (10, 1))
    full = make([0] * 10, [0] * 10, "TTTTPPQQQQ", votes)
    for data in (small, full):
        assert json.loads(json.dumps(audit(data))) == audit(data)


def test_a_set_without_duplicates():
    found = audit(make([0, 1, 2], [0, 1, 2], "TPQ"))
    assert found["duplicates"]["groups"] == found["duplicates"]["largest_group"] == 0
    assert found["conflicts"] == {"groups": 0, "images": 0}


def test_groups_against_comparing_every_pair():
    rng = np.random.default_rng(1)
    contents, labels = rng.integers(0, 12, 40), rng.integers(0, 3, 40)
    data = make(contents.tolist(), labels.tolist(), "".join(rng.choice(list("TPQ"), 40)))
    members = {}
    for i in range(40):
        same = [j for j in range(40) if np.array_equal(data.images[i], data.images[j])]
        if len(same) > 1:
            members[tuple(same)] = True
    found = audit(data)
    assert found["duplicates"]["groups"] == len(members)
    assert found["duplicates"]["images"] == sum(map(len, members))
    assert found["duplicates"]["groups_across_splits"] == sum(
        len({data.usage[j] for j in group}) > 1 for group in members
    )
    assert found["conflicts"]["groups"] == sum(
        len({data.labels[j] for j in group}) > 1 for group in members
    )
    for i in range(40):
        in_training = any(
            np.array_equal(data.images[i], other) for other in data.images[data.usage == "Training"]
        )
        assert data.duplicate_of_training[i] == (in_training and data.usage[i] != "Training")


def test_one_pixel_makes_a_difference():
    images = np.zeros((2, 48, 48), dtype=np.uint8)
    images[1, 47, 47] = 1
    assert image_groups(images).tolist() == [0, 1]


def test_blank_images():
    images = np.random.default_rng(0).integers(0, 256, (4, 48, 48)).astype(np.uint8)
    images[1] = 0
    images[2] = 250 + np.arange(48) % 6  # as after JPEG: wavers by a few values
    assert blank(images).tolist() == [False, True, True, False]
    assert blank(images, largest_range=0).tolist() == [False, True, False, False]


def test_fer_plus_majorities():
    votes = np.zeros((4, 10), dtype=np.int64)
    votes[0, 1] = 10  # all for happiness
    votes[1, [0, 3]] = 5  # a tie: half is no majority
    votes[2, 9] = 6  # not a face
    votes[2, 8] = 4
    votes[3, [0, 1, 2]] = [4, 3, 3]
    assert fer_plus_summary(votes) == {
        "images_without_majority": 2, "share_without_majority": 0.5, "images_not_a_face": 1,
    }  # fmt: skip
