"""The command `fer site`: the study as a website in a folder, to be opened from disk."""

import shutil
import tempfile
import time
import webbrowser
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from fer_lib.errors import UserError
from fer_lib.paths import project_root
from fer_tools.outputs import replace_folder

NEEDED = ("sphinx", "myst_parser", "furo", "sphinxcontrib.bibtex", "latex2mathml")
SITE_FILE = "searchindex.js"  # a folder that contains it is an earlier site and may be replaced


def run(out: Path | None, show: bool, echo: Callable[[str], None]) -> int:
    """Build the site in `out` and print its address.

    Args:
        out: folder, by default build/site. An earlier site in it is replaced completely.
        show: whether to open it in the browser.
        echo: prints one line.

    Returns:
        The number of warnings; the site is written even if there are some.

    Raises:
        UserError: if the folder contains something else, or a page refers to something missing.
    """
    if missing := [name for name in NEEDED if not _is_installed(name)]:
        raise UserError(
            f"{', '.join(missing)} not installed: run `uv sync`, or `pip install` the packages of "
            "the group `site` in pyproject.toml."
        )
    from fer_tools.site.build import build

    root = project_root()
    out = (out or root / "build" / "site").resolve()
    if out.exists() and not (out / SITE_FILE).is_file() and (out.is_file() or any(out.iterdir())):
        raise UserError(
            f"{out} exists and is not an earlier site: name an empty folder with --out."
        )
    started = time.perf_counter()
    with replace_folder(out) as new, tempfile.TemporaryDirectory() as folder:
        html, warnings = build(root, Path(folder))
        shutil.copytree(html, new, dirs_exist_ok=True)
    for warning in warnings:
        echo(warning)
    pages = len(list(out.rglob("*.html")))
    echo(f"{out / 'index.html'}: {pages} pages in {time.perf_counter() - started:.0f} s")
    if show:
        webbrowser.open((out / "index.html").as_uri())
    return len(warnings)


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # its parent package is missing
        return False
