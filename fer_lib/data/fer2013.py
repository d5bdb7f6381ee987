"""Reading FER2013 (Goodfellow et al. 2013) in both editions, and FER+ (Barsoum et al. 2016).

- `fer2013.csv`, Kaggle's original: columns emotion, pixels (48 * 48 grey values), Usage.
- The folder edition: `train/<class>/*.jpg`, `test/<class>/PublicTest_*.jpg|PrivateTest_*.jpg`.
- `fer2013new.csv`, FER+: ten taggers' votes, matched to `fer2013.csv` row by row.

Lines in messages are counted from 1 at the top of the file, as an editor shows them.
"""

import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from fer_lib.data.arrays import SIDE, USAGES, Fer13
from fer_lib.data.audit import duplicate_of_training
from fer_lib.data.images import check_plain_file, is_image, is_litter, read_face
from fer_lib.errors import UserError
from fer_lib.labels import FER_CLASSES, FER_PLUS_COLUMNS

PIXELS = SIDE * SIDE
CHUNK = 512  # csv rows held as text at a time (about 4 MB); larger is slower as well
SOURCE = "data/README.md says where to get it"
REPAIR = "correct or remove the row, or get the file again (data/README.md)"


def read_fer2013(root: Path) -> Fer13:
    """Read FER2013 from a folder: the csv if there is one, else the folder edition.

    FER+ votes are added where `root/fer2013new.csv` stands beside the csv. The folder edition's
    file names do not give the csv row, so it goes without votes (and warns if the file is there).

    Args:
        root: folder that holds `fer2013.csv`, or `train/` and `test/`.

    Raises:
        UserError: for anything missing or wrong; it names the file and, in a csv, the line.
    """
    root = Path(root)
    if not root.is_dir():
        raise UserError(f"the folder {root} is missing: {SOURCE}")
    csv, votes = root / "fer2013.csv", root / "fer2013new.csv"
    if os.path.lexists(csv):
        data = read_fer2013_csv(csv)
        return add_votes(data, votes) if os.path.lexists(votes) else data
    if (root / "train").is_dir() or (root / "test").is_dir():
        if os.path.lexists(votes):
            warnings.warn(f"{votes} is not used: it matches only fer2013.csv", stacklevel=2)
        return read_fer2013_folders(root)
    raise UserError(f"{root} holds neither fer2013.csv nor the folders train and test: {SOURCE}")


def read_fer2013_csv(path: Path) -> Fer13:
    """Read Kaggle's `fer2013.csv`, without votes; columns may come in any order."""
    labels, usage, images = [], [], []
    for chunk in _chunks(path, ["emotion", "pixels", "Usage"]):
        labels.append(_integers(chunk, "emotion", len(FER_CLASSES) - 1, path))
        usage.append(_usage(chunk, path))
        images.append(_pixels(chunk, path))
    if not any(map(len, labels)):
        raise UserError(f"{path} holds no rows: {SOURCE}")
    return _assemble(
        np.concatenate(images), np.concatenate(labels), np.concatenate(usage), str(path)
    )


def read_fer2013_folders(root: Path) -> Fer13:
    """Read the folder edition, without votes; rows in the order of the sorted relative paths."""
    files: list[tuple[Path, str]] = []
    for side in ("test", "train"):
        if not (root / side).is_dir():
            raise UserError(f"the folder {root / side} is missing: {SOURCE}")
        for folder in sorted(
            p for p in (root / side).iterdir() if p.is_dir() and not is_litter(p.name)
        ):
            if folder.name not in FER_CLASSES:
                raise UserError(
                    f"{folder} is not named after an emotion: rename it to one of "
                    f"{', '.join(FER_CLASSES)}, or remove it"
                )
            inside = sorted(p for p in folder.iterdir() if is_image(Path(p.name)))
            files += [(file, _usage_of_file(file, side)) for file in inside]
    if not files:
        raise UserError(f"{root} holds no images under train and test: {SOURCE}")
    labels = np.array([FER_CLASSES.index(file.parent.name) for file, _ in files], dtype=np.int64)
    images = np.stack([read_face(file, "FER2013") for file, _ in files])
    return _assemble(images, labels, np.array([usage for _, usage in files]), str(root))


def add_votes(data: Fer13, path: Path) -> Fer13:
    """Add FER+ votes from `fer2013new.csv` to FER2013 as read from the csv.

    Raises:
        UserError: if the rows are not those of FER2013, in number or in Usage.
    """
    votes, usage, lines = [], [], []
    for chunk in _chunks(path, ["Usage", *FER_PLUS_COLUMNS]):
        columns = [_integers(chunk, name, None, path) for name in FER_PLUS_COLUMNS]
        votes.append(np.stack(columns, axis=1))
        usage.append(_usage(chunk, path))
        lines.append(chunk.index.to_numpy())
    rows = sum(map(len, usage))
    if rows != len(data):
        raise UserError(
            f"{path} has {rows} rows but fer2013.csv has {len(data)}: the two match row by row, so "
            "get both whole (data/README.md), or remove the FER+ file"
        )
    differs = np.flatnonzero(np.concatenate(usage) != data.usage)
    if len(differs):
        line, expected = np.concatenate(lines)[differs[0]], data.usage[differs[0]]
        raise UserError(
            f"{path}, line {line}: Usage is not {expected} as in fer2013.csv: the two match row by "
            "row, so get both in their original order (data/README.md), or remove the FER+ file"
        )
    everything = {**vars(data), "votes": np.concatenate(votes)}
    return Fer13(**everything)


def _assemble(images: np.ndarray, labels: np.ndarray, usage: np.ndarray, where: str) -> Fer13:
    for split in USAGES:
        if not (usage == split).any():
            raise UserError(
                f"{where} holds no {split} image: the study needs all of {', '.join(USAGES)}, so "
                "get the whole data set (data/README.md)"
            )
    return Fer13(
        images=images,
        labels=labels,
        usage=usage.astype("U11"),
        row=np.arange(len(labels), dtype=np.int64),
        votes=np.full((len(labels), len(FER_PLUS_COLUMNS)), -1, dtype=np.int64),
        duplicate_of_training=duplicate_of_training(images, usage),
    )


def _chunks(path: Path, columns: list[str]) -> Iterator[pd.DataFrame]:
    """Parts of a csv as stripped text, indexed by the line in the file; blank lines dropped."""
    check_plain_file(path, SOURCE)
    try:
        with pd.read_csv(
            path, dtype=str, keep_default_na=False, skip_blank_lines=False, chunksize=CHUNK
        ) as parts:
            for part in parts:
                if not isinstance(part.index, pd.RangeIndex):
                    # With a field too many in the first row, pandas takes one for row names.
                    raise pd.errors.ParserError("more fields in line 2 than in line 1")
                part.columns = part.columns.str.strip()  # Kaggle's second file has " Usage"
                _check_columns(path, list(part.columns), columns)
                part = part[columns].set_axis(part.index + 2, axis="index")
                yield part[(part != "").any(axis=1)]
    except pd.errors.ParserError as error:
        reason = str(error).strip().removeprefix("Error tokenizing data. C error: ")
        raise UserError(f"{path} is not a well-formed csv ({reason}): {REPAIR}") from error
    except pd.errors.EmptyDataError as error:
        raise UserError(f"{path} is empty: {SOURCE}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text ({error.reason}): {SOURCE}") from error


def _check_columns(path: Path, found: list[str], wanted: list[str]) -> None:
    missing = [name for name in wanted if name not in found]
    if missing:
        raise UserError(
            f"{path}, line 1: column(s) {', '.join(missing)} missing, "
            f"found {', '.join(found)[:80]}: "
            f"the first line must name {', '.join(wanted)}"
        )


def _integers(chunk: pd.DataFrame, column: str, largest: int | None, path: Path) -> np.ndarray:
    """A column of whole numbers from 0 to `largest` as int64."""
    text = chunk[column].str.strip()
    good = text.str.fullmatch("[0-9]{1,6}").to_numpy(dtype=bool)
    values = text.where(good, "-1").to_numpy().astype(np.int64)
    limit = np.iinfo(np.int64).max if largest is None else largest
    _fail_at_first(
        (values < 0) | (values > limit), chunk, column, path,
        "a whole number" if largest is None else f"a whole number from 0 to {largest}",
    )  # fmt: skip
    return values


def _usage(chunk: pd.DataFrame, path: Path) -> np.ndarray:
    text = chunk["Usage"].str.strip()
    _fail_at_first(~text.isin(USAGES).to_numpy(), chunk, "Usage", path, " or ".join(USAGES))
    return text.to_numpy().astype("U11")


def _fail_at_first(
    bad: np.ndarray, chunk: pd.DataFrame, column: str, path: Path, expected: str
) -> None:
    if bad.any():
        place = int(np.argmax(bad))
        raise UserError(
            f"{path}, line {chunk.index[place]}: {column} is '{chunk[column].iloc[place][:30]}', "
            f"expected {expected}: {REPAIR}"
        )


def _pixels(chunk: pd.DataFrame, path: Path) -> np.ndarray:
    """The pixels column as (n, 48, 48) uint8."""
    rows = [
        _pixel_row(text, f"{path}, line {line}")
        for line, text in zip(chunk.index, chunk["pixels"], strict=True)
    ]
    return np.array(rows, dtype=np.uint8).reshape(-1, SIDE, SIDE)


def _pixel_row(text: str, where: str) -> np.ndarray:
    """One row's pixels as (PIXELS,) int64, or an error that names the first wrong one."""
    try:
        with warnings.catch_warnings(action="error"):  # numpy warns where it stops reading
            pixels = np.fromstring(text, dtype=np.int64, sep=" ")
    except (ValueError, DeprecationWarning):
        pixels = np.zeros(0, dtype=np.int64)
    if len(pixels) == PIXELS and pixels.min() >= 0 and pixels.max() <= 255:
        return pixels
    words = text.split()
    if len(words) != PIXELS:
        raise UserError(f"{where}: {len(words)} pixels, expected {PIXELS} (48x48): {REPAIR}")
    good = [word.isascii() and word.isdigit() and int(word) <= 255 for word in words]
    if all(good):  # with other white space between them
        return np.array(words, dtype=np.int64)
    first = good.index(False)
    raise UserError(
        f"{where}: pixel {first + 1} is '{words[first][:20]}', expected a whole number from 0 to "
        f"255: {REPAIR}"
    )


def _usage_of_file(file: Path, side: str) -> str:
    if side == "train":
        return "Training"
    for usage in ("PublicTest", "PrivateTest"):
        if file.name.startswith(usage):
            return usage
    raise UserError(
        f"{file}: the name starts with neither PublicTest nor PrivateTest, so its split is "
        "unknown: use the folder edition with its original file names (data/README.md)"
    )
