"""One training step: forward pass, loss, backward pass, optimizer."""

from typing import cast

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor, nn

from fer_lib.params import Training
from fer_lib.training.losses import correct
from fer_lib.training.objective import Objective
from fer_lib.training.optimizers import make_optimizer


class Step:
    """A step of a run, on the device and in the precision of `fabric`.

    Args:
        model: is trained; already on the device.
        objective: what for.
        settings: of the run.
        fabric: device, precision and processes.
        compiled: whether by `torch.compile`, which gives the same numbers to rounding.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        settings: Training,
        fabric: Fabric,
        compiled: bool = False,
    ) -> None:
        network, self.teacher = model, objective.teacher
        if self.teacher is not None:
            self.teacher = self.teacher.eval().to(fabric.device)
            self.teacher.to(memory_format=torch.channels_last)
        if compiled:
            network = cast(nn.Module, torch.compile(network, dynamic=False))
            self.teacher = self.teacher and cast(
                nn.Module, torch.compile(self.teacher, dynamic=False)
            )
        self.network, self.optimizer = fabric.setup(network, make_optimizer(model, settings))
        self.loss, self.settings, self.fabric = objective.loss, settings, fabric

    def __call__(
        self, faces: Tensor, labels: Tensor, partners: Tensor, share: float, lr: float
    ) -> tuple[Tensor, Tensor]:
        """Change the weights by a `batches.Batch`; its loss, and how many were classified right."""
        found = self.backward(faces, labels, partners, share)
        self.update(lr)
        return found

    def backward(
        self, faces: Tensor, labels: Tensor, partners: Tensor, share: float
    ) -> tuple[Tensor, Tensor]:
        """Forward and backward pass: the gradients, and what the step returns."""
        outputs = self.network(faces)
        loss = self.loss(outputs, labels)
        if self.settings.mixup:
            loss = share * loss + (1 - share) * self.loss(outputs, partners)
        if self.teacher is not None:
            with self.fabric.autocast(), torch.no_grad():
                soft_targets = self.teacher(faces)
            distilled = F.cross_entropy(outputs, soft_targets)
            loss = torch.lerp(loss, distilled, self.settings.teacher_weight)
        self.optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(loss)
        return loss.detach(), correct(outputs.detach(), labels).sum()

    def update(self, lr: float) -> None:
        """Let the optimizer follow the gradients."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
