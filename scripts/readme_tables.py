"""Write the README's tables from the committed figures: `python scripts/readme_tables.py [--check]`

A table is between `<!-- table: STUDY WHAT -->` and `<!-- end -->`: "paper A" is the study on real
faces compared with paper A, "paper peers" with other networks, "paper elsewhere" how its networks
do on other faces. With --check nothing is written, and the exit status is 1 if a table differs from
its figures.
"""

import json
import re
import sys
from pathlib import Path

from fer_tools.record.report import (
    carry_over_table,
    markdown_table,
    peers_table,
    reproduction_table,
)

README = Path(__file__).resolve().parents[1] / "README.md"
BLOCK = re.compile(r"(<!-- table: (\w+) (A|B|peers|elsewhere) -->\n).*?(<!-- end -->)", re.DOTALL)


def with_tables(text: str) -> str:
    """The README's text with every table updated."""

    def table(match: re.Match) -> str:
        summary = README.parent / "reports" / match[2] / "summary.json"
        figures, what = json.loads(summary.read_text()), match[3]
        tables = {"peers": peers_table, "elsewhere": carry_over_table}
        rows = tables[what](figures) if what in tables else reproduction_table(figures, what)
        return match[1] + markdown_table(rows) + "\n" + match[4]

    return BLOCK.sub(table, text)


def main() -> int:
    """Command line."""
    text = README.read_text()
    updated = with_tables(text)
    if "--check" in sys.argv[1:]:
        if updated != text:
            print("README.md: a table differs from its figures; run scripts/readme_tables.py")
        return int(updated != text)
    README.write_text(updated)
    return 0


if __name__ == "__main__":
    sys.exit(main())
