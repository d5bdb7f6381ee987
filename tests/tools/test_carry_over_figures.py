"""The figures of notebook 75: keys, denominators, and that `fer verify` can compute them."""

from pathlib import Path

import numpy as np
import pytest

from fer_lib.evaluation import predictions
from fer_lib.evaluation.predictions import Predictions
from fer_lib.models.card import Card
from fer_lib.params import Architecture
from fer_tools.carry_over import figures as carry_over
from fer_tools.carry_over.collections import Collection
from fer_tools.carry_over.conditions import Curve
from fer_tools.record import verify
from fer_tools.record.evidence import Evidence

N = 120
CARD = Card("classifier", "sample", "fer13-7", Architecture(), {"seed": 1}, "x", {})


@pytest.fixture
def collection():
    labels = np.arange(N) % 6  # no neutral face
    return Collection("JAFFE", (Path("x"),) * N, labels, np.arange(N) // 12)


@pytest.fixture
def found(collection):
    """Every tenth image without a found face; of the others two thirds right."""
    rng = np.random.default_rng(0)
    shown = np.where(np.arange(N) % 3 < 2, collection.labels, 6)
    faces = [rng.dirichlet(np.ones(7)) * 0.5 + 0.5 * np.eye(7)[label] for label in shown]
    missing = [None if place % 10 == 0 else face for place, face in enumerate(faces)]
    about = {"network": "fer13-7-zero-shot-jaffe", "data": "JAFFE"}
    return predictions.of_faces(missing, CARD, about)


@pytest.fixture
def kept(collection, found):
    kept = Evidence("75_carry_over", resamples=200, seed=0)
    carry_over.publish_zero_shot(kept, "jaffe", collection, found)
    return kept


def test_images_without_a_face_stay_in_the_denominator(kept, collection, found):
    right = found.predicted() == collection.labels
    figure = kept.figures["carry_over.jaffe.accuracy"]
    assert figure["n"] == N and figure["value"] == pytest.approx(100 * right.mean(), abs=0.006)
    assert kept.figures["carry_over.jaffe.not_found"]["value"] == 10
    # Confidence is compared with accuracy where there is a face to be sure of.
    assert kept.figures["carry_over.jaffe.ece"]["n"] == N - N // 10
    assert "carry_over.jaffe.recall.neutral" not in kept.figures
    assert "carry_over.jaffe.recall.happy" in kept.figures


def test_a_drop_is_home_minus_elsewhere(kept, collection, found):
    labels = np.arange(700) % 7
    probabilities = predictions.half(np.eye(7)[labels] * 0.9 + 0.1 / 7)
    about = {"network": "fer13-7", "task": "fer13-7", "seed": 1, "data": "fer2013"}
    home = Predictions(np.arange(700), about, probabilities)  # always right
    private = np.arange(700) >= 350
    carry_over.publish_drop(kept, "jaffe", collection, home, labels, private)
    figures = kept.figures
    for metric in ("accuracy", "macro_recall"):
        lost = figures[f"carry_over.jaffe.{metric}_drop"]["value"]
        assert lost == pytest.approx(100 - figures[f"carry_over.jaffe.{metric}"]["value"], abs=0.02)
    assert figures["carry_over.private.accuracy"]["n"] == 350
    assert figures["carry_over.jaffe.private_macro_recall"]["n"] == 300  # without neutral


def test_the_record_computes_them_and_finds_a_changed_prediction(kept, found):
    stored = {found.about["network"]: found}
    record = verify.Record(stored, kept.tables, kept.recipes, {})
    for key, entry in kept.figures.items():
        assert verify._judge(key, entry, record, {}).state == "computed", key
    assert not [table for table in kept.tables.values() if verify.mismatch(table, stored)]
    values = found.probabilities.copy()
    values[1] = np.roll(values[1], 1)
    changed = {found.about["network"]: Predictions(found.names, found.about, values)}
    assert [table for table in kept.tables.values() if verify.mismatch(table, changed)]


def test_a_limit_that_is_not_reached_is_not_published():
    kept = Evidence("75_carry_over", resamples=200, seed=0)
    right = np.ones((3, 50), bool)
    about = {"split": "faces", "seeds": [1]}
    curve = Curve(np.array([48.0, 24, 12]), right, np.zeros((3, 50)))
    assert carry_over.publish_limit(kept, "size", curve, "pixels", "pixels", 0.05, **about) is None
    assert not kept.figures
    right = right.copy()
    right[2, :20] = False
    curve = Curve(curve.place, right, curve.valence)
    value = carry_over.publish_limit(kept, "size", curve, "pixels", "pixels", 0.2, **about)
    figure = kept.figures["carry_over.limit.size"]
    assert value == figure["value"] == 18 and figure["low"] < 18 < figure["high"]
    assert figure["protocol"].startswith("least pixels")


def test_means_over_videos():
    kept = Evidence("75_carry_over", resamples=200, seed=0)
    scores = {key: np.array([0.2, 0.4, 0.6]) for key in carry_over.VIDEO_PROTOCOLS}
    carry_over.publish_videos(kept, scores, 1)
    figure = kept.figures["carry_over.video.correlation"]
    assert figure["value"] == pytest.approx(0.4) and figure["n"] == 3
    assert 0.2 <= figure["low"] < 0.4 < figure["high"] <= 0.6
