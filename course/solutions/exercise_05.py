"""Exercises of unit 5 with their solutions; scripts/build_course.py makes the starters from it."""

# %% [markdown]
# # 5 · From frames to a valence line
#
# You turn probabilities into a line over time and read numbers from it, without inventing anything
# for moments in which no face is seen. The checks need no data; the cells that look at the sample
# study's film need one `uv run dvc repro`.

# %% setup
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from fer_lib.paths import build_folder
from fer_tools.course.grader import checker

check = checker(5)

# %% [markdown]
# ## 5.1 One number a face (easy)
#
# Seven probabilities become $v = P(\text{positive}) - P(\text{negative})$. Positive is happy (3);
# negative are angry, disgust, fear and sad (0, 1, 2, 4). Surprise (5) and neutral (6) count for
# neither, and what is left is not scaled up.


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
# ## 5.2 Smoothing that knows the time (medium)
#
# Frames come unevenly, so a fixed weight for each frame would smooth a slow camera more than a
# fast one. Let the time that has passed decide: with $\Delta t$ seconds since the frame before and
# a time constant of $S$ seconds,
#
# $$\ell_t = \ell_{t-1} + \left(1 - e^{-\Delta t / S}\right) (y_t - \ell_{t-1}).$$
#
# The first value is taken as it is. Where the face is missing (NaN) the line is NaN, and the next
# value starts anew: who comes back may feel otherwise.


# %% answer: smooth
def smooth(times: np.ndarray, values: np.ndarray, seconds: float) -> np.ndarray:
    """Exponential smoothing by time, looking back only.

    Args:
        times: (N,) seconds, growing, not evenly.
        values: (N,) float, NaN where no face is seen.
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
time, seen = line.time_s.to_numpy(), line.valence.to_numpy()
figure, axis = plt.subplots(figsize=(8, 2.5))
axis.plot(time, seen, linewidth=0.7, label="frame by frame")
axis.plot(time, smooth(time, seen, 0.4), label="smoothed, 0.4 s")
axis.set(xlabel="seconds", ylabel="valence", ylim=(-1.05, 1.05))
axis.legend()

# %% [markdown]
# ## 5.3 How long, not how often (medium)
#
# A frame stands until the next one begins. For what share of the time *in which the face was seen*
# did the line lie above a level? Frames are given by their edges: frame $i$ lasts from `edges[i]`
# to `edges[i + 1]`.


# %% answer: share_above
def share_above(edges: np.ndarray, values: np.ndarray, level: float) -> float:
    """Share of the time seen during which the line lies above a level.

    Args:
        edges: (N + 1,) seconds at which frames begin, and at which the last one ends.
        values: (N,) float, NaN where no face is seen; somewhere it is.
        level: to compare with.

    Returns:
        Share in [0, 1].
    """
    # BEGIN SOLUTION
    lasting = np.diff(edges)
    seen = np.isfinite(values)
    return float(lasting[seen & (values > level)].sum() / lasting[seen].sum())
    # END SOLUTION


# %%
check(share_above)

# %% [markdown]
# ## 5.4 Emotional inertia (medium)
#
# How much is a second like the one before? Inertia is the correlation (Pearson) of all pairs of
# neighbouring seconds. A pair counts only if both seconds were seen: what lies on the two sides of
# a gap are not neighbours.


# %% answer: inertia
def inertia(seconds: np.ndarray) -> float:
    """Lag-1 autocorrelation of a line with gaps.

    Args:
        seconds: (N,) float, mean valence of each second, NaN where no face was seen.

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
# Cut the line once, so that two levels describe it best: the sum of the squared distances of all
# values from the mean of their own part should be as small as possible. Looking for the largest
# jump between neighbours is not enough, since a single wild frame jumps further.


# %% answer: change_point
def change_point(values: np.ndarray) -> int:
    """The best single cut, by least squares.

    Args:
        values: (N,) float without gaps, N at least 2.

    Returns:
        Where the second part begins, 1 to N - 1: the parts are values[:k] and values[k:].
    """

    # BEGIN SOLUTION
    def cost(part: np.ndarray) -> float:
        return float(((part - part.mean()) ** 2).sum())

    cuts = range(1, len(values))
    return min(cuts, key=lambda k: cost(values[:k]) + cost(values[k:]))
    # END SOLUTION


# %%
check(change_point)

# %%
there = np.isfinite(seen)
f"The best single cut of the film is at {time[there][change_point(seen[there])]:.1f} s"

# %% [markdown] open
# ## 5.6 Read a line aloud (medium, open)
#
# The line of a counselling session falls from +0.3 to -0.4 at minute 12 and stays there. Write two
# sentences a counsellor may put into her notes, and two that she may not. Name three things that
# can move the line although nobody feels differently.
