"""Accuracy and its kin, and how sure we may be of them.

Everything is a function of the confusion matrix, which scikit-learn counts. So a
bootstrap needs only resampled matrices, and thousands of them cost a fraction of a second.

Shapes: N images, K classes. Shares lie in [0, 1].
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
    # Here, for it takes seconds to import and the report needs none of it.
    from sklearn.metrics import confusion_matrix

    return confusion_matrix(labels, predictions, labels=np.arange(classes)).astype(np.int64)


def accuracy(counts: np.ndarray) -> np.ndarray:
    """Share of images on the diagonal: (..., K, K) counts -> (...) in [0, 1]."""
    return _diagonal(counts).sum(axis=-1) / counts.sum(axis=(-2, -1))


def per_class_recall(counts: np.ndarray) -> np.ndarray:
    """Share of each true class that was found: (..., K, K) -> (..., K); NaN without images."""
    return _divide(_diagonal(counts), counts.sum(axis=-1))


def macro_f1(counts: np.ndarray) -> np.ndarray:
    """F1 averaged over the classes that have images: (..., K, K) counts -> (...) in [0, 1].

    F1 = 2 TP / (2 TP + FP + FN). A class that is predicted but never true (neutral in CK+48) has no
    F1 of its own; its false alarms are the misses of the others.
    """
    f1 = _divide(2 * _diagonal(counts), counts.sum(axis=-1) + counts.sum(axis=-2))
    return np.nanmean(np.where(counts.sum(axis=-1) > 0, f1, np.nan), axis=-1)


def class_recall(index: int) -> Metric:
    """The recall of one class as a metric."""
    return lambda counts: per_class_recall(counts)[..., index]


def bootstrap_confusions(
    labels: np.ndarray,
    predictions: np.ndarray,
    classes: int,
    *,
    n: int,
    seed: int,
    groups: np.ndarray | None = None,
) -> np.ndarray:
    """Confusion matrices of `n` test sets drawn with replacement from this one.

    Drawing N images with replacement and counting is one multinomial draw over the matrix's cells.
    With `groups`, whole groups are drawn: images of one person are no independent evidence.

    Args:
        labels: (N,) int.
        predictions: (N,) int.
        classes: K.
        n: number of resampled sets.
        seed: of the draw.
        groups: (N,) what each image belongs to, such as its subject.

    Returns:
        (n, K, K) int64.
    """
    rng = np.random.default_rng(seed)
    whole = confusion(labels, predictions, classes)
    if groups is None:
        draws = rng.multinomial(whole.sum(), whole.ravel() / whole.sum(), size=n)
    else:
        names, member = np.unique(groups, return_inverse=True)
        cells = np.zeros((len(names), classes * classes), dtype=np.int64)
        np.add.at(cells, (member, np.asarray(labels) * classes + np.asarray(predictions)), 1)
        draws = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=n) @ cells
    return draws.reshape(n, classes, classes)


def bootstrap_interval(
    labels: np.ndarray,
    predictions: np.ndarray,
    classes: int,
    metric: Metric = accuracy,
    *,
    n: int,
    seed: int,
    groups: np.ndarray | None = None,
) -> tuple[float, float]:
    """The 95 % percentile interval of `metric`; see `bootstrap_confusions` for the arguments.

    It tells how much the figure owes to the choice of test images (or persons), not how much it
    would move if the network were trained anew.
    """
    draws = metric(
        bootstrap_confusions(labels, predictions, classes, n=n, seed=seed, groups=groups)
    )
    low, high = np.nanpercentile(draws, [2.5, 97.5])
    return float(low), float(high)


def mean_interval(values: np.ndarray, *, n: int = 2000, seed: int = 0) -> tuple[float, float]:
    """The 95 % percentile interval of a mean over images.

    Args:
        values: (N,) float; NaN are left out.
        n: bootstrap draws.
        seed: of the draws.
    """
    known, rng = values[~np.isnan(values)], np.random.default_rng(seed)
    draws = [known[rng.integers(len(known), size=len(known))].mean() for _ in range(n)]
    low, high = np.percentile(draws, [2.5, 97.5])
    return float(low), float(high)


def _diagonal(counts: np.ndarray) -> np.ndarray:
    return np.diagonal(counts, axis1=-2, axis2=-1)


def _divide(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Quotient, NaN where the divisor is 0."""
    return np.divide(above, below, out=np.full(below.shape, np.nan), where=below > 0)
