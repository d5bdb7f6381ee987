"""The prepared arrays: what the readers return, and how stages hand it to each other.

One `.npz` a data set, without pickles (texts are fixed-width unicode), written whole or not at all,
and with the same bytes each time, so that DVC sees a change only when there is one.
"""

from collections.abc import Iterable
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Self
from zipfile import BadZipFile

import numpy as np

from fer_lib.errors import UserError
from fer_lib.files import whole

SIDE = 48  # height and width of every face, pixels
USAGES = ("Training", "PublicTest", "PrivateTest")


class _Images:
    """What the two data sets have in common: arrays with one entry an image."""

    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, mask: np.ndarray) -> Self:
        """The images where `mask` ((N,) bool, or integer positions) is set, in the same order."""
        arrays = {name: a[mask] for name, a in vars(self).items() if isinstance(a, np.ndarray)}
        return replace(self, **arrays)  # type: ignore[type-var]


@dataclass(frozen=True)
class Fer13(_Images):
    """FER2013 in memory; N images, in the order of the source.

    Attributes:
        images: (N, 48, 48) uint8, grey, 0 to 255.
        labels: (N,) int64, 0 to 6 in the order of `labels.FER_CLASSES`.
        usage: (N,) unicode, one of `USAGES`.
        row: (N,) int64, 0-based row of the source: data row of the csv, or place in the sorted
            list of files of the folder edition.
        votes: (N, 10) int64, FER+ votes in the order of `labels.FER_PLUS_COLUMNS`; all -1 without
            FER+.
        duplicate_of_training: (N,) bool, True where a test image is byte-identical to an image of
            Training; always False for Training itself.
    """

    images: np.ndarray
    labels: np.ndarray
    usage: np.ndarray
    row: np.ndarray
    votes: np.ndarray
    duplicate_of_training: np.ndarray

    @property
    def has_votes(self) -> bool:
        """Whether FER+ votes were read."""
        return bool((self.votes >= 0).all())


@dataclass(frozen=True)
class LeftOut:
    """What a CK+ reader found and did not return (counts)."""

    contempt_images: int = 0
    contempt_sequences: int = 0
    unlabelled_sequences: int = 0  # release tree only: most sequences carry no emotion
    faceless_images: int = 0  # release tree only: the detector found no face


@dataclass(frozen=True)
class CkPlus(_Images):
    """CK+ in memory; M images, sorted by sequence and frame. Contempt is left out.

    Attributes:
        images: (M, 48, 48) uint8, grey, 0 to 255.
        labels: (M,) int64, 0 to 6 in the order of `labels.FER_CLASSES`.
        subject: (M,) unicode, such as 'S005'.
        sequence: (M,) unicode, such as 'S005_001'.
        frame: (M,) int64, the frame number in the file's name.
        position: (M,) float64, place in the sequence from 0 (neutral) to 1 (apex); NaN where the
            source does not give it (CK+48).
        path: (M,) unicode, relative to the folder that was read, with forward slashes.
        left_out: counts of what is missing here.
    """

    images: np.ndarray
    labels: np.ndarray
    subject: np.ndarray
    sequence: np.ndarray
    frame: np.ndarray
    position: np.ndarray
    path: np.ndarray
    left_out: LeftOut = LeftOut()


def save_fer13(path: Path, data: Fer13) -> None:
    """Write FER2013 to an `.npz` of the attributes' names."""
    save_arrays(path, vars(data))


def load_fer13(path: Path) -> Fer13:
    """Read what `save_fer13` wrote.

    Raises:
        UserError: if the file is missing, damaged or holds other arrays.
    """
    return Fer13(**load_arrays(path, Fer13.__dataclass_fields__))


def save_ckplus(path: Path, data: CkPlus) -> None:
    """Write CK+ to an `.npz` of the attributes' names; `left_out` as a row of counts."""
    counts = np.array(astuple(data.left_out), dtype=np.int64)
    save_arrays(path, vars(data) | {"left_out": counts})


def load_ckplus(path: Path) -> CkPlus:
    """Read what `save_ckplus` wrote.

    Raises:
        UserError: if the file is missing, damaged or holds other arrays.
    """
    arrays = load_arrays(path, CkPlus.__dataclass_fields__)
    counts = LeftOut(*arrays.pop("left_out").tolist())
    return CkPlus(**arrays, left_out=counts)


def save_arrays(path: Path, arrays: dict[str, np.ndarray], compressed: bool = False) -> None:
    """Write arrays by name, whole or not at all, and the same bytes for the same numbers."""
    write = np.savez_compressed if compressed else np.savez
    with whole(path) as part, part.open("wb") as out:
        write(out, allow_pickle=False, **arrays)


def load_arrays(
    path: Path, names: Iterable[str], optional: Iterable[str] = ()
) -> dict[str, np.ndarray]:
    """Read arrays by name, those of `optional` where they are there.

    Raises:
        UserError: if the file is missing or damaged, or lacks one of `names`.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} is missing: run `uv run dvc repro`, whose first stages write it")
    try:
        with np.load(path, allow_pickle=False) as stored:
            missing = [name for name in names if name not in stored]
            if not missing:
                there = [name for name in optional if name in stored]
                return {name: stored[name] for name in [*names, *there]}
    except (BadZipFile, ValueError, EOFError, OSError) as error:
        raise UserError(
            f"{path} cannot be read ({error}): delete it and run `uv run dvc repro`"
        ) from error
    raise UserError(
        f"{path} lacks the array(s) {', '.join(missing)}, so another version of the code wrote it: "
        "run `uv run dvc repro`"
    )
