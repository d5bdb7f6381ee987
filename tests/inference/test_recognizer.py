"""A model loads in one line, says where it comes from, and gives probabilities and valence."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from fer_lib.errors import UserError
from fer_lib.evaluation.valence import valence, valence_of_intensities, valence_probabilities
from fer_lib.labels import FER_CLASSES, TASKS, VALENCE_CLASSES
from fer_lib.models.card import Card
from fer_lib.models.forward import standardize
from fer_lib.models.msfernet import MSFERNet
from fer_lib.models.weights import save_weights
from fer_lib.params import Architecture
from fer_tools.inference.recognizer import Recognizer, find_weights, published_weights

SMALL = Architecture(first_width=4, second_width=4, widths=(8, 8))
FACES = np.random.default_rng(0).integers(0, 256, (5, 48, 48)).astype(np.uint8)


def save_random(path, task="fer13-7", study="sample", seed=0):
    """Weights of a small untrained network."""
    torch.manual_seed(seed)
    model = MSFERNet(len(TASKS[task]), SMALL)
    notes = {"validation_accuracy": 0.1234, "best_epoch": 3}
    card = Card("classifier", study, task, SMALL, {"epochs": 5, "lr": 0.002}, "abc1234", notes)
    save_weights(path, model.state_dict(), card)
    return path


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty project as the working folder."""
    (tmp_path / "params.yaml").write_text("studies: {}\n")
    (tmp_path / "fer_lib").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_probabilities_are_the_networks_softmax(tmp_path):
    recognizer = Recognizer.load(save_random(tmp_path / "w.safetensors"), device="cpu")
    got = recognizer.probabilities(FACES)
    assert got.shape == (5, 7) and got.dtype == np.float32
    np.testing.assert_allclose(got.sum(axis=1), 1, atol=1e-6)
    with torch.inference_mode():
        expected = recognizer.model(standardize(torch.from_numpy(FACES))).softmax(dim=1)
    np.testing.assert_allclose(got, expected.numpy(), atol=1e-6)
    assert np.abs(got[0] - got[1]).max() > 1e-4  # it looks at the faces


def test_mirror_images_can_be_averaged(tmp_path):
    recognizer = Recognizer.load(save_random(tmp_path / "w.safetensors"), device="cpu")
    mirrored = np.ascontiguousarray(FACES[:, :, ::-1])
    one, other = recognizer.probabilities(FACES), recognizer.probabilities(mirrored)
    assert np.abs(one - other).max() > 1e-4
    np.testing.assert_allclose(
        recognizer.probabilities(FACES, flip=True),
        recognizer.probabilities(mirrored, flip=True),
        atol=1e-5,
    )


def test_no_faces_give_no_rows(tmp_path):
    recognizer = Recognizer.load(save_random(tmp_path / "w.safetensors", "fer13-3"), device="cpu")
    assert recognizer.probabilities(FACES[:0]).shape == (0, 3)
    assert valence(recognizer.probabilities(FACES[:0]), recognizer.classes).shape == (0,)


@pytest.mark.parametrize("faces", [FACES[0], FACES[:, :40], FACES / 255.0])
def test_wrong_faces_are_refused(tmp_path, faces):
    recognizer = Recognizer.load(save_random(tmp_path / "w.safetensors"), device="cpu")
    with pytest.raises(ValueError, match=r"\(N, 48, 48\) uint8"):
        recognizer.probabilities(faces)


def test_describe_tells_where_the_model_comes_from(tmp_path):
    path = save_random(tmp_path / "w.safetensors", "fer13-3", "paper")
    text = Recognizer.load(path, device="cpu").describe()
    for fact in (
        "fer13-3", "paper study", "negative, neutral, positive", "validation accuracy: 12.3 %",
        "abc1234", "epochs 5", "lr 0.002", "best_epoch 3", str(path),
    ):  # fmt: skip
        assert fact in text, fact


def test_describe_names_the_file_from_the_projects_folder(project):
    save_random(project / "build" / "sample" / "fer13-7.safetensors")
    text = Recognizer.load("fer13-7", device="cpu").describe()
    assert "file: build/sample/fer13-7.safetensors" in text


def test_a_name_prefers_the_users_paper_run_then_the_published_weights(project):
    places = ["build/sample", "reports/paper/weights", "build/paper"]  # least preferred first
    for place in places:
        expected = save_random(project / place / "fer13-7.safetensors")
        assert find_weights("fer13-7") == expected
        assert Recognizer.load("fer13-7", device="cpu").path == expected


def test_a_name_without_weights_says_what_to_run(project):
    with pytest.raises(UserError, match=r"no trained fer13-3 was found .*fer study sample"):
        find_weights("fer13-3")


def test_an_unknown_name_lists_the_known_ones(project):
    with pytest.raises(UserError, match=r"fer14 is neither .* fer13-7, fer13-3, ckplus-7"):
        Recognizer.load("fer14")


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(UserError, match=r"gone.safetensors is missing: train it"):
        Recognizer.load(tmp_path / "gone.safetensors")


def test_truncated_weights_are_told(tmp_path):
    path = save_random(tmp_path / "w.safetensors")
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(UserError, match=r"w.safetensors is no model, or is damaged or cut short"):
        Recognizer.load(path)


def test_a_missing_device_is_told(tmp_path):
    path = save_random(tmp_path / "w.safetensors")
    for device in ("cuda:99", "toaster"):
        with pytest.raises(UserError, match=f"device '{device}' is not available"):
            Recognizer.load(path, device=device)


def test_valence_of_three_classes():
    rows = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.2, 0.5, 0.3]])
    np.testing.assert_allclose(valence(rows, VALENCE_CLASSES), [-1, 0, 1, 0.1])


def test_valence_of_seven_classes():
    one_hot = np.eye(7)
    expected = {"happy": 1, "neutral": 0, "surprise": 0}
    np.testing.assert_allclose(
        valence(one_hot, FER_CLASSES), [expected.get(name, -1) for name in FER_CLASSES]
    )
    # angry .1, disgust .1, fear .1, happy .3, sad .2, surprise .15, neutral .05
    row = np.array([[0.1, 0.1, 0.1, 0.3, 0.2, 0.15, 0.05]])
    np.testing.assert_allclose(valence_probabilities(row, FER_CLASSES), [[0.5, 0.05, 0.3]])
    np.testing.assert_allclose(valence(row, FER_CLASSES), [-0.2])


def test_valence_stays_within_bounds():
    draws = np.random.default_rng(0).dirichlet(np.full(7, 0.2), 500)
    scores = valence(draws, FER_CLASSES)
    assert scores.shape == (500,) and np.abs(scores).max() <= 1
    assert scores.min() < -0.9 and scores.max() > 0.9


def test_valence_of_intensities_keeps_its_range_and_knows_strength():
    values = np.zeros((4, 7))
    values[0, 3] = 1  # happy
    values[1, [0, 1, 2, 4]] = 0.9  # all negative at once
    values[2, 3] = 0.2  # barely happy
    values[3, [5, 6]] = 1  # surprise and neutral count for nothing
    np.testing.assert_allclose(valence_of_intensities(values), [1, -1, 0.2, 0])


def test_valence_refuses_what_it_does_not_know():
    with pytest.raises(ValueError, match="no valence"):
        valence(np.eye(2), ("yes", "no"))
    with pytest.raises(ValueError, match="probabilities for 3 classes"):
        valence(np.eye(7), VALENCE_CLASSES)


def test_starts_without_the_training_packages():
    slow = ("lightning", "papermill", "dvc", "torchvision", "matplotlib", "sklearn", "pandas")
    code = "import sys, fer_tools.inference.recognizer; "
    code += f"print([m for m in {slow} if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_published_weights_lie_in_the_reports(project):
    assert published_weights() == project / "reports" / "paper" / "weights"
