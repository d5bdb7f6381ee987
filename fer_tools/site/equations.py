"""Equations of the site as MathML, which browsers render without script, font or network.

MathJax would have to be included and run in every page, and some browsers do not load its fonts
from disk. `latex2mathml` converts each equation once, when the site is built.
"""

import re
from typing import Any
from xml.etree import ElementTree

from latex2mathml.converter import convert
from sphinx.util import logging

# LaTeX that the converter does not know, and what replaces it.
REPLACEMENTS = (
    (re.compile(r"\\(begin|end)\{aligned\}"), r"\\\1{align*}"),
    (re.compile(r"\\mathcal\s+([A-Za-z])"), r"\\mathcal{\1}"),
    (re.compile(r"\\mathbb\{1\}"), "𝟙"),
    (re.compile(r"\\(arg)(?![a-z])"), r"\\operatorname{\1}"),
    (re.compile(r"\\!"), ""),
)
TILDE, SIMILAR = "<mi>&#x0007E;</mi>", "<mo>&#x0223C;</mo>"
# Browsers support only one value of this attribute; other styles need their own Unicode letters.
FOREIGN_STYLE = re.compile(r'mathvariant="(?!normal")([^"]*)"')


def mathml(latex: str, block: bool = False) -> str:
    r"""Convert one equation to a `<math>` element.

    Args:
        latex: without the dollar signs.
        block: as a displayed equation, with limits above and below sums.

    Raises:
        ValueError: if a part of it cannot be converted (an unknown command; \boldsymbol).
    """
    text = latex.strip()
    for pattern, replacement in REPLACEMENTS:
        text = pattern.sub(replacement, text)
    unescaped = re.sub(r"\\[{}]", "", text)
    if unescaped.count("{") != unescaped.count("}"):
        raise ValueError("its braces do not match")
    try:
        element = convert(text, display="block" if block else "inline").replace(TILDE, SIMILAR)
        ElementTree.fromstring(element)
    except Exception as error:  # the converter raises many types
        raise ValueError(f"cannot be converted: {error or type(error).__name__}") from None
    if unknown := re.search(r"\\[A-Za-z]+", element):
        raise ValueError(f"{unknown[0]} is unknown to latex2mathml")
    if style := FOREIGN_STYLE.search(element):
        raise ValueError(f"browsers cannot render letters in the style {style[1]!r}")
    return element


def _write(translator: Any, node: Any, block: bool) -> None:
    from docutils import nodes

    latex = node.astext()
    try:
        element = mathml(latex, block)
    except ValueError as error:
        logging.getLogger(__name__).warning("equation %s: %s", latex, error, location=node)
        element = f"<code>{translator.encode(latex)}</code>"
    if block:
        element = f'<div class="math">{element}</div>'
    translator.body.append(element)
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, bool]:
    """Register the renderer `mathml` with Sphinx."""
    app.add_html_math_renderer(
        "mathml",
        inline_renderers=(lambda self, node: _write(self, node, False), None),
        block_renderers=(lambda self, node: _write(self, node, True), None),
    )
    return {"parallel_read_safe": True, "parallel_write_safe": True}
