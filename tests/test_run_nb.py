"""Notebooks as stages: same bytes each time, and a failed one stays for reading."""

import os
import sys

import nbformat
import pytest
from imports import ROOT

sys.path.insert(0, str(ROOT / "scripts"))
from run_nb import joined_streams, normalise, run, seconds_of_work, target_name


@pytest.fixture(autouse=True)
def own_environment(monkeypatch):
    """The runner sets variables for its kernel and then ends; a test must put them back."""
    monkeypatch.setenv("FER_PROGRESS_FILE", "")
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
def test_a_failing_cell_stops_and_the_half_run_notebook_is_kept(tmp_path, capfd):
    source = notebook(tmp_path / "x.ipynb", "print('so far')", "raise ValueError('no')", "2 + 2")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "x.ipynb").write_text("an earlier result")
    assert run(source, tmp_path / "out", {}) == 1
    said = capfd.readouterr().err
    kept = tmp_path / "out" / "x.running.ipynb"
    assert "ValueError: no" in said
    assert f"read how far it came in {kept}" in said
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
    clean = normalise(page)
    assert "papermill" not in clean.metadata
    assert clean.cells[0].metadata == {"tags": ["x"]}
    assert clean.cells[0].id == "cell-0"
