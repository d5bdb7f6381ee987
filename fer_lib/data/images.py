"""Reading images of any usual kind as viewers show them.

EXIF rotation is applied; 16-bit values are scaled to 8 bits; transparency is laid on white, the
page most viewers show; CMYK, palette and the like become sRGB; of an animation the first frame
counts. Grey is ITU-R 601 luma, `0.299 R + 0.587 G + 0.114 B`, as in Pillow and OpenCV.
"""

import os
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from fer_lib.data.arrays import SIDE
from fer_lib.errors import UserError

MIN_SIDE = 16  # pixels; below this no face can be recognized
MOST_PIXELS = 120_000_000  # of one image, which takes a gigabyte of memory then
SUFFIXES = frozenset([
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".avif",
    ".jp2", ".pgm", ".ppm",
])  # fmt: skip
NO_DATA = frozenset(["@eaDir", "__MACOSX"])  # folders that systems leave behind
SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N", "I")


def read_grey(path: Path | str) -> np.ndarray:
    """Read an image as grey.

    Returns:
        (H, W) uint8, 0 black to 255 white.

    Raises:
        UserError: if the file is missing, empty, not an image, damaged, or smaller than
            `MIN_SIDE` pixels on a side.
    """
    image = _open(Path(path))
    return np.array(image if image.mode == "L" else image.convert("L"))


def read_rgb(path: Path | str) -> np.ndarray:
    """Read an image as color: (H, W, 3) uint8, red first. Errors as in `read_grey`."""
    return np.array(_open(Path(path)).convert("RGB"))


def read_face(file: Path, data_set: str) -> np.ndarray:
    """Read an image of a data set of cropped faces: (48, 48) uint8.

    Raises:
        UserError: as in `read_grey`, or if it has another size.
    """
    image = read_grey(file)
    if image.shape != (SIDE, SIDE):
        height, width = image.shape
        raise UserError(
            f"{file} is {width}x{height} pixels, but {data_set}'s images are {SIDE}x{SIDE}: get "
            "the original files (data/README.md), or remove this one"
        )
    return image


def is_litter(name: str) -> bool:
    """Whether a file or folder is hidden, or one that systems leave behind in data."""
    return name.startswith(".") or name in NO_DATA


def check_plain_file(path: Path, remedy: str) -> None:
    """Refuse what cannot be read as a file; a pipe would be waited for without end.

    Raises:
        UserError: if `path` is missing, a folder, a pipe or the like, or may not be read; it ends
            with `remedy`.
    """
    if not path.exists():
        raise UserError(f"{path} is missing: {remedy}")
    if not path.is_file():
        kind = "a folder" if path.is_dir() else "a pipe or the like"
        raise UserError(f"{path} is {kind}, not a file: {remedy}")
    if not os.access(path, os.R_OK):
        raise UserError(f"{path} may not be read: change its permissions")


def is_image(path: Path) -> bool:
    """Whether a path ends as an image does, and is not hidden, nor in a hidden folder."""
    return path.suffix.lower() in SUFFIXES and not any(map(is_litter, path.parts))


def _open(path: Path) -> Image.Image:
    """Open, check, turn upright and bring to mode L or RGB."""
    check_plain_file(path, "check the spelling of the path")
    if path.stat().st_size == 0:
        raise UserError(f"{path} is empty (0 bytes): copy or download it again, or remove it")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd metadata does not matter
            with Image.open(path) as opened:
                width, height = opened.size
                if min(width, height) >= MIN_SIDE and width * height <= MOST_PIXELS:
                    opened.load()
                    return _to_8_bit(_upright(opened), path)
    except UserError:
        raise
    except UnidentifiedImageError as error:
        raise UserError(
            f"{path} is not an image that can be read: save it as PNG or JPEG, or name another"
        ) from error
    except (MemoryError, Image.DecompressionBombError) as error:
        raise UserError(f"{path} is too large to be read: shrink it") from error
    except Exception as error:  # plugins raise what they like at damaged data
        if isinstance(error, OSError) and error.errno is not None:  # the system's, not the data's
            raise UserError(f"{path} cannot be read ({error.strerror}): check the disk") from error
        raise UserError(
            f"{path} is damaged ({error}): copy or download it again, or save it as PNG or JPEG"
        ) from error
    if min(width, height) < MIN_SIDE:
        raise UserError(
            f"{path} is only {width}x{height} pixels: use an image of at least "
            f"{MIN_SIDE}x{MIN_SIDE}, or remove it"
        )
    raise UserError(
        f"{path} is too large ({width}x{height} pixels, {MOST_PIXELS:,} at most): shrink it"
    )


def _upright(image: Image.Image) -> Image.Image:
    """Turned as EXIF asks; damaged metadata does not matter."""
    with suppress(Exception):  # plugins raise what they like
        return ImageOps.exif_transpose(image)
    return image


def _to_8_bit(image: Image.Image, path: Path) -> Image.Image:
    if image.mode in SIXTEEN_BIT:
        values = np.asarray(image).astype(np.float64)
        if values.min() < 0 or values.max() > 65535:
            raise UserError(f"{path} holds values beyond 16 bits: save it with 8 or 16 bits")
        # 65535 / 255 = 257 exactly, so white stays white.
        return Image.fromarray(np.rint(values / 257).astype(np.uint8))
    if image.mode == "F":
        raise UserError(
            f"{path} holds floating-point values of unknown range: save it with 8 or 16 bits"
        )
    if image.has_transparency_data:
        image = image.convert("RGBA")
        page = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(page, image).convert("RGB")
    return image if image.mode == "L" else image.convert("RGB")
