"""Intensities: what a network is to say of each emotion, and how far off it was.

Paper B gives each face an intensity for each of seven emotions, learned from a set that is not
public. Two public stand-ins, each a number in [0, 1] for each emotion:

- `data.ferplus.targets_from_votes`: the share of FER+'s ten taggers who saw the emotion. It
  measures how plain an expression is to people, so a strong but ambiguous one gets small numbers,
  and a weak but unmistakable one large ones.
- `targets_from_positions`: a frame's place between neutral and apex in its CK+ sequence. It
  measures time: how far the movement has come if it grew evenly, and not how strong its apex is.

N faces, K = 7 classes in the order of `labels.FER_CLASSES`.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from fer_lib.data.arrays import CkPlus
from fer_lib.data.ferplus import TAGGERS
from fer_lib.errors import UserError
from fer_lib.evaluation.metrics import mean_interval
from fer_lib.labels import FER_CLASSES, TO_VALENCE

TASKS_WITH_INTENSITIES = ("ferplus-7", "ferplus-7-vgg")
NEUTRAL, HAPPY = FER_CLASSES.index("neutral"), FER_CLASSES.index("happy")
NEGATIVE = np.flatnonzero(TO_VALENCE == 0)


def targets_from_positions(data: CkPlus) -> np.ndarray:
    """A frame's place p in its sequence as p for the sequence's emotion and 1 - p for neutral.

    Args:
        data: frames of the CK+ release, read with `frames="all"`.

    Returns:
        (N, 7) float32 in [0, 1], rows sum to 1.

    Raises:
        UserError: if frames have no place (CK+48), or a sequence has no neutral frame.
    """
    if np.isnan(data.position).any():
        raise UserError(
            "these CK+ images do not tell their place between neutral and apex, since CK+48 holds "
            "the last frames alone: put the CK+ release beside it (data/README.md)."
        )
    first = pd.Series(data.position).groupby(data.sequence).min()
    if len(cut := first[first > 0.5]):
        raise UserError(
            f"sequence {cut.index[0]} has no frame near neutral (its first stands at "
            f"{cut.iloc[0]:.0%} of the way to the apex): unpack the CK+ images again."
        )
    return one_emotion(data.labels, data.position)


def one_emotion(labels: np.ndarray, intensity: np.ndarray) -> np.ndarray:
    """Targets (N, 7) float32 of faces that show one emotion `labels` (N,) and else nothing.

    `intensity` (N,) in [0, 1] is that of the emotion; neutral gets the rest. A face labelled
    neutral is neutral only.
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
    """How far intensities are off, for each emotion and over all.

    Args:
        targets: (N, 7) in [0, 1].
        intensities: (N, 7) in [0, 1], the network's.
        baseline: (7,) what is answered for every face without looking: the training mean.

    Returns:
        Rows: the emotions in order, then "all" (all N x 7 values pooled). Columns: rmse; baseline
        (its rmse); ccc and spearman (see `concordance` and `rank_correlation`); mean_target.
    """
    answers = np.broadcast_to(baseline, targets.shape)
    rows = {}
    for name, k in [*((name, [k]) for k, name in enumerate(FER_CLASSES)), ("all", range(7))]:
        t, r, b = (array[:, list(k)].ravel() for array in (targets, intensities, answers))
        rows[name] = {
            "rmse": rmse(t, r), "baseline": rmse(t, b), "ccc": concordance(t, r),
            "spearman": rank_correlation(t, r), "mean_target": float(t.mean()),
        }  # fmt: skip
    return pd.DataFrame(rows).T


def rmse(targets: np.ndarray, values: np.ndarray) -> float:
    """Root of the mean squared difference, in the units of both."""
    return float(np.sqrt(np.mean((np.asarray(targets, float) - values) ** 2)))


def rmse_interval(
    targets: np.ndarray, values: np.ndarray, *, n: int, seed: int
) -> tuple[float, float]:
    """The 95 % percentile interval of `rmse` over `n` test sets drawn from this one, face by face.

    Args:
        targets, values: (N, 7).
        n: number of resampled sets.
        seed: of the draw.
    """
    low, high = np.sqrt(mean_interval(((targets - values) ** 2).mean(axis=1), n=n, seed=seed))
    return float(low), float(high)


def noise_of_votes(targets: np.ndarray) -> float:
    """RMSE that ten taggers' chance leaves to a network that knows everybody's mind.

    The share of T taggers scatters round the share of all people with variance p (1 - p) / T; s (1
    - s) / (T - 1) estimates that without bias from the share s that was seen.
    """
    return float(np.sqrt(np.mean(targets * (1.0 - targets)) / (TAGGERS - 1)))


def concordance(targets: np.ndarray, values: np.ndarray) -> float:
    r"""Lin's concordance correlation (1989): 1 if equal, 0 if unrelated or constant.

    .. math:: \rho_c = \frac{2\,\mathrm{cov}(t, r)}
        {\mathrm{var}(t) + \mathrm{var}(r) + (\bar t - \bar r)^2}

    Unlike Pearson's correlation it falls where values have the right order but the wrong size.
    """
    t, r = (np.asarray(a, float).ravel() for a in (targets, values))
    sums = {"t": t, "r": r, "tt": t * t, "rr": r * r, "tr": t * r}
    return concordance_of_sums(1, {name: a[:, None].sum(axis=1) for name, a in sums.items()})


def concordance_of_sums(images: int, sums: Mapping[str, np.ndarray]) -> float:
    """`concordance` from sums over the images.

    Args:
        images: how many were summed.
        sums: (M,) each, pooled here: of targets "t", values "r", and their products "tt", "rr",
            "tr".
    """
    count = images * len(sums["t"])
    t, r, tt, rr, tr = (sums[name].sum() / count for name in ("t", "r", "tt", "rr", "tr"))
    divisor = (tt - t * t) + (rr - r * r) + (t - r) ** 2
    return float(2 * (tr - t * r) / divisor) if divisor > 1e-12 else 0.0


def rank_correlation(targets: np.ndarray, values: np.ndarray) -> float:
    """Spearman's: whether stronger is called stronger, in [-1, 1]; 0 where one side is constant."""
    from scipy.stats import spearmanr  # takes a while to import

    if np.ptp(targets) == 0 or np.ptp(values) == 0:
        return 0.0
    return float(spearmanr(targets, values).statistic)
