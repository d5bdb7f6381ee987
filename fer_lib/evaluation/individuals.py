"""How far people differ: accuracy from subject to subject, and faces at rest.

With few images a subject, some subjects look easy and some hard by chance alone. So a spread is
compared with the spread of the same outcomes dealt out to subjects by chance.
"""

import numpy as np


def by_subject(outcomes: np.ndarray, subject: np.ndarray) -> np.ndarray:
    """(S,) mean outcome of each subject, from the outcomes (U,) of all; lowest first."""
    _, member = np.unique(subject, return_inverse=True)
    return np.sort(np.bincount(member, outcomes) / np.bincount(member))


def tenths(values: np.ndarray) -> tuple[float, float]:
    """Mean of the lowest and of the highest tenth of values (S,), at least one of each."""
    count, ordered = max(1, round(len(values) / 10)), np.sort(values)
    return float(ordered[:count].mean()), float(ordered[-count:].mean())


def by_chance(
    outcomes: np.ndarray, subject: np.ndarray, kind: np.ndarray, *, draws: int, seed: int
) -> np.ndarray:
    """`by_subject` of subjects that do not differ: outcomes are permuted among them.

    Args:
        outcomes: (U,) of units that belong together, such as the fraction of a sequence's frames
            that is classified correctly: frames of a sequence are right or wrong together.
        subject: (U,) whose units they are.
        kind: (U,) such as the emotion; outcomes are dealt out among units of one kind, so that a
            subject who shows hard emotions does not count as a hard subject.
        draws: how often, D.
        seed: of the draws.

    Returns:
        (D, S), each row lowest first.
    """
    rng = np.random.default_rng(seed)
    places = [np.flatnonzero(kind == name) for name in np.unique(kind)]
    found = []
    for _ in range(draws):
        dealt = outcomes.copy()
        for place in places:
            dealt[place] = rng.permutation(outcomes[place])
        found.append(by_subject(dealt, subject))
    return np.array(found)


def spread_between_and_within(values: np.ndarray, subject: np.ndarray) -> tuple[float, float]:
    """Standard deviations between subjects and within one (random-effects analysis of variance).

    The one within is the pooled standard deviation about each subject's mean. The one between is
    what is left of the means' spread when that has been taken away, 0 where nothing is left.

    Args:
        values: (N,) float.
        subject: (N,) of at least two subjects, one of whom has at least two values.

    Raises:
        ValueError: with fewer.
    """
    names, member = np.unique(subject, return_inverse=True)
    size = np.bincount(member)
    groups, total = len(names), len(values)
    if groups < 2 or total == groups:
        raise ValueError(f"{total} values of {groups} subjects have no spread to divide")
    means = np.bincount(member, values) / size
    within = ((values - means[member]) ** 2).sum() / (total - groups)
    between = (size * (means - values.mean()) ** 2).sum() / (groups - 1)
    each = (total - (size**2).sum() / total) / (groups - 1)  # their mean size, if it is equal
    return float(np.sqrt(max(between - within, 0) / each)), float(np.sqrt(within))
