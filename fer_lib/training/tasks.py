"""What `fer train` does: one training run of a study, by one process or by several.

Alone it is one process. Under torchrun, which starts as many processes as one likes on one machine
or on many, they train together: each takes its part of every batch, and the gradients are averaged
(`DistributedDataParallel`, by lightning's Fabric).

The run is the one of notebooks 20, 25, 30 and 45, and so is the name of its checkpoint. Once it is
finished, `dvc repro` runs those notebooks, and they take the checkpoint over instead of training.
A network that other runs begin with or learn from is written to build/STUDY as well, so that all of
a study's runs can be done before the first notebook: `train_study.py` does.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from filelock import FileLock, Timeout
from lightning_fabric import Fabric
from torch import Tensor, nn

from fer_lib.data.arrays import Fer13, load_fer13
from fer_lib.data.ferplus import targets_from_votes
from fer_lib.errors import UserError
from fer_lib.files import lock_of
from fer_lib.labels import FER_CLASSES, TASKS, remap_valence
from fer_lib.models.card import Card
from fer_lib.models.msfernet import Encoder, MSFERNet, SupConNet
from fer_lib.models.two_head import TwoHeads
from fer_lib.models.weights import load_encoder, make_encoder, read_weights, save_weights
from fer_lib.params import Study, Training, load
from fer_lib.paths import build_folder, scratch_folder
from fer_lib.precision import resolve, summary
from fer_lib.processes import end_with_parent
from fer_lib.progress import PROGRESS_FILE
from fer_lib.training.checkpoints import (
    TRAINING_CODE,
    TWO_HEAD_CODE,
    fingerprint,
    numbers_of,
    trained_at,
)
from fer_lib.training.distillation import Teachers, load_teachers
from fer_lib.training.loop import Fitted, Objective, contrast, cross_entropy, fit, validate_classes
from fer_lib.training.two_head import two_head_loss, validate_two_heads

Part = tuple[Tensor, Tensor]

Validate = Callable[[nn.Module, Tensor, Tensor], dict[str, float]]


@dataclass(frozen=True)
class Run:
    """What `training.fit` is called with.

    Attributes:
        model: untrained, or with the weights of the stage before.
        training: images (N, 48, 48) uint8; labels (N,) int64, or targets (N, 7) float.
        settings: of `params.yaml`.
        objective: see `training.fit`.
        checkpoint: of the name that the notebook gives it.
        title: of the progress bar.
        network: where the trained network goes if other runs begin with it or learn from it.
        views, classes, validation, validate, teacher: see `training.fit`.
        code: the modules whose code decides what it computes.
    """

    model: nn.Module
    training: Part
    settings: Training
    objective: Objective
    checkpoint: Path
    title: str
    network: Path | None = None
    classes: int | None = None
    views: int = 1
    validation: Part | None = None
    validate: Validate = validate_classes
    teacher: Teachers | None = None
    code: tuple[str, ...] = TRAINING_CODE


def stage(study: str, task: str, seed: int = 0) -> str:
    """The stage of `studies/dvc.yaml` whose notebook takes the run over."""
    if task in ("fer13-7", "fer13-3"):
        name = {"fer13-7": "train", "fer13-3": "train_valence"}[task]
        repeated = name.replace("train", "repeat")
        return f"{repeated}@{study}-{seed}" if seed else f"{name}@{study}"
    if task in load(study).teachers.networks:
        return f"teach@{study}-{task}"
    return f"pretrain@{study}" if task == "pretrain" else f"train_intensity@{study}-{task}"


def prepare(study: str, task: str, seed: int = 0) -> Run:
    """The run of a task.

    Args:
        study: of `params.yaml`.
        task: "pretrain" is notebook 20's, a teacher's name notebook 25's, "fer13-7" and "fer13-3"
            are notebook 30's, "ferplus-7" and "ferplus-7-vgg" notebook 45's.
        seed: one of the study's further seeds, for notebook 30; 0 takes that of `params.yaml`.

    Raises:
        UserError: if there is no such task or seed, or if an input is missing or damaged, naming
            the stage that makes it.
    """
    settings, build = load(study), build_folder(study)
    known = ("pretrain", *settings.teachers.networks, *settings.train, *settings.intensity)
    if task not in known:
        raise UserError(f"{task} cannot be trained: name one of {', '.join(known)}.")
    if seed and (task not in settings.train or seed not in settings.further_seeds):
        raise UserError(
            f"seed {seed} is none of {task}: only fer13-7 and fer13-3 have further seeds, those in "
            f"params.yaml, studies.{study}.further_seeds."
        )
    _need(build / "fer13.npz", f"prepare@{study}")
    faces = load_fer13(build / "fer13.npz")
    if task == "pretrain":
        return _pretraining(study, settings, faces)
    if task in settings.teachers.networks:
        return _teacher(study, settings.teachers.networks[task], settings, faces, task)
    if task in settings.intensity:
        return _two_heads(study, task, settings, faces)
    return _classifier(study, task, settings, faces, seed)


def _need(file: Path, stage: str) -> None:
    if not file.is_file():
        raise UserError(f"{file} is missing: make it with `{_repro(stage)}`.")


def _repro(stage: str) -> str:
    """The command that runs a stage of `studies/dvc.yaml`, with all that it needs."""
    return f"dvc repro studies/dvc.yaml:{stage}"


def _pretraining(study: str, settings: Study, faces: Fer13) -> Run:
    pretrain = resolve(settings.pretrain)
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
        network=build_folder(study) / "encoder.safetensors", views=2, classes=len(FER_CLASSES),
    )  # fmt: skip


def _parts(faces: Fer13, targets: np.ndarray, used: np.ndarray) -> list[Part]:
    """Training and validation: of the faces that are used, images and what to say of them."""
    chosen = [used & (faces.usage == usage) for usage in ("Training", "PublicTest")]
    return [(torch.from_numpy(faces.images[c]), torch.from_numpy(targets[c])) for c in chosen]


def _teacher(study: str, train: Training, settings: Study, faces: Fer13, name: str) -> Run:
    train = resolve(train)
    training, validation = _parts(faces, faces.labels, np.ones(len(faces), dtype=bool))
    torch.manual_seed(train.seed)
    model = MSFERNet(len(FER_CLASSES), settings.model, train.dropout)
    data = [*training, *validation, numbers_of(model)]
    mark = fingerprint({"task": "teacher", **train.model_dump()}, data)
    return Run(
        model, training, train, cross_entropy(train),
        scratch_folder() / f"teacher-{study}-{mark}.pt", f"{name} {study}",
        network=build_folder(study) / "teachers" / f"{name}.safetensors",
        classes=len(FER_CLASSES), validation=validation,
    )  # fmt: skip


def _classifier(study: str, task: str, settings: Study, faces: Fer13, seed: int) -> Run:
    train, classes = resolve(settings.train[task]), TASKS[task]  # type: ignore[index]
    build = folder = build_folder(study)
    if seed:
        train, folder = train.model_copy(update={"seed": seed}), build / "seeds" / str(seed)
    labels = faces.labels if task == "fer13-7" else remap_valence(faces.labels)
    training, validation = _parts(faces, labels, labels >= 0)  # surprise has no valence class
    start = build / "encoder.safetensors" if task == "fer13-7" else folder / "fer13-7.safetensors"
    before = stage(study, "pretrain") if task == "fer13-7" else stage(study, "fer13-7", seed)
    _need(start, before)
    torch.manual_seed(train.seed)
    model = MSFERNet(len(classes), settings.model, train.dropout)
    model.encoder.load_state_dict(load_encoder(start, settings.model).state_dict())
    teacher, known_weights = None, [numbers_of(model)]
    if train.teacher_weight:
        for name in settings.teachers.networks:
            _need(build / "teachers" / f"{name}.safetensors", stage(study, name))
        teacher = load_teachers(build / "teachers", settings.teachers.networks, task)
        known_weights.append(numbers_of(teacher))
    data = [*training, *validation, *known_weights]
    mark = fingerprint({"task": task, **train.model_dump()}, data)
    return Run(
        model, training, train, cross_entropy(train),
        scratch_folder() / f"{task}-{study}-{mark}.pt", f"{task} {study}",
        network=folder / "fer13-7.safetensors" if task == "fer13-7" else None,
        classes=len(classes), validation=validation, teacher=teacher,
    )  # fmt: skip


def _two_heads(study: str, task: str, settings: Study, faces: Fer13) -> Run:
    train, build = resolve(settings.intensity[task]), build_folder(study)  # type: ignore[index]
    targets, left_out = targets_from_votes(faces.votes)
    training, validation = _parts(faces, targets, (left_out == "").to_numpy())
    torch.manual_seed(train.seed)
    # Drawn in either case, as in the notebook: the heads take the random numbers after it.
    encoder = make_encoder(settings.vgg if task == "ferplus-7-vgg" else settings.model)
    if task == "ferplus-7":
        _need(build / "fer13-7.safetensors", stage(study, "fer13-7"))
        encoder = load_encoder(build / "fer13-7.safetensors", settings.model)
    model = TwoHeads(encoder, len(FER_CLASSES), train.dropout)
    data = [*training, *validation, numbers_of(model)]
    mark = fingerprint({"task": task, **train.model_dump()}, data, TWO_HEAD_CODE)
    return Run(
        model, training, train, two_head_loss(train),
        scratch_folder() / f"{task}-{study}-{mark}.pt", f"{task} {study}",
        validation=validation, validate=validate_two_heads, code=TWO_HEAD_CODE,
    )  # fmt: skip


def connect(settings: Training) -> Fabric:
    """The processes that torchrun has started, joined; without torchrun this process alone.

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


def train(run: Run, fabric: Fabric) -> Fitted:
    """Train, and leave the checkpoint behind.

    Raises:
        UserError: if the batch cannot be shared out evenly, the processes do not see the same data
            or the same checkpoint, another run trains it, and as `training.fit` does.
    """
    batch = min(run.settings.batch_size, len(run.training[0]))
    if batch % fabric.world_size:
        raise UserError(
            f"{run.title}: a batch of {batch} faces cannot be shared evenly by {fabric.world_size} "
            "processes: start as many as divide it, or change batch_size in params.yaml."
        )
    with _locked(run, fabric):
        return _train(run, fabric)


def _train(run: Run, fabric: Fabric) -> Fitted:
    found = run.checkpoint.read_bytes() if run.checkpoint.is_file() else b""
    sight = f"{run.checkpoint.name} {hashlib.sha256(found).hexdigest()}"
    if any(other != sight for other in _gathered(sight, fabric)):
        raise UserError(
            f"{run.checkpoint}: the processes do not see the same data, code or checkpoint: let "
            "every machine work in one shared folder."
        )
    if fabric.is_global_zero:
        trained_at(run.checkpoint, run.code)
    else:
        os.environ[PROGRESS_FILE] = os.devnull  # one bar is enough
    fitted = fit(
        run.model, *run.training, run.settings, run.objective, views=run.views,
        classes=run.classes, validation=run.validation, validate=run.validate,
        teacher=run.teacher, checkpoint=run.checkpoint, title=run.title, fabric=fabric,
    )  # fmt: skip
    fabric.barrier()
    return fitted


@contextmanager
def _locked(run: Run, fabric: Fabric) -> Iterator[None]:
    """Hold the lock of a checkpoint for processes that train together.

    They end where another run holds it: while one waited, the others would time out. A process of
    its own has its lock from `training.fit`, and waits.
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


def hand_on(run: Run, fitted: Fitted, study: str) -> None:
    """Write the network of `run.network`, unless the file holds these very numbers already.

    The stage's notebook writes the numbers once more, with all that it found out about them.
    """
    if run.network is None:
        return
    pretrained = run.views == 2
    weights = {
        name.removeprefix("encoder.") if pretrained else name: tensor.float()
        for name, tensor in fitted.weights.items()
        if name.startswith("encoder.") or not pretrained
    }
    try:
        there = read_weights(run.network)[0]
    except UserError:  # missing or damaged
        there = {}
    if there.keys() == weights.keys() and all(torch.equal(there[n], weights[n]) for n in weights):
        return
    best = fitted.history[fitted.best_epoch - 1]
    notes = {} if pretrained else {"validation_accuracy": round(best["val_accuracy"], 4)}
    kind, task = ("encoder", "supcon") if pretrained else ("classifier", "fer13-7")
    arch = cast(Encoder, run.model.encoder).arch
    settings, commit = run.settings.model_dump(mode="json"), trained_at(run.checkpoint, run.code)
    card = Card(kind, study, task, arch, settings, commit, notes)
    save_weights(run.network, weights, card)


def _gathered(value: Any, fabric: Fabric) -> list[Any]:
    """What each process says."""
    said: list[Any] = [value]
    if fabric.world_size > 1:
        said = [None] * fabric.world_size
        torch.distributed.all_gather_object(said, value)
    return said


def command(study: str, task: str, seed: int, tell: Callable[[str], None]) -> None:
    """Train a task, see `prepare`; the first process says what it wrote and what goes on from it.

    Raises:
        UserError: see `prepare`, `connect` and `train`.
    """
    if os.environ.get(PROGRESS_FILE):  # begun by `train_study`
        end_with_parent()
    run = prepare(study, task, seed)
    fabric = connect(run.settings)
    if fabric.is_global_zero:
        where = f"{fabric.world_size} process(es) on {fabric.device.type}"
        tell(f"{run.title}: {len(run.training[0]):,} faces, {where}")
        tell(summary(run.settings, run.settings.epochs * run.views * len(run.training[0])))
    fitted = train(run, fabric)
    if fabric.is_global_zero:
        hand_on(run, fitted, study)
        tell(
            f"Epoch {fitted.best_epoch} of {len(fitted.history)} is kept. Written: {run.checkpoint}"
        )
        goes_on = _repro(stage(study, task, seed))
        tell(f"Go on with `{goes_on}`: its notebook takes the checkpoint over.")
    if fabric.world_size > 1:
        torch.distributed.destroy_process_group()
