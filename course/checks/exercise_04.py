"""Checks of unit 4. Oracles: scikit-learn, and the study's own metrics."""

import numpy as np
from sklearn.metrics import f1_score

from fer_lib.evaluation import calibration, metrics
from fer_tools.course.expectations import array, holds, same


def check_scores(answer):
    rng = np.random.default_rng(1)
    true, predicted = rng.choice(4, 300, p=[0.6, 0.3, 0.08, 0.02]), rng.integers(0, 4, 300)
    predicted = np.where(rng.random(300) < 0.6, true, predicted)
    empty = np.array([[5, 1, 2], [0, 7, 1], [0, 0, 0]])
    for counts in (metrics.confusion(true, predicted, 4), np.array([[8, 2], [1, 9]]), empty):
        found = array(answer(counts), "the scores")
        holds(found.shape == (2,), f"expected accuracy and macro-F1, found {found.tolist()}.")
        same(found[0], metrics.accuracy(counts), f"the accuracy of {counts.tolist()}")
        rows, columns, correct = counts.sum(axis=1), counts.sum(axis=0), np.diag(counts)
        f1 = 2 * correct / np.maximum(rows + columns, 1)
        same(
            found[1], metrics.macro_f1(counts), f"the macro-F1 of {counts.tolist()}",
            mistakes={
                "A class without images has no F1: leave it out of the mean.": f1.mean(),
                "Weight all classes equally, not by their number of images.":
                    (f1 * rows).sum() / rows.sum(),
                "F1 is 2 TP over 2 TP + FP + FN; the denominator is row sum plus column sum.":
                    np.mean(correct / np.maximum(rows + columns - correct, 1)),
            },
        )  # fmt: skip
    same(answer(metrics.confusion(true, predicted, 4))[1],
         f1_score(true, predicted, average="macro"),
         "your macro-F1 compared with scikit-learn's")  # fmt: skip


def subjects(seed, number=40):
    """Correlated results of subjects: high accuracy for those with many images, low for others."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(2, 14, number)
    groups = np.repeat(np.arange(number) * 3 + 5, sizes)
    accuracy = np.repeat(np.where(sizes > 7, 0.95, 0.3), sizes)
    order = rng.permutation(len(groups))
    return (rng.random(len(groups)) < accuracy)[order], groups[order]


def check_bootstrap_interval(answer):
    for seed in (1, 2):
        correct, groups = subjects(seed)
        what = f"the interval of {len(correct)} images of 40 subjects"
        found = array(answer(correct, groups, 2000, np.random.default_rng(seed)), what)
        holds(found.shape == (2,), f"{what}: expected its two ends, found {found.tolist()}.")
        ones, predictions = np.ones(len(correct), int), correct.astype(int)
        low, high = metrics.bootstrap_interval(
            ones, predictions, 2, resamples=4000, seed=0, groups=groups
        )
        by_image = metrics.bootstrap_interval(ones, predictions, 2, resamples=4000, seed=0)
        width = found[1] - found[0]
        difference = (
            f"expected about {low:.3f} to {high:.3f}, found {found[0]:.3f} to {found[1]:.3f}."
        )
        holds(
            width > 1.25 * (by_image[1] - by_image[0]) or abs(width - (high - low)) < 0.1 * width,
            f"{what}: {difference} That is too narrow: draw whole subjects, not single images.",
        )
        holds(
            abs(found[0] - low) < 0.2 * (high - low) and abs(found[1] - high) < 0.2 * (high - low),
            f"{what}: {difference} Draw as many subjects as there are, with replacement; compute "
            "the accuracy over the images drawn (not as a mean over subjects), and take the 2.5th "
            "and 97.5th percentile.",
        )
        again = answer(correct, groups, 2000, np.random.default_rng(seed))
        same(again, found, f"{what} with the same rng again",
             hint="Draw all random numbers from `rng`, none from np.random.")  # fmt: skip
    same(answer(np.ones(9, bool), np.arange(9) // 3, 50, np.random.default_rng(0)), [1, 1],
         "the interval if every prediction is correct")  # fmt: skip


def check_calibration_error(answer):
    rng = np.random.default_rng(3)
    for classes, images, bins in ((7, 400, 15), (3, 250, 10), (5, 60, 15)):
        probabilities = rng.dirichlet(np.full(classes, 0.4), images)
        labels = np.where(
            rng.random(images) < 0.6,
            probabilities.argmax(axis=1),
            rng.integers(0, classes, images),
        )
        table = calibration.reliability_bins(labels, probabilities, bins)
        gap = table.accuracy - table.confidence
        same(
            answer(labels, probabilities, bins),
            calibration.expected_calibration_error(labels, probabilities, bins),
            f"the calibration error of {images} images in {bins} bins", tolerance=1e-6,
            mistakes={
                "Weight each bin by its share of the images.": gap.abs().mean(),
                "Take the absolute gap of each bin before you add up: overconfidence and "
                "underconfidence do not cancel out.": abs((gap * table.images).sum() / images),
                "Divide by the number of images.": (gap.abs() * table.images).sum(),
            },
        )  # fmt: skip
    same(answer(np.arange(3), np.eye(3)), 0,
         "the calibration error if all predictions are certain and correct",
         hint="Does a confidence of exactly 1 fall into the last bin?")  # fmt: skip


def check_fit_temperature(answer):
    rng = np.random.default_rng(4)
    for true_temperature in (0.5, 1.0, 2.5):
        calibrated = rng.normal(0, 2, (600, 5))
        probabilities = np.exp(calibrated) / np.exp(calibrated).sum(axis=1, keepdims=True)
        labels = np.array([rng.choice(5, p=row) for row in probabilities])
        logits = calibrated * true_temperature
        expected = calibration.fit_temperature(labels, logits)
        what = f"the temperature of logits {true_temperature} times too large"
        same(
            answer(labels, logits), expected, what, tolerance=0.02,
            mistakes={
                "Divide the logits by T; you multiplied by it.": 1 / expected,
                "That is log T.": np.log(expected),
            },
        )  # fmt: skip
        same(answer(labels, 3 * logits), 3 * expected, f"{what}, all tripled", tolerance=0.03)
    same(
        answer(labels, logits + 800), expected, "the temperature of the same logits plus 800",
        tolerance=0.02,
        hint="This does not change the softmax, but exp(800) overflows: subtract the maximum.",
    )  # fmt: skip


def check_group_folds(answer):
    for seed, number, k in ((1, 30, 3), (2, 12, 5), (3, 40, 10)):
        _, groups = subjects(seed, number)
        names = np.array([f"S{group:03}" for group in groups])
        what = f"{k} folds of {number} subjects"
        fold = array(answer(names, k, np.random.default_rng(seed)), what)
        holds(fold.shape == groups.shape, f"{what}: expected one fold for each image.")
        holds(
            set(fold.tolist()) == set(range(k)),
            f"{what}: expected the folds 0 to {k - 1}, found {sorted(set(fold.tolist()))}.",
        )
        for group in np.unique(groups):
            folds = set(fold[groups == group].tolist())
            holds(
                len(folds) == 1,
                f"{what}: the images of one subject are in the folds {sorted(folds)}. Assign whole "
                "subjects, not images.",
            )
        sizes, largest = np.bincount(fold.astype(int)), np.bincount(groups).max()
        holds(
            sizes.max() - sizes.min() <= largest,
            f"{what}: they have {sizes.tolist()} images; assign each subject to the fold with the "
            f"fewest images, and no two folds differ by more than the {largest} images of one "
            "subject.",
        )
        same(answer(names, k, np.random.default_rng(seed)), fold, f"{what}, the same rng again",
             hint="Draw all random numbers from `rng`.")  # fmt: skip
        others = [answer(names, k, np.random.default_rng(seed + i)) for i in range(1, 5)]
        holds(
            any((np.asarray(other) != fold).any() for other in others),
            f"{what}: another rng leads to the same folds. Go through the subjects in random "
            "order.",
        )
