"""The site: complete, without warnings, nothing loaded from outside, links and keys in place."""

import base64
import io
import json
import re
import shutil
import time
import tomllib
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pytest
import yaml
from imports import ROOT
from PIL import Image
from typer.testing import CliRunner

pytest.importorskip("sphinx")

from fer_lib.errors import UserError
from fer_tools.cli.common import SOME_UNREAD, USER_ERROR
from fer_tools.cli.main import app
from fer_tools.record.report import PAPER_A, PAPER_B
from fer_tools.site import build as site
from fer_tools.site import command as site_command
from fer_tools.site import links as site_links
from fer_tools.site import notebooks as site_notebook
from fer_tools.site import tables as site_tables
from fer_tools.site.equations import mathml

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PHONE = {"width": 390, "height": 800}
SUMMARIES = {
    study: json.loads((ROOT / f"reports/{study}/summary.json").read_text())
    for study in site.STUDIES
}
UNIT = """# Unit 1

Khosla et al. (2020), `30_train`, {measured}`sample model.parameters`, [terms](../docs/glossary.md).

<details>
<summary>Answer</summary>

The **answer** is $x^2$.

</details>
"""


LOADING = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}


class Page(HTMLParser):
    """The external files, links and anchors of a page.

    Attributes:
        loads: addresses of scripts, styles, images and the like.
        links: addresses of `<a>`.
        ids: anchors.
        images: attributes of each `<img>`.
    """

    def __init__(self, file: Path):
        super().__init__()
        self.file, self.text = file, file.read_text(encoding="utf-8")
        self.loads, self.links, self.ids, self.images = [], [], set(), []
        self.feed(self.text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.ids |= {found["id"]} if found.get("id") else set()
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        if tag == "img":
            self.images.append(found)
        if found.get(LOADING.get(tag)):
            self.loads.append(found[LOADING[tag]])


def with_course(folder: Path) -> Path:
    """A copy of the repository, by links, with a course of one unit."""
    for path in ROOT.iterdir():
        if path.name not in (".git", ".venv", "course", "build"):
            (folder / path.name).symlink_to(path)
    (folder / "course").mkdir()
    (folder / "course" / "index.md").write_text("# The course\n\n[Unit 1](01_unit.md)\n")
    (folder / "course" / "01_unit.md").write_text(UNIT)
    return folder


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder of the site and Sphinx's warnings; built once, in under a minute of CPU time."""
    root = with_course(tmp_path_factory.mktemp("root"))
    started = time.process_time()
    found = site.build(root, tmp_path_factory.mktemp("site"))
    assert time.process_time() - started < 60
    return found


@pytest.fixture(scope="module")
def pages(built):
    """All pages by their file."""
    return {file: Page(file) for file in sorted(built[0].rglob("*.html"))}


@pytest.fixture(scope="module")
def atlas():
    return site.chart(ROOT)


def test_it_builds_without_a_warning(built):
    html, warnings = built
    assert not warnings
    assert (html / "index.html").is_file()


def test_every_notebook_of_both_studies_is_a_page(built):
    for study in site.STUDIES:
        rendered = {path.stem for path in (ROOT / f"reports/{study}/notebooks").glob("*.ipynb")}
        assert {path.stem for path in (built[0] / study).glob("*.html")} == rendered


def test_nothing_is_loaded_from_outside(built, pages):
    for file, page in pages.items():
        outside = [url for url in page.loads if re.match(r"(\w+:)?//", url)]
        assert not outside, file
        assert not re.search(r"url\(\s*['\"]?(https?:)?//", page.text), file
    for style in built[0].rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*['\"]?(https?:)?//", style.read_text()), style


def test_every_file_that_is_loaded_is_there(pages):
    for file, page in pages.items():
        for url in page.loads:
            if not url.startswith("data:"):
                assert (file.parent / unquote(url.split("?")[0].split("#")[0])).exists(), (
                    file,
                    url,
                )


def test_every_link_and_anchor_resolves(pages):
    ids = {file.resolve(): page.ids for file, page in pages.items()}
    for file, page in pages.items():
        for link in page.links:
            if re.match(r"\w+:", link):
                continue
            path, _, anchor = link.partition("#")
            target = (file.parent / unquote(path)).resolve() if path else file.resolve()
            assert target.exists(), (file, link)
            if anchor and target.suffix == ".html":
                assert unquote(anchor) in ids[target], (file, link)


def test_every_image_has_an_alternative_text(pages):
    shown = [(file, image) for file, page in pages.items() for image in page.images]
    assert len(shown) > 40
    for file, image in shown:
        assert len(image.get("alt") or "") > 15, (file, image)


def test_every_key_is_on_the_page_of_figures_with_its_notebook(built):
    text = (built[0] / "figures.html").read_text()
    for study, figures in SUMMARIES.items():
        for key, entry in figures.items():
            row = text.split(f'id="{site_links.anchor(study, key)}"')[1].split("</tr>")[0]
            assert key in row
            assert f'href="{study}/{entry["stage"]}' in row
            assert f"{entry['n']:,}" in row
            assert entry["protocol"].split("'")[0] in row


def test_the_front_page_leads_to_each_headline_figure_and_its_notebook(built):
    front = (built[0] / "index.html").read_text()
    for _, _, key in PAPER_A + PAPER_B:
        assert f"figures.html#{site_links.anchor('paper', key)}" in front
    assert 'href="paper/40_evaluate_fer13.html"' in front
    assert 'href="paper/50_evaluate_ckplus.html"' in front


def test_the_course_is_included(pages, built):
    unit = pages[built[0] / "course" / "01_unit.html"]
    assert "../paper/30_train-fer13-7.html" in unit.links
    assert "../figures.html#sample-model-parameters" in unit.links
    assert any(link.startswith("../bibliography.html#") for link in unit.links)
    assert "<math" in unit.text
    assert "course/index.html" in pages[built[0] / "index.html"].links


def test_links_of_the_repository_become_links_of_the_site(atlas):
    def moved(text, page="paper/50_evaluate_ckplus"):
        return site_links.with_links(text, atlas, "docs/x.md", page)

    assert moved("`40_evaluate_fer13`") == "[`40_evaluate_fer13`](40_evaluate_fer13.md)"
    assert moved("notebook 30, 30_train") == (
        "[notebook 30](30_train-fer13-7.md), [30_train](30_train-fer13-7.md)"
    )
    assert moved("`00_sample_world`") == "[`00_sample_world`](../sample/00_sample_world.md)"
    assert moved("`reports/sample/notebooks/80_report.ipynb`").endswith("../sample/80_report.md)")
    assert moved("[a](../data/README.md#fer2013)", "x") == "[a](data.md#fer2013)"
    assert moved("![a](app.png)") == "![a](/docs/app.png)"
    assert (
        moved("[the code](../fer_lib/models/msfernet.py)")
        == "the code (`fer_lib/models/msfernet.py`)"
    )
    assert moved("[a\nb](../data/README.md)", "x") == "[a\nb](data.md)"
    assert moved("(Zhang et al. 2018)") == "{cite:p}`zhang2018`"
    assert moved("Efron and\nTibshirani (1993)") == "{cite:t}`efron1993`"
    value = f"{SUMMARIES['paper']['model.parameters']['value']:,}"
    assert moved("{measured}`paper model.parameters`", "x") == (
        f"[{value}](figures.md#paper-model-parameters)"
    )


def test_what_is_no_mention_stays(atlas):
    for text in (
        "`50_evaluate_ckplus`",  # the page itself
        "`99_unknown` and Nobody et al. (2020)",
        "```python\nsee('40_evaluate_fer13')  # Zhang et al. (2018)\n```",
        "[40_evaluate_fer13](https://example.org)",
        "``{measured}`paper no.such` `` and ``[a](missing.md)``",
        "$f[x](y)$ and $$g[x](y)$$",
    ):
        assert site_links.with_links(text, atlas, "x.md", "paper/50_evaluate_ckplus") == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n[a](missing.md)", r"docs/x.md, line 2: the link leads to docs/missing.md"),
        ("![a](https://example.org/a.png)", "outside the repository"),
        ("{measured}`paper no.such`", r"docs/x.md, line 1: .*no figure no.such"),
    ],
)
def test_missing_targets_are_reported_with_file_and_line(atlas, text, message):
    with pytest.raises(UserError, match=message):
        site_links.with_links(text, atlas, "docs/x.md", "x")


def test_a_caption_is_found_after_code_and_becomes_plain_text(tmp_path):
    v4, png = nbformat.v4, io.BytesIO()
    Image.new("L", (900, 9)).save(png, "PNG")
    image = base64.b64encode(png.getvalue()).decode()
    drawn = v4.new_code_cell(
        "draw()", outputs=[v4.new_output("display_data", {"image/png": image})]
    )
    caption = v4.new_output("display_data", {"text/markdown": "*A `b`: the **first**\nsight.*"})
    cells = [
        v4.new_markdown_cell("# T\n\n## Sights"),
        drawn,
        v4.new_code_cell("caption()", outputs=[caption]),
        drawn,
        v4.new_markdown_cell("Prose, *in part* in italics."),
    ]
    nbformat.write(v4.new_notebook(cells=cells), tmp_path / "x.ipynb")
    text = site_notebook.page_of(tmp_path / "x.ipynb", tmp_path, "x")
    first, second = re.findall(r':alt: "(.+)"', text)
    assert (first, second) == ("A b: the first sight.", "Sights")
    assert text.count("*A `b`") == 0
    assert "Prose, *in part* in italics." in text
    assert text.count(":figclass: wide") == len(list(tmp_path.glob("x-*.png"))) == 2


def test_works_that_the_notebooks_cite_are_in_the_bibliography(atlas):
    name = re.compile(r"([A-Z]\w+\s(?:et\sal\.|and\s[A-Z]\w+)),?\s\(?((?:19|20)\d\d)\)?")
    alone = re.compile(r"^- ([A-Z]\w+) \(((?:19|20)\d\d)\)", re.MULTILINE)  # one author, in a list
    texts = [file.read_text() for file in (*ROOT.glob("docs/*.md"), ROOT / "data/README.md")]
    folders = ("notebooks", "studies/ablation", "studies/benchmarks")
    for path in sorted(path for folder in folders for path in (ROOT / folder).glob("*.ipynb")):
        cells = nbformat.read(path, as_version=4).cells
        texts += [cell.source for cell in cells if cell.cell_type == "markdown"]
    several = re.compile(r"([A-Z]\w+)(?:, [A-Z]\w+)+(?:,? and|,) [A-Z]\w+ \(((?:19|20)\d\d)\)")
    text = several.sub(r"\1 et al. (\2)", "\n".join(texts))
    found = {(" ".join(who.split()), year) for who, year in name.findall(text)}
    found |= set(alone.findall(text))
    assert len(found) > 10
    assert found == set(atlas.works)


@pytest.mark.parametrize(
    ("text", "message"),
    [("@book{a, title = {T}", "references.bib: "), ("@book{a, title = {T}}", "a needs an author")],
)
def test_a_faulty_bibliography_is_reported(tmp_path, text, message):
    (tmp_path / "references.bib").write_text(text)
    with pytest.raises(UserError, match=message):
        site_links.works_of(tmp_path / "references.bib")


def test_the_model_card_has_no_typed_measurement():
    text = (ROOT / "docs" / "model_card.md").read_text()
    assert text.count("{measured}") > 15
    assert not re.search(r"\d\d\.\d", text)
    recall = "fer13_7.private.recall."
    happy, surprise, fear, sad = (
        SUMMARIES["paper"][recall + name]["value"] for name in ("happy", "surprise", "fear", "sad")
    )
    assert min(happy, surprise) > max(fear, sad)  # as the card says in words


def test_the_citation_is_that_of_the_package():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    package = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert citation["version"] == package["version"]
    assert citation["license"] == package["license"]
    assert citation["title"] == package["description"]
    assert citation["title"] in site_tables.citing_page(citation)


def test_equations_that_cannot_be_drawn_are_refused():
    assert "<mfrac>" in mathml(r"\frac{1}{2}")
    assert "<mtable" in mathml(r"\begin{aligned} a &= b \\ c &= d \end{aligned}", block=True)
    assert "\\" not in mathml(r"\arg\max_k p_k \sim \mathcal N")
    for latex in (r"\nonsense{x}", r"\frac{1", r"\boldsymbol{x}"):
        with pytest.raises(ValueError, match=r"."):
            mathml(latex)


def test_the_command_replaces_only_an_earlier_site(tmp_path, monkeypatch):
    """The build itself is tested above; here it is replaced by a single page."""

    def page(root, work):
        (work / "html").mkdir()
        (work / "html" / "index.html").write_text("<p>")
        (work / "html" / site_command.SITE_FILE).write_text("")
        return work / "html", []

    monkeypatch.setattr(site, "build", page)
    opened = []
    monkeypatch.setattr(site_command.webbrowser, "open", opened.append)
    out = tmp_path / "out"
    for _ in range(2):  # the second time over the first
        (tmp_path / "out").mkdir(exist_ok=True)
        found = CliRunner().invoke(app, ["site", "--out", str(out), "--open"])
        assert found.exit_code == 0, found.output
        assert str(out / "index.html") in found.output
    assert opened == [(out / "index.html").as_uri()] * 2
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "diary.txt").write_text("dear")
    found = CliRunner().invoke(app, ["site", "--out", str(tmp_path / "other")])
    assert found.exit_code == USER_ERROR
    assert "not an earlier site" in found.output
    assert (tmp_path / "other" / "diary.txt").read_text() == "dear"


def test_warnings_are_printed_and_end_with_status_1(tmp_path, monkeypatch):
    def page(root, work):
        (work / "html").mkdir()
        return work / "html", ["index.md:3: WARNING: something"]

    monkeypatch.setattr(site, "build", page)
    found = CliRunner().invoke(app, ["site", "--out", str(tmp_path / "out")])
    assert found.exit_code == SOME_UNREAD
    assert "index.md:3: WARNING: something" in found.output


def test_missing_packages_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr(site_command, "NEEDED", ("sphinx", "no_such.package"))
    with pytest.raises(UserError, match=r"no_such.package not installed: run `uv sync`"):
        site_command.run(tmp_path / "out", False, print)


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as play:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        chromium = play.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield chromium
        chromium.close()


def test_search_and_code_button_work_from_disk_without_network(browser, built):
    context = browser.new_context(offline=True)
    requests, failures = [], []
    context.on("request", lambda request: requests.append(request.url))
    window = context.new_page()
    window.on("pageerror", lambda error: failures.append(str(error)))
    window.goto((built[0] / "index.html").as_uri())
    window.fill("input[name=q]", "bootstrap")
    window.press("input[name=q]", "Enter")
    window.wait_for_selector("#search-results li a")
    found = window.locator("#search-results li a").evaluate_all("links => links.map(a => a.href)")
    assert any("40_evaluate_fer13.html" in link for link in found)
    window.locator("#search-results li a[href*='paper/40_evaluate_fer13']").first.click()
    window.wait_for_selector("article h1")
    code = window.locator(".input").first
    assert code.is_visible()
    window.click(".code-button")
    assert not code.is_visible()
    assert window.locator("figure img").first.is_visible()
    context.close()
    assert requests
    assert all(url.startswith(("file:", "data:")) for url in requests)
    assert not failures


def test_no_page_is_wider_than_its_window(browser, built, pages):
    context = browser.new_context(viewport=PHONE, offline=True)
    window = context.new_page()
    for file in pages:
        window.goto(file.as_uri())
        for width in (PHONE["width"], 800, 1100):  # a phone, a tablet, a small laptop
            window.set_viewport_size({"width": width, "height": 900})
            assert window.evaluate("document.documentElement.scrollWidth") <= width, (
                file,
                width,
            )
    context.close()
