"""Figures from evidence equal those computed directly, and no label is stored."""

import json

import numpy as np
import pytest
from scipy.stats import binomtest

from fer_lib.errors import UserError
from fer_lib.evaluation import calibration, intensity, metrics, published
from fer_tools.record import evidence
from fer_tools.record.evidence import Evidence

K, N = 5, 900
ABOUT = {"split": "test images", "protocol": "official", "seeds": [1]}
FIGURE = {"of": "net", "target": "label", "where": "all", **ABOUT}
METRICS = {
    "accuracy": metrics.accuracy,
    "macro_f1": metrics.macro_f1,
    "macro_recall": metrics.macro_recall,
    "recall.2": metrics.class_recall(2),
}


@pytest.fixture
def data():
    """Labels, predictions of three networks and names of images."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, K, N)
    predicted = np.where(rng.random((3, N)) < 0.7, labels, rng.integers(0, K, (3, N)))
    return labels, predicted, np.arange(100, 100 + N)


@pytest.mark.parametrize("name", METRICS)
def test_one_network_gives_the_metric_and_its_bootstrap_interval(data, name):
    labels, predicted, names = data
    kept = Evidence("x", resamples=500, seed=3)
    entry = kept.measured("a", labels, predicted[0], K, names=names, metric=name, **FIGURE)
    value = 100 * METRICS[name](metrics.confusion(labels, predicted[0], K))
    low, high = metrics.bootstrap_interval(
        labels, predicted[0], K, METRICS[name], resamples=500, seed=3
    )
    assert entry["value"] == pytest.approx(float(value), abs=0.006)
    assert entry["low"] == pytest.approx(100 * low, abs=0.006)
    assert entry["high"] == pytest.approx(100 * high, abs=0.006)
    of_class = (labels == 2).sum() if name == "recall.2" else N
    assert entry["n"] == of_class and "spread" not in entry


def test_whole_groups_are_resampled(data):
    labels, _, names = data
    subject = np.arange(N) // 30
    right = np.where(subject % 2, labels, (labels + 1) % K)  # half of the people are always right
    kept = Evidence("x", resamples=2000, seed=0)
    alone = kept.measured("a", labels, right, K, names=names, **FIGURE)
    by_subject = FIGURE | {"where": "by subject"}
    grouped = kept.measured("b", labels, right, K, names=names, groups=subject, **by_subject)
    low, high = metrics.bootstrap_interval(labels, right, K, resamples=2000, seed=9, groups=subject)
    assert grouped["high"] - grouped["low"] > 3 * (alone["high"] - alone["low"])
    np.testing.assert_allclose([grouped["low"], grouped["high"]], [100 * low, 100 * high], atol=2.5)


def test_groups_cannot_be_identified_by_their_order(data):
    labels, predicted, _ = data
    subject = np.arange(N) % 40
    other = (subject + 17) % 40  # the same groups under other names
    rows = np.vstack([labels, predicted[0]])
    assert evidence.count_cells(rows, subject) == evidence.count_cells(rows, other)


def test_images_without_a_label_count_only_in_the_table(data):
    labels, predicted, names = data
    some = np.where(labels == 3, -1, labels)
    kept = Evidence("x", resamples=100, seed=0)
    entry = kept.measured("a", some, predicted[0], K, names=names, **FIGURE)
    known = labels != 3
    assert entry["n"] == known.sum()
    right = (labels == predicted[0])[known].mean()
    assert entry["value"] == pytest.approx(100 * right, abs=0.006)
    assert sum(kept.tables["net/probabilities/all/label"]["counts"]) == N


def test_mean_spread_and_interval_over_seeds(data):
    labels, predicted, names = data
    several = FIGURE | {"of": ["a", "b", "c"], "seeds": [1, 2, 3]}
    for name in ("accuracy", "macro_f1"):
        kept = Evidence("x", resamples=2000, seed=0)
        entry = kept.measured("k", labels, predicted, K, names=names, metric=name, **several)
        values = [100 * METRICS[name](metrics.confusion(labels, row, K)) for row in predicted]
        assert entry["value"] == pytest.approx(np.mean(values), abs=0.006)
        assert entry["spread"] == pytest.approx(np.std(values, ddof=1), abs=0.006)
    # Against a bootstrap written out: an image counts by the share of networks that name it.
    share = 100 * (predicted == labels).mean(axis=0)
    rng = np.random.default_rng(1)
    means = share[rng.integers(0, N, (2000, N))].mean(axis=1)
    entry = Evidence("x", resamples=2000, seed=0).measured(
        "k", labels, predicted, K, names=names, **several
    )
    np.testing.assert_allclose(
        [entry["low"], entry["high"]], np.percentile(means, [2.5, 97.5]), atol=0.35
    )


def test_networks_that_agree_have_no_spread_and_the_interval_of_one(data):
    labels, predicted, names = data
    kept = Evidence("x", resamples=4000, seed=0)
    single = kept.measured("one", labels, predicted[0], K, names=names, **FIGURE)
    same = np.stack([predicted[0]] * 3)
    mean = kept.measured("k", labels, same, K, names=names, **FIGURE | {"of": ["a", "b", "c"]})
    assert mean["spread"] == 0 and mean["value"] == single["value"]
    assert mean["low"] == pytest.approx(single["low"], abs=0.4)


def test_two_sets_of_images_may_not_share_a_name(data):
    labels, predicted, names = data
    kept = Evidence("x", resamples=100, seed=0)
    kept.measured("a", labels, predicted[0], K, names=names, **FIGURE)
    kept.measured("b", labels, predicted[0], K, names=names, metric="macro_f1", **FIGURE)
    with pytest.raises(ValueError, match="two tables are called net/probabilities/all/label"):
        kept.measured("c", labels, predicted[0], K, names=names, mask=labels > 0, **FIGURE)


def test_a_share_of_the_errors(data):
    labels, predicted, names = data
    side = np.where(labels == predicted[0], 0, 1 + labels % 3)
    kept = Evidence("x", resamples=100, seed=0)
    entry = kept.measured(
        "k", side, predicted[0], K, names=names, metric="share.2", **FIGURE | {"seeds": []}
    )
    wrong = labels != predicted[0]
    assert entry["n"] == wrong.sum() and "low" not in entry
    assert entry["value"] == pytest.approx(100 * (side[wrong] == 2).mean(), abs=0.006)


def test_few_errors_have_the_exact_interval(data):
    labels, _, names = data
    subject = np.arange(N) // 9  # 100 of them
    kept = Evidence("x", resamples=100, seed=0)
    none = kept.measured("a", labels, labels, K, names=names, groups=subject, **FIGURE)
    assert (none["low"], none["high"]) == (96.38, 100)  # 1 - 0.025 ** (1 / 100)
    wrong = np.where(subject == 0, (labels + 1) % K, labels)  # one subject, whole
    by_subject = FIGURE | {"where": "one subject"}
    entry = kept.measured("b", labels, wrong, K, names=names, groups=subject, **by_subject)
    exact = binomtest(99, 100).proportion_ci(method="exact")
    assert entry["low"] == pytest.approx(100 * exact.low, abs=0.006)
    assert entry["high"] == pytest.approx(100 * exact.high, abs=0.006)


def test_how_many_images_have_a_label(data):
    labels, predicted, names = data
    kept = Evidence("x", resamples=100, seed=0)
    entry = kept.measured("k", labels, predicted[0], K, names=names, metric="count.2", **FIGURE)
    assert entry["value"] == (labels == 2).sum() and entry["unit"] == "images"
    assert entry["n"] == N and "low" not in entry


def test_the_mean_of_values_image_by_image(data):
    rng = np.random.default_rng(6)
    values = rng.normal(0.3, 1, N)
    kept = Evidence("x", resamples=400, seed=1)
    about = {"of": "net", "where": "all", **ABOUT}
    entry = kept.mean("k", values, **about)
    low, high = metrics.mean_interval(np.sort(values), resamples=400, seed=1)
    found = [entry[name] for name in ("value", "low", "high")]
    np.testing.assert_allclose(found, [values.mean(), low, high], atol=1e-3)
    gain = kept.mean("g", rng.integers(-1, 2, N), unit="percent", **about | {"where": "gain"})
    assert abs(gain["value"]) < 10 and gain["unit"] == "percent"
    assert kept.tables["net/gain"]["values"] == [-1, 0, 1]  # in order: no image is identified


def test_calibration_is_the_expected_calibration_error(data):
    labels, _, names = data
    rng = np.random.default_rng(4)
    probabilities = rng.dirichlet(np.ones(K), (2, N))
    kept = Evidence("x", resamples=100, seed=0)
    about = FIGURE | {"of": ["a", "b"]}
    entry = kept.calibration("k", labels, list(probabilities), names=names, **about)
    values = [100 * calibration.expected_calibration_error(labels, p) for p in probabilities]
    assert entry["value"] == pytest.approx(np.mean(values), abs=0.006)
    assert entry["spread"] == pytest.approx(np.std(values, ddof=1), abs=0.006)


def test_intensities_equal_the_computation_face_by_face():
    rng = np.random.default_rng(5)
    targets = rng.random((400, 7)).astype(np.float32)
    values = np.clip(targets + rng.normal(0, 0.1, targets.shape), 0, 1).astype(np.float32)
    mean, kept = targets.mean(axis=0), Evidence("x", resamples=300, seed=1)
    about = {"of": "net", "baseline": mean, "where": "all", **ABOUT}

    def figure(metric):
        return kept.intensity(metric, targets, values, metric=metric, **about)

    errors = ((targets - values) ** 2).mean(axis=1)
    low, high = np.sqrt(metrics.mean_interval(errors, resamples=300, seed=1))
    entry = figure("rmse")
    assert entry["value"] == pytest.approx(intensity.rmse(targets, values), abs=6e-4)
    assert entry["low"] == pytest.approx(low, abs=2e-3)
    assert entry["high"] == pytest.approx(high, abs=2e-3)
    fear = intensity.rmse(targets[:, 2], values[:, 2])
    assert figure("rmse.2")["value"] == pytest.approx(fear, abs=6e-4)
    agreed = intensity.concordance(targets.ravel(), values.ravel())
    assert figure("ccc")["value"] == pytest.approx(agreed, abs=6e-4)
    missed = intensity.rmse(targets, np.broadcast_to(mean, targets.shape))
    assert figure("baseline_rmse")["value"] == pytest.approx(missed, abs=6e-4)


def test_figures_are_recomputed_from_the_file_alone(data, tmp_path):
    labels, predicted, names = data
    kept = Evidence("40_x", resamples=300, seed=3)
    entry = kept.measured("a", labels, predicted[0], K, names=names, **FIGURE)
    kept.save(tmp_path)
    assert published.read_figures(tmp_path / "figures" / "40_x.json")["a"] == entry
    tables, recipes = evidence.read(tmp_path / "evidence" / "40_x.json")
    recipe, found = recipes["a"], [tables[name] for name in recipes["a"]["tables"]]
    again = evidence.value_of(found, recipe["metric"], recipe["n"], 3)
    for name in ("value", "low", "high"):
        assert round(again[name], 2) == entry[name]
    # The file contains only counts, at most K * K, and no label of a single image.
    assert len(tables["net/probabilities/all/label"]["counts"]) <= K * K


def test_rows_of_images_are_found_again():
    names = np.array([3, 4, 5, 9, 11, 12])
    pairs = evidence.ranges(names)
    assert pairs == [[3, 5], [9, 9], [11, 12]]
    everything = np.arange(20)
    assert everything[evidence.chosen_by(pairs, everything)].tolist() == names.tolist()
    assert evidence.ranges(np.array(["S1_1_1"])) is None
    assert evidence.chosen_by(None, names).all()


def test_damaged_evidence_is_reported(tmp_path):
    file = tmp_path / "evidence.json"
    with pytest.raises(UserError, match=r"evidence.json is missing.*git checkout"):
        evidence.read(file)
    for text in ("{", "[]", json.dumps({"tables": {}})):
        file.write_text(text)
        with pytest.raises(UserError, match="contains no evidence"):
            evidence.read(file)
    table = {"kind": "counts", "classes": 2, "cells": [[0, 0]], "counts": [1]}
    with pytest.raises(UserError, match="no metric 'auc'"):
        evidence.value_of([table], "auc", 10, 0)


def test_a_difference_of_two_sets_of_images(data):
    """Value, and an interval as wide as both intervals together (independent: squares add up)."""
    labels, predicted, names = data
    kept = Evidence("x", resamples=4000, seed=0)
    first = kept.measured("a", labels, predicted[0], K, names=names, **FIGURE)
    worse = np.where(np.arange(N) % 3, predicted[0], (labels + 1) % K)[:300]
    elsewhere = FIGURE | {"where": "elsewhere"}
    second = kept.measured("b", labels[:300], worse, K, names=names[:300], **elsewhere)
    entry = kept.difference("d", "a", "b", **ABOUT)
    assert entry["value"] == pytest.approx(first["value"] - second["value"], abs=0.011)
    assert entry["n"] == 300 and entry["low"] < entry["value"] < entry["high"]
    widths = [e["high"] - e["low"] for e in (first, second)]
    assert entry["high"] - entry["low"] == pytest.approx(np.hypot(*widths), rel=0.08)
    recipe = kept.recipes["d"]
    tables = [kept.tables[name] for name in recipe["tables"]]
    again = evidence.value_of(tables, recipe["metric"], recipe["n"], recipe["seed"])
    assert again["value"] == pytest.approx(entry["value"], abs=0.006)


def test_a_difference_is_of_one_metric(data):
    labels, predicted, names = data
    kept = Evidence("x", resamples=100, seed=0)
    kept.measured("a", labels, predicted[0], K, names=names, **FIGURE)
    kept.measured("b", labels, predicted[0], K, names=names, metric="macro_recall", **FIGURE)
    with pytest.raises(AssertionError):
        kept.difference("d", "a", "b", **ABOUT)


def test_worst_and_best_tenth_of_the_groups():
    """Twenty people of ten images; person p is right in p // 2 of them."""
    person, image = np.divmod(np.arange(200), 10)
    labels = np.zeros(200, dtype=int)
    predicted = np.where(image < person // 2, 0, 1)
    kept = Evidence("x", resamples=100, seed=0)
    options = {"names": np.arange(200), "groups": person, **FIGURE}
    worst = kept.measured("w", labels, predicted, K, metric="worst_tenth", **options)
    best = kept.measured("b", labels, predicted, K, metric="best_tenth", **options)
    assert (worst["value"], best["value"]) == (0, 90) and worst["n"] == 20
    assert "low" not in worst


def test_how_often_a_class_is_predicted(data):
    labels, predicted, names = data
    kept = Evidence("x", resamples=300, seed=0)
    entry = kept.measured("a", labels, predicted[0], K, names=names, metric="predicted.4", **FIGURE)
    assert entry["value"] == pytest.approx(100 * (predicted[0] == 4).mean(), abs=0.006)
    assert entry["low"] < entry["value"] < entry["high"]
