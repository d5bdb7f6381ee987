"""Exercises of unit 6 with their solutions; scripts/build_course.py makes the starters from it."""

# %% [markdown]
# # 6 · Ethics and limits, by calculation
#
# Where people disagree, no network can be right for all of them; where something is rare, most
# alarms are false. You compute both. The first two checks use the taggers of the sample study and
# need one `uv run dvc repro`.

# %% setup
import matplotlib.pyplot as plt
import numpy as np

from fer_lib.data.arrays import load_fer13
from fer_lib.evaluation import predictions
from fer_lib.labels import FER_CLASSES
from fer_lib.paths import build_folder
from fer_tools.course.grader import checker

check = checker(6)

# %% [markdown]
# ## 6.1 Do two taggers agree? (easy)
#
# In FER+ ten people tagged each face. Draw two *different* taggers at random: with what
# probability do they agree? With $n_k$ votes for column $k$ and $n$ votes in total it is
#
# $$\frac{\sum_k n_k (n_k - 1)}{n (n - 1)}.$$


# %% answer: agreement
def agreement(votes: np.ndarray) -> np.ndarray:
    """Probability that two taggers of an image agree.

    Args:
        votes: (N, C) integer, votes for each column; each row adds up to 2 or more.

    Returns:
        (N,) float in [0, 1].
    """
    # BEGIN SOLUTION
    total = votes.sum(axis=1)
    return (votes * (votes - 1)).sum(axis=1) / (total * (total - 1))
    # END SOLUTION


# %%
check(agreement)

# %%
faces = load_fer13(build_folder("sample") / "fer13.npz")
for number, name in enumerate(FER_CLASSES):
    print(f"{name:<9}{agreement(faces.votes[faces.labels == number]).mean():.2f}")

# %% [markdown]
# ## 6.2 The best possible accuracy (easy)
#
# Let the label of a face be the tag of one tagger, drawn at random from those who tagged it. The
# best prediction is the tag with the most votes. How often is it correct, on average over the
# images?


# %% answer: best_possible
def best_possible(votes: np.ndarray) -> float:
    """Highest expected accuracy against one tagger drawn at random.

    Args:
        votes: (N, C) integer, votes for each column; no row is empty.

    Returns:
        Share in (0, 1].
    """
    # BEGIN SOLUTION
    return float((votes.max(axis=1) / votes.sum(axis=1)).mean())
    # END SOLUTION


# %%
check(best_possible)

# %% [markdown]
# ## 6.3 What an alarm is worth (medium)
#
# Somebody wants to screen people for a condition by their faces. The program reports a share of
# those who have it (sensitivity), and does not report a share of those who do not (specificity).
# The share of all people who have it is the base rate. Of those who are *reported*, what share
# really has it?


# %% answer: worth_of_alarm
def worth_of_alarm(
    sensitivity: float, specificity: float, base_rate: float | np.ndarray
) -> float | np.ndarray:
    """Positive predictive value, by Bayes' rule.

    Args:
        sensitivity: share of the people with the condition who are reported, above 0.
        specificity: share of the people without it who are not reported.
        base_rate: share of all people who have the condition, above 0; a number or an array.

    Returns:
        Share of the reported people who have it; a number or an array, like `base_rate`.
    """
    # BEGIN SOLUTION
    true_alarms = sensitivity * base_rate
    false_alarms = (1 - specificity) * (1 - base_rate)
    return true_alarms / (true_alarms + false_alarms)
    # END SOLUTION


# %%
check(worth_of_alarm)

# %%
rates = np.linspace(0.001, 0.5, 200)
figure, axis = plt.subplots(figsize=(5, 2.8))
axis.plot(rates, worth_of_alarm(0.9, 0.9, rates))
axis.set(xlabel="base rate", ylabel="positive predictive value", ylim=(0, 1))

# %% [markdown]
# ## 6.4 Label noise hides differences (medium)
#
# A network predicts the true class with accuracy $a$; its errors are spread evenly over the other
# classes. A share $e$ of the *test labels* is wrong, also evenly spread over the other classes,
# and independently of the network. With $K$ classes, what accuracy do you measure? Network and
# label agree in two cases: both are correct, or both are wrong in the same way.


# %% answer: measured_accuracy
def measured_accuracy(accuracy: float, label_noise: float, classes: int) -> float:
    """Expected accuracy measured against noisy labels.

    Args:
        accuracy: share of images whose true class the network predicts.
        label_noise: share of test labels that are wrong.
        classes: K, at least 2.

    Returns:
        Expected share of images on which network and label agree.
    """
    # BEGIN SOLUTION
    both_correct = accuracy * (1 - label_noise)
    same_error = (1 - accuracy) * label_noise / (classes - 1)
    return both_correct + same_error
    # END SOLUTION


# %%
check(measured_accuracy)

# %% [markdown]
# ## 6.5 Accuracy by group (hard)
#
# One accuracy for everybody can hide that it is low for some groups; and the accuracy of a group
# with few images is uncertain. So each group needs its accuracy *and* an interval. Use Wilson's:
# with share $p$ of $n$ images and $z = 1.96$,
#
# $$\frac{p + \frac{z^2}{2n}
# \pm z \sqrt{\frac{p (1 - p)}{n} + \frac{z^2}{4 n^2}}}{1 + \frac{z^2}{n}}.$$
#
# Unlike $p \pm z \sqrt{p (1 - p) / n}$ it does not have zero width where 5 of 5 are correct.


# %% answer: accuracy_by_group
def accuracy_by_group(
    correct: np.ndarray, groups: np.ndarray
) -> dict[str, tuple[float, float, float]]:
    """Accuracy of each group with Wilson's 95 % interval.

    Args:
        correct: (N,) bool, whether an image was classified correctly.
        groups: (N,) string, the group of each image.

    Returns:
        For each group: accuracy, lower and upper end of its interval, all in [0, 1].
    """
    # BEGIN SOLUTION
    z = 1.96
    table = {}
    for group in np.unique(groups):
        members = correct[groups == group]
        n, p = len(members), members.mean()
        center = p + z**2 / (2 * n)
        margin = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
        low, high = (center - margin) / (1 + z**2 / n), (center + margin) / (1 + z**2 / n)
        table[str(group)] = (float(p), float(low), float(high))
    return table
    # END SOLUTION


# %%
check(accuracy_by_group)

# %% [markdown]
# FER2013 does not record groups of people. As an example, take the classes as groups of images:

# %%
stored = predictions.load(build_folder("sample") / "predictions" / "fer13-7.npz")
test = faces.select(np.isin(faces.row, stored.names) & (faces.usage == "PrivateTest"))
correct = stored.predicted()[np.searchsorted(stored.names, test.row)] == test.labels
names = np.array(FER_CLASSES)[test.labels]
for name, (accuracy, low, high) in accuracy_by_group(correct, names).items():
    print(f"{name:<9}{accuracy:.2f}  ({low:.2f} to {high:.2f})")

# %% [markdown] open
# ## 6.6 A notice at the door (hard, open)
#
# A school wants to record lessons on video and show the class's valence line, "to improve
# teaching". Write a notice of at most 150 words for pupils and parents: what is measured and what
# is not, how often it is wrong and for whom that is not known, what happens to the videos, who may
# see the line, and how to refuse without a disadvantage. Then decide whether you would allow it,
# and give one number from this unit that supports your decision.
