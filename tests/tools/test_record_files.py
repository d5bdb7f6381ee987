"""From the stages to the record and back: no file of the user is overwritten."""

import base64
import json
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest

from fer_lib.errors import UserError
from fer_lib.evaluation import predictions
from fer_lib.evaluation.predictions import Predictions
from fer_lib.evaluation.published import figure, write_figures
from fer_tools.record import evidence
from fer_tools.record import files as record_files
from fer_tools.record.report import HEADLINES

ABOUT = {"task": "fer13-7", "temperature": 1.0, "seed": 1, "data": "fer2013"}


def rendered(path, *outputs):
    """A notebook with one cell and its outputs."""
    cell = nbformat.v4.new_code_cell("1", outputs=list(outputs))
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)


def image_output(content: bytes):
    """A cell's output with an image."""
    data = {"image/png": base64.b64encode(content).decode()}
    return nbformat.v4.new_output("display_data", data=data)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A built study: `build` and `record` folders."""
    build, record = tmp_path / "build" / "x", tmp_path / "reports" / "x"
    monkeypatch.setattr(record_files, "build_folder", lambda study: build)
    monkeypatch.setattr(record_files, "record_folder", lambda study: record)
    monkeypatch.setattr(record_files, "load", lambda study: SimpleNamespace(publish_weights=True))
    outputs = image_output(b"drawing"), image_output(b"curves")
    rendered(build / "30_train-fer13-7.ipynb", *outputs)
    rendered(build / "40_evaluate_fer13.ipynb")
    rendered(build / "40_evaluate_fer13.pid7.running.ipynb")
    rendered(build / "teachers" / "25_teach-teacher-1.ipynb")
    about = {"unit": "percent", "n": 1, "split": "", "protocol": "", "seeds": [], "stage": "40_x"}
    figures = {key: figure(50 + place, **about) for place, key in enumerate(HEADLINES[:3])}
    write_figures(build / "summary.json", figures | {"another": figure(1, **about)})
    for folder, name in (("predictions", "fer13-7"), ("folds", "ckplus-7-subject")):
        stored = Predictions(np.arange(3), ABOUT | {"network": name})
        predictions.save(build / folder / f"{name}.npz", stored)
    table = {"kind": "counts", "classes": 2, "cells": [[0, 0]], "counts": [1]}
    evidence.write(build / "evidence" / "40.json", {"a": table}, {"f": {"tables": ["a"]}})
    evidence.write(build / "evidence" / "50.json", {"b": table}, {"g": {"tables": ["b"]}})
    (build / "fer13-7.safetensors").write_bytes(b"seven")
    (build / "encoder.safetensors").write_bytes(b"not published")
    for task in ("ferplus-7", "ferplus-7-vgg"):
        file = build / "intensity" / task / f"{task}.safetensors"
        file.parent.mkdir(parents=True)
        file.write_bytes(task.encode())
    curve = build / "curves" / "fer13-7" / "plots" / "metrics" / "loss.tsv"
    curve.parent.mkdir(parents=True)
    curve.write_text("step\tloss\n")
    return build, record


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_the_report_has_everything_for_readers_and_verify(project):
    build, _ = project
    record_files.collect("x")
    assert files(build / "report") == {
        "notebooks/30_train-fer13-7.ipynb", "notebooks/40_evaluate_fer13.ipynb",
        "notebooks/25_teach-teacher-1.ipynb", "summary.json", "metrics.json",
        "predictions/fer13-7.npz", "predictions/ckplus-7-subject.npz", "predictions/evidence.json",
        "curves/fer13-7/loss.tsv", "weights/fer13-7.safetensors",
        "weights/ferplus-7.safetensors", "weights/ferplus-7-vgg.safetensors",
    }  # fmt: skip
    tables, recipes = evidence.read(build / "report" / "predictions" / "evidence.json")
    assert set(tables) == {"a", "b"} and set(recipes) == {"f", "g"}
    metrics = json.loads((build / "report" / "metrics.json").read_text())
    assert metrics == {key: 50 + place for place, key in enumerate(HEADLINES[:3])}


def test_a_notebook_removed_from_the_study_is_removed_from_the_report(project):
    build, _ = project
    record_files.collect("x")
    (build / "40_evaluate_fer13.ipynb").unlink()
    record_files.collect("x")
    assert "notebooks/40_evaluate_fer13.ipynb" not in files(build / "report")


def test_publish_replaces_the_whole_record(project):
    build, record = project
    record_files.collect("x")
    (record / "notebooks").mkdir(parents=True)
    (record / "notebooks" / "old.ipynb").write_text("{}")
    assert record_files.publish("x") == record
    assert files(record) == files(build / "report")
    assert [path.name for path in record.parent.iterdir()] == ["x"]


def test_publish_refuses_a_missing_report_and_one_with_an_error(project):
    build, record = project
    record.mkdir(parents=True)
    (record / "summary.json").write_text("{}")
    with pytest.raises(UserError, match=r"report contains no report: run .*fer study x"):
        record_files.publish("x")
    record_files.collect("x")
    error = nbformat.v4.new_output("error", ename="ZeroDivisionError", evalue="by zero")
    rendered(build / "report" / "notebooks" / "40_evaluate_fer13.ipynb", error)
    with pytest.raises(
        UserError, match=r"40_evaluate_fer13.ipynb contains an error .*ZeroDivision"
    ):
        record_files.publish("x")
    assert files(record) == {"summary.json"}  # the old record is unchanged


@pytest.fixture
def published(project):
    """The same study, published; its build folder is empty."""
    build, record = project
    record_files.collect("x")
    record_files.publish("x")
    build.rename(build.with_name("trained"))
    return build, record


def test_restore_copies_everything_to_where_the_stages_read_it(published):
    build, _ = published
    trained = build.with_name("trained")
    record_files.restore("x")
    restored = files(build)
    assert {"fer13-7.safetensors", "intensity/ferplus-7-vgg/ferplus-7-vgg.safetensors",
            "predictions/fer13-7.npz", "folds/ckplus-7-subject.npz", "30_train-fer13-7.ipynb",
            "teachers/25_teach-teacher-1.ipynb",
            "curves/fer13-7/plots/metrics/loss.tsv"} <= restored  # fmt: skip
    images = build / "figures" / "30_train-fer13-7"
    assert (images / "architecture.png").read_bytes() == b"drawing"
    assert (images / "curves.png").read_bytes() == b"curves"
    same = restored & files(trained)
    assert all((build / name).read_bytes() == (trained / name).read_bytes() for name in same)
    record_files.restore("x")  # a second time, over its own files
    assert files(build) == restored


def test_restore_never_overwrites_a_network_of_the_user(published):
    build, _ = published
    network = build / "fer13-7.safetensors"
    network.parent.mkdir(parents=True)
    network.write_bytes(b"the user's")
    with pytest.raises(UserError, match=r"network that you trained.*move .*x away first"):
        record_files.restore("x")
    assert network.read_bytes() == b"the user's" and files(build) == {"fer13-7.safetensors"}


def test_restore_without_predictions_is_reported(project):
    with pytest.raises(UserError, match=r"predictions is empty: restore it with `git checkout"):
        record_files.restore("x")


def test_predictions_for_other_collections_are_made_again(tmp_path):
    folder = tmp_path / "record" / "predictions"
    folder.mkdir(parents=True)
    for name in ("fer13-7.npz", "fer13-7-zero-shot-jaffe.npz", "evidence.json"):
        (folder / name).write_bytes(b"x")
    found = record_files.published_files(tmp_path / "record", tmp_path / "build")
    assert [file.name for file, _ in found] == ["fer13-7.npz"]
