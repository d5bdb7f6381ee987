"""The grader of the exercises in `course/`: run a student's answers and check each task.

An exercise is a notebook. Only its cells with the tag `setup` or `answer` are run; an answer cell
has the name of the function that it must define as its second tag. For each such NAME there is a
function `check_NAME` in `course/checks/exercise_NN.py`, which calls the student's function.

The same checks run in two places: `checker` within the notebook, on the function defined there;
`fer check` on the saved file, in a separate process that is killed if it takes too long.
"""

import importlib.util
import io
import json
import linecache
import re
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from enum import StrEnum
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from fer_lib.errors import UserError
from fer_lib.paths import project_root
from fer_tools.course.expectations import Wrong
from fer_tools.course.limits import limit_this_process

NOT_DONE = "not done yet"  # what a starter raises
SETUP = "setup"
SECONDS = 20.0  # for one task; the slowest solution takes about one
IMPORT_SECONDS = 120.0  # minimum for the imports, which are slow on a busy or cold machine
ONLY_TAGGED = "(`fer check` runs only the answer cells: put helpers and imports there)"

Check = Callable[[Any], None]


class Status(StrEnum):
    """The outcome of a task."""

    right = "right"
    wrong = "wrong"
    not_done = NOT_DONE
    no_data = "needs data"


class Result(NamedTuple):
    """One task: the function's name, its outcome, and a message (empty if the answer is right)."""

    task: str
    status: Status
    message: str = ""

    def __str__(self) -> str:
        return f"{self.status:<12}  {self.task}" + (f": {self.message}" if self.message else "")


class Exercise(NamedTuple):
    """A student's notebook: its file, its number (1 to 6), its first heading, its tagged cells."""

    path: Path
    number: int
    title: str
    cells: list[tuple[str, str]]  # (name of the function, or "setup"; source)


# -------------------------------------------------------------------------------------- reading


def find(name: str) -> list[Path]:
    """The notebooks that `3`, `exercise-03`, `all`, or the path of a notebook stands for.

    Raises:
        UserError: if there is none of that name.
    """
    folder = project_root() / "course" / "exercises"
    available = sorted(folder.glob("exercise_[0-9][0-9].ipynb"))
    if name == "all":
        found = available
    elif name.endswith(".ipynb"):
        found = [Path(name)]
    else:
        number = re.fullmatch(r"(?:exercise[-_])?0*(\d)", name)
        found = [path for path in available if number and int(path.stem[-2:]) == int(number[1])]
    if not found:
        known = ", ".join(path.stem.replace("_", "-") for path in available) or "none"
        raise UserError(
            f"there is no exercise {name} in {folder}: choose from {known}, or all, "
            "or give the path of a notebook."
        )
    return found


def read(path: Path) -> Exercise:
    """Read the tagged cells of a notebook.

    Raises:
        UserError: if it is missing, damaged, or not an exercise of the course.
    """
    try:
        notebook = json.loads(path.read_text(encoding="utf-8-sig"))
        cells = [(cell, "".join(cell["source"])) for cell in notebook["cells"]]
        title = next((text.splitlines()[0] for _, text in cells if text[:2] == "# "), path.stem)
        number = _number(notebook["metadata"].get("exercise"), title, path.stem)
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}): give the path of a notebook."
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} cannot be read as an exercise ({type(error).__name__}: {error}): repair it, "
            "or copy the answers into a new copy of the exercise."
        ) from None
    tagged = []
    for cell, text in cells:
        tags = cell.get("metadata", {}).get("tags", [])
        if SETUP in tags:
            tagged.append((SETUP, text))
        elif "answer" in tags:
            tagged.append((next(tag for tag in [*tags, SETUP] if tag != "answer"), text))
    if not tagged:  # some tools drop the tags
        code = [text for cell, text in cells if cell.get("cell_type") == "code"]
        tagged = _cells_by_definition(code, number)
    return Exercise(path, number, title.lstrip("# "), tagged)


def _number(in_metadata: Any, title: str, stem: str) -> int:
    """The number of an exercise, from its metadata, its heading or its file name."""
    if in_metadata is not None:
        return int(in_metadata)
    found = re.search(r"xercise[ _-]?0*(\d+)", f"{title} {stem}")
    if found is None:
        raise ValueError("there is no exercise number in its metadata, its heading or its name")
    return int(found[1])


def _cells_by_definition(code: list[str], number: int) -> list[tuple[str, str]]:
    """The first code cell as set-up, and the cells that define a function of the exercise."""
    found = [(SETUP, text) for text in code[:1]]
    for text in code[1:]:
        defined = [name for name in load_checks(number) if re.search(rf"^def {name}\(", text, re.M)]
        found += [(name, text) for name in defined[:1]]
    return found


def load_checks(number: int) -> dict[str, Check]:
    """The checks of an exercise, from the name of the function to its check, in order.

    Raises:
        UserError: if the file with the checks is missing.
    """
    path = project_root() / "course" / "checks" / f"exercise_{number:02}.py"
    spec = importlib.util.spec_from_file_location(f"course_{path.stem}", path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise UserError(f"{path} is missing: restore it with `git restore course`.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {
        name.removeprefix("check_"): value
        for name, value in vars(module).items()
        if name.startswith("check_")
    }


# -------------------------------------------------------------------------------------- judging


def judge(task: str, check: Check, answer: Any) -> Result:
    """Check one function. An exception becomes a message, never a traceback."""
    try:
        check(answer)
    except Wrong as wrong:
        return Result(task, Status.wrong, str(wrong))
    except UserError as missing:
        return Result(task, Status.no_data, str(missing))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a student's `exit()` too
        if isinstance(error, NotImplementedError) and str(error) == NOT_DONE:
            return Result(task, Status.not_done)
        return Result(task, Status.wrong, crash(error, answer))
    return Result(task, Status.right)


def crash(error: BaseException, answer: Any) -> str:
    """The message for an exception, with the last line of the student's code that led to it."""
    file = getattr(getattr(answer, "__code__", None), "co_filename", None)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == file]
    message = f"{type(error).__name__}: {error}".strip().rstrip(":")
    if isinstance(error, NameError):
        message += f" {ONLY_TAGGED}"
    if not frames:
        return f"what the function returns cannot be used; {message}"
    return f"line {frames[-1].lineno} of the cell, `{frames[-1].line}`: {message}"


def checker(number: int) -> Callable[[Callable], None]:
    """For use in a notebook: `check = checker(3)`, then `check(my_function)` prints the result.

    Args:
        number: of the exercise, 1 to 6.

    Returns:
        A function that takes the student's function, whose name selects the task.
    """
    checks = load_checks(number)

    def check(answer: Callable) -> None:
        name = getattr(answer, "__name__", "?")
        if name not in checks:
            raise UserError(f"there is no task {name}: choose from {', '.join(checks)}.")
        print(judge(name, checks[name], answer))

    return check


# ----------------------------------------------------------------- a process for a student's code


def check_notebook(exercise: Exercise, seconds: float = SECONDS) -> Iterator[Result]:
    """Check every task of a saved notebook, each for `seconds` at most.

    The code runs in a separate process. If a task takes too long, its process is killed and a new
    one checks the remaining tasks.
    """
    todo, ready = list(load_checks(exercise.number)), False
    while todo:
        receiver, sender = get_context("spawn").Pipe()
        process = get_context("spawn").Process(
            target=_work, args=(exercise, todo, sender), daemon=True
        )
        process.start()
        sender.close()
        try:
            for part, limit in (("set-up", max(seconds, IMPORT_SECONDS)), ("answers", seconds)):
                if not receiver.poll(limit):
                    message = (
                        f"the cells of the {part} did not end within {limit:g} s: is there a loop?"
                    )
                    yield from (Result(task, Status.wrong, message) for task in todo)
                    return
                receiver.recv()
            ready = True
            while todo:
                if not receiver.poll(seconds):
                    message = f"did not end within {seconds:g} s: is there an endless loop?"
                    yield Result(todo.pop(0), Status.wrong, message)
                    break
                yield receiver.recv()
                todo.pop(0)
        except EOFError:
            message = "the Python process ended here."
            yield Result(todo.pop(0), Status.wrong, message)
            if not ready:
                yield from (Result(task, Status.wrong, message) for task in todo)
                return
        finally:
            process.kill()
            process.join()
            receiver.close()


def _work(exercise: Exercise, todo: list[str], report: Connection) -> None:
    """Run the set-up, the answers, then the checks; report the end of each part and each result."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which kills us
    limit_this_process()
    checks = load_checks(exercise.number)
    namespace: dict[str, Any] = {"__name__": "exercise"}
    with redirect_stdout(io.StringIO()):
        broken = run_cells([cell for cell in exercise.cells if cell[0] == SETUP], namespace)
        report.send("set up")
        broken |= run_cells([cell for cell in exercise.cells if cell[0] != SETUP], namespace)
        report.send("answers defined")
        for task in todo:
            if task in broken:
                report.send(Result(task, Status.wrong, broken[task]))
            elif task not in namespace:
                message = broken.get(SETUP) or f"the cell defines no function `{task}`."
                report.send(Result(task, Status.wrong, message))
            else:
                report.send(judge(task, checks[task], namespace[task]))


def run_cells(cells: list[tuple[str, str]], namespace: dict[str, Any]) -> dict[str, str]:
    """Run cells in `namespace`.

    Returns:
        For each cell that fails, its name and the error message.
    """
    broken: dict[str, str] = {}
    for name, source in cells:
        file = f"<cell {name}>"
        linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
        try:
            exec(compile(source, file, "exec"), namespace)
        except SyntaxError as error:
            line = (error.text or "").strip()
            broken[name] = f"line {error.lineno} of the cell, `{line}`: {error.msg}"
        except BaseException as error:
            code = compile("", file, "exec")
            broken[name] = crash(error, type("Cell", (), {"__code__": code}))
    return broken


# ---------------------------------------------------------------------------------- the command


def command(names: list[str], seconds: float, echo: Callable[[str], None]) -> bool:
    """Check exercises and print the results, one line per task.

    Args:
        names: see `find`.
        seconds: time limit of each task.
        echo: prints a line.

    Returns:
        Whether all exercises could be read and all their tasks are right.
    """
    all_right = True
    paths = [path for name in names for path in find(name)]
    for path in paths:
        try:
            exercise = read(path)
        except UserError as error:  # go on with the other files
            if len(paths) == 1:
                raise
            echo(f"Error: {error}")
            all_right = False
            continue
        echo(f"{exercise.title}  ({path})")
        results = []
        for result in check_notebook(exercise, seconds):
            echo(f"  {result}")
            results.append(result)
        right = sum(result.status is Status.right for result in results)
        echo(f"  {right} of {len(results)} right.")
        all_right &= right == len(results)
    return all_right
