"""The readers on small hand-made copies of each publisher's layout, right and wrong.

Every wrong input must give one sentence with the file, the line where there is one, and a remedy.
"""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer_lib.data import ckplus, fer2013
from fer_lib.data.arrays import LeftOut
from fer_lib.data.ckplus import haar_crop, read_ckplus
from fer_lib.data.fer2013 import read_fer2013
from fer_lib.errors import UserError
from fer_lib.faces.detection import Box, to_48
from fer_lib.labels import FER_CLASSES, FER_PLUS_COLUMNS

LABELS = [3, 0, 6, 5, 1, 2, 4]
USAGE = ["Training"] * 4 + ["PublicTest"] + ["PrivateTest"] * 2
FACES = np.random.default_rng(0).integers(0, 256, (7, 48, 48)).astype(np.uint8)
FACES[5] = FACES[1]  # a test image that stands in Training


def pixels(face: np.ndarray) -> str:
    return " ".join(map(str, face.ravel().tolist()))


def fer_rows() -> list[list[str]]:
    rows = zip(LABELS, FACES, USAGE, strict=True)
    return [[str(label), pixels(face), usage] for label, face, usage in rows]


def write_csv(path: Path, rows: list[list[str]], header: str = "emotion,pixels,Usage") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *map(",".join, rows)]) + "\n")
    return path


def vote_rows() -> list[list[str]]:
    votes = np.random.default_rng(1).multinomial(10, [0.1] * 10, 7).astype(str)
    return [[usage, f"fer{i:07d}.png", *votes[i]] for i, usage in enumerate(USAGE)]


VOTE_HEADER = ",".join(["Usage", "Image name", *FER_PLUS_COLUMNS])


def fails(read, root: Path, *fragments: str) -> None:
    """`read(root)` raises one sentence that holds all fragments."""
    with pytest.raises(UserError) as caught:
        read(root)
    message = str(caught.value)
    for fragment in fragments:
        assert fragment in message
    assert "\n" not in message and not message.endswith(".") and len(message) < 400


# --- fer2013.csv ---------------------------------------------------------------------------------


def test_csv(tmp_path):
    write_csv(tmp_path / "fer2013.csv", fer_rows())
    data = read_fer2013(tmp_path)
    np.testing.assert_array_equal(data.images, FACES)
    assert data.images.dtype == np.uint8 and data.labels.dtype == data.row.dtype == np.int64
    assert data.labels.tolist() == LABELS and data.usage.tolist() == USAGE
    assert data.row.tolist() == list(range(7))
    assert not data.has_votes and (data.votes == -1).all() and data.votes.shape == (7, 10)
    assert np.flatnonzero(data.duplicate_of_training).tolist() == [5]


def test_every_grey_value_is_read(tmp_path):
    rows = fer_rows()
    ramp = np.arange(48 * 48).reshape(48, 48) % 256
    rows[2][1] = pixels(ramp)
    write_csv(tmp_path / "fer2013.csv", rows)
    np.testing.assert_array_equal(read_fer2013(tmp_path).images[2], ramp)


@pytest.mark.parametrize("chunk", [1, 2, 3, 7])
def test_chunks_do_not_show(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(fer2013, "CHUNK", chunk)
    write_csv(tmp_path / "fer2013.csv", fer_rows())
    data = read_fer2013(tmp_path)
    np.testing.assert_array_equal(data.images, FACES)
    assert data.labels.tolist() == LABELS
    rows = fer_rows()
    rows[5][0] = "9"
    write_csv(tmp_path / "fer2013.csv", rows)
    fails(read_fer2013, tmp_path, "line 7")


def test_any_white_space_separates_pixels(tmp_path):
    rows = fer_rows()
    rows[2][1] = pixels(FACES[2]).replace(" ", "\u00a0  ")
    rows[3][1] = pixels(FACES[3]).replace(" ", "\t")
    write_csv(tmp_path / "fer2013.csv", rows)
    np.testing.assert_array_equal(read_fer2013(tmp_path).images[2:4], FACES[2:4])


def test_a_missing_pixel_is_not_made_up_by_the_next_row(tmp_path):
    rows = fer_rows()
    rows[2][1] = pixels(FACES[2].ravel()[:-1])
    rows[3][1] += " 7"
    write_csv(tmp_path / "fer2013.csv", rows)
    fails(read_fer2013, tmp_path, "line 4: 2303 pixels")


def test_other_column_order_spaces_quotes_and_windows_lines(tmp_path):
    lines = ["\ufeffemotion, Usage, pixels"]  # as in Kaggle's icml_face_data.csv, saved by Excel
    lines += [f'{label}, {usage} ,"{face}"' for label, face, usage in fer_rows()]
    (tmp_path / "fer2013.csv").write_bytes("\r\n".join(lines).encode("utf-8"))
    np.testing.assert_array_equal(read_fer2013(tmp_path).images, FACES)


def test_blank_lines_and_double_spaces_are_forgiven(tmp_path):
    rows = fer_rows()
    rows[1][1] = " " + rows[1][1].replace(" ", "  ")
    path = write_csv(tmp_path / "fer2013.csv", rows)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:3], "", *lines[3:], "", ""]))
    data = read_fer2013(tmp_path)
    np.testing.assert_array_equal(data.images, FACES)
    assert data.row.tolist() == list(range(7))


def test_a_line_number_is_the_editors_even_after_a_blank_line(tmp_path):
    rows = fer_rows()
    rows[4][0] = "9"
    path = write_csv(tmp_path / "fer2013.csv", rows)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:3], "", *lines[3:]]))
    fails(read_fer2013, tmp_path, "line 7", "'9'")


REPAIR = "correct or remove the row, or get the file again (data/README.md)"


@pytest.mark.parametrize(
    ("column", "text", "fragments"),
    [
        (0, "9", ["emotion is '9', expected a whole number from 0 to 6"]),
        (0, "-1", ["emotion is '-1'"]),
        (0, "happy", ["emotion is 'happy'"]),
        (0, "", ["emotion is ''"]),
        (0, "3.5", ["emotion is '3.5'"]),
        (1, pixels(FACES[0].ravel()[:-1]), ["2303 pixels, expected 2304 (48x48)"]),
        (1, pixels(FACES[0]) + " 1", ["2305 pixels, expected 2304"]),
        (1, "", ["0 pixels"]),
        (
            1,
            "x " + pixels(FACES[0].ravel()[1:]),
            ["pixel 1 is 'x', expected a whole number from 0"],
        ),
        (1, pixels(FACES[0].ravel()[1:]) + " 300", ["pixel 2304 is '300'", "0 to 255"]),
        (1, pixels(FACES[0].ravel()[1:]) + " 256", ["pixel 2304 is '256'"]),
        (1, pixels(FACES[0].ravel()[1:]) + " 1000", ["pixel 2304 is '1000'"]),
        (1, "-1 " + pixels(FACES[0].ravel()[1:]), ["pixel 1 is '-1'"]),
        (1, "1.5 " + pixels(FACES[0].ravel()[1:]), ["pixel 1 is '1.5'"]),
        (1, "0001 " + pixels(FACES[0].ravel()[1:]) + "²", ["pixel 2304 is"]),
        (2, "Test", ["Usage is 'Test', expected Training or PublicTest or PrivateTest"]),
        (2, "", ["Usage is ''"]),
    ],
)
@pytest.mark.parametrize("row", [0, 3, 6])
def test_a_bad_cell(tmp_path, column, text, fragments, row):
    rows = fer_rows()
    rows[row][column] = text
    path = write_csv(tmp_path / "fer2013.csv", rows)
    fails(read_fer2013, tmp_path, f"{path}, line {row + 2}", *fragments, REPAIR)


@pytest.mark.parametrize("split", ["Training", "PublicTest", "PrivateTest"])
def test_an_empty_split(tmp_path, split):
    path = write_csv(tmp_path / "fer2013.csv", [r for r in fer_rows() if r[2] != split])
    fails(read_fer2013, tmp_path, str(path), f"holds no {split} image", "data/README.md")


@pytest.mark.parametrize(
    ("content", "fragments"),
    [
        ("", ["is empty: data/README.md"]),
        (b"\xef\xbb\xbf", ["is empty: data/README.md"]),
        ("emotion,pixels,Usage\n", ["holds no rows"]),
        ("emotion,pixels\n0,1 2\n", ["line 1", "column(s) Usage missing, found emotion, pixels"]),
        (
            "label,image\n0,1 2\n",
            ["column(s) emotion, pixels, Usage missing", "must name emotion,"],
        ),
        ("emotion,pixels,Usage\n0,1,Training\n0,1,2,Training\n", ["3 fields in line 3", REPAIR]),
        (
            "emotion,pixels,Usage\n0,1,2,Training\n",
            ["more fields in line 2 than in line 1", REPAIR],
        ),
        ('emotion,pixels,Usage\n0,"1 2,Training\n', ["not a well-formed csv", REPAIR]),
        (b"\x1f\x8b\x08\x00\xff\xfe", ["is not UTF-8 text", "data/README.md"]),
        ("emotion,pixels,Usage\n".encode("utf-16"), ["is not UTF-8 text", "data/README.md"]),
        ("emotion,pixels,Usage\n0,1 2,Trainingé".encode("latin1"), ["is not UTF-8 text"]),
    ],
)
def test_a_file_of_another_kind(tmp_path, content, fragments):
    path = tmp_path / "fer2013.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    fails(read_fer2013, tmp_path, str(path), *fragments)


def test_a_byte_order_mark_and_quotes_are_forgiven(tmp_path):
    path = write_csv(tmp_path / "fer2013.csv", fer_rows(), '"emotion","pixels","Usage"')
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    np.testing.assert_array_equal(read_fer2013(tmp_path).images, FACES)


def make_folder(path):
    path.mkdir()
    return "is a folder, not a file"


def make_pipe(path):
    os.mkfifo(path)
    return "is a pipe or the like, not a file"


def make_dead_link(path):
    path.symlink_to("nowhere")
    return "is missing"


@pytest.mark.timeout(20)  # whoever opens a pipe waits for its other end
@pytest.mark.parametrize("make", [make_folder, make_pipe, make_dead_link])
def test_what_is_no_file_is_not_read(tmp_path, make):
    path = tmp_path / "fer2013.csv"
    fails(read_fer2013, tmp_path, str(path), make(path), "data/README.md")
    path.rmdir() if path.is_dir() else path.unlink()
    write_csv(path, fer_rows())
    votes = tmp_path / "fer2013new.csv"
    fails(read_fer2013, tmp_path, str(votes), make(votes), "data/README.md")


def test_missing_folder_and_missing_file(tmp_path):
    fails(read_fer2013, tmp_path / "nowhere", "nowhere is missing", "data/README.md")
    fails(read_fer2013, tmp_path, "neither fer2013.csv nor the folders", "data/README.md")
    fails(fer2013.read_fer2013_csv, tmp_path / "x.csv", "x.csv is missing", "data/README")


# --- FER+ ----------------------------------------------------------------------------------------


def test_votes(tmp_path):
    write_csv(tmp_path / "fer2013.csv", fer_rows())
    rows = vote_rows()
    rows[2][1] = ""  # FER+ names no image where it saw no face
    write_csv(tmp_path / "fer2013new.csv", rows, VOTE_HEADER)
    data = read_fer2013(tmp_path)
    assert data.has_votes and data.votes.dtype == np.int64
    assert data.votes.tolist() == [[int(v) for v in row[2:]] for row in rows]


def bad_votes_short(rows):
    rows.pop()
    return ["has 6 rows but fer2013.csv has 7", "get both whole"]


def bad_votes_swapped(rows):
    rows[3], rows[4] = rows[4], rows[3]
    return ["line 5: Usage is not Training as in fer2013.csv", "original order"]


def bad_votes_letter(rows):
    rows[1][4] = "x"
    return ["line 3: surprise is 'x', expected a whole number", REPAIR]


def bad_votes_usage(rows):
    rows[1][0] = "Validation"
    return ["line 3: Usage is 'Validation'", REPAIR]


@pytest.mark.parametrize(
    "spoil", [bad_votes_short, bad_votes_swapped, bad_votes_letter, bad_votes_usage]
)
def test_votes_that_do_not_fit(tmp_path, spoil):
    write_csv(tmp_path / "fer2013.csv", fer_rows())
    rows = vote_rows()
    fragments = spoil(rows)
    path = write_csv(tmp_path / "fer2013new.csv", rows, VOTE_HEADER)
    fails(read_fer2013, tmp_path, str(path), *fragments)


def test_votes_with_other_columns(tmp_path):
    write_csv(tmp_path / "fer2013.csv", fer_rows())
    write_csv(tmp_path / "fer2013new.csv", vote_rows(), VOTE_HEADER.replace("NF", "none"))
    fails(read_fer2013, tmp_path, "fer2013new.csv, line 1: column(s) NF missing")


# --- the folder edition --------------------------------------------------------------------------


def write_folders(root: Path) -> list[Path]:
    """The seven faces as lossless images in the folder edition's layout; returns their paths."""
    paths = []
    for i, (label, face, usage) in enumerate(zip(LABELS, FACES, USAGE, strict=True)):
        side = "train" if usage == "Training" else "test"
        paths.append(root / side / FER_CLASSES[label] / f"{usage}_{10_000_000 + i}.png")
        paths[-1].parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(face).save(paths[-1])
    return paths


def test_folders(tmp_path):
    paths = write_folders(tmp_path)
    (tmp_path / "train" / ".DS_Store").touch()
    (paths[0].parent / "Thumbs.db").touch()
    (paths[0].parent / "._hidden.png").touch()  # macOS leaves such files in archives
    data = read_fer2013(tmp_path)
    order = sorted(range(7), key=lambda i: paths[i])
    np.testing.assert_array_equal(data.images, FACES[order])
    assert data.labels.tolist() == [LABELS[i] for i in order]
    assert data.usage.tolist() == [USAGE[i] for i in order]
    assert data.row.tolist() == list(range(7)) and not data.has_votes
    assert data.duplicate_of_training.sum() == 1


def test_the_csv_comes_first(tmp_path):
    write_folders(tmp_path)
    write_csv(tmp_path / "fer2013.csv", fer_rows())
    np.testing.assert_array_equal(read_fer2013(tmp_path).images, FACES)


def test_folders_go_without_votes(tmp_path):
    write_folders(tmp_path)
    write_csv(tmp_path / "fer2013new.csv", vote_rows(), VOTE_HEADER)
    with pytest.warns(UserWarning, match=r"fer2013new.csv is not used"):
        assert not read_fer2013(tmp_path).has_votes


def bad_folder_name(paths):
    paths[0].parent.rename(paths[0].parent.with_name("joy"))
    return ["joy is not named after an emotion: rename it to one of angry, disgust"]


def bad_folder_file_name(paths):
    paths[4].rename(paths[4].with_name("image_1.png"))
    return ["image_1.png: the name starts with neither PublicTest nor PrivateTest", "original file"]


def bad_folder_empty_image(paths):
    paths[0].write_bytes(b"")
    return [f"{paths[0]} is empty", "remove it"]


def bad_folder_unreadable_image(paths):
    paths[0].write_text("no image")
    return [f"{paths[0]} is not an image", "name another"]


def bad_folder_one_pixel(paths):
    Image.fromarray(FACES[0][:1, :1]).save(paths[0])
    return [f"{paths[0]} is only 1x1 pixels", "remove it"]


def bad_folder_pipe(paths):
    paths[0].unlink()
    os.mkfifo(paths[0])
    return [f"{paths[0]} is a pipe"]


def bad_folder_size(paths):
    Image.fromarray(FACES[0][:40]).save(paths[0])
    return [f"{paths[0]} is 48x40 pixels, but FER2013's images are 48x48", "remove this one"]


def bad_folder_no_public(paths):
    paths[4].unlink()
    return ["holds no PublicTest image", "data/README.md"]


def bad_folder_no_test(paths):
    for path in paths[4:]:
        path.unlink()
        path.parent.rmdir()
    paths[4].parent.parent.rmdir()
    return ["test is missing", "data/README.md"]


@pytest.mark.parametrize(
    "spoil",
    [
        bad_folder_name, bad_folder_file_name, bad_folder_empty_image, bad_folder_unreadable_image,
        bad_folder_one_pixel, bad_folder_pipe, bad_folder_size, bad_folder_no_public,
        bad_folder_no_test,
    ],
)  # fmt: skip
def test_bad_folders(tmp_path, spoil):
    fragments = spoil(write_folders(tmp_path))
    fails(read_fer2013, tmp_path, *fragments)


def test_empty_folders(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "test").mkdir()
    fails(read_fer2013, tmp_path, "holds no images under train and test", "data/README.md")


# --- CK+ -----------------------------------------------------------------------------------------

# Sequence -> (frames, CK+ emotion number or None).
TREE = {
    "S005_001": (5, 3), "S005_002": (4, None), "S010_001": (6, 5), "S010_004": (3, 2),
    "S011_001": (2, 7), "S999_003": (4, 1),
}  # fmt: skip


def whole_frame(sequence: str, number: int) -> np.ndarray:
    """A frame with its own texture, the same wherever it is drawn."""
    seed = int(sequence.replace("S", "").replace("_", "")) * 100 + number
    return np.random.default_rng(seed).integers(0, 256, (96, 96)).astype(np.uint8)


def write_release(root: Path) -> Path:
    for name, (frames, emotion) in TREE.items():
        subject, session = name.split("_")
        images = root / "cohn-kanade-images" / subject / session
        labels = root / "Emotion" / subject / session
        images.mkdir(parents=True)
        labels.mkdir(parents=True)  # the release has empty label folders
        for number in range(1, frames + 1):
            file = images / f"{name}_{number:08d}.png"
            Image.fromarray(whole_frame(name, number)).save(file)
        if emotion is not None:
            file = labels / f"{name}_{frames:08d}_emotion.txt"
            file.write_text(f"   {emotion:.7e}\n")
    (root / "cohn-kanade-images" / "S005" / ".DS_Store").touch()
    return root


def read_release(root: Path, frames="apex"):
    return read_ckplus(root, frames, crop=to_48)


def test_release_apex_frames(tmp_path):
    data = read_release(write_release(tmp_path))
    expected = [  # sequence, FER2013 label, frames
        ("S005_001", 1, [3, 4, 5]), ("S010_001", 3, [4, 5, 6]), ("S011_001", 5, [1, 2]),
        ("S999_003", 0, [2, 3, 4]),
    ]  # fmt: skip
    rows = [(name, label, number) for name, label, numbers in expected for number in numbers]
    assert list(zip(data.sequence, data.labels, data.frame, strict=True)) == rows
    assert data.subject.tolist() == [name[:4] for name, _, _ in rows]
    for image, (name, _, number) in zip(data.images, rows, strict=True):
        np.testing.assert_array_equal(image, to_48(whole_frame(name, number)))
    assert data.path[0] == "cohn-kanade-images/S005/001/S005_001_00000003.png"
    assert data.position[:3].tolist() == [0.5, 0.75, 1.0]
    assert data.left_out == LeftOut(3, 1, 1, 0)


def test_release_all_frames(tmp_path):
    data = read_release(write_release(tmp_path), "all")
    assert len(data) == 5 + 6 + 2 + 4
    assert data.position[data.sequence == "S005_001"].tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert data.position[data.sequence == "S011_001"].tolist() == [0, 1]


def test_frames_without_a_face_are_counted(tmp_path):
    blind = whole_frame("S005_001", 4)
    data = read_ckplus(
        write_release(tmp_path), crop=lambda g: None if np.array_equal(g, blind) else to_48(g)
    )
    assert data.left_out.faceless_images == 1 and len(data) == 10
    assert data.frame[data.sequence == "S005_001"].tolist() == [3, 5]


def test_no_face_anywhere(tmp_path):
    def read(root):
        return read_ckplus(root, crop=lambda grey: None)

    fails(read, write_release(tmp_path), "none of 11 labelled images yields a face", "check that")


def test_the_haar_crop_finds_nothing_in_noise_or_grey():
    crop = haar_crop()
    assert crop(np.full((240, 320), 128, dtype=np.uint8)) is None
    assert crop(np.tile(np.arange(0, 256, dtype=np.uint8), (240, 1))) is None


def test_the_haar_crop_takes_the_first_box_with_the_detectors_margin(monkeypatch):
    class Detector:
        # The largest first, as detectors give them.
        boxes = (Box(100, 60, 96, 96), Box(0, 0, 30, 30))
        margin = 0.0

        def __init__(self, smallest):
            pass

        def __call__(self, grey):
            return self.boxes

    monkeypatch.setattr(ckplus, "HaarDetector", Detector)
    grey = np.zeros((240, 320), dtype=np.uint8)
    grey[60:156, 100:196] = 200
    assert (haar_crop()(grey) == 200).all()
    Detector.margin = 1.0
    wide = haar_crop()(grey)
    assert (wide[14:34, 14:34] == 200).all()
    assert (wide[:11] == 0).all() and (wide[:, 37:] == 0).all()


def spoil_no_frames(root):
    for file in (root / "cohn-kanade-images/S010/001").iterdir():
        file.unlink()
    return ["S010_001_00000006_emotion.txt", "has no frame of S010_001", "unpack the images again"]


def spoil_letters(root):
    file = next((root / "Emotion/S005/001").iterdir())
    file.write_text("disgust")
    return [f"{file}, line 1: the label is 'disgust', expected a number from 0", "remove the file"]


def spoil_number(root):
    file = next((root / "Emotion/S005/001").iterdir())
    file.write_text("8")
    return [f"{file}, line 1: the label is '8'"]


def spoil_negative(root):
    next((root / "Emotion/S005/001").iterdir()).write_text("-1")
    return ["the label is '-1'"]


def spoil_fraction(root):
    next((root / "Emotion/S005/001").iterdir()).write_text("3.5")
    return ["the label is '3.5'"]


def spoil_empty_label(root):
    next((root / "Emotion/S005/001").iterdir()).write_text("")
    return ["the label is ''"]


def spoil_infinite(root):
    next((root / "Emotion/S005/001").iterdir()).write_text("inf")
    return ["the label is 'inf'"]


def spoil_bytes(root):
    next((root / "Emotion/S005/001").iterdir()).write_bytes(b"\xff\xfe3")
    return ["the label is '\ufffd\ufffd3', expected a number"]


def spoil_label_folder(root):
    file = next((root / "Emotion/S005/001").iterdir())
    file.unlink()
    file.mkdir()
    return [f"{file} is a folder, not a file: unpack the Emotion labels again"]


def spoil_label_pipe(root):
    file = next((root / "Emotion/S005/001").iterdir())
    file.unlink()
    os.mkfifo(file)
    return [f"{file} is a pipe or the like, not a file: unpack the Emotion labels again"]


def spoil_no_labels(root):
    for file in root.glob("Emotion/*/*/*.txt"):
        file.unlink()
    return ["holds 6 sequences but no emotion label", "unpack the Emotion labels"]


def spoil_no_emotion_folder(root):
    (root / "Emotion").rename(root / "Emotions")
    return ["Emotion is missing", "data/README.md"]


def spoil_no_images(root):
    for file in root.glob("cohn-kanade-images/*/*/*.png"):
        file.unlink()
    return ["cohn-kanade-images holds no S005/001/S005_001_00000011.png", "data/README.md"]


def spoil_file_name(root):
    file = root / "cohn-kanade-images/S010/001/S010_001_00000006.png"
    file.rename(file.with_name("S010-6.png"))
    return ["S010-6.png: the name does not read <subject>_<session>_<frame>", "restore"]


def spoil_image(root):
    file = root / "cohn-kanade-images/S010/001/S010_001_00000006.png"
    file.write_bytes(b"")
    return [f"{file} is empty", "remove it"]


@pytest.mark.parametrize(
    "spoil",
    [
        spoil_no_frames, spoil_letters, spoil_number, spoil_negative, spoil_fraction,
        spoil_empty_label, spoil_infinite, spoil_bytes, spoil_label_folder, spoil_label_pipe,
        spoil_no_labels, spoil_no_emotion_folder,
        spoil_no_images, spoil_file_name, spoil_image,
    ],
)  # fmt: skip
def test_bad_release_trees(tmp_path, spoil):
    fails(read_release, tmp_path, *spoil(write_release(tmp_path)))


def write_ck48(root: Path) -> Path:
    for folder, name in [
        ("happy", "S005_001_00000010"), ("happy", "S005_001_00000011"),
        ("anger", "S010_002_00000003"), ("contempt", "S011_001_00000005"),
    ]:  # fmt: skip
        file = root / "CK+48" / folder / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(whole_frame(name[:8], int(name[-8:]))[:48, :48]).save(file)
    return root


def test_ck48(tmp_path):
    data = read_ckplus(write_ck48(tmp_path))
    assert data.labels.tolist() == [3, 3, 0]
    assert data.sequence.tolist() == ["S005_001", "S005_001", "S010_002"]
    assert data.frame.tolist() == [10, 11, 3] and np.isnan(data.position).all()
    assert data.path[2] == "CK+48/anger/S010_002_00000003.png"
    np.testing.assert_array_equal(data.images[0], whole_frame("S005_001", 10)[:48, :48])
    assert data.left_out == LeftOut(contempt_images=1, contempt_sequences=1)


def test_ck48_comes_first_but_only_the_release_has_all_frames(tmp_path):
    write_ck48(tmp_path)
    fails(lambda root: read_ckplus(root, "all"), tmp_path, "only the last frames", "put the CK+")
    write_release(tmp_path)
    assert read_ckplus(tmp_path).path[0].startswith("CK+48/")
    assert len(read_release(tmp_path, "all")) == 17


def spoil_ck48_folder(root):
    (root / "CK+48/happy").rename(root / "CK+48/joy")
    return ["joy is not named after an emotion: rename it"]


def spoil_ck48_name(root):
    (root / "CK+48/happy/S005_001_00000010.png").rename(root / "CK+48/happy/10.png")
    return ["10.png: the name does not read", "remove the file"]


def spoil_ck48_size(root):
    file = root / "CK+48/happy/S005_001_00000010.png"
    Image.fromarray(whole_frame("S005_001", 1)).save(file)
    return [f"{file} is 96x96 pixels, but CK+48's images are 48x48", "data/README.md"]


def spoil_ck48_all(root):
    for file in root.glob("CK+48/*/*.png"):
        file.unlink()
    return ["holds no .png in folders named by emotion", "data/README.md"]


@pytest.mark.parametrize(
    "spoil", [spoil_ck48_folder, spoil_ck48_name, spoil_ck48_size, spoil_ck48_all]
)
def test_bad_ck48(tmp_path, spoil):
    fails(read_ckplus, tmp_path, *spoil(write_ck48(tmp_path)))


def test_no_ckplus_at_all(tmp_path):
    fails(read_ckplus, tmp_path, "neither CK+48 nor cohn-kanade-images", "data/README.md")
