"""Notebooks as stages: the same bytes each time, and a failed notebook is kept for reading."""

import os
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from imports import ROOT
from processes import gone

sys.path.insert(0, str(ROOT / "scripts"))
import run_nb
from run_nb import joined_streams, normalize, run, seconds_of_work, target_name


@pytest.fixture(autouse=True)
def restore_environment(monkeypatch):
    """The runner sets environment variables for its kernel; a test must restore them."""
    for name in ("FER_PROGRESS_FILE", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PATH", os.environ["PATH"])


def notebook(path, *sources):
    """Write a notebook with a parameters cell and the given code cells."""
    cells = [nbformat.v4.new_code_cell("study = 'none'", metadata={"tags": ["parameters"]})]
    cells += [nbformat.v4.new_code_cell(source) for source in sources]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)
    return path


@pytest.mark.timeout(120)
def test_same_bytes_twice_and_parameters_arrive(tmp_path):
    source = notebook(tmp_path / "20_x.ipynb", "for i in range(3): print(study, i, flush=True)")
    written = []
    for folder in ("a", "b"):
        assert run(source, tmp_path / folder, {"study": "sample", "task": "t"}) == 0
        written.append((tmp_path / folder / "20_x-t.ipynb").read_bytes())
    assert written[0] == written[1]
    assert b"sample 2" in written[0]
    assert not list(tmp_path.glob("*/*.running.ipynb"))


@pytest.mark.timeout(120)
def test_a_failing_cell_ends_the_run_and_its_notebook_is_kept(tmp_path, capfd):
    source = notebook(tmp_path / "x.ipynb", "print('so far')", "raise ValueError('no')", "2 + 2")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "x.ipynb").write_text("an earlier result")
    assert run(source, tmp_path / "out", {}) == 1
    stderr = capfd.readouterr().err
    kept = tmp_path / "out" / f"x.pid{os.getpid()}.running.ipynb"
    assert "ValueError: no" in stderr
    assert f"see how far it came in {kept}" in stderr
    text = kept.read_text()
    assert "so far" in text
    assert (tmp_path / "out" / "x.ipynb").read_text() == "an earlier result"


def test_name_carries_the_task():
    assert target_name(ROOT / "notebooks" / "30_train.ipynb", {"task": "a"}) == "30_train-a"
    assert target_name(ROOT / "notebooks" / "10_data.ipynb", {"study": "a"}) == "10_data"


def test_seconds_of_work_are_those_of_cells_that_do_not_import():
    sources = {"import numpy": 4.0, "from x import y\ny()": 3.0, "1 + 1": 2.0, "2 + 2": 0.5}
    cells = [nbformat.v4.new_markdown_cell("text")]
    for source, duration in sources.items():
        metadata = {"papermill": {"duration": duration}}
        cells.append(nbformat.v4.new_code_cell(source, metadata=metadata))
    assert seconds_of_work(nbformat.v4.new_notebook(cells=cells)) == 2.5


def test_streams_are_joined_and_times_dropped():
    def stream(text, name="stdout"):
        return nbformat.v4.new_output("stream", name=name, text=text)

    parts = [stream("a"), stream("b"), stream("c", "stderr"), stream("d")]
    assert [o.text for o in joined_streams(parts)] == ["ab", "c", "d"]
    cell = nbformat.v4.new_code_cell("1", metadata={"papermill": {"duration": 1}, "tags": ["x"]})
    page = nbformat.v4.new_notebook(cells=[cell], metadata={"papermill": {"start": "now"}})
    clean = normalize(page)
    assert "papermill" not in clean.metadata
    assert clean.cells[0].metadata == {"tags": ["x"]}
    assert clean.cells[0].id == "cell-0"


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="asks Linux about processes")
@pytest.mark.timeout(120)
def test_runner_and_kernel_end_with_a_killed_parent(tmp_path):
    pids = tmp_path / "pids"
    source = notebook(
        tmp_path / "x.ipynb",
        "import os, pathlib, time",
        f"pathlib.Path({str(pids)!r}).write_text(f'{{os.getppid()}} {{os.getpid()}}')\n"
        "time.sleep(100)",
    )
    script = str(ROOT / "scripts" / "run_nb.py")
    command = [sys.executable, script, str(source), str(tmp_path / "out"), "study=sample"]
    starts = f"import subprocess; subprocess.run({command!r})"
    parent = subprocess.Popen([sys.executable, "-c", starts])
    while not (pids.is_file() and pids.read_text()):
        assert parent.poll() is None
        time.sleep(0.1)
    runner, kernel = map(int, pids.read_text().split())
    parent.kill()
    parent.wait()
    assert gone(runner, within=30)
    assert gone(kernel, within=30)
    assert [f.name for f in (tmp_path / "out").iterdir()] == [f"x.pid{runner}.running.ipynb"]


@pytest.mark.timeout(120)
def test_what_a_killed_runner_left_is_removed_and_a_living_ones_is_not(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    names = [f"x.pid{number}.running.ipynb" for number in (dead.pid, os.getppid())]
    for name in names:
        (tmp_path / name).touch()
    assert run(notebook(tmp_path / "x.ipynb"), tmp_path, {}) == 0
    assert {file.name for file in tmp_path.iterdir()} == {"x.ipynb", names[1]}


DEEP = "def f(n):\n    return f(n - 1) if n else 1 / 0\nf(30)"


@pytest.mark.timeout(120)
def test_an_error_is_reported_in_a_few_lines(tmp_path, capfd):
    raises = "from fer_lib.errors import UserError\ndef f(n):\n    if not n:\n"
    raises += "        raise UserError('a.csv, line 3: no number: fix it.')\n    f(n - 1)\nf(20)"
    source = notebook(tmp_path / "x.ipynb", raises)
    assert run(source, tmp_path, {}) == 1
    first, second = capfd.readouterr().err.splitlines()
    assert first == "Error: a.csv, line 3: no number: fix it."
    assert second.startswith(f"{source} failed; see how far it came in ")

    assert run(notebook(tmp_path / "y.ipynb", DEEP), tmp_path, {}) == 1
    lines = capfd.readouterr().err.splitlines()
    assert "ZeroDivisionError: division by zero" in lines
    assert "----> 3 f(30)" in lines and "----> 2     return f(n - 1) if n else 1 / 0" in lines
    assert len(lines) < 10


@pytest.mark.timeout(120)
def test_a_killed_kernel_is_reported(tmp_path, capfd):
    killed = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    source = notebook(tmp_path / "x.ipynb", killed)
    assert run(source, tmp_path, {}) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"{source}: its process was killed, most likely because")


@pytest.mark.timeout(120)
def test_a_kernel_that_does_not_start_is_reported(tmp_path, capfd, monkeypatch):
    """A python that ends immediately comes before the real one in PATH."""
    monkeypatch.setattr(run_nb, "START_TIMEOUT", 5)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    kernel = tmp_path / "share" / "kernels" / "python3" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    kernel.write_text('{"argv": ["false"], "language": "python", "display_name": "broken"}')
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "share"))
    assert run(notebook(tmp_path / "x.ipynb"), tmp_path / "out", {}) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert "x.ipynb: its kernel does not start (Kernel died" in line


@pytest.mark.timeout(120)
def test_home_need_not_exist(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/proc/nobody")
    monkeypatch.setenv("MPLCONFIGDIR", "")  # so that it is put back
    monkeypatch.delenv("MPLCONFIGDIR")
    monkeypatch.setattr(run_nb, "scratch_folder", lambda: tmp_path / "scratch")
    source = notebook(tmp_path / "x.ipynb", "import matplotlib.pyplot")
    assert run(source, tmp_path / "out", {}) == 0
    assert not nbformat.read(tmp_path / "out" / "x.ipynb", as_version=4).cells[-1].outputs


@pytest.mark.timeout(120)
def test_a_notebook_that_is_left_out_ends_with_status_0(tmp_path, capfd):
    raises = "from fer_lib.errors import LeftOut\nraise LeftOut('There are **no votes**.')"
    source = notebook(tmp_path / "x.ipynb", "1 + 1", raises, "open('never', 'w')")
    assert run(source, tmp_path / "out", {"study": "paper"}) == 0
    assert f"{source}: There are **no votes**." in capfd.readouterr().err
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["x.ipynb"]
    cells = nbformat.read(tmp_path / "out" / "x.ipynb", as_version=4).cells
    assert cells[-1].source == raises
    assert cells[-1].outputs == [
        {
            "output_type": "display_data",
            "data": {"text/markdown": "There are **no votes**."},
            "metadata": {},
        }
    ]
    assert "papermill-error" not in str(cells)
