"""`fer record`: renewed if the golden training reproduces; else refused, and nothing changes."""

import contextlib
import shutil

import pytest
import yaml
from dvc.repo import Repo
from typer.testing import CliRunner

from fer_tools.cli.main import app
from fer_tools.record import golden

STAGES = """
vars: [../params.yaml]
stages:
  prepare:
    foreach: ${studies}
    do:
      wdir: ..
      cmd: python scripts/run_nb.py notebooks/10_data.ipynb build/${key} study=${key}
      deps: [notebooks/10_data.ipynb, fer_lib/readers.py]
      outs: ["build/${key}/fer13.npz"]
  pretrain:
    foreach: ${studies}
    do:
      wdir: ..
      cmd: python scripts/run_nb.py notebooks/20_pretrain.ipynb build/${key} study=${key}
      deps: [notebooks/20_pretrain.ipynb, fer_lib/training.py, "build/${key}/fer13.npz"]
      params: ["studies.${key}.pretrain"]
      outs: ["build/${key}/encoder.safetensors"]
  train:
    foreach: ${studies}
    do:
      wdir: ..
      cmd: python scripts/run_nb.py notebooks/30_train.ipynb build/${key} study=${key} task=fer13-7
      deps: [notebooks/30_train.ipynb, fer_lib/training.py, "build/${key}/encoder.safetensors"]
      params: ["studies.${key}.train"]
      outs: ["build/${key}/fer13-7.safetensors"]
  evaluate:
    foreach: ${studies}
    do:
      wdir: ..
      cmd: python scripts/run_nb.py notebooks/40_evaluate.ipynb build/${key} study=${key}
      deps: [notebooks/40_evaluate.ipynb, fer_lib/training.py, "build/${key}/fer13-7.safetensors"]
      outs: ["build/${key}/figures.json"]
"""
PARAMS = {"pretrain": {"lr": 0.1, "epochs": 2}, "train": {"lr": 0.2}}
NOTEBOOKS = ("10_data", "20_pretrain", "30_train", "40_evaluate")
OUTS = ("fer13.npz", "encoder.safetensors", "fer13-7.safetensors", "figures.json")
TRAIN = ["pretrain@paper", "train@paper"]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A project with a lock of everything, its outputs absent as in a clone."""
    files = {
        "params.yaml": yaml.safe_dump({"studies": {"paper": PARAMS, "sample": PARAMS}}),
        "studies/dvc.yaml": STAGES,
        **{
            f"notebooks/{n}.ipynb": n for n in ("10_data", "20_pretrain", "30_train", "40_evaluate")
        },
        **{f"fer_lib/{name}.py": "x = 1\n" for name in ("readers", "training")},
        **{f"build/{s}/{name}": s + name for s in ("paper", "sample") for name in OUTS},
    }
    root = tmp_path_factory.mktemp("recorded")
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    with contextlib.chdir(root):
        Repo.init(no_scm=True).commit("studies/dvc.yaml", force=True)
    shutil.rmtree(root / "build")
    return root


@pytest.fixture
def project(recorded, tmp_path, monkeypatch):
    """A copy of `recorded` as the working folder, where the golden training reproduces."""
    shutil.copytree(recorded, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(golden, "check", lambda names: {name: [] for name in names})
    return tmp_path


def record(*arguments):
    return CliRunner().invoke(app, ["record", *arguments])


def entries(project):
    return yaml.safe_load((project / "studies/dvc.lock").read_text())["stages"]


def change(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def refused(project, *names):
    """The message of a command that must refuse and not change the lock."""
    before = (project / "studies/dvc.lock").read_bytes()
    result = record("renew", *names)
    assert result.exit_code == 2, result.output
    assert (project / "studies/dvc.lock").read_bytes() == before
    return " ".join(result.output.split())


def test_a_comment_is_renewed(project):
    (project / "fer_lib/training.py").write_text("x = 1  # one\n")
    before = entries(project)
    result = record("renew")
    assert result.exit_code == 0, result.output
    assert "train@paper: renewed fer_lib/training.py (tested by classes)" in result.output
    after = entries(project)
    assert {name for name in before if before[name] != after[name]} == set(TRAIN)
    for name in TRAIN:
        assert after[name]["outs"] == before[name]["outs"]
        assert after[name]["params"] == before[name]["params"]
        changed = [
            d for d, e in zip(after[name]["deps"], before[name]["deps"], strict=True) if d != e
        ]
        assert [dep["path"] for dep in changed] == ["fer_lib/training.py"]
        assert changed[0]["size"] == len("x = 1  # one\n")
    # According to DVC only the evaluation of the paper's stages differs.
    status = Repo(".").status("studies/dvc.yaml")
    code = {name for name, changes in status.items() if "fer_lib/training.py" in str(changes)}
    assert {name for name in code if "paper" in name} == {"studies/dvc.yaml:evaluate@paper"}


def test_a_second_renewal_changes_nothing(project):
    (project / "fer_lib/training.py").write_text("x = 1  # one\n")
    record("renew")
    before = (project / "studies/dvc.lock").read_bytes()
    result = record("renew")
    assert result.exit_code == 0 and "Nothing to renew" in result.output
    assert (project / "studies/dvc.lock").read_bytes() == before


def test_a_moved_module_and_a_changed_command_are_renewed(project):
    (project / "fer_lib/training.py").rename(project / "fer_lib/loop.py")
    change(project / "studies/dvc.yaml", "fer_lib/training.py", "fer_lib/loop.py")
    change(project / "studies/dvc.yaml", "task=fer13-7", "task=fer13-7 quiet=1")
    result = record("renew")
    assert result.exit_code == 0, result.output
    entry = entries(project)["train@paper"]
    assert "fer_lib/loop.py" in [dep["path"] for dep in entry["deps"]]
    assert entry["cmd"].endswith("quiet=1")


def test_a_changed_setting_is_refused_with_all_dependent_stages(project):
    (project / "fer_lib/training.py").write_text("x = 1  # one\n")
    change(project / "params.yaml", "lr: 0.1", "lr: 0.3")
    message = refused(project)
    assert "pretrain@paper: studies.paper.pretrain.lr = 0.3, recorded 0.1" in message
    assert "train@paper: it reads the output of pretrain@paper" in message


def test_a_new_setting_is_refused_unless_it_is_known_to_change_nothing(project):
    change(project / "params.yaml", "lr: 0.2", "lr: 0.2\n      precision: auto")
    result = record("renew")
    assert result.exit_code == 0, result.output
    assert "precision = auto (chooses bfloat16" in result.output
    change(project / "params.yaml", "precision: auto", "precision: 32-true")
    assert "precision = '32-true', recorded 'auto'" in refused(project)
    change(project / "params.yaml", "precision: 32-true", "precision: auto\n      momentum: 0.5")
    assert "momentum = 0.5, not recorded" in refused(project)


def test_golden_that_does_not_reproduce_is_refused(project, monkeypatch):
    line = "run, loss, epoch 1: recorded 1, got 2, tolerance 0.001"
    monkeypatch.setattr(
        golden, "check", lambda names: {n: [line] * (n == "classes") for n in names}
    )
    (project / "fer_lib/training.py").write_text("x = 2\n")
    message = refused(project)
    assert f"train@paper: the golden case classes does not reproduce: {line}" in message
    assert "pretrain@paper:" not in message
    assert record("renew", "pretrain@paper").exit_code == 0  # alone it can be renewed


def test_changed_data_and_new_outputs_are_refused(project):
    lock = project / "studies/dvc.lock"
    md5 = entries(project)["prepare@paper"]["outs"][0]["md5"]
    head, tail = lock.read_text().split("  pretrain@paper:")
    lock.write_text(head.replace(md5, "f" * 32) + "  pretrain@paper:" + tail)
    weights = '"build/${key}/fer13-7.safetensors"]\n  eval'
    change(project / "studies/dvc.yaml", weights, '"build/${key}/p.npz", ' + weights)
    message = refused(project)
    assert "pretrain@paper: its input build/paper/fer13.npz differs from the record's" in message
    assert "train@paper: its output build/paper/p.npz is new" in message


def test_a_stage_without_record_is_reported_and_not_changed(project):
    lock = yaml.safe_load((project / "studies/dvc.lock").read_text())
    del lock["stages"]["train@paper"]
    (project / "studies/dvc.lock").write_text(yaml.safe_dump(lock))
    output = record("renew").output
    assert "train@paper: not in the record, so there is nothing to renew" in output
    lock = yaml.safe_load((project / "studies/dvc.lock").read_text())
    assert "train@paper" not in lock["stages"]


def test_a_stage_without_training_cannot_be_renewed(project):
    assert "evaluate@paper: not a training stage of the paper study" in refused(
        project, "evaluate@paper"
    )


def test_status_lists_differences_and_trains_nothing(project, monkeypatch):
    monkeypatch.setattr(golden, "check", None)
    assert "4 of 4 stages of the paper study are as recorded" in record("status").output
    (project / "fer_lib/training.py").write_text("x = 1  # one\n")
    change(project / "params.yaml", "lr: 0.2", "lr: 0.3")
    result = record("status")
    assert result.exit_code == 0
    assert "evaluate@paper (runs in minutes): fer_lib/training.py" in result.output
    line = "train@paper (trains): fer_lib/training.py, studies.paper.train.lr = 0.3, recorded 0.2"
    assert line in result.output
    assert "1 of 4 stages" in result.output
