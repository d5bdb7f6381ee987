"""The computer chooses precision, compiler and threads, and the choice is told and kept."""

import os
import subprocess
import sys

import pytest
import torch
from imports import ROOT
from torch import nn
from typer.testing import CliRunner

from fer_lib import precision, processes
from fer_lib.errors import UserError
from fer_lib.models.msfernet import MSFERNet
from fer_lib.params import Architecture, Training
from fer_lib.training.loop import fit
from fer_lib.training.losses import cross_entropy
from fer_lib.training.objective import Objective
from fer_lib.training.optimizers import make_optimizer
from fer_tools.cli.main import app

SETTINGS = Training(seed=1, epochs=1, batch_size=8, lr=0.01)
TINY = Architecture(first_width=4, second_width=4, widths=(8, 8))
OLD_CPU = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}


@pytest.fixture
def computer(monkeypatch):
    """Makes this computer pass for another one: call with what it has."""
    for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", precision.INSTEAD_OF_AUTO):
        monkeypatch.delenv(name, raising=False)

    def make(cuda=False, bfloat16=False, arm=False, level="AVX512"):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bfloat16)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
        monkeypatch.setattr(torch.backends.mkldnn, "is_acl_available", lambda: arm)
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: level)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bfloat16)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
        monkeypatch.setattr(
            torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: bfloat16, raising=False
        )

    return make


@pytest.mark.parametrize(
    ("has", "chosen"),
    [
        ({"bfloat16": True}, "bf16-mixed"),
        ({"bfloat16": False}, "32-true"),
        ({"bfloat16": True, "level": "AVX2"}, "32-true"),
        ({"bfloat16": True, "level": "DEFAULT"}, "32-true"),
        ({"bfloat16": True, "arm": True, "level": "DEFAULT"}, "bf16-mixed"),
        ({"bfloat16": False, "arm": True, "level": "DEFAULT"}, "32-true"),
        ({"bfloat16": True, "cuda": True, "level": "AVX2"}, "bf16-mixed"),
        ({"bfloat16": False, "cuda": True}, "32-true"),
    ],
)
def test_bfloat16_only_where_it_is_native(computer, has, chosen):
    computer(**has)
    assert precision.resolve(SETTINGS).precision == chosen
    assert f"Precision {chosen}" in precision.summary(SETTINGS, 8)


@pytest.mark.parametrize(
    ("level", "native"),
    [("AVX2", False), ("avx512_core_vnni", False), ("AVX512_CORE_BF16", True), ("ALL", True)],
)
def test_the_level_that_onednn_is_held_to_counts(computer, monkeypatch, level, native):
    computer(bfloat16=True)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", level)
    assert precision.native_bfloat16("cpu") is native


def test_what_is_asked_for_is_taken(computer, monkeypatch):
    computer(bfloat16=True)
    asked = SETTINGS.model_copy(update={"precision": "32-true"})
    assert precision.resolve(asked) is asked
    assert "Precision 32-true (asked for)" in precision.summary(asked, 8)
    monkeypatch.setenv(precision.INSTEAD_OF_AUTO, "16-mixed")
    assert precision.resolve(SETTINGS).precision == "16-mixed"
    assert precision.resolve(asked).precision == "32-true"
    monkeypatch.setenv(precision.INSTEAD_OF_AUTO, "bf16")
    with pytest.raises(UserError, match=r"FER_PRECISION=bf16 is no precision: .*bf16-mixed"):
        precision.resolve(SETTINGS)


def test_emulated_bfloat16_is_told_with_the_measured_factor(computer, monkeypatch):
    computer(bfloat16=False)
    times = iter([[1.0, 0.9], [0.1, 0.2]])
    monkeypatch.setattr(precision, "repeat", lambda step, number: step() or next(times))
    asked = SETTINGS.model_copy(update={"precision": "bf16-mixed"})
    assert "bf16-mixed (cpu emulates it, 9.0 times as slow as 32-true here)" in precision.summary(
        asked, 8
    )


def test_an_old_cpu_is_honored_and_told():
    """The variables that make PyTorch work as on an older CPU, in a process of their own."""
    code = "from fer_lib.precision import *; print(native_bfloat16('cpu'))"
    for change in (OLD_CPU, {"ATEN_CPU_CAPABILITY": "avx2"}, {"ONEDNN_MAX_CPU_ISA": "AVX2"}):
        done = subprocess.run(
            [sys.executable, "-c", code], env=os.environ | change, cwd=ROOT,
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stdout.strip() == "False", change


def test_compiling_must_pay(computer, monkeypatch):
    computer()
    asked = SETTINGS.model_copy(update={"compile": True})
    least = precision.COMPILE_PAYS["cpu"]
    assert precision.compiles(SETTINGS, 10 * least) == (False, "not asked for")
    monkeypatch.setenv("CXX", sys.executable)
    assert precision.compiles(asked, least)[0]
    assert not precision.compiles(asked, least - 1)[0]
    assert not precision.compiles(asked, 10 * least, "mps")[0]
    assert "torch.compile on" in precision.summary(asked, least)
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert precision.compiles(asked, least) == (False, "there is no C++ compiler")


def test_fit_compiles_only_what_pays(monkeypatch):
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda net, dynamic: compiled.append(net) or net)
    monkeypatch.setenv("CXX", sys.executable)
    settings = SETTINGS.model_copy(update={"compile": True})
    images, labels = torch.zeros((8, 48, 48), dtype=torch.uint8), torch.arange(8) % 2
    for least, count in ((9, 0), (8, 1)):
        monkeypatch.setitem(precision.COMPILE_PAYS, precision.best_device(), least)
        fit(MSFERNet(2, TINY), images, labels, settings, Objective(cross_entropy(settings)))
        assert len(compiled) == count


@pytest.mark.parametrize(
    ("asked", "native", "dtype"),
    [
        ("auto", True, torch.bfloat16), ("auto", False, None),
        ("32-true", True, None),
        ("bf16-mixed", True, torch.bfloat16), ("bf16-mixed", False, None),
    ],
)  # fmt: skip
def test_muon_computes_in_the_run_s_precision(computer, asked, native, dtype):
    computer(bfloat16=native)
    settings = SETTINGS.model_copy(update={"optimizer": "muon", "precision": asked})
    optimizer = make_optimizer(MSFERNet(2, TINY), settings)
    assert optimizer.dtype == dtype  # None: that of the weights


def test_fit_computes_in_the_precision_that_is_resolved(computer, monkeypatch):
    computer(bfloat16=False)
    seen = []

    class Watched(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(48, 2)

        def forward(self, faces):
            seen.append(torch.is_autocast_enabled("cpu"))
            return self.linear(faces.mean(dim=(1, 2)))

    images, labels = torch.zeros((8, 48, 48), dtype=torch.uint8), torch.arange(8) % 2
    fit(Watched(), images, labels, SETTINGS, Objective(cross_entropy(SETTINGS)))
    assert not any(seen)
    asked = SETTINGS.model_copy(update={"precision": "bf16-mixed"})
    fit(Watched(), images, labels, asked, Objective(cross_entropy(asked)))
    assert any(seen)


# ------------------------------------------------------------------------------------- threads


@pytest.fixture
def cores(tmp_path, monkeypatch):
    """Four processors, two by two of one core."""
    for processor in range(4):
        folder = tmp_path / f"cpu{processor}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text("0,2\n" if processor % 2 == 0 else "1,3\n")
    monkeypatch.setattr(processes, "TOPOLOGY", tmp_path)
    monkeypatch.setattr(processes, "QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "cpu_count", lambda: 4)

    def make(allowed=(0, 1, 2, 3), quota=None):
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(allowed), raising=False)
        if quota:
            (tmp_path / "cpu.max").write_text(quota)
        return processes.usable_cores()

    return make


@pytest.mark.parametrize(
    ("allowed", "quota", "count"),
    [
        ((0, 1, 2, 3), None, 2),
        ((0, 2), None, 1),
        ((0, 1), "max 100000\n", 2),
        ((0, 1, 2, 3), "100000 100000\n", 1),
        ((0, 1, 2, 3), "50000 100000\n", 1),
        ((4, 5, 6), None, 3),  # of which nothing is known
    ],
)
def test_threads_are_the_cores_that_may_be_used(cores, allowed, quota, count):
    assert cores(allowed, quota) == count


def test_threads_are_never_more(cores, monkeypatch):
    set_to = []
    monkeypatch.setattr(torch, "set_num_threads", set_to.append)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    cores()
    precision.use_cores()
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    precision.use_cores()
    assert set_to == [2, 1]


def test_info_tells_what_is_chosen():
    result = CliRunner().invoke(app, ["info"])
    assert result.exit_code == 0, result.output
    chosen = precision.resolve(SETTINGS).precision
    assert f"Precision {chosen} (" in result.output
    assert "torch.compile" in result.output and "usable core(s)" in result.output
