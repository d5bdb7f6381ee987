"""The command line: every kind of image, one row per face, one message per error."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from fer_lib.data.images import read_grey
from fer_lib.labels import TASKS
from fer_lib.models.card import Card
from fer_lib.models.msfernet import MSFERNet
from fer_lib.models.weights import save_weights
from fer_lib.params import Architecture
from fer_tools.cli import study
from fer_tools.cli.main import app
from fer_tools.inference.recognizer import Recognizer
from fer_tools.rtfer.video_reader import read_frames
from fer_tools.synthetic_faces.world import write_video

SMALL = Architecture(first_width=4, second_width=4, widths=(8, 8))


def fer(*arguments):
    """Run `fer` in this process."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def save_random(path, task="fer13-7"):
    """Weights of a small untrained network whose predictions differ from face to face."""
    torch.manual_seed(3)
    model = MSFERNet(len(TASKS[task]), SMALL)
    with torch.no_grad():
        model.classifier.linear.weight.mul_(20)
    card = Card("classifier", "paper", task, SMALL, {"epochs": 1}, "abc1234", {})
    save_weights(path, model.state_dict(), card)
    return path


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A folder with weights and a portrait (480 x 360, one synthetic face) as `portrait.png`."""
    folder = tmp_path_factory.mktemp("models")
    save_random(folder / "seven.safetensors")
    save_random(folder / "three.safetensors", "fer13-3")
    write_video(folder, seed=7, seconds=0.1)
    rgb = next(read_frames(folder / "sample.mp4")).rgb
    Image.fromarray(rgb).save(folder / "portrait.png")
    return folder


def predict(models, *arguments, model="seven"):
    return fer("predict", *arguments, "--model", models / f"{model}.safetensors", "--device", "cpu")


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def noise(seed=0, side=48):
    return np.random.default_rng(seed).integers(0, 256, (side, side)).astype(np.uint8)


# --------------------------------------------------------------------------- predict


def test_one_row_per_face(models, tmp_path):
    portrait = np.array(Image.open(models / "portrait.png"))
    small = cv2.resize(portrait, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    page = np.full((360, 800, 3), 128, np.uint8)
    page[:216, :288], page[:, 300:780] = small, portrait
    Image.fromarray(page).save(tmp_path / "two.png")
    result = predict(models, tmp_path / "two.png", "--csv", tmp_path / "out.csv")
    assert result.exit_code == 0, result.output
    first, second = table(tmp_path / "out.csv")
    probabilities = [f"p_{name}" for name in TASKS["fer13-7"]]
    assert list(first) == [
        "path",
        "x",
        "y",
        "w",
        "h",
        "label",
        "confidence",
        *probabilities,
        "valence",
    ]
    assert first["path"] == second["path"] == str(tmp_path / "two.png")
    assert int(first["x"]) > 300 > int(second["x"]) + int(second["w"])
    for row in (first, second):
        p = {name: float(row[name]) for name in probabilities}
        assert sum(p.values()) == pytest.approx(1, abs=1e-5)
        assert row["label"] == max(p, key=p.get)[2:]
        assert float(row["confidence"]) == max(p.values())
        negative = sum(p[f"p_{name}"] for name in ("angry", "disgust", "fear", "sad"))
        assert float(row["valence"]) == pytest.approx(p["p_happy"] - negative, abs=1e-5)
    assert "2 face(s) in 1 image(s)." in result.stderr


def test_the_row_is_what_the_model_predicts_for_the_crop(models, tmp_path):
    from fer_lib.faces.detection import Box, crop_face

    predict(models, models / "portrait.png", "--csv", tmp_path / "out.csv", "--margin", "0.3")
    (row,) = table(tmp_path / "out.csv")
    box = Box(*(int(row[side]) for side in "xywh"))
    crop = crop_face(read_grey(models / "portrait.png"), box, margin=0.3)
    recognizer = Recognizer.load(models / "seven.safetensors", device="cpu")
    expected = recognizer.probabilities(crop[None])[0]
    got = [float(row[f"p_{name}"]) for name in recognizer.classes]
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_cropped_faces_are_used_whole(models, tmp_path):
    for seed in range(70):  # more than one batch
        Image.fromarray(noise(seed)).save(tmp_path / f"{seed:03d}.png")
    out = tmp_path / "out.csv"
    result = predict(models, tmp_path, "--faces-are-cropped", "--csv", out, model="three")
    assert result.exit_code == 0, result.output
    rows = table(out)
    assert [row["path"] for row in rows] == [str(tmp_path / f"{i:03d}.png") for i in range(70)]
    assert all(row[side] == "" for row in rows for side in "xywh")
    recognizer = Recognizer.load(models / "three.safetensors", device="cpu")
    expected = recognizer.probabilities(np.stack([noise(seed) for seed in range(70)]))
    got = [[float(row[f"p_{name}"]) for name in recognizer.classes] for row in rows]
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_an_image_without_a_face_keeps_its_row(models, tmp_path):
    Image.fromarray(np.full((100, 100), 90, np.uint8)).save(tmp_path / "wall.png")
    out = tmp_path / "out.csv"
    result = predict(models, models / "portrait.png", tmp_path / "wall.png", "--csv", out)
    assert result.exit_code == 0
    face, wall = table(out)
    assert face["label"] != ""
    assert wall.pop("path") == str(tmp_path / "wall.png") and set(wall.values()) == {""}
    assert "1 face(s) in 2 image(s); 1 image(s) without a detected face" in result.stderr
    assert "--faces-are-cropped" not in result.stderr
    assert "--faces-are-cropped" in predict(models, tmp_path / "wall.png").stderr


def test_the_table_on_screen(models):
    result = predict(models, models / "portrait.png")
    assert result.exit_code == 0
    heads = ("path", "x, y, w, h", "label", "confidence", "p_surprise", "valence")
    for text in (*heads, str(models / "portrait.png")):
        assert text in result.stdout, text
    assert "Model:" in result.stderr and "Model:" not in result.stdout


def test_any_file_name_is_printed_unchanged(models, tmp_path):
    path = tmp_path / "photo [1] [bold]:smile:.png"
    Image.fromarray(noise()).save(path)
    assert path.name in predict(models, path, "--faces-are-cropped").stdout


def test_unreadable_images_are_reported_and_the_others_predicted(models, tmp_path):
    Image.fromarray(noise()).save(tmp_path / "a_good.png")
    (tmp_path / "b_text.png").write_text("no image")
    (tmp_path / "c_empty.jpg").touch()
    Image.fromarray(noise(side=1)).save(tmp_path / "d_pixel.png")
    (tmp_path / "e_cut.png").write_bytes((models / "portrait.png").read_bytes()[:5000])
    Image.fromarray(noise(1)).save(tmp_path / "f_good.png")
    out = tmp_path / "out.csv"
    result = predict(models, tmp_path, "--faces-are-cropped", "--csv", out)
    assert result.exit_code == 1
    assert [row["path"][-10:] for row in table(out)] == ["a_good.png", "f_good.png"]
    messages = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    bad = [("b_text.png", "not an image"), ("c_empty.jpg", "0 bytes"),
           ("d_pixel.png", "1x1"), ("e_cut.png", "damaged")]  # fmt: skip
    assert len(messages) == len(bad)
    for line, (name, text) in zip(messages, bad, strict=True):
        assert name in line and text in line
    assert "4 image(s) could not be read" in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize("kind", ["16-bit", "RGBA", "CMYK", "EXIF"])
def test_unusual_image_formats_give_the_same_row(models, tmp_path, kind):
    plain = Image.open(models / "portrait.png")
    gray = np.array(plain.convert("L"))
    path = tmp_path / "odd.png"
    if kind == "16-bit":
        cv2.imwrite(str(path), gray.astype(np.uint16) * 257)
    elif kind == "RGBA":
        plain.convert("RGBA").save(path)
    elif kind == "CMYK":
        path = tmp_path / "odd.tif"
        plain.convert("CMYK").save(path)
    else:
        exif = Image.Exif()
        exif[0x0112] = 6  # "turn me 90 degrees clockwise to see me upright"
        plain.rotate(90, expand=True).save(path, exif=exif)
    out, reference = tmp_path / "out.csv", tmp_path / "reference.csv"
    assert predict(models, path, "--csv", out).exit_code == 0
    assert predict(models, models / "portrait.png", "--csv", reference).exit_code == 0
    (got,), (expected,) = table(out), table(reference)
    assert got["label"] == expected["label"] != ""
    for name in ("x", "y", "w", "h", "confidence", "valence"):
        tolerance = 2 if name in "xywh" else 0.1
        assert float(got[name]) == pytest.approx(float(expected[name]), abs=tolerance), name


def test_wrong_input_is_one_message_and_status_2(models, tmp_path):
    portrait, weights = models / "portrait.png", models / "seven.safetensors"
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(weights.read_bytes()[:3000])
    (tmp_path / "folder").mkdir()
    (tmp_path / "out.csv").write_text("earlier results\n")
    there, nowhere = ["--csv", tmp_path / "out.csv"], ["--csv", tmp_path / "no" / "out.csv"]
    model = ["--model", weights]
    cases = {
        "does not exist": [tmp_path / "nobody.png", *there],
        "holds no image": [tmp_path / "folder", *there],
        "fer99 is neither a model's name nor a file": [portrait, "--model", "fer99", *there],
        "damaged or cut short": [portrait, "--model", cut, *there],
        "'toaster' is not available": [portrait, *model, "--device", "toaster", *there],
        "out.csv cannot be written": [portrait, *model, *nowhere],
        "folder is a folder: name a file": [portrait, *model, "--csv", tmp_path / "folder"],
    }
    for text, arguments in cases.items():
        result = fer("predict", *arguments)
        assert result.exit_code == 2, text
        *_, last = result.stderr.strip().splitlines()
        assert last.startswith("Error: ") and text in last, result.output
        assert "Traceback" not in result.output
    assert (tmp_path / "out.csv").read_text() == "earlier results\n"


def test_a_model_of_synthetic_faces_warns(models, tmp_path):
    from fer_lib.models.weights import read_weights

    weights, card = read_weights(models / "seven.safetensors")
    save_weights(tmp_path / "w.safetensors", weights, Card(**{**card.__dict__, "study": "sample"}))
    result = fer("predict", models / "portrait.png", "--model", tmp_path / "w.safetensors")
    assert "synthetic faces" in result.stderr
    assert "synthetic faces" not in predict(models, models / "portrait.png").stderr


# --------------------------------------------------------------------------- study, info, help


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project without data as the working folder; commands are collected instead of run."""
    (tmp_path / "fer_lib").mkdir()
    (tmp_path / ".git").mkdir()  # a clone
    real = Path(__file__).parents[2] / "params.yaml"
    (tmp_path / "params.yaml").write_text(real.read_text())
    monkeypatch.chdir(tmp_path)
    runs = []

    def run(command, cwd, env, check):
        runs.append((command, cwd, env["PATH"].split(os.pathsep)[0]))
        return subprocess.CompletedProcess(command, 7)

    monkeypatch.setattr(study.subprocess, "run", run)
    return tmp_path, runs


def test_study_sample_runs_dvc_and_returns_its_status(project):
    root, runs = project
    assert fer("study", "sample").exit_code == 7
    scripts = str(Path(sys.executable).parent)
    assert runs == [([sys.executable, "-m", "dvc", "repro"], root, scripts)]


def test_the_sample_study_has_no_published_networks(project):
    _, runs = project
    result = fer("study", "sample", "--published")
    assert result.exit_code == 2 and runs == []
    assert "the sample study has no published networks" in result.stderr


def test_study_paper_names_what_is_missing(project):
    root, runs = project
    result = fer("study", "paper")
    assert result.exit_code == 2 and runs == []
    for text in ("fer2013.csv", "train and test", "CK+48", "cohn-kanade-images", "data/README.md"):
        assert text in result.stderr, text
    (root / "data/raw/fer2013/train").mkdir(parents=True)
    assert "FER2013" in fer("study", "paper").stderr  # half of it is not enough
    (root / "data/raw/fer2013/test").mkdir()
    result = fer("study", "paper")
    assert result.exit_code == 2 and "FER2013" not in result.stderr and "CK+48" in result.stderr


@pytest.mark.parametrize("ckplus", ["CK+48", "cohn-kanade-images"])
def test_study_paper_estimates_its_duration_and_runs_its_pipeline(project, ckplus, monkeypatch):
    root, runs = project
    monkeypatch.setattr("fer_tools.study.duration.faces_per_second", lambda study: 100.0)
    (root / "data/raw/fer2013").mkdir(parents=True)
    (root / "data/raw/fer2013/fer2013.csv").touch()
    (root / "data/raw/ckplus" / ckplus).mkdir(parents=True)
    result = fer("study", "paper")
    assert result.exit_code == 7
    assert "At 100 faces per second" in result.stdout and "--published" in result.stdout
    assert runs[0][0] == [sys.executable, "-m", "dvc", "repro", "studies/paper/dvc.yaml"]
    assert (root / "data/raw/video").is_dir()


def test_an_unknown_study_is_refused(project):
    result = fer("study", "moon")
    assert result.exit_code == 2 and "sample" in result.output and project[1] == []


def test_info_lists_models(project, models):
    root, _ = project
    (root / "build/paper").mkdir(parents=True)
    (root / "build/paper/fer13-3.safetensors").touch()
    result = fer("info")
    assert result.exit_code == 0
    assert "fer13-3: " + str(root / "build/paper/fer13-3.safetensors") in result.stdout
    assert "fer13-7: not trained yet" in result.stdout and "torch " in result.stdout


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--help"], ["predict", "study", "info", "fer predict photo.jpg"]),
        (["predict", "--help"], ["--model", "--faces-are-cropped", "--csv", "fer predict photos/"]),
        (["study", "--help"], ["sample", "paper", "dvc repro"]),
    ],
)
def test_help_shows_commands_and_examples(arguments, text):
    result = fer(*arguments)
    assert result.exit_code == 0
    assert [word for word in text if word not in result.output] == []


def test_help_imports_no_large_package():
    code = (
        "import sys; sys.argv = ['fer', '--help']; from fer_tools.cli.main import app\n"
        "try: app()\nexcept SystemExit: pass\n"
        "print('loaded', [m for m in ('torch', 'cv2', 'pandas', 'av', 'dvc') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "loaded []" in result.stdout


def test_a_copy_without_git_is_reported(tmp_path, monkeypatch):
    (tmp_path / "fer_lib").mkdir()
    (tmp_path / "params.yaml").touch()
    monkeypatch.chdir(tmp_path)
    result = fer("study", "sample")
    assert result.exit_code == 2 and "clone the repository, or run `git init`" in result.stderr


def test_a_system_error_is_one_sentence(tmp_path):
    for arguments in (
        ["predict", 300 * "a" + ".jpg"],
        ["video", 300 * "a" + ".mp4", "--out", tmp_path / "out"],
        ["export", "--out", 300 * "a" + ".onnx"],
    ):
        result = fer(*arguments)
        assert result.exit_code == 2, arguments
        (line,) = result.stderr.strip().splitlines()
        assert line.startswith("Error: ") and "File name too long" in line
