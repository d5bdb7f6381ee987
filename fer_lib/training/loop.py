"""The training loop: one for SupCon pretraining, classifiers and networks with two heads.

Read `_train` from top to bottom. What it is made of lies beside it, a module each: the batches
(`batches.py`), the step (`step.py`), the moving average (`average.py`), the state of a run
(`checkpoints.py`). The whole training set stays in memory as uint8.

A run can be killed at any moment: after an epoch all that decides what follows is written to a
checkpoint, and random draws depend on the seed and the epoch alone. The resumed run ends with the
same bits as an undisturbed one (on the CPU, with the same number of threads).

On a GPU nothing in a step waits for the GPU: the faces lie there, an epoch's random draws are sent
there at once, and forward pass, backward pass and optimizer are a CUDA graph (`cuda_graph.py`).
"""

import logging
import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from fer_lib.errors import UserError
from fer_lib.files import alone
from fer_lib.params import Training
from fer_lib.precision import compiles, resolve, use_cores
from fer_lib.progress import progress_bar
from fer_lib.training.average import RECALIBRATED_ON, MovingAverage
from fer_lib.training.batches import Batches
from fer_lib.training.checkpoints import Checkpoint
from fer_lib.training.cuda_graph import GraphedStep
from fer_lib.training.objective import Objective
from fer_lib.training.step import Step

OnEpoch = Callable[[dict[str, float]], None]

# Fabric announces its precision as a warning would be; in a notebook it only puzzles.
logging.getLogger("lightning_fabric").setLevel(logging.WARNING)


@dataclass
class Fitted:
    """What a run leaves behind.

    Attributes:
        weights: state dict (CPU, float16) of the best epoch's moving average, or of the last
            epoch's where there was no validation set, as `MovingAverage.deploy` makes it.
        history: one dict an epoch: epoch, lr, loss, and with validation val_loss, val_accuracy;
            for classifiers accuracy (of the augmented training faces, in [0, 1]).
        best_epoch: the epoch that `weights` come from, from 1.
    """

    weights: dict[str, Tensor]
    history: list[dict[str, float]]
    best_epoch: int

    @property
    def best(self) -> dict[str, float]:
        """The row of the history that `weights` come from."""
        return self.history[self.best_epoch - 1]


def fit(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    settings: Training,
    objective: Objective,
    *,
    checkpoint: Path | None = None,
    on_epoch: OnEpoch = lambda row: None,
    title: str = "training",
    fabric: Fabric | None = None,
) -> Fitted:
    """Train `model`.

    Args:
        model: maps (B, 1, 48, 48) standardized faces to what the loss takes. It ends with the
            weights of `Fitted`, in evaluation mode, on the device that trained it.
        images: (N, 48, 48) uint8.
        labels: (N,) int64 from 0, or (N, K) float, the probability or share of each class.
        settings: a section of `params.yaml`.
        objective: loss, views, teacher and validation.
        checkpoint: where the state goes after an epoch, at most every `SAVE_EVERY` seconds; after
            the last one, what `Fitted` holds. A run continues from a file that is there, so its
            name must identify settings, data and code (`checkpoints.fingerprint`). While another
            process trains it, this one waits.
        on_epoch: called with each row of the history, restored rows included.
        title: of the progress bar.
        fabric: device, precision and processes; by default one process on the best device. Several
            processes lock the checkpoint by themselves.

    Raises:
        UserError: if objective and settings do not fit (`Objective.check`), a loss is not finite,
            or the checkpoint is damaged.
    """
    objective.check(labels, settings)
    settings = resolve(settings)
    use_cores()
    fabric = fabric or Fabric(accelerator="auto", devices=1, precision=settings.precision)  # type: ignore[arg-type]
    fabric.launch()
    model.to(fabric.device).to(memory_format=torch.channels_last)
    faces_seen = settings.epochs * len(images) * objective.views
    compiled = compiles(settings, faces_seen, fabric.device.type)[0]
    batches = Batches(
        images.to(fabric.device), labels.to(fabric.device), settings, objective.views,
        fabric.global_rank, fabric.world_size,
    )  # fmt: skip
    with alone(checkpoint) if checkpoint and fabric.world_size == 1 else nullcontext():
        average = MovingAverage(model, settings.ema_decay)
        step = Step(model, objective, settings, fabric, compiled)
        run = Checkpoint(checkpoint, model, average.network, step.optimizer)
        run.restore()
        for row in run.history:
            on_epoch(row)
        _train(run, batches, step, average, objective, on_epoch, title)
    model.load_state_dict(run.best_weights)
    model.eval()
    return Fitted(run.best_weights, run.history, run.best_epoch)


def _train(
    run: Checkpoint,
    batches: Batches,
    step: Step,
    average: MovingAverage,
    objective: Objective,
    on_epoch: OnEpoch,
    title: str,
) -> None:
    """Train from the state of `run` to the end, and leave there what was found."""
    settings, fabric = step.settings, step.fabric
    graphed = fabric.device.type == "cuda" and fabric.world_size == 1
    take_step = GraphedStep(step) if graphed else step
    bar = progress_bar(settings.epochs * len(batches), title, unit="batch")
    bar.update(run.epoch * len(batches))
    with bar:
        for epoch in range(run.epoch + 1, settings.epochs + 1):
            run.model.train()
            loss_sum, right = torch.zeros(2, device=fabric.device)
            seen = 0
            for number, batch in enumerate(batches.epoch(epoch), (epoch - 1) * len(batches)):
                lr = learning_rate(number, len(batches), settings)
                loss, count = take_step(*batch, lr)
                average.update(number)
                loss_sum += loss
                right += count
                seen += len(batch.labels)
                bar.update()

            row = {"epoch": epoch, "lr": lr, "loss": float(loss_sum) / len(batches)}
            if objective.views == 1:
                row["accuracy"] = float(right) / seen
            _refuse_infinite(row, "loss", title)
            finished = epoch == settings.epochs
            if objective.validation is not None or finished:
                faces = batches.images[batches.order(epoch)[:RECALIBRATED_ON]]
                network, weights = average.deploy(faces)
                row |= objective.judge(network)
                _refuse_infinite(row, "val_loss", title)
                run.keep_the_better(row, weights)
            bar.set_postfix({key: f"{value:.3f}" for key, value in row.items() if key != "lr"})
            run.add(row)
            if fabric.is_global_zero:
                run.save(finished)
            on_epoch(row)


def _refuse_infinite(row: dict[str, float], name: str, title: str) -> None:
    if not math.isfinite(row.get(name, 0.0)):
        raise UserError(
            f"{title}: the {name} is not finite in epoch {row['epoch']}: lower lr or raise "
            "warmup_epochs in params.yaml."
        )


def learning_rate(step: int, steps_an_epoch: int, settings: Training) -> float:
    """Linear warm-up to `settings.lr`, then half a cosine down to 0; `step` counts from 0."""
    total = settings.epochs * steps_an_epoch
    warmup = min(settings.warmup_epochs * steps_an_epoch, total)
    if step < warmup:
        return settings.lr * (step + 1) / (warmup + 1)
    done = (step - warmup) / max(total - warmup, 1)
    return settings.lr * 0.5 * (1 + math.cos(math.pi * done))
