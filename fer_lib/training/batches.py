"""The batches of an epoch: the faces' order, their views, mixup, and the random draws of all."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from fer_lib.models.forward import standardize
from fer_lib.params import Training
from fer_lib.training.augment import augment, draw_numbers, mixup


class Batch(NamedTuple):
    """What a step learns from; B counts each view of a face.

    Attributes:
        faces: (B, 1, 48, 48) float32, augmented, standardized and mixed.
        labels: (B,) int64, or (B, K) float.
        partners: the labels of the faces that were mixed in.
        share: of the faces themselves in the mixture, 1 without mixup.
    """

    faces: Tensor
    labels: Tensor
    partners: Tensor
    share: float


class Batches:
    """The batches of each epoch, made where the images lie.

    Random draws depend on the seed, the epoch and the process alone: a resumed run draws what an
    undisturbed one does.

    Args:
        images: (N, 48, 48) uint8.
        labels: (N,) int64, or (N, K) float.
        settings: of the run.
        views: augmented copies of each face, laid one after the other.
        rank: number of this process, from 0.
        processes: that share each batch; it must be a multiple of them.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        settings: Training,
        views: int = 1,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        self.images, self.labels, self.settings, self.views = images, labels, settings, views
        self.rank, self.processes = rank, processes
        self.size = min(settings.batch_size, len(images))

    def __len__(self) -> int:
        """Batches an epoch. The last, smaller one is left out: a new order brings it next."""
        return len(self.images) // self.size

    def order(self, epoch: int) -> Tensor:
        """(N,) int64: the order of the faces in an epoch, from 1."""
        generator = torch.Generator().manual_seed(self._seed(epoch))
        return torch.randperm(len(self.images), generator=generator).to(self.images.device)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """The batches of an epoch, from 1; seeds torch, whose numbers dropout and mixup draw."""
        torch.manual_seed(self._seed(epoch))
        order = self.order(epoch).split(self.size)[: len(self)]
        # Each process draws the views of its part of the faces from a separate generator.
        generator = torch.Generator().manual_seed(self._seed(epoch) * 1000 + self.rank)
        views = self.size // self.processes * self.views  # in a batch of this process
        draws = draw_numbers(len(self) * views, generator).to(self.images.device).split(views)
        for chosen, drawn in zip(order, draws, strict=True):
            part = chosen[self.rank :: self.processes].repeat(self.views)
            changed = augment(self.images[part], self.settings.augmentation, drawn)
            yield self._mixed(standardize(changed), self.labels[part])

    def _mixed(self, faces: Tensor, labels: Tensor) -> Batch:
        faces, partners, share = mixup(faces, labels, self.settings.mixup)
        return Batch(faces, labels, partners, share)

    def _seed(self, epoch: int) -> int:
        return self.settings.seed * 1000 + epoch
