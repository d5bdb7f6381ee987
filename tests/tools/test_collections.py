"""JAFFE, KDEF and RAF-DB: drawn copies in the publishers' layouts, whole and damaged.

Every damage must give one sentence with the place and a remedy; none may give half a collection.
"""

import os
import shutil

import cv2
import numpy as np
import pytest

from fer_lib.errors import UserError
from fer_lib.labels import FER_CLASSES, JAFFE_EMOTIONS
from fer_tools.carry_over import collections
from fer_tools.carry_over.collections import read_collections, read_jaffe, read_kdef, read_rafdb
from fer_tools.synthetic_faces.other_style import write_jaffe

GREY = cv2.imencode(".jpg", np.full((32, 32), 90, np.uint8))[1].tobytes()
KDEF_CODES = {"AF": 2, "AN": 0, "DI": 1, "HA": 3, "NE": 6, "SA": 4, "SU": 5}
RAFDB_LABELS = {1: 5, 2: 2, 3: 1, 4: 3, 5: 4, 6: 0, 7: 6}  # the publisher's and FER2013's


@pytest.fixture(scope="module")
def jaffe(tmp_path_factory):
    """All 213 images, drawn in another style."""
    folder = tmp_path_factory.mktemp("whole") / "jaffe"
    write_jaffe(folder, seed=3)
    (folder / "README").write_text("For research only.")
    (folder / ".DS_Store").write_bytes(b"\x00")
    return folder


@pytest.fixture(scope="module")
def kdef(tmp_path_factory):
    """Two sessions of 70 people, seven emotions, seen from the front and from the side."""
    folder = tmp_path_factory.mktemp("whole") / "kdef"
    for session in "AB":
        for person in (f"{sex}{number:02d}" for sex in "FM" for number in range(1, 36)):
            place = folder / (session + person)
            place.mkdir(parents=True)
            for code in KDEF_CODES:
                for angle in ("S", "FL"):
                    (place / f"{session}{person}{code}{angle}.JPG").write_bytes(GREY)
    return folder


@pytest.fixture(scope="module")
def rafdb(tmp_path_factory):
    """Seven training and fourteen test images."""
    folder = tmp_path_factory.mktemp("whole") / "rafdb"
    aligned, labels = folder / "basic/Image/aligned", folder / "basic/EmoLabel"
    aligned.mkdir(parents=True)
    labels.mkdir()
    names = [f"train_{n:05d}" for n in range(1, 8)] + [f"test_{n:04d}" for n in range(1, 15)]
    lines = [f"{name}.jpg {place % 7 + 1}" for place, name in enumerate(names)]
    (labels / "list_patition_label.txt").write_text("\n".join(lines) + "\n")
    for name in names:
        (aligned / f"{name}_aligned.jpg").write_bytes(GREY)
    return folder


@pytest.fixture
def copied(request, tmp_path):
    """A copy of a whole collection, to damage."""
    return lambda name: shutil.copytree(request.getfixturevalue(name), tmp_path / name)


# --- whole ---------------------------------------------------------------------------------------


def test_jaffe(jaffe):
    found = read_jaffe(jaffe)
    assert len(found) == 213 and not found.cropped and found.title == "JAFFE"
    assert set(found.subject) == set(collections.JAFFE_PEOPLE)
    for file, label, person in zip(found.files, found.labels, found.subject, strict=True):
        code = file.name.split(".")[1][:2]
        assert JAFFE_EMOTIONS[code] == FER_CLASSES[label]
        assert file.name.startswith(person)
    image = next(found.images())
    assert image.shape == (256, 256) and image.dtype == np.uint8


def test_kdef(kdef):
    found = read_kdef(kdef)
    assert len(found) == 980 and len(set(found.subject)) == 70
    assert all(file.stem.endswith("S") for file in found.files)  # no other angle
    for file, label in zip(found.files, found.labels, strict=True):
        assert label == KDEF_CODES[file.stem[4:6]]
    # Both sessions are one person.
    assert {len(found.subject[found.subject == name]) for name in set(found.subject)} == {14}


def test_kdef_in_small_letters(copied):
    folder = copied("kdef")
    (folder / "AF01/AF01AFS.JPG").rename(folder / "AF01/af01afs.jpg")
    assert len(read_kdef(folder)) == 980


def test_rafdb(rafdb):
    found = read_rafdb(rafdb)
    assert len(found) == 14 and found.subject is None
    assert all(file.name.startswith("test_") for file in found.files)
    # The fourteen follow seven of training, so their labels run from 1 to 7, twice.
    assert found.labels.tolist() == [RAFDB_LABELS[n] for n in range(1, 8)] * 2
    assert next(found.images()).shape == (32, 32)


def test_rafdb_without_the_folder_basic(rafdb):
    assert len(read_rafdb(rafdb / "basic")) == 14


def test_only_what_is_there_is_read(tmp_path, rafdb):
    assert read_collections(tmp_path) == {}
    shutil.copytree(rafdb, tmp_path / "other/rafdb")
    assert list(read_collections(tmp_path)) == ["rafdb"]


def test_ckplus_is_one_of_them(tmp_path):
    face = cv2.imencode(".png", np.full((48, 48), 90, np.uint8))[1].tobytes()
    for emotion, name in (("happy", "S010_004"), ("contempt", "S011_001"), ("fear", "S005_002")):
        place = tmp_path / "ckplus/CK+48" / emotion
        place.mkdir(parents=True)
        (place / f"{name}_00000017.png").write_bytes(face)
    found = read_collections(tmp_path)["ckplus"]
    assert found.cropped and found.title == "CK+48"
    assert found.subject.tolist() == ["S005", "S010"]  # contempt has no class
    assert found.labels.tolist() == [2, 3]


# --- damaged -------------------------------------------------------------------------------------


def read_all(read, folder):
    list(read(folder).images())


def fails(read, folder, *fragments):
    with pytest.raises(UserError) as caught:
        read_all(read, folder)
    message = str(caught.value)
    for fragment in fragments:
        assert fragment in message, message
    assert str(folder) in message
    assert "\n" not in message and not message.endswith(".") and len(message) < 450
    remedies = ("remove", "restore", "put", "unpack", "move", "get", "correct", "check", "save it")
    assert any(word in message for word in remedies), message


def empty(folder):
    shutil.rmtree(folder)
    folder.mkdir()


def only_archive(folder):
    empty(folder)
    (folder / "faces.zip").write_bytes(b"PK")


def a_file(folder):
    shutil.rmtree(folder)
    folder.write_text("")


JAFFE_DAMAGE = {
    "a file in the folder's place": (a_file, ["is not a folder"]),
    "an empty folder": (empty, ["holds no image", "data/README.md"]),
    "an archive not unpacked": (only_archive, ["faces.zip is not unpacked"]),
    "half unpacked": (
        lambda f: [file.unlink() for file in sorted(f.glob("[K-M]*.tiff"))],
        ["holds", "JAFFE has 213"],
    ),
    "the edition in folders of emotions": (
        lambda f: [
            shutil.move(file, (f / file.name[3:5]).mkdir(exist_ok=True) or f / file.name[3:5])
            for file in sorted(f.glob("*.tiff"))
        ],
        ["holds folders such as AN"],
    ),
    "an unknown emotion": (
        lambda f: next(f.glob("KA.AN1.*")).rename(f / "KA.XX1.999.tiff"),
        ["KA.XX1.999.tiff", "no emotion 'XX'"],
    ),
    "an unknown person": (
        lambda f: next(f.glob("KA.AN1.*")).rename(f / "ZZ.AN1.999.tiff"),
        ["no person 'ZZ'"],
    ),
    "a name of another pattern": (
        lambda f: next(f.glob("KA.AN1.*")).rename(f / "image 1.tiff"),
        ["image 1.tiff is not named as in JAFFE"],
    ),
    "an image too many, as a copy in another format": (
        lambda f: shutil.copy(
            file := next(f.glob("KA.AN1.*")), file.with_suffix(".png")
        ),
        ["has the number"],
    ),
    "an empty image": (
        lambda f: next(f.glob("KA.AN1.*")).write_bytes(b""),
        ["KA.AN1.", "is empty"],
    ),
    "an image cut short": (
        lambda f: (file := next(f.glob("KA.AN1.*"))).write_bytes(file.read_bytes()[:2000]),
        ["KA.AN1."],
    ),
    "a page of the web under an image's name": (
        lambda f: next(f.glob("KA.AN1.*")).write_text("<html>404</html>"),
        ["is not an image"],
    ),
    "a pipe": (
        lambda f: [(file := next(f.glob("KA.AN1.*"))).unlink(), os.mkfifo(file)],
        ["a pipe or the like"],
    ),
    "a link to nowhere": (
        lambda f: [(file := next(f.glob("KA.AN1.*"))).unlink(), file.symlink_to("nowhere")],
        ["is missing"],
    ),
}  # fmt: skip

KDEF_DAMAGE = {
    "a file in the folder's place": (a_file, ["is not a folder"]),
    "an empty folder": (empty, ["holds no image", "data/README.md"]),
    "an archive not unpacked": (only_archive, ["faces.zip is not unpacked"]),
    "half unpacked": (
        lambda f: [shutil.rmtree(place) for place in f.glob("B*")],
        ["holds 490 images seen straight on", "KDEF has 980"],
    ),
    "one image missing": (
        lambda f: (f / "AF01/AF01NES.JPG").unlink(),
        ["holds 979 images"],
    ),
    "an empty session": (
        lambda f: empty(f / "AF01"),
        ["AF01 holds no image"],
    ),
    "the edition in folders of emotions": (
        lambda f: [shutil.rmtree(f), (f / "happy").mkdir(parents=True)],
        ["happy is not a folder of KDEF"],
    ),
    "images without their folders": (
        lambda f: [empty(f), (f / "AF01AFS.JPG").write_bytes(GREY)],
        ["without their folders"],
    ),
    "an unknown emotion": (
        lambda f: (f / "AF01/AF01AFS.JPG").rename(f / "AF01/AF01XXS.JPG"),
        ["AF01XXS.JPG", "no emotion 'XX'"],
    ),
    "an unknown person": (
        lambda f: [
            (f / "AF36").mkdir(), (f / "AF01/AF01AFS.JPG").rename(f / "AF36/AF36AFS.JPG")
        ],
        ["no person 'F36'"],
    ),
    "another person's folder": (
        lambda f: (f / "AF01/AF01AFS.JPG").rename(f / "AF02/AF01AFS.JPG"),
        ["lies in the folder of another person"],
    ),
    "a name of another pattern": (
        lambda f: (f / "AF01/AF01AFS.JPG").rename(f / "AF01/AF01.JPG"),
        ["AF01.JPG is not named as in KDEF"],
    ),
    "an image twice": (
        lambda f: shutil.copy(f / "AF01/AF01AFS.JPG", f / "AF01/AF01AFS.png"),
        ["is there twice"],
    ),
    "an empty image": (
        lambda f: (f / "AF01/AF01AFS.JPG").write_bytes(b""),
        ["AF01AFS.JPG is empty"],
    ),
    "an image cut short": (
        lambda f: (f / "AF01/AF01AFS.JPG").write_bytes(GREY[:150]),
        ["AF01AFS.JPG"],
    ),
}  # fmt: skip


def change_list(change):
    """A damage of RAF-DB's list: `change` is given its lines and gives others."""

    def damage(folder):
        file = folder / "basic/EmoLabel/list_patition_label.txt"
        file.write_text("\n".join(change(file.read_text().splitlines())))

    return damage


RAFDB_DAMAGE = {
    "no folder of images": (
        lambda f: shutil.rmtree(f / "basic/Image"),
        ["aligned is missing"],
    ),
    "no list": (
        lambda f: (f / "basic/EmoLabel/list_patition_label.txt").unlink(),
        ["list_patition_label.txt is missing"],
    ),
    "a folder in the list's place": (
        lambda f: [
            (file := f / "basic/EmoLabel/list_patition_label.txt").unlink(), file.mkdir()
        ],
        ["is a folder, not a file"],
    ),
    "an empty list": (change_list(lambda lines: []), ["names no test image"]),
    "no test image in the list": (change_list(lambda lines: lines[:7]), ["names no test image"]),
    "an unknown label": (
        change_list(lambda lines: [*lines[:8], "test_0002.jpg 8", *lines[9:]]),
        ["line 9: 'test_0002.jpg 8'"],
    ),
    "a line without a label": (
        change_list(lambda lines: ["train_00001.jpg", *lines[1:]]),
        ["line 1: 'train_00001.jpg'"],
    ),
    "a line twice": (
        change_list(lambda lines: [*lines, lines[9]]),
        ["line 22: test_0003 stands there twice"],
    ),
    "a list that is no text": (
        lambda f: (f / "basic/EmoLabel/list_patition_label.txt").write_bytes(b"\xff\x00\x81"),
        ["line 1"],
    ),
    "half unpacked": (
        lambda f: [
            (f / f"basic/Image/aligned/test_{n:04d}_aligned.jpg").unlink() for n in range(8, 15)
        ],
        ["lacks test_0008_aligned.jpg and 6 others of 14"],
    ),
    "an image that the list does not name": (
        lambda f: (f / "basic/Image/aligned/test_9999_aligned.jpg").write_bytes(GREY),
        ["test_9999_aligned.jpg is not named"],
    ),
    "an archive not unpacked": (
        lambda f: only_archive(f / "basic/Image/aligned"),
        ["faces.zip is not unpacked"],
    ),
    "the edition in numbered folders": (
        lambda f: [empty(f), (f / "test/1").mkdir(parents=True)],
        ["edition of RAF-DB in numbered folders"],
    ),
    "the same, below DATASET": (
        lambda f: [empty(f), (f / "DATASET/test/1").mkdir(parents=True)],
        ["edition of RAF-DB in numbered folders"],
    ),
    "an image cut short": (
        lambda f: (f / "basic/Image/aligned/test_0001_aligned.jpg").write_bytes(GREY[:150]),
        ["test_0001_aligned.jpg"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("damage", JAFFE_DAMAGE)
@pytest.mark.timeout(30)
def test_damaged_jaffe(copied, damage):
    folder, (change, fragments) = copied("jaffe"), JAFFE_DAMAGE[damage]
    change(folder)
    fails(read_jaffe, folder, *fragments)


@pytest.mark.parametrize("damage", KDEF_DAMAGE)
def test_damaged_kdef(copied, damage):
    folder, (change, fragments) = copied("kdef"), KDEF_DAMAGE[damage]
    change(folder)
    fails(read_kdef, folder, *fragments)


@pytest.mark.parametrize("damage", RAFDB_DAMAGE)
def test_damaged_rafdb(copied, damage):
    folder, (change, fragments) = copied("rafdb"), RAFDB_DAMAGE[damage]
    change(folder)
    fails(read_rafdb, folder, *fragments)
