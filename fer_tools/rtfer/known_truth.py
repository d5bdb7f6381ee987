"""How well a valence line follows a truth that is known at every frame."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.signal import lfilter

from fer_tools.rtfer.changes import change_points
from fer_tools.rtfer.defaults import SMOOTHING_SECONDS
from fer_tools.rtfer.smoothing import smooth
from fer_tools.rtfer.valence import correlation, lag_seconds

QUANTILE = 1.96  # of the normal distribution: the band holds 95 %, if it is right
TRIAL_SECONDS, TRIAL_RATE = 20.0, 25.0  # of made-up lines; the second in frames a second
NEAR = 0.2  # seconds by which a jump may be found early or late


def score(line: pd.DataFrame, truth: pd.DataFrame) -> dict[str, float]:
    """Compare a smoothed line with the truth, where a whole face is in the frame and found.

    Args:
        line: one row a frame, see `engine.largest_face`.
        truth: one row a frame of the same video: valence, face_present (0 or 1).

    Returns:
        correlation; lag (seconds, positive if the line is late); error (mean absolute, 0 to 2);
        error_from_rest (the same after the mean over the neutral frames has been taken away);
        coverage (percent of frames whose truth lies in the band); found (percent of frames with a
        whole face in which it is found). NaN where something is undefined.
    """
    present = truth.face_present == 1
    shown = present & line.face_found
    smooth, true = line.valence_smooth.where(shown), truth.valence
    inside = (true - smooth).abs() <= QUANTILE * line.valence_sd
    from_rest = smooth - smooth[true == 0].mean()
    return {
        "correlation": correlation(smooth, true),
        "lag": lag_seconds(line.time_s.to_numpy(), smooth.to_numpy(), true.to_numpy()),
        "error": float((smooth - true).abs().mean()),
        "error_from_rest": float((from_rest - true).abs().mean()),
        "coverage": 100 * float(inside[shown].mean()) if shown.any() else np.nan,
        "found": 100 * float(line.face_found[present].mean()) if present.any() else np.nan,
    }


def jump_trials(
    noises: dict[str, np.ndarray], lengths: Sequence[float], *, count: int = 10, seed: int = 0
) -> pd.DataFrame:
    """Made-up lines that jump from -0.3 to 0.4 and back, with noise on them.

    Args:
        noises: by name, a long series of frames' errors, of which each line takes a random part.
        lengths: seconds from one jump to the next.
        count: lines for each noise and length, of `TRIAL_SECONDS` each.
        seed: of the random numbers.

    Returns:
        Rows by noise and length; columns hits (percent of the jumps that are found within
        `NEAR`), false alarms (a minute), coverage (percent of the frames whose truth lies in the
        band).
    """
    rng, rows = np.random.default_rng(seed), {}
    times = np.arange(0, TRIAL_SECONDS, 1 / TRIAL_RATE)
    edges = np.append(times, TRIAL_SECONDS)
    for name, noise in noises.items():
        for length in lengths:
            scores = []
            for _ in range(count):
                first = rng.uniform(5, TRIAL_SECONDS - 5 - length)
                true = np.where((times >= first) & (times < first + length), 0.4, -0.3)
                line = (true + np.roll(noise, rng.integers(len(noise)))[: len(times)]).clip(-1, 1)
                scores.append(_score_trial(edges, line, true, (first, first + length)))
            rows[name, f"{length:g} s"] = np.mean(scores, axis=0)
    table = pd.DataFrame(rows, index=["hits, %", "false alarms a minute", "coverage, %"]).T
    return table.rename_axis(["noise", "from jump to jump"])


def correlated_noise(correlation: float, sd: float, seed: int) -> np.ndarray:
    """(1500,) errors whose neighbours are correlated by so much: a first-order autoregression."""
    fresh = np.random.default_rng(seed).normal(0, sd * (1 - correlation**2) ** 0.5, 1500)
    return lfilter([1], [1, -correlation], fresh)


def _score_trial(
    edges: np.ndarray, line: np.ndarray, true: np.ndarray, jumps: tuple[float, float]
) -> tuple[float, float, float]:
    level, sd = smooth(edges[:-1], line, SMOOTHING_SECONDS)
    found = [change["time_s"] for change in change_points(edges, line)]
    hits = sum(any(abs(time - jump) <= NEAR for time in found) for jump in jumps)
    false = sum(all(abs(time - jump) > NEAR for jump in jumps) for time in found)
    inside = np.abs(true - level) <= QUANTILE * sd
    return 50 * hits, false * 60 / TRIAL_SECONDS, 100 * inside.mean()
