"""Searches for faults find the injected faults, and little else."""

import numpy as np
import pytest
import torch
from torch import nn

from fer_lib.evaluation import label_quality
from fer_lib.models.forward import predict_logits
from fer_tools.synthetic_faces.fer2013 import draw_row, plan_rows


def test_flipped_labels_are_suspected():
    rng = np.random.default_rng(0)
    true = rng.integers(0, 3, 300)
    probs = 0.1 + 0.7 * np.eye(3)[true]
    probs += rng.uniform(0, 0.05, probs.shape)
    probs /= probs.sum(axis=1, keepdims=True)
    labels, flipped = true.copy(), rng.choice(300, 12, replace=False)
    labels[flipped] = (true[flipped] + 1) % 3
    suspects = label_quality.suspected_labels(labels, probs)
    score = label_quality.detection_scores(suspects, np.isin(np.arange(300), flipped))
    assert score["precision"] == 1 and score["recall"] > 0.9 and score["base"] == 12 / 300


def test_precision_and_recall():
    faulty = np.array([True, True, False, False, False])
    score = label_quality.detection_scores(np.array([0, 2, 3]), faulty)
    assert score == {"precision": 1 / 3, "recall": 0.5, "base": 0.4}
    nothing = label_quality.detection_scores(np.array([], int), faulty)
    assert np.isnan(nothing["precision"]) and nothing["recall"] == 0


def test_distant_features_are_outliers():
    rng = np.random.default_rng(0)
    known, near = rng.normal(1, 0.1, (200, 8)), rng.normal(1, 0.1, (40, 8))
    apart = rng.normal(0, 1, (10, 8))
    scores = label_quality.outlier_scores(known, np.concatenate([near, apart]))
    assert scores.min() >= 0 and scores.max() <= 1
    assert label_quality.auroc(scores, np.arange(50) >= 40) > 0.95
    assert np.isnan(label_quality.auroc(scores, np.zeros(50, bool)))


def test_hashes_distinguish_an_edited_face_from_another():
    rows = [row for row in plan_rows(3, "Training", 30, []) if row["kind"] == "face"]
    faces = np.stack([draw_row(3, row) for row in rows if row["duplicate_of"] < 0])
    known = label_quality.perceptual_hashes(faces)
    assert known.dtype == np.uint64 and known.shape == (len(faces),)
    brighter = np.clip(0.9 * faces + 12, 0, 255).astype(np.uint8)
    closest = label_quality.nearest_hash(known, label_quality.perceptual_hashes(brighter))
    assert (closest.position == np.arange(len(faces))).mean() > 0.9
    assert (closest.bits <= label_quality.NEAR).mean() > 0.9
    others = [label_quality.nearest_hash(np.delete(known, i), known[[i]]).bits[0] for i in range(9)]
    assert np.median(others) > label_quality.NEAR


def test_nearest_neighbors_are_the_closest_by_angle():
    known = np.array([[1.0, 0], [0, 1], [-1, 0], [5, 0.1]])
    found = label_quality.nearest_neighbors(known, np.array([[2.0, 0.0], [0.1, 3]]), 2)
    assert found.tolist() == [[0, 3], [1, 3]]


def test_features_do_not_depend_on_the_batches():
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(48 * 48, 5), nn.Dropout(0.5))
    images = torch.randint(0, 256, (7, 48, 48), dtype=torch.uint8)
    whole, parts = predict_logits(encoder, images), predict_logits(encoder, images, batch_size=2)
    assert whole.shape == (7, 5)
    torch.testing.assert_close(whole, parts)
    assert not whole.requires_grad


@pytest.mark.parametrize("count", [1, 3])
def test_nearest_neighbors_have_the_requested_number(count):
    rng = np.random.default_rng(1)
    assert label_quality.nearest_neighbors(rng.random((9, 4)), rng.random((5, 4)), count).shape == (
        5,
        count,
    )
