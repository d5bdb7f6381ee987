"""Exercises of unit 6 with their solutions; scripts/build_course.py makes the starters from it."""

# %% [markdown]
# # 6 · Ethics and limits, by calculation
#
# What people disagree on, a network cannot know; what is rare, an alarm mostly gets wrong. You
# compute both. The first two checks look at the taggers of the sample study and need one `uv run
# dvc repro`.

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
# ## 6.1 Do two people see the same? (easy)
#
# In FER+ ten people tagged each face. Draw two *different* ones of them at random: with what
# probability do they agree? With $n_k$ votes for column $k$ and $n$ in all it is
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
# ## 6.2 As right as anybody can be (easy)
#
# Let the truth about a face be what one tagger says, drawn at random from those who saw it. The
# best a program can do is to give the answer that most of them gave. How often is it right, on
# average over the images?


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
# Somebody wants to screen people by their faces. The program finds a share of those who are
# concerned (sensitivity), and leaves a share of the others in peace (specificity). Of all people,
# the base rate is concerned. Of those who are *reported*, which share is really concerned?


# %% answer: worth_of_alarm
def worth_of_alarm(
    sensitivity: float, specificity: float, base_rate: float | np.ndarray
) -> float | np.ndarray:
    """Positive predictive value, by Bayes' rule.

    Args:
        sensitivity: share of the concerned who are reported, above 0.
        specificity: share of the others who are not.
        base_rate: share of all people who are concerned, above 0; a number or an array.

    Returns:
        Share of the reported who are concerned; a number or an array as `base_rate`.
    """
    # BEGIN SOLUTION
    rightly = sensitivity * base_rate
    wrongly = (1 - specificity) * (1 - base_rate)
    return rightly / (rightly + wrongly)
    # END SOLUTION


# %%
check(worth_of_alarm)

# %%
rates = np.linspace(0.001, 0.5, 200)
figure, axis = plt.subplots(figsize=(5, 2.8))
axis.plot(rates, worth_of_alarm(0.9, 0.9, rates))
axis.set(xlabel="base rate", ylabel="share of alarms that are right", ylim=(0, 1))

# %% [markdown]
# ## 6.4 Wrong labels hide what is right (medium)
#
# A network names the true class with accuracy $a$; when it errs, each other class is equally
# likely. A share $e$ of the *test labels* is wrong, also equally likely for each other class, and
# independently of the network. With $K$ classes, what accuracy do you measure? There are two ways
# to agree with a label: both are right, or both are wrong in the same way.


# %% answer: measured_accuracy
def measured_accuracy(accuracy: float, label_noise: float, classes: int) -> float:
    """Accuracy that is measured on labels of which some are wrong.

    Args:
        accuracy: share of images whose true class the network names.
        label_noise: share of test labels that are wrong.
        classes: K, at least 2.

    Returns:
        Expected share of images on which network and label agree.
    """
    # BEGIN SOLUTION
    both_right = accuracy * (1 - label_noise)
    both_wrong_alike = (1 - accuracy) * label_noise / (classes - 1)
    return both_right + both_wrong_alike
    # END SOLUTION


# %%
check(measured_accuracy)

# %% [markdown]
# ## 6.5 Worse for whom? (hard)
#
# One accuracy for all can hide that some are served badly; and a group of few images shows little.
# So each group needs its accuracy *and* an interval. Use Wilson's: with share $p$ of $n$ images
# and $z = 1.96$,
#
# $$\frac{p + \frac{z^2}{2n}
# \pm z \sqrt{\frac{p (1 - p)}{n} + \frac{z^2}{4 n^2}}}{1 + \frac{z^2}{n}}.$$
#
# Unlike $p \pm z \sqrt{p (1 - p) / n}$ it does not claim certainty where 5 of 5 are right.


# %% answer: accuracy_by_group
def accuracy_by_group(
    correct: np.ndarray, groups: np.ndarray
) -> dict[str, tuple[float, float, float]]:
    """Accuracy of each group with Wilson's 95 % interval.

    Args:
        correct: (N,) bool, whether an image was named rightly.
        groups: (N,) text, the group of each image.

    Returns:
        By group: accuracy, lower and upper end of its interval, all in [0, 1].
    """
    # BEGIN SOLUTION
    z = 1.96
    table = {}
    for group in np.unique(groups):
        here = correct[groups == group]
        n, p = len(here), here.mean()
        middle = p + z**2 / (2 * n)
        spread = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
        low, high = (middle - spread) / (1 + z**2 / n), (middle + spread) / (1 + z**2 / n)
        table[str(group)] = (float(p), float(low), float(high))
    return table
    # END SOLUTION


# %%
check(accuracy_by_group)

# %% [markdown]
# Groups of people are not recorded in FER2013. The classes are at least a group of faces each:

# %%
stored = predictions.load(build_folder("sample") / "predictions" / "fer13-7.npz")
test = faces.select(np.isin(faces.row, stored.names) & (faces.usage == "PrivateTest"))
right = stored.predicted()[np.searchsorted(stored.names, test.row)] == test.labels
names = np.array(FER_CLASSES)[test.labels]
for name, (share, low, high) in accuracy_by_group(right, names).items():
    print(f"{name:<9}{share:.2f}  ({low:.2f} to {high:.2f})")

# %% [markdown] open
# ## 6.6 A notice at the door (hard, open)
#
# A school wants to film lessons and draw the class's valence line, "to improve teaching". Write a
# notice of at most 150 words for pupils and parents: what is measured and what is not, how often
# it is wrong and for whom that is not known, what happens to the pictures, who may see the line,
# how to say no without a disadvantage. Then decide whether you would let it happen, and give one
# number from this unit that speaks for your decision.
