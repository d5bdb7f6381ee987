"""The training runs of a study: what notebooks 20, 25, 30 and 45 and `fer train` have in common.

    run = prepare("paper", "fer13-7")
    fitted = run.fit()
    run.save(fitted, temperature=1.1)

`prepare` decides all that a run is: seed, data, starting weights, teachers, and the name of the
checkpoint. So `fer train` can do the training on any machine, and the notebook takes it over.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from fer_lib.data.arrays import Fer13, load_fer13
from fer_lib.data.ferplus import targets_from_votes
from fer_lib.errors import UserError
from fer_lib.labels import FER_CLASSES, TASKS, remap_valence
from fer_lib.models.card import Card
from fer_lib.models.msfernet import MSFERNet, SupConNet
from fer_lib.models.two_head import TwoHeads
from fer_lib.models.weights import encoder_weights, load_encoder, make_encoder, save_weights
from fer_lib.params import Study, Training, load
from fer_lib.paths import build_folder, intensity_folder, scratch_folder
from fer_lib.precision import resolve, summary
from fer_lib.training.checkpoints import (
    TRAINING_CODE,
    TWO_HEAD_CODE,
    fingerprint,
    flat_weights,
    trained_at,
)
from fer_lib.training.distillation import load_teachers
from fer_lib.training.loop import Fitted, OnEpoch, fit
from fer_lib.training.losses import contrast, cross_entropy
from fer_lib.training.objective import FacesAndLabels, Objective
from fer_lib.training.two_head import two_head_loss, validate_two_heads

Network = SupConNet | MSFERNet | TwoHeads


@dataclass
class Run:
    """A training run of a study.

    Attributes:
        study, task: see `prepare`.
        settings: of `params.yaml`, precision resolved.
        model: with the weights it starts from.
        training: images (N, 48, 48) uint8; labels (N,) int64, or targets (N, 7) float.
        objective: loss, views, teacher and validation.
        kind: of the network's card.
        weights_file: where the trained network goes.
        code: the modules whose code decides what is computed.
        checkpoint: named by a fingerprint of settings, data, starting weights, teachers and code.
    """

    study: str
    task: str
    settings: Training
    model: Network
    training: FacesAndLabels
    objective: Objective
    kind: str
    weights_file: Path
    code: tuple[str, ...] = TRAINING_CODE
    checkpoint: Path = field(init=False)

    def __post_init__(self) -> None:
        name = "teacher" if self.task.startswith("teacher-") else self.task
        arch, settings = asdict(self.model.encoder.arch), self.settings.model_dump()
        data = [*self.training, *(self.objective.validation or ()), flat_weights(self.model)]
        if self.objective.teacher is not None:
            data.append(flat_weights(self.objective.teacher))
        mark = fingerprint({"task": name, "model": arch, **settings}, data, self.code)
        self.checkpoint = scratch_folder() / f"{name}-{self.study}-{mark}.pt"

    @property
    def title(self) -> str:
        """Such as "fer13-7 paper"."""
        return f"{self.task} {self.study}"

    def summary(self) -> str:
        """One sentence on precision, compilation and threads; see `precision.summary`."""
        views = self.objective.views * len(self.training[0])
        return summary(self.settings, self.settings.epochs * views)

    def fit(self, on_epoch: OnEpoch = lambda row: None, fabric: Fabric | None = None) -> Fitted:
        """Train, or take over what the checkpoint holds; see `loop.fit`."""
        if fabric is None or fabric.is_global_zero:
            trained_at(self.checkpoint, self.code)
        return fit(
            self.model, *self.training, self.settings, self.objective, title=self.title,
            checkpoint=self.checkpoint, on_epoch=on_epoch, fabric=fabric,
        )  # fmt: skip

    def save(self, fitted: Fitted, **notes: float) -> Card:
        """Write the trained network, SupCon's without its projection head, with its card.

        Args:
            fitted: what `fit` gave.
            notes: further facts for the card, which names best epoch and validation accuracy.
        """
        if self.objective.validation is not None:
            accuracy = round(fitted.best["val_accuracy"], 4)
            notes = {"validation_accuracy": accuracy, "best_epoch": fitted.best_epoch, **notes}
        task = "supcon" if self.kind == "encoder" else self.task
        card = Card(
            self.kind, self.study, task if task in TASKS or task == "supcon" else "fer13-7",
            self.model.encoder.arch, self.settings.model_dump(mode="json"),
            trained_at(self.checkpoint, self.code), notes,
        )  # fmt: skip
        save_weights(self.weights_file, self.weights(fitted), card)
        return card

    def weights(self, fitted: Fitted) -> dict[str, Tensor]:
        """The state dict that is saved."""
        return encoder_weights(fitted.weights) if self.kind == "encoder" else fitted.weights


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
    settings = load(study)
    known = ("pretrain", *settings.teachers.networks, *settings.train, *settings.intensity)
    if task not in known:
        raise UserError(f"{task} cannot be trained: name one of {', '.join(known)}.")
    if seed and (task not in settings.train or seed not in settings.further_seeds):
        raise UserError(
            f"seed {seed} is none of {task}: only fer13-7 and fer13-3 have further seeds, those in "
            f"params.yaml, studies.{study}.further_seeds."
        )
    faces = load_fer13(_needed(build_folder(study) / "fer13.npz", f"prepare@{study}"))
    if task == "pretrain":
        return _pretraining(study, settings, faces)
    if task in settings.teachers.networks:
        return _teacher(study, task, settings, faces)
    if task in settings.intensity:
        return _two_heads(study, task, settings, faces)
    return _classifier(study, task, settings, faces, seed)


def repro(stage: str) -> str:
    """The command that runs a stage of `studies/dvc.yaml`, with all that it needs."""
    return f"dvc repro studies/dvc.yaml:{stage}"


def _needed(file: Path, stage: str) -> Path:
    if not file.is_file():
        raise UserError(f"{file} is missing: make it with `{repro(stage)}`.")
    return file


def _parts(
    faces: Fer13, targets: np.ndarray, used: np.ndarray | None = None
) -> list[FacesAndLabels]:
    """Training and validation: images and targets of the faces that are used, by default all."""
    used = np.ones(len(faces), dtype=bool) if used is None else used
    chosen = [used & (faces.usage == usage) for usage in ("Training", "PublicTest")]
    return [(torch.from_numpy(faces.images[c]), torch.from_numpy(targets[c])) for c in chosen]


def _pretraining(study: str, settings: Study, faces: Fer13) -> Run:
    pretrain = resolve(settings.pretrain)
    training, _ = _parts(faces, faces.labels)
    torch.manual_seed(pretrain.seed)
    model = SupConNet(settings.model, pretrain.embedding_width)
    return Run(
        study, "pretrain", pretrain, model, training,
        Objective(contrast(pretrain), classes=len(FER_CLASSES), views=2),
        "encoder", build_folder(study) / "encoder.safetensors",
    )  # fmt: skip


def _teacher(study: str, name: str, settings: Study, faces: Fer13) -> Run:
    train = resolve(settings.teachers.networks[name])
    training, validation = _parts(faces, faces.labels)
    torch.manual_seed(train.seed)
    model = MSFERNet(len(FER_CLASSES), settings.model, train.dropout)
    return Run(
        study, name, train, model, training,
        Objective(cross_entropy(train), classes=len(FER_CLASSES), validation=validation),
        "classifier", build_folder(study) / "teachers" / f"{name}.safetensors",
    )  # fmt: skip


def _classifier(study: str, task: str, settings: Study, faces: Fer13, seed: int) -> Run:
    train, classes = resolve(settings.train[task]), TASKS[task]  # type: ignore[index]
    build = folder = build_folder(study)
    if seed:
        train, folder = train.model_copy(update={"seed": seed}), build / "seeds" / str(seed)
    labels = faces.labels if task == "fer13-7" else remap_valence(faces.labels)
    training, validation = _parts(faces, labels, labels >= 0)  # surprise has no valence class
    if task == "fer13-7":
        start = _needed(build / "encoder.safetensors", stage(study, "pretrain"))
    else:
        start = _needed(folder / "fer13-7.safetensors", stage(study, "fer13-7", seed))
    torch.manual_seed(train.seed)
    model = MSFERNet(len(classes), settings.model, train.dropout)
    model.encoder.load_state_dict(load_encoder(start, settings.model).state_dict())
    teacher = None
    if train.teacher_weight:
        for name in settings.teachers.networks:
            _needed(build / "teachers" / f"{name}.safetensors", stage(study, name))
        teacher = load_teachers(build / "teachers", settings.teachers.networks, task)
    return Run(
        study, task, train, model, training,
        Objective(cross_entropy(train), len(classes), teacher=teacher, validation=validation),
        "classifier", folder / f"{task}.safetensors",
    )  # fmt: skip


def _two_heads(study: str, task: str, settings: Study, faces: Fer13) -> Run:
    train = resolve(settings.intensity[task])  # type: ignore[index]
    targets, left_out = targets_from_votes(faces.votes)
    training, validation = _parts(faces, targets, (left_out == "").to_numpy())
    torch.manual_seed(train.seed)
    # Drawn in either case: the heads take the random numbers after it.
    encoder = make_encoder(settings.vgg if task == "ferplus-7-vgg" else settings.model)
    if task == "ferplus-7":
        start = build_folder(study) / "fer13-7.safetensors"
        encoder = load_encoder(_needed(start, stage(study, "fer13-7")), settings.model)
    model = TwoHeads(encoder, len(FER_CLASSES), train.dropout)
    return Run(
        study, task, train, model, training,
        Objective(two_head_loss(train), validation=validation, validate=validate_two_heads),
        "two heads", intensity_folder(study, task) / f"{task}.safetensors", TWO_HEAD_CODE,
    )  # fmt: skip
