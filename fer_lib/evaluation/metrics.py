"""Accuracy, recall and F1 with bootstrap confidence intervals.

Each metric is a function of the confusion matrix, which scikit-learn counts. So the bootstrap
resamples matrices instead of images, and thousands of draws cost a fraction of a second.

Shapes: N images, K classes. Metrics lie in [0, 1].
"""

from collections.abc import Callable

import numpy as np

Metric = Callable[[np.ndarray], np.ndarray]


def confusion(labels: np.ndarray, predictions: np.ndarray, classes: int) -> np.ndarray:
    """Count the images of each true class (row) and predicted class (column).

    Args:
        labels: (N,) int, 0 to classes - 1.
        predictions: (N,) int, 0 to classes - 1.
        classes: K.

    Returns:
        (K, K) int64.

    Raises:
        ValueError: without images, or with a class outside 0..K-1.
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    if len(labels) == 0:
        raise ValueError("no image to evaluate")
    for name, values in (("label", labels), ("prediction", predictions)):
        if values.min() < 0 or values.max() >= classes:
            raise ValueError(
                f"each {name} must lie in 0..{classes - 1}, found {values.min()}..{values.max()}"
            )
    # Imported here: it takes seconds, and the report does not need it.
    from sklearn.metrics import confusion_matrix

    return confusion_matrix(labels, predictions, labels=np.arange(classes)).astype(np.int64)


def accuracy(counts: np.ndarray) -> np.ndarray:
    """Fraction of images on the diagonal: (..., K, K) counts -> (...)."""
    return _diagonal(counts).sum(axis=-1) / counts.sum(axis=(-2, -1))


def per_class_recall(counts: np.ndarray) -> np.ndarray:
    """Recall of each class: (..., K, K) counts -> (..., K); NaN for a class without images."""
    return _divide(_diagonal(counts), counts.sum(axis=-1))


def macro_f1(counts: np.ndarray) -> np.ndarray:
    """F1 averaged over the classes that have images: (..., K, K) counts -> (...).

    F1 = 2 TP / (2 TP + FP + FN). A class that is predicted but never true (neutral in CK+48) has no
    F1 of its own; its false positives are the false negatives of the others.
    """
    f1 = _divide(2 * _diagonal(counts), counts.sum(axis=-1) + counts.sum(axis=-2))
    return np.nanmean(np.where(counts.sum(axis=-1) > 0, f1, np.nan), axis=-1)


def macro_recall(counts: np.ndarray) -> np.ndarray:
    """Recall averaged over the classes that have images: (..., K, K) counts -> (...).

    Also called balanced accuracy: it does not depend on how many images a class has, and so
    compares data sets with other shares of the classes.
    """
    return np.nanmean(per_class_recall(counts), axis=-1)


def class_recall(index: int) -> Metric:
    """The recall of one class as a metric."""
    return lambda counts: per_class_recall(counts)[..., index]


def resample(counts: np.ndarray, *, resamples: int, seed: int) -> np.ndarray:
    """Bootstrap a table of counts.

    Drawing N images with replacement and counting them is one multinomial draw over the cells.
    With several rows, whole rows are drawn: images of one subject are not independent.

    Args:
        counts: (C,) images in each cell, or (G, C), a row a group.
        resamples: number of test sets to draw, R.
        seed: of the draws.

    Returns:
        (R, C) int64.
    """
    rng = np.random.default_rng(seed)
    if counts.ndim == 1:
        return rng.multinomial(counts.sum(), counts / counts.sum(), size=resamples)
    groups = len(counts)
    return rng.multinomial(groups, np.full(groups, 1 / groups), size=resamples) @ counts


def bootstrap_interval(
    labels: np.ndarray,
    predictions: np.ndarray,
    classes: int,
    metric: Metric = accuracy,
    *,
    resamples: int,
    seed: int,
    groups: np.ndarray | None = None,
) -> tuple[float, float]:
    """The 95 % percentile interval of a metric (Efron and Tibshirani 1993, chapter 13).

    It covers the choice of test images (or subjects), not the variance over training seeds.

    Args:
        labels: (N,) int.
        predictions: (N,) int.
        classes: K.
        metric: `accuracy`, `macro_f1` or `class_recall(...)`.
        resamples: number of test sets to draw.
        seed: of the draws.
        groups: (N,) what each image belongs to, such as its subject; whole groups are drawn.
    """
    counts = confusion(labels, predictions, classes).ravel()
    if groups is not None:
        names, member = np.unique(groups, return_inverse=True)
        counts = np.zeros((len(names), classes * classes), dtype=np.int64)
        np.add.at(counts, (member, np.asarray(labels) * classes + np.asarray(predictions)), 1)
    draws = resample(counts, resamples=resamples, seed=seed).reshape(-1, classes, classes)
    low, high = np.nanpercentile(metric(draws), [2.5, 97.5])
    return float(low), float(high)


def exact_interval(rate: float, trials: float) -> tuple[float, float]:
    """The 95 % interval of Clopper and Pearson (1934) of a binomial proportion.

    Where almost nothing goes wrong, a bootstrap cannot draw an error that was not seen; without
    any error its interval has no width. This one has.

    Args:
        rate: in [0, 1].
        trials: at least 1; of grouped images `effective_trials`, so not always a whole number.
    """
    from scipy.stats import beta

    right, wrong = rate * trials, (1 - rate) * trials
    low = beta.ppf(0.025, right, wrong + 1) if right > 0 else 0.0
    high = beta.ppf(0.975, right + 1, wrong) if wrong > 0 else 1.0
    return float(low), float(high)


def effective_trials(wrong: np.ndarray, images: np.ndarray) -> float:
    """How many independent images grouped ones are worth (Korn and Graubard 1998).

    The variance that the binomial would have with one trial an image, divided by the variance
    between the groups. With errors in fewer than two groups nothing is known of the latter, so a
    group counts as one trial: the least that it can be worth.

    Args:
        wrong: (G,) images in error of each group, such as a subject; fractions are allowed.
        images: (G,) images of each group.

    Returns:
        From G to the number of images.
    """
    groups, total = len(images), images.sum()
    if (wrong > 0).sum() < 2:
        return float(groups)
    rate = wrong.sum() / total
    between = groups / (groups - 1) * ((wrong - rate * images) ** 2).sum() / total**2
    return float(np.clip(rate * (1 - rate) / between, groups, total))


def mean_interval(
    values: np.ndarray, *, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """The 95 % percentile interval of the mean of `values` (N,) float; NaN are left out."""
    from scipy.stats import bootstrap

    known = values[~np.isnan(values)]
    found = bootstrap(
        (known,), np.mean, n_resamples=resamples, method="percentile", batch=100, rng=seed
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def _diagonal(counts: np.ndarray) -> np.ndarray:
    return np.diagonal(counts, axis1=-2, axis2=-1)


def _divide(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Quotient, NaN where the divisor is 0."""
    return np.divide(above, below, out=np.full(below.shape, np.nan), where=below > 0)
