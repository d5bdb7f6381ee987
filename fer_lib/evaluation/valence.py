"""Valence, from -1 negative to +1 positive, of a network's probabilities or intensities."""

import numpy as np

from fer_lib.labels import FER_CLASSES, LEFT_OUT, TO_VALENCE, VALENCE_CLASSES, VALENCE_SIGN


def valence_probabilities(probabilities: np.ndarray, classes: tuple[str, ...]) -> np.ndarray:
    """P(negative), P(neutral), P(positive) of each row.

    Seven classes are summed by paper A's remapping. Chosen: surprise, which the paper leaves out,
    counts for none of the three and the rest is *not* scaled up to 1. Scaling up would divide by
    1 - P(surprise), so that a clearly surprised face took its valence from the few hundredths that
    the network spread at random over the other classes.

    Args:
        probabilities: (N, 7) or (N, 3).
        classes: names of the columns: FER_CLASSES or VALENCE_CLASSES.

    Returns:
        (N, 3); a row sums to 1, or to 1 - P(surprise).

    Raises:
        ValueError: if the classes are others, or do not match the columns.
    """
    probabilities = np.asarray(probabilities)
    if probabilities.ndim != 2 or probabilities.shape[1] != len(classes):
        raise ValueError(f"{probabilities.shape} probabilities for {len(classes)} classes")
    if tuple(classes) == VALENCE_CLASSES:
        return probabilities
    if tuple(classes) != FER_CLASSES:
        raise ValueError(f"no valence is defined for the classes {', '.join(classes)}")
    sums = np.zeros((len(probabilities), len(VALENCE_CLASSES)), dtype=probabilities.dtype)
    for column in np.flatnonzero(TO_VALENCE != LEFT_OUT):
        sums[:, TO_VALENCE[column]] += probabilities[:, column]
    return sums


def valence(probabilities: np.ndarray, classes: tuple[str, ...]) -> np.ndarray:
    """Paper A's score, P(positive) - P(negative).

    Args and errors as in `valence_probabilities`.

    Returns:
        (N,) in [-1, 1]: -1 purely negative, 0 neutral (or undecided), +1 purely positive.
    """
    return valence_probabilities(probabilities, classes) @ VALENCE_SIGN


def valence_of_intensities(intensities: np.ndarray) -> np.ndarray:
    """Another valence than paper A's: the intensity of happy less that of the negative four.

    Unlike P(positive) - P(negative), it is near 0 for a weak expression however sure its class.
    (N, 7) in [0, 1] -> (N,) in [-1, 1]; the negative four together count for at most 1.
    """
    negative = np.minimum(intensities[:, TO_VALENCE == 0].sum(axis=1), 1)
    return intensities[:, FER_CLASSES.index("happy")] - negative
