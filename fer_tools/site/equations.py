"""Equations of the site as MathML: every current browser draws it, without script, font or network.

MathJax would have to be shipped and run in every page; from a folder on disk some browsers refuse
it its fonts. `latex2mathml` does the work once, when the site is built.
"""

import re
from typing import Any
from xml.etree import ElementTree

from latex2mathml.converter import convert
from sphinx.util import logging

# What the converter lacks, by what it has.
BEFORE = (
    (re.compile(r"\\(begin|end)\{aligned\}"), r"\\\1{align*}"),
    (re.compile(r"\\mathcal\s+([A-Za-z])"), r"\\mathcal{\1}"),
    (re.compile(r"\\mathbb\{1\}"), "𝟙"),
    (re.compile(r"\\(arg)(?![a-z])"), r"\\operatorname{\1}"),
    (re.compile(r"\\!"), ""),
)
TILDE, SIMILAR = "<mi>&#x0007E;</mi>", "<mo>&#x0223C;</mo>"
# Browsers know one value of this attribute; letters of other styles must be letters of Unicode.
FOREIGN_STYLE = re.compile(r'mathvariant="(?!normal")([^"]*)"')


def mathml(latex: str, block: bool = False) -> str:
    r"""One equation as a `<math>` element.

    Args:
        latex: without the dollars.
        block: on a line of its own, sums with limits above and below.

    Raises:
        ValueError: if a part of it cannot be shown (an unknown command; \boldsymbol).
    """
    text = latex.strip()
    for pattern, instead in BEFORE:
        text = pattern.sub(instead, text)
    bare = re.sub(r"\\[{}]", "", text)
    if bare.count("{") != bare.count("}"):
        raise ValueError("its braces do not match")
    try:
        found = convert(text, display="block" if block else "inline").replace(TILDE, SIMILAR)
        ElementTree.fromstring(found)
    except Exception as error:  # the converter has no error of its own
        raise ValueError(f"cannot be converted: {error or type(error).__name__}") from None
    if unknown := re.search(r"\\[A-Za-z]+", found):
        raise ValueError(f"{unknown[0]} is unknown to latex2mathml")
    if style := FOREIGN_STYLE.search(found):
        raise ValueError(f"browsers cannot draw letters in the style {style[1]!r}")
    return found


def _write(translator: Any, node: Any, block: bool) -> None:
    from docutils import nodes

    latex = node.astext()
    try:
        found = mathml(latex, block)
    except ValueError as error:
        logging.getLogger(__name__).warning("equation %s: %s", latex, error, location=node)
        found = f"<code>{translator.encode(latex)}</code>"
    if block:
        found = f'<div class="math">{found}</div>'
    translator.body.append(found)
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, bool]:
    """Registers the renderer `mathml` with Sphinx."""
    app.add_html_math_renderer(
        "mathml",
        inline_renderers=(lambda self, node: _write(self, node, False), None),
        block_renderers=(lambda self, node: _write(self, node, True), None),
    )
    return {"parallel_read_safe": True, "parallel_write_safe": True}
