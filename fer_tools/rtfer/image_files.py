"""Which image files the user means: files and folders, with their subfolders."""

import mimetypes
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from fer_lib.data.images import SUFFIXES, is_litter
from fer_lib.errors import UserError

UNREADABLE = frozenset([".heic", ".heif", ".svg", ".psd", ".raw", ".cr2", ".nef", ".arw", ".dng"])


def list_images(
    paths: Iterable[Path | str], on_left_out: Callable[[str], object] = lambda message: None
) -> list[Path]:
    """Expand files and folders (and their subfolders) to image files.

    A file given by name is kept whatever its suffix; in folders, files with one of `SUFFIXES`
    count, sorted by path, hidden ones left out. Linked folders are followed. Each file comes once.

    Args:
        paths: files and folders.
        on_left_out: is given a sentence on images of other kinds, and on each folder that may not
            be read.

    Raises:
        UserError: if a path does not exist, or a folder holds no image.
    """
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        if path.is_dir():
            inside, others = [], Counter[str]()
            for file in sorted(_files_in(path, on_left_out)):
                kind = file.suffix.lower()
                if kind in SUFFIXES:
                    inside.append(file)
                elif kind in UNREADABLE or (mimetypes.guess_type(file)[0] or "")[:6] == "image/":
                    others[kind] += 1
            if others:
                kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(others.items()))
                on_left_out(
                    f"{path}: {others.total()} file(s) left out: {kinds}; save them as JPEG or PNG."
                )
            if not inside:
                raise UserError(
                    f"{path} holds no image: name a folder with files ending in "
                    f"{', '.join(sorted(SUFFIXES))}"
                )
            found.update(dict.fromkeys(inside))
        elif path.exists():
            found[path] = None
        else:
            raise UserError(f"{path} does not exist: check the spelling of the path")
    return list(found)


def _files_in(folder: Path, on_left_out: Callable[[str], object]) -> Iterator[Path]:
    """Files in a folder and its subfolders, hidden ones left out; each folder is seen once."""

    def refused(error: OSError) -> None:
        on_left_out(
            f"{error.filename} may not be read ({error.strerror}), and is left out: change its "
            "permissions."
        )

    seen = set()
    for place, folders, names in os.walk(folder, onerror=refused, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:  # a link that leads back
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(n for n in folders if not is_litter(n))
        yield from (Path(place) / name for name in names if not is_litter(name))
