"""Collections of faces that no network here was trained on, read in their publishers' layouts.

- CK+ (Lucey et al. 2010), the last frames of its sequences: see `ckplus.py`.
- JAFFE (Lyons et al. 1998): `KA.AN1.39.tiff` is person KA, angry, the first such image, number 39.
- KDEF (Lundqvist et al. 1998): `AF01/AF01AFS.JPG` is session A, woman 01, afraid, straight on. The
  four other angles are left out.
- RAF-DB (Li et al. 2017), basic emotions: `EmoLabel/list_patition_label.txt` (sic) holds lines such
  as `test_0001 3`, `Image/aligned/test_0001_aligned.jpg` is the face. Its test images are read.

A reader lists files and labels and checks that the collection is whole; images are read when they
are used. A figure of half a collection would go by the name of the whole one.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fer_lib.data.ckplus import SOURCE, labelled_frames
from fer_lib.data.images import check_plain_file, is_image, is_litter, read_grey
from fer_lib.errors import UserError
from fer_lib.labels import FER_CLASSES, JAFFE_EMOTIONS, KDEF_EMOTIONS, RAFDB_EMOTIONS

JAFFE_NAME = re.compile(r"([A-Z]{2})\.([A-Z]{2})\d\.(\d+)")
JAFFE_PEOPLE = ("KA", "KL", "KM", "KR", "MK", "NA", "NM", "TM", "UY", "YM")
JAFFE_IMAGES = 213

KDEF_NAME = re.compile(r"([AB])([FM]\d\d)([A-Z]{2})(S|HL|HR|FL|FR)")
KDEF_PEOPLE = [f"{sex}{number:02d}" for sex in "FM" for number in range(1, 36)]
KDEF_IMAGES = 980  # 70 people, two sessions, seven emotions

RAFDB_NAME = re.compile(r"(train|test)_\d+")


@dataclass(frozen=True)
class Collection:
    """The labelled images of one collection; N images, sorted by path and not yet read.

    Attributes:
        title: its name in tables.
        files: N paths.
        labels: (N,) int64, 0 to 6 in the order of `labels.FER_CLASSES`.
        subject: (N,) unicode; None where the publisher does not say who is who.
        cropped: whether the images are faces of 48x48 pixels, cut by whoever made the collection.
    """

    title: str
    files: tuple[Path, ...]
    labels: np.ndarray
    subject: np.ndarray | None
    cropped: bool = False

    def __len__(self) -> int:
        return len(self.files)

    def images(self) -> Iterator[np.ndarray]:
        """The images in turn: (H, W) uint8, grey.

        Raises:
            UserError: for an image that cannot be read, see `images.read_grey`.
        """
        return map(read_grey, self.files)


def read_collections(raw: Path) -> dict[str, Collection]:
    """All collections of `READERS` that are there, by their names in figures.

    Args:
        raw: a study's folder of raw data, with `ckplus/` and `other/NAME/`.

    Raises:
        UserError: if one that is there is damaged or in another layout.
    """
    places = {name: folder_of(raw, name) for name in READERS}
    return {name: READERS[name](place) for name, place in places.items() if place.exists()}


def folder_of(raw: Path, name: str) -> Path:
    """Where a collection of `READERS` lies in a study's raw data."""
    return raw / name if name == "ckplus" else raw / "other" / name


def read_ckplus_apex(root: Path) -> Collection:
    """CK+ or CK+48 without contempt: the three last frames of each sequence with an emotion.

    Raises:
        UserError: see `ckplus.read_ckplus`.
    """
    frames = labelled_frames(root)
    cropped = (root / "CK+48").is_dir()
    return _collection(
        "CK+48" if cropped else "CK+", [f.file for f in frames], [f.label for f in frames],
        [f.subject for f in frames], cropped,
    )  # fmt: skip


def read_jaffe(folder: Path) -> Collection:
    """JAFFE: 213 images of ten women in one folder.

    Raises:
        UserError: if an image is missing, comes twice, or has a name that JAFFE has not.
    """
    files = _images_in(folder, "JAFFE", "KA.AN1.39.tiff")
    labels, people, image_paths = [], [], dict[str, Path]()
    for file in files:
        match = JAFFE_NAME.fullmatch(file.stem)
        if match is None:
            raise UserError(
                f"{file} is not named as in JAFFE (KA.AN1.39.tiff: person, emotion, number): "
                f"restore its name, or remove it ({SOURCE})"
            )
        person, emotion, number = match.groups()
        labels.append(_emotion(file, emotion, JAFFE_EMOTIONS, "JAFFE"))
        people.append(_person(file, person, JAFFE_PEOPLE, "JAFFE"))
        if number in image_paths:
            raise UserError(
                f"{file} has the number {number} of {image_paths[number].name}: keep the original one "
                "of the two, and remove the other"
            )
        image_paths[number] = file
    _check_count(folder, len(files), JAFFE_IMAGES, "JAFFE")
    return _collection("JAFFE", files, labels, people)


def read_kdef(folder: Path) -> Collection:
    """KDEF, seen straight on: 980 images of 70 people, a folder a person and session.

    Raises:
        UserError: if an image is missing, comes twice, lies in another person's folder, or has a
            name that KDEF has not.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder: put KDEF's folders AF01 to BM35 in it")
    inside = [path for path in sorted(folder.iterdir()) if not is_litter(path.name)]
    sessions = [path for path in inside if path.is_dir()]
    for place in sessions:
        if not re.fullmatch(r"[AB][FM]\d\d", place.name):
            raise UserError(
                f"{place} is not a folder of KDEF (AF01 to BM35, a person's session): this is "
                f"another edition, or another data set; {SOURCE}"
            )
    if not sessions:
        _images_in(folder, "KDEF", "AF01/AF01AFS.JPG")
        raise UserError(
            f"{folder} holds images without their folders AF01 to BM35: unpack KDEF again, with "
            f"its folders ({SOURCE})"
        )
    found: dict[str, tuple[Path, int, str]] = {}
    for file in (f for place in sessions for f in _images_in(place, "KDEF", "AF01AFS.JPG")):
        match = KDEF_NAME.fullmatch(file.stem.upper())
        if match is None:
            raise UserError(
                f"{file} is not named as in KDEF (AF01AFS.JPG: session, person, emotion, angle): "
                f"restore its name, or remove it ({SOURCE})"
            )
        session, person, emotion, angle = match.groups()
        label = _emotion(file, emotion, KDEF_EMOTIONS, "KDEF")
        _person(file, person, KDEF_PEOPLE, "KDEF")
        if file.parent.name != session + person:
            raise UserError(
                f"{file} lies in the folder of another person or session: move it to "
                f"{folder / (session + person)}, or unpack KDEF again"
            )
        name = file.stem.upper()
        if name in found:
            raise UserError(f"{file} is there twice, as {found[name][0].name} too: remove one")
        if angle == "S":
            found[name] = file, label, person
    _check_count(folder, len(found), KDEF_IMAGES, "KDEF", " seen straight on")
    files, labels, people = zip(*found.values(), strict=True)
    return _collection("KDEF, frontal", files, labels, people)


def read_rafdb(folder: Path) -> Collection:
    """RAF-DB's test images, aligned by its publishers. Who is in an image is not known.

    Raises:
        UserError: if the list of labels is missing or damaged, names an image that is not there, or
            lacks one that is.
    """
    _refuse_numbered_folders(folder)
    basic = folder / "basic" if (folder / "basic").is_dir() else folder
    label_of = _read_rafdb_list(basic / "EmoLabel" / "list_patition_label.txt")
    place = basic / "Image" / "aligned"
    images = _images_in(place, "RAF-DB", "test_0001_aligned.jpg")
    file_of = {file.stem.removesuffix("_aligned"): file for file in images}
    unnamed = [name for name in file_of if name not in label_of]
    if unnamed:
        raise UserError(
            f"{file_of[unnamed[0]]} is not named in list_patition_label.txt, nor are "
            f"{len(unnamed) - 1} others: remove what is not RAF-DB's, or unpack both again"
        )
    wanted = sorted(name for name in label_of if name.startswith("test"))
    missing = [name for name in wanted if name not in file_of]
    if missing:
        raise UserError(
            f"{place} lacks {missing[0]}_aligned.jpg and {len(missing) - 1} others of "
            f"{len(wanted)} test images: unpack aligned.zip again, to its end"
        )
    labels = [label_of[name] for name in wanted]
    return _collection("RAF-DB, test", [file_of[name] for name in wanted], labels, None)


# By name in figures; the order is that of the tables.
READERS: dict[str, Callable[[Path], Collection]] = {
    "ckplus": read_ckplus_apex, "jaffe": read_jaffe, "kdef": read_kdef, "rafdb": read_rafdb,
}  # fmt: skip


def _read_rafdb_list(file: Path) -> dict[str, int]:
    """The label of each image that RAF-DB's list names."""
    check_plain_file(file, f"unpack RAF-DB's EmoLabel folder beside its Image folder ({SOURCE})")
    label_of: dict[str, int] = {}
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        name, _, label = line.strip().partition(" ")
        name = name.removesuffix(".jpg")
        if not RAFDB_NAME.fullmatch(name) or label.strip() not in list("1234567"):
            raise UserError(
                f"{file}, line {number}: '{line.strip()[:40]}' is no image's name and a number "
                "from 1 (surprise) to 7 (neutral): get the list again, or correct the line"
            )
        if name in label_of:
            raise UserError(f"{file}, line {number}: {name} stands there twice: remove one line")
        label_of[name] = FER_CLASSES.index(RAFDB_EMOTIONS[int(label) - 1])
    if not any(name.startswith("test") for name in label_of):
        raise UserError(f"{file} names no test image (test_0001 3): get the whole list again")
    return label_of


def _refuse_numbered_folders(folder: Path) -> None:
    """The edition with folders `train/1` to `test/7` has no list that says what is complete."""
    for part in ("", "DATASET"):
        if (folder / part / "test" / "1").is_dir():
            raise UserError(
                f"{folder / part / 'test'} is the edition of RAF-DB in numbered folders: get the "
                f"publisher's, with EmoLabel and Image; {SOURCE}"
            )


def _images_in(folder: Path, title: str, example: str) -> list[Path]:
    """The images of one folder, sorted; other files, such as a read-me, are left out.

    Raises:
        UserError: if there is no image, with what was found instead.
    """
    if not folder.is_dir():
        kind = "is not a folder" if folder.exists() else "is missing"
        raise UserError(f"{folder} {kind}: put {title}'s images there, such as {example}; {SOURCE}")
    inside = [path for path in sorted(folder.iterdir()) if not is_litter(path.name)]
    files = [path for path in inside if is_image(Path(path.name))]
    if files:
        return files
    archives = [path for path in inside if path.suffix.lower() in (".zip", ".rar", ".7z", ".gz")]
    folders = [path for path in inside if path.is_dir()]
    if archives:
        raise UserError(f"{archives[0]} is not unpacked: unpack it into {folder}")
    if folders:
        raise UserError(
            f"{folder} holds folders such as {folders[0].name}, but no {example}: {title}'s images "
            f"lie in it themselves; move them there ({SOURCE})"
        )
    raise UserError(f"{folder} holds no image such as {example}: {SOURCE}")


def _emotion(file: Path, code: str, emotions: Mapping[str, str], title: str) -> int:
    if code not in emotions:
        raise UserError(
            f"{file}: {title} has no emotion '{code}' ({', '.join(emotions)}): restore the "
            "original name, or remove the file"
        )
    return FER_CLASSES.index(emotions[code])


def _person(file: Path, person: str, people: Sequence[str], title: str) -> str:
    if person not in people:
        raise UserError(
            f"{file}: {title} has no person '{person}' ({people[0]} to {people[-1]}): restore the "
            "original name, or remove the file"
        )
    return person


def _check_count(folder: Path, found: int, wanted: int, title: str, kind: str = "") -> None:
    if found != wanted:
        raise UserError(
            f"{folder} holds {found} images{kind}, but {title} has {wanted}: unpack its archive "
            f"again, to its end ({SOURCE})"
        )


def _collection(
    title: str,
    files: Sequence[Path],
    labels: Sequence[int],
    people: Sequence[str] | None,
    cropped: bool = False,
) -> Collection:
    return Collection(
        title, tuple(files), np.array(labels, dtype=np.int64),
        None if people is None else np.array(people), cropped,
    )  # fmt: skip
