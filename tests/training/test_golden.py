"""The golden training reproduces here, and a change of what training computes does not pass."""

import json
import platform

import pytest
import torch.nn.functional as F
import yaml
from imports import ROOT
from typer.testing import CliRunner

from fer_lib.errors import UserError
from fer_lib.models import quantization
from fer_lib.training import augment, average, loop, optimizers, tasks
from fer_tools.cli.main import app
from fer_tools.record import golden

pytestmark = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"),
    reason="recorded on x86-64; torch draws dropout by another generator elsewhere",
)


@pytest.mark.parametrize("name", golden.CASES)
def test_reproduces(name):
    assert golden.check([name]) == {name: []}


def fit_with(**factors):
    """`fit` with settings multiplied."""
    original = tasks.fit

    def fit(model, images, labels, settings, *rest, **more):
        changes = {name: factor * getattr(settings, name) for name, factor in factors.items()}
        return original(model, images, labels, settings.model_copy(update=changes), *rest, **more)

    return fit


def settings_with(make, **factors):
    """A loss's maker with settings multiplied."""

    def changed(settings):
        changes = {name: factor * getattr(settings, name) for name, factor in factors.items()}
        return make(settings.model_copy(update=changes))

    return changed


def bilinear(*arguments, mode, **more):
    return F.grid_sample(*arguments, mode="bilinear", **more)


class Functional:
    """torch.nn.functional with another `grid_sample`."""

    grid_sample = staticmethod(bilinear)

    def __getattr__(self, name):
        return getattr(F, name)


MUTATIONS = {
    "learning rate, 1 %": (
        "intensity-vgg", loop, "learning_rate",
        lambda *a, original=loop.learning_rate: 1.01 * original(*a),
    ),
    "learning rate of a fold, 1 %": (
        "ckplus", loop, "learning_rate",
        lambda *a, original=loop.learning_rate: 1.01 * original(*a),
    ),
    "decay of the moving average": ("intensity-vgg", tasks, "fit", fit_with(ema_decay=0.9)),
    "weight decay": ("teacher", tasks, "fit", fit_with(weight_decay=1.2)),
    "seed": ("intensity-vgg", tasks, "fit", fit_with(seed=2)),
    "label smoothing": (
        "teacher", tasks, "cross_entropy",
        settings_with(tasks.cross_entropy, label_smoothing=1.1),
    ),
    "mixup": ("intensity", tasks, "fit", fit_with(mixup=1.1)),
    "temperature": (
        "pretrain", tasks, "contrast", settings_with(tasks.contrast, temperature=1.02)
    ),
    "teachers' weight": ("classes", tasks, "fit", fit_with(teacher_weight=0.98)),
    "intensity head's weight": (
        "intensity-vgg", tasks, "two_head_loss",
        settings_with(tasks.two_head_loss, intensity_weight=1.02),
    ),
    "Muon's momentum": ("teacher", optimizers, "MOMENTUM", 0.89),
    "seven bits": ("intensity-vgg", quantization, "LARGEST", 63),
    "bilinear views": ("intensity-vgg", augment, "F", Functional()),
    "batch norm not recalibrated": (
        "intensity-vgg", average, "update_bn", lambda *_: None
    ),
}  # fmt: skip


@pytest.mark.parametrize("change", MUTATIONS)
def test_a_change_of_what_is_computed_is_found(monkeypatch, change):
    case, module, name, value = MUTATIONS[change]
    monkeypatch.setattr(module, name, value)
    assert "recorded" in golden.check([case])[case][0]


def test_a_notebook_that_fails_is_told(monkeypatch):
    monkeypatch.setattr(tasks, "fit", None)
    with pytest.raises(UserError, match=r"45_train_intensity.ipynb fails in cell \d+ .*TypeError"):
        golden.run("intensity-vgg")
    assert "fails in cell" in golden.check(["intensity-vgg"])["intensity-vgg"][0]


def test_differences_name_place_numbers_and_tolerance():
    was = {"run": {"history": {"loss": [1.0, 0.5]}, "weights": {"a": [0.0, 1.0, 0.5]}}}
    assert golden.compare(was, was) == []
    now = json.loads(json.dumps(was))
    now["run"]["history"]["loss"][1] = 0.6
    assert golden.compare(was, now) == [
        "run, loss, epoch 2: recorded 0.5, got 0.6, tolerance 5e-05"
    ]
    now["run"]["weights"]["b"] = [0.0, 1.0, 0.0]
    assert golden.compare(was, now)[0] == ("run, b, mean: recorded nothing, got 0, tolerance 1e-07")
    assert golden.compare(was, {}) == ["run: not trained"]


@pytest.mark.parametrize("part", ["pretrain", "teachers", "train", "ckplus", "intensity"])
def test_settings_are_set_and_left_out_as_in_the_paper_study(part):
    """A default that changes shows only in a section that relies on it."""
    paper = yaml.safe_load((ROOT / "params.yaml").read_text())["studies"]["paper"][part]
    ours = yaml.safe_load((ROOT / golden.FOLDER / "params.yaml").read_text())["studies"]["golden"]
    own = ("precision", "compile")

    def names(section):
        return {
            f"{name}.{inner}"
            for name, value in section.items()
            for inner in (names(value) if isinstance(value, dict) else [""])
            if name not in own
        }

    for name, section in paper.items():
        theirs = {name: section} if not isinstance(section, dict) else section
        mine = {name: ours[part][name]} if not isinstance(section, dict) else ours[part][name]
        assert names(mine) == names(theirs), name


def test_the_record_is_not_replaced_unless_asked(monkeypatch):
    path = ROOT / golden.FOLDER / "record.json"
    before = path.read_bytes()
    monkeypatch.setattr(golden, "run", lambda name: {"other": {}})
    result = CliRunner().invoke(app, ["record", "golden", "teacher"])
    assert result.exit_code == 2 and "teacher not as recorded" in result.output
    assert path.read_bytes() == before
