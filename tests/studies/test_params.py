"""params.yaml is checked, and an error is reported with file, place and remedy."""

import os
import shutil

import pytest
import yaml
from imports import ROOT

from fer_lib.errors import UserError
from fer_lib.params import load


@pytest.fixture
def params(tmp_path):
    """A copy of params.yaml that a test may change: call with path and value."""
    shutil.copy(ROOT / "params.yaml", tmp_path)

    def change(path, value):
        everything = yaml.safe_load((tmp_path / "params.yaml").read_text())
        section = everything["studies"]["sample"]
        *outer, last = path.split(".")
        for part in outer:
            section = section[part]
        section[last] = value
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(everything))
        return tmp_path

    return change


@pytest.mark.parametrize("study", ["sample", "paper"])
def test_the_committed_file_is_valid(study):
    assert load(study, ROOT).pretrain.epochs >= 1


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("pretrain.epochs", "many", "valid integer"),
        ("pretrain.epochs", 0, "greater than or equal to 1"),
        ("pretrain.lr", -1.0, "greater than 0"),
        ("pretrain.ema_decay", 1.5, "less than 1"),
        ("pretrain.optimizer", "adam", "adamw"),
        ("pretrain.learning_rate", 0.1, "not permitted"),
        ("model.fuse_first", "multiply", "add"),
        ("train.fer13-9", {}, "fer13-7"),
        ("ckplus.folds", 1, "greater than or equal to 2"),
        ("model.first_width", -1, "greater than or equal to 1"),
        ("model.widths", [], "at least 1 item"),
        ("model.widths", [128, -1], "greater than or equal to 1"),
        ("model.widths", "wide", "tuple"),
        ("model.branches", [], "at least 1 item"),
        ("model.branches", [3, 4], "should be odd"),
        ("model.branches", [-3], "greater than or equal to 1"),
        ("vgg.kernels", [7, 5, 3, 3, 2], "should be odd"),
        ("vgg.kernels", [7, 5, 3], "3 kernels for 5 widths"),
        ("vgg.pools", [0, 1, 7], "above 4"),
        ("vgg.pools", [0, 1, 1], "each number once"),
        ("vgg.hidden", 0, "greater than or equal to 1"),
        ("pretrain.lr", float("inf"), "finite number"),
        ("pretrain.weight_decay", float("nan"), "finite number"),
        ("pretrain.seed", -1, "greater than or equal to 0"),
        ("pretrain.seed", 2**32, "less than"),
        ("pretrain.epochs", True, "not true or false"),
        ("pretrain.augmentation", {"scale": 1}, "less than 1"),
        ("pretrain.augmentation", {"flip": -0.1}, "greater than or equal to 0"),
        ("pretrain.augmentation", {"rotate": float("inf")}, "finite number"),
        ("further_seeds", [2, 2], "each number once"),
        ("further_seeds", [1], "the seed of train.fer13-7"),
        ("intensity", {}, "lacks ferplus-7"),
        ("evaluation.seed", -1, "greater than or equal to 0"),
        ("ckplus.split_seed", -1, "greater than or equal to 0"),
        ("world.seed", "seven", "valid integer"),
    ],
)
def test_a_wrong_value_is_named(params, path, value, says):
    root = params(path, value)
    with pytest.raises(UserError) as caught:
        load("sample", root)
    message = str(caught.value)
    # A violated rule about several values is reported for their section.
    place = path.rsplit(".", 1)[0] if "." in path else ""
    assert f"params.yaml: studies.sample.{place}".rstrip(".") in message
    assert says in message
    assert "\n" not in message and len(message) < 400
    assert message.endswith("change the value there.")


@pytest.mark.parametrize("seeds", [[], [11, 11], [-1], "11"])
def test_teachers_need_different_seeds(params, seeds):
    root = params("teachers.seeds", seeds)
    with pytest.raises(UserError, match=r"params.yaml: studies.sample.teachers.seeds"):
        load("sample", root)


def test_a_duplicate_name_is_reported_with_its_line(params):
    root = params("pretrain.epochs", 3)
    path = root / "params.yaml"
    lines = path.read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if line.strip() == "teachers:")
    path.write_text("\n".join([*lines[:at], f"{lines[at]} {{}}", *lines[at:]]))
    with pytest.raises(UserError, match=rf"params.yaml, line {at + 2}: .*teachers .* twice"):
        load("sample", root)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"studies: \xff", "is not UTF-8"),
        (b"- a\n- b", "is no mapping"),
        (b"", "is no mapping"),
        (b"studies: 7", "no section studies.sample"),
        (b"studies: {sample: 7}", "no section studies.sample"),
        (b"studies:\n\tsample: 1", "line 2: no valid YAML"),
        (b"studies: \x00", "no valid YAML"),
    ],
)
def test_a_file_of_another_kind(tmp_path, content, says):
    (tmp_path / "params.yaml").write_bytes(content)
    with pytest.raises(UserError, match=says) as caught:
        load("sample", tmp_path)
    assert "params.yaml" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.timeout(10)
def test_a_folder_or_a_pipe_in_its_place(tmp_path):
    (tmp_path / "params.yaml").mkdir()
    with pytest.raises(UserError, match=r"params\.yaml is missing"):
        load("sample", tmp_path)
    (tmp_path / "params.yaml").rmdir()
    os.mkfifo(tmp_path / "params.yaml")
    with pytest.raises(UserError, match=r"params\.yaml is missing"):
        load("sample", tmp_path)


def test_missing_file_unknown_study_and_broken_yaml(tmp_path):
    with pytest.raises(UserError, match=r"git checkout params\.yaml"):
        load("sample", tmp_path)
    (tmp_path / "params.yaml").write_text("studies: {sample: {}}")
    with pytest.raises(UserError, match=r"no section studies\.other"):
        load("other", tmp_path)
    (tmp_path / "params.yaml").write_text("studies: [")
    with pytest.raises(UserError, match="no valid YAML"):
        load("sample", tmp_path)


def test_an_experiment_changes_one_line(tmp_path):
    """`dvc exp run -S` rewrites the file; in block style nothing else changes."""
    from dvc.utils.serialize import modify_yaml

    before = (ROOT / "params.yaml").read_text().splitlines()
    shutil.copy(ROOT / "params.yaml", tmp_path)
    with modify_yaml(str(tmp_path / "params.yaml")) as everything:
        everything["studies"]["paper"]["train"]["fer13-7"]["augmentation"]["erase"] = 0.125
    after = (tmp_path / "params.yaml").read_text().splitlines()
    changed = [pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]]
    assert changed == [("          erase: 0.5", "          erase: 0.125")]
