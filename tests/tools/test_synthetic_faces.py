"""The synthetic faces: reproducible, well-formed, detectable, and with the stated noise."""

import csv
from itertools import combinations, pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pandas as pd
import pytest

from fer_lib.labels import CKPLUS_EMOTIONS, FER_CLASSES, FER_PLUS_COLUMNS, FER_PLUS_TO_FER
from fer_tools.synthetic_faces.face import draw_face
from fer_tools.synthetic_faces.fer2013 import draw_row, plan_rows, write_fer2013
from fer_tools.synthetic_faces.identities import (
    ACTION_NAMES,
    EXPRESSIONS,
    Actions,
    Light,
    Pose,
    at_intensity,
    random_identity,
)
from fer_tools.synthetic_faces.other_style import write_jaffe
from fer_tools.synthetic_faces.poses import people_at_rest, turned_people
from fer_tools.synthetic_faces.world import draw_world, video_truth, write_videos

SEED = 3
SMALL = {
    "train": 150, "public_test": 40, "private_test": 40, "subjects": 7, "video_seconds": 4.0,
    "sequences_per_subject": 2, "frames_per_sequence": 4,
}  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("world")
    draw_world(root, seed=SEED, **SMALL)
    return root


@pytest.fixture(scope="module")
def plan() -> pd.DataFrame:
    """The rows of a `fer2013.csv` of full size, without drawing them."""
    rows: list[dict] = []
    for usage, size in {"Training": 2400, "PublicTest": 1000, "PrivateTest": 1000}.items():
        rows += plan_rows(SEED, usage, size, rows)
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def haar() -> cv2.CascadeClassifier:
    path = Path(cv2.data.haarcascades) / "haarcascade_frontalface_default.xml"
    return cv2.CascadeClassifier(str(path))


def all_bytes(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def read_truth(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, keep_default_na=False)


def read_images(folder: Path) -> np.ndarray:
    with (folder / "fer2013.csv").open(newline="") as file:
        rows = [row["pixels"].split(" ") for row in csv.DictReader(file)]
    return np.array(rows, dtype=np.int64)


def video_frames(root: Path) -> list[np.ndarray]:
    with av.open(str(root / "video" / "sample.mp4")) as video:
        return [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]


def test_same_seed_gives_the_same_bytes(world: Path, tmp_path: Path) -> None:
    draw_world(tmp_path, seed=SEED, **SMALL)
    first, second = all_bytes(world), all_bytes(tmp_path)
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def test_another_seed_gives_other_faces(world: Path, tmp_path: Path) -> None:
    write_fer2013(tmp_path, SEED + 1, {"Training": 20})
    before, after = read_images(world / "fer2013")[:20], read_images(tmp_path)
    same = (before == after).all(axis=1)
    assert same.sum() <= 1  # blank images are equal for every seed


def test_a_row_does_not_depend_on_earlier_rows(world: Path) -> None:
    truth = read_truth(world / "fer2013" / "truth.csv")
    row = truth[truth.duplicate_of < 0].iloc[-1]
    alone = draw_row(SEED, row.to_dict())
    np.testing.assert_array_equal(alone.ravel(), read_images(world / "fer2013")[row["row"]])


def test_fer2013_csv_has_kaggles_format(world: Path) -> None:
    table = pd.read_csv(world / "fer2013" / "fer2013.csv")
    assert list(table.columns) == ["emotion", "pixels", "Usage"]
    usages = {"Training": 150, "PublicTest": 40, "PrivateTest": 40}
    assert table.Usage.value_counts(sort=False).to_dict() == usages
    assert set(table.emotion) == set(range(7))
    images = read_images(world / "fer2013")
    assert images.shape == (230, 48 * 48)
    assert images.min() >= 0 and images.max() <= 255
    truth = read_truth(world / "fer2013" / "truth.csv")
    np.testing.assert_array_equal(truth.label, table.emotion)
    np.testing.assert_array_equal(truth.usage, table.Usage)


def test_votes_are_ten_and_follow_the_class(world: Path) -> None:
    table = pd.read_csv(world / "fer2013" / "fer2013new.csv", keep_default_na=False)
    truth = read_truth(world / "fer2013" / "truth.csv")
    assert tuple(table.columns) == ("Usage", "Image name", *FER_PLUS_COLUMNS)
    votes = table[list(FER_PLUS_COLUMNS)].to_numpy()
    assert (votes.sum(axis=1) == 10).all()
    strong = ((truth.intensity > 0.7) | (truth["class"] == "neutral")).to_numpy()
    plurality = FER_PLUS_TO_FER[votes[strong].argmax(axis=1)]
    true_class = truth["class"][strong].map(FER_CLASSES.index).to_numpy()
    assert (plurality == true_class).mean() > 0.95
    no_face = (truth["class"] == "none").to_numpy()
    assert (votes[no_face, -1] == 10).all()
    assert (table["Image name"] == "").to_numpy().tolist() == no_face.tolist()


def test_classes_are_imbalanced_but_none_is_rare(plan: pd.DataFrame) -> None:
    for _, rows in plan.groupby("usage"):
        shares = rows.label.value_counts(normalize=True).reindex(range(7))
        assert shares.idxmax() == FER_CLASSES.index("happy")
        assert shares.idxmin() == FER_CLASSES.index("disgust")
        assert shares.min() > 0.04


def test_noise_is_as_stated(plan: pd.DataFrame) -> None:
    named = plan[plan["class"] != "none"]
    wrong = named["class"].map(FER_CLASSES.index) != named.label
    assert (wrong == (named.label_was_flipped == 1)).all()
    rate = wrong.groupby(named.usage).mean()
    assert 0.025 < rate["Training"] < 0.06
    assert 0.004 < rate["PublicTest"] < 0.02
    assert 0.004 < rate["PrivateTest"] < 0.02
    assert 0.002 < plan.is_junk.mean() < 0.03
    assert set(plan.kind) == {"face", "watermark", "logo", "blank"}
    expressive = plan[~plan["class"].isin(["none", "neutral"])]
    assert expressive.intensity.between(0.4, 1).all()
    assert (plan.intensity[plan["class"] == "neutral"] == 0).all()


def test_copies_cross_the_splits_and_some_conflict(plan: pd.DataFrame) -> None:
    copies = plan[plan.duplicate_of >= 0]
    originals = plan.loc[copies.duplicate_of]
    assert (originals.usage == "Training").all()
    assert (originals["row"].to_numpy() < copies["row"].to_numpy()).all()
    assert (originals["class"].to_numpy() == copies["class"].to_numpy()).all()
    for usage in ("Training", "PublicTest", "PrivateTest"):
        assert 0.01 < (copies.usage == usage).sum() / (plan.usage == usage).sum() < 0.05
    assert 3 <= (originals.label.to_numpy() != copies.label.to_numpy()).sum() < len(copies) / 2
    within = copies[copies.usage == "Training"]
    assert 0.08 < within.label_was_flipped.mean() < 0.35  # far more often than other labels


def test_copies_are_identical_and_nothing_else_is(world: Path) -> None:
    truth, images = read_truth(world / "fer2013" / "truth.csv"), read_images(world / "fer2013")
    copies = truth[truth.duplicate_of >= 0]
    assert len(copies) > 0
    np.testing.assert_array_equal(images[copies["row"]], images[copies.duplicate_of])
    others = images[(truth.duplicate_of < 0) & (truth.kind != "blank")]
    assert len(np.unique(others, axis=0)) == len(others)


def test_subjects_are_in_one_split_only(plan: pd.DataFrame) -> None:
    originals = plan[plan.duplicate_of < 0]
    subjects = [set(rows.identity) for _, rows in originals.groupby("usage")]
    assert all(first.isdisjoint(second) for first, second in combinations(subjects, 2))


def face_of(act: Actions) -> np.ndarray:
    """One person, (120, 120) gray: face in the middle, wall at the left and right edges."""
    who = random_identity(np.random.default_rng(11))
    wall = np.full((120, 120, 3), 150, np.uint8)
    image = draw_face(wall, who, act, Pose((60.0, 48.0), 50.0), Light())
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float64)


def test_every_two_expressions_differ_only_in_the_face() -> None:
    faces = {
        (name, i): face_of(act) for name in EXPRESSIONS for i, act in enumerate(EXPRESSIONS[name])
    }
    for (first, a), (second, b) in combinations(faces.items(), 2):
        difference = np.abs(a - b)
        assert difference[30:100, 25:95].mean() > 1.5, (first, second)
        assert difference[:, :5].max() == 0, (first, second)


@pytest.mark.parametrize("name", ACTION_NAMES)
def test_every_action_is_visible(name: str) -> None:
    assert np.abs(face_of(Actions(**{name: 1.0})) - face_of(Actions())).max() > 20


def test_frowning_lowers_and_grieving_raises_the_inner_brows() -> None:
    def height(act: Actions) -> int:
        return int(face_of(act)[22:44, 67:72].mean(axis=1).argmin())  # darkest row = the brow

    assert height(Actions(frown=1)) >= height(Actions()) + 3
    assert height(Actions(inner_brow=1)) <= height(Actions()) - 3


@pytest.mark.parametrize("name", [n for n in EXPRESSIONS if n != "neutral"])
def test_an_expression_grows_with_its_intensity(name: str) -> None:
    neutral = face_of(Actions())
    for act in EXPRESSIONS[name]:
        faces = [face_of(at_intensity(act, intensity)) for intensity in (0, 0.25, 0.5, 1)]
        changes = [np.abs(face - neutral).mean() for face in faces]
        assert changes[0] == 0
        assert all(weak < strong for weak, strong in pairwise(changes)), (name, changes)


def test_ckplus_tree_has_the_release_layout(world: Path) -> None:
    truth = read_truth(world / "ckplus" / "truth.csv")
    assert truth.subject.nunique() == 7 and truth.sequence.nunique() == 14
    assert "contempt" not in set(truth["class"])
    for name, rows in truth.groupby("sequence"):
        place = Path(name[:4]) / name[5:]
        images = sorted((world / "ckplus" / "cohn-kanade-images" / place).iterdir())
        assert [p.name for p in images] == [f"{name}_{f:08d}.png" for f in rows.frame]
        assert cv2.imread(str(images[0]), cv2.IMREAD_UNCHANGED).shape == (180, 240)
        assert rows.intensity.iloc[0] == 0
        assert rows.intensity.is_monotonic_increasing and 0.7 < rows.intensity.iloc[-1] <= 1
        labels = list((world / "ckplus" / "Emotion" / place).iterdir())
        assert len(labels) == rows.is_labelled.iloc[0]
        for label in labels:
            assert label.name == f"{name}_{len(rows):08d}_emotion.txt"
            number = CKPLUS_EMOTIONS.index(rows.emotion.iloc[0])
            assert label.read_text() == f"   {number}.0000000e+00\n"
    assert set(truth.is_labelled) == {0, 1}


def test_haar_finds_the_faces_of_ckplus(world: Path, haar: cv2.CascadeClassifier) -> None:
    paths = sorted((world / "ckplus" / "cohn-kanade-images").rglob("*.png"))
    found = [len(haar.detectMultiScale(cv2.imread(str(p), 0), 1.1, 5)) == 1 for p in paths]
    assert len(found) == 56
    assert np.mean(found) >= 0.95


def test_haar_finds_the_face_of_the_video_only_while_it_is_present(
    world: Path, haar: cv2.CascadeClassifier
) -> None:
    truth = read_truth(world / "video" / "sample_truth.csv")
    grays = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in video_frames(world)]
    assert len(grays) == len(truth) == 60
    assert grays[0].shape == (360, 480)
    found = np.array([len(haar.detectMultiScale(g, 1.1, 5, minSize=(60, 60))) for g in grays])
    present = truth.face_present.to_numpy() == 1
    assert 0.03 < (~present).mean() < 0.25
    assert (found[present] == 1).mean() >= 0.95
    assert (found[~present] > 0).mean() < 0.3  # half a face may still be found at the rim


def test_the_valence_of_the_video_matches_its_classes() -> None:
    truth = pd.DataFrame(video_truth(12.0))
    assert len(truth) == 180
    assert truth.frame.tolist() == list(range(180))
    assert truth.time_s.iloc[-1] == pytest.approx(179 / 15, abs=1e-3)
    assert truth.valence.between(-1, 1).all()
    assert truth.valence.max() > 0.95 and truth.valence.min() < -0.95
    assert set(truth["class"]) == {"neutral", "sad", "happy", "angry"}
    sign = truth["class"].map({"neutral": 0, "happy": 1, "sad": -1, "angry": -1})
    np.testing.assert_allclose(truth.valence, sign * truth.intensity)
    assert (truth["class"] == "neutral").equals(truth.intensity == 0)
    assert truth.valence.diff().abs().max() < 0.2  # it glides
    assert truth.face_present.diff().abs().sum() == 2  # one gap


def test_the_other_style_repeats_and_faces_are_found(world, tmp_path, haar):
    folder = world / "other" / "jaffe"
    write_jaffe(tmp_path / "again", SEED)
    assert all_bytes(folder) == all_bytes(tmp_path / "again")
    truth = read_truth(folder / "truth.csv")
    assert len(truth) == 213 and truth["class"].value_counts().min() == 30
    assert (truth.intensity[truth["class"] == "neutral"] == 0).all()
    some = [cv2.imread(str(folder / name), cv2.IMREAD_GRAYSCALE) for name in truth.file[::10]]
    found = [len(haar.detectMultiScale(image, 1.1, 5, minSize=(51, 51))) for image in some]
    assert np.mean(np.array(found) == 1) > 0.8


def test_wider_lines_are_darker():
    who = random_identity(np.random.default_rng(1))
    wall = np.full((96, 96, 3), 200, np.uint8)
    thin, wide = (
        draw_face(wall, who, Actions(smile=1), Pose((48, 40), 50), Light(), lines)
        for lines in (1.0, 3.0)
    )
    assert wide.mean() < thin.mean() - 1


def test_further_videos_show_other_people_and_other_emotions(tmp_path):
    videos = write_videos(tmp_path, SEED, 2, 2.0)
    assert [video.name for video in videos] == ["drawn_1.mp4", "drawn_2.mp4"]
    truths = [read_truth(video.with_name(f"{video.stem}_truth.csv")) for video in videos]
    shown = [set(truth["class"]) for truth in truths]
    assert shown[0] != shown[1] and all({"happy", "neutral"} < emotions for emotions in shown)
    # The same story: only which negative emotion it is differs.
    np.testing.assert_array_equal(truths[0].valence, truths[1].valence)
    frames = []
    for video, truth in zip(videos, truths, strict=True):
        with av.open(str(video)) as container:
            frames.append([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
        assert len(frames[-1]) == len(truth)
    assert np.abs(frames[0][0].astype(int) - frames[1][0]).mean() > 5
    again = write_videos(tmp_path / "again", SEED, 2, 2.0)
    assert [video.read_bytes() for video in videos] == [video.read_bytes() for video in again]


def test_turned_people_are_the_same_people_turned(haar):
    straight, labels = turned_people(SEED, 2, 0)
    turned, same = turned_people(SEED, 2, 40)
    assert straight.shape == turned.shape == (14, 160, 160)
    assert labels.tolist() == same.tolist() == [*range(7)] * 2
    # Background stays, the face moves.
    corner = np.s_[:, :20, :20]
    np.testing.assert_array_equal(straight[corner], turned[corner])
    assert np.abs(straight.astype(int) - turned)[:, 40:110, 50:110].mean() > 10

    def found(images):
        return sum(len(haar.detectMultiScale(image, 1.1, 5, minSize=(32, 32))) for image in images)

    assert found(turned) <= found(straight) and found(straight) >= 13


def test_people_at_rest_differ_more_between_than_within():
    images, person = people_at_rest(SEED, 3, 4)
    assert images.shape == (12, 160, 160) and person.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    flat = images.reshape(3, 4, -1).astype(float)
    within = np.abs(flat[:, 0] - flat[:, 1]).mean()
    between = np.abs(flat[0, 0] - flat[1, 0]).mean()
    assert between > 2 * within
