"""`fer verify` finds what was changed: a figure, a prediction, a count, a file."""

import json
import shutil

import numpy as np
import pytest

from fer_lib.data.arrays import CkPlus, Fer13
from fer_lib.errors import UserError
from fer_lib.evaluation import predictions
from fer_lib.evaluation.predictions import Predictions
from fer_lib.evaluation.published import write_figures
from fer_tools.record.evidence import Evidence
from fer_tools.record.verify import verify, verify_counts

N = 300


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A record of one network on N synthetic images, and its data."""
    folder = tmp_path_factory.mktemp("record")
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 7, N)
    chances = rng.dirichlet(np.ones(7), N) + np.eye(7)[np.where(rng.random(N) < 0.7, labels, 0)]
    about = {"network": "fer13-7", "task": "fer13-7", "seed": 1, "temperature": 1.0,
             "data": "fer2013", "parameters": 10, "multiply_adds": 20}  # fmt: skip
    stored = Predictions(
        np.arange(N), about, predictions.half(chances / chances.sum(axis=1, keepdims=True))
    )
    predictions.save(folder / "predictions" / "fer13-7.npz", stored)
    kept = Evidence("40_evaluate_fer13", resamples=200, seed=0)
    about_it = {
        "of": "fer13-7", "names": stored.names, "target": "label", "where": "PrivateTest",
        "split": "PrivateTest", "protocol": "official", "seeds": [1],
    }  # fmt: skip
    kept.measured("fer13_7.private.accuracy", labels, stored.predicted(), 7, **about_it)
    chances, about_it["of"] = [stored.output("probabilities")], ["fer13-7"]
    kept.calibration("fer13_7.private.ece", labels, chances, **about_it)
    plain = {"unit": "values", "n": 1, "split": "", "protocol": "", "seeds": []}
    kept.plain("model.parameters", 10, **plain)
    kept.save(folder)
    figures = kept.figures
    counted = plain | {"value": 3, "unit": "images", "stage": "10_data"}
    write_figures(folder / "summary.json", figures | {"fer13.blank": counted})
    shutil.copy(folder / "evidence/40_evaluate_fer13.json", folder / "predictions/evidence.json")
    keys = ("fer13_7.private.accuracy", "fer13_7.private.ece")
    headlines = {key: figures[key]["value"] for key in keys}
    (folder / "metrics.json").write_text(json.dumps(headlines))
    images = np.zeros((N, 48, 48), np.uint8)
    data = Fer13(images, labels, np.full(N, "PrivateTest"), np.arange(N), -np.ones((N, 10), int),
                 np.zeros(N, bool))  # fmt: skip
    return folder, data


@pytest.fixture
def record(made, tmp_path):
    """A copy to damage."""
    return shutil.copytree(made[0], tmp_path / "record")


def states(record):
    return {verdict.key: verdict.state for verdict in verify(record)}


def test_a_correct_record_is_reproduced_and_exceptions_are_listed(record):
    assert states(record) == {
        "fer13_7.private.accuracy": "computed", "fer13_7.private.ece": "computed",
        "model.parameters": "computed", "fer13.blank": "images",
    }  # fmt: skip


@pytest.mark.parametrize("field", ["value", "low", "high", "n"])
def test_a_changed_figure_is_found(record, field):
    file = record / "summary.json"
    figures = json.loads(file.read_text())
    figures["fer13_7.private.accuracy"][field] += 1 if field == "n" else 0.02
    file.write_text(json.dumps(figures))
    assert states(record)["fer13_7.private.accuracy"] == "wrong"
    if field == "value":
        assert states(record)["metrics.json"] == "wrong"


def test_a_changed_prediction_is_found(record):
    file = record / "predictions" / "fer13-7.npz"
    stored = predictions.load(file)
    values = stored.probabilities.copy()
    values[5] = np.roll(values[5], 1)
    predictions.save(file, Predictions(stored.names, stored.about, values))
    assert states(record)["fer13_7.private.accuracy"] == "wrong"
    assert states(record)["fer13_7.private.ece"] in ("computed", "wrong")  # one bin may agree


def test_a_changed_count_is_found(record):
    file = record / "predictions" / "evidence.json"
    content = json.loads(file.read_text())
    table = content["tables"]["fer13-7/probabilities/PrivateTest/label"]
    table["counts"][0] += 1
    file.write_text(json.dumps(content))
    assert states(record)["fer13_7.private.accuracy"] == "wrong"


def test_a_figure_without_evidence_is_wrong(record):
    file = record / "summary.json"
    figures = json.loads(file.read_text())
    figures["fer13_7.private.new"] = figures["fer13_7.private.accuracy"]
    del figures["model.parameters"]
    file.write_text(json.dumps(figures))
    assert states(record)["fer13_7.private.new"] == "wrong"


def test_recorded_figures_name_their_commit(record):
    file = record / "summary.json"
    figures = json.loads(file.read_text())
    old = figures["fer13_7.private.accuracy"] | {"recorded": "0123456789abcdef"}
    figures["seeds.x"] = old
    file.write_text(json.dumps(figures))
    write_figures(record / "predictions" / "recorded.json", {"seeds.x": old})
    found = {verdict.key: verdict for verdict in verify(record)}["seeds.x"]
    assert found.state == "recorded" and "0123456789" in found.reason
    write_figures(record / "predictions" / "recorded.json", {"seeds.x": old | {"value": 99}})
    assert states(record)["seeds.x"] == "wrong"


def test_a_missing_file_is_reported(record):
    (record / "predictions" / "evidence.json").unlink()
    with pytest.raises(UserError, match=r"evidence.json is missing.*git checkout"):
        verify(record)


def test_with_the_data_the_counts_are_recounted(made):
    folder, data = made
    nobody = CkPlus(*(np.zeros(0) for _ in range(7)))
    assert verify_counts(folder, data, nobody) == []
    labels = data.labels.copy()
    labels[:10] = (labels[:10] + 1) % 7
    other = Fer13(data.images, labels, data.usage, data.row, data.votes, data.duplicate_of_training)
    (wrong,) = verify_counts(folder, other, nobody)
    assert wrong.state == "wrong" and "counts of the labels" in wrong.reason
