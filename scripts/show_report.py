"""Check a finished study's record and print its tables: `python scripts/show_report.py STUDY`

Exit status 1, with a sentence, if a rendered notebook holds an error.
"""

import json
import sys
from pathlib import Path

import nbformat
from rich.console import Console
from rich.table import Table

from fer_lib.report import reproduction_table


def errors_in(notebook: Path) -> list[str]:
    """The errors that a rendered notebook holds, as "cell 7: ValueError: ..."."""
    cells = nbformat.read(notebook, as_version=4).cells
    return [
        f"cell {number}: {output.ename}: {output.evalue}"
        for number, cell in enumerate(cells)
        for output in cell.get("outputs", [])
        if output.output_type == "error"
    ]


def show(study: str) -> int:
    """Print the reproduction tables of `reports/<study>`; the exit status."""
    reports = Path("reports") / study
    for notebook in sorted(reports.glob("notebooks/*.ipynb")):
        if found := errors_in(notebook):
            print(f"{notebook} holds an error ({found[0]}): run its stage again.", file=sys.stderr)
            return 1
    console, figures = Console(), json.loads((reports / "summary.json").read_text())
    for paper in "AB":
        table = Table(title=f"The {study} study beside paper {paper}")
        rows = reproduction_table(figures, paper)
        for column in rows.columns[:-1]:
            table.add_column(column)
        for row in rows.itertuples(index=False):
            table.add_row(*row[:-1])
        console.print(table)
    console.print(
        f"Read on: {reports}/notebooks/80_report.ipynb; every figure: {reports}/summary.json"
    )
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(show(sys.argv[1]))
