"""The pages of the site that are generated from data: figures, tables, citation, the library."""

import ast
import json
import re
from collections.abc import Mapping
from pathlib import Path

from safetensors import safe_open

from fer_lib.errors import UserError
from fer_lib.models.card import Card
from fer_tools.record.report import format_figure, markdown_table, reproduction_table
from fer_tools.site.links import Atlas, anchor, to_page

GENERATED = re.compile(r"<!-- generated: (\w+) (\w+) -->")


def _opening(atlas: Atlas, page: str) -> str:
    """The first cell of a rendered notebook."""
    file = next(f for f, p in atlas.pages.items() if p == page and f.startswith("reports/"))
    path = atlas.root / file
    return "".join(json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"])


def title_of(atlas: Atlas, page: str) -> str:
    """A notebook's title, with its task if the notebook ran for several."""
    title = _opening(atlas, page).splitlines()[0].removeprefix("# ").strip()
    return title + (f" ({page.split('-', 1)[1]})" if "-" in page else "")


def question_of(atlas: Atlas, page: str) -> str:
    """The question that a notebook answers, as written after **Question.**, or ""."""
    opening = _opening(atlas, page)
    match = re.search(r"\*\*Question\.\*\*\s*(.+?)(?:\n\s*\n|\Z)", opening, re.DOTALL)
    return " ".join(match[1].split()) if match else ""


def with_head(text: str, atlas: Atlas, page: str) -> str:
    """A notebook's page with its full title and, below it, its stage, study and source."""
    study, stem = page.split("/")
    other = next(name for name in atlas.figures if name != study)
    real = study == "paper"
    kind = "the study on real faces" if real else "the sample study on synthetic faces"
    head = f"*Stage `{stem}` of {kind}.*"
    if f"{other}/{stem}" in atlas.pages.values():
        faces = "synthetic faces" if real else "real faces"
        head += f" [The same notebook on {faces}]({to_page(page, f'{other}/{stem}')})."
    head += f" Source: <code>notebooks/{stem.split('-')[0]}.ipynb</code>."
    first, _, body = text.partition("\n")
    if not first.startswith("# "):
        return text
    title = title_of(atlas, page) + ("" if real else " (synthetic faces)")
    return f"# {title}\n\n{head}\n{body}"


def with_generated(text: str, atlas: Atlas) -> str:
    """A page with each mark `<!-- generated: KIND STUDY -->` replaced by its generated text.

    Raises:
        UserError: for an unknown kind.
    """
    kinds = {
        "course": course, "paper_a": paper_a, "paper_b": paper_b, "notebooks": notebooks,
        "weights": weights,
    }  # fmt: skip

    def generate(match: re.Match) -> str:
        if match[1] not in kinds:
            raise UserError(f"{match[0]}: there is no such kind; use one of {', '.join(kinds)}.")
        return kinds[match[1]](atlas, match[2])

    return GENERATED.sub(generate, text)


def paper_a(atlas: Atlas, study: str) -> str:
    """Paper A compared with this study; see `_comparison`."""
    return _comparison("A", atlas, study)


def paper_b(atlas: Atlas, study: str) -> str:
    """Paper B compared with this study; see `_comparison`."""
    return _comparison("B", atlas, study)


def _comparison(paper: str, atlas: Atlas, study: str) -> str:
    """The report's table, with links to the notebook and the entry of each figure."""
    figures = atlas.figures[study]
    table = reproduction_table(dict(figures), paper)
    for place, row in table.iterrows():
        if row.key in figures:
            link = f"figures.md#{anchor(study, row.key)}"
            table.loc[place, "published network"] = f"[{row['published network']}]({link})"
    table["notebook"] = [_stage(atlas, study, figures.get(key), "index") for key in table.key]
    return markdown_table(table.drop(columns="key"))


def notebooks(atlas: Atlas, study: str) -> str:
    """A study's notebooks in reading order, each with its question."""
    pages = [page for page in dict.fromkeys(atlas.pages.values()) if page.startswith(f"{study}/")]
    return "\n".join(
        f"- [{title_of(atlas, page)}]({page}.md): {question_of(atlas, page)}" for page in pages
    )


def course(atlas: Atlas, _: str) -> str:
    """A link to the course, or "" if there is none."""
    if "course/index" not in atlas.pages.values():
        return ""
    return "The [course](course/index.md) teaches the study in units with exercises."


def weights(atlas: Atlas, study: str) -> str:
    """The metadata of a study's weights files, as a table."""
    columns = ("network", "seed", "epochs", "kept epoch", "batch", "rate", "temperature", "commit")
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for file in sorted((atlas.root / "reports" / study / "weights").glob("*.safetensors")):
        with safe_open(file, framework="np") as opened:
            card = Card.from_header(opened.metadata() or {}, file)
        seed, epochs, batch, rate = (
            card.params[name] for name in ("seed", "epochs", "batch_size", "lr")
        )
        best = card.notes.get("best_epoch", "last")
        commit = f"`{card.commit[:10]}`"
        row = [card.task, seed, epochs, best, batch, rate, card.temperature, commit]
        lines.append("| " + " | ".join(map(str, row)) + " |")
    return "\n".join(lines)


def _stage(atlas: Atlas, study: str, entry: dict | None, page: str) -> str:
    """A link to the notebook that computed a figure."""
    target = atlas.notebook(entry["stage"], study) if entry else None
    return f"[{entry['stage']}]({to_page(page, target)})" if entry and target else "-"


def figures_page(atlas: Atlas, studies: Mapping[str, str]) -> str:
    """Every published figure of both studies: value, images, split, protocol, seeds, notebook."""
    parts = [
        "# Every figure and its stage",
        "Each figure of the study was written by one stage, and each row links to the notebook of "
        "that stage. Intervals are 95 % bootstrap intervals over test images (over subjects for "
        "CK+): they cover the choice of test images, not the variance over seeds. The same entries "
        "are in <code>reports/paper/summary.json</code> and "
        "<code>reports/sample/summary.json</code>.",
    ]
    for study, title in studies.items():
        rows = [
            "| key | value | notebook | images | split; protocol | seeds |",
            "|---|---|---|---|---|---|",
        ]
        for key, entry in atlas.figures[study].items():
            unit = "" if entry["unit"] == "percent" else f" {entry['unit']}".rstrip()
            seeds = ", ".join(map(str, entry["seeds"])) or "none"
            rows.append(
                f"| [`{key}`]{{#{anchor(study, key)}}} | {format_figure(entry)}{unit} "
                f"| {_stage(atlas, study, entry, 'figures')} | {entry['n']:,} "
                f"| {entry['split']}; {entry['protocol']} | {seeds} |"
            )
        parts += [f"## {title}", "\n".join(rows)]
    return "\n\n".join(parts) + "\n"


def citing_page(citation: Mapping) -> str:
    """How to cite the study, from CITATION.cff."""
    authors = " and ".join(
        person.get("name") or f"{person['family-names']}, {person['given-names']}"
        for person in citation["authors"]
    )
    year = str(citation["date-released"])[:4]
    bibtex = "\n".join(
        [
            "@software{fer_study,",
            f"  title   = {{{citation['title']}}},",
            f"  author  = {{{authors}}},",
            f"  year    = {{{year}}},",
            f"  version = {{{citation['version']}}},",
            "}",
        ]
    )
    return (
        f"# Citing the study\n\n{authors} ({year}). *{citation['title']}*, version "
        f"{citation['version']}. License of code and weights: {citation['license']}; the data sets "
        f"have their own terms.\n\n{citation['message']}\n\n```bibtex\n{bibtex}\n```\n"
    )


def library_page(package: Path) -> str:
    """The library's public functions and classes with their docstrings, from the source."""
    parts = [
        "# The library",
        "Notebooks and the command `fer` share these modules of `fer_lib`. Below each function are "
        "its arguments, its result and its errors, as in the source.",
    ]
    for file in sorted(package.rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        docstring = ast.get_docstring(tree)
        if not docstring:
            continue
        name = file.relative_to(package).with_suffix("").as_posix()
        parts += [f"## {name}", f"```text\n{docstring}\n```"]
        for item in tree.body:
            if isinstance(item, ast.FunctionDef | ast.ClassDef) and not item.name.startswith("_"):
                parts.append(_documented(item))
    return "\n\n".join(part for part in parts if part) + "\n"


def _documented(item: ast.FunctionDef | ast.ClassDef) -> str:
    """Signature and docstring of one function, or of a class and its public methods."""
    docstring = ast.get_docstring(item)
    text = _signature(item) + (f'\n    """{_indented(docstring)}"""' if docstring else "")
    if isinstance(item, ast.ClassDef):
        for method in item.body:
            if isinstance(method, ast.FunctionDef) and not method.name.startswith("_"):
                docstring = ast.get_docstring(method)
                text += f"\n\n    {_signature(method)}"
                text += f'\n        """{_indented(docstring, 8)}"""' if docstring else ""
    return f"```{{code-block}} python\n:class: signature\n\n{text}\n```"


def _signature(item: ast.FunctionDef | ast.ClassDef) -> str:
    if isinstance(item, ast.ClassDef):
        bases = ", ".join(ast.unparse(base) for base in item.bases)
        return f"class {item.name}({bases}):" if bases else f"class {item.name}:"
    returns = f" -> {ast.unparse(item.returns)}" if item.returns else ""
    return f"def {item.name}({ast.unparse(item.args)}){returns}:"


def _indented(text: str, by: int = 4) -> str:
    return text.replace("\n", "\n" + " " * by).replace("\n" + " " * by + "\n", "\n\n")
