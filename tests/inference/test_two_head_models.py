"""Intensities where people meet them: library, ONNX file, pictures, films, the page."""

import csv

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner
from videos import observation, write

from fer_lib.errors import UserError
from fer_lib.evaluation.valence import valence_of_intensities
from fer_lib.faces.detection import Box
from fer_lib.labels import FER_CLASSES, VALENCE_SIGN
from fer_lib.models.card import Card
from fer_lib.models.msfernet import Encoder, MSFERNet
from fer_lib.models.two_head import TwoHeads
from fer_lib.models.vgg import VggEncoder
from fer_lib.models.weights import save_weights
from fer_lib.params import Architecture, VggArchitecture
from fer_tools.cli.main import app
from fer_tools.inference.export import export_onnx
from fer_tools.inference.recognizer import Recognizer
from fer_tools.rtfer import video_writer
from fer_tools.rtfer.app import page
from fer_tools.rtfer.engine import COLUMNS, INTENSITY_COLUMNS, Engine, analyze
from fer_tools.rtfer.valence import save_line
from fer_tools.study.export_check import TOLERANCE

SMALL = Architecture(first_width=4, second_width=4, widths=(8, 8, 8))
SMALL_VGG = VggArchitecture(kernels=(5, 3), widths=(4, 8), pools=(0, 1), hidden=16)
STRENGTHS = [f"intensity_{name}" for name in FER_CLASSES]
run = CliRunner().invoke


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """Three weights files: two heads on either encoder, and a plain classifier."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(4)
    notes = {"temperature": 1.7, "validation_accuracy": 0.8, "validation_rmse": 0.123}
    for name, encoder in (("ms", Encoder(SMALL)), ("vgg", VggEncoder(SMALL_VGG))):
        model = TwoHeads(encoder, 7)
        card = Card("two heads", "paper", "ferplus-7", encoder.arch, {}, "abc", notes)
        save_weights(folder / f"{name}.safetensors", model.state_dict(), card)
    plain = Card("classifier", "paper", "fer13-7", SMALL, {}, "abc", {})
    save_weights(folder / "plain.safetensors", MSFERNet(7, SMALL).state_dict(), plain)
    return folder


@pytest.fixture
def faces():
    return np.random.default_rng(0).integers(0, 256, (5, 48, 48), dtype=np.uint8)


class Still:
    """A detector that sees one face in one place, but for the third frame."""

    margin = 0.0

    def __init__(self):
        self.count = 0

    def __call__(self, image):
        self.count += 1
        return [] if self.count == 3 else [Box(10, 5, 30, 30)]


def check_close(one, other, tolerance):
    np.testing.assert_allclose(one.probabilities, other.probabilities, atol=tolerance)
    np.testing.assert_allclose(one.intensities, other.intensities, atol=tolerance)


@pytest.mark.parametrize("name", ["ms", "vgg"])
def test_a_prediction_holds_the_outputs_of_both_heads(shelf, faces, name):
    recognizer = Recognizer.load(shelf / f"{name}.safetensors", "cpu")
    prediction = recognizer.predict(faces)
    assert prediction.probabilities.shape == prediction.intensities.shape == (5, 7)
    np.testing.assert_allclose(prediction.probabilities.sum(axis=1), 1, rtol=1e-5)
    assert prediction.intensities.min() >= 0 and prediction.intensities.max() <= 1
    np.testing.assert_array_equal(recognizer.intensities(faces), prediction.intensities)
    mirrored = faces[:, :, ::-1].copy()
    both = recognizer.predict(faces, flip=True)
    check_close(both, recognizer.predict(mirrored, flip=True), 1e-5)
    empty = recognizer.predict(faces[:0])
    assert empty.intensities.shape == (0, 7)
    assert "RMSE of the intensities: 0.123" in recognizer.describe()


@pytest.mark.parametrize("name", ["ms", "vgg"])
def test_an_exported_file_gives_both_answers(shelf, faces, tmp_path, name):
    recognizer = Recognizer.load(shelf / f"{name}.safetensors", "cpu")
    export_onnx(recognizer, tmp_path / "x.onnx")
    exported = Recognizer.load(tmp_path / "x.onnx")
    for flip in (False, True):
        check_close(exported.predict(faces, flip), recognizer.predict(faces, flip), TOLERANCE)
    assert len(exported.predict(np.repeat(faces, 30, axis=0)).intensities) == 150


def test_a_model_without_intensities_is_told(shelf, faces, tmp_path):
    recognizer = Recognizer.load(shelf / "plain.safetensors", "cpu")
    assert recognizer.predict(faces).intensities is None
    with pytest.raises(UserError, match=r"gives no intensities, only classes: use ferplus-7-vgg"):
        recognizer.intensities(faces)
    with pytest.raises(UserError, match="no intensities"):
        Engine(recognizer, Still(), valence_from="intensities")
    image = tmp_path / "a.png"
    Image.fromarray(faces[0]).save(image)
    for command in (["predict", str(image)], ["video", "x.mp4", "--out", str(tmp_path)]):
        if command[0] == "video":
            write(tmp_path / "x.mp4", 5)
            command[1] = str(tmp_path / "x.mp4")
        done = run(
            app, [*command, "--model", str(shelf / "plain.safetensors"), "--valence", "intensities"]
        )
        assert done.exit_code == 2 and "gives no intensities" in done.output
        assert "Traceback" not in done.output


def test_the_table_names_emotion_and_strengths_and_keeps_gaps(shelf, tmp_path):
    recognizer = Recognizer.load(shelf / "ms.safetensors", "cpu")
    table = analyze(write(tmp_path / "a.mp4", 6), Engine(recognizer, Still()))
    assert list(table.columns) == [*COLUMNS, *INTENSITY_COLUMNS]
    assert table.face_found.tolist() == [True, True, False, True, True, True]
    seen = table[table.face_found]
    assert set(seen.emotion) <= set(FER_CLASSES)
    assert seen[STRENGTHS].notna().all().all() and seen[STRENGTHS].to_numpy().max() <= 1
    gap = table[~table.face_found].iloc[0]
    assert pd.isna(gap.emotion) and gap[STRENGTHS].isna().all()
    save_line(table, tmp_path / "line.csv")
    rows = list(csv.DictReader((tmp_path / "line.csv").open()))
    assert rows[2]["emotion"] == "" and rows[2]["intensity_happy"] == ""
    assert rows[0]["emotion"] == seen.emotion.iloc[0]


def test_a_plain_model_s_table_is_as_ever(shelf, tmp_path):
    recognizer = Recognizer.load(shelf / "plain.safetensors", "cpu")
    table = analyze(write(tmp_path / "a.mp4", 4), Engine(recognizer, Still()))
    assert list(table.columns) == COLUMNS
    shares = table[["p_negative", "p_neutral", "p_positive"]].to_numpy()
    np.testing.assert_allclose(table.valence, shares @ VALENCE_SIGN, atol=1e-6)


def test_valence_from_intensities_is_their_difference(shelf, tmp_path):
    recognizer = Recognizer.load(shelf / "vgg.safetensors", "cpu")
    path = write(tmp_path / "a.mp4", 6)
    lines = {
        source: analyze(path, Engine(recognizer, Still(), valence_from=source))
        for source in ("classes", "intensities")
    }
    strong = lines["intensities"]
    expected = valence_of_intensities(strong[STRENGTHS].to_numpy())
    np.testing.assert_allclose(strong.valence, expected, atol=1e-6)
    assert not np.allclose(lines["classes"].valence.dropna(), strong.valence.dropna())
    np.testing.assert_allclose(lines["classes"][STRENGTHS], strong[STRENGTHS], atol=1e-6)


def test_predict_prints_strengths_beside_the_classes(shelf, faces, tmp_path):
    Image.fromarray(faces[0]).save(tmp_path / "a.png")
    out = tmp_path / "out.csv"
    for extra in ([], ["--valence", "intensities"]):
        done = run(
            app,
            ["predict", str(tmp_path / "a.png"), "--faces-are-cropped", "--csv", str(out),
             "--model", str(shelf / "ms.safetensors"), *extra],
        )  # fmt: skip
        assert done.exit_code == 0, done.output
        (row,) = csv.DictReader(out.open())
        strengths = np.array([[float(row[name]) for name in STRENGTHS]])
        shares = {name: float(row[f"p_{name}"]) for name in FER_CLASSES}
        assert row["label"] == max(shares, key=shares.get)
        if extra:
            wanted = float(valence_of_intensities(strengths)[0])
            assert float(row["valence"]) == pytest.approx(wanted, abs=1e-5)
    shown = run(
        app, ["predict", str(tmp_path / "a.png"), "--faces-are-cropped", "--model",
              str(shelf / "ms.safetensors")],
    )  # fmt: skip
    assert "intensity_surprise" in shown.output


def test_bars_in_the_video_are_as_long_as_they_are_strong():
    rgb = np.full((360, 640, 3), 90, np.uint8)

    def lit(strong: float) -> int:
        one = observation(np.eye(7)[3], box=Box(300, 100, 120, 120), intensities=np.full(7, strong))
        image = video_writer.annotate(rgb, [one])
        return int((image == video_writer.BAR).all(axis=2).sum())

    weak, strong = lit(0.2), lit(0.8)
    assert weak > 0 and strong == pytest.approx(4 * weak, rel=0.1)
    plain = observation([0.1, 0.2, 0.7], box=Box(300, 100, 120, 120))
    assert not (video_writer.annotate(rgb, [plain]) == video_writer.BAR).all(axis=2).any()
    assert video_writer.annotate(np.zeros((20, 20, 3), np.uint8), [plain]).shape == (20, 20, 3)


def test_the_page_s_live_bars_are_those_of_each_face():
    def one(number, intensities):
        return observation(np.eye(7)[2], number, intensities=intensities)

    drawn = page.intensities([one(1, np.linspace(0, 0.6, 7)), one(2, np.zeros(7))])
    assert drawn.count("<table") == 2 and "Face 1: fear" in drawn
    assert "width:60.0%" in drawn and "<td>0.60</td>" in drawn
    assert page.intensities([one(1, None)]) == ""


def test_the_sample_of_columns_is_in_the_documentation():
    assert all(f"intensity_{name}" in INTENSITY_COLUMNS for name in FER_CLASSES)
    assert "INTENSITY_COLUMNS" in (analyze.__doc__ or "")
