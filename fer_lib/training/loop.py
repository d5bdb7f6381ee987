"""The training loop: one for SupCon pretraining, classifiers and networks with two heads.

Read `fit` from top to bottom; everything else in this module is a helper of a few lines. The whole
training set stays in memory as uint8, and each batch is augmented at once.

A run can be killed at any moment: after an epoch all that decides the rest is written to a
checkpoint, and random numbers depend on the seed and the epoch alone. The resumed run ends with the
same bits as an undisturbed one (on the CPU, with the same number of threads).

On a GPU nothing in a step waits for the GPU: the faces lie there, an epoch's random numbers are
sent there at once, and forward pass, backward pass and optimizer are recorded (`recording.py`).
"""

import copy
import functools
import logging
import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, cast

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from fer_lib.errors import UserError
from fer_lib.files import alone, whole
from fer_lib.models.forward import predict_logits, standardize
from fer_lib.models.quantization import rounded
from fer_lib.params import Training
from fer_lib.precision import compiles, resolve, use_cores
from fer_lib.progress import progress_bar
from fer_lib.training.augment import augment, draw_numbers, mixup
from fer_lib.training.cuda_graph import Recorded
from fer_lib.training.losses import supcon_loss
from fer_lib.training.optimizers import make_optimizer

P = ParamSpec("P")
Objective = Callable[[Tensor, Tensor], Tensor]

COUNTED = 512  # faces whose statistics batch norm uses; twelve times as many gave nothing more
SAVE_EVERY = 15.0  # seconds at least between two checkpoints: on a GPU an epoch may take less

StateHolder = nn.Module | torch.optim.Optimizer

# Fabric announces its precision as a warning would be; in a notebook it only puzzles.
logging.getLogger("lightning_fabric").setLevel(logging.WARNING)


@dataclass
class Fitted:
    """What a run leaves behind.

    Attributes:
        weights: state dict (CPU, float16) of the best epoch's moving average, or of the last
            epoch's where there was no validation set, as `_as_used` makes it.
        history: one dict an epoch: epoch, lr, loss, and with validation val_loss, val_accuracy;
            for classifiers accuracy (of the augmented training faces, in [0, 1]).
        best_epoch: the epoch that `weights` come from, from 1.
    """

    weights: dict[str, Tensor]
    history: list[dict[str, float]]
    best_epoch: int


def cross_entropy(settings: Training) -> Objective:
    """The classifier's objective: (B, K) logits and (B,) labels to a scalar."""
    return lambda logits, labels: F.cross_entropy(
        logits, labels, label_smoothing=settings.label_smoothing
    )


def contrast(settings: Training) -> Objective:
    """The SupCon objective: (2 B, D) embeddings, all first views before all second, and labels."""

    def objective(embeddings: Tensor, labels: Tensor) -> Tensor:
        first, second = embeddings.chunk(2)
        return supcon_loss(
            torch.stack([first, second], dim=1), labels.chunk(2)[0], settings.temperature
        )

    return objective


def one_at_a_time(train: Callable[P, Fitted]) -> Callable[P, Fitted]:
    """`fit` with a lock on its checkpoint: a second process waits, and takes over what is finished.

    Processes that train together get theirs from `train_command.train`.
    """

    @functools.wraps(train)
    def with_lock(*args: P.args, **kwargs: P.kwargs) -> Fitted:
        checkpoint, fabric = kwargs.get("checkpoint"), kwargs.get("fabric")
        together = isinstance(fabric, Fabric) and fabric.world_size > 1
        with alone(checkpoint) if isinstance(checkpoint, Path) and not together else nullcontext():
            return train(*args, **kwargs)

    return with_lock


@one_at_a_time
def fit(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    settings: Training,
    objective: Objective,
    *,
    views: int = 1,
    classes: int | None = None,
    validation: tuple[Tensor, Tensor] | None = None,
    validate: Callable[[nn.Module, Tensor, Tensor], dict[str, float]] | None = None,
    teacher: nn.Module | None = None,
    checkpoint: Path | None = None,
    on_epoch: Callable[[dict[str, float]], None] = lambda row: None,
    title: str = "training",
    fabric: Fabric | None = None,
) -> Fitted:
    """Train `model`.

    Args:
        model: maps (B, 1, 48, 48) standardised faces to what `objective` takes; trained in place.
        images: (N, 48, 48) uint8.
        labels: (N,) int64 from 0, or (N, K) float, what is to be said of each class.
        settings: a section of `params.yaml`.
        objective: (outputs, labels) to the loss; see `cross_entropy` and `contrast`.
        views: augmented copies of each face in a batch, laid one after the other.
        classes: how many classes `labels` must hold; by default up to the largest label.
        validation: images and labels on which the best epoch is chosen; None keeps the last one.
        validate: judges a network on them, by a dict that holds val_accuracy, which chooses the
            epoch; by default `validate_classes`.
        teacher: maps faces to class probabilities (B, K), which `settings.teacher_weight` of the
            loss asks the model for (Hinton et al. 2015). It sees what the model sees, mixed and
            augmented, so every epoch asks for something new (Beyer et al. 2022). Stays as it is.
        checkpoint: where the state goes after an epoch, at most every `SAVE_EVERY` seconds; after
            the last one, what `Fitted` holds. A file that is there is gone on from, so its name
            must tell settings, data and code apart (`checkpoints.fingerprint`). While another
            process trains it, this one waits.
        on_epoch: called with each row of the history, restored rows included.
        title: of the progress bar.
        fabric: device, precision and processes; by default one process on the best device.

    Raises:
        UserError: if a class has no image, the loss is not finite, the checkpoint is damaged,
            SupCon is asked to mix faces, which have no labels in common then, or there is a teacher
            without a weight or a weight without a teacher.
    """
    if labels.ndim == 1:
        check_labels(labels, classes)
    validate = validate or validate_classes
    if settings.mixup and views > 1:
        raise UserError(f"{title}: mixup is for classifiers: set mixup to 0 in params.yaml.")
    if bool(settings.teacher_weight) != (teacher is not None):
        raise UserError(
            f"{title}: teacher_weight is {settings.teacher_weight:g} and there is "
            f"{'a' if teacher else 'no'} teacher: change teacher_weight or teachers in params.yaml."
        )
    settings = resolve(settings)
    use_cores()
    fabric = fabric or Fabric(accelerator="auto", devices=1, precision=settings.precision)  # type: ignore[arg-type]
    fabric.launch()
    network = model.to(fabric.device).to(memory_format=torch.channels_last)
    average = copy.deepcopy(model)  # exponential moving average of the weights
    used = copy.deepcopy(model)  # what is judged and kept of it, see `_as_used`
    if teacher is not None:
        teacher = teacher.eval().to(fabric.device).to(memory_format=torch.channels_last)
    if compiles(settings, settings.epochs * len(images) * views, fabric.device.type)[0]:
        # the same numbers to rounding
        network = cast(nn.Module, torch.compile(network, dynamic=False))
        teacher = teacher and cast(nn.Module, torch.compile(teacher, dynamic=False))
    network, optimizer = fabric.setup(network, make_optimizer(model, settings))
    images, labels = images.to(fabric.device), labels.to(fabric.device)
    if validation is not None:
        validation = validation[0].to(fabric.device), validation[1]

    def update(
        faces: Tensor, targets: Tensor, partners: Tensor, share: float, lr: float
    ) -> tuple[Tensor, ...]:
        """Change the weights by one batch; the loss, and how many answers were right."""
        outputs = network(faces)
        loss = objective(outputs, targets)
        if settings.mixup:
            loss = share * loss + (1 - share) * objective(outputs, partners)
        if teacher is not None:
            with fabric.autocast(), torch.no_grad():
                answers = teacher(faces)
            loss = torch.lerp(loss, F.cross_entropy(outputs, answers), settings.teacher_weight)
        optimizer.zero_grad(set_to_none=True)
        fabric.backward(loss)
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.step()
        return loss.detach(), right_answers(outputs.detach(), targets).sum()

    alone_on_gpu = fabric.device.type == "cuda" and fabric.world_size == 1
    take = Recorded(update) if alone_on_gpu and settings.optimizer != "sgd" else update

    batch = min(settings.batch_size, len(images))
    steps = len(images) // batch  # the last, smaller batch is left out: a new order brings it next
    epoch = 0
    history: list[dict[str, float]] = []
    best: dict | None = None
    if checkpoint is not None and checkpoint.exists():
        epoch, history, best = _restore(checkpoint, model, average, optimizer)
        for row in history:
            on_epoch(row)

    bar = progress_bar(settings.epochs * steps, title, unit="batch")
    bar.update(epoch * steps)
    saved = time.monotonic()
    while epoch < settings.epochs:
        epoch += 1
        torch.manual_seed(settings.seed * 1000 + epoch)  # dropout, mixup
        order_numbers = torch.Generator().manual_seed(settings.seed * 1000 + epoch)
        order = torch.randperm(len(images), generator=order_numbers).to(images.device)
        # Each process draws views of its own faces from its own numbers.
        view_numbers = torch.Generator().manual_seed(
            (settings.seed * 1000 + epoch) * 1000 + fabric.global_rank
        )
        views_a_step = batch // fabric.world_size * views
        numbers = draw_numbers(steps * views_a_step, view_numbers).to(images.device)
        side = settings.small_side if epoch <= settings.small_epochs else images.shape[-1]
        model.train()
        loss_sum, right = torch.zeros(2, device=fabric.device)
        seen = 0
        for step in range(steps):
            lr = learning_rate((epoch - 1) * steps + step, steps, settings)
            chosen = order[step * batch : (step + 1) * batch]
            chosen = chosen[fabric.global_rank :: fabric.world_size].repeat(views)
            drawn = numbers[step * views_a_step : (step + 1) * views_a_step]
            faces = standardize(augment(images[chosen], settings.augmentation, drawn, side))
            targets = labels[chosen]
            faces, partners, share = mixup(faces, targets, settings.mixup)

            loss, count = take(faces, targets, partners, share, lr)

            update_average(average, model, settings.ema_decay, (epoch - 1) * steps + step)
            loss_sum += loss
            right += count
            seen += len(targets)
            bar.update()
            if step % 20 == 0:
                bar.set_postfix(epoch=epoch, loss=f"{float(loss_sum) / (step + 1):.3f}")
                if not math.isfinite(float(loss_sum)):
                    bar.close()
                    raise UserError(
                        f"{title}: the loss is not finite in epoch {epoch}, batch {step + 1}: "
                        "lower lr or raise warmup_epochs in params.yaml."
                    )
        row = {"epoch": epoch, "lr": lr, "loss": float(loss_sum) / steps}
        if views == 1:
            row["accuracy"] = float(right) / seen
        finished = epoch == settings.epochs
        if validation is not None or finished:
            _as_used(average, used, images[order[:COUNTED]])
            if validation is not None:
                row |= validate(used, *validation)
            if validation is None or best is None or row["val_accuracy"] > best["val_accuracy"]:
                best = row | {"weights": rounded(used.state_dict())}
        history.append(row)
        bar.set_postfix({key: f"{value:.3f}" for key, value in row.items() if key != "lr"})
        if checkpoint is not None and fabric.is_global_zero:
            if finished:
                _save(checkpoint, epoch, history, best)
            elif time.monotonic() - saved >= SAVE_EVERY:
                _save(checkpoint, epoch, history, best, model, average, optimizer)
                saved = time.monotonic()
        on_epoch(row)
    bar.close()
    assert best is not None  # settings.epochs is at least 1
    return Fitted(best["weights"], history, int(best["epoch"]))


def check_labels(labels: Tensor, classes: int | None = None) -> None:
    """Refuse labels of which one of the classes (default: up to the largest) has no image.

    Raises:
        UserError: naming the class.
    """
    counts = torch.bincount(labels, minlength=classes or 0)
    if len(labels) < 2 or (counts == 0).any():
        empty = ", ".join(str(i) for i in (counts == 0).nonzero().flatten().tolist())
        raise UserError(
            f"The training set of {len(labels)} images lacks class {empty or 'all'}: "
            "add images of it, or leave the class out of the task."
        )


def right_answers(outputs: Tensor, labels: Tensor) -> Tensor:
    """Where the largest logit is that of the label, or of the largest of K soft labels.

    Args:
        outputs: (B, K) logits; further columns (a second head's) are not looked at.
        labels: (B,) int64, or (B, K) float.

    Returns:
        (B,) bool.
    """
    if labels.ndim == 2:
        outputs, labels = outputs[:, : labels.shape[1]], labels.argmax(dim=1)
    return outputs.argmax(dim=1) == labels


def learning_rate(step: int, steps_an_epoch: int, settings: Training) -> float:
    """Linear warm-up to `settings.lr`, then half a cosine down to 0; `step` counts from 0."""
    total = settings.epochs * steps_an_epoch
    warmup = min(settings.warmup_epochs * steps_an_epoch, total)
    if step < warmup:
        return settings.lr * (step + 1) / (warmup + 1)
    done = (step - warmup) / max(total - warmup, 1)
    return settings.lr * 0.5 * (1 + math.cos(math.pi * done))


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Move `average` towards `model`: a <- d a + (1 - d) m, batch-norm statistics included.

    d grows from 0.1 to `decay`, so that the untrained start is soon forgotten; `decay` 0 copies.
    """
    decay = min(decay, (1 + step) / (10 + step)) if decay else 0.0
    mine, theirs = ([*net.parameters(), *net.buffers()] for net in (average, model))
    pairs = list(zip(mine, theirs, strict=True))
    moving = [pair for pair in pairs if pair[0].is_floating_point()]
    counts = [pair for pair in pairs if not pair[0].is_floating_point()]
    # All tensors in one call: on a GPU, one call each would cost more than the network's own step.
    torch._foreach_lerp_([a for a, _ in moving], [m for _, m in moving], 1 - decay)
    if counts:
        torch._foreach_copy_([a for a, _ in counts], [m for _, m in counts])


def validate_classes(model: nn.Module, images: Tensor, labels: Tensor) -> dict[str, float]:
    """Mean cross entropy (nats) and accuracy in [0, 1]."""
    logits = predict_logits(model, images)
    return {
        "val_loss": float(F.cross_entropy(logits, labels)),
        "val_accuracy": float(right_answers(logits, labels).float().mean()),
    }


def _as_used(average: nn.Module, used: nn.Module, faces: Tensor) -> None:
    """Make `used` the network that goes into use: `average` rounded, its statistics counted anew.

    Batch norm's statistics are those of the faces in training, which are turned, mixed and partly
    covered, and of networks on the way here. In use a face is as it is; counted over such faces,
    the statistics fit it (Wu and Johnson 2021, section 3). No label is asked for.

    Args:
        average: the moving average of the weights; stays as it is.
        used: a network of the same kind, changed in place.
        faces: (M, 48, 48) uint8 of the training set.
    """
    used.load_state_dict(rounded(average.state_dict()))
    used.train()
    # An encoder that is kept as it is stays in evaluation mode, and keeps its statistics.
    if any(part.training for part in used.modules() if isinstance(part, nn.BatchNorm2d)):
        update_bn([standardize(batch) for batch in faces.split(256)], used)
    used.load_state_dict(rounded(used.state_dict()))


def _save(path: Path, epoch: int, history: list, best: dict | None, *going: StateHolder) -> None:
    """Write the state after an epoch, whole or not at all.

    `going` are model, average and optimizer, from which the run can go on; a finished run needs
    none, and its file is a tenth of the size.
    """
    states = [holder.state_dict() for holder in going]
    with whole(path) as part, part.open("wb") as file:
        torch.save({"epoch": epoch, "history": history, "best": best, "going": states}, file)


def _restore(
    path: Path, model: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[int, list, dict | None]:
    """Read what `_save` wrote: epochs done, history, best epoch."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state["best"]:
            average.load_state_dict(state["best"]["weights"])
        if state["going"]:
            model.load_state_dict(state["going"][0])
            average.load_state_dict(state["going"][1])
            # Where the optimizer keeps its numbers depends on the device of today.
            for saved, own in zip(
                state["going"][2]["param_groups"], optimizer.param_groups, strict=True
            ):
                saved |= {name: own[name] for name in ("capturable",) if name in own}
            optimizer.load_state_dict(state["going"][2])
    except Exception as error:  # torch.load raises a dozen kinds, each for a damaged file
        raise UserError(
            f"{path} is no usable checkpoint ({type(error).__name__}): delete it; "
            "the training then starts anew."
        ) from None
    return state["epoch"], state["history"], state["best"]
