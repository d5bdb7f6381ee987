"""Run one notebook as a stage: `python scripts/run_nb.py NOTEBOOK OUTPUT_FOLDER name=value ...`

Papermill does the work; around it stand the three things a DVC stage needs:
- while it runs, the notebook lies in `OUT/X.running.ipynb`, so that a failed one stays for reading
  and `OUT/X.ipynb` is whole or absent;
- afterwards times, ids and versions are dropped, so that the same work gives the same bytes;
- progress bars written by `fer_lib.progress` are copied to the terminal.
"""

import os
import sys
import tempfile
import threading
import time
from pathlib import Path

import yaml

from fer_lib.threads import usable_cores

# Checking addresses inside JSON needs a grammar that takes two seconds to build, at every start. A
# notebook has none to check, and jsonschema does without where this module cannot be imported.
sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]

import nbformat  # noqa: E402
import papermill  # noqa: E402
from papermill.exceptions import PapermillException, PapermillExecutionError  # noqa: E402


def normalise(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Drop what differs between two equal runs: times, ids, versions, how output was split."""
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
    """How long papermill says the cells took, without those that begin with an import."""
    return sum(
        cell.metadata.papermill.duration or 0
        for cell in notebook.cells
        if cell.cell_type == "code" and not cell.source.startswith(("import ", "from "))
    )


def joined_streams(outputs: list) -> list:
    """Neighbouring pieces of one stream as one piece; papermill cuts them where the clock says."""
    joined: list = []
    for output in outputs:
        last = joined[-1] if joined else {}
        if output["output_type"] == "stream" and last.get("name") == output["name"]:
            last["text"] += output["text"]
        else:
            joined.append(output)
    return joined


def copy_to_terminal(path: Path, stop: threading.Event) -> None:
    """Show what is appended to `path` on standard error until `stop` is set."""
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
    """Execute `source` with `parameters` into `out`; exit status 0, or 1 with the error told."""
    out.mkdir(parents=True, exist_ok=True)
    name = target_name(source, parameters)
    running, target = out / f"{name}.running.ipynb", out / f"{name}.ipynb"
    stop = threading.Event()
    with tempfile.TemporaryDirectory() as folder:
        bars = Path(folder) / "bars"
        bars.touch()
        os.environ["FER_PROGRESS_FILE"] = str(bars)
        # More threads than cores wait for each other.
        os.environ.setdefault("OMP_NUM_THREADS", str(usable_cores()))
        # A kernel of this environment, whatever "python3" means to the user's Jupyter.
        os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        copier = threading.Thread(target=copy_to_terminal, args=(bars, stop))
        copier.start()
        try:
            papermill.execute_notebook(
                source, running, parameters, kernel_name="python3", progress_bar=False,
                # The kernel's own talk about its transport and its end; errors of cells still show.
                extra_arguments=["--IPKernelApp.log_level=CRITICAL"],
            )  # fmt: skip
        except PapermillExecutionError as error:
            print(error, file=sys.stderr)
            print(f"{source} failed; read how far it came in {running}", file=sys.stderr)
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
    nbformat.write(normalise(notebook), running)
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
