"""Predictions as files: what comes back, what rounding keeps, and which networks there are."""

import numpy as np
import pytest

from fer_lib.errors import UserError
from fer_lib.evaluation import predictions
from fer_lib.evaluation.predictions import Predictions

ABOUT = {"network": "net", "task": "fer13-7", "temperature": 0.7, "seed": 1, "data": "fer2013"}


@pytest.fixture
def some() -> Predictions:
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.ones(7), 50)
    return Predictions(np.arange(50), ABOUT, probabilities=predictions.half(shares))


def test_they_come_back_and_the_same_numbers_are_the_same_bytes(some, tmp_path):
    for name in ("a", "b"):
        predictions.save(tmp_path / f"{name}.npz", some)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    back = predictions.load(tmp_path / "a.npz")
    assert back.about == ABOUT and back.flipped is None
    np.testing.assert_array_equal(back.probabilities, some.probabilities)
    np.testing.assert_array_equal(back.names, some.names)
    assert list(predictions.load_all(tmp_path, tmp_path / "missing")) == ["net"]


def test_rounding_keeps_the_predicted_class():
    shares = np.array([[0.40001, 0.40002, 0.19997], [0.3, 0.4, 0.3]])
    plain, kept = shares.astype(np.float16), predictions.half(shares)
    assert plain[0].argmax() == 0  # rounding alone makes the two equal
    assert kept.argmax(axis=1).tolist() == [1, 1]
    np.testing.assert_allclose(kept.astype(float), shares, atol=5e-4)


def test_uncalibrated_is_the_softmax_without_the_temperature():
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 2, (40, 7))

    def softmax(z):
        return np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)

    stored = Predictions(
        np.arange(40), ABOUT, probabilities=predictions.half(softmax(logits / 0.7))
    )
    np.testing.assert_allclose(stored.output("uncalibrated"), softmax(logits), atol=2e-3)
    assert (stored.predicted() == logits.argmax(axis=1)).all()


def test_valence_adds_up_classes_without_surprise(some):
    shares = some.output("probabilities")
    added = some.output("valence")
    np.testing.assert_allclose(added[:, 2], shares[:, 3], atol=1e-6)
    np.testing.assert_allclose(added.sum(axis=1), 1 - shares[:, 5], atol=2e-3)
    with pytest.raises(ValueError, match="net has no flipped"):
        some.output("flipped")


def test_names_of_networks_and_images():
    assert predictions.name_of("fer13-7", 1, 1) == "fer13-7"
    assert predictions.name_of("fer13-7", 3, 1) == "fer13-7-seed-3"
    names = np.array(["S010_004_00000017", "S010_005_00000003"])
    assert predictions.subjects(names).tolist() == ["S010", "S010"]
    assert predictions.sequences(names).tolist() == ["S010_004", "S010_005"]


def test_other_files_end_in_a_sentence(some, tmp_path):
    file = tmp_path / "a.npz"
    with pytest.raises(UserError, match="is missing"):
        predictions.load(file)
    file.write_bytes(b"no zip")
    with pytest.raises(UserError, match="cannot be read"):
        predictions.load(file)
    np.savez(file, names=np.arange(3), about=np.array("[]"))
    with pytest.raises(UserError, match="holds no predictions"):
        predictions.load(file)
    np.savez(file, names=np.arange(3), about=np.array('{"network": "n", "task": "fer13-7"}'),
             probabilities=np.zeros((2, 7)))  # fmt: skip
    with pytest.raises(UserError, match="differ in length"):
        predictions.load(file)
