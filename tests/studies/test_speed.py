"""The speed notebook times the step of the training loop; its arithmetic, its stage."""

import importlib
import re

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from imports import ROOT, code_of, imports, room, with_what_they_import

from fer_lib.models.msfernet import MSFERNet
from fer_lib.models.quantization import quantize
from fer_lib.params import Training
from fer_lib.training.loop import fit
from fer_lib.training.losses import cross_entropy
from fer_lib.training.objective import Objective
from fer_tools.timing import speed

NOTEBOOK = ROOT / "studies" / "benchmarks" / "training_speed.ipynb"
STAGES = yaml.safe_load((ROOT / "studies" / "benchmarks" / "dvc.yaml").read_text())["stages"]
SETTINGS = Training(
    seed=3, epochs=1, batch_size=14, lr=0.01, ema_decay=0.9, dropout=0.1, mixup=0.2,
    precision="32-true",
)  # fmt: skip
FP32 = speed.Variant(precision="32-true")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_the_timed_step_is_that_of_fit():
    images = torch.randint(0, 256, (14, 48, 48), dtype=torch.uint8)
    labels = torch.arange(14) % speed.CLASSES
    torch.manual_seed(SETTINGS.seed)
    model = MSFERNet(speed.CLASSES, dropout=SETTINGS.dropout)
    kept = fit(model, images, labels, SETTINGS, Objective(cross_entropy(SETTINGS))).weights

    step = speed.TimedStep(FP32, SETTINGS, images, labels)
    step.run()
    # The weights that `fit` keeps are quantized, and their batch norms are recalibrated.
    average = quantize(step.average.network.state_dict())
    for name, _ in model.named_parameters():
        assert torch.equal(average[name], kept[name]), name


def test_a_step_takes_longer_than_its_network():
    whole, network = speed.TimedStep(FP32, SETTINGS).run()
    assert 0 < network < whole


def test_variants(monkeypatch):
    names = [variant.name for variant in speed.variants("cpu")]
    assert len(set(names)) == len(names) == (8 if speed.can_compile() else 4)
    assert names[0] == "fp32"
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert not any(variant.compiled for variant in speed.variants("cpu"))
    assert len(speed.variants("cpu")) == 4


def test_the_rate_of_a_matrix_product(monkeypatch):
    monkeypatch.setitem(speed.MATRIX_SIDE, "cpu", 10)
    product = speed.Product("cpu", "32-true", least=3)
    expected = product.left @ product.right
    torch.testing.assert_close(product.by_mm(), expected)
    torch.testing.assert_close(product.by_convolution()[0, :, :, 0].T, expected)
    # A clock by which a product takes 2 seconds in the first way and 4 in the second: it is read at
    # the beginning, after each product and at the end.
    ticks = iter([0, 2, 4, 4, 10, 14, 14])
    monkeypatch.setattr(speed, "clock", lambda device: next(ticks))
    assert product.rate() == pytest.approx(2 * 2 * 10**3 / 4)


def test_turns_are_interleaved_and_the_first_is_omitted():
    calls = []
    jobs = {name: lambda name=name: calls.append(name) or len(calls) for name in "ab"}
    results = list(speed.interleaved(jobs, turns=2, title="test"))
    assert calls == list("ababab")
    assert results == [(1, "a", 3), (1, "b", 4), (2, "a", 5), (2, "b", 6)]


def test_gains_change_one_switch():
    every = {("cpu", variant.name): variant for variant in speed.variants("cpu")}
    rate = pd.Series(
        [
            (3 if v.precision != "32-true" else 1) * (2 if v.channels_last else 1)
            for v in every.values()
        ],
        index=pd.MultiIndex.from_tuples(every),
    )
    assert set(speed.gains(rate, every, "precision")) == {3}
    assert set(speed.gains(rate, every, "channels_last")) == {2}
    assert set(speed.gains(rate, every, "compiled")) <= {1}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("aten::convolution_backward", "convolution"),
        ("aten::native_batch_norm_backward", "batch norm"),
        ("## Call CompiledFxGraph fbi5jz", "fused by the compiler"),
        ("triton_poi_fused_add_3", "fused by the compiler"),
        ("aten::amax", "pooling"),
        ("aten::threshold_backward", "elementwise"),
        ("aten::mm", speed.OTHER),
    ],
)
def test_kinds_of_work(name, kind):
    assert speed.kind_of(name) == kind


def test_most_of_a_step_is_convolution():
    shares = speed.shares_by_kind(speed.TimedStep(FP32, SETTINGS), steps=1)
    assert shares.sum() == pytest.approx(1)
    assert shares.idxmax() == "convolution"
    assert shares["fused by the compiler"] == 0


def test_the_stage_lists_the_imports_and_parameters_of_the_notebook():
    stage = STAGES["training_speed"]
    listed = {path for path in stage["deps"] if path.startswith(("fer_lib/", "fer_tools/"))}
    used = {room(module) for module in with_what_they_import(imports(code_of(NOTEBOOK)))}
    assert listed == {r for r in used if not r.endswith(".py") or r == "fer_lib/labels.py"}
    (cell,) = (
        cell
        for cell in nbformat.read(NOTEBOOK, as_version=4).cells
        if "parameters" in cell.metadata.get("tags", [])
    )
    values: dict = {}
    exec(cell.source, values)
    assert set(re.findall(r"(\w+)=", stage["cmd"])) == {n for n in values if n[0] != "_"}


def test_the_rendered_notebook_has_no_error_and_all_figures():
    folder = ROOT / "reports" / "speed"
    notebook = nbformat.read(folder / "training_speed.ipynb", as_version=4)
    outputs = [o for c in notebook.cells if c.cell_type == "code" for o in c.outputs]
    assert outputs and all(o.output_type != "error" for o in outputs)
    text = "".join(o.get("data", {}).get("text/markdown", "") for o in outputs)
    assert "Fastest here" in text
    assert {"variants", "kinds", "growth"} == {f.stem for f in (folder / "figures").glob("*.png")}


def test_the_benchmark_of_the_sample_study_separates_start_from_work(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "studies" / "benchmarks")
    sample_study = importlib.import_module("sample_study")
    measured, times = sample_study.Measured(total=33.0, peak=1_500_000_000), tmp_path / "times"
    sample_study.note(measured, "before the first stage", 3.0, times)
    times.write_text("00_sample_world\t8.5\n")
    sample_study.note(measured, "draw", 10.0, times)
    sample_study.note(measured, "publish@sample", 4.0, times)  # a script: no new line
    times.write_text("00_sample_world\t8.5\n80_report\t1.0\n")
    sample_study.note(measured, "report@sample", 5.0, times)
    assert measured.work == {"draw": 8.5, "report@sample": 1.0}
    rows = [line.split() for line in sample_study.as_text(measured, "A computer").splitlines()]
    assert rows[3] == ["draw", "10.0", "1.5", "8.5"]
    assert rows[-2] == ["the", "whole", "command", "33.0", "23.5", "9.5"]
    assert rows[-1] == ["peak", "memory", "1.50", "GB"]


def test_every_benchmark_has_its_record():
    by_hand = {"sample_study", "latency"}  # the first runs DVC itself; the second is a library
    scripts = {path.stem for path in (ROOT / "studies" / "benchmarks").glob("*.py")} - by_hand
    assert set(STAGES["speed"]["foreach"]) == scripts
    assert {path.stem for path in (ROOT / "reports/speed").glob("*.txt")} - by_hand == scripts
    assert np.all([(ROOT / f"reports/speed/{name}.txt").stat().st_size > 100 for name in scripts])
