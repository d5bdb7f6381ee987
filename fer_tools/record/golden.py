"""The golden training: does the training code still reproduce its recorded results?

Training the paper study takes hours, which a moved module or a corrected comment should not
require. Here each training notebook of the study runs as in its stage, on a few generated faces,
with a tiny network and a few steps (`studies/golden/params.yaml`), in seconds and on the CPU. Its
losses, and a summary of each tensor of its final weights, must equal those of
`studies/golden/record.json`. `fer record renew` (`renew.py`) relies on it.

A case is one notebook with one task, and depends on no other case: it begins with random weights
that are generated here. The notebook itself is run, so that its own code is checked as well.

Not covered: what only a GPU does (CUDA graphs, bfloat16, `torch.compile`), and several processes.
"""

import contextlib
import io
import itertools
import json
import os
import re
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import matplotlib as mpl
import nbformat
import numpy as np
import torch
from torch import Tensor

from fer_lib.data.arrays import CkPlus, Fer13, save_ckplus, save_fer13
from fer_lib.errors import UserError
from fer_lib.labels import FER_CLASSES

# The study's code that writes the input of a case; everything else is imported by the notebooks.
from fer_lib.models.card import Card
from fer_lib.models.msfernet import Encoder, MSFERNet
from fer_lib.models.weights import save_weights
from fer_lib.params import Architecture, load
from fer_lib.paths import project_root
from fer_lib.progress import PROGRESS_FILE

STUDY = "golden"
FOLDER = Path("studies") / STUDY  # in the project: params.yaml and record.json

# In double precision AVX2, AVX-512 and SSE agree in all six digits of the record.
TOLERANCE = 1e-4  # relative
SMALLEST = 1e-3  # the tolerance of smaller values is that of this value
SUMMARY = ("mean", "deviation", "projection")


@dataclass(frozen=True)
class Case:
    """A training notebook, by its name without suffix, and the task it is run for, if any."""

    notebook: str
    task: str = ""


CASES = {
    "pretrain": Case("20_pretrain"),
    "teacher": Case("25_teach", "teacher-1"),
    "classes": Case("30_train", "fer13-7"),
    "valence": Case("30_train", "fer13-3"),
    "intensity": Case("45_train_intensity", "ferplus-7"),
    "intensity-vgg": Case("45_train_intensity", "ferplus-7-vgg"),
    "ckplus": Case("48_train_ckplus"),
}

Result = dict[str, dict[str, Any]]


def run(name: str) -> Result:
    """Run a case and return its results.

    Returns:
        For each training run of the case, by the title of its checkpoint: `history`, the rows of
        `loop.fit` without the epoch's number, and `weights`, the result of `summarize` for each
        tensor; for each fold of a cross-validation, `weights` of its logits.

    Raises:
        UserError: if the notebook fails, naming notebook and error.
    """
    case, notebooks = CASES[name], project_root() / "notebooks"
    params = (project_root() / FOLDER / "params.yaml").read_text(encoding="utf-8")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums in one order, and faster for a network this small
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path("params.yaml").write_text(params, encoding="utf-8")
        Path("fer_lib").mkdir()  # with params.yaml this marks a project, see `project_root`
        _write_inputs(Path("build") / STUDY)
        try:
            _execute(notebooks / f"{case.notebook}.ipynb", study=STUDY, task=case.task)
        finally:
            torch.set_num_threads(threads)
        return dict(_results(Path(".scratch")))


def compare(recorded: Result, found: Result) -> list[str]:
    """The differences from the record that exceed `TOLERANCE`, a line each, the largest first.

    Values of a history are compared relative to themselves; those of a tensor relative to its
    standard deviation, or to its mean if that is larger.
    """
    if missing := recorded.keys() ^ found.keys():
        return [f"{name}: {'not trained' if name in recorded else 'new'}" for name in missing]
    differences = []
    for title, parts in recorded.items():
        for name, old, new, allowed in _value_pairs(parts, found[title]):
            if old is None or new is None or not abs(new - old) <= allowed:
                size = np.inf if old is None or new is None else abs(new - old) / allowed
                line = f"{title}, {name}: recorded {_text(old)}, got {_text(new)}"
                differences.append((size, f"{line}, tolerance {allowed:.2g}"))
    return [line for _, line in sorted(differences, key=lambda pair: -pair[0])]


def check(names: list[str]) -> dict[str, list[str]]:
    """Run cases and compare them with the record; returns the result of `compare` for each.

    Raises:
        UserError: if there is no record, or it lacks a case.
    """
    recorded = read_record()
    differences = {}
    for name in names:
        if name not in recorded:
            raise UserError(
                f"{FOLDER / 'record.json'} lacks the case {name}: on code that is known to be "
                "correct, run `fer record golden --record`."
            )
        try:
            differences[name] = compare(recorded[name], run(name))
        except UserError as error:
            differences[name] = [str(error)]
    return differences


def read_record() -> dict[str, Result]:
    """The committed results of all cases.

    Raises:
        UserError: if the file is missing or damaged.
    """
    path = project_root() / FOLDER / "record.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))["cases"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{path} cannot be read ({type(error).__name__}): restore it with `git checkout`."
        ) from None


def write_record(cases: dict[str, Result]) -> Path:
    """Replace the committed results of these cases; each tensor is one line of the file."""
    path = project_root() / FOLDER / "record.json"
    kept = read_record() if path.is_file() else {}
    everything = {name: (kept | cases)[name] for name in CASES if name in kept | cases}
    text = json.dumps({"cases": everything}, indent=1)
    # Each list on one line: a changed tensor is one line of the diff.
    text = re.sub(r"\[\s+([^\[\]{}]*?)\s+\]", lambda m: f"[{' '.join(m[1].split())}]", text)
    path.write_text(text + "\n", encoding="utf-8", newline="\n")
    return path


def summarize(name: str, tensor: Tensor) -> list[float]:
    """Mean, standard deviation, and a random projection of a tensor, to six digits.

    The projection is the scalar product with a fixed random vector, divided by the root of the
    number of values: it has the magnitude of a standard deviation, and any changed or swapped value
    changes it.
    """
    values = tensor.detach().double().flatten().numpy()
    direction = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(len(values))
    statistics = values.mean(), values.std(), values @ direction / len(values) ** 0.5
    return [float(f"{statistic:.6g}") for statistic in statistics]


# ---------------------------------------------------------------------------------- the notebooks


def _execute(notebook: Path, **parameters: str) -> None:
    """Run a notebook's code in this process, without Jupyter and without output."""
    values: dict[str, Any] = {"display": lambda *_objects: None}
    environment = {PROGRESS_FILE: os.devnull, "LT_ACCELERATOR": "cpu"}
    done = 0
    try:
        with (
            mock.patch.dict(os.environ, environment),
            mpl.rc_context({"backend": "Agg"}),
            contextlib.redirect_stdout(io.StringIO()),
            _in_double_precision(),
        ):
            for cell in nbformat.read(notebook, as_version=4).cells:
                if cell.cell_type == "code":
                    exec(compile(cell.source, str(notebook), "exec"), values)
                    if "parameters" in cell.metadata.get("tags", []):
                        values |= {k: v for k, v in parameters.items() if k in values and v}
                done += 1
    except Exception as error:  # changed code may raise anything
        raise UserError(
            f"{notebook.name} fails in cell {done} of the golden training "
            f"({type(error).__name__}: {error}): correct the notebook or the code that it calls."
        ) from error


@contextlib.contextmanager
def _in_double_precision() -> Iterator[None]:
    """Compute everything in float64, also what the code converts to float32.

    Muon and batch norm amplify rounding errors: in float32, two processors differ after a few steps
    by as much as a changed line of code does.
    """
    from_numpy = torch.from_numpy

    def as_double(array: np.ndarray) -> Tensor:
        tensor = from_numpy(array)
        return tensor.double() if tensor.dtype == torch.float32 else tensor

    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with (
            mock.patch.object(Tensor, "float", Tensor.double),
            mock.patch.object(torch, "from_numpy", as_double),
        ):
            yield
    finally:
        torch.set_default_dtype(before)


def _results(scratch: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The results of training runs: checkpoints of `loop.fit`, logits of finished folds."""
    for path in sorted(scratch.iterdir()):
        title = re.sub(r"-[0-9a-f]{16}$", "", path.stem)  # without the fingerprint
        if path.suffix == ".pt":
            state = torch.load(path, map_location="cpu", weights_only=True)
            keys = [key for key in state["history"][0] if key != "epoch"]
            rows = {k: [float(f"{row[k]:.6g}") for row in state["history"]] for k in keys}
            weights = {n: summarize(n, t) for n, t in state["best"]["weights"].items()}
            yield title, {"history": rows, "weights": weights}
        elif path.suffix == ".npy":
            logits = torch.from_numpy(np.load(path))
            yield title, {"weights": {"logits": summarize("logits", logits)}}


def _value_pairs(
    recorded: dict, found: dict
) -> Iterator[tuple[str, float | None, float | None, float]]:
    """Each value of a run: name, recorded and found value (None: missing), and its tolerance."""
    for part in ("history", "weights"):
        recorded_part, found_part = recorded.get(part, {}), found.get(part, {})
        for name in recorded_part | found_part:
            before, after = recorded_part.get(name, []), found_part.get(name, [])
            for index, (old, new) in enumerate(itertools.zip_longest(before, after)):
                if part == "history":
                    what, size = f"epoch {index + 1}", abs(old or 0)
                else:
                    what, size = SUMMARY[index], max(map(abs, before[:2]), default=0)
                yield f"{name}, {what}", old, new, TOLERANCE * max(size, SMALLEST)


def _text(value: float | None) -> str:
    return "nothing" if value is None else f"{value:.6g}"


# --------------------------------------------------------------------------------------- the input


def _write_inputs(build: Path) -> None:
    """Write all inputs of the training stages: faces, and networks with random weights."""
    save_fer13(build / "fer13.npz", _fer13())
    save_ckplus(build / "ckplus.npz", _ckplus())
    arch = load(STUDY, Path.cwd()).model
    torch.manual_seed(5)
    _save(build / "encoder.safetensors", "encoder", "supcon", Encoder(arch), arch)
    starts = [build / "fer13-7.safetensors", build / "seeds" / "2" / "fer13-7.safetensors"]
    for path in [*starts, *(build / "teachers" / f"teacher-{n}.safetensors" for n in (1, 2))]:
        network = MSFERNet(len(FER_CLASSES), arch)
        with torch.no_grad():
            network.classifier.linear.weight *= 20  # uniform soft targets would test less
        _save(path, "classifier", "fer13-7", network, arch)


def _save(path: Path, kind: str, task: str, network: torch.nn.Module, arch: Architecture) -> None:
    notes = {"validation_accuracy": 0.2}
    card = Card(kind, STUDY, task, arch, {"seed": 1}, "unknown", notes)
    save_weights(path, network.state_dict(), card)


def _faces(labels: np.ndarray, seed: int) -> np.ndarray:
    """Noise with a bright bar whose position is the class: (N,) labels -> (N, 48, 48) uint8."""
    draws = np.random.default_rng(seed)
    images = draws.integers(0, 150, (len(labels), 48, 48))
    for image, label in zip(images, labels, strict=True):
        image[6 * label + 3 : 6 * label + 8, 4:44] += 100
    return images.astype(np.uint8)


def _fer13() -> Fer13:
    """56 training, 28 validation and 14 test faces, with FER+ votes."""
    labels = np.arange(98) % len(FER_CLASSES)
    draws = np.random.default_rng(0)
    return Fer13(
        images=_faces(labels, 1),
        labels=labels,
        usage=np.repeat(["Training", "PublicTest", "PrivateTest"], [56, 28, 14]),
        row=np.arange(len(labels)),
        votes=draws.multinomial(10, [0.14] * 7 + [0.02, 0, 0], len(labels)),
        duplicate_of_training=np.zeros(len(labels), dtype=bool),
    )


def _ckplus() -> CkPlus:
    """42 images: three subjects, each emotion in two frames."""
    labels = np.tile(np.repeat(np.arange(len(FER_CLASSES)), 2), 3)
    subject = np.repeat([f"S{number:03}" for number in range(3)], 14)
    sequence = np.array([f"{s}_{label:03}" for s, label in zip(subject, labels, strict=True)])
    frame = np.arange(len(labels)) % 2
    path = np.array([f"{s}_{f}.png" for s, f in zip(sequence, frame, strict=True)])
    return CkPlus(
        images=_faces(labels, 2), labels=labels, subject=subject, sequence=sequence, frame=frame,
        position=frame.astype(float), path=path,
    )  # fmt: skip
