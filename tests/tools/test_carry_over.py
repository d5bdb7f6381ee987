"""Conditions, individuals and images without a face, against results worked out by hand."""

import numpy as np
import pytest

from fer_lib.evaluation import individuals, metrics, predictions
from fer_lib.models.card import Card
from fer_lib.params import Architecture
from fer_tools.carry_over import conditions
from fer_tools.carry_over.conditions import CONDITIONS, Curve, limit, limit_with_interval

RNG = np.random.default_rng(0)
FACES = RNG.integers(30, 220, (12, 48, 48)).astype(np.uint8)


# --- conditions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(set(CONDITIONS) - {"blur"}))  # OpenCV refuses a blur of 0
def test_the_unchanged_level_changes_nothing(name):
    condition = CONDITIONS[name]
    np.testing.assert_array_equal(condition.apply(FACES, condition.unchanged), FACES)


@pytest.mark.parametrize("name", CONDITIONS)
def test_each_level_is_worse_than_the_one_before(name):
    condition = CONDITIONS[name]
    degraded = [FACES, *(condition.apply(FACES, level) for level in condition.levels)]
    assert all(d.shape == FACES.shape and d.dtype == np.uint8 for d in degraded)
    places = [
        condition.at(*pair)
        for pair in zip(degraded, [condition.unchanged, *condition.levels], strict=True)
    ]
    steps = np.diff(places)
    assert (steps > 0).all() or (steps < 0).all()
    away = [np.abs(d.astype(float) - FACES).mean() for d in degraded]
    assert all(np.diff(away) > 0)


def test_degraded_faces_by_hand():
    flat = np.full((1, 48, 48), 100, np.uint8)
    assert (conditions.exposed(flat, 0.5) == 50).all()
    assert (conditions.exposed(flat, 3) == 255).all()
    np.testing.assert_array_equal(conditions.flattened(flat, 0.1), flat)
    assert (conditions.blurred(flat, 2) == 100).all()
    half = conditions.covered(FACES, 0.5, "lower")
    assert (half[:, 24:] == 128).all() and (half[:, :24] == FACES[:, :24]).all()
    left = conditions.covered(FACES, 0.25, "left")
    assert (left[:, :, :12] == 128).all() and (left[:, :, 12:] == FACES[:, :, 12:]).all()
    # One face turns one way, the next the other.
    turned = conditions.tilted(np.stack([FACES[0], FACES[0]]), 90)
    np.testing.assert_array_equal(turned[0][1:-1, 1:-1], np.rot90(FACES[0])[1:-1, 1:-1])
    np.testing.assert_array_equal(turned[1][1:-1, 1:-1], np.rot90(FACES[0], -1)[1:-1, 1:-1])


def test_what_is_measured_in_a_face():
    assert conditions.mean_grey(FACES) == pytest.approx([face.mean() for face in FACES])
    assert conditions.contrast(FACES) == pytest.approx([face.std() for face in FACES])
    white = FACES.copy()
    white[:, :12] = 255
    assert conditions.clipped(white) == pytest.approx(25)
    assert (conditions.sharpness(conditions.blurred(FACES, 2)) < conditions.sharpness(FACES)).all()
    # In other light it stays, but for the rounding of grey levels.
    dimmed = conditions.exposed(FACES, 0.5)
    assert conditions.sharpness(dimmed) == pytest.approx(conditions.sharpness(FACES), rel=0.02)
    assert conditions.sharpness(np.full((1, 48, 48), 9, np.uint8)) == [0]


def test_a_limit_by_hand():
    place, accuracy = np.array([0.0, 10, 20, 30]), np.array([0.9, 0.88, 0.8, 0.3])
    # 5 points are lost between 10 (2 lost) and 20 (10 lost), three eighths of the way.
    assert limit(place, accuracy, 0.05) == pytest.approx(10 + 10 * 3 / 8)
    assert limit(-place, accuracy, 0.05) == pytest.approx(-13.75)
    assert limit(place, accuracy, 0.59) == pytest.approx(29.8)
    assert limit(place, accuracy, 0.7) is None


def test_a_limit_lies_in_its_interval_which_narrows_with_faces():
    def widths(faces):
        rng = np.random.default_rng(1)
        chances = np.array([0.9, 0.85, 0.7, 0.4])[:, None]
        curve = Curve(np.arange(4.0), rng.random(faces) < chances, np.zeros((4, faces)))
        value, low, high = limit_with_interval(curve, 0.1, resamples=500, seed=0)
        assert low <= value <= high
        return high - low

    assert widths(4000) < widths(100) / 2


def test_degrade_compares_with_the_unchanged_faces():
    labels = (FACES.mean(axis=(1, 2)) > 125).astype(int)

    def predict(faces):
        means = faces.mean(axis=(1, 2))
        return (means > 125).astype(int), means / 255

    curves = conditions.degrade({"dark": CONDITIONS["dark"]}, FACES, labels, predict)
    curve = curves["dark"]
    assert curve.accuracy[0] == 1 and curve.accuracy[-1] == (labels == 0).mean()
    assert curve.place[0] == pytest.approx(np.median(FACES.mean(axis=(1, 2))))
    assert curve.shift[0] == 0 and (np.diff(curve.shift) > 0).all()
    assert curve.interval(resamples=200, seed=0).shape == (2, 5)


def test_a_face_that_was_not_found_is_wrong_and_has_no_shift():
    curve = Curve(
        np.arange(2.0), np.array([[True, True], [True, False]]),
        np.array([[0.5, 0.1], [0.2, np.nan]]),
    )  # fmt: skip
    assert curve.accuracy.tolist() == [1, 0.5]
    assert curve.shift == pytest.approx([0, 0.3])


# --- individuals ---------------------------------------------------------------------------------


def test_subjects_and_tenths_by_hand():
    outcomes, subject = np.array([1, 0, 1, 1, 0.5]), np.array(["b", "b", "a", "a", "c"])
    assert individuals.by_subject(outcomes, subject).tolist() == [0.5, 0.5, 1]
    assert individuals.tenths(np.arange(20.0)) == (0.5, 18.5)
    assert individuals.tenths(np.array([3.0, 1, 2])) == (1, 3)


def test_people_who_do_not_differ_stay_within_chance_and_people_who_do_leave_it():
    rng = np.random.default_rng(2)
    subject, kind = np.repeat(np.arange(100), 4), np.tile(np.arange(4), 100)
    alike = (rng.random(400) < 0.7).astype(float)
    skill = rng.choice([0.2, 0.95], 100)
    apart = (rng.random(400) < skill[subject]).astype(float)
    for outcomes, differs in ((alike, False), (apart, True)):
        dealt = individuals.by_chance(outcomes, subject, kind, draws=300, seed=0)
        assert dealt.shape == (300, 100) and (np.diff(dealt, axis=1) >= 0).all()
        assert dealt.mean() == pytest.approx(outcomes.mean())  # dealt out, none made up
        lowest = [individuals.tenths(row)[0] for row in dealt]
        worst, _ = individuals.tenths(individuals.by_subject(outcomes, subject))
        assert (worst < np.percentile(lowest, 2.5)) == differs


def test_hard_emotions_make_no_hard_people():
    """Who shows only the hard emotion is no harder to read than others who show it."""
    subject, kind = np.arange(200), np.repeat([0, 1], 100)
    outcomes = np.where(kind == 0, 1.0, 0.0)
    dealt = individuals.by_chance(outcomes, subject, kind, draws=5, seed=0)
    assert (dealt == np.sort(outcomes)).all()


@pytest.mark.parametrize(("between", "within"), [(0.5, 0.1), (0.0, 0.3), (0.2, 0.4)])
def test_spread_between_and_within(between, within):
    rng = np.random.default_rng(3)
    size = rng.integers(1, 6, 3000)
    subject = np.repeat(np.arange(3000), size)
    values = between * rng.normal(size=3000)[subject] + within * rng.normal(size=len(subject))
    found = individuals.spread_between_and_within(values, subject)
    assert found == pytest.approx((between, within), abs=0.03)


def test_no_spread_to_divide():
    for values, subject in (([1.0, 2.0], [0, 0]), ([1.0, 2.0], [0, 1])):
        with pytest.raises(ValueError, match="no spread"):
            individuals.spread_between_and_within(np.array(values), np.array(subject))


# --- recall, and images without a face -----------------------------------------------------------


def test_macro_recall_leaves_classes_without_images_out():
    counts = np.array([[8, 2, 0], [5, 5, 0], [0, 0, 0]])
    assert metrics.macro_recall(counts) == pytest.approx((0.8 + 0.5) / 2)


def test_an_image_without_a_face_is_of_a_class_of_its_own():
    card = Card("classifier", "sample", "fer13-7", Architecture(), {"seed": 4}, "x", {})
    face = np.eye(7)[3] * 0.4 + np.full(7, 0.6 / 7)
    found = predictions.of_faces([face, None], card, {"network": "n", "data": "JAFFE"})
    assert found.probabilities.shape == (2, 8) and found.predicted().tolist() == [3, 7]
    assert found.output("probabilities").sum(axis=1) == pytest.approx(1, abs=2e-3)
    assert found.about["seed"] == 4 and found.names.tolist() == [0, 1]


def test_a_detected_curve_counts_faces_that_were_not_found_as_wrong():
    found = np.zeros((2, 3, 3))
    found[0] = np.eye(3)  # negative, neutral, positive
    found[1] = np.eye(3)[[0, 0, 0]]
    found[1, 2] = np.nan
    curve = conditions.detected_curve((0, 20), np.array([0, 1, 2]), found)
    assert curve.right.tolist() == [[True, True, True], [True, False, False]]
    assert curve.place.tolist() == [0, 20]
    np.testing.assert_array_equal(curve.valence[0], [-1, 0, 1])
    assert np.isnan(curve.valence[1, 2]) and curve.shift[1] == pytest.approx(0.5)
