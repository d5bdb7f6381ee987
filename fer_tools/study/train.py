"""`fer train STUDY TASK`: one training run of a study, in one process or in several.

Under torchrun, which starts any number of processes on one or several machines, the processes train
together: each takes its part of every batch, and the gradients are averaged
(`DistributedDataParallel`, by lightning's Fabric).

When the run is finished, `dvc repro` runs the task's notebook, which uses the checkpoint. The
network is written to build/STUDY as well, so that `schedule.py` can do all runs of a study before
the first notebook.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from filelock import FileLock, Timeout
from lightning_fabric import Fabric

from fer_lib.errors import UserError
from fer_lib.files import lock_of
from fer_lib.models.weights import read_weights
from fer_lib.params import Training
from fer_lib.precision import resolve
from fer_lib.progress import PROGRESS_FILE
from fer_lib.training.loop import Fitted, OnEpoch
from fer_lib.training.tasks import Run, prepare, repro, stage
from fer_tools.processes import end_with_parent

# An environment variable: if it is set, a JSON line is printed for each epoch, and the process ends
# with its parent.
PROGRESS_LINES = "FER_PROGRESS_LINES"


def command(study: str, task: str, seed: int, report: Callable[[str], None]) -> None:
    """Train a task; the first process reports the files written and the stage to run next.

    Raises:
        UserError: see `tasks.prepare`, `connect` and `train`.
    """
    lines = bool(os.environ.get(PROGRESS_LINES))
    if lines:
        end_with_parent()
    run = prepare(study, task, seed)

    def on_epoch(row: dict[str, float]) -> None:
        if lines and fabric.is_global_zero:
            report(json.dumps({"epoch": row["epoch"], "epochs": run.settings.epochs}))

    fabric = connect(run.settings)
    if fabric.is_global_zero:
        where = f"{fabric.world_size} process(es) on {fabric.device.type}"
        report(f"{run.title}: {len(run.training[0]):,} faces, {where}")
        report(run.summary())
    fitted = train(run, fabric, on_epoch)
    if fabric.is_global_zero:
        write_weights(run, fitted)
        kept = f"Epoch {fitted.best_epoch} of {len(fitted.history)} is kept"
        report(f"{kept}. Written: {run.checkpoint}")
        report(f"Continue with `{repro(stage(study, task, seed))}`: its notebook uses it.")
    if fabric.world_size > 1:
        torch.distributed.destroy_process_group()


def connect(settings: Training) -> Fabric:
    """Connect the processes started by torchrun; without torchrun this process alone.

    Raises:
        UserError: if there are more processes on a machine than GPUs.
    """
    settings = resolve(settings)
    world, local = (int(os.environ.get(name, 1)) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    if world == 1:
        fabric = Fabric(accelerator="auto", devices=1, precision=settings.precision)  # type: ignore[arg-type]
    else:
        gpus = torch.cuda.device_count()
        if 0 < gpus < local:
            raise UserError(
                f"{local} processes were started on a machine with {gpus} GPU(s): "
                f"start torchrun with --nproc-per-node {gpus}."
            )
        fabric = Fabric(
            accelerator="cuda" if gpus else "cpu", devices=local, num_nodes=world // local,
            strategy="ddp", precision=settings.precision,  # type: ignore[arg-type]
        )  # fmt: skip
    fabric.launch()
    return fabric


def train(run: Run, fabric: Fabric, on_epoch: OnEpoch = lambda row: None) -> Fitted:
    """Train, and write the checkpoint.

    Raises:
        UserError: if the batch cannot be divided evenly, the processes do not see the same data or
            the same checkpoint, another run trains it, and as `loop.fit` does.
    """
    batch = min(run.settings.batch_size, len(run.training[0]))
    if batch % fabric.world_size:
        raise UserError(
            f"{run.title}: a batch of {batch} faces cannot be shared evenly by {fabric.world_size} "
            "processes: start as many as divide it, or change batch_size in params.yaml."
        )
    with _locked(run, fabric):
        found = run.checkpoint.read_bytes() if run.checkpoint.is_file() else b""
        state = f"{run.checkpoint.name} {hashlib.sha256(found).hexdigest()}"
        if any(other != state for other in _gathered(state, fabric)):
            raise UserError(
                f"{run.checkpoint}: the processes do not see the same data, code or checkpoint: "
                "let every machine work in one shared folder."
            )
        if not fabric.is_global_zero:
            os.environ[PROGRESS_FILE] = os.devnull  # one bar is enough
        fitted = run.fit(on_epoch, fabric)
        fabric.barrier()
        return fitted


@contextmanager
def _locked(run: Run, fabric: Fabric) -> Iterator[None]:
    """Hold the lock of a checkpoint for processes that train together.

    They fail if another run holds it: while one waited, the others would time out. A single process
    gets its lock from `loop.fit`, and waits.
    """
    lock, taken = FileLock(lock_of(run.checkpoint)), False
    if fabric.world_size > 1 and fabric.is_global_zero:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            taken = True
    if any(_gathered(taken, fabric)):
        raise UserError(
            f"{run.checkpoint}: another run trains this one: wait until it is finished, then run "
            "this command again."
        )
    try:
        yield
    finally:
        lock.release()


def _gathered(value: Any, fabric: Fabric) -> list[Any]:
    """The values of all processes."""
    values: list[Any] = [value]
    if fabric.world_size > 1:
        values = [None] * fabric.world_size
        torch.distributed.all_gather_object(values, value)
    return values


def write_weights(run: Run, fitted: Fitted) -> None:
    """Write the trained network, unless its file has the same weights already.

    The notebook writes them again, with the results of their evaluation.
    """
    weights = run.weights(fitted)
    try:
        existing = read_weights(run.weights_file)[0]
    except UserError:  # missing or damaged
        existing = {}
    same = existing.keys() == weights.keys()
    if not (same and all(torch.equal(existing[n], weights[n].float()) for n in weights)):
        run.save(fitted)
