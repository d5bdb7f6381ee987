"""Accuracy and its kin, how sure we may be of them, and the JSON files that publish them.

Everything but calibration is a function of the confusion matrix, which scikit-learn counts. So a
bootstrap needs only resampled matrices, and thousands of them cost a fraction of a second.

Shapes: N images, K classes. Shares lie in [0, 1]; published figures are percentages.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from fer_lib.errors import UserError
from fer_lib.files import whole

Metric = Callable[[np.ndarray], np.ndarray]

# Digits after the point of a published figure. Percentages of a few thousand images carry no more.
DECIMALS = {
    "percent": 2,
    "values": 0,
    "multiply-adds": 0,
    "images": 0,
    "groups": 0,
    "score": 3,
}
FIGURE_KEYS = ("value", "unit", "n", "split", "protocol", "seeds", "stage")


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


def confidence_bins(
    probabilities: np.ndarray, labels: np.ndarray, bins: int = 15
) -> dict[str, np.ndarray]:
    """How sure a network is and how often it is right, summed over bins of confidence.

    Args:
        probabilities: (N, K) float, rows sum to 1.
        labels: (N,) int.
        bins: number of equally wide bins of confidence (the largest probability), closed above.

    Returns:
        (bins,) each: confidence (its sum), right and images_in_bin (counts).
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.digitize(confidence, edges, right=True) - 1, 0, bins - 1)
    return {
        "confidence": np.bincount(place, confidence, minlength=bins),
        "right": np.bincount(place[right], minlength=bins),
        "images_in_bin": np.bincount(place, minlength=bins),
    }


def reliability_bins(probabilities: np.ndarray, labels: np.ndarray, bins: int = 15) -> pd.DataFrame:
    """How often the network is right, by how sure it is; arguments as in `confidence_bins`.

    Returns:
        One row for each bin that holds images: low, high (its limits), confidence and accuracy
        (means, in [0, 1]), images (count).
    """
    edges = np.linspace(0, 1, bins + 1)
    summed = pd.DataFrame(confidence_bins(probabilities, labels, bins))
    table = pd.DataFrame(
        {
            "low": edges[:-1],
            "high": edges[1:],
            "confidence": summed.confidence / summed.images_in_bin,
            "accuracy": summed.right / summed.images_in_bin,
            "images": summed.images_in_bin,
        }
    )
    return table[table.images > 0].reset_index(drop=True)


def expected_calibration_error(
    probabilities: np.ndarray, labels: np.ndarray, bins: int = 15
) -> float:
    r"""Mean gap between confidence and accuracy (Guo et al. 2017, eq. 3), in [0, 1].

    .. math:: \mathrm{ECE} = \sum_b \frac{n_b}{N} |\mathrm{acc}(b) - \mathrm{conf}(b)|
    """
    table = reliability_bins(probabilities, labels, bins)
    gap = (table.accuracy - table.confidence).abs()
    return float((gap * table.images).sum() / table.images.sum())


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    r"""The temperature that makes probabilities honest (Guo et al. 2017, section 4.2).

    One number T divides all logits, so no prediction changes, only how sure it is:

    .. math:: T = \arg\min_T -\frac{1}{N} \sum_i \log\mathrm{softmax}(z_i / T)_{y_i}

    Args:
        logits: (N, K) float of the validation set, on which the network was not trained.
        labels: (N,) int.

    Returns:
        T in [0.05, 20]; above 1 the network was too sure of itself, below 1 not sure enough.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    rows = np.arange(len(labels))

    def cross_entropy(log_temperature: float) -> float:
        return -float(log_softmax(logits / np.exp(log_temperature), axis=1)[rows, labels].mean())

    limits = np.log([0.05, 20.0])
    return float(np.exp(minimize_scalar(cross_entropy, bounds=limits, method="bounded").x))


def figure(
    value: float,
    *,
    unit: str,
    n: int,
    split: str,
    protocol: str,
    seeds: Iterable[int],
    stage: str,
    low: float | None = None,
    high: float | None = None,
    spread: float | None = None,
) -> dict:
    """One published figure with all that is needed to read it.

    Args:
        value: in `unit`; rounded as `DECIMALS` says.
        unit: "percent" for shares (62.31, not 0.6231), "values" for parameters, ...
        n: number of images (or whatever `split` counts) behind it.
        split: on which data, such as "FER2013 PrivateTest".
        protocol: how, in a few words.
        seeds: of the trainings behind it; empty where nothing was trained.
        stage: the notebook that computed it.
        low: lower end of the 95 % interval.
        high: upper end.
        spread: standard deviation over the seeds, where `value` is their mean.

    Raises:
        ValueError: on an unknown unit, or a value that is not finite.
    """
    if unit not in DECIMALS:
        raise ValueError(f"unknown unit {unit!r}: use one of {', '.join(DECIMALS)}")
    entry: dict = {
        "value": value, "unit": unit, "n": int(n), "split": split, "protocol": protocol,
        "seeds": [int(seed) for seed in seeds], "stage": stage,
    }  # fmt: skip
    if low is not None and high is not None:
        entry |= {"low": low, "high": high}
    if spread is not None:
        entry["spread"] = spread
    for key in entry.keys() & {"value", "low", "high", "spread"}:
        number = float(entry[key])
        if not np.isfinite(number):
            raise ValueError(f"{key} is {number}, not a finite number")
        entry[key] = round(number, DECIMALS[unit]) if DECIMALS[unit] else round(number)
    return entry


def measured(
    labels: np.ndarray,
    predictions: np.ndarray,
    classes: int,
    metric: Metric = accuracy,
    *,
    n: int,
    seed: int,
    groups: np.ndarray | None = None,
    **about,
) -> dict:
    """`figure` of a metric in percent, with its bootstrap interval.

    Args:
        labels: (N,) int.
        predictions: (N,) int.
        classes: K.
        metric: `accuracy`, `macro_f1` or `class_recall(...)`.
        n: bootstrap draws.
        seed: of the bootstrap.
        groups: see `bootstrap_confusions`.
        about: split, protocol, seeds and stage of `figure`.
    """
    value = float(metric(confusion(labels, predictions, classes)))
    low, high = bootstrap_interval(
        labels, predictions, classes, metric, n=n, seed=seed, groups=groups
    )
    return figure(
        100 * value,
        unit="percent",
        n=len(labels),
        low=100 * low,
        high=100 * high,
        **about,
    )


def write_figures(path: Path, figures: Mapping[str, dict]) -> None:
    """Write figures by key as JSON: sorted, indented, whole or not at all."""
    text = json.dumps(dict(figures), indent=2, sort_keys=True, allow_nan=False) + "\n"
    with whole(path) as part:
        part.write_text(text, encoding="utf-8")


def read_figures(path: Path) -> dict[str, dict]:
    """Read what `write_figures` wrote.

    Raises:
        UserError: if the file is missing, no JSON, or an entry lacks a key.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing: run `uv run dvc repro`, whose stages write it")
    try:
        figures = json.loads(path.read_text())
        for key, entry in figures.items():
            missing = [name for name in FIGURE_KEYS if name not in entry]
            if missing:
                raise UserError(f"{path}: {key} lacks {', '.join(missing)}: run its stage again")
    except (json.JSONDecodeError, AttributeError, TypeError) as error:
        raise UserError(f"{path} holds no figures ({error}): run its stage again") from None
    return figures


def _diagonal(counts: np.ndarray) -> np.ndarray:
    return np.diagonal(counts, axis1=-2, axis2=-1)


def _divide(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Quotient, NaN where the divisor is 0."""
    return np.divide(above, below, out=np.full(below.shape, np.nan), where=below > 0)
