"""Checks of unit 1. Oracles: explicit counting, and the study's audit."""

import numpy as np

from fer_lib.data import audit
from fer_lib.data.arrays import load_fer13
from fer_lib.labels import remap_valence
from fer_tools.course.expectations import array, holds, same, sample

PARTS = np.array(["Training", "PublicTest", "PrivateTest"])


def check_most_frequent_baseline(answer):
    rng = np.random.default_rng(1)
    for training, test in (
        ([0, 0, 0, 1, 1, 2], [1, 1, 1, 0]),
        ([3, 3, 1], [0, 1, 2]),
        (rng.integers(0, 7, 500), rng.choice(7, 200, p=[0.4, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1])),
    ):
        training, test = np.array(training), np.array(test)
        counts, test_counts = np.bincount(training), np.bincount(test)
        same(
            answer(training, test), float(np.mean([t == counts.argmax() for t in test])),
            f"the baseline of {len(training)} training and {len(test)} test labels",
            mistakes={
                "You took the most frequent label of the test set: that is peeking.":
                    test_counts.max() / len(test),
                "This is the share of the most frequent label in the training set; count it in the "
                "test set.": counts.max() / len(training),
                "That is a percentage; return the share.": 100 * np.mean(test == counts.argmax()),
            },
        )  # fmt: skip


def check_to_valence(answer):
    for labels in (np.arange(7), np.random.default_rng(2).integers(0, 7, (4, 9))):
        kept = labels.copy()
        found = answer(labels)
        same(labels, kept, "the labels passed to your function",
             hint="You changed them in place; make a new array.")  # fmt: skip
        in_place = labels.copy()
        for old, new in ((0, 0), (1, 0), (2, 0), (3, 2), (4, 0), (5, -1), (6, 1)):
            in_place[in_place == old] = new
        surprise_kept = np.where(labels == 5, 1, remap_valence(labels))
        same(
            found, remap_valence(labels), f"the valences of labels of shape {labels.shape}",
            mistakes={
                "Surprise is left out (-1), not neutral.": surprise_kept,
                "You change an array that you are still reading from.": in_place,
            },
        )  # fmt: skip


def check_first_copy(answer):
    rng = np.random.default_rng(3)
    base = rng.integers(0, 256, (1, 6, 6), dtype=np.uint8)
    # The same gray values in another order: sum, mean and histogram are equal, the image is not.
    rotated = np.rot90(base, axes=(1, 2)).copy()
    brighter = base.copy()
    brighter[0, 5, 5] ^= 1
    images = np.concatenate([base, rotated, brighter, base, rotated, base])
    same(
        answer(images), np.array([0, 1, 2, 0, 1, 0]),
        "the first copies of an image, a rotated one, one with another pixel, and copies of them",
        mistakes={
            "Equal sums or means do not make equal images.": np.array([0, 0, 2, 0, 0, 0]),
            "Return the position of the first copy, not of the previous one.":
                np.array([0, 1, 2, 0, 1, 3]),
            "Return positions of images, not group numbers or counts.":
                np.array([3, 2, 1, 3, 2, 3]),
        },
    )  # fmt: skip
    many = rng.integers(0, 256, (40, 8, 8), dtype=np.uint8)[rng.integers(0, 40, 300)]
    expected = [int(np.flatnonzero((many == image).all(axis=(1, 2)))[0]) for image in many]
    same(answer(many), np.array(expected), "the first copies among 300 random images")

    images = load_fer13(sample("fer13.npz")).images
    groups = audit.image_groups(images)
    first = np.unique(groups, return_index=True)[1][groups]
    same(answer(images), first, "the first copies in the sample study")


def check_leaked(answer):
    first = np.array([0, 1, 0, 3, 4, 3, 1, 7])
    usage = PARTS[[0, 1, 2, 1, 0, 0, 2, 0]]
    same(
        answer(first, usage), np.array([0, 0, 1, 1, 0, 0, 0, 0], dtype=bool),
        "the leaked images among eight",
        mistakes={
            "Training images are not leaked themselves.":
                np.array([1, 0, 1, 1, 0, 1, 0, 0], dtype=bool),
            "A copy in the other test split is not leaked from Training.":
                np.array([0, 0, 1, 1, 0, 0, 1, 0], dtype=bool),
            "A copy in Training may also come after the test image.":
                np.array([0, 0, 1, 0, 0, 0, 0, 0], dtype=bool),
        },
    )  # fmt: skip
    data = load_fer13(sample("fer13.npz"))
    same(answer(audit.image_groups(data.images), data.usage), data.duplicate_of_training,
         "the leaked images of the sample study")  # fmt: skip


def check_ceiling(answer):
    first, labels = np.array([0, 1, 0, 0, 4, 4, 6]), np.array([2, 1, 2, 0, 5, 3, 3])
    same(
        answer(first, labels), 5 / 7, "the ceiling of seven images in four groups",
        mistakes={
            "In a group with two labels some images can still be predicted correctly.": 2 / 7,
            "This is the share of groups; return the share of images.": 2 / 4,
            "In a group of two images with different labels one can be correct.": 4 / 7,
            "An image without a copy can be predicted correctly, too.": 3 / 7,
        },
    )  # fmt: skip
    rng = np.random.default_rng(5)
    first, labels = np.sort(rng.integers(0, 60, 200)), rng.integers(0, 4, 200)
    best = sum(max(sum(labels[first == g] == k) for k in range(4)) for g in set(first.tolist()))
    same(answer(first, labels), best / 200, "the ceiling of 200 random labels")
    holds(
        float(array(answer(np.arange(5), labels[:5]), "a ceiling")) == 1,
        "if no image has a copy, the ceiling is 1.",
    )
