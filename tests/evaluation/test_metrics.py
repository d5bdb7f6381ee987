"""Metrics against naive loops and scikit-learn; chance level, empty classes, bad input."""

import json

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn import metrics as oracle
from sklearn.calibration import calibration_curve

from fer_lib.errors import UserError
from fer_lib.evaluation import calibration, metrics, published

K = 7
ABOUT = {"split": "s", "protocol": "p", "seeds": [1], "stage": "40"}


@pytest.fixture(scope="module")
def predicted() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels of uneven classes, predictions right about half of the time, and probabilities."""
    rng = np.random.default_rng(5)
    labels = rng.choice(K, 900, p=[0.13, 0.02, 0.14, 0.25, 0.17, 0.12, 0.17])
    logits = rng.normal(size=(900, K))
    logits[np.arange(900), labels] += 1.6
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return labels, probabilities.argmax(axis=1), probabilities


def naive_confusion(labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    counts = np.zeros((K, K), dtype=int)
    for label, prediction in zip(labels, predictions, strict=True):
        counts[label, prediction] += 1
    return counts


def naive_macro_f1(labels: np.ndarray, predictions: np.ndarray) -> float:
    values = []
    for k in set(labels.tolist()):
        hit = sum(1 for y, p in zip(labels, predictions, strict=True) if y == k and p == k)
        false = sum(1 for y, p in zip(labels, predictions, strict=True) if y != k and p == k)
        missed = sum(1 for y, p in zip(labels, predictions, strict=True) if y == k and p != k)
        values.append(2 * hit / (2 * hit + false + missed))
    return sum(values) / len(values)


def test_against_naive_loops(predicted):
    labels, predictions, _ = predicted
    counts = metrics.confusion(labels, predictions, K)
    assert counts.dtype == np.int64
    np.testing.assert_array_equal(counts, naive_confusion(labels, predictions))
    right = [y == p for y, p in zip(labels, predictions, strict=True)]
    assert metrics.accuracy(counts) == pytest.approx(sum(right) / len(right), abs=1e-12)
    assert metrics.macro_f1(counts) == pytest.approx(naive_macro_f1(labels, predictions), abs=1e-12)
    for k in range(K):
        own = [p == k for y, p in zip(labels, predictions, strict=True) if y == k]
        assert metrics.per_class_recall(counts)[k] == pytest.approx(sum(own) / len(own), abs=1e-12)
        assert metrics.class_recall(k)(counts) == metrics.per_class_recall(counts)[k]


def test_against_scikit_learn(predicted):
    labels, predictions, _ = predicted
    counts = metrics.confusion(labels, predictions, K)
    f1 = oracle.f1_score(labels, predictions, average="macro")
    assert metrics.accuracy(counts) == pytest.approx(oracle.accuracy_score(labels, predictions))
    assert metrics.macro_f1(counts) == pytest.approx(f1)
    recall = oracle.recall_score(labels, predictions, average=None)
    np.testing.assert_allclose(metrics.per_class_recall(counts), recall)


def test_a_stack_of_matrices_gives_each_ones_value(predicted):
    labels, predictions, _ = predicted
    counts = metrics.confusion(labels, predictions, K).ravel()
    draws = metrics.resample(counts, resamples=20, seed=1).reshape(-1, K, K)
    assert draws.shape == (20, K, K) and (draws.sum(axis=(1, 2)) == len(labels)).all()
    for metric in (metrics.accuracy, metrics.macro_f1, metrics.class_recall(3)):
        np.testing.assert_allclose(metric(draws), [metric(draw) for draw in draws], rtol=1e-12)


def test_a_class_without_images_has_no_recall_and_is_left_out_of_the_mean():
    # As in CK+48: neutral (6) is predicted, but never true.
    labels, predictions = np.array([0, 0, 1, 1]), np.array([0, 6, 1, 1])
    counts = metrics.confusion(labels, predictions, K)
    assert np.isnan(metrics.per_class_recall(counts)[6])
    assert metrics.macro_f1(counts) == pytest.approx((2 / 3 + 1) / 2)
    assert metrics.macro_f1(counts) == pytest.approx(naive_macro_f1(labels, predictions))


def test_perfect_and_all_wrong():
    labels = np.arange(K)
    perfect = metrics.confusion(labels, labels, K)
    wrong = metrics.confusion(labels, (labels + 1) % K, K)
    for metric in (metrics.accuracy, metrics.macro_f1):
        assert metric(perfect) == 1 and metric(wrong) == 0


def test_chance_gives_chance():
    rng = np.random.default_rng(0)
    labels = rng.choice(K, 40_000, p=[0.1, 0.1, 0.1, 0.4, 0.1, 0.1, 0.1])
    guessed = metrics.confusion(labels, rng.integers(0, K, len(labels)), K)
    assert metrics.accuracy(guessed) == pytest.approx(1 / K, abs=0.01)
    np.testing.assert_allclose(metrics.per_class_recall(guessed), 1 / K, atol=0.03)
    always_happy = metrics.confusion(labels, np.full(len(labels), 3), K)
    assert metrics.accuracy(always_happy) == pytest.approx(0.4, abs=0.01)
    # The macro average penalizes it.
    assert metrics.macro_f1(always_happy) == pytest.approx(2 * 0.4 / 1.4 / K, abs=0.01)


@pytest.mark.parametrize(
    ("labels", "predictions", "message"),
    [
        ([], [], "no image"),
        ([0, 7], [0, 1], "label must lie in 0..6, found 0..7"),
        ([-1, 2], [0, 1], "label must lie in 0..6"),
        ([0, 2], [0, 9], "prediction must lie in 0..6"),
    ],
)
def test_what_cannot_be_counted_is_refused(labels, predictions, message):
    with pytest.raises(ValueError, match=message):
        metrics.confusion(np.array(labels, dtype=int), np.array(predictions, dtype=int), K)


def test_bootstrap_agrees_with_drawing_images_one_by_one(predicted):
    labels, predictions, _ = predicted
    rng = np.random.default_rng(11)
    values = []
    for _ in range(2000):
        chosen = rng.integers(0, len(labels), len(labels))
        values.append((labels[chosen] == predictions[chosen]).mean())
    low, high = metrics.bootstrap_interval(labels, predictions, K, resamples=4000, seed=2)
    assert (low, high) == pytest.approx(np.percentile(values, [2.5, 97.5]), abs=0.004)
    assert low < metrics.accuracy(metrics.confusion(labels, predictions, K)) < high


def test_bootstrap_is_seeded_and_of_no_width_for_a_perfect_score(predicted):
    labels, predictions, _ = predicted
    first = metrics.bootstrap_interval(
        labels, predictions, K, metrics.macro_f1, resamples=300, seed=4
    )
    again = metrics.bootstrap_interval(
        labels, predictions, K, metrics.macro_f1, resamples=300, seed=4
    )
    other = metrics.bootstrap_interval(
        labels, predictions, K, metrics.macro_f1, resamples=300, seed=5
    )
    assert first == again != other
    assert metrics.bootstrap_interval(labels, labels, K, resamples=100, seed=0) == (1, 1)


def test_drawing_subjects_gives_wider_intervals_than_drawing_images():
    rng = np.random.default_rng(3)
    subject = np.repeat(np.arange(40), 9)
    right = np.repeat(rng.random(40) < 0.8, 9)  # a subject is always right or always wrong
    labels = np.zeros(len(subject), dtype=int)
    predictions = np.where(right, 0, 1)
    alone = metrics.bootstrap_interval(labels, predictions, 2, resamples=2000, seed=0)
    by_subject = metrics.bootstrap_interval(
        labels, predictions, 2, resamples=2000, seed=0, groups=subject
    )
    # Nine equal images of each count as one: the width grows by the square root of nine.
    assert np.ptp(by_subject) / np.ptp(alone) == pytest.approx(3, rel=0.15)


def test_calibration_against_scikit_learn_and_a_loop(predicted):
    labels, _, probabilities = predicted
    ours = calibration.expected_calibration_error(labels, probabilities)
    sure, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    accuracy, confidence = calibration_curve(right, sure, n_bins=15)
    images = np.histogram(sure, bins=15, range=(0, 1))[0]
    gaps = np.abs(accuracy - confidence) * images[images > 0]
    assert ours == pytest.approx(gaps.sum() / len(labels))
    total = 0.0
    for low in range(15):
        inside = [
            i for i, row in enumerate(probabilities) if low / 15 < row.max() <= (low + 1) / 15
        ]
        if inside:
            right = np.mean([probabilities[i].argmax() == labels[i] for i in inside])
            sure = np.mean([probabilities[i].max() for i in inside])
            total += len(inside) * abs(right - sure)
    assert ours == pytest.approx(total / len(labels), abs=1e-12)


def test_calibration_at_the_ends():
    sure = np.eye(3)[[0, 1, 2, 0]]
    assert calibration.expected_calibration_error(np.array([0, 1, 2, 0]), sure) == 0
    assert calibration.expected_calibration_error(np.array([1, 2, 0, 1]), sure) == 1
    even = np.full((4, 2), 0.5)
    assert calibration.expected_calibration_error(np.array([0, 1, 0, 1]), even) == 0
    table = calibration.reliability_bins(np.zeros(8, dtype=int), np.vstack([sure[:, :2], even]))
    assert table.images.sum() == 8 and table.high.max() == 1


def test_figure_rounds_by_unit_and_carries_what_is_needed():
    entry = published.figure(62.3149, unit="percent", n=3589, low=60.7, high=63.88888, **ABOUT)
    assert entry == {
        "value": 62.31, "low": 60.7, "high": 63.89, "unit": "percent", "n": 3589, "split": "s",
        "protocol": "p", "seeds": [1], "stage": "40",
    }  # fmt: skip
    whole = published.figure(np.int64(2_369_538), unit="values", n=1, **ABOUT)["value"]
    assert whole == 2_369_538 and isinstance(whole, int)


@pytest.mark.parametrize(
    ("value", "unit", "message"),
    [(1.0, "furlongs", "unknown unit"), (float("nan"), "percent", "not a finite number")],
)
def test_an_invalid_figure_is_refused(value, unit, message):
    with pytest.raises(ValueError, match=message):
        published.figure(value, unit=unit, n=1, **ABOUT)


def test_figures_survive_the_file_and_give_the_same_bytes(tmp_path):
    one = published.figure(1 / 3, unit="percent", n=3, **ABOUT)
    two = published.figure(2, unit="values", n=3, **ABOUT)
    published.write_figures(tmp_path / "sub" / "a.json", {"b": one, "a": two})
    published.write_figures(tmp_path / "b.json", {"a": two, "b": one})
    written = (tmp_path / "sub" / "a.json").read_bytes()
    assert written == (tmp_path / "b.json").read_bytes() and written.endswith(b"}\n")
    assert published.read_figures(tmp_path / "b.json") == {"a": two, "b": one}
    assert list(json.loads(written)) == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "is missing: run"),
        ("{", "holds no figures"),
        ("[1]", "holds no figures"),
        ('{"x": {"value": 1}}', "x lacks unit, n"),
        ('{"x": 3}', "holds no figures"),
    ],
)
def test_a_damaged_figures_file_is_reported(tmp_path, text, message):
    path = tmp_path / "figures.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        published.read_figures(path)
    assert "figures.json" in str(caught.value)


def test_temperature_is_found_again():
    # Labels drawn from the softmax of calibrated logits; the network's are three times too large.
    rng = np.random.default_rng(0)
    calibrated = rng.normal(0, 1.5, (20_000, 5))
    chances = np.exp(calibrated) / np.exp(calibrated).sum(axis=1, keepdims=True)
    labels = (chances.cumsum(axis=1) < rng.random((len(chances), 1))).sum(axis=1)
    assert calibration.fit_temperature(labels, 3 * calibrated) == pytest.approx(3, rel=0.05)
    assert calibration.fit_temperature(labels, calibrated / 2) == pytest.approx(0.5, rel=0.05)


def test_the_interval_of_a_mean():
    values = np.random.default_rng(2).normal(10, 1, 400)
    low, high = metrics.mean_interval(np.append(values, np.nan))
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.15)


def test_images_of_a_group_that_fail_together_are_worth_one_trial():
    images = np.full(200, 3)
    together = np.where(np.arange(200) < 12, 3, 0)
    assert metrics.effective_trials(together, images) == pytest.approx(200, rel=0.01)
    apart = np.where(np.arange(200) < 36, 1, 0)  # never two in a group: worth no less than all
    assert metrics.effective_trials(apart, images) == pytest.approx(600, rel=0.01)
    assert metrics.effective_trials(np.zeros(200), images) == 200


def test_the_exact_interval_is_scipy_s_and_covers_what_a_bootstrap_does_not():
    for right, trials in ((0, 7), (7, 7), (97, 106)):
        exact = binomtest(right, trials).proportion_ci(method="exact")
        found = metrics.exact_interval(right / trials, trials)
        np.testing.assert_allclose(found, (exact.low, exact.high), atol=1e-9)
    rng = np.random.default_rng(0)
    seen = rng.binomial(106, 0.985, 400) / 106  # a true rate near 1, as on CK+
    covered = [low <= 0.985 <= high for low, high in (metrics.exact_interval(x, 106) for x in seen)]
    assert np.mean(covered) > 0.94
