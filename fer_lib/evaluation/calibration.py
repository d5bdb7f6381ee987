"""Calibration: reliability diagram, expected calibration error, temperature scaling."""

import numpy as np
import pandas as pd


def confidence_bins(
    labels: np.ndarray, probabilities: np.ndarray, bins: int = 15
) -> dict[str, np.ndarray]:
    """Confidence and correct predictions, summed over bins of confidence.

    Args:
        labels: (N,) int.
        probabilities: (N, K) float, rows sum to 1.
        bins: number of bins of confidence (the largest probability), of equal width, closed above.

    Returns:
        (bins,) each: confidence (its sum), right (correct predictions) and images_in_bin (counts).
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


def reliability_bins(labels: np.ndarray, probabilities: np.ndarray, bins: int = 15) -> pd.DataFrame:
    """The table of a reliability diagram; arguments as in `confidence_bins`.

    Returns:
        One row for each bin with images: low, high (its limits), confidence and accuracy
        (means, in [0, 1]), images (count).
    """
    edges = np.linspace(0, 1, bins + 1)
    summed = pd.DataFrame(confidence_bins(labels, probabilities, bins))
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
    labels: np.ndarray, probabilities: np.ndarray, bins: int = 15
) -> float:
    r"""Mean gap between confidence and accuracy (Guo et al. 2017, eq. 3), in [0, 1].

    .. math:: \mathrm{ECE} = \sum_b \frac{n_b}{N} |\mathrm{acc}(b) - \mathrm{conf}(b)|
    """
    table = reliability_bins(labels, probabilities, bins)
    gap = (table.accuracy - table.confidence).abs()
    return float((gap * table.images).sum() / table.images.sum())


def fit_temperature(labels: np.ndarray, logits: np.ndarray) -> float:
    r"""Temperature scaling (Guo et al. 2017, section 4.2).

    One number T divides all logits. The predicted class stays, its confidence changes:

    .. math:: T = \arg\min_T -\frac{1}{N} \sum_i \log\mathrm{softmax}(z_i / T)_{y_i}

    Args:
        labels: (N,) int, of the validation set, on which the network was not trained.
        logits: (N, K) float.

    Returns:
        T in [0.05, 20]; above 1 the network was overconfident, below 1 underconfident.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    rows = np.arange(len(labels))

    def cross_entropy(log_temperature: float) -> float:
        return -float(log_softmax(logits / np.exp(log_temperature), axis=1)[rows, labels].mean())

    limits = np.log([0.05, 20.0])
    return float(np.exp(minimize_scalar(cross_entropy, bounds=limits, method="bounded").x))
