"""Write the course's starter notebooks and the exercises in its pages from the solution files.

    python scripts/build_course.py

`course/solutions/exercise_NN.py` is a script in cells, each begun by a line:

    # %% [markdown]         prose, as comments; a heading `##` begins a task
    # %% [markdown] open    ... of a task that is answered in words
    # %% setup              imports, run before the answers
    # %% answer: NAME       a function; what stands between BEGIN and END SOLUTION is left out
    # %%                    code to look at results with; never checked

From it come `course/exercises/exercise_NN.ipynb` and, between `<!-- exercises -->` and
`<!-- end -->` in `course/unit-N.md`, the tasks with their solutions folded away.
"""

import re
from pathlib import Path
from typing import NamedTuple

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from fer_tools.course.grader import NOT_DONE

COURSE = Path(__file__).resolve().parents[1] / "course"
SOLUTION = re.compile(r"^\n?( *)# BEGIN SOLUTION\n.*?# END SOLUTION$", re.DOTALL | re.MULTILINE)
MARKER = re.compile(r"^ *# (BEGIN|END) SOLUTION\n", re.MULTILINE)
BLOCK = re.compile(r"(<!-- exercises -->\n).*?(<!-- end -->)", re.DOTALL)
HOW = """Where a cell says `raise NotImplementedError`, write your answer in its place and run the
cell; then run the cell below it, which checks it. Save the notebook, and
`uv run fer check exercise-{number:02}` checks the whole file. The ideas stand in
[unit {number}](../unit-{number}.md), and so do the solutions, folded away."""


class Cell(NamedTuple):
    """What follows `# %%`, and the text below, without blank lines at its ends."""

    kind: str
    text: str


def cells(source: Path) -> list[Cell]:
    """The cells of a solution file; what stands before the first is left out."""
    parts = re.split(r"^# %%(.*)\n", source.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    found = []
    for kind, text in zip(parts[::2], parts[1::2], strict=True):
        kind, text = kind.strip(), text.strip("\n")
        if kind.startswith("[markdown]"):
            text = re.sub(r"^# ?", "", text, flags=re.MULTILINE)
        found.append(Cell(kind, text))
    return found


def notebook(source: Path, solved: bool = False) -> str:
    """The exercise as a notebook, without outputs: a starter, or `solved`."""
    number = int(source.stem[-2:])
    made = []
    for place, (kind, text) in enumerate(cells(source)):
        if kind.startswith("[markdown]"):
            text = text if place else f"{text}\n\n{HOW.format(number=number)}"
            made.append(new_markdown_cell(text))
            if kind.endswith("open"):
                made.append(new_markdown_cell("*Your answer:*"))
        elif kind.startswith("answer: "):
            tags = ["answer", kind.removeprefix("answer: ")]
            code = as_solution(text) if solved else as_starter(text)
            made.append(new_code_cell(code, metadata={"tags": tags}))
        else:
            made.append(new_code_cell(text, metadata={"tags": [kind]} if kind else {}))
    for place, cell in enumerate(made):
        cell.id = f"cell-{place}"
    about = {
        "exercise": number,
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return nbformat.writes(new_notebook(cells=made, metadata=about)) + "\n"


def as_starter(code: str) -> str:
    """The code with its solution left out."""
    return SOLUTION.sub(rf'\1raise NotImplementedError("{NOT_DONE}")', code)


def as_solution(code: str) -> str:
    """The code without the lines that mark the solution."""
    return MARKER.sub("", code + "\n").rstrip("\n")


def page(source: Path) -> str:
    """The unit's page with its exercises written anew."""
    link = f"[`exercises/{source.stem}.ipynb`](exercises/{source.stem}.ipynb)"
    parts = [f"Open {link}; check with `uv run fer check {source.stem.replace('_', '-')}`."]
    for kind, text in cells(source)[1:]:
        if text.startswith("## "):  # other prose speaks of cells that are not shown here
            parts.append(f"#{text}")
        elif kind.startswith("answer: "):
            parts.append(
                "<details>\n<summary>Solution</summary>\n\n"
                f"```python\n{as_solution(text)}\n```\n\n</details>"
            )
    exercises = "\n\n".join(parts)
    text = unit(source).read_text(encoding="utf-8")
    return BLOCK.sub(lambda match: f"{match[1]}\n{exercises}\n\n{match[2]}", text)


def unit(source: Path) -> Path:
    """The page that belongs to a solution file."""
    return COURSE / f"unit-{int(source.stem[-2:])}.md"


def files() -> dict[Path, str]:
    """Every generated file and the text it should hold."""
    wanted = {}
    for source in sorted((COURSE / "solutions").glob("exercise_*.py")):
        wanted[COURSE / "exercises" / f"{source.stem}.ipynb"] = notebook(source)
        wanted[unit(source)] = page(source)
    return wanted


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text, encoding="utf-8", newline="\n")
