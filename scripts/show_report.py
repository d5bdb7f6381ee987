"""Check a finished study's record and print its tables: `python scripts/show_report.py STUDY`

Exit status 1, with a message, if a rendered notebook contains an error.
"""

import json
import sys

from rich.console import Console
from rich.table import Table

from fer_lib.paths import build_folder
from fer_tools.record.report import errors_in, reproduction_table


def show(study: str) -> int:
    """Print the reproduction tables of `build/<study>/report`; returns the exit status."""
    reports = build_folder(study) / "report"
    for notebook in sorted(reports.glob("notebooks/*.ipynb")):
        if errors := errors_in(notebook):
            print(
                f"{notebook} contains an error ({errors[0]}): run its stage again.", file=sys.stderr
            )
            return 1
    console, figures = Console(), json.loads((reports / "summary.json").read_text())
    for paper in "AB":
        table = Table(title=f"The {study} study compared with paper {paper}")
        rows = reproduction_table(figures, paper)
        for column in rows.columns[:-1]:
            table.add_column(column)
        for row in rows.itertuples(index=False):
            table.add_row(*row[:-1])
        console.print(table)
    folder = f"build/{study}/report"
    console.print(
        f"The report: {folder}/notebooks/80_report.ipynb; all figures: {folder}/summary.json"
    )
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(show(sys.argv[1]))
