"""Sphinx settings of the site. `fer site` collects the pages first, then runs Sphinx."""

project = "Facial emotion recognition"
html_title = "A study of facial emotion recognition"
author = "The fer-study authors"
project_copyright = author
language = "en-GB"

extensions = ["myst_parser", "sphinxcontrib.bibtex", "fer_tools.site.equations"]
myst_enable_extensions = ["dollarmath", "amsmath", "attrs_inline", "deflist"]
myst_dmath_double_inline = True
myst_heading_anchors = 4
html_math_renderer = "mathml"  # needs no external script or font; see fer_tools/site/equations.py

bibtex_bibfiles = ["references.bib"]
bibtex_reference_style = "author_year"
bibtex_default_style = "plain"

nitpicky = True
highlight_language = "text"
# The course's pages are also listed in the course's own table of contents.
suppress_warnings = ["toc.multiple_toc_parents"]

# Furo loads nothing external, follows the reader's dark mode and works on phones.
html_theme = "furo"
pygments_dark_style = "github-dark"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_show_sourcelink = False
html_show_search_summary = False  # it would be fetched, which browsers block on local files
html_copy_source = False
html_show_copyright = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0a5a94", "color-brand-content": "#0a5a94"},
    "dark_css_variables": {"color-brand-primary": "#7cc4f5", "color-brand-content": "#7cc4f5"},
    "top_of_page_buttons": [],
}
