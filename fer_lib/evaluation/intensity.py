"""Intensities of emotions: targets from CK+ sequences, errors and agreement.

Paper B predicts an intensity for each of seven emotions and learns it from a data set that is not
public. Two public substitutes, each in [0, 1] for each emotion:

- `data.ferplus.targets_from_votes`: the fraction of FER+'s ten taggers who saw the emotion. It
  measures how clear an expression is to people: a strong but ambiguous one gets a low intensity, a
  weak but unmistakable one a high intensity.
- `targets_from_positions`: the position of a frame between neutral and apex in its CK+ sequence.
  It measures time, as if the expression grew linearly, and not how strong the apex is.

N faces, K = 7 classes in the order of `labels.FER_CLASSES`.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from fer_lib.data.arrays import CkPlus
from fer_lib.data.ferplus import TAGGERS
from fer_lib.errors import UserError
from fer_lib.labels import FER_CLASSES

TASKS_WITH_INTENSITIES = ("ferplus-7", "ferplus-7-vgg")
NEUTRAL = FER_CLASSES.index("neutral")


def targets_from_positions(data: CkPlus) -> np.ndarray:
    """Targets of a frame at position p: p for the emotion of its sequence, 1 - p for neutral.

    Args:
        data: frames of the CK+ release, read with `frames="all"`.

    Returns:
        (N, 7) float32 in [0, 1], rows sum to 1.

    Raises:
        UserError: if frames have no position (CK+48), or a sequence has no neutral frame.
    """
    if np.isnan(data.position).any():
        raise UserError(
            "these CK+ images have no position between neutral and apex, since CK+48 holds only "
            "the last frames: put the CK+ release beside it (data/README.md)."
        )
    first = pd.Series(data.position).groupby(data.sequence).min()
    if len(cut := first[first > 0.5]):
        raise UserError(
            f"sequence {cut.index[0]} has no frame near neutral (its first is at "
            f"{cut.iloc[0]:.0%} of the way to the apex): unpack the CK+ images again."
        )
    return single_emotion_targets(data.labels, data.position)


def single_emotion_targets(labels: np.ndarray, intensity: np.ndarray) -> np.ndarray:
    """Targets of faces that show one emotion each.

    Args:
        labels: (N,) int, the emotion.
        intensity: (N,) in [0, 1], of that emotion; neutral gets the rest. A face labeled neutral
            is neutral only.

    Returns:
        (N, 7) float32 in [0, 1], rows sum to 1.
    """
    rows = np.arange(len(labels))
    targets = np.zeros((len(labels), len(FER_CLASSES)), dtype=np.float32)
    targets[rows, labels] = intensity
    targets[:, NEUTRAL] = 1 - targets.sum(axis=1) + targets[:, NEUTRAL]
    targets[labels == NEUTRAL, NEUTRAL] = 1
    return targets


def errors_by_emotion(
    targets: np.ndarray, intensities: np.ndarray, baseline: np.ndarray
) -> pd.DataFrame:
    """Errors and agreement of intensities, for each emotion and pooled.

    Args:
        targets: (N, 7) in [0, 1].
        intensities: (N, 7) in [0, 1], predicted.
        baseline: (7,) a constant prediction: the training mean.

    Returns:
        Rows: the emotions in order, then "all" (all N x 7 values pooled). Columns: rmse; baseline
        (its rmse); ccc and spearman (see `concordance` and `rank_correlation`); mean_target.
    """
    constant = np.broadcast_to(baseline, targets.shape)
    rows = {}
    for name, k in [*((name, [k]) for k, name in enumerate(FER_CLASSES)), ("all", range(7))]:
        t, r, b = (array[:, list(k)].ravel() for array in (targets, intensities, constant))
        rows[name] = {
            "rmse": rmse(t, r), "baseline": rmse(t, b), "ccc": concordance(t, r),
            "spearman": rank_correlation(t, r), "mean_target": float(t.mean()),
        }  # fmt: skip
    return pd.DataFrame(rows).T


def rmse(targets: np.ndarray, values: np.ndarray) -> float:
    """Root of the mean squared difference, in the units of both."""
    return float(np.sqrt(np.mean((np.asarray(targets, float) - values) ** 2)))


def vote_noise_rmse(targets: np.ndarray) -> float:
    """RMSE from the sampling of ten taggers alone: the noise floor of vote fractions.

    The fraction s of T taggers varies around the fraction p of all people with variance
    p (1 - p) / T, of which s (1 - s) / (T - 1) is an unbiased estimate.

    Args:
        targets: (N, 7) vote fractions in [0, 1].
    """
    return float(np.sqrt(np.mean(targets * (1.0 - targets)) / (TAGGERS - 1)))


def concordance(targets: np.ndarray, values: np.ndarray) -> float:
    r"""Lin's concordance correlation coefficient (1989): 1 if equal, 0 if unrelated or constant.

    .. math:: \rho_c = \frac{2\,\mathrm{cov}(t, r)}
        {\mathrm{var}(t) + \mathrm{var}(r) + (\bar t - \bar r)^2}

    Unlike Pearson's correlation it is lowered by a wrong mean or scale.
    """
    t, r = (np.asarray(a, float).ravel() for a in (targets, values))
    sums = {"t": t, "r": r, "tt": t * t, "rr": r * r, "tr": t * r}
    return concordance_of_sums(1, {name: a[:, None].sum(axis=1) for name, a in sums.items()})


def concordance_of_sums(images: int, sums: Mapping[str, np.ndarray]) -> float:
    """`concordance` from sums over the images.

    Args:
        images: how many were summed.
        sums: (M,) each, pooled here: sums of targets "t", values "r", and their products "tt",
            "rr", "tr".
    """
    count = images * len(sums["t"])
    t, r, tt, rr, tr = (sums[name].sum() / count for name in ("t", "r", "tt", "rr", "tr"))
    divisor = (tt - t * t) + (rr - r * r) + (t - r) ** 2
    return float(2 * (tr - t * r) / divisor) if divisor > 1e-12 else 0.0


def rank_correlation(targets: np.ndarray, values: np.ndarray) -> float:
    """Spearman's rank correlation in [-1, 1]; 0 where one side is constant."""
    from scipy.stats import spearmanr  # slow to import

    if np.ptp(targets) == 0 or np.ptp(values) == 0:
        return 0.0
    return float(spearmanr(targets, values).statistic)
