"""The site: pages collected from the repository and the record of both studies, built by Sphinx.

No figure is typed: tables and figures are read from reports/*/summary.json each time.
"""

import json
import shutil
from io import StringIO
from pathlib import Path

import yaml

from fer_lib.errors import UserError
from fer_lib.labels import TASKS
from fer_lib.progress import progress_bar
from fer_tools.site import tables as site_tables
from fer_tools.site.links import Atlas, with_links, works_of
from fer_tools.site.notebooks import page_of

STUDIES = {  # in the order of the site; a mention that fits both refers to the first
    "paper": "The study on real faces",
    "sample": "The sample study on synthetic faces",
}
COMPARISON = "comparison"  # notebooks that belong to no study: networks, losses, speed
# The order of pages in the table of contents; pages not named here come last, so that a new page
# is never missing.
START = ("Run it <run>",)
REFERENCE = (
    "figures", "check_figures", "columns", "glossary", "bibliography", "data", "data_fer2013",
    "data_ferplus", "data_ckplus", "data_sample", "model_card", "library", "contributing", "citing",
)  # fmt: skip


def chart(root: Path) -> Atlas:
    """The pages of the site and their sources.

    Raises:
        UserError: if a study has no record.
    """
    pages = {"README.md": "run", "data/README.md": "data", "CONTRIBUTING.md": "contributing"}
    figures = {}
    for study in STUDIES:
        summary = root / "reports" / study / "summary.json"
        if not summary.is_file():
            raise UserError(f"{summary} is missing: create it with `fer study {study}`.")
        figures[study] = json.loads(summary.read_text(encoding="utf-8"))
        rendered = (root / "reports" / study / "notebooks").glob("*.ipynb")
        for notebook in sorted(rendered, key=lambda path: _order(path.stem)):
            page = f"{study}/{notebook.stem}"
            pages[f"reports/{study}/notebooks/{notebook.name}"] = page
            pages.setdefault(f"notebooks/{notebook.stem.split('-')[0]}.ipynb", page)
    for folder, source in (("ablation/paper", "studies/ablation"), ("speed", "studies/benchmarks")):
        for notebook in sorted((root / "reports" / folder).glob("*.ipynb")):
            page = f"{COMPARISON}/{notebook.stem}"
            pages[f"reports/{folder}/{notebook.name}"] = page
            pages[f"{source}/{notebook.name}"] = page
    for file in sorted((root / "docs").glob("*.md")):
        pages[f"docs/{file.name}"] = file.stem
    for file in sorted((root / "course").rglob("*.md")):
        page = file.relative_to(root).with_suffix("").as_posix()
        pages[file.relative_to(root).as_posix()] = page
    pages["CITATION.cff"], pages["fer_lib"] = "citing", "library"
    pages["reports/paper/summary.json"] = pages["reports/sample/summary.json"] = "figures"
    return Atlas(root, pages, figures, works_of(root / "docs" / "references.bib"))


def _order(stem: str) -> tuple[str, int, str]:
    """Sort key: by number; a notebook that ran for several tasks, in the order of the tasks."""
    name, _, task = stem.partition("-")
    return name, list(TASKS).index(task) if task in TASKS else 0, task


def gather(root: Path, sources: Path) -> Atlas:
    """Write all pages and images of the site to the folder `sources`, ready for Sphinx.

    Raises:
        UserError: for a link or a figure that does not exist, with file and line.
    """
    atlas = chart(root)
    (sources / "images").mkdir(parents=True)
    for file, page in atlas.pages.items():
        if file.endswith(".md"):
            text = (root / file).read_text(encoding="utf-8")
        elif file.startswith("reports/") and file.endswith(".ipynb"):
            name = page.replace("/", "-")
            text = page_of(root / file, sources / "images", name)
        else:
            continue
        text = with_links(text, atlas, file, page)
        if page.split("/")[0] in STUDIES:
            text = site_tables.with_head(text, atlas, page)
        _write(sources, page, site_tables.with_generated(text, atlas))
    _write(sources, "figures", site_tables.figures_page(atlas, STUDIES))
    _write(sources, "citing", site_tables.citing_page(yaml.safe_load(_read(root, "CITATION.cff"))))
    _write(sources, "library", site_tables.library_page(root / "fer_lib"))
    index = sources / "index.md"
    index.write_text(index.read_text(encoding="utf-8") + contents(atlas), encoding="utf-8")
    for image in sorted(atlas.images):
        (sources / image).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / image, sources / image)
    shutil.copy(root / "docs" / "references.bib", sources)
    shutil.copytree(root / "docs" / "_static", sources / "_static")
    return atlas


def _read(root: Path, name: str) -> str:
    return (root / name).read_text(encoding="utf-8")


def _write(sources: Path, page: str, text: str) -> None:
    file = sources / f"{page}.md"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def contents(atlas: Atlas) -> str:
    """The site's table of contents as hidden `toctree` blocks, which the sidebar shows."""
    every = list(dict.fromkeys(atlas.pages.values()))
    course = sorted(page for page in every if page.startswith("course/"))
    course.sort(key=lambda page: page != "course/index")
    parts = {"Start": list(START), "The course": course}
    for study, title in STUDIES.items():
        pages = [page for page in every if page.startswith(f"{study}/")]
        parts[title] = [f"{site_tables.title_of(atlas, page)} <{page}>" for page in pages]
    compared = [page for page in every if page.startswith(f"{COMPARISON}/")]
    parts["Comparisons"] = [f"{site_tables.title_of(atlas, page)} <{page}>" for page in compared]
    parts["Reference"] = [page for page in REFERENCE if page in every]
    parts["More"] = [
        page for page in every if "/" not in page and page not in ("index", "run", *REFERENCE)
    ]
    blocks = [
        "\n".join(["```{toctree}", ":hidden:", f":caption: {title}", "", *pages, "```"])
        for title, pages in parts.items()
        if pages
    ]
    return "\n" + "\n\n".join(blocks) + "\n"


def build(root: Path, work: Path) -> tuple[Path, list[str]]:
    """Build the site in the empty folder `work`.

    Returns:
        The folder with index.html, and Sphinx's warnings, one per line.

    Raises:
        UserError: see `gather`.
    """
    from sphinx.application import Sphinx
    from sphinx.util.docutils import docutils_namespace, patch_docutils

    sources, html = work / "sources", work / "html"
    gather(root, sources)
    # Each page is read and written, and so are the index of terms and the search page.
    steps = 2 * len(list(sources.rglob("*.md"))) + 2
    warnings, conf = StringIO(), root / "docs"
    with patch_docutils(conf), docutils_namespace(), progress_bar(steps, "site", "step") as bar:
        app = Sphinx(
            sources, conf, html, work / "doctrees", "html",
            status=None, warning=warnings, freshenv=True,
        )  # fmt: skip
        app.connect("source-read", lambda *_: bar.update() and None)
        app.connect("html-page-context", lambda *_: bar.update() and None)
        app.build()
    lines = warnings.getvalue().replace(f"{sources}/", "").splitlines()
    return html, [line for line in lines if line.strip()]
