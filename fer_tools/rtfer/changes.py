"""Jumps of a line: moments at which it goes to another level within a fraction of a second.

Slow movement is no jump: a ramp or a wave has none. A jump is searched for as a cut between two
levels (PELT), and kept if the line really jumps there: the 0.3 s after it differ from the 0.3 s
before it by most of what the levels differ, and by several times as much as elsewhere in the line.
The noise is judged from means of half seconds, for neighbouring frames share their errors.
"""

from itertools import pairwise

import numpy as np
import ruptures

SAMPLE = 0.1  # seconds: the line is searched as means over so long
SHORTEST = 3  # samples: a level that lasts less is not searched for
NEAR = 3  # samples on each side of a cut that must differ
LEVEL = 20  # samples on each side at most from which a level is estimated: two seconds
BRIDGED = 10  # samples: the face may be away for less than a second without hiding a jump
LEAST_NOISE = 0.06  # of a second's mean, so that a long video does not show tiny changes
MOST_SHARE = 0.6  # of the levels' difference that must happen at once
TIMES_USUAL = 4.0  # robust standard deviations of such differences that a jump must exceed
SLOWEST = 0.2  # seconds from frame to frame, above which jumps look like movement
NORMAL_QUARTER = 0.3186  # first quartile of |N(0, 1)|
BATCH = 0.5  # seconds, over which frames may share their errors


def interval_means(edges: np.ndarray, values: np.ndarray, width: float) -> np.ndarray:
    """Mean over each whole `width` seconds; NaN where the face is seen for less than half of it.

    Args:
        edges: (N + 1,) seconds at which frames begin, and the last one ends.
        values: (N,) NaN without the face.
        width: seconds.
    """
    starts = edges[0] + width * np.arange(int((edges[-1] - edges[0]) / width + 1e-6) + 1)
    lasting, seen = np.diff(edges), np.isfinite(values)
    area = np.append(0.0, np.cumsum(np.where(seen, values, 0.0) * lasting))
    time = np.append(0.0, np.cumsum(seen * lasting))
    # Both grow in straight lines between frames, so what is read off between them is exact.
    area, time = np.diff(np.interp(starts, edges, area)), np.diff(np.interp(starts, edges, time))
    return np.divide(area, time, out=np.full(len(area), np.nan), where=time > 0.499 * width)


def searchable(edges: np.ndarray) -> bool:
    """Whether frames follow one another fast enough to separate jumps from slow movement."""
    return len(edges) > 1 and float(np.median(np.diff(edges))) <= SLOWEST + 1e-9


def change_points(edges: np.ndarray, values: np.ndarray) -> list[dict[str, float]]:
    r"""The jumps of a line.

    The line, as means of 0.1 s, is cut so that the squared distance from each level's mean plus a
    penalty for each cut is least (PELT, Killick et al. 2012; library `ruptures`). The penalty is
    :math:`3 \sigma^2 \ln n`, that of the Bayesian information criterion as Zhang & Siegmund (2007)
    corrected it for cuts. :math:`\sigma^2` is five times the variance of half-second means (batch
    means, Wu & Zhao 2007), robustly from their successive differences, of which up to three
    quarters may be movement: what frames share over half a second counts as noise. Of these cuts
    the jumps are kept.

    A face that is away for less than a second does not end the search; what happens in a longer
    gap is not known.

    Args:
        edges: (N + 1,) seconds at which frames begin, and the last one ends.
        values: (N,) NaN without the face.

    Returns:
        By time: time_s, the first frame of the new level; before and after, medians over up to two
        seconds of both levels. Nothing where frames are too far apart (`searchable`).
    """
    if not searchable(edges):
        return []
    samples = interval_means(edges, values, SAMPLE)
    seen = np.flatnonzero(np.isfinite(samples))
    penalty = 3 * _second_noise(edges, values) ** 2 / SAMPLE * np.log(max(len(seen), 2))
    stretches = [
        places for places in np.split(seen, np.flatnonzero(np.diff(seen) > BRIDGED) + 1)
        if len(places) >= 2 * SHORTEST
    ]  # fmt: skip
    steps = [_steps(samples[places]) for places in stretches]
    usual = _quarter(np.concatenate([s[NEAR:-NEAR] for s in steps])) if steps else 0.0
    found = []
    for places, step in zip(stretches, steps, strict=True):
        stretch = samples[places]
        # The linear kernel's cost is the squared distance from the mean; this one runs in C.
        search = ruptures.KernelCPD(kernel="linear", min_size=SHORTEST).fit(stretch[:, None])
        cuts = _jumps(stretch, step, TIMES_USUAL * usual, search.predict(pen=penalty)[:-1])
        for first, cut, last in _between(cuts, len(stretch)):
            found.append({
                "time_s": _first_frame(edges, values, edges[0] + places[cut] * SAMPLE),
                "before": float(np.median(stretch[max(first, cut - LEVEL) : cut])),
                "after": float(np.median(stretch[cut : min(last, cut + LEVEL)])),
            })  # fmt: skip
    return found


def _second_noise(edges: np.ndarray, values: np.ndarray) -> float:
    """Standard deviation of one-second means about their level, robustly."""
    steps = np.diff(interval_means(edges, values, BATCH))
    return max(LEAST_NOISE, _quarter(steps[np.isfinite(steps)]) * (BATCH / 2) ** 0.5)


def _quarter(steps: np.ndarray) -> float:
    """Standard deviation of what is usual; up to three quarters of the steps may be movement."""
    return float(np.quantile(np.abs(steps), 0.25)) / NORMAL_QUARTER if len(steps) else 0.0


def _steps(samples: np.ndarray) -> np.ndarray:
    """(N + 1,): the mean of the `NEAR` samples after each place less that of those before it."""
    sums = np.append(0.0, np.cumsum(samples))
    steps = np.zeros(len(samples) + 1)
    steps[NEAR:-NEAR] = (sums[2 * NEAR :] - 2 * sums[NEAR:-NEAR] + sums[: -2 * NEAR]) / NEAR
    return steps


def _jumps(samples: np.ndarray, steps: np.ndarray, least: float, cuts: list[int]) -> list[int]:
    """Those of the cuts, moved to the steepest place near them, at which the line jumps.

    Args:
        samples: (N,) of an unbroken stretch.
        steps: of `_steps`.
        least: size of a step that is a jump.
        cuts: places between samples.
    """
    steepest = (
        max(range(max(cut - 2, 0), min(cut + 3, len(steps))), key=lambda i: abs(steps[i]))
        for cut in cuts
    )
    kept: list[int] = []
    for cut in sorted(set(steepest), key=lambda cut: -abs(steps[cut])):
        far = all(abs(cut - other) >= SHORTEST for other in kept)
        if far and abs(steps[cut]) >= least:
            kept.append(cut)
    kept.sort()
    while kept:
        shares = []
        for first, cut, last in _between(kept, len(samples)):
            before, after = samples[max(first, cut - LEVEL) : cut], samples[cut:last][:LEVEL]
            shares.append(abs(steps[cut]) / max(abs(after.mean() - before.mean()), 1e-9))
        weakest = int(np.argmin(shares))
        if shares[weakest] >= MOST_SHARE:
            break
        del kept[weakest]
    return kept


def _between(cuts: list[int], length: int) -> list[tuple[int, int, int]]:
    """Each cut with the one before and the one after it (or the ends)."""
    ends = [0, *cuts, length]
    return list(zip(ends, ends[1:], ends[2:], strict=False))


def _first_frame(edges: np.ndarray, values: np.ndarray, time: float) -> float:
    """When the frame begins that differs most from the one before, of those within a sample."""
    near = np.flatnonzero(np.abs(edges[1:-1] - time) <= SAMPLE + 1e-9) + 1
    sizes = [abs(values[i] - values[i - 1]) for i in near]
    if not np.isfinite(sizes).any():
        return float(time)
    return float(edges[near[int(np.nanargmax(sizes))]])


def levels(times: np.ndarray, changes: list[dict[str, float]]) -> list[slice]:
    """The frames of each level, between the jumps: slices of (N,) `times`."""
    cuts = np.searchsorted(times, [change["time_s"] - 1e-9 for change in changes])
    return [slice(int(a), int(b)) for a, b in pairwise([0, *cuts, len(times)])]
