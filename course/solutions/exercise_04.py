"""Exercises of unit 4 with their solutions; scripts/build_course.py makes the starters from it."""

# %% [markdown]
# # 4 · Honest evaluation
#
# One figure says little. You compute how sure it is, whether the network's own confidence can be
# believed, and what a careless split does. The checks need no data; the cell that shows the leak
# needs one `uv run dvc repro`.

# %% setup
import numpy as np

from fer_lib.data.arrays import load_ckplus
from fer_lib.data.splits import random_folds
from fer_lib.paths import build_folder
from fer_tools.course.grader import checker

check = checker(4)

# %% [markdown]
# ## 4.1 Two scores of one confusion matrix (easy)
#
# Row $i$, column $j$ counts the images of class $i$ that were called $j$. Accuracy is the share on
# the diagonal. The F1 of a class is $2 TP / (2 TP + FP + FN)$; macro-F1 is its mean over the
# classes that have images, however few.


# %% answer: scores
def scores(counts: np.ndarray) -> tuple[float, float]:
    """Accuracy and macro-F1.

    Args:
        counts: (K, K) integer, true classes in rows; a row may be empty.

    Returns:
        Accuracy and macro-F1, both in [0, 1].
    """
    # BEGIN SOLUTION
    true, called, right = counts.sum(axis=1), counts.sum(axis=0), np.diag(counts)
    there = true > 0
    f1 = 2 * right[there] / (true[there] + called[there])
    return float(right.sum() / counts.sum()), float(f1.mean())
    # END SOLUTION


# %%
check(scores)

# %% [markdown]
# ## 4.2 An interval that knows people (medium)
#
# Three frames of one person are not three witnesses: they agree with one another. So the bootstrap
# has to draw whole *people* with replacement, as many as there are; who is drawn twice brings all
# the images twice. The accuracy of each such draw is counted over its images. The interval reaches
# from the 2.5th to the 97.5th percentile of these accuracies.


# %% answer: bootstrap_interval
def bootstrap_interval(
    correct: np.ndarray, groups: np.ndarray, draws: int, rng: np.random.Generator
) -> tuple[float, float]:
    """The 95 % interval of an accuracy, by drawing whole groups.

    Args:
        correct: (N,) bool, whether an image was named rightly.
        groups: (N,) integer, whom it shows.
        draws: number of draws.
        rng: source of all randomness.

    Returns:
        Lower and upper end, in [0, 1].
    """
    # BEGIN SOLUTION
    names, member = np.unique(groups, return_inverse=True)
    images = np.bincount(member)
    right = np.bincount(member, weights=correct)
    drawn = rng.integers(0, len(names), (draws, len(names)))
    accuracies = right[drawn].sum(axis=1) / images[drawn].sum(axis=1)
    low, high = np.percentile(accuracies, [2.5, 97.5])
    return float(low), float(high)
    # END SOLUTION


# %%
check(bootstrap_interval)

# %% [markdown]
# ## 4.3 Is it as right as it is sure? (medium)
#
# Sort the images by confidence, the largest probability of each, into `bins` equally wide bins
# from 0 to 1. In each bin compare the mean confidence with the accuracy:
#
# $$\mathrm{ECE} = \sum_b \frac{n_b}{N} \left| \mathrm{acc}(b) - \mathrm{conf}(b) \right|.$$


# %% answer: calibration_error
def calibration_error(labels: np.ndarray, probabilities: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error (Guo et al. 2017, eq. 3).

    Args:
        labels: (N,) integer, 0 to K - 1.
        probabilities: (N, K) float, rows sum to 1.
        bins: number of bins.

    Returns:
        Mean gap between confidence and accuracy, in [0, 1].
    """
    # BEGIN SOLUTION
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    error = 0.0
    for number in range(bins):
        here = place == number
        if here.any():
            error += here.mean() * abs(right[here].mean() - confidence[here].mean())
    return float(error)
    # END SOLUTION


# %%
check(calibration_error)

# %% [markdown]
# ## 4.4 One number that mends confidence (hard)
#
# Divide all logits by one temperature $T$ before the softmax. No answer changes, only how sure it
# is. Find the $T$ that makes the mean of $-\log p_{\text{true class}}$ smallest. Any search will
# do: the function has one valley, and $T$ between 0.05 and 20 is enough.


# %% answer: fit_temperature
def fit_temperature(labels: np.ndarray, logits: np.ndarray) -> float:
    """The temperature of least cross entropy (Guo et al. 2017, section 4.2).

    Args:
        labels: (N,) integer, 0 to K - 1.
        logits: (N, K) float.

    Returns:
        T in [0.05, 20], within 2 %.
    """

    # BEGIN SOLUTION
    def cross_entropy(temperature: float) -> float:
        scaled = logits / temperature
        scaled = scaled - scaled.max(axis=1, keepdims=True)  # so that exp stays finite
        log_sum = np.log(np.exp(scaled).sum(axis=1))
        return float((log_sum - scaled[np.arange(len(labels)), labels]).mean())

    candidates = np.geomspace(0.05, 20, 600)  # steps of 1 %
    return float(min(candidates, key=cross_entropy))
    # END SOLUTION


# %%
check(fit_temperature)

# %% [markdown]
# ## 4.5 Folds that keep people apart (hard)
#
# Deal people out to `k` folds, so that nobody stands in two. Deal as evenly as whole people allow:
# go through them in random order and give each to the fold that has the fewest images so far.
# Another `rng` must give other folds.


# %% answer: group_folds
def group_folds(groups: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """Folds by group.

    Args:
        groups: (N,) integer or text, whom an image shows; at least k different ones.
        k: number of folds.
        rng: source of all randomness.

    Returns:
        (N,) integer, 0 to k - 1: the fold in which the image is tested.
    """
    # BEGIN SOLUTION
    names, member, images = np.unique(groups, return_inverse=True, return_counts=True)
    fold_of_group = np.zeros(len(names), dtype=int)
    size = np.zeros(k, dtype=int)
    for group in rng.permutation(len(names)):
        smallest = size.argmin()
        fold_of_group[group] = smallest
        size[smallest] += images[group]
    return fold_of_group[member]
    # END SOLUTION


# %%
check(group_folds)

# %% [markdown]
# What it is good for: a "network" that only looks up the most similar picture among the others has
# learned nothing about emotions. See what the two kinds of folds say of it.


# %%
def looked_up(fold: np.ndarray) -> float:
    """Accuracy of the label of the nearest picture of another fold."""
    near = distance + np.where(fold[:, None] == fold[None, :], np.inf, 0)
    return float((faces.labels[near.argmin(axis=1)] == faces.labels).mean())


faces = load_ckplus(build_folder("sample") / "ckplus.npz")
pixels = faces.images.reshape(len(faces), -1).astype(float)
squares = (pixels**2).sum(axis=1)
distance = squares[:, None] + squares[None, :] - 2 * pixels @ pixels.T
by_person = group_folds(faces.subject, 3, np.random.default_rng(0))
{"random": looked_up(random_folds(faces.labels, 3, 0)), "by person": looked_up(by_person)}

# %% [markdown] open
# ## 4.6 Which figure would you print? (medium, open)
#
# You have trained five networks with five seeds: 64.1, 65.3, 64.8, 66.0 and 64.9 % on 3,589
# images. Someone prints "66.0 %". What is wrong with it? What would you print, and which two kinds
# of chance does it have to tell of? Does the bootstrap interval of one network cover the other
# four?
