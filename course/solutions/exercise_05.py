"""Exercises of unit 5 with their solutions; scripts/build_course.py makes the starters from it."""

# %% [markdown]
# # 5 · From frames to a valence line
#
# You turn probabilities into a line over time and compute statistics of it, without inventing
# values for moments in which no face is found. The checks need no data; the cells that use the
# sample study's video need one `uv run dvc repro`.

# %% setup
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from fer_lib.paths import build_folder
from fer_tools.course.grader import checker

check = checker(5)

# %% [markdown]
# ## 5.1 One number per face (easy)
#
# Seven probabilities become $v = P(\text{positive}) - P(\text{negative})$. Positive is happy (3);
# negative are angry, disgust, fear and sad (0, 1, 2, 4). Surprise (5) and neutral (6) count as
# neither, and the remaining probabilities are not rescaled.


# %% answer: valence
def valence(probabilities: np.ndarray) -> np.ndarray:
    """Valence of each face.

    Args:
        probabilities: (N, 7) float, rows sum to 1, columns in FER2013's order.

    Returns:
        (N,) float in [-1, 1].
    """
    # BEGIN SOLUTION
    sign = np.array([-1, -1, -1, 1, -1, 0, 0])
    return probabilities @ sign
    # END SOLUTION


# %%
check(valence)

# %% [markdown]
# ## 5.2 Smoothing at an uneven frame rate (medium)
#
# Frames come at uneven intervals, so a fixed weight per frame would smooth a slow camera more than
# a fast one. Let the weight depend on the elapsed time: with $\Delta t$ seconds since the previous
# frame and a time constant of $S$ seconds,
#
# $$\ell_t = \ell_{t-1} + \left(1 - e^{-\Delta t / S}\right) (y_t - \ell_{t-1}).$$
#
# The first value is not changed. Where the face is missing (NaN) the line is NaN, and smoothing
# restarts at the next value: after a gap the expression may be a different one.


# %% answer: smooth
def smooth(times: np.ndarray, values: np.ndarray, seconds: float) -> np.ndarray:
    """Causal exponential smoothing with a time constant.

    Args:
        times: (N,) seconds, increasing, not evenly spaced.
        values: (N,) float, NaN where no face was found.
        seconds: time constant, above 0.

    Returns:
        (N,) float, NaN exactly where `values` is.
    """
    # BEGIN SOLUTION
    levels = np.full(len(values), np.nan)
    for i, value in enumerate(values):
        if np.isnan(value):
            continue
        if i == 0 or np.isnan(levels[i - 1]):
            levels[i] = value
            continue
        weight = 1 - np.exp(-(times[i] - times[i - 1]) / seconds)
        levels[i] = levels[i - 1] + weight * (value - levels[i - 1])
    return levels
    # END SOLUTION


# %%
check(smooth)

# %%
line = pd.read_csv(build_folder("sample") / "valence.csv")
time, raw = line.time_s.to_numpy(), line.valence.to_numpy()
figure, axis = plt.subplots(figsize=(8, 2.5))
axis.plot(time, raw, linewidth=0.7, label="frame by frame")
axis.plot(time, smooth(time, raw, 0.4), label="smoothed, 0.4 s")
axis.set(xlabel="seconds", ylabel="valence", ylim=(-1.05, 1.05))
axis.legend()

# %% [markdown]
# ## 5.3 Time, not frames (medium)
#
# A frame is shown until the next one begins. For what share of the time *in which the face was
# found* was the line above a level? Frames are given by their edges: frame $i$ lasts from
# `edges[i]` to `edges[i + 1]`.


# %% answer: share_above
def share_above(edges: np.ndarray, values: np.ndarray, level: float) -> float:
    """Share of the observed time during which the line is above a level.

    Args:
        edges: (N + 1,) seconds: the start of each frame, and the end of the last.
        values: (N,) float, NaN where no face was found; at least one value is finite.
        level: the threshold.

    Returns:
        Share in [0, 1].
    """
    # BEGIN SOLUTION
    durations = np.diff(edges)
    observed = np.isfinite(values)
    return float(durations[observed & (values > level)].sum() / durations[observed].sum())
    # END SOLUTION


# %%
check(share_above)

# %% [markdown]
# ## 5.4 Emotional inertia (medium)
#
# How similar is each second to the previous one? Inertia is the Pearson correlation over all pairs
# of neighboring seconds. A pair counts only if both seconds have a value: the two sides of a gap
# are not neighbors.


# %% answer: inertia
def inertia(seconds: np.ndarray) -> float:
    """Lag-1 autocorrelation of a line with gaps.

    Args:
        seconds: (N,) float, mean valence of each second, NaN where no face was found.

    Returns:
        Correlation in [-1, 1].
    """
    # BEGIN SOLUTION
    before, after = seconds[:-1], seconds[1:]
    both = np.isfinite(before) & np.isfinite(after)
    return float(np.corrcoef(before[both], after[both])[0, 1])
    # END SOLUTION


# %%
check(inertia)

# %% [markdown]
# ## 5.5 When did it change? (hard)
#
# Split the line once, so that two levels describe it best: the sum of the squared distances of all
# values from the mean of their segment should be as small as possible. The largest jump between
# neighbors is not enough, since a single outlier jumps further.


# %% answer: change_point
def change_point(values: np.ndarray) -> int:
    """The best single change point, by least squares.

    Args:
        values: (N,) float without gaps, N at least 2.

    Returns:
        Start k of the second segment, 1 to N - 1: the segments are values[:k] and values[k:].
    """

    # BEGIN SOLUTION
    def cost(segment: np.ndarray) -> float:
        return float(((segment - segment.mean()) ** 2).sum())

    candidates = range(1, len(values))
    return min(candidates, key=lambda k: cost(values[:k]) + cost(values[k:]))
    # END SOLUTION


# %%
check(change_point)

# %%
found = np.isfinite(raw)
f"The best single change point of the video: {time[found][change_point(raw[found])]:.1f} s"

# %% [markdown] open
# ## 5.6 Interpret a line (medium, open)
#
# The line of a counseling session falls from +0.3 to -0.4 at minute 12 and stays there. Write two
# sentences that a counselor may put into her notes, and two that she may not. Name three things
# that can move the line although nobody feels differently.
