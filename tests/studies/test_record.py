"""The committed record: whole, without errors, and the README says what it holds.

After `dvc repro` the same tests judge the fresh report of the sample study as well.
"""

import json
import math
import sys

import nbformat
import pytest
from imports import ROOT

from fer_lib.models.msfernet import MSFERNet, count_parameters
from fer_lib.params import load
from fer_tools.record.report import HEADLINES, errors_in
from fer_tools.record.verify import verify

sys.path.insert(0, str(ROOT / "scripts"))
from readme_tables import with_tables

# Study, and the folder of its record; of the sample study the one that lies here freshly made too.
RECORDS = {"sample": ROOT / "reports/sample", "paper": ROOT / "reports/paper"}
if (ROOT / "build/sample/report/summary.json").is_file():
    RECORDS["fresh-sample"] = ROOT / "build/sample/report"
KEYS = (
    "fer13_7.private.accuracy", "fer13_7.private_dedup.accuracy", "fer13_3.private.accuracy",
    "fer13_3.public_private.accuracy", "ckplus_7.subject_10fold.accuracy",
    "ckplus_7.random_split.accuracy", "model.parameters", "ferplus_7.private.accuracy",
    "ferplus_7_vgg.private.accuracy", "ferplus_7.intensity.rmse", "ferplus_7_vgg.intensity.rmse",
    "ferplus.intensity.baseline_rmse",
)  # fmt: skip
FIELDS = {"value", "unit", "n", "split", "protocol", "seeds", "stage"}
# The minimum of each study: its goal or, for synthetic faces, what a working network reaches.
# The sample bounds leave room for another machine's rounding; its seeds spread by about 2 points.
LEARNED = {
    "sample": {
        "fer13_7.private.accuracy": 80, "fer13_3.private.accuracy": 80,
        "ckplus_7.subject_10fold.accuracy": 70, "video.valence.correlation": 0.7,
        "ferplus_7.private.accuracy": 80, "ferplus_7_vgg.private.accuracy": 75,
        "video.valence.intensities.correlation": 0.7,
    },
    "paper": {
        "fer13_7.private.accuracy": 71.5, "fer13_3.public_private.accuracy": 85,
        "ckplus_7.subject_10fold.accuracy": 95, "ckplus_7.random_split.accuracy": 98,
        "ferplus_7.private.accuracy": 80, "ferplus_7_vgg.private.accuracy": 80,
    },
}  # fmt: skip


def summary(record: str) -> dict:
    """The published figures of a record."""
    return json.loads((RECORDS[record] / "summary.json").read_text())


def study_of(record: str) -> str:
    """The study of a record."""
    return record.removeprefix("fresh-")


@pytest.mark.parametrize("record", RECORDS)
def test_every_figure_says_what_it_is(record):
    figures = summary(record)
    assert not set(KEYS) - figures.keys()
    for key, entry in figures.items():
        assert not FIELDS - entry.keys(), key
        assert math.isfinite(entry["value"]), key
        assert entry["n"] > 0, key
        assert (ROOT / "notebooks" / f"{entry['stage']}.ipynb").exists(), key
        if "low" in entry:
            assert entry["low"] <= entry["value"] <= entry["high"], key


@pytest.mark.parametrize("record", RECORDS)
def test_the_network_learned(record):
    figures = summary(record)
    for key, least in LEARNED[study_of(record)].items():
        assert figures[key]["value"] > least, key


@pytest.mark.parametrize("record", RECORDS)
@pytest.mark.parametrize("network", ["ferplus_7", "ferplus_7_vgg"])
def test_intensities_are_far_better_than_the_mean(record, network):
    figures = summary(record)
    error = figures[f"{network}.intensity.rmse"]["value"]
    assert error < 0.65 * figures["ferplus.intensity.baseline_rmse"]["value"]


@pytest.mark.parametrize("record", RECORDS)
def test_parameters_are_those_of_the_settings(record):
    network = MSFERNet(7, load(study_of(record)).model)
    assert summary(record)["model.parameters"]["value"] == count_parameters(network)


def test_parameters_are_paper_a_s():
    assert summary("paper")["model.parameters"]["value"] == pytest.approx(2.37e6, rel=0.01)


def test_sizes_of_the_paper_s_test_sets():
    figures = summary("paper")
    assert figures["fer13_7.private.accuracy"]["n"] == 3589
    assert figures["fer13_3.public_private.accuracy"]["n"] == 6347
    assert figures["ckplus_7.subject_10fold.accuracy"]["n"] == 927


@pytest.mark.parametrize("record", RECORDS)
def test_rendered_notebooks_are_all_there_and_hold_no_error(record):
    rendered = sorted((RECORDS[record] / "notebooks").glob("*.ipynb"))
    sources = {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    if record == "paper":
        sources.remove("00_sample_world")
    assert {path.stem.split("-")[0] for path in rendered} == sources
    for path in rendered:
        assert not errors_in(path), path
        cells = nbformat.read(path, as_version=4).cells
        assert all(c.execution_count for c in cells if c.cell_type == "code"), path


@pytest.mark.parametrize("record", RECORDS)
def test_metrics_are_the_headline_figures(record):
    metrics = json.loads((RECORDS[record] / "metrics.json").read_text())
    figures = summary(record)
    assert metrics == {key: figures[key]["value"] for key in HEADLINES}
    assert len(metrics) == 10


@pytest.mark.parametrize("record", RECORDS)
def test_every_figure_is_what_the_predictions_give(record):
    verdicts = verify(RECORDS[record])
    assert not [verdict for verdict in verdicts if verdict.state == "wrong"]
    computed = {verdict.key for verdict in verdicts if verdict.state == "computed"}
    others = {verdict.key for verdict in verdicts if verdict.state == "recorded"}
    assert len(computed) > 30
    # A figure of the head of the table is computed, unless its networks are gone.
    assert set(HEADLINES) <= computed | others
    if record != "paper":
        assert not others


def test_readme_tables_match_the_figures():
    text = (ROOT / "README.md").read_text()
    assert "<!-- table: paper A -->" in text and "<!-- table: paper B -->" in text
    assert with_tables(text) == text


def test_a_rendered_error_would_be_seen(tmp_path):
    cell = nbformat.v4.new_code_cell("1 / 0")
    cell.outputs = [nbformat.v4.new_output("error", ename="ZeroDivisionError", evalue="by zero")]
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "x.ipynb")
    assert errors_in(tmp_path / "x.ipynb") == ["cell 0: ZeroDivisionError: by zero"]
