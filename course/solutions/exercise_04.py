"""Exercises of unit 4 with their solutions; scripts/build_course.py makes the starters from it."""

# %% [markdown]
# # 4 · Honest evaluation
#
# A single figure means little. You compute how certain it is, whether the network's confidence can
# be trusted, and what a careless split does. The checks need no data; the cell that shows the
# leakage needs one `uv run dvc repro`.

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
# Row $i$, column $j$ counts the images of class $i$ that were predicted as $j$. Accuracy is the
# share on the diagonal. The F1 of a class is $2 TP / (2 TP + FP + FN)$; macro-F1 is its mean over
# the classes that have images, however few.


# %% answer: scores
def scores(counts: np.ndarray) -> tuple[float, float]:
    """Accuracy and macro-F1.

    Args:
        counts: (K, K) integer, true classes in rows; a row may be empty.

    Returns:
        Accuracy and macro-F1, both in [0, 1].
    """
    # BEGIN SOLUTION
    actual, predicted, correct = counts.sum(axis=1), counts.sum(axis=0), np.diag(counts)
    present = actual > 0
    f1 = 2 * correct[present] / (actual[present] + predicted[present])
    return float(correct.sum() / counts.sum()), float(f1.mean())
    # END SOLUTION


# %%
check(scores)

# %% [markdown]
# ## 4.2 An interval that respects subjects (medium)
#
# Three frames of one person are not independent: their results are correlated. So the bootstrap
# has to draw whole *subjects* with replacement, as many as there are; all images of a subject that
# is drawn twice count twice. The accuracy of each resample is computed over its images. The
# interval reaches from the 2.5th to the 97.5th percentile of these accuracies.


# %% answer: bootstrap_interval
def bootstrap_interval(
    correct: np.ndarray, groups: np.ndarray, draws: int, rng: np.random.Generator
) -> tuple[float, float]:
    """The 95 % bootstrap interval of an accuracy, resampling whole groups.

    Args:
        correct: (N,) bool, whether an image was classified correctly.
        groups: (N,) integer, the subject of each image.
        draws: number of resamples.
        rng: source of all randomness.

    Returns:
        Lower and upper end, in [0, 1].
    """
    # BEGIN SOLUTION
    names, member = np.unique(groups, return_inverse=True)
    images = np.bincount(member)
    hits = np.bincount(member, weights=correct)
    drawn = rng.integers(0, len(names), (draws, len(names)))
    accuracies = hits[drawn].sum(axis=1) / images[drawn].sum(axis=1)
    low, high = np.percentile(accuracies, [2.5, 97.5])
    return float(low), float(high)
    # END SOLUTION


# %%
check(bootstrap_interval)

# %% [markdown]
# ## 4.3 Is it as accurate as it is confident? (medium)
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
        Weighted mean gap between confidence and accuracy, in [0, 1].
    """
    # BEGIN SOLUTION
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == labels
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    error = 0.0
    for b in range(bins):
        inside = bin_of == b
        if inside.any():
            error += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    return float(error)
    # END SOLUTION


# %%
check(calibration_error)

# %% [markdown]
# ## 4.4 Temperature scaling (hard)
#
# Divide all logits by one temperature $T$ before the softmax. No predicted class changes, only its
# confidence. Find the $T$ that minimizes the mean of $-\log p_{\text{true class}}$. Any search
# works: the function has a single minimum, and $T$ between 0.05 and 20 is enough.


# %% answer: fit_temperature
def fit_temperature(labels: np.ndarray, logits: np.ndarray) -> float:
    """The temperature with the smallest cross entropy (Guo et al. 2017, section 4.2).

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
# ## 4.5 Folds by subject (hard)
#
# Distribute the subjects over `k` folds, so that nobody is in two folds. Keep the folds as equal
# in size as whole subjects allow: go through them in random order and assign each to the fold with
# the fewest images so far. Another `rng` must lead to other folds.


# %% answer: group_folds
def group_folds(groups: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """Folds by group.

    Args:
        groups: (N,) integer or string, the subject of each image; at least k different ones.
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
# Why this matters: a "network" that only looks up the most similar image has learned nothing about
# emotions. Compare its accuracy on the two kinds of folds.


# %%
def nearest_neighbor_accuracy(fold: np.ndarray) -> float:
    """Accuracy of predicting the label of the nearest image of another fold."""
    allowed = distance + np.where(fold[:, None] == fold[None, :], np.inf, 0)
    return float((faces.labels[allowed.argmin(axis=1)] == faces.labels).mean())


faces = load_ckplus(build_folder("sample") / "ckplus.npz")
pixels = faces.images.reshape(len(faces), -1).astype(float)
squares = (pixels**2).sum(axis=1)
distance = squares[:, None] + squares[None, :] - 2 * pixels @ pixels.T
by_image = random_folds(faces.labels, 3, 0)
by_subject = group_folds(faces.subject, 3, np.random.default_rng(0))
{
    "random": nearest_neighbor_accuracy(by_image),
    "by subject": nearest_neighbor_accuracy(by_subject),
}

# %% [markdown] open
# ## 4.6 Which figure would you report? (medium, open)
#
# You have trained five networks with five seeds: 64.1, 65.3, 64.8, 66.0 and 64.9 % on 3,589
# images. Someone reports "66.0 %". What is wrong with that? What would you report, and which two
# sources of variance does it have to cover? Does the bootstrap interval of one network include the
# other four?
