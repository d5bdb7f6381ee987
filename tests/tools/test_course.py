"""The course: solutions pass, starters do not, wrong answers get a hint, pages are up to date."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from two_processes import CONTEXT
from typer.testing import CliRunner

from fer_lib.data.arrays import Fer13, save_fer13
from fer_lib.data.audit import duplicate_of_training
from fer_lib.errors import UserError
from fer_tools.cli.main import app
from fer_tools.course import expectations
from fer_tools.course import grader as course

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
import build_course  # noqa: E402

SOURCES = sorted((ROOT / "course" / "solutions").glob("exercise_*.py"))
TASKS = [(int(s.stem[-2:]), task) for s in SOURCES for task in course.load_checks(int(s.stem[-2:]))]


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """A folder with a small fer13.npz: with copies, also across splits, and votes."""
    folder, rng = tmp_path_factory.mktemp("sample"), np.random.default_rng(0)
    images = rng.integers(0, 256, (90, 48, 48), dtype=np.uint8)[rng.integers(0, 90, 120)]
    usage = rng.choice(np.array(["Training", "PublicTest", "PrivateTest"]), 120)
    leaked = duplicate_of_training(images, usage)
    assert leaked.any()
    votes = rng.multinomial(10, [0.4, 0.3, 0.2, 0.1] + [0.0] * 6, 120)
    labels = rng.integers(0, 7, 120)
    save_fer13(folder / "fer13.npz", Fer13(images, labels, usage, np.arange(120), votes, leaked))
    return folder


@pytest.fixture(autouse=True)
def small_sample(sample, monkeypatch):
    """Make the checks use the small data, whether or not the study was run here."""
    monkeypatch.setattr(expectations, "build_folder", lambda study: sample)


def write_notebook(tmp_path, number, solved=False, **answers):
    """Write an exercise's notebook, with the code of some answer cells replaced."""
    text = build_course.notebook(SOURCES[number - 1], solved)
    notebook = json.loads(text)
    for cell in notebook["cells"]:
        for name in set(cell["metadata"].get("tags", [])) & set(answers):
            cell["source"] = answers[name]
    path = tmp_path / f"exercise_{number:02}.ipynb"
    path.write_text(json.dumps(notebook))
    return path


def judge(number, task, answer):
    return course.judge(task, course.load_checks(number)[task], answer)


def fer(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


# ------------------------------------------------------------------------ the files of the course


def test_there_are_six_units():
    assert [source.stem for source in SOURCES] == [f"exercise_0{n}" for n in range(1, 7)]


@pytest.mark.parametrize("path", build_course.files(), ids=lambda path: path.name)
def test_generated_files_are_up_to_date(path):
    generated = build_course.files()[path]
    if path.read_text(encoding="utf-8") != generated:
        # Somebody may be doing the exercises in this working copy: then compare git's version.
        committed = subprocess.run(
            ["git", "show", f":{path.relative_to(ROOT).as_posix()}"],
            cwd=ROOT, capture_output=True, text=True, encoding="utf-8",
        ).stdout  # fmt: skip
        assert committed == generated, "run `python scripts/build_course.py` and commit the result"


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_each_task_has_an_answer_cell_and_a_check(source):
    number, kinds = int(source.stem[-2:]), [kind for kind, _ in build_course.cells(source)]
    answers = [kind.removeprefix("answer: ") for kind in kinds if kind.startswith("answer: ")]
    assert answers == list(course.load_checks(number)) and len(answers) >= 3
    assert kinds.count("setup") == 1 and "[markdown] open" in kinds
    starter = build_course.notebook(source)
    assert "SOLUTION" not in starter and starter.count("not done yet") == len(answers)
    headings = [text.splitlines()[0] for kind, text in build_course.cells(source)[1:]
                if text.startswith("## ")]  # fmt: skip
    assert 4 <= len(headings) <= 6
    for level in ("easy", "medium", "hard"):
        assert any(level in heading for heading in headings)


@pytest.mark.parametrize("path", sorted((ROOT / "course").glob("*.md")), ids=lambda p: p.name)
def test_links_have_a_target(path):
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
        assert (path.parent / link).exists(), f"{path.name} links to {link}"


# ------------------------------------------------------------------------- solutions and starters


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_solutions_are_right(source, tmp_path):
    exercise = course.read(write_notebook(tmp_path, int(source.stem[-2:]), solved=True))
    namespace = {"__name__": "exercise"}
    assert not course.run_cells(exercise.cells, namespace)
    for task, check in course.load_checks(exercise.number).items():
        assert course.judge(task, check, namespace[task]) == (task, "right", "")


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_starters_are_not_done_yet(source, tmp_path):
    exercise = course.read(write_notebook(tmp_path, int(source.stem[-2:])))
    namespace = {"__name__": "exercise"}
    assert not course.run_cells(exercise.cells, namespace)
    for task, check in course.load_checks(exercise.number).items():
        assert course.judge(task, check, namespace[task]) == (task, "not done yet", "")


@pytest.mark.parametrize(("number", "task"), TASKS)
@pytest.mark.parametrize("given", [None, 0.5, "text", [[1], [1, 2]], {}], ids=str)
def test_nonsense_is_wrong_without_a_traceback(number, task, given):
    result = judge(number, task, lambda *arguments: given)
    assert result.status == "wrong" and result.message


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_cells_that_show_results_run(source, monkeypatch):
    if not (ROOT / "build" / "sample" / "summary.json").is_file():
        pytest.skip("the sample study was not run here")
    monkeypatch.setattr("matplotlib.pyplot.subplots", without_screen)
    code = "\n".join(text for kind, text in build_course.cells(source) if "markdown" not in kind)
    exec(compile(code, source.name, "exec"), {"__name__": "exercise"})


def without_screen(rows=1, columns=1, figsize=None, subplot_kw=None):
    """Replaces pyplot.subplots, and keeps no figure open."""
    figure = Figure(figsize=figsize)
    return figure, figure.subplots(rows, columns, subplot_kw=subplot_kw)


# ----------------------------------------------------------------------------- plausible mistakes


def test_baseline_of_the_test_set():
    result = judge(
        1, "most_frequent_baseline", lambda train, test: np.bincount(test).max() / len(test)
    )
    assert result.status == "wrong" and "peeking" in result.message


def test_copies_by_their_sums():
    def first_copy(images):
        sums = images.reshape(len(images), -1).astype(int).sum(axis=1).tolist()
        return np.array([sums.index(value) for value in sums])

    result = judge(1, "first_copy", first_copy)
    assert result.status == "wrong" and "Equal sums" in result.message


def test_flipped_kernel():
    from scipy.signal import convolve2d

    result = judge(2, "convolve", lambda x, k: convolve2d(x, k, mode="valid"))
    assert result.status == "wrong" and "flipped the kernel" in result.message


def test_receptive_field_without_strides():
    result = judge(2, "receptive_field", lambda layers: 1 + sum(k - 1 for k, _ in layers))
    assert result.status == "wrong" and "after a stride" in result.message


def supcon(embeddings, labels, temperature=0.1, *, with_itself=False, detached=False):
    logits = embeddings @ embeddings.T / temperature
    itself = torch.eye(len(labels), dtype=torch.bool)
    below = logits if with_itself else logits.masked_fill(itself, -torch.inf)
    positives = (labels[:, None] == labels[None, :]) & ~itself
    terms = (logits - below.logsumexp(dim=1, keepdim=True)) * positives
    has = positives.any(dim=1)
    loss = -(terms.sum(dim=1)[has] / positives.sum(dim=1)[has]).mean()
    return loss.detach() if detached else loss


@pytest.mark.parametrize(
    ("mistake", "message"),
    [({"with_itself": True}, "does not belong in the sum"), ({"detached": True}, "no gradient")],
)
def test_contrastive_mistakes(mistake, message):
    task = "supervised_contrastive_loss"
    assert judge(3, task, supcon).status == "right"
    result = judge(3, task, lambda *given: supcon(*given, **mistake))
    assert result.status == "wrong" and message in result.message


def test_loss_that_overflows():
    def anchor_loss(similarities, positives, anchor, temperature):
        exponentials = (similarities[anchor] / temperature).exp()
        others = torch.arange(len(exponentials)) != anchor
        return -(exponentials[positives[anchor]] / exponentials[others].sum()).log().mean()

    result = judge(3, "anchor_loss", anchor_loss)
    assert result.status == "wrong" and "logsumexp" in result.message


def test_points_that_do_not_move():
    result = judge(3, "descend", lambda points, labels, steps=300, rate=1.0: points)
    assert result.status == "wrong" and "should fall" in result.message


def test_bootstrap_of_images():
    def interval(correct, groups, draws, rng):
        drawn = correct[rng.integers(0, len(correct), (draws, len(correct)))].mean(axis=1)
        return tuple(np.percentile(drawn, [2.5, 97.5]))

    result = judge(4, "bootstrap_interval", interval)
    assert result.status == "wrong" and "whole subjects" in result.message


def test_bootstrap_that_averages_subjects():
    def interval(correct, groups, draws, rng):
        names = np.unique(groups)
        each = np.array([correct[groups == name].mean() for name in names])
        drawn = each[rng.integers(0, len(names), (draws, len(names)))].mean(axis=1)
        return tuple(np.percentile(drawn, [2.5, 97.5]))

    result = judge(4, "bootstrap_interval", interval)
    assert result.status == "wrong" and "not as a mean over subjects" in result.message


def test_folds_of_images():
    result = judge(4, "group_folds", lambda groups, k, rng: rng.permutation(len(groups)) % k)
    assert result.status == "wrong" and "Assign whole subjects" in result.message


def test_temperature_upside_down():
    from fer_lib.evaluation.calibration import fit_temperature

    result = judge(4, "fit_temperature", lambda *given: 1 / fit_temperature(*given))
    assert result.status == "wrong" and "you multiplied" in result.message


@pytest.mark.parametrize("what", ["time", "gaps"])
def test_smoothing_mistakes(what):
    def smooth(times, values, seconds):
        levels, level, last = np.full(len(values), np.nan), np.nan, 0.0
        for i, value in enumerate(values):
            if np.isnan(value):
                level = np.nan if what == "time" else level
                continue
            step = np.diff(times).mean() if what == "time" else times[i] - last
            gain = 1 - np.exp(-step / seconds)
            level = value if np.isnan(level) else level + gain * (value - level)
            levels[i], last = level, times[i]
        return levels

    result = judge(5, "smooth", smooth)
    message = {"time": "depends on the time between frames", "gaps": "Restart after a gap"}[what]
    assert result.status == "wrong" and message in result.message


def test_inertia_across_gaps():
    def inertia(values):
        values = values[np.isfinite(values)]
        return np.corrcoef(values[:-1], values[1:])[0, 1]

    result = judge(5, "inertia", inertia)
    assert result.status == "wrong" and "closed the gaps" in result.message


def test_alarm_without_base_rate():
    result = judge(6, "worth_of_alarm", lambda s, c, b: s / (s + 1 - c))
    assert result.status == "wrong" and "base rate is missing" in result.message


def test_interval_of_zero_width():
    def table(correct, groups):
        intervals = {}
        for group in np.unique(groups):
            members = correct[groups == group]
            p, margin = members.mean(), 1.96 * members.std() / len(members) ** 0.5
            intervals[str(group)] = (p, p - margin, p + margin)
        return intervals

    result = judge(6, "accuracy_by_group", table)
    assert result.status == "wrong" and "zero width" in result.message


# ---------------------------------------------------------------------- messages, exit statuses


def test_missing_data_is_reported_with_its_remedy(monkeypatch, tmp_path):
    monkeypatch.setattr(expectations, "build_folder", lambda study: tmp_path)
    result = judge(6, "best_possible", lambda v: (v.max(axis=1) / v.sum(axis=1)).mean())
    assert result.status == "needs data" and "uv run dvc repro" in result.message


@pytest.fixture
def forks(monkeypatch):
    """Fork the processes of the checks from one that has imported torch: saves seconds each."""
    monkeypatch.setattr(course, "get_context", lambda method: CONTEXT)


def test_unit_3_and_its_command_need_no_data(tmp_path):
    result = fer("check", write_notebook(tmp_path, 3, solved=True))
    assert result.exit_code == 0 and "5 of 5 right." in result.stdout, result.stdout


def test_errors_are_reported_with_the_students_line(forks, tmp_path):
    path = write_notebook(
        tmp_path, 5,
        valence="def valence(probabilities):\n    print('noise')\n    return 1 / 0\n",
        smooth="def smooth(times, values, seconds:\n    return values\n",
        share_above="def share_above(edges, values, level):\n    while True: pass\n",
        inertia="def inertia(seconds):\n    return helper(seconds)\n",
        change_point="def other(values):\n    return 1\n",
    )  # fmt: skip
    result = fer("check", path, "--limit", "4")
    assert result.exit_code == 1 and "Traceback" not in result.output
    parts = (line.strip().split(": ", 1) for line in result.stdout.splitlines() if ": " in line)
    messages = {status_and_task.split()[-1]: text for status_and_task, text in parts}
    assert "line 3 of the cell, `return 1 / 0`: ZeroDivisionError" in messages["valence"]
    assert "line 1 of the cell" in messages["smooth"] and "never closed" in messages["smooth"]
    assert "did not end within 4 s" in messages["share_above"]
    assert "put helpers and imports" in messages["inertia"]
    assert "`helper`" not in messages["inertia"]
    assert "no function `change_point`" in messages["change_point"]
    assert "0 of 5 right." in result.stdout and "noise" not in result.stdout


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("while True: pass", "the cells of the answers did not end"),
        ("import os; os._exit(3)", "the Python process ended"),
    ],
)
def test_cells_that_hang_or_kill_the_process(forks, tmp_path, code, message):
    exercise = course.read(write_notebook(tmp_path, 5, valence=code))
    results = list(course.check_notebook(exercise, seconds=4))
    assert len(results) == 5
    assert all(result.status == "wrong" and message in result.message for result in results)


@pytest.mark.skipif(sys.platform != "linux", reason="the limits are Linux's")
def test_code_of_students_has_limits(forks, tmp_path):
    big, online = tmp_path / "big", "import socket; socket.create_connection(('127.0.0.1', 9), 2)"
    path = write_notebook(
        tmp_path, 5,
        valence="def valence(probabilities):\n    return bytearray(9 * 2**30)\n",
        smooth=f"def smooth(t, values, s):\n    open({str(big)!r}, 'wb').write(bytes(2**28))",
        inertia=f"def inertia(seconds):\n    {online}",
    )  # fmt: skip
    messages = {result.task: result.message for result in course.check_notebook(course.read(path))}
    assert "MemoryError" in messages["valence"]
    assert "File too large" in messages["smooth"] and big.stat().st_size <= 100 * 2**20
    if "refused" not in messages["inertia"]:  # some systems do not let us leave the network
        assert "Network is unreachable" in messages["inertia"]


def test_exit_in_an_answer_is_wrong():
    broken = course.run_cells([("valence", "x = 1\nexit()"), ("smooth", "raise SystemExit")], {})
    assert "SystemExit" in broken["valence"] and "line 1" in broken["smooth"]
    assert judge(5, "valence", lambda probabilities: sys.exit(0)).status == "wrong"


def test_checks_within_a_notebook(capsys):
    check = course.checker(6)

    def worth_of_alarm(sensitivity, specificity, base_rate):
        return sensitivity

    check(worth_of_alarm)
    assert "return the share of the reported" in capsys.readouterr().out
    with pytest.raises(UserError, match="choose from agreement"):
        check(len)


def test_names_of_exercises():
    for name in ("3", "03", "exercise-03", "exercise_3"):
        assert [path.name for path in course.find(name)] == ["exercise_03.ipynb"]
    assert len(course.find("all")) == 6
    for name in ("9", "exercise-7", "", "three"):
        with pytest.raises(UserError, match="choose from exercise-01"):
            course.find(name)


@pytest.mark.parametrize("text", ["", "{}", '{"cells": [], "metadata": {}}', "[]"])
def test_files_that_are_no_exercise_are_reported_in_one_sentence(tmp_path, text):
    path = tmp_path / "other.ipynb"
    path.write_text(text)
    result = fer("check", path)
    assert result.exit_code == 2 and "cannot be read as an exercise" in result.output
    assert fer("check", tmp_path / "missing.ipynb").exit_code == 2


def without(path, folder, **changes):
    """A copy of an exercise from which a tool has removed its metadata or that of its cells."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    if "number" in changes:
        del notebook["metadata"]["exercise"]
    for cell in notebook["cells"]:
        if "most_frequent_baseline" in cell["metadata"].get("tags", []):
            cell["source"] = [
                "def most_frequent_baseline(training, test):\n",
                "    return float((test == np.bincount(training).argmax()).mean())",
            ]
        if "tags" in changes:
            cell["metadata"] = {}
    copy = folder / path.name
    copy.write_text("\ufeff" + json.dumps(notebook), encoding="utf-8")  # and a byte order mark
    return copy


@pytest.mark.parametrize("dropped", ["number", "tags"])
def test_answers_are_found_without_metadata(tmp_path, dropped):
    source = ROOT / "course" / "exercises" / "exercise_01.ipynb"
    exercise = course.read(without(source, tmp_path, **{dropped: True}))
    assert exercise.number == 1 and exercise.cells[0][0] == "setup"
    results = {result.task: result for result in course.check_notebook(exercise)}
    assert results["most_frequent_baseline"].status in (course.Status.right, course.Status.no_data)
    assert not any("defines no function" in result.message for result in results.values())


def test_a_damaged_notebook_does_not_end_the_batch(tmp_path):
    source = ROOT / "course" / "exercises" / "exercise_01.ipynb"
    for name in ("a", "b", "c"):
        text = source.read_text(encoding="utf-8")
        (tmp_path / f"exercise_01_{name}.ipynb").write_text("<<<<<<< HEAD\n" * (name == "b") + text)
    lines = []
    names = [str(path) for path in sorted(tmp_path.glob("*.ipynb"))]
    assert not course.command(names, 20, lines.append)
    assert sum("of 5 right" in line for line in lines) == 2
    (error,) = [line for line in lines if line.startswith("Error")]
    assert "exercise_01_b.ipynb cannot be read as an exercise" in error and "lost" not in error
