"""params.yaml is checked, and a fault is told with file, place and remedy."""

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
    ],
)
def test_a_wrong_value_is_named(params, path, value, says):
    root = params(path, value)
    with pytest.raises(UserError) as caught:
        load("sample", root)
    message = str(caught.value)
    assert "params.yaml: studies.sample." + path.rsplit(".", 1)[0] in message
    assert says in message
    assert message.endswith("change the value there.")


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
    """`dvc exp run -S` writes the file anew; in block style nothing else moves."""
    from dvc.utils.serialize import modify_yaml

    before = (ROOT / "params.yaml").read_text().splitlines()
    shutil.copy(ROOT / "params.yaml", tmp_path)
    with modify_yaml(str(tmp_path / "params.yaml")) as everything:
        everything["studies"]["paper"]["train"]["fer13-7"]["augmentation"]["erase"] = 0.125
    after = (tmp_path / "params.yaml").read_text().splitlines()
    changed = [pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]]
    assert changed == [("          erase: 0.5", "          erase: 0.125")]
