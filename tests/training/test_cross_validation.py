"""Cross-validation: no look at the test fold, no work done twice, the encoder left alone."""

import copy

import numpy as np
import pytest
import torch

from fer_lib.models.msfernet import Encoder
from fer_lib.params import Architecture, Training
from fer_lib.training import cross_validation

SMALL = Architecture(first_width=4, second_width=4, widths=(8, 8, 8))
SETTINGS = Training(seed=3, epochs=1, batch_size=6, lr=0.01, precision="32-true")


@pytest.fixture
def task() -> dict:
    rng = np.random.default_rng(0)
    labels = np.tile(np.arange(3), 8)
    return {
        "images": rng.integers(0, 256, (24, 48, 48), dtype=np.uint8),
        "labels": labels.astype(np.int64),
        "fold": np.repeat([0, 1], 12),
    }


@pytest.fixture
def encoder() -> Encoder:
    torch.manual_seed(0)
    return Encoder(SMALL)


def run(encoder, task, folder, settings=SETTINGS) -> np.ndarray:
    return cross_validation.cross_validate(
        encoder, **task, settings=settings, classes=7, folder=folder, title="test"
    )


def test_a_fold_does_not_look_at_its_test_labels(encoder, task, tmp_path):
    logits = run(encoder, task, tmp_path / "a")
    assert logits.shape == (24, 7) and logits.dtype == np.float32 and np.isfinite(logits).all()
    test = task["fold"] == 1
    changed = task | {"labels": np.where(test, np.roll(task["labels"], 1), task["labels"])}
    again = run(encoder, changed, tmp_path / "b")
    np.testing.assert_array_equal(again[test], logits[test])
    assert (again[~test] != logits[~test]).any()  # there the changed labels were trained on


def test_finished_folds_cost_nothing_and_others_run_anew(encoder, task, tmp_path, monkeypatch):
    logits = run(encoder, task, tmp_path)
    kept = sorted(path.suffix for path in tmp_path.iterdir() if path.is_file())
    assert kept == [".npy", ".npy"]

    def no_training(*_, **__):
        raise AssertionError("trained again")

    with monkeypatch.context() as patch:
        patch.setattr(cross_validation, "fit", no_training)
        np.testing.assert_array_equal(run(encoder, task, tmp_path), logits)
        with pytest.raises(AssertionError, match="trained again"):
            run(encoder, task, tmp_path, SETTINGS.model_copy(update={"lr": 0.02}))
    cut = next(tmp_path.glob("test-1*.npy"))
    cut.write_bytes(cut.read_bytes()[:150])
    np.testing.assert_array_equal(run(encoder, task, tmp_path), logits)


def test_the_encoder_is_a_start_and_stays_as_it_is(encoder, task, tmp_path):
    before = copy.deepcopy(encoder.state_dict())
    model = cross_validation.classifier_on(encoder, 7, SETTINGS)
    assert model.encoder is not encoder
    for name, tensor in model.encoder.state_dict().items():
        torch.testing.assert_close(tensor, before[name])
    run(encoder, task, tmp_path)
    for name, tensor in encoder.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_another_start_is_another_run(encoder, task):
    def name(encoder=encoder, classes=7, images=task["images"], draw=SETTINGS):
        model = cross_validation.classifier_on(encoder, classes, draw)
        return cross_validation.run_name("x", model, SETTINGS, images)

    torch.manual_seed(1)
    other = Encoder(SMALL)
    assert name() == name()
    assert name() != name(encoder=other)
    assert name() != name(images=task["images"] + 1)
    assert name() != name(classes=3)
    assert name() != name(draw=SETTINGS.model_copy(update={"seed": 4}))  # the new layer's weights
