"""`fer train`: the notebooks' runs and names; two processes agree, and go on after a kill."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import matplotlib as mpl
import nbformat
import numpy as np
import pytest
import torch
import yaml
from imports import ROOT
from processes import gone
from two_processes import Forked, train_pair
from typer.testing import CliRunner

from fer_lib.data.arrays import Fer13, save_fer13
from fer_lib.errors import LeftOut, UserError
from fer_lib.files import alone
from fer_lib.labels import FER_CLASSES
from fer_lib.models.card import Card
from fer_lib.models.msfernet import Encoder, MSFERNet
from fer_lib.models.weights import read_weights, save_weights
from fer_lib.params import Architecture, Training, load
from fer_lib.paths import intensity_folder
from fer_lib.training.tasks import prepare
from fer_tools.cli.main import app
from fer_tools.study import schedule, train

TINY = {"first_width": 4, "second_width": 4, "widths": [8, 8]}
ARCH = Architecture(first_width=4, second_width=4, widths=(8, 8))


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project whose sample study has 84 faces and a tiny network, as the working folder."""
    make_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make_project(root):
    (root / "fer_lib").mkdir(parents=True)
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    sample = params["studies"]["sample"]
    sample["model"] |= TINY
    sample["pretrain"] |= {"epochs": 2, "batch_size": 8}
    for settings in [sample["teachers"], *sample["train"].values()]:
        settings |= {"epochs": 4, "batch_size": 8}
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    build = root / "build" / "sample"
    save_fer13(build / "fer13.npz", faces())
    torch.manual_seed(5)
    for name, kind, network in (
        ("encoder", "encoder", Encoder(ARCH)),
        ("fer13-7", "classifier", MSFERNet(len(FER_CLASSES), ARCH)),
        ("teachers/teacher-1", "classifier", MSFERNet(len(FER_CLASSES), ARCH)),
    ):
        notes = {"validation_accuracy": 0.2}
        card = Card(kind, "sample", "fer13-7", ARCH, {}, "abc", notes)
        save_weights(build / f"{name}.safetensors", network.state_dict(), card)


def faces(count=84):
    """Noise, in all classes and usages."""
    numbers = np.random.default_rng(0)
    return Fer13(
        images=numbers.integers(0, 256, (count, 48, 48)).astype(np.uint8),
        labels=np.arange(count) % 7,
        usage=np.repeat(["Training", "PublicTest", "PrivateTest"], count // 3),
        row=np.arange(count),
        votes=numbers.multinomial(10, [0.14] * 7 + [0.02, 0, 0], count),
        duplicate_of_training=np.zeros(count, dtype=bool),
    )


def fer_train(task, study="sample"):
    return CliRunner().invoke(app, ["train", study, task])


def prepared_by(notebook, **parameters):
    """The run that a notebook prepares."""
    values: dict = {}
    for cell in nbformat.read(ROOT / "notebooks" / notebook, as_version=4).cells:
        if cell.cell_type == "code":
            exec(cell.source, values)
            if "parameters" in cell.metadata.get("tags", []):
                values |= parameters
            if "run" in values:
                return values["run"]
    raise AssertionError(f"{notebook} prepares no run")


@pytest.mark.parametrize(
    ("notebook", "task"),
    [
        ("20_pretrain.ipynb", "pretrain"),
        ("25_teach.ipynb", "teacher-1"),
        ("30_train.ipynb", "fer13-7"),
        ("30_train.ipynb", "fer13-3"),
        ("45_train_intensity.ipynb", "ferplus-7"),
        ("45_train_intensity.ipynb", "ferplus-7-vgg"),
    ],
)
def test_the_run_is_the_one_of_the_notebook(project, notebook, task):
    mpl.use("Agg")
    names = {} if task == "pretrain" else {"task": task}
    theirs, ours = prepared_by(notebook, study="sample", **names), prepare("sample", task)
    assert ours.checkpoint == theirs.checkpoint
    for name, weights in theirs.model.state_dict().items():
        assert torch.equal(weights, ours.model.state_dict()[name]), name


def test_one_process_leaves_what_the_notebook_takes_over(project):
    result = fer_train("pretrain")
    assert result.exit_code == 0, result.output
    run = prepare("sample", "pretrain")
    assert str(run.checkpoint) in result.output
    assert "dvc repro studies/dvc.yaml:pretrain@sample" in result.output
    assert run.checkpoint.with_suffix(".commit").is_file()
    before = run.checkpoint.read_bytes()
    rows = []
    run.fit(rows.append)
    assert [row["epoch"] for row in rows] == [1, 2]
    assert run.checkpoint.read_bytes() == before


@pytest.mark.parametrize(
    ("task", "missing", "stage"),
    [
        ("pretrain", "fer13.npz", "dvc repro studies/dvc.yaml:prepare@sample"),
        ("fer13-7", "encoder.safetensors", "dvc repro studies/dvc.yaml:pretrain@sample"),
        (
            "fer13-7",
            "teachers/teacher-1.safetensors",
            "dvc repro studies/dvc.yaml:teach@sample-teacher-1",
        ),
        ("fer13-3", "fer13-7.safetensors", "dvc repro studies/dvc.yaml:train@sample"),
        ("ferplus-7", "fer13-7.safetensors", "dvc repro studies/dvc.yaml:train@sample"),
    ],
)
def test_a_missing_input_names_its_stage(project, task, missing, stage):
    (project / "build" / "sample" / missing).unlink()
    result = fer_train(task)
    assert result.exit_code == 2
    assert missing in result.stderr and stage in result.stderr
    stages = yaml.safe_load((ROOT / "studies/dvc.yaml").read_text())["stages"]
    assert stage.split(":")[1].split("@")[0] in stages
    assert not (project / ".scratch").exists()


def test_a_batch_that_cannot_be_shared_is_refused(project):
    class Three:
        world_size = 3

    with pytest.raises(UserError, match="batch of 8 faces cannot be shared evenly by 3 processes"):
        train.train(prepare("sample", "fer13-7"), Three())  # type: ignore


def test_processes_that_train_together_end_where_another_run_holds_the_checkpoint(project):
    class First:
        world_size, is_global_zero = 2, True

    run = prepare("sample", "fer13-7")
    with (
        alone(run.checkpoint),
        patch.object(train, "_gathered", lambda value, _: [value, False]),
        pytest.raises(UserError, match="another run trains this one: wait until it is finished"),
    ):
        train.train(run, First())  # type: ignore


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(UserError, match="2 processes were started on a machine with 1 GPU"):
        train.connect(Training(seed=1, epochs=1, batch_size=2, lr=0.1, precision="32-true"))


def test_two_processes_agree_and_go_on_after_a_kill(project, tmp_path_factory):
    killed = tmp_path_factory.mktemp("killed") / "project"
    make_project(killed)
    status = train_pair([project, killed], "fer13-7", dies_after=2)
    first, second = (torch.load(project / f"fer13-7-{rank}.pt") for rank in range(2))
    for name, weights in first["model"].items():
        assert torch.equal(weights, second["model"][name]), name
    (undisturbed,) = (project / ".scratch").glob("*.pt")
    assert undisturbed == prepare("sample", "fer13-7").checkpoint
    assert {file.suffix for file in undisturbed.parent.glob("*.*")} == {".pt", ".commit"}

    assert status[0] == -signal.SIGKILL
    assert not list(killed.glob("*.pt"))
    (checkpoint,) = (killed / ".scratch").glob("*.pt")
    assert torch.load(checkpoint)["epoch"] == 2
    assert train_pair([killed], "fer13-7") == [0, 0]
    resumed, whole = torch.load(checkpoint), torch.load(undisturbed)
    assert resumed["epoch"] == 4
    assert resumed["history"] == whole["history"]
    for name, weights in whole["best"]["weights"].items():
        assert torch.equal(weights, resumed["best"]["weights"][name]), name


def test_what_a_run_hands_on_is_its_network_and_nothing_is_written_twice(project):
    for task, file in (("pretrain", "encoder"), ("teacher-1", "teachers/teacher-1")):
        path = project / "build" / "sample" / f"{file}.safetensors"
        assert fer_train(task).exit_code == 0
        run = prepare("sample", task)
        kept = torch.load(run.checkpoint)["best"]["weights"]
        weights, card = read_weights(path)
        for name, values in weights.items():
            name = f"encoder.{name}" if task == "pretrain" else name
            assert torch.equal(values, kept[name].float()), name
        # What the notebook then says of the same numbers stays.
        save_weights(path, weights, replace(card, notes={"of": "the notebook"}))
        assert fer_train(task).exit_code == 0
        assert read_weights(path)[1].notes == {"of": "the notebook"}


def test_a_network_waits_for_those_it_learns_from():
    listed = schedule.jobs(load("paper"))
    assert len(listed) == len(set(map(str, listed)))
    for place, job in enumerate(listed):
        assert set(job.after) <= set(listed[:place])
    needs = {str(job): {str(other) for other in job.after} for job in listed}
    assert needs["fer13-7-seed-3"] == {"pretrain", *(f"teacher-{number}" for number in range(1, 6))}
    assert needs["fer13-3-seed-3"] == {"fer13-7-seed-3"}
    assert needs["ferplus-7"] == {"fer13-7"}


def printing(text, code):
    """A process that prints a text, then runs some code."""
    program = f"print({text!r}, flush=True)\n{code}"
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)


@pytest.fixture
def without_votes(project):
    data = faces()
    path = project / "build" / "sample" / "fer13.npz"
    save_fer13(path, replace(data, votes=np.full_like(data.votes, -1)))
    return project


def test_without_votes_the_networks_that_learn_them_are_left_out(without_votes, monkeypatch):
    begun, said = [], []

    def start(study, job, at_once):
        begun.append(str(job))
        return printing("done", "")

    monkeypatch.setattr(schedule, "_start", start)
    schedule.train_all("sample", 4, said.append)
    assert "fer13-3-seed-2" in begun
    assert not [job for job in begun if "ferplus" in job]
    assert said[0] == "There are no FER+ votes: ferplus-7 and ferplus-7-vgg are left out."
    result = fer_train("ferplus-7-vgg")
    assert result.exit_code == 2 and "there are no FER+ votes" in result.stderr


def test_without_votes_notebook_45_says_so_and_leaves_a_record(without_votes):
    with pytest.raises(LeftOut, match=r"no FER\+ votes.* left out"):
        prepared_by("45_train_intensity.ipynb", study="sample", task="ferplus-7")
    folder = intensity_folder("sample", "ferplus-7")
    assert json.loads((folder / "ferplus-7.json").read_text()) == {"left_out": "no FER+ votes"}
    assert not list((without_votes / "build").rglob("ferplus-7*.safetensors"))
    assert not (without_votes / ".scratch").exists()


def test_a_whole_study_is_trained_and_every_notebook_takes_it_over(project, monkeypatch):
    """One run is a process of its own, as in use; the others are forks, which import nothing."""
    start = schedule._start

    def start_or_fork(study, job, at_once):
        if job.task == "ferplus-7-vgg":
            return start(study, job, at_once)
        words = ["train", study, job.task, "--seed", str(job.seed)]
        return Forked(words)

    monkeypatch.setattr(schedule, "_start", start_or_fork)
    mpl.use("Agg")
    result = CliRunner().invoke(app, ["train", "sample", "--at-once", "2"])
    assert result.exit_code == 0, result.output
    for notebook, names in (
        ("20_pretrain.ipynb", {}),
        ("25_teach.ipynb", {"task": "teacher-1"}),
        ("30_train.ipynb", {"task": "fer13-7"}),
        ("30_train.ipynb", {"task": "fer13-7", "seed": 2}),
        ("30_train.ipynb", {"task": "fer13-3", "seed": 2}),
        ("45_train_intensity.ipynb", {"task": "ferplus-7"}),
        ("45_train_intensity.ipynb", {"task": "ferplus-7-vgg"}),
    ):
        checkpoint = prepared_by(notebook, study="sample", **names).checkpoint
        assert torch.load(checkpoint)["going"] == [], (notebook, names)  # finished


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="asks Linux about processes")
@pytest.mark.timeout(240)
def test_its_runs_end_with_a_killed_command(project):
    params = yaml.safe_load((project / "params.yaml").read_text())
    params["studies"]["sample"]["pretrain"]["epochs"] = 100_000
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    command = [sys.executable, "-m", "fer_tools.cli.main", "train", "sample", "--at-once", "1"]
    parent = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    log = schedule.log_file("sample", schedule.Job("pretrain"))
    while not (log.is_file() and '{"epoch"' in log.read_text()):
        assert parent.poll() is None
        time.sleep(0.1)
    (run,) = map(int, Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split())
    assert not gone(run, within=0)
    parent.kill()
    parent.wait()
    assert gone(run, within=30)


def test_a_run_that_fails_is_told_and_ends_the_others(project, monkeypatch):
    """teacher-1 fails at once; pretrain, which would sleep on, is ended; fer13-7 never begins."""
    begun = {}

    def start(study, job, at_once):
        code = "import time; time.sleep(60)" if job.task == "pretrain" else "raise SystemExit(2)"
        begun[job.task] = printing("a line\nthe reason", code)
        return begun[job.task]

    monkeypatch.setattr(schedule, "_start", start)
    with pytest.raises(UserError, match=r"teacher-1 failed \(.*teacher-1.txt\): the reason"):
        schedule.train_all("sample", 2, print)
    assert set(begun) == {"pretrain", "teacher-1"}
    assert begun["pretrain"].poll() is not None


def test_options_that_mean_nothing_together_are_refused(project):
    for words in (["--seed", "2"], ["fer13-7", "--at-once", "2"]):
        result = CliRunner().invoke(app, ["train", "sample", *words])
        assert result.exit_code == 2 and "--at-once is for all networks" in result.stderr
