"""What is wrong with FER2013: duplicates, duplicates across splits, conflicting labels, blanks.

Only byte-identical images count as duplicates here; near-duplicates (other crop, other
compression) are more. So every figure on "test images that are not in Training" is still a
lenient one.
"""

import hashlib

import numpy as np
import pandas as pd

from fer_lib.data.arrays import USAGES, Fer13
from fer_lib.labels import FER_CLASSES, FER_PLUS_COLUMNS

# Largest minus smallest grey value of an image that counts as blank. Not 0, since a blank image
# that went through JPEG wavers by a few values; FER2013 has no image between 5 and 32.
BLANK_RANGE = 8


def image_groups(images: np.ndarray) -> np.ndarray:
    """Number the images so that byte-identical ones share a number.

    Args:
        images: (N, H, W) uint8.

    Returns:
        (N,) int64, 0 to G-1, in the order in which a content first appears.
    """
    digests = [hashlib.blake2b(image.tobytes(), digest_size=16).hexdigest() for image in images]
    return pd.factorize(np.array(digests, dtype=object))[0].astype(np.int64)


def duplicate_of_training(images: np.ndarray, usage: np.ndarray) -> np.ndarray:
    """Mark test images whose bytes are also in Training: (N,) bool, False within Training."""
    groups, training = image_groups(images), usage == "Training"
    return np.isin(groups, groups[training]) & ~training


def blank(images: np.ndarray, largest_range: int = BLANK_RANGE) -> np.ndarray:
    """Mark images of (nearly) one grey value: (N,) bool."""
    flat = images.reshape(len(images), -1)
    return flat.max(axis=1).astype(int) - flat.min(axis=1) <= largest_range


def class_distribution(labels: np.ndarray, usage: np.ndarray) -> pd.DataFrame:
    """Images by class (rows, in label order) and split (columns), as integers."""
    table = {
        split: np.bincount(labels[usage == split], minlength=len(FER_CLASSES)) for split in USAGES
    }
    return pd.DataFrame(table, index=list(FER_CLASSES))


def group_table(data: Fer13) -> pd.DataFrame:
    """One row for each group of two or more byte-identical images.

    Columns: group (number from `image_groups`), images, splits and labels (how many different ones
    the group holds), first_row (of the source).
    """
    frame = pd.DataFrame(
        {"group": image_groups(data.images), "usage": data.usage, "label": data.labels,
         "row": data.row}
    )  # fmt: skip
    table = frame.groupby("group", as_index=False).agg(
        images=("row", "size"),
        splits=("usage", "nunique"),
        labels=("label", "nunique"),
        first_row=("row", "min"),
    )
    return table[table.images > 1].reset_index(drop=True)


def audit(data: Fer13) -> dict:
    """Everything the audit counts, ready for JSON (plain ints, floats, strings, lists).

    Keys: images, splits, classes, duplicates, conflicts, blank, fer_plus (see the code; each count
    is a number of images unless its name contains groups).
    """
    groups = group_table(data)
    test = data.usage != "Training"
    blanks = blank(data.images)
    return {
        "images": len(data),
        "splits": {split: int((data.usage == split).sum()) for split in USAGES},
        "classes": {
            split: {name: int(count) for name, count in column.items()}
            for split, column in class_distribution(data.labels, data.usage).items()
        },
        "duplicates": {
            "groups": len(groups),
            "images": int(groups.images.sum()),
            "groups_across_splits": int((groups.splits > 1).sum()),
            "largest_group": int(groups.images.max()) if len(groups) else 0,
            "test_images_in_training": {
                split: int((data.duplicate_of_training & (data.usage == split)).sum())
                for split in USAGES[1:]
            },
            "share_of_test": float(data.duplicate_of_training[test].mean()),
        },
        "conflicts": {
            "groups": int((groups.labels > 1).sum()),
            "images": int(groups.images[groups.labels > 1].sum()),
        },
        "blank": {"images": int(blanks.sum()), "rows": data.row[blanks].tolist()},
        "fer_plus": fer_plus_summary(data.votes) if data.has_votes else None,
    }


def fer_plus_summary(votes: np.ndarray) -> dict:
    """Where the taggers of FER+ disagree.

    Args:
        votes: (N, 10) integer votes in the order of `FER_PLUS_COLUMNS`.

    Returns:
        images_without_majority (no column holds more than half of the votes), its share, and
        images_not_a_face (the majority of the votes).
    """
    total, most = votes.sum(axis=1), votes.max(axis=1)
    majority = 2 * most > total
    not_a_face = majority & (votes.argmax(axis=1) == FER_PLUS_COLUMNS.index("NF"))
    return {
        "images_without_majority": int((~majority).sum()),
        "share_without_majority": float((~majority).mean()),
        "images_not_a_face": int(not_a_face.sum()),
    }
