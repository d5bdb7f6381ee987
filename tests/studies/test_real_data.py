"""The readers on the real files, where a user has put them under data/raw (see data/README.md)."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from fer_lib.data.arrays import LeftOut
from fer_lib.data.audit import audit, image_groups
from fer_lib.data.ckplus import read_ckplus
from fer_lib.data.fer2013 import read_fer2013
from fer_lib.data.ferplus import targets_from_votes
from fer_lib.data.splits import random_folds, subject_folds, subjects_on_both_sides
from fer_lib.errors import UserError
from fer_lib.evaluation.intensity import rmse, targets_from_positions
from fer_lib.evaluation.published import read_figures
from fer_lib.labels import CKPLUS_EMOTIONS, CKPLUS_TO_FER, FER_CLASSES, remap_valence
from fer_lib.models.forward import predict_logits
from fer_lib.models.weights import load_model
from fer_tools.carry_over.collections import READERS, folder_of

RAW = Path(__file__).parents[2] / "data" / "raw"


def wanted(*names: str):
    """Skip, with a reason, where the user's copy lacks one of the files."""
    missing = [name for name in names if not (RAW / name).exists()]
    reason = f"data/raw lacks {', '.join(missing)}; data/README.md says where to get it"
    return pytest.mark.skipif(bool(missing), reason=reason)


needs_fer2013 = wanted("fer2013/fer2013.csv")
needs_fer_plus = wanted("fer2013/fer2013.csv", "fer2013/fer2013new.csv")
needs_ck48 = wanted("ckplus/CK+48")


@pytest.fixture(scope="module")
def fer13():
    return read_fer2013(RAW / "fer2013")


@pytest.fixture(scope="module")
def found(fer13):
    return audit(fer13)


@pytest.fixture(scope="module")
def ck48():
    return read_ckplus(RAW / "ckplus")


@needs_fer2013
def test_fer2013_counts(fer13, found):
    assert fer13.images.shape == (35_887, 48, 48) and fer13.images.dtype == np.uint8
    assert found["splits"] == {"Training": 28_709, "PublicTest": 3_589, "PrivateTest": 3_589}
    assert {split: list(counts.values()) for split, counts in found["classes"].items()} == {
        "Training": [3995, 436, 4097, 7215, 4830, 3171, 4965],
        "PublicTest": [467, 56, 496, 895, 653, 415, 607],
        "PrivateTest": [491, 55, 528, 879, 594, 416, 626],
    }
    assert list(found["classes"]["Training"]) == list(FER_CLASSES)


@needs_fer2013
def test_fer2013_pixels(fer13):
    """The fast reading of some rows against the plainest one."""
    wanted_rows = {0, 511, 512, 20_000, 35_886}
    with open(RAW / "fer2013" / "fer2013.csv") as lines:
        next(lines)
        for row, line in enumerate(lines):
            if row in wanted_rows:
                emotion, pixels, usage = line.strip().split(",")
                face = np.array(pixels.split(), dtype=np.int64).reshape(48, 48)
                np.testing.assert_array_equal(fer13.images[row], face)
                assert fer13.labels[row] == int(emotion) and fer13.usage[row] == usage


@needs_fer2013
def test_fer2013_duplicates_conflicts_and_blanks(found):
    assert found["duplicates"]["groups"] == 1_514
    assert found["duplicates"]["images"] == 3_365
    assert found["duplicates"]["groups_across_splits"] == 557
    assert found["duplicates"]["test_images_in_training"] == {"PublicTest": 280, "PrivateTest": 288}
    assert found["conflicts"]["groups"] == 57
    assert found["blank"]["images"] == 13


@needs_fer_plus
def test_fer_plus(fer13, found):
    assert fer13.has_votes and (fer13.votes.sum(axis=1) <= 10).all()
    assert round(found["fer_plus"]["share_without_majority"], 2) == 0.23
    assert found["fer_plus"]["images_not_a_face"] == 176
    # Rows match: where taggers agree on happiness, FER2013 mostly says happy as well.
    happy = fer13.votes[:, 1] >= 9
    assert (fer13.labels[happy] == FER_CLASSES.index("happy")).mean() > 0.9


@needs_fer2013
def test_fer2013_written_as_folders_reads_back(fer13, tmp_path):
    some = fer13.select(np.r_[0:40, 29_000:29_020, 34_000:34_020])
    for label, image, usage, row in zip(
        some.labels, some.images, some.usage, some.row, strict=True
    ):
        side = "train" if usage == "Training" else "test"
        file = tmp_path / side / FER_CLASSES[label] / f"{usage}_{row}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file, quality=95)
    back = read_fer2013(tmp_path)
    files = sorted(tmp_path.glob("*/*/*.jpg"))
    rows = np.array([int(file.stem.split("_")[1]) for file in files])
    np.testing.assert_array_equal(back.labels, fer13.labels[rows])
    np.testing.assert_array_equal(back.usage, fer13.usage[rows])
    difference = np.abs(back.images.astype(int) - fer13.images[rows])
    assert difference.mean() < 3  # JPEG


@needs_ck48
def test_ck48_counts(ck48):
    counts = np.bincount(ck48.labels, minlength=7).tolist()
    assert dict(zip(FER_CLASSES, counts, strict=True)) == {
        "angry": 135, "disgust": 177, "fear": 75, "happy": 207, "sad": 84, "surprise": 249,
        "neutral": 0,
    }  # fmt: skip
    assert len(ck48) == 927 and ck48.left_out == LeftOut(54, 18, 0, 0)
    assert len(np.unique(ck48.sequence)) == 309
    everyone = {file.name[:4] for file in (RAW / "ckplus" / "CK+48").glob("*/*.png")}
    assert len(everyone) == 118  # with contempt
    assert len(np.unique(ck48.subject)) == 106 and set(ck48.subject) <= everyone
    assert (np.unique(ck48.sequence, return_counts=True)[1] == 3).all()
    assert len(np.unique(image_groups(ck48.images))) > 900


@needs_ck48
@pytest.mark.parametrize("seed", [0, 1])
def test_ck48_folds(ck48, seed):
    clean = subject_folds(ck48.subject, ck48.labels, 10, seed)
    assert subjects_on_both_sides(ck48.subject, clean) == []
    assert np.bincount(clean).min() > 70
    for fold in range(10):
        assert set(ck48.labels[clean == fold]) == {0, 1, 2, 3, 4, 5}
    leaky = random_folds(ck48.labels, 10, seed)
    assert len(subjects_on_both_sides(ck48.subject, leaky)) == 106


@needs_ck48
def test_ck48_shown_as_a_release_tree(ck48, tmp_path):
    """Faces set into large frames, in the release's layout, come back framed as in CK+48."""
    codes = {CKPLUS_TO_FER[name]: i for i, name in enumerate(CKPLUS_EMOTIONS)}
    sequences = np.unique(ck48.sequence)[::20]
    for name in sequences:
        subject, session = name.split("_")
        frames = tmp_path / "cohn-kanade-images" / subject / session
        frames.mkdir(parents=True)
        of_sequence = ck48.select(ck48.sequence == name)
        for face, number in zip(of_sequence.images, of_sequence.frame, strict=True):
            frame = cv2.copyMakeBorder(
                cv2.resize(face, (288, 288), interpolation=cv2.INTER_CUBIC),
                100, 102, 176, 176, cv2.BORDER_REPLICATE,
            )  # fmt: skip
            Image.fromarray(frame).save(frames / f"{name}_{number:08d}.png")
        label = tmp_path / "Emotion" / subject / session / f"{name}_{number:08d}_emotion.txt"
        label.parent.mkdir(parents=True)
        label.write_text(f"   {codes[of_sequence.labels[0]]:.7e}\n")
    back = read_ckplus(tmp_path)
    assert back.left_out.faceless_images <= 1
    original = dict(zip(zip(ck48.sequence, ck48.frame, strict=True), range(len(ck48)), strict=True))
    places = [original[key] for key in zip(back.sequence, back.frame, strict=True)]
    np.testing.assert_array_equal(back.labels, ck48.labels[places])
    alike = [
        np.corrcoef(a.ravel(), b.ravel())[0, 1]
        for a, b in zip(back.images, ck48.images[places], strict=True)
    ]
    assert np.median(alike) > 0.9


@needs_fer_plus
def test_intensity_targets_of_the_real_votes(fer13):
    """Counts by hand from fer2013new.csv; the one row of nine votes is read like the others."""
    targets, left_out = targets_from_votes(fer13.votes)
    private = fer13.usage == "PrivateTest"
    assert left_out[private & (left_out != "")].value_counts().to_dict() == {
        "contempt": 27, "unknown": 27, "NF": 16,
    }  # fmt: skip
    (odd,) = np.flatnonzero(fer13.votes.sum(axis=1) == 9)
    assert targets[odd].sum() == pytest.approx(fer13.votes[odd, :7].sum() / 9)
    used, learned = (
        targets[(left_out == "") & private],
        (left_out == "") & (fer13.usage == "Training"),
    )
    assert rmse(used, targets[learned].mean(axis=0)) == pytest.approx(0.253, abs=0.001)
    with pytest.raises(UserError, match="CK\\+48 holds only the last frames"):
        targets_from_positions(read_ckplus(RAW / "ckplus"))


@needs_fer2013
@pytest.mark.parametrize("task", ["fer13-7", "fer13-3"])
def test_published_weights_have_the_published_figure(fer13, task):
    record = Path(__file__).parents[2] / "reports" / "paper"
    key = f"{task.replace('-', '_')}.private.accuracy"
    figure = read_figures(record / "summary.json")[key]
    network, _ = load_model(record / "weights" / f"{task}.safetensors")
    labels = fer13.labels if task == "fer13-7" else remap_valence(fer13.labels)
    asked = (fer13.usage == "PrivateTest") & (labels >= 0)
    assert asked.sum() == figure["n"]
    logits = predict_logits(network, torch.from_numpy(fer13.images[asked]))
    right = int((logits.argmax(dim=1).numpy() == labels[asked]).sum())
    # On another machine sums are rounded otherwise, and a face between two classes may go over.
    assert right == pytest.approx(figure["value"] * figure["n"] / 100, abs=2)


COLLECTIONS = {"jaffe": (213, 10), "kdef": (980, 70), "rafdb": (3068, None)}  # images, people


@pytest.mark.parametrize("name", COLLECTIONS)
def test_a_collection_is_read_whole(name):
    folder = folder_of(RAW, name)
    if not folder.exists():
        pytest.skip(f"data/raw lacks other/{name}; data/README.md says where to get it")
    found, (images, people) = READERS[name](folder), COLLECTIONS[name]
    assert len(found) == images and set(found.labels) == set(range(7))
    assert people == (None if found.subject is None else len(set(found.subject)))
    assert next(found.images()).dtype == np.uint8
