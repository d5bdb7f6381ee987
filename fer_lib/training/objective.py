"""What a run learns, and how it is judged: loss, views, teacher, validation set."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_lib.errors import UserError
from fer_lib.models.forward import predict_logits
from fer_lib.params import Training
from fer_lib.training.losses import Loss, correct

FacesAndLabels = tuple[Tensor, Tensor]


def validate_classes(model: nn.Module, images: Tensor, labels: Tensor) -> dict[str, float]:
    """Mean cross entropy (nats) and accuracy in [0, 1]."""
    logits = predict_logits(model, images)
    return {
        "val_loss": float(F.cross_entropy(logits, labels)),
        "val_accuracy": float(correct(logits, labels).float().mean()),
    }


@dataclass(frozen=True)
class Objective:
    """What `loop.fit` trains a network for.

    Attributes:
        loss: of the network's outputs and the labels, see `losses.py`.
        classes: how many classes the labels must hold; by default up to the largest label.
        views: augmented copies of each face in a batch, laid one after the other.
        teacher: maps faces to class probabilities (B, K), which `teacher_weight` of the loss asks
            the model for (Hinton et al. 2015). It sees what the model sees, mixed and augmented, so
            every epoch asks for something new (Beyer et al. 2022). Its weights stay.
        validation: images and labels on which the best epoch is chosen; None keeps the last one.
        validate: judges a network on them, by a dict that holds val_loss and val_accuracy; the
            latter chooses the epoch.
    """

    loss: Loss
    classes: int | None = None
    views: int = 1
    teacher: nn.Module | None = None
    validation: FacesAndLabels | None = None
    validate: Callable[[nn.Module, Tensor, Tensor], dict[str, float]] = validate_classes

    def check(self, labels: Tensor, settings: Training) -> None:
        """Refuse training labels or settings that do not fit.

        Raises:
            UserError: if fewer than two classes have images (of one without, a warning is given),
                SupCon is asked to mix faces, which have no labels in common then, or there is a
                teacher without a weight or a weight without a teacher.
        """
        counts = torch.ones(2) if labels.ndim > 1 else labels.bincount(minlength=self.classes or 0)
        if len(labels) < 2 or (counts > 0).sum() < 2:
            raise UserError(
                f"The training set of {len(labels)} images has fewer than two classes: add images "
                "of others."
            )
        if (counts == 0).any():
            empty = ", ".join(str(i) for i in (counts == 0).nonzero().flatten().tolist())
            warnings.warn(
                f"The training set of {len(labels)} images lacks class {empty}, which the network "
                "cannot learn.",
                stacklevel=2,
            )
        if settings.mixup and self.views > 1:
            raise UserError("mixup is for classifiers: set mixup to 0 in params.yaml.")
        if bool(settings.teacher_weight) != (self.teacher is not None):
            raise UserError(
                f"teacher_weight is {settings.teacher_weight:g} and there is "
                f"{'a' if self.teacher else 'no'} teacher: change teacher_weight or teachers in "
                "params.yaml."
            )

    def judge(self, model: nn.Module) -> dict[str, float]:
        """What `validate` finds, as plain numbers; {} without a validation set."""
        if self.validation is None:
            return {}
        images, labels = self.validation
        device = next(model.parameters()).device
        found = self.validate(model, images.to(device), labels)
        return {name: float(value) for name, value in found.items()}
