"""Run one notebook as a stage: `python scripts/run_nb.py NOTEBOOK OUTPUT_FOLDER name=value ...`

Papermill runs the notebook; this script adds what a DVC stage needs:
- while it runs, the notebook is in `OUT/X.pid123.running.ipynb` (with the process id), so that a
  failed notebook can be read and `OUT/X.ipynb` is complete or absent;
- it ends with the process that started it, and its kernel with it;
- afterwards times, ids and versions are removed, so that equal runs give equal bytes;
- progress bars written by `fer_lib.progress` are copied to the terminal;
- an error is reported in a few lines: a `UserError` as its message;
- a notebook that raises `LeftOut` has nothing to do, and ends with status 0.
"""

import os
import re
import sys
import tempfile
import threading
import time
from pathlib import Path

from fer_lib.files import remove_stale
from fer_tools.processes import end_with_parent

if __name__ == "__main__":
    end_with_parent()  # first, because the imports below take seconds

import yaml

from fer_lib.processes import usable_cores

# This module builds a grammar for checking URLs in JSON, two seconds at every start. A notebook has
# no such URLs, and jsonschema works without the module if it cannot be imported.
sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]

import kernels  # noqa: E402
import nbformat  # noqa: E402
import papermill  # noqa: E402
from nbclient.exceptions import DeadKernelError  # noqa: E402
from papermill.exceptions import (  # noqa: E402
    PapermillException,
    PapermillExecutionError,
    strip_color,
)

from fer_lib.errors import LeftOut, UserError  # noqa: E402
from fer_lib.paths import scratch_folder  # noqa: E402

ERROR_TAG = "papermill-error-cell-tag"  # of the cells that papermill adds to a failed notebook
START_TIMEOUT = 300  # seconds; a busy computer with one core has needed 40
ARROW = re.compile("^-+> .*", re.MULTILINE)  # the line of a stack frame at which the error occurred


def normalize(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Remove what differs between two equal runs: times, ids, versions, how output was split."""
    notebook.metadata.pop("papermill", None)
    notebook.metadata.get("language_info", {}).pop("version", None)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        if cell.cell_type == "code":
            cell.outputs = joined_streams(cell.outputs)
    return notebook


def seconds_of_work(notebook: nbformat.NotebookNode) -> float:
    """The cells' duration according to papermill, without cells that begin with an import."""
    return sum(
        cell.metadata.papermill.duration or 0
        for cell in notebook.cells
        if cell.cell_type == "code" and not cell.source.startswith(("import ", "from "))
    )


def joined_streams(outputs: list) -> list:
    """Join neighboring parts of one stream; where papermill splits them depends on the time."""
    joined: list = []
    for output in outputs:
        last = joined[-1] if joined else {}
        if output["output_type"] == "stream" and last.get("name") == output["name"]:
            last["text"] += output["text"]
        else:
            joined.append(output)
    return joined


def short_report(error: PapermillExecutionError) -> str:
    """The error of a failed cell: a `UserError`'s message, or a shortened traceback.

    The traceback has only the line of the cell and the innermost line.
    """
    if error.ename == UserError.__name__:
        return f"Error: {error.evalue}"
    frames = [strip_color(part) for part in error.traceback]
    places = [(frame.splitlines()[0], line[0]) for frame in frames if (line := ARROW.search(frame))]
    lines = [line for place in dict.fromkeys([*places[:1], *places[-1:]]) for line in place]
    return "\n".join([*lines, f"{error.ename}: {error.evalue}"])


def cut_where_left_out(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """End a notebook at the cell that raised `LeftOut`, with the message as that cell's output."""
    cells = [c for c in notebook.cells if ERROR_TAG not in c.metadata.get("tags", [])]
    for place, cell in enumerate(cells):
        for output in cell.get("outputs", []):
            if output.output_type == "error" and output.ename == LeftOut.__name__:
                text = {"text/markdown": output.evalue}
                cell.outputs = [nbformat.v4.new_output("display_data", text)]
                notebook.cells = cells[: place + 1]
                return notebook
    return notebook


def copy_to_terminal(path: Path, stop: threading.Event) -> None:
    """Copy what is appended to `path` to standard error until `stop` is set."""
    with path.open() as file:
        while True:
            ending = stop.is_set()
            if text := file.read():
                sys.stderr.write(text)
                sys.stderr.flush()
            elif ending:
                return
            time.sleep(0.2)


def run(source: Path, out: Path, parameters: dict) -> int:
    """Run `source` with `parameters` into `out`; exit status 0, or 1 with the error printed."""
    out.mkdir(parents=True, exist_ok=True)
    name = target_name(source, parameters)
    running, target = out / f"{name}.pid{os.getpid()}.running.ipynb", out / f"{name}.ipynb"
    remove_stale(out / name)
    stop = threading.Event()
    with tempfile.TemporaryDirectory() as folder:
        bars = Path(folder) / "bars"
        bars.touch()
        os.environ["FER_PROGRESS_FILE"] = str(bars)
        # The user's IPython start-up files have no effect, and HOME need not be writable.
        os.environ["IPYTHONDIR"] = os.environ["JUPYTER_RUNTIME_DIR"] = folder
        # More threads than cores wait for each other.
        os.environ.setdefault("OMP_NUM_THREADS", str(usable_cores()))
        if not os.access(Path.home(), os.W_OK):  # else the notebook would contain a warning
            os.environ.setdefault("MPLCONFIGDIR", str(scratch_folder() / "matplotlib"))
        # A kernel of this environment, whatever "python3" means to the user's Jupyter.
        os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        kernels.use()
        copier = threading.Thread(target=copy_to_terminal, args=(bars, stop))
        copier.start()
        try:
            papermill.execute_notebook(
                source, running, parameters, kernel_name="python3", progress_bar=False,
                start_timeout=START_TIMEOUT,
                # Hides the kernel's log messages; errors of cells are still shown.
                extra_arguments=["--IPKernelApp.log_level=CRITICAL"],
            )  # fmt: skip
        except PapermillExecutionError as error:
            if error.ename != LeftOut.__name__:
                print(short_report(error), file=sys.stderr)
                print(f"{source} failed; see how far it came in {running}", file=sys.stderr)
                return 1
            print(f"{source}: {error.evalue}", file=sys.stderr)
        except DeadKernelError:
            print(
                f"{source}: its process was killed, most likely because the computer ran out of "
                "memory: close other programs, or lower batch_size in params.yaml.",
                file=sys.stderr,
            )
            return 1
        except RuntimeError as error:  # from the kernel's start; errors of cells are handled above
            print(
                f"{source}: its kernel does not start ({error}): reinstall the environment "
                "(`uv sync`), and allow local connections to 127.0.0.1.",
                file=sys.stderr,
            )
            return 1
        except PapermillException as error:
            print(f"{source}: {error}", file=sys.stderr)
            return 1
        finally:
            stop.set()
            copier.join()
    notebook = nbformat.read(running, as_version=4)
    if "FER_TIMES" in os.environ:
        with open(os.environ["FER_TIMES"], "a") as file:
            file.write(f"{name}\t{seconds_of_work(notebook)}\n")
    nbformat.write(normalize(cut_where_left_out(notebook)), running)
    running.replace(target)
    return 0


def target_name(source: Path, parameters: dict) -> str:
    """`30_train-fer13-7` for the notebook `30_train` run with `task=fer13-7`."""
    return "-".join([source.stem, *filter(None, [parameters.get("task")])])


def main() -> int:
    """Command line: notebook, output folder, name=value ..."""
    source, out, *pairs = sys.argv[1:]
    parameters = {name: yaml.safe_load(value) for name, value in (p.split("=", 1) for p in pairs)}
    return run(Path(source), Path(out), parameters)


if __name__ == "__main__":
    sys.exit(main())
