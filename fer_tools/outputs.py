"""Output files: checked before the work begins, and never written over an input.

target = target_file(out, inputs=[photo], endings=(".csv",))  # before the work
with write(target) as part:  # after it
    table.to_csv(part)
"""

import errno
import glob
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fer_lib.errors import UserError
from fer_lib.files import whole
from fer_lib.processes import runs

LONGEST_SHOWN = 80  # characters of a path in a message


def target_file(path: Path, inputs: Iterable[Path] = (), endings: tuple[str, ...] = ()) -> Path:
    """Check an output path and return the file it refers to, with links resolved.

    Args:
        path: from the user.
        inputs: files and folders that are read.
        endings: allowed suffixes, such as ".csv"; any if empty. A device or a pipe may have any
            name.

    Raises:
        UserError: if the target is one of the inputs, a folder, has another suffix, or cannot be
            written.
    """
    shown = short(path)
    try:
        target = path.resolve()
        special = target.exists() and not target.is_file()
        if target.is_dir():
            raise UserError(f"{shown} is a folder: name a file for the result.")
        if endings and not special and target.suffix.lower() not in endings:
            raise UserError(
                f"{shown} does not end in {' or '.join(endings)}: name a file for the result "
                "that does."
            )
        if target.exists() and any(same(target, given) for given in inputs):
            raise UserError(
                f"{shown} is one of the files to be read, and the result would replace it: name "
                "another file for the result."
            )
        if not target.parent.is_dir():
            raise UserError(
                f"{shown} cannot be written: its folder does not exist; create it, or name another."
            )
        if not os.access(target if special else target.parent, os.W_OK):
            raise UserError(f"{shown} cannot be written (no permission): name another file.")
    except (OSError, RuntimeError) as error:  # a name too long, circular links
        message = f"{shown} cannot be written ({reason(error)}): name another file."
        raise UserError(message) from None
    return target


def refuse_inputs(folder: Path, names: Iterable[str], inputs: Iterable[Path]) -> None:
    """Refuse a folder for results in which one of the files to be written is an input.

    Args:
        folder: for the results; it need not exist.
        names: of the files that will be written, replaced or removed in it.
        inputs: files that the work reads.

    Raises:
        UserError: naming the file.
    """
    inputs = list(inputs)
    for name in names:
        file = folder / name
        if any(same(file, given) for given in inputs):
            raise UserError(
                f"{short(file)} is one of the files to be read, and the results would replace it: "
                "name another folder for the results."
            )


@contextmanager
def write(target: Path) -> Iterator[Path]:
    """A temporary file that replaces `target` when it is complete; on an error `target` is kept.

    A device or a pipe cannot be replaced: the content is copied into it.
    """
    if not target.exists() or target.is_file():
        with whole(target) as part:
            yield part
        return
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / "part"
        yield part
        with part.open("rb") as source, target.open("wb") as sink:
            shutil.copyfileobj(source, sink)


@contextmanager
def replace_folder(target: Path) -> Iterator[Path]:
    """A new folder that replaces `target` when the block ends without an error.

    Until then `target` is not changed. If the process is killed, the old or the new folder is at
    `target`; between the two renames the old one is next to it, and the next call restores it.

    Args:
        target: a folder that may be replaced; it need not exist. Its parent is created if missing.

    Raises:
        OSError: before the block, if the folder cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    old = target.with_name(f".{target.name}.old")
    if old.exists() and not target.exists():
        old.rename(target)
    for leftover in target.parent.glob(f".{glob.escape(target.name)}.*.new"):
        pid = leftover.name.split(".")[-2]
        if pid.isdecimal() and not runs(int(pid)):
            shutil.rmtree(leftover, ignore_errors=True)
    new = target.with_name(f".{target.name}.{os.getpid()}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    try:
        yield new
        shutil.rmtree(old, ignore_errors=True)
        if target.exists():
            target.rename(old)
        try:
            new.rename(target)
        except BaseException:
            if old.exists():
                old.rename(target)
            raise
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def same(first: Path, second: Path) -> bool:
    """Whether two paths are the same file; False if one does not exist or is not accessible."""
    try:
        return first.samefile(second)
    except OSError:
        return False


def readable(path: Path | str) -> str:
    """A path as text that can always be encoded: bytes that are not UTF-8 are escaped."""
    return os.fsencode(path).decode("utf-8", errors="backslashreplace")


def short(path: Path | str) -> str:
    """A path for a message; only its end if it is long."""
    text = readable(path)
    return text if len(text) <= LONGEST_SHOWN else f"...{text[-LONGEST_SHOWN:]}"


def explain(error: OSError) -> str:
    """A sentence with the path, the system's error and a remedy."""
    place = f"{short(error.filename)}: " if error.filename is not None else ""
    remedies = {
        errno.ENAMETOOLONG: "check the path",
        errno.EACCES: "change its permissions, or name another place",
        errno.EPERM: "change its permissions, or name another place",
        errno.EROFS: "name another place",
        errno.ENOSPC: "make room, or name another place",
        errno.EDQUOT: "make room, or name another place",
        errno.EFBIG: "make room, or name another place",
        errno.EMFILE: "close other programs",
        errno.ENOENT: "check that it and the current folder exist",
    }
    remedy = remedies.get(error.errno or 0, "check the disk and the path")
    return f"{place}{reason(error)}: {remedy}."


def reason(error: BaseException) -> str:
    """The system's error message, without number and path."""
    return getattr(error, "strerror", None) or str(error)
