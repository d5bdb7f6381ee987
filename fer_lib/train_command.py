"""What `fer train` does: one training run of a study, by one process or by several.

Alone it is one process. Under torchrun, which starts as many processes as one likes on one machine
or on many, they train together: each takes its part of every batch, and the gradients are averaged
(`DistributedDataParallel`, by lightning's Fabric).

The run is the one of notebooks 20 and 30, and so is the name of its checkpoint. Once it is
finished, `dvc repro` runs those notebooks, and they take the checkpoint over instead of training.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from fer_lib.checkpoints import fingerprint, load_encoder, trained_at
from fer_lib.errors import UserError
from fer_lib.labels import FER_CLASSES, TASKS, remap_valence
from fer_lib.model import MSFERNet, SupConNet
from fer_lib.params import Study, Training, load
from fer_lib.paths import build_folder, scratch_folder
from fer_lib.prepared import Fer13, load_fer13
from fer_lib.progress import PROGRESS_FILE
from fer_lib.training import Fitted, Objective, contrast, cross_entropy, fit

Part = tuple[Tensor, Tensor]

# By task: its stage, and the task whose weights it starts from, with their file.
STAGES = {
    "pretrain": "pretrain@{study}",
    "fer13-7": "train@{study}",
    "fer13-3": "train_valence@{study}",
}
STARTS = {
    "fer13-7": ("pretrain", "encoder.safetensors"),
    "fer13-3": ("fer13-7", "fer13-7.safetensors"),
}


@dataclass(frozen=True)
class Run:
    """What `training.fit` is called with.

    Attributes:
        model: untrained, or with the weights of the stage before.
        training: images (N, 48, 48) uint8, labels (N,) int64.
        settings: of `params.yaml`.
        objective: see `training.fit`.
        checkpoint: of the name that the notebook gives it.
        title: of the progress bar.
        views, classes, validation: see `training.fit`.
    """

    model: nn.Module
    training: Part
    settings: Training
    objective: Objective
    checkpoint: Path
    title: str
    views: int
    classes: int
    validation: Part | None


def prepare(study: str, task: str) -> Run:
    """The run of a task: "pretrain" is notebook 20's, "fer13-7" and "fer13-3" are notebook 30's.

    Raises:
        UserError: if an input is missing or damaged, naming the stage that makes it.
    """
    settings, build = load(study), build_folder(study)
    _need(build / "fer13.npz", f"prepare@{study}")
    faces = load_fer13(build / "fer13.npz")
    if task == "pretrain":
        return _pretraining(study, settings, faces)
    before, name = STARTS[task]
    _need(build / name, STAGES[before].format(study=study))
    return _classifier(study, task, settings, faces, build / name)


def _need(file: Path, stage: str) -> None:
    if not file.is_file():
        raise UserError(f"{file} is missing: make it with `{_repro(stage)}`.")


def _repro(stage: str) -> str:
    """The command that runs a stage of `studies/dvc.yaml`, with all that it needs."""
    return f"dvc repro studies/dvc.yaml:{stage}"


def _pretraining(study: str, settings: Study, faces: Fer13) -> Run:
    pretrain = settings.pretrain
    chosen = faces.select(faces.usage == "Training")
    training = torch.from_numpy(chosen.images), torch.from_numpy(chosen.labels)
    torch.manual_seed(pretrain.seed)
    model = SupConNet(settings.model, pretrain.embedding_width)
    name = fingerprint(
        {"pretrain": pretrain.model_dump(), "model": settings.model.as_dict()}, training
    )
    return Run(
        model, training, pretrain, contrast(pretrain),
        scratch_folder() / f"pretrain-{study}-{name}.pt", f"SupCon {study}",
        views=2, classes=len(FER_CLASSES), validation=None,
    )  # fmt: skip


def _classifier(study: str, task: str, settings: Study, faces: Fer13, start: Path) -> Run:
    train, classes = settings.train[task], TASKS[task]  # type: ignore[index]
    labels = faces.labels if task == "fer13-7" else remap_valence(faces.labels)

    def part(usage: str) -> Part:
        chosen = (labels >= 0) & (faces.usage == usage)  # surprise has no valence class
        return torch.from_numpy(faces.images[chosen]), torch.from_numpy(labels[chosen])

    training, validation = part("Training"), part("PublicTest")
    torch.manual_seed(train.seed)
    model = MSFERNet(len(classes), settings.model, train.dropout)
    model.encoder.load_state_dict(load_encoder(start, settings.model).state_dict())
    weights = torch.cat([t.float().flatten() for t in model.state_dict().values()])
    name = fingerprint({"task": task, **train.model_dump()}, [*training, *validation, weights])
    return Run(
        model, training, train, cross_entropy(train),
        scratch_folder() / f"{task}-{study}-{name}.pt", f"{task} {study}",
        views=1, classes=len(classes), validation=validation,
    )  # fmt: skip


def connect(settings: Training) -> Fabric:
    """The processes that torchrun has started, joined; without torchrun this process alone.

    Raises:
        UserError: if there are more processes on a machine than GPUs.
    """
    world, local = (int(os.environ.get(name, 1)) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    if world == 1:
        fabric = Fabric(accelerator="auto", devices=1, precision=settings.precision)
    else:
        gpus = torch.cuda.device_count()
        if 0 < gpus < local:
            raise UserError(
                f"{local} processes were started on a machine with {gpus} GPU(s): "
                f"start torchrun with --nproc-per-node {gpus}."
            )
        fabric = Fabric(
            accelerator="cuda" if gpus else "cpu", devices=local, num_nodes=world // local,
            strategy="ddp", precision=settings.precision,
        )  # fmt: skip
    fabric.launch()
    return fabric


def train(run: Run, fabric: Fabric) -> Fitted:
    """Train, and leave the checkpoint behind.

    Raises:
        UserError: if the batch cannot be shared out evenly, the processes do not see the same data
            or the same checkpoint, and as `training.fit` does.
    """
    batch = min(run.settings.batch_size, len(run.training[0]))
    if batch % fabric.world_size:
        raise UserError(
            f"{run.title}: a batch of {batch} faces cannot be shared evenly by {fabric.world_size} "
            "processes: start as many as divide it, or change batch_size in params.yaml."
        )
    found = run.checkpoint.read_bytes() if run.checkpoint.is_file() else b""
    sight = f"{run.checkpoint.name} {hashlib.sha256(found).hexdigest()}"
    if any(other != sight for other in _gathered(sight, fabric)):
        raise UserError(
            f"{run.checkpoint}: the processes do not see the same data, code or checkpoint: let "
            "every machine work in one shared folder."
        )
    if fabric.is_global_zero:
        trained_at(run.checkpoint)
    else:
        os.environ[PROGRESS_FILE] = os.devnull  # one bar is enough
    fitted = fit(
        run.model, *run.training, run.settings, run.objective, views=run.views,
        classes=run.classes, validation=run.validation, checkpoint=run.checkpoint,
        title=run.title, fabric=fabric,
    )  # fmt: skip
    fabric.barrier()
    return fitted


def _gathered(value: str, fabric: Fabric) -> list[Any]:
    """What each process says."""
    said: list[Any] = [value]
    if fabric.world_size > 1:
        said = [None] * fabric.world_size
        torch.distributed.all_gather_object(said, value)
    return said


def command(study: str, task: str, tell: Callable[[str], None]) -> None:
    """Train `task` of `study`; the first process says what was written, and what goes on from it.

    Raises:
        UserError: see `prepare`, `connect` and `train`.
    """
    run = prepare(study, task)
    fabric = connect(run.settings)
    if fabric.is_global_zero:
        where = f"{fabric.world_size} process(es) on {fabric.device.type}"
        tell(f"{run.title}: {len(run.training[0]):,} faces, {where}")
    fitted = train(run, fabric)
    if fabric.is_global_zero:
        tell(
            f"Epoch {fitted.best_epoch} of {len(fitted.history)} is kept. Written: {run.checkpoint}"
        )
        goes_on = _repro(STAGES[task].format(study=study))
        tell(f"Go on with `{goes_on}`: its notebook takes the checkpoint over.")
    if fabric.world_size > 1:
        torch.distributed.destroy_process_group()
