"""Write the course's starter notebooks and the exercises in its pages from the solution files.

    python scripts/build_course.py

`course/solutions/exercise_NN.py` is a script of cells, each of which begins with a line:

    # %% [markdown]         prose, as comments; a heading `##` begins a task
    # %% [markdown] open    ... of a task that is answered in words
    # %% setup              imports, run before the answers
    # %% answer: NAME       a function; the starter omits what is between BEGIN and END SOLUTION
    # %%                    code that shows results; never checked

It is the source of `course/exercises/exercise_NN.ipynb` and of the tasks, with their solutions
folded away, between `<!-- exercises -->` and `<!-- end -->` in `course/unit-N.md`.
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
INSTRUCTIONS = """Replace each `raise NotImplementedError` by your answer and run the cell; then run
the cell below it, which checks your answer. To check the whole file, save the notebook and run
`uv run fer check exercise-{number:02}`. [Unit {number}](../unit-{number}.md) explains the ideas and
has the solutions, folded away."""


class Cell(NamedTuple):
    """What follows `# %%`, and the text below it, without blank lines at its ends."""

    kind: str
    text: str


def cells(source: Path) -> list[Cell]:
    """The cells of a solution file; text before the first cell is ignored."""
    parts = re.split(r"^# %%(.*)\n", source.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    parsed = []
    for kind, text in zip(parts[::2], parts[1::2], strict=True):
        kind, text = kind.strip(), text.strip("\n")
        if kind.startswith("[markdown]"):
            text = re.sub(r"^# ?", "", text, flags=re.MULTILINE)
        parsed.append(Cell(kind, text))
    return parsed


def notebook(source: Path, solved: bool = False) -> str:
    """The exercise as a notebook without outputs: a starter or, if `solved`, with the solutions."""
    number = int(source.stem[-2:])
    notebook_cells = []
    for place, (kind, text) in enumerate(cells(source)):
        if kind.startswith("[markdown]"):
            text = text if place else f"{text}\n\n{INSTRUCTIONS.format(number=number)}"
            notebook_cells.append(new_markdown_cell(text))
            if kind.endswith("open"):
                notebook_cells.append(new_markdown_cell("*Your answer:*"))
        elif kind.startswith("answer: "):
            tags = ["answer", kind.removeprefix("answer: ")]
            code = as_solution(text) if solved else as_starter(text)
            notebook_cells.append(new_code_cell(code, metadata={"tags": tags}))
        else:
            metadata = {"tags": [kind]} if kind else {}
            notebook_cells.append(new_code_cell(text, metadata=metadata))
    for place, cell in enumerate(notebook_cells):
        cell.id = f"cell-{place}"
    notebook_metadata = {
        "exercise": number,
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return nbformat.writes(new_notebook(cells=notebook_cells, metadata=notebook_metadata)) + "\n"


def as_starter(code: str) -> str:
    """The code with its solution replaced by `raise NotImplementedError`."""
    return SOLUTION.sub(rf'\1raise NotImplementedError("{NOT_DONE}")', code)


def as_solution(code: str) -> str:
    """The code without the lines that mark the solution."""
    return MARKER.sub("", code + "\n").rstrip("\n")


def page(source: Path) -> str:
    """The unit's page with its exercises updated."""
    link = f"[`exercises/{source.stem}.ipynb`](exercises/{source.stem}.ipynb)"
    parts = [f"Open {link}; check with `uv run fer check {source.stem.replace('_', '-')}`."]
    for kind, text in cells(source)[1:]:
        if text.startswith("## "):  # other prose refers to cells that are not shown here
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
    generated = {}
    for source in sorted((COURSE / "solutions").glob("exercise_*.py")):
        generated[COURSE / "exercises" / f"{source.stem}.ipynb"] = notebook(source)
        generated[unit(source)] = page(source)
    return generated


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text, encoding="utf-8", newline="\n")
