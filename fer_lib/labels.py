"""Label order, class names and remaps: the only place where they stand.

The order of the seven classes is FER2013's (the numbers in `fer2013.csv`). The three valence
classes follow paper A's remapping for its real-time system: Positive = happy; Neutral = neutral;
Negative = angry, disgust, fear, sad; surprise is left out as ambiguous.
"""

import numpy as np

FER_CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
VALENCE_CLASSES = ("negative", "neutral", "positive")
LEFT_OUT = -1

# Valence class of each of FER_CLASSES; LEFT_OUT where paper A drops the class.
TO_VALENCE = np.array([0, 0, 0, 2, 0, LEFT_OUT, 1], dtype=np.int64)

# Sign of each valence class on the line in [-1, 1]: valence = P(positive) - P(negative).
VALENCE_SIGN = np.array([-1.0, 0.0, 1.0])

# CK+ writes emotions in `*_emotion.txt` as these numbers ...
CKPLUS_EMOTIONS = (
    "neutral", "anger", "contempt", "disgust", "fear", "happy", "sadness", "surprise",
)  # fmt: skip
# ... and CK+48 as folders of these names. Contempt has no class in FER2013.
CKPLUS_TO_FER = {
    "neutral": 6, "anger": 0, "contempt": LEFT_OUT, "disgust": 1,
    "fear": 2, "happy": 3, "sadness": 4, "surprise": 5,
}  # fmt: skip

# Columns of the FER+ vote file, in its order, and the class each one votes for.
FER_PLUS_COLUMNS = (
    "neutral", "happiness", "surprise", "sadness", "anger",
    "disgust", "fear", "contempt", "unknown", "NF",
)  # fmt: skip
FER_PLUS_TO_FER = np.array([6, 3, 5, 4, 0, 1, 2, LEFT_OUT, LEFT_OUT, LEFT_OUT], dtype=np.int64)

# Codes of other collections: JAFFE and KDEF in the names of their files (KDEF's AF is "afraid"),
# RAF-DB as numbers from 1 in this order.
JAFFE_EMOTIONS = {
    "AN": "angry", "DI": "disgust", "FE": "fear", "HA": "happy", "SA": "sad", "SU": "surprise",
    "NE": "neutral",
}  # fmt: skip
KDEF_EMOTIONS = {
    "AF": "fear", "AN": "angry", "DI": "disgust", "HA": "happy", "SA": "sad", "SU": "surprise",
    "NE": "neutral",
}  # fmt: skip
RAFDB_EMOTIONS = ("surprise", "fear", "disgust", "happy", "sad", "angry", "neutral")

# What a network can be trained for: the names of its outputs, in the order of its logits.
# "ferplus-7" and "ferplus-7-vgg" learn FER+ votes and give intensities beside the classes.
TASKS = {
    "fer13-7": FER_CLASSES, "fer13-3": VALENCE_CLASSES, "ckplus-7": FER_CLASSES,
    "ferplus-7": FER_CLASSES, "ferplus-7-vgg": FER_CLASSES,
}  # fmt: skip


def remap_valence(labels: np.ndarray) -> np.ndarray:
    """Turn FER2013 labels into paper A's three valence classes.

    Args:
        labels: integer array of any shape, values 0 to 6 in the order of `FER_CLASSES`.

    Returns:
        int64 array of the same shape: 0 negative, 1 neutral, 2 positive, -1 for surprise.

    Raises:
        ValueError: if a label lies outside 0 to 6.
    """
    labels = np.asarray(labels)
    if labels.size and (labels.min() < 0 or labels.max() >= len(FER_CLASSES)):
        raise ValueError(f"labels must lie in 0..6, found {labels.min()}..{labels.max()}")
    return TO_VALENCE[labels]
