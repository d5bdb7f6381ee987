"""How far probabilities can be believed: reliability, calibration error, temperature."""

import numpy as np
import pandas as pd


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
