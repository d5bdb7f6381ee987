"""The exercises of `course/`: run what a student wrote, and say of each task whether it is right.

An exercise is a notebook. Only its cells with the tag `setup` or `answer` are run; an answer cell
has the name of the function that it must define as its second tag. For each such NAME there is a
function `check_NAME` in `course/checks/exercise_NN.py`, which calls the student's function.

The same checks run in two places: `checker` within the notebook, on the function as it is there;
`fer check` on the saved file, in a process of its own that is ended when it takes too long.
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

NOT_DONE = "not done yet"  # what a starter raises
SETUP = "setup"
SECONDS = 20.0  # for one task; the slowest solution takes about one
IMPORT_SECONDS = 120.0  # at least for the imports, which are slow on a busy or cold machine
ONLY_TAGGED = "(`fer check` runs only the cells of the answers: put helpers and imports in there)"

Check = Callable[[Any], None]


class Status(StrEnum):
    """What became of a task."""

    right = "right"
    wrong = "wrong"
    not_done = NOT_DONE
    no_data = "needs data"


class Result(NamedTuple):
    """One task: the function's name, what became of it, and a sentence (empty where right)."""

    task: str
    status: Status
    said: str = ""

    def __str__(self) -> str:
        return f"{self.status:<12}  {self.task}" + (f": {self.said}" if self.said else "")


class Exercise(NamedTuple):
    """A student's notebook: its file, its number (1 to 6), its first heading, its tagged cells."""

    path: Path
    number: int
    title: str
    cells: list[tuple[str, str]]  # (name of the function, or "setup"; source)


# -------------------------------------------------------------------------------------- reading


def find(name: str) -> list[Path]:
    """The notebooks of `3`, `exercise-03`, `all`, or the path of one.

    Raises:
        UserError: if there is none of that name.
    """
    folder = project_root() / "course" / "exercises"
    there = sorted(folder.glob("exercise_[0-9][0-9].ipynb"))
    if name == "all":
        found = there
    elif name.endswith(".ipynb"):
        found = [Path(name)]
    else:
        number = re.fullmatch(r"(?:exercise[-_])?0*(\d)", name)
        found = [path for path in there if number and int(path.stem[-2:]) == int(number[1])]
    if not found:
        known = ", ".join(path.stem.replace("_", "-") for path in there) or "none"
        raise UserError(
            f"there is no exercise {name} in {folder}: choose from {known}, or all, "
            "or name a notebook."
        )
    return found


def read(path: Path) -> Exercise:
    """Read the tagged cells of a notebook.

    Raises:
        UserError: if it is missing, damaged, or none of the course's.
    """
    try:
        notebook = json.loads(path.read_text(encoding="utf-8-sig"))
        cells = [(cell, "".join(cell["source"])) for cell in notebook["cells"]]
        title = next((text.splitlines()[0] for _, text in cells if text[:2] == "# "), path.stem)
        number = _number(notebook["metadata"].get("exercise"), title, path.stem)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): name a notebook.") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} cannot be read as an exercise ({type(error).__name__}: {error}): mend it, or "
            "copy the answers into a new copy of the exercise."
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
        tagged = _by_what_they_define(code, number)
    return Exercise(path, number, title.lstrip("# "), tagged)


def _number(noted: Any, title: str, stem: str) -> int:
    """Of an exercise: as its metadata, its heading or its file name has it."""
    if noted is None:
        found = re.search(r"xercise[ _-]?0*(\d+)", f"{title} {stem}")
        if found is None:
            raise ValueError("neither its metadata, its heading nor its name tells which one it is")
        noted = found[1]
    return int(noted)


def _by_what_they_define(code: list[str], number: int) -> list[tuple[str, str]]:
    """The code cells that define a function of the exercise, and before them the first one."""
    found = [(SETUP, text) for text in code[:1]]
    for text in code[1:]:
        defined = [name for name in load_checks(number) if re.search(rf"^def {name}\(", text, re.M)]
        found += [(name, text) for name in defined[:1]]
    return found


def load_checks(number: int) -> dict[str, Check]:
    """The checks of an exercise by the name of the function they check, in order.

    Raises:
        UserError: if this copy of the project has no such checks.
    """
    path = project_root() / "course" / "checks" / f"exercise_{number:02}.py"
    spec = importlib.util.spec_from_file_location(f"course_{path.stem}", path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise UserError(f"{path} is missing: get it with `git restore course`.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {
        name.removeprefix("check_"): value
        for name, value in vars(module).items()
        if name.startswith("check_")
    }


# -------------------------------------------------------------------------------------- judging


def judge(task: str, check: Check, answer: Any) -> Result:
    """Check one function. Whatever it raises becomes a sentence, never a traceback."""
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
    """What a function raised, and the last line of the student's own that led there."""
    file = getattr(getattr(answer, "__code__", None), "co_filename", None)
    own = [place for place in traceback.extract_tb(error.__traceback__) if place.filename == file]
    said = f"{type(error).__name__}: {error}".strip().rstrip(":")
    if isinstance(error, NameError):
        said += f" {ONLY_TAGGED}"
    if not own:
        return f"what the function gives cannot be used; {said}"
    return f"line {own[-1].lineno} of the cell, `{own[-1].line}`: {said}"


def checker(number: int) -> Callable[[Callable], None]:
    """For use in a notebook: `check = checker(3)`, then `check(my_function)` prints the result.

    Args:
        number: of the exercise, 1 to 6.

    Returns:
        A function that takes the student's function, whose name tells the task.
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

    The code runs in a process of its own. One that does not end is ended, and a new process takes
    the tasks that are left.
    """
    todo, ready = list(load_checks(exercise.number)), False
    while todo:
        ours, theirs = get_context("spawn").Pipe()
        process = get_context("spawn").Process(
            target=_work, args=(exercise, todo, theirs), daemon=True
        )
        process.start()
        theirs.close()
        try:
            for part, limit in (("set-up", max(seconds, IMPORT_SECONDS)), ("answers", seconds)):
                if not ours.poll(limit):
                    said = (
                        f"the cells of the {part} did not end within {limit:g} s: is there a loop?"
                    )
                    yield from (Result(task, Status.wrong, said) for task in todo)
                    return
                ours.recv()
            ready = True
            while todo:
                if not ours.poll(seconds):
                    said = f"did not end within {seconds:g} s: is there an endless loop?"
                    yield Result(todo.pop(0), Status.wrong, said)
                    break
                yield ours.recv()
                todo.pop(0)
        except EOFError:
            said = "Python itself came to an end here."
            yield Result(todo.pop(0), Status.wrong, said)
            if not ready:
                yield from (Result(task, Status.wrong, said) for task in todo)
                return
        finally:
            process.kill()
            process.join()
            ours.close()


def _work(exercise: Exercise, todo: list[str], report: Connection) -> None:
    """Run the set-up, the answers, then the checks; send a word after both, and each result."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends us
    checks = load_checks(exercise.number)
    namespace: dict[str, Any] = {"__name__": "exercise"}
    with redirect_stdout(io.StringIO()):
        broken = run_cells([cell for cell in exercise.cells if cell[0] == SETUP], namespace)
        report.send("set up")
        broken |= run_cells([cell for cell in exercise.cells if cell[0] != SETUP], namespace)
        report.send("answers are there")
        for task in todo:
            if task in broken:
                report.send(Result(task, Status.wrong, broken[task]))
            elif task not in namespace:
                said = broken.get(SETUP) or f"the cell defines no function `{task}`."
                report.send(Result(task, Status.wrong, said))
            else:
                report.send(judge(task, checks[task], namespace[task]))


def run_cells(cells: list[tuple[str, str]], namespace: dict[str, Any]) -> dict[str, str]:
    """Run cells, which put what they define into `namespace`.

    Returns:
        By cell, what was wrong with those that do not run.
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


def command(names: list[str], seconds: float, say: Callable[[str], None]) -> bool:
    """Check exercises and tell the results, one line a task.

    Args:
        names: see `find`.
        seconds: for each task.
        say: prints a line.

    Returns:
        Whether all of them could be read, and every task of them is right.
    """
    all_right = True
    paths = [path for name in names for path in find(name)]
    for path in paths:
        try:
            exercise = read(path)
        except UserError as error:  # the others are checked
            if len(paths) == 1:
                raise
            say(f"Error: {error}")
            all_right = False
            continue
        say(f"{exercise.title}  ({path})")
        results = []
        for result in check_notebook(exercise, seconds):
            say(f"  {result}")
            results.append(result)
        right = sum(result.status is Status.right for result in results)
        say(f"  {right} of {len(results)} right.")
        all_right &= right == len(results)
    return all_right
