"""Reading CK+ (Kanade et al. 2000, Lucey et al. 2010) as released, and as CK+48.

- The release: `cohn-kanade-images/S005/001/S005_001_00000011.png`, from neutral to apex, and one
  number in `Emotion/S005/001/S005_001_00000011_emotion.txt` for the sequences that have an emotion.
- CK+48: the last three frames of those sequences, cropped to 48x48, in folders named by emotion.

Contempt has no class in FER2013; it is counted and left out.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from fer_lib.data.arrays import CkPlus, LeftOut
from fer_lib.data.images import check_plain_file, is_litter, read_face, read_grey
from fer_lib.errors import UserError
from fer_lib.faces.detection import HaarDetector, crop_face
from fer_lib.labels import CKPLUS_EMOTIONS, CKPLUS_TO_FER, LEFT_OUT

APEX_FRAMES = 3  # taken from the end of each sequence, as in CK+48
SOURCE = "data/README.md says where to get it and how to lay it out"
NAME = re.compile(r"(S\d+)_(\d+)_(\d+)")  # subject, session, frame

Crop = Callable[[np.ndarray], np.ndarray | None]


class Frame(NamedTuple):
    """One image file, and what the layout says of it; `label` may be LEFT_OUT (contempt)."""

    file: Path
    label: int
    subject: str
    session: str
    number: int
    position: float


def read_ckplus(
    root: Path, frames: Literal["apex", "all"] = "apex", crop: Crop | None = None
) -> CkPlus:
    """Read CK+ from a folder: CK+48 if it is there, else the release tree.

    Args:
        root: folder that holds `CK+48/`, or `cohn-kanade-images/` and `Emotion/`.
        frames: "apex" for the last three frames of each sequence; "all" (release tree only) for
            every one, with its `position` between neutral (0) and apex (1). The label is always
            the sequence's, so with "all" a frame at position 0 looks neutral, whatever its label.
        crop: for the release tree, turns a whole frame (H, W) uint8 into a face (48, 48) uint8, or
            into None where it finds no face; by default `haar_crop()`.

    Raises:
        UserError: for anything missing or wrong; it names the file or the sequence.
    """
    root = Path(root)
    if (root / "CK+48").is_dir() and frames == "apex":
        return read_ckplus48(root / "CK+48")
    if (root / "cohn-kanade-images").is_dir():
        return read_ckplus_release(root, frames, crop)
    raise _nothing_there(root)


def read_ckplus48(root: Path) -> CkPlus:
    """Read the CK+48 folder (`root/<emotion>/<subject>_<session>_<frame>.png`)."""
    return _assemble(root.parent, _ckplus48_frames(root), lambda file: read_face(file, "CK+48"))


def _ckplus48_frames(root: Path) -> list[Frame]:
    found: list[Frame] = []
    for folder in sorted(p for p in root.iterdir() if p.is_dir() and not is_litter(p.name)):
        if folder.name not in CKPLUS_TO_FER:
            raise UserError(
                f"{folder} is not named after an emotion: rename it to one of "
                f"{', '.join(CKPLUS_TO_FER)}, or remove it"
            )
        label = CKPLUS_TO_FER[folder.name]
        found += [
            _frame(file, label)
            for file in sorted(folder.iterdir())
            if file.suffix.lower() == ".png" and not is_litter(file.name)
        ]
    if not found:
        raise UserError(f"{root} holds no .png in folders named by emotion: {SOURCE}")
    return found


def read_ckplus_release(
    root: Path, frames: Literal["apex", "all"] = "apex", crop: Crop | None = None
) -> CkPlus:
    """Read the release tree; see `read_ckplus`."""
    found, unlabelled = _release_frames(root, frames)
    find_face = crop or haar_crop()
    return _assemble(root, found, lambda file: find_face(read_grey(file)), unlabelled)


def _release_frames(root: Path, frames: Literal["apex", "all"]) -> tuple[list[Frame], int]:
    """The frames of the sequences with an emotion, and how many sequences have none."""
    sequences = _sequences(root / "cohn-kanade-images")
    emotions = _emotions(root / "Emotion")
    for name, file in emotions.items():
        if name not in sequences:
            raise UserError(
                f"{file} gives an emotion, but cohn-kanade-images has no frame of {name}: unpack "
                f"the images again, or remove the label ({SOURCE})"
            )
    found: list[Frame] = []
    for name in sorted(emotions):
        label, files = _read_emotion(emotions[name]), sequences[name]
        places = np.linspace(0, 1, len(files)) if len(files) > 1 else np.ones(1)
        every = [_frame(f, label, float(p)) for f, p in zip(files, places, strict=True)]
        found += every if frames == "all" else every[-APEX_FRAMES:]
    if not found:
        raise UserError(
            f"{root} holds {len(sequences)} sequences but no emotion label: unpack the Emotion "
            f"labels beside cohn-kanade-images ({SOURCE})"
        )
    return found, len(sequences) - len(emotions)


def labelled_frames(root: Path, frames: Literal["apex", "all"] = "apex") -> list[Frame]:
    """The frames that `read_ckplus` reads, without contempt, not yet read or searched for a face.

    Raises:
        UserError: as `read_ckplus`, but for what is wrong inside an image.
    """
    if (root / "CK+48").is_dir() and frames == "apex":
        return _in_order(_ckplus48_frames(root / "CK+48"))
    if (root / "cohn-kanade-images").is_dir():
        return _in_order(_release_frames(root, frames)[0])
    raise _nothing_there(root)


def haar_crop() -> Crop:
    """A crop function: the largest frontal face that OpenCV's Haar cascade finds, as 48x48.

    Raises:
        UserError: if this OpenCV does not ship the cascade.
    """
    # In CK+ the face fills about half of the frame's height; what is far smaller is no face.
    detector = HaarDetector(smallest=0.2)

    def crop(grey: np.ndarray) -> np.ndarray | None:
        boxes = detector(grey)
        return crop_face(grey, boxes[0], detector.margin) if boxes else None

    return crop


def _nothing_there(root: Path) -> UserError:
    if (root / "CK+48").is_dir():
        return UserError(
            f"{root / 'CK+48'} holds only the last frames of each sequence: put the CK+ release "
            f"(cohn-kanade-images, Emotion) beside it; {SOURCE}"
        )
    return UserError(f"{root} holds neither CK+48 nor cohn-kanade-images: {SOURCE}")


def _in_order(found: list[Frame]) -> list[Frame]:
    """Those that have one of the seven emotions, by subject, session and number."""
    kept = [f for f in found if f.label != LEFT_OUT]
    return sorted(kept, key=lambda f: (f.subject, f.session, f.number))


def _frame(file: Path, label: int, position: float = float("nan")) -> Frame:
    match = NAME.fullmatch(file.stem)
    if match is None:
        raise UserError(
            f"{file}: the name does not read <subject>_<session>_<frame>, such as "
            "S005_001_00000011: restore the original name, or remove the file"
        )
    subject, session, number = match.groups()
    return Frame(file, label, subject, session, int(number), position)


def _sequences(folder: Path) -> dict[str, list[Path]]:
    """Frames of each sequence in order, by its name ('S005_001')."""
    found: dict[str, list[Path]] = {}
    for file in sorted(folder.glob("S*/*/S*.png")):
        frame = _frame(file, LEFT_OUT)
        found.setdefault(f"{frame.subject}_{frame.session}", []).append(file)
    if not found:
        raise UserError(f"{folder} holds no S005/001/S005_001_00000011.png or the like: {SOURCE}")
    return found


def _emotions(folder: Path) -> dict[str, Path]:
    """The label file of each sequence that has one, by the sequence's name."""
    if not folder.is_dir():
        raise UserError(f"the folder {folder} is missing: {SOURCE}")
    return {
        "_".join(file.parts[-3:-1]): file
        for file in sorted(folder.glob("S*/*/*_emotion.txt"))
        if not is_litter(file.name)
    }


def _read_emotion(file: Path) -> int:
    """The FER2013 label (or LEFT_OUT) that an emotion file stands for."""
    check_plain_file(file, f"unpack the Emotion labels again, or remove it ({SOURCE})")
    text = file.read_text(encoding="utf-8", errors="replace").strip()
    try:
        number = float(text)  # the release writes "   3.0000000e+00"
    except ValueError:
        number = -1.0
    if number not in range(len(CKPLUS_EMOTIONS)):
        raise UserError(
            f"{file}, line 1: the label is '{text[:30]}', expected a number from 0 (neutral) to 7 "
            f"(surprise): unpack the Emotion labels again, or remove the file ({SOURCE})"
        )
    return CKPLUS_TO_FER[CKPLUS_EMOTIONS[int(number)]]


def _assemble(
    root: Path, found: list[Frame], read: Callable[[Path], np.ndarray | None], unlabelled: int = 0
) -> CkPlus:
    """Read the images that count and put everything into arrays."""
    contempt = [f for f in found if f.label == LEFT_OUT]
    wanted = _in_order(found)
    faces = [read(frame.file) for frame in wanted]
    pairs = [(f, face) for f, face in zip(wanted, faces, strict=True) if face is not None]
    if not pairs:
        raise UserError(
            f"{root}: none of {len(wanted)} labelled images yields a face of the seven classes: "
            f"check that these are the original images ({SOURCE})"
        )
    kept = [frame for frame, _ in pairs]
    return CkPlus(
        images=np.stack([face for _, face in pairs]).astype(np.uint8),
        labels=np.array([f.label for f in kept], dtype=np.int64),
        subject=np.array([f.subject for f in kept]),
        sequence=np.array([f"{f.subject}_{f.session}" for f in kept]),
        frame=np.array([f.number for f in kept], dtype=np.int64),
        position=np.array([f.position for f in kept]),
        path=np.array([f.file.relative_to(root).as_posix() for f in kept]),
        left_out=LeftOut(
            contempt_images=len(contempt),
            contempt_sequences=len({(f.subject, f.session) for f in contempt}),
            unlabelled_sequences=unlabelled,
            faceless_images=len(wanted) - len(kept),
        ),
    )
