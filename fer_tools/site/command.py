"""What `fer site` does: the study as a web site in a folder, to be opened from disk."""

import shutil
import tempfile
import time
import webbrowser
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from fer_lib.errors import UserError
from fer_lib.paths import project_root

NEEDED = ("sphinx", "myst_parser", "furo", "sphinxcontrib.bibtex", "latex2mathml")
MARK = "searchindex.js"  # what tells an earlier site from a folder of somebody's own


def run(out: Path | None, show: bool, tell: Callable[[str], None]) -> int:
    """Build the site in `out` and say where it is.

    Args:
        out: folder, by default build/site. An earlier site in it is replaced as a whole.
        show: whether to open it in the browser.
        tell: prints one line.

    Returns:
        The number of warnings; the site is there all the same.

    Raises:
        UserError: if the folder holds something else, or a page names what does not exist.
    """
    if missing := [name for name in NEEDED if not _there(name)]:
        raise UserError(
            f"{', '.join(missing)} not installed: run `uv sync`, or `pip install` the packages of "
            "the group `site` in pyproject.toml."
        )
    from fer_tools.site.build import build

    root = project_root()
    out = (out or root / "build" / "site").resolve()
    if out.exists() and not (out / MARK).is_file() and (out.is_file() or any(out.iterdir())):
        raise UserError(f"{out} exists and holds no earlier site: name an empty folder with --out.")
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        html, warnings = build(root, Path(folder))
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(html, out)
    for warning in warnings:
        tell(warning)
    pages = len(list(out.rglob("*.html")))
    tell(f"{out / 'index.html'}: {pages} pages in {time.perf_counter() - started:.0f} s")
    if show:
        webbrowser.open((out / "index.html").as_uri())
    return len(warnings)


def _there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the package it would be in is not there either
        return False
