"""ONNX files: they answer as PyTorch does, say what they are, run without torch; damage is told."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from typer.testing import CliRunner

from fer_lib.data.arrays import save_fer13
from fer_lib.errors import UserError
from fer_lib.labels import TASKS
from fer_lib.models.card import Card
from fer_lib.models.forward import standardize
from fer_lib.models.msfernet import MSFERNet
from fer_lib.models.weights import save_weights
from fer_lib.params import Architecture
from fer_tools.cli.main import app
from fer_tools.inference import export
from fer_tools.inference.export import (
    export_onnx,
    quantize,
)
from fer_tools.inference.recognizer import Recognizer
from fer_tools.study import export_check
from fer_tools.study.export_check import TOLERANCE, accuracy, comparison_faces, write_checked

SMALL = Architecture(first_width=4, second_width=4, widths=(8, 8))


def squares(side):
    """A (48, 48) uint8 pattern; fine noise alone would look alike to every network."""
    values = np.random.default_rng(side).integers(0, 256, (48 // side, 48 // side))
    return np.kron(values, np.ones((side, side))).astype(np.uint8)


FACES = np.stack([squares(side) for side in (1, 4, 8, 12, 24)])


def save_random(path, task="fer13-7", arch=SMALL, **notes):
    """Weights of an untrained network whose answers differ from face to face."""
    torch.manual_seed(3)
    model = MSFERNet(len(TASKS[task]), arch)
    with torch.no_grad():
        for module in model.modules():  # batch norms that change what passes through
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.uniform_(-0.2, 0.2)
                module.running_var.uniform_(0.5, 1.5)
                module.weight.uniform_(0.7, 1.3)
        logits = model.eval()(standardize(torch.from_numpy(FACES)))
        model.classifier.linear.bias.sub_(logits.mean(dim=0))
        for values in model.classifier.parameters():
            values.mul_(2 / logits.std(dim=0).mean())
    card = Card("classifier", "sample", task, arch, {"epochs": 1}, "abc1234", notes)
    save_weights(path, model.state_dict(), card)
    return path


@pytest.fixture(scope="module")
def drawn():
    """Drawn faces with labels, and a project folder that holds none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export_check, "SYNTHETIC_FACES", 24)
        patch.setattr(export_check, "build_folder", lambda study: Path("/nowhere") / study)
        yield comparison_faces("sample")[0]


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """A folder with a network as `w.safetensors` and `w.onnx`."""
    folder = tmp_path_factory.mktemp("shelf")
    recognizer = Recognizer.load(save_random(folder / "w.safetensors", accuracy=0.5), "cpu")
    export_onnx(recognizer, folder / "w.onnx")
    return folder


def change(shelf, tmp_path, edit):
    """A copy of `w.onnx` after `edit(graph)`."""
    graph = onnx.load(shelf / "w.onnx")
    edit(graph)
    onnx.save(graph, tmp_path / "changed.onnx")
    return tmp_path / "changed.onnx"


ARCHITECTURES = {
    "small": SMALL,
    "default": Architecture(),
    "one scale, plain": Architecture(4, 4, (8,), (3,), attention=False, residual=False),
    "concat": Architecture(4, 4, (8, 8), (3, 5, 7), fuse_first="concat"),
}


@pytest.mark.parametrize("arch", ARCHITECTURES.values(), ids=ARCHITECTURES)
def test_the_file_answers_as_pytorch_does(tmp_path, arch):
    recognizer = Recognizer.load(save_random(tmp_path / "w.safetensors", arch=arch), "cpu")
    export_onnx(recognizer, tmp_path / "w.onnx")
    exported = Recognizer.load(tmp_path / "w.onnx")
    faces = np.concatenate([FACES, np.zeros((1, 48, 48), np.uint8)])  # one is blank
    got, expected = exported.probabilities(faces), recognizer.probabilities(faces)
    assert got.shape == (6, 7) and got.dtype == np.float32
    np.testing.assert_allclose(got, expected, atol=TOLERANCE)
    assert np.abs(expected[0] - expected[1]).max() > 1e-3  # else agreement would mean nothing
    mirrored = exported.probabilities(faces, flip=True)
    np.testing.assert_allclose(mirrored, recognizer.probabilities(faces, flip=True), atol=TOLERANCE)
    assert np.abs(mirrored - got).max() > 1e-3


@pytest.mark.parametrize("count", [0, 1, 64, 65])
def test_any_number_of_faces(shelf, count):
    faces = np.resize(FACES, (count, 48, 48))
    got = Recognizer.load(shelf / "w.onnx").probabilities(faces)
    expected = Recognizer.load(shelf / "w.safetensors", "cpu").probabilities(faces)
    assert got.shape == expected.shape == (count, 7)
    np.testing.assert_allclose(got, expected, atol=TOLERANCE)


def test_the_network_itself_is_left_as_it_is(shelf, tmp_path):
    recognizer = Recognizer.load(shelf / "w.safetensors", "cpu")
    before = recognizer.probabilities(FACES)
    export_onnx(recognizer, tmp_path / "w.onnx")
    np.testing.assert_array_equal(recognizer.probabilities(FACES), before)
    assert [file.name for file in tmp_path.iterdir()] == ["w.onnx"]


def test_temperature_divides_the_logits(tmp_path):
    warm = Recognizer.load(save_random(tmp_path / "w.safetensors", temperature=2.5), "cpu")
    export_onnx(warm, tmp_path / "w.onnx")
    with torch.inference_mode():
        logits = warm.model(standardize(torch.from_numpy(FACES)))
    expected = (logits / 2.5).softmax(dim=1).numpy()
    assert np.abs(expected - logits.softmax(dim=1).numpy()).max() > 0.01
    np.testing.assert_allclose(warm.probabilities(FACES), expected, atol=1e-6)
    np.testing.assert_allclose(
        Recognizer.load(tmp_path / "w.onnx").probabilities(FACES), expected, atol=TOLERANCE
    )


def test_the_file_says_what_it_is(shelf):
    weights = Recognizer.load(shelf / "w.safetensors", "cpu")
    exported = Recognizer.load(str(shelf / "w.onnx"))
    assert exported.card == weights.card and exported.classes == weights.classes
    assert exported.path == shelf / "w.onnx"
    assert exported.describe() == weights.describe().replace("w.safetensors", "w.onnx")
    stored = {entry.key: json.loads(entry.value) for entry in _metadata(shelf / "w.onnx")}
    assert stored["labels"] == list(TASKS["fer13-7"])
    for name in ("study", "task", "params", "commit", "notes"):
        assert stored[name] == getattr(weights.card, name)
    with pytest.raises(UserError, match=r"w.onnx holds no PyTorch network"):
        _ = exported.model
    with pytest.raises(UserError, match="holds no PyTorch network"):
        export_onnx(exported, shelf / "again.onnx")


def _metadata(path):
    return onnx.load(path).metadata_props


def test_an_onnx_file_runs_without_torch(shelf):
    code = (
        "import sys, numpy as np\n"
        "from fer_tools.inference.recognizer import Recognizer\n"
        "from fer_lib.evaluation.valence import valence\n"
        f"recognizer = Recognizer.load({str(shelf / 'w.onnx')!r})\n"
        "probabilities = recognizer.probabilities(np.zeros((2, 48, 48), np.uint8))\n"
        "valence(probabilities, recognizer.classes), recognizer.describe()\n"
        "print(probabilities.shape, 'torch' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "(2, 7) False"


# ------------------------------------------------------------------------------ bad files


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(UserError, match=r"gone.onnx is missing: write it with `fer export`"):
        Recognizer.load(tmp_path / "gone.onnx")


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99])
def test_a_file_cut_short_is_told(shelf, tmp_path, share):
    whole = (shelf / "w.onnx").read_bytes()
    (tmp_path / "cut.onnx").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(UserError, match=r"cut.onnx (is damaged, cut short|was not written)"):
        Recognizer.load(tmp_path / "cut.onnx")


def test_a_text_file_is_told(tmp_path):
    (tmp_path / "text.onnx").write_text("This is no network.\n" * 100)
    with pytest.raises(UserError, match=r"text.onnx is damaged, cut short, or no ONNX file"):
        Recognizer.load(tmp_path / "text.onnx")


@pytest.mark.parametrize("kept", [[], ["labels", "parameters"], ["task", "study", "arch"]])
def test_a_file_without_labels_or_card_is_told(shelf, tmp_path, kept):
    def edit(graph):
        left = [entry for entry in graph.metadata_props if entry.key in kept]
        del graph.metadata_props[:]
        graph.metadata_props.extend(left)

    with pytest.raises(UserError, match=r"changed.onnx was not written by"):
        Recognizer.load(change(shelf, tmp_path, edit))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("labels", "no JSON"), ("labels", '["up", "down"]'), ("labels", "7"),
        ("task", '"fer13-3"'), ("task", '"supcon"'), ("notes", "{"), ("parameters", '"many"'),
        ("notes", '{"temperature": 0}'),
    ],
)  # fmt: skip
def test_a_card_that_does_not_fit_is_told(shelf, tmp_path, name, value):
    def edit(graph):
        for entry in graph.metadata_props:
            if entry.key == name:
                entry.value = value

    with pytest.raises(UserError, match=r"changed.onnx"):
        Recognizer.load(change(shelf, tmp_path, edit))


def test_another_networks_input_is_told(shelf, tmp_path):
    def edit(graph):
        graph.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 64

    with pytest.raises(UserError, match=r"changed.onnx (does not give the|is damaged)"):
        Recognizer.load(change(shelf, tmp_path, edit))


def test_only_the_cpu_runs_onnx_files(shelf):
    Recognizer.load(shelf / "w.onnx", device="cpu")
    with pytest.raises(UserError, match="'cuda' is not available for an ONNX file"):
        Recognizer.load(shelf / "w.onnx", device="cuda")


# ------------------------------------------------------------------------------ int8


def test_int8_is_smaller_and_nearly_the_same(tmp_path, drawn):
    recognizer = Recognizer.load(
        save_random(tmp_path / "w.safetensors", "fer13-3", Architecture()), "cpu"
    )
    export_onnx(recognizer, tmp_path / "w.onnx")
    quantize(tmp_path / "w.onnx", tmp_path / "int8.onnx", drawn.images)
    small = Recognizer.load(tmp_path / "int8.onnx")
    assert small.card == recognizer.card
    assert (tmp_path / "int8.onnx").stat().st_size < (tmp_path / "w.onnx").stat().st_size / 3
    graph = onnx.load(tmp_path / "int8.onnx").graph
    made_by = {name: node.op_type for node in graph.node for name in node.output}
    integer = {
        node.name: made_by.get(node.input[1]) == "DequantizeLinear"
        for node in graph.node
        if node.op_type == "Conv"
    }
    kept = {name for name in integer if any(part in name for part in export.KEPT_IN_FLOAT)}
    assert kept and {name for name, is_integer in integer.items() if not is_integer} == kept
    one, other = recognizer.probabilities(drawn.images), small.probabilities(drawn.images)
    assert 0 < np.abs(one - other).mean() < 0.05
    assert (one.argmax(axis=1) == other.argmax(axis=1)).mean() > 0.8
    assert set(tmp_path.iterdir()) == {
        tmp_path / name for name in ("w.safetensors", "w.onnx", "int8.onnx")
    }


def test_accuracy_leaves_surprise_out_of_three_classes():
    labels = np.array([0, 3, 5, 6])  # angry, happy, surprise, neutral
    assert accuracy(np.eye(7)[[0, 3, 5, 0]], labels) == 0.75
    assert accuracy(np.eye(3)[[0, 2, 1, 0]], labels) == pytest.approx(2 / 3)


# ------------------------------------------------------------------------------ the command


def fer(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def faces(monkeypatch, drawn):
    """Lets the command compare on few faces."""
    monkeypatch.setattr(export_check, "comparison_faces", lambda study: (drawn, "a few faces"))
    return drawn


def test_command_writes_and_compares(shelf, tmp_path, monkeypatch, faces):
    monkeypatch.chdir(tmp_path)
    result = fer("export", "--model", shelf / "w.safetensors")
    assert result.exit_code == 0, result.output
    assert [file.name for file in tmp_path.iterdir()] == ["w.onnx"]
    assert "Written: w.onnx" in result.stdout and "a few faces" in result.stdout
    told = float(result.stdout.split("from PyTorch: ")[1].split()[0])
    compared = faces.images[faces.usage == "PublicTest"]
    weights = Recognizer.load(shelf / "w.safetensors", "cpu")
    written = Recognizer.load(tmp_path / "w.onnx")
    difference = np.abs(weights.probabilities(compared) - written.probabilities(compared)).max()
    assert told == pytest.approx(difference, rel=0.1)
    assert "int8" not in result.stdout
    onnx.checker.check_model(tmp_path / "w.onnx", full_check=True)


def test_command_tells_what_int8_costs(shelf, tmp_path, faces):
    out = tmp_path / "small.onnx"
    result = fer("export", "--model", shelf / "w.safetensors", "--int8", "--out", out)
    assert result.exit_code == 0, result.output
    compared = faces.select(faces.usage == "PublicTest")
    exact, small = (
        100 * accuracy(Recognizer.load(path).probabilities(compared.images), compared.labels)
        for path in (shelf / "w.onnx", out)
    )
    assert f"float32 {exact:.2f} %, int8 {small:.2f} %" in result.stdout


def test_a_file_that_differs_is_not_written(shelf, tmp_path, faces, monkeypatch):
    monkeypatch.setattr(export, "standardize", lambda images: standardize(images) * 1.2)
    out = tmp_path / "w.onnx"
    result = fer("export", "--model", shelf / "w.safetensors", "--out", out)
    assert result.exit_code == 2 and not list(tmp_path.iterdir())
    assert "differs from PyTorch by" in result.stderr and "was not written" in result.stderr


def test_calibration_never_sees_the_faces_of_the_comparison(shelf, tmp_path, drawn, monkeypatch):
    seen = []
    monkeypatch.setattr(
        export_check, "quantize", lambda plain, out, faces: seen.append((plain, out, faces))
    )
    recognizer = Recognizer.load(shelf / "w.safetensors", "cpu")
    with pytest.raises(UserError, match="missing"):  # nothing was quantized
        write_checked(recognizer, tmp_path / "w.onnx", drawn, int8=True)
    np.testing.assert_array_equal(seen[0][2], drawn.images[drawn.usage == "Training"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--out", "w.bin"], "does not end in .onnx"),
        (["--out", "no/such/folder/w.onnx"], "cannot be written"),
        (["--model", "w.onnx", "--out", "again.onnx"], "holds no PyTorch network"),
    ],
)
def test_what_cannot_be_written_is_told(shelf, monkeypatch, faces, arguments, words):
    monkeypatch.chdir(shelf)
    result = fer("export", "--model", "w.safetensors", *arguments)
    assert result.exit_code == 2 and words in result.stderr
    assert not (shelf / "again.onnx").exists()


def test_a_full_disk_is_told_and_leaves_nothing(shelf, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fer_lib.files.os.replace", full)
    with pytest.raises(UserError, match=r"w.onnx cannot be written \(No space left"):
        export_onnx(Recognizer.load(shelf / "w.safetensors", "cpu"), tmp_path / "w.onnx")
    assert not list(tmp_path.iterdir())


def test_faces_are_taken_from_the_models_own_study_first(tmp_path, monkeypatch, drawn):
    monkeypatch.setattr(export_check, "build_folder", lambda study: tmp_path / study)
    monkeypatch.setattr(export_check, "SYNTHETIC_FACES", 4)
    assert comparison_faces("sample")[1] == "synthetic faces"
    for study in ("sample", "paper"):
        save_fer13(tmp_path / study / "fer13.npz", drawn)
    assert comparison_faces("sample")[1] == str(tmp_path / "sample" / "fer13.npz")
    assert comparison_faces("paper")[1] == str(tmp_path / "paper" / "fer13.npz")
    assert comparison_faces("another")[1] == str(tmp_path / "paper" / "fer13.npz")
