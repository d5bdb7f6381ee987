"""The pages of the site for the files of the repository, and links between them.

The pages are the repository's ordinary Markdown: a link that works there works on the site.
Mentions become links too: of a notebook (`40_evaluate_fer13`, notebook 40), of a published figure
(`fer13_7.private.accuracy`), of a work ("Khosla et al. (2020)").
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from fer_lib.errors import UserError
from fer_tools.record.report import format_figure

FENCE = re.compile(r"^( *)(`{3,}|~{3,})(.*)$")
# The parts of a text other than plain words, in the order in which they are matched.
TOKEN = re.compile(
    r"(?P<code>(?<!`)(?P<ticks>`+)(?!`)(?:(?!\n\s*\n).)+?(?<!`)(?P=ticks)(?!`))"
    r"|\{measured\}`(?P<study>\w+) (?P<key>[^`\s]+)`"
    r"|(?P<role>\{[\w:]+\}`[^`]+`)"
    r"|(?P<math>\$\$.+?\$\$|\$[^$\n]+\$)"
    r"|(?P<image>!?)\[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\]\(<?(?P<target>[^()\s>]+)>?\)",
    re.DOTALL,
)
NOTEBOOK = re.compile(r"`?(?:(?P<folder>[\w./]*)/)?(?P<name>\d\d_\w+(?:-[\w-]+)?)(?:\.ipynb)?`?")
BARE = re.compile(
    r"\b[Nn]otebook (?P<number>\d\d)\b"
    r"|(?<![\w/`\[.-])(?P<name>\d\d_[a-z]\w*(?:-[\w-]+)?)(?![\w/`]|[.-]\w)"
)
DIRECTIVE_IMAGE = re.compile(r"^\{(?:figure|image)\} +(\S+)")


@dataclass
class Atlas:
    """The files, pages, figures and works that links can refer to.

    Attributes:
        root: of the repository.
        pages: from file in the repository ("data/README.md") to page, without suffix ("data").
        figures: from study to the entries of its summary.json.
        works: from a citation, such as ("Khosla et al.", "2020"), to its key in references.bib.
        images: files of the repository that pages show; filled while pages are written.
    """

    root: Path
    pages: dict[str, str]
    figures: Mapping[str, Mapping[str, dict]]
    works: Mapping[tuple[str, str], str]
    images: set[str] = field(default_factory=set)

    def notebook(self, name: str, study: str) -> str | None:
        """The page of a notebook, by its name or the two digits it begins with.

        A stage that ran once per task has several pages; its name alone refers to the first.
        A notebook that `study` lacks is taken from the other study.
        """
        for folder in dict.fromkeys((study, *self.figures)):
            stems = [p.split("/")[1] for p in self.pages.values() if p.startswith(f"{folder}/")]
            for stem in stems:
                if stem == name or stem.startswith((f"{name}-", f"{name}_")):
                    return f"{folder}/{stem}"
        return None


def anchor(study: str, key: str) -> str:
    """The id of a figure's row on the page of all figures."""
    return re.sub(r"[^a-z0-9]+", "-", f"{study}-{key}".lower())


def to_page(page: str, target: str, hash_: str = "") -> str:
    """The relative address of a Markdown link from one page to another; both without suffix."""
    start = PurePosixPath(page).parent
    return f"{os.path.relpath(target, start)}.md{hash_}"


def with_links(text: str, atlas: Atlas, file: str, page: str) -> str:
    """Convert a Markdown text of the repository to that of its page on the site.

    Args:
        text: Markdown; code blocks are not changed.
        atlas: of the site.
        file: the source of the text, relative to the root.
        page: the page it becomes.

    Raises:
        UserError: for a link to a file, or a mention of a figure, that does not exist.
    """
    done: list[str] = []
    prose: list[str] = []  # lines since the last code block
    closing, lines = "", text.split("\n")
    for number, line in enumerate(lines, start=1):
        fence = FENCE.match(line)
        if closing:
            if fence and fence[2].startswith(closing) and not fence[3].strip():
                closing = ""
            done.append(line)
        elif fence:
            closing = fence[2]
            if shown := DIRECTIVE_IMAGE.match(fence[3]):
                line = line.replace(shown[1], _image(shown[1], atlas, file, f"line {number}"))
            done += [*_prose(prose, number - len(prose), atlas, file, page), line]
            prose = []
        else:
            prose.append(line)
    done += _prose(prose, len(lines) + 1 - len(prose), atlas, file, page)
    return "\n".join(done)


def _prose(lines: list[str], first: int, atlas: Atlas, file: str, page: str) -> list[str]:
    """Convert lines without code blocks; `first` is the line number of the first."""
    if not lines:
        return []
    text, folder = "\n".join(lines), page.split("/")[0]
    study = folder if folder in atlas.figures else next(iter(atlas.figures))
    pieces, end = [], 0
    for match in TOKEN.finditer(text):
        pieces.append(_plain(text[end : match.start()], atlas, page, study))
        place = f"line {first + text.count(chr(10), 0, match.start())}"
        if match["code"]:
            pieces.append(_code(match[0], atlas, page, study))
        elif match["key"]:
            pieces.append(_measured(match, atlas, page, f"{file}, {place}"))
        elif match["target"]:
            pieces.append(_link(match, atlas, file, page, place))
        else:
            pieces.append(match[0])
        end = match.end()
    return "".join([*pieces, _plain(text[end:], atlas, page, study)]).split("\n")


def _plain(text: str, atlas: Atlas, page: str, study: str) -> str:
    """Link notebooks named without backticks, and cited works."""

    def linked(match: re.Match) -> str:
        target = atlas.notebook(match["name"] or match["number"], study)
        if target is None or target == page:
            return match[0]
        return f"[{match[0]}]({to_page(page, target)})"

    return _cited(BARE.sub(linked, text), atlas.works)


def _code(code: str, atlas: Atlas, page: str, study: str) -> str:
    """A code span, as a link if it names a notebook or a figure."""
    name = code.strip("`")
    if name in atlas.figures[study]:
        return f"[{code}]({to_page(page, 'figures', '#' + anchor(study, name))})"
    if match := NOTEBOOK.fullmatch(code):
        parts = (match["folder"] or "").split("/")
        named = next((part for part in parts if part in atlas.figures), study)
        target = atlas.notebook(match["name"], named)
        if target is not None and target != page:
            return f"[{code}]({to_page(page, target)})"
    return code


def _measured(match: re.Match, atlas: Atlas, page: str, place: str) -> str:
    entry = atlas.figures.get(match["study"], {}).get(match["key"])
    if entry is None:
        raise UserError(
            f"{place}: reports/{match['study']}/summary.json has no figure {match['key']}; "
            "correct its name."
        )
    hash_ = "#" + anchor(match["study"], match["key"])
    return f"[{format_figure(entry)}]({to_page(page, 'figures', hash_)})"


def _link(match: re.Match, atlas: Atlas, file: str, page: str, place: str) -> str:
    image, text, target = match["image"], match["text"], match["target"]
    path, _, hash_ = target.partition("#")
    if image:
        return f"![{text}]({_image(path, atlas, file, place)})"
    if not path or re.match(r"[a-z]+:", target):
        return match[0]
    found = _inside(path, atlas, file, place)
    known = atlas.pages.get(found) or atlas.pages.get(f"{found}/README.md")
    if known:
        return f"[{text}]({to_page(page, known, '#' + hash_ if hash_ else '')})"
    # A file without a page: show its name instead of a link.
    return text if found in text else f"{text} (`{found}`)"


def _image(path: str, atlas: Atlas, file: str, place: str) -> str:
    if path.startswith("/"):  # already a path of the site
        return path
    if re.match(r"[a-z]+:", path):
        raise UserError(
            f"{place}: the image {path} is outside the repository; copy it into the repository."
        )
    found = _inside(path, atlas, file, place)
    atlas.images.add(found)
    return f"/{found}"


def _inside(path: str, atlas: Atlas, file: str, place: str) -> str:
    """The target of a link, relative to the root."""
    found = os.path.normpath(os.path.join(os.path.dirname(file), path))
    if found.startswith("..") or not (atlas.root / found).exists():
        raise UserError(
            f"{file}, {place}: the link leads to {found}, which does not exist; correct it."
        )
    return PurePosixPath(found).as_posix()


def _cited(text: str, works: Mapping[tuple[str, str], str]) -> str:
    """Turn works named in prose into citations; a name may be broken over two lines."""

    def cited(role: str) -> Callable[[re.Match], str]:
        def replace(match: re.Match) -> str:
            key = works.get((" ".join(match[1].split()), match[2]))
            return f"{{cite:{role}}}`{key}`" if key else match[0]

        return replace

    name = r"([A-Z]\w+\s(?:et\sal\.|and\s[A-Z]\w+))"
    text = re.sub(rf"\({name},?\s(\d{{4}})\)", cited("p"), text)
    return re.sub(rf"\b{name}\s\((\d{{4}})\)", cited("t"), text)


def works_of(bibliography: Path) -> dict[tuple[str, str], str]:
    """The works of a .bib file, from citation, such as ("Khosla et al.", "2020"), to key.

    Raises:
        UserError: if the file cannot be read, or a work lacks its author or year.
    """
    from pybtex.database import parse_file
    from pybtex.exceptions import PybtexError

    try:
        entries = parse_file(str(bibliography)).entries
    except PybtexError as error:
        raise UserError(f"{bibliography}: {error}; correct it there.") from None
    works = {}
    for key, entry in entries.items():
        if "author" not in entry.persons or "year" not in entry.fields:
            raise UserError(f"{bibliography}: {key} needs an author and a year; add them.")
        names = [" ".join(person.last_names) for person in entry.persons["author"]]
        authors = f"{names[0]} et al." if len(names) > 2 else " and ".join(names)
        works[authors, entry.fields["year"]] = key
    return works
