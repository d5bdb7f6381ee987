"""A rendered notebook as one Markdown page: prose, code, tables, figures with their captions."""

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat

IMAGES = {"image/png": "png", "image/jpeg": "jpg"}
# A first paragraph completely in italics: `plots.show` and the notebooks write captions like this.
CAPTION = re.compile(r"\A\s*\*(?!\*)((?:[^*]|\*\*[^*]+\*\*|\n(?!\n))+?)\*\s*(?:\n\s*\n|\Z)")
WIDE = 700  # pixels; on a phone a wider figure scrolls


@dataclass
class Block:
    """A part of the page: `kind` is prose, code, text, table or the suffix of an image file."""

    kind: str
    content: str


def blocks_of(path: Path) -> list[Block]:
    """The cells and outputs of a notebook in reading order; images as base64 text."""
    blocks = []
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown":
            blocks.append(Block("prose", cell.source))
        elif cell.cell_type == "code":
            if cell.source.strip():
                blocks.append(Block("code", cell.source.rstrip()))
            blocks += [block for output in cell.outputs for block in _richest_form(output)]
    return blocks


def _richest_form(output: nbformat.NotebookNode) -> Iterator[Block]:
    """The richest form of an output that a page can show."""
    if output.output_type == "stream":
        yield Block("text", output.text)
    data = output.get("data", {})
    for kind, suffix in IMAGES.items():
        if kind in data:
            yield Block(suffix, data[kind])
            return
    if "text/markdown" in data:
        yield Block("prose", data["text/markdown"])
    elif "text/html" in data:
        yield Block("table", data["text/html"])
    elif "text/plain" in data:
        yield Block("text", data["text/plain"])


def caption_of(blocks: list[Block], place: int) -> str:
    """The caption of the image at `place`, which is removed from the prose that follows it.

    There may be code between the two. Without a caption: the last heading before the image.
    """
    for block in blocks[place + 1 :]:
        if block.kind != "code":
            found = CAPTION.match(block.content) if block.kind == "prose" else None
            if found:
                block.content = block.content[found.end() :]
                return " ".join(found[1].split())
            break
    prose = "\n".join(block.content for block in blocks[:place] if block.kind == "prose")
    headings = re.findall(r"^#+ +(.+)$", prose, re.MULTILINE)
    return headings[-1] if headings else "figure"


def plain(markdown: str) -> str:
    """Markdown as plain text, for screen readers."""
    return re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", markdown).replace("`", "").replace("*", "")


def fenced(info: str, content: str, *options: str) -> str:
    """A block of code, or a directive, whose fence is longer than any in it."""
    longest = max((len(run) for run in re.findall(r"`{3,}", content)), default=2)
    fence = "`" * (longest + 1)
    return "\n".join([f"{fence}{info}", *options, *([""] if options else []), content, fence])


def page_of(path: Path, images: Path, name: str) -> str:
    """The page as Markdown; its images are written to `images`, with names that begin with `name`.

    Args:
        path: a rendered notebook.
        images: folder for the images, next to the pages of the site.
        name: unique on the site, such as "paper-40_evaluate_fer13".
    """
    blocks, parts = blocks_of(path), []
    for place, block in enumerate(blocks):
        match block.kind:
            case "prose":
                parts.append(block.content)
            case "code":
                parts.append(fenced("{code-block} python", block.content, ":class: input"))
            case "text":
                parts.append(fenced("{code-block} text", block.content.rstrip(), ":class: output"))
            case "table":
                parts.append(fenced("{raw} html", table_of(block.content)))
            case suffix:
                file = images / f"{name}-{place}.{suffix}"
                file.write_bytes(base64.b64decode(block.content))
                parts.append(figure(file, caption_of(blocks, place)))
    return "\n\n".join(part for part in parts if part.strip()) + "\n"


def figure(file: Path, caption: str) -> str:
    """A figure that opens in full size, with its caption also as its alternative text."""
    from PIL import Image

    with Image.open(file) as image:
        wide = image.width > WIDE
    options = [
        f":alt: {json.dumps(plain(caption), ensure_ascii=False)}",
        f":target: ../_images/{file.name}",
        *([":figclass: wide"] if wide else []),
    ]
    return fenced(f"{{figure}} /images/{file.name}", caption, *options)


def table_of(html: str) -> str:
    """A pandas table without pandas' style, in a box that scrolls."""
    html = re.sub(r"<style.*?</style>", "", html, flags=re.DOTALL)
    html = re.sub(r"\n\s*", "\n", html.replace(' border="1"', "")).strip()
    return f'<div class="table-wrapper">\n{html}\n</div>'
