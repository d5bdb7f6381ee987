"""Checks of unit 6. Oracles: explicit counting of pairs, SciPy, simulated labels."""

import itertools

import numpy as np
from scipy.stats import binomtest

from fer_lib.data.arrays import load_fer13
from fer_tools.course.expectations import array, holds, same, sample


def check_agreement(answer):
    rng = np.random.default_rng(1)
    votes = np.array([[10, 0, 0], [5, 5, 0], [4, 3, 3], [1, 1, 0], [2, 0, 7]])
    for given in (votes, rng.multinomial(10, rng.dirichlet(np.ones(10)), 8)):
        total = given.sum(axis=1)
        shares = given / total[:, None]
        same(
            answer(given), np.array([agreeing_pairs(row) for row in given]),
            f"the agreement of {len(given)} images", tolerance=1e-6,
            mistakes={
                "The two taggers are different people: n (n - 1) pairs, not n squared.":
                    (shares**2).sum(axis=1),
                "That is the share of the most frequent tag; count pairs.": shares.max(axis=1),
                "Return one value for each image, not their mean.":
                    np.full(len(given), (given * (given - 1)).sum() / (total * (total - 1)).sum()),
            },
        )  # fmt: skip
    votes = load_fer13(sample("fer13.npz")).votes
    some = votes[::100]
    same(answer(votes)[::100], np.array([agreeing_pairs(row) for row in some]),
         "the agreement in the sample study", tolerance=1e-6)  # fmt: skip


def agreeing_pairs(row):
    """Go through all pairs of taggers."""
    tags = [column for column, count in enumerate(row) for _ in range(count)]
    pairs = list(itertools.combinations(tags, 2))
    return sum(a == b for a, b in pairs) / len(pairs)


def check_best_possible(answer):
    votes = np.array([[10, 0, 0], [5, 4, 1], [2, 3, 3], [1, 0, 1]])
    for given, what in (
        (votes, "the best possible accuracy on four images"),
        (load_fer13(sample("fer13.npz")).votes, "the best possible accuracy in the sample study"),
    ):
        total, most = given.sum(axis=1), given.max(axis=1)
        same(
            answer(given), np.mean([max(row) / sum(row) for row in given.tolist()]), what,
            mistakes={
                "Weight all images equally, however many taggers they have.":
                    most.sum() / total.sum(),
                "An image without a majority can be predicted correctly, too.":
                    np.where(2 * most > total, most / total, 0).mean(),
                "The best prediction is correct only as often as taggers chose that tag.":
                    (2 * most > total).mean(),
            },
            hint="For each image: the share of votes for the column with the most votes.",
        )  # fmt: skip


def check_worth_of_alarm(answer):
    for sensitivity, specificity, rate in ((0.9, 0.95, 0.01), (0.8, 0.99, 0.3), (0.5, 0.7, 0.05)):
        people = 1_000_000
        positives = people * rate
        true, false = sensitivity * positives, (1 - specificity) * (people - positives)
        same(
            answer(sensitivity, specificity, rate), true / (true + false),
            f"sensitivity {sensitivity}, specificity {specificity}, base rate {rate}",
            mistakes={
                "That is the share of the positives who are reported; return the share of the "
                "reported who are positive.": sensitivity,
                "The base rate is missing.": sensitivity / (sensitivity + 1 - specificity),
                "That is the accuracy: the share of correct decisions, alarm or not.":
                    sensitivity * rate + specificity * (1 - rate),
                "False alarms are 1 - specificity of the people without the condition.":
                    true / (true + specificity * (people - positives)),
                "That is the share of all people who are reported.": (true + false) / people,
            },
            hint="Imagine a million people and count who is reported.",
        )  # fmt: skip
    rates = np.array([0.001, 0.5, 1.0])
    same(answer(0.9, 0.8, rates), 0.9 * rates / (0.9 * rates + 0.2 * (1 - rates)),
         "three base rates at once")  # fmt: skip


def check_measured_accuracy(answer):
    rng = np.random.default_rng(4)
    for accuracy, noise, classes in ((0.9, 0.1, 7), (0.6, 0.3, 3), (1.0, 0.2, 2), (0.2, 0.5, 4)):
        both = accuracy * (1 - noise)
        expected = both + (1 - accuracy) * noise / (classes - 1)
        what = f"accuracy {accuracy}, label noise {noise}, {classes} classes"
        same(
            answer(accuracy, noise, classes), expected, what,
            mistakes={
                "Both may also be wrong in the same way.": both,
                "If both are wrong, they agree only in one of classes - 1 cases.":
                    both + (1 - accuracy) * noise,
                "An error is spread over the other classes only: classes - 1.":
                    both + (1 - accuracy) * noise / classes,
                "The network does not make the labels' errors: do not subtract.": accuracy - noise,
            },
        )  # fmt: skip
        truth = rng.integers(0, classes, 200_000)
        predicted = with_errors(truth, 1 - accuracy, classes, rng)
        labels = with_errors(truth, noise, classes, rng)
        same(answer(accuracy, noise, classes), (predicted == labels).mean(),
             f"200,000 simulated images: {what}", tolerance=0.01)  # fmt: skip


def with_errors(truth, share, classes, rng):
    """Replace a share of the classes by another class, drawn uniformly."""
    other = (truth + rng.integers(1, classes, len(truth))) % classes
    return np.where(rng.random(len(truth)) < share, other, truth)


def check_accuracy_by_group(answer):
    rng = np.random.default_rng(5)
    groups = np.array(["few"] * 5 + ["many"] * 200 + ["none right"] * 12 + ["one"])
    correct = np.concatenate([np.ones(5), rng.random(200) < 0.8, np.zeros(12), np.ones(1)]).astype(
        bool
    )
    order = rng.permutation(len(groups))
    groups, correct = groups[order], correct[order]
    found = answer(correct, groups)
    holds(isinstance(found, dict), "expected a dict with an entry for each group.")
    names = sorted(set(groups.tolist()))
    holds(
        sorted(map(str, found)) == names,
        f"expected entries for {', '.join(names)}, found {', '.join(sorted(map(str, found)))}.",
    )
    for group in names:
        n, hits = int((groups == group).sum()), int(correct[groups == group].sum())
        p = hits / n
        exact = binomtest(hits, n).proportion_ci(method="wilson")
        normal = 1.96 * (p * (1 - p) / n) ** 0.5
        what = f'accuracy and interval of "{group}" ({hits} of {n} correct)'
        same(
            array(found[group], what), np.array([p, exact.low, exact.high]), what,
            tolerance=1e-4,
            mistakes={
                "That is p ± z sqrt(p (1 - p) / n), which has zero width at 0 and at 1.":
                    np.array([p, p - normal, p + normal]),
                "Return the accuracy itself first, not the center of the interval.":
                    np.array([(exact.low + exact.high) / 2, exact.low, exact.high]),
            },
        )  # fmt: skip
