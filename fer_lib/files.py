"""Files that are whole or absent, whoever is killed, and one process at a time where it matters."""

import itertools
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from fer_lib.processes import runs
from fer_lib.progress import progress_stream

PART = re.compile(r"\.pid(\d+)(-\d+)?\.(part|running\.ipynb)$")  # what unfinished files end in
_count = itertools.count()


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A file to write in place of `path`; it replaces `path` when the block ends well.

    The file lies in the same folder, which is made, under the name of the process, so that two
    processes never write the same one. An error removes it and leaves `path` as it was. What
    processes that are gone have left behind is removed.

        with whole(path) as part:
            part.write_text(text)

    Raises:
        OSError: if the folder cannot be made or written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_stale(path)
    part = path.with_name(f"{path.name}.pid{os.getpid()}-{next(_count)}.part")
    try:
        yield part
        os.replace(part, path)
    finally:
        with suppress(OSError):  # the error that led here is more informative
            part.unlink(missing_ok=True)


def remove_stale(path: Path) -> None:
    """Remove unfinished files of `path` whose process is gone."""
    with suppress(OSError):  # another process was quicker, or the file belongs to another user
        for file in path.parent.iterdir():  # not by `glob`: the name may hold brackets
            ending = PART.search(file.name)
            if ending and file.name[: ending.start()] == path.name and not runs(int(ending[1])):
                file.unlink()


def lock_of(path: Path) -> Path:
    """The file that is locked while a process works on `path`; its folder is made."""
    folder = path.parent / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{path.name}.lock"


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold the lock of `path`; wait, with a message, while another process holds it.

    A lock ends with its process, however that ends.
    """
    lock = FileLock(lock_of(path))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"Another process works on {path}: waiting for it.", file=progress_stream())
        lock.acquire(poll_interval=1)
    try:
        yield
    finally:
        lock.release()
