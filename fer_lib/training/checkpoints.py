"""Checkpoints: the state of a run in a file, and the name that identifies a run."""

import ast
import hashlib
import json
import subprocess
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from fer_lib.errors import UserError
from fer_lib.files import whole
from fer_lib.paths import project_root

# The modules whose code decides what a training run computes.
TRAINING_CODE = (
    "fer_lib/labels.py",
    "fer_lib/models/forward.py",
    "fer_lib/models/msfernet.py",
    "fer_lib/models/quantization.py",
    "fer_lib/training/augment.py",
    "fer_lib/training/average.py",
    "fer_lib/training/batches.py",
    "fer_lib/training/cuda_graph.py",
    "fer_lib/training/distillation.py",
    "fer_lib/training/loop.py",
    "fer_lib/training/losses.py",
    "fer_lib/training/objective.py",
    "fer_lib/training/optimizers.py",
    "fer_lib/training/step.py",
)
TWO_HEAD_CODE = (
    *TRAINING_CODE,
    "fer_lib/models/two_head.py",
    "fer_lib/models/vgg.py",
    "fer_lib/training/two_head.py",
)
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef)  # what may have a docstring
CODE_ROOT = Path(__file__).resolve().parents[2]
SAVE_EVERY = 15.0  # seconds at least between two writings: on a GPU an epoch may take less


class Checkpoint:
    """The state of a training run, and the file it is kept in.

    Args:
        path: of the file; None keeps nothing.
        model, average, optimizer: whose states decide how the run continues.

    Attributes:
        epoch: epochs done.
        history: a dict for each of them.
        best_epoch, best_weights: the epoch that is kept, and its weights (CPU, float16).
    """

    def __init__(
        self,
        path: Path | None,
        model: nn.Module,
        average: nn.Module,
        optimizer: torch.optim.Optimizer,
    ) -> None:
        self.path, self.model, self.average, self.optimizer = path, model, average, optimizer
        self.epoch, self.history = 0, list[dict[str, float]]()
        self.best: dict = {}
        self._saved = time.monotonic()

    @property
    def best_epoch(self) -> int:
        return int(self.best["epoch"])

    @property
    def best_weights(self) -> dict[str, Tensor]:
        return self.best["weights"]

    def keep_the_better(self, row: dict[str, float], weights: dict[str, Tensor]) -> None:
        """Keep the weights of an epoch if its val_accuracy is above all before, or not known."""
        judged = self.best and "val_accuracy" in row
        if not judged or row["val_accuracy"] > self.best["val_accuracy"]:
            self.best = row | {"weights": weights}

    def add(self, row: dict[str, float]) -> None:
        """An epoch is done; `row` goes into the history."""
        self.epoch += 1
        self.history.append(row)

    def save(self, finished: bool) -> None:
        """Write the file, whole or not at all, unless it was just written.

        A finished run needs no states to continue from; its file is a tenth of the size.
        """
        if self.path is None or not (finished or time.monotonic() - self._saved >= SAVE_EVERY):
            return
        states = [self.model.state_dict(), self.average.state_dict(), self.optimizer.state_dict()]
        state = {
            "epoch": self.epoch, "history": self.history, "best": self.best,
            "going": [] if finished else states,
        }  # fmt: skip
        with whole(self.path) as part, part.open("wb") as file:
            torch.save(state, file)
        self._saved = time.monotonic()

    def restore(self) -> None:
        """Continue from the file, if there is one.

        Raises:
            UserError: if it is damaged, or of another network.
        """
        if self.path is None or not self.path.exists():
            return
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
            if state["best"]:
                self.average.load_state_dict(state["best"]["weights"])
            if state["going"]:
                model, average, optimizer = state["going"]
                self.model.load_state_dict(model)
                self.average.load_state_dict(average)
                self._restore_optimizer(optimizer)
            self.epoch, self.history, self.best = (state[n] for n in ("epoch", "history", "best"))
        except Exception as error:  # torch.load raises a dozen kinds, each for a damaged file
            raise UserError(
                f"{self.path} is no usable checkpoint ({type(error).__name__}): delete it; "
                "the training then starts from the beginning."
            ) from None

    def _restore_optimizer(self, state: dict) -> None:
        # Where the optimizer keeps its state depends on the device of today.
        for saved, group in zip(state["param_groups"], self.optimizer.param_groups, strict=True):
            saved |= {name: group[name] for name in ("capturable",) if name in group}
        self.optimizer.load_state_dict(state)


def flat_weights(model: torch.nn.Module) -> Tensor:
    """All weights of a network in one row (CPU, float32), for the `fingerprint` of its run."""
    return torch.cat([t.float().cpu().flatten() for t in model.state_dict().values()])


def fingerprint(
    settings: Mapping,
    arrays: Iterable[np.ndarray | Tensor],
    code: Iterable[str] = TRAINING_CODE,
) -> str:
    """One name for what a training run will compute: settings, data and code.

    Comments and docstrings do not count, so that a better sentence does not cost a training run.
    The name is the same in each version of Python, so that a run can be continued elsewhere.

    Args:
        settings: of the run.
        arrays: its data and the weights it starts from.
        code: files, from the project's folder, whose code decides what it computes.

    Returns:
        16 hexadecimal digits.
    """
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for file in code:
        tree = ast.parse((CODE_ROOT / file).read_text())
        for node in ast.walk(tree):
            if isinstance(node, DOCUMENTED) and ast.get_docstring(node) is not None:
                node.body[0] = ast.Pass()
        digest.update(_dump(tree).encode())
    for array in arrays:
        values = np.ascontiguousarray(array)
        digest.update(f"{values.dtype}{values.shape}".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()[:16]


def _dump(node: object) -> str:
    """As `ast.dump`, without what is empty: which fields there are depends on Python's version."""
    if isinstance(node, list):
        return f"[{', '.join(map(_dump, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = [(name, value) for name, value in ast.iter_fields(node) if value not in (None, [])]
    return f"{type(node).__name__}({', '.join(f'{name}={_dump(value)}' for name, value in fields)})"


def code_commit(code: Iterable[str] = TRAINING_CODE) -> str:
    """The last commit that changed the training code, "+changes" if it differs from that commit."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments, "--", *code],
            cwd=project_root(), capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip

    try:
        commit = git("log", "-1", "--format=%H")
        return (commit or "uncommitted") + (
            "+changes" if commit and git("status", "--porcelain") else ""
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def trained_at(checkpoint: Path, code: Iterable[str] = TRAINING_CODE) -> str:
    """The commit at which a run was begun, for its card.

    It stands in a small file beside the checkpoint, written when the run begins. So a run that is
    continued, or taken over finished, names the code that trained it, not the code of today.
    """
    note = checkpoint.with_suffix(".commit")
    if not note.exists():
        with whole(note) as part:
            part.write_text(code_commit(code) + "\n")
    return note.read_text().strip()
