"""Exercises of unit 1 with their solutions; scripts/build_course.py makes the starters from it."""

# %% [markdown]
# # 1 · Data and its faults
#
# You write code that finds what is wrong with a data set before a network learns from it. The
# cells that show the sample study's data need one `uv run dvc repro`.

# %% setup
import matplotlib.pyplot as plt
import numpy as np

from fer_lib.data.arrays import load_fer13
from fer_lib.labels import FER_CLASSES
from fer_lib.paths import build_folder
from fer_tools.course.grader import checker

check = checker(1)

# %% [markdown]
# First look at the data: 3,000 synthetic faces in FER2013's format. `faces.images` is (N, 48, 48)
# uint8, `faces.labels` (N,) 0 to 6, `faces.usage` (N,) one of Training, PublicTest, PrivateTest.

# %%
faces = load_fer13(build_folder("sample") / "fer13.npz")
figure, axes = plt.subplots(1, 7, figsize=(9, 1.6))
for number, axis in enumerate(axes):
    axis.imshow(faces.images[faces.labels == number][0], cmap="gray")
    axis.set(title=FER_CLASSES[number], xticks=[], yticks=[])

# %% [markdown]
# ## 1.1 The baseline (easy)
#
# A classifier that always predicts the most frequent class needs no images. It learns that class
# from the training labels. How often is it correct on the test labels? Any network has to do
# better.


# %% answer: most_frequent_baseline
def most_frequent_baseline(training: np.ndarray, test: np.ndarray) -> float:
    """Accuracy of always predicting the most frequent training label.

    Args:
        training: (N,) integer labels, from 0 on.
        test: (M,) integer labels, from 0 on.

    Returns:
        Share of the test labels that are predicted correctly, in [0, 1].
    """
    # BEGIN SOLUTION
    most_frequent = np.bincount(training).argmax()
    return float((test == most_frequent).mean())
    # END SOLUTION


# %%
check(most_frequent_baseline)

# %% [markdown]
# ## 1.2 From seven emotions to three valences (easy)
#
# Paper A groups the labels: angry (0), disgust (1), fear (2) and sad (4) become negative, neutral
# (6) becomes neutral, happy (3) becomes positive. Surprise (5) is left out, since it can be
# either. Write 0 for negative, 1 for neutral, 2 for positive and -1 for left out. Take care not to
# change an array that you are still reading from.


# %% answer: to_valence
def to_valence(labels: np.ndarray) -> np.ndarray:
    """Turn FER2013 labels into valence classes.

    Args:
        labels: integer array of any shape, 0 to 6; not changed.

    Returns:
        Integer array of the same shape: 0 negative, 1 neutral, 2 positive, -1 left out.
    """
    # BEGIN SOLUTION
    table = np.array([0, 0, 0, 2, 0, -1, 1])
    return table[labels]
    # END SOLUTION


# %%
check(to_valence)

# %% [markdown]
# ## 1.3 The same image twice (medium)
#
# For each image, return the position of the *first* image that is equal in every pixel; an image
# without an earlier copy gets its own position. Comparing all pairs takes minutes for 3,000
# images. A dictionary from `image.tobytes()` to a position needs one pass.


# %% answer: first_copy
def first_copy(images: np.ndarray) -> np.ndarray:
    """Where each image appears for the first time.

    Args:
        images: (N, H, W) uint8.

    Returns:
        (N,) integer; entry i is the smallest j with images[j] equal to images[i].
    """
    # BEGIN SOLUTION
    seen: dict[bytes, int] = {}
    return np.array([seen.setdefault(image.tobytes(), i) for i, image in enumerate(images)])
    # END SOLUTION


# %%
check(first_copy)

# %% [markdown]
# ## 1.4 Which test images has the network seen? (medium)
#
# Mark the test images (PublicTest or PrivateTest) that have a copy in Training. The copy may come
# before or after the test image.


# %% answer: leaked
def leaked(first: np.ndarray, usage: np.ndarray) -> np.ndarray:
    """Mark test images that are also in Training.

    Args:
        first: (N,) integer from `first_copy`: equal images have equal values.
        usage: (N,) "Training", "PublicTest" or "PrivateTest".

    Returns:
        (N,) bool, False for all of Training.
    """
    # BEGIN SOLUTION
    training = usage == "Training"
    return np.isin(first, first[training]) & ~training
    # END SOLUTION


# %%
check(leaked)

# %%
seen = leaked(first_copy(faces.images), faces.usage)
{part: int(seen[faces.usage == part].sum()) for part in ("PublicTest", "PrivateTest")}

# %% [markdown]
# ## 1.5 How accurate can any classifier be? (hard)
#
# Some equal images have different labels. A classifier sees only the image, so it predicts the
# same class for all copies and is wrong about some of them, whatever it has learned. What is the
# highest accuracy that any classifier can reach on this data?


# %% answer: ceiling
def ceiling(first: np.ndarray, labels: np.ndarray) -> float:
    """The highest accuracy of any function of the image.

    Args:
        first: (N,) integer: equal images have equal values.
        labels: (N,) integer, from 0 on.

    Returns:
        Share of the images, in (0, 1].
    """
    # BEGIN SOLUTION
    correct = [np.bincount(labels[first == group]).max() for group in np.unique(first)]
    return sum(correct) / len(labels)
    # END SOLUTION


# %%
check(ceiling)

# %% [markdown] open
# ## 1.6 What should be done about it? (medium, open)
#
# The README's first table lists PrivateTest twice: complete, and without the images that are also
# in Training. A colleague says: "Then delete the duplicates and report the second figure." Another
# says: "Nobody else does that, so our figure could not be compared with others." What would you
# report, and what would you do with images whose copies have two labels?
