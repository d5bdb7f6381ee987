"""Networks and losses to compare with the study's own, trained in a few minutes each.

A variant differs from the group's first one in one thing: an `Architecture` field, the loss, the
number of epochs, or the whole network. Everything else of a group is shared: the faces, their order
and augmentation, the settings, the last epoch. `studies/ablation/params.yaml` lists the variants.
"""

from pathlib import Path
from typing import Annotated, Literal

import cv2
import numpy as np
import torch
import torchvision
from pydantic import AfterValidator, Field, TypeAdapter
from torch import Tensor, nn

from fer_lib.models.msfernet import Classifier, Encoder, MSFERNet, ProjectionHead, SupConNet
from fer_lib.params import Architecture, Count, Section, Training, Whole
from fer_lib.paths import scratch_folder
from fer_lib.precision import resolve
from fer_lib.training.checkpoints import TRAINING_CODE, fingerprint, flat_weights
from fer_lib.training.loop import fit
from fer_lib.training.losses import Loss, contrast, cross_entropy
from fer_lib.training.objective import Objective
from studies.ablation.settings import load_section

TRAINED_BY = (*TRAINING_CODE, "studies/ablation/variants.py")
# Names stand in the names of files and stages.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,39}$")]
CONTRAST_SHARE = 0.5  # of the contrastive loss beside cross entropy, where both are learnt at once


def _fields_of_an_architecture(model: dict) -> dict:
    TypeAdapter(Architecture).validate_python(model)
    return model


class Variant(Section):
    """What one run does differently.

    Attributes:
        model: fields of `params.Architecture` to change, by name.
        loss: "cross-entropy" from nothing; "linear", a linear layer on the frozen encoder that
            SupCon trained; "fine-tuned", encoder and layer together after SupCon; "joint", cross
            entropy and SupCon at once, on two views.
        epochs: of the classifier; None as the group has it.
        network: a model of torchvision by its name; None is MSFERNet.
        boosting: judge gradient boosting on the trained network's features as well.
    """

    model: Annotated[dict, AfterValidator(_fields_of_an_architecture)] = Field(default_factory=dict)
    loss: Literal["cross-entropy", "linear", "fine-tuned", "joint"] = "cross-entropy"
    epochs: Count | None = None
    network: str | None = None
    boosting: bool = False


class Group(Section):
    """Variants that are compared with each other.

    Attributes:
        side: of the faces, pixels.
        faces: how many of Training are used, by study.
        pretrain: of SupCon, where a variant has it.
        train: of the classifier.
        variants: by name; the first is the one that the others are compared with.
    """

    side: Annotated[Whole, Field(ge=16, le=48)]
    faces: dict[str, Count]
    pretrain: Training
    train: Training
    variants: dict[Name, Variant]


def load_group(name: str, root: Path | None = None) -> Group:
    """A group of `studies/ablation/params.yaml`, checked; raises as `load_section` does."""
    return load_section(name, Group, root)


def shrink(images: np.ndarray, side: int) -> Tensor:
    """(N, 48, 48) uint8 faces as (N, side, side) uint8, each pixel the mean of its area."""
    if side == images.shape[1]:
        return torch.from_numpy(images)
    small = [cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA) for image in images]
    return torch.from_numpy(np.stack(small))


class LinearProbe(nn.Module):
    """A linear layer on an encoder that stays as it is, batch-norm statistics included."""

    def __init__(self, encoder: Encoder, classes: int) -> None:
        super().__init__()
        self.encoder = encoder.requires_grad_(False)
        self.classifier = Classifier(encoder.feature_width, classes)

    def train(self, mode: bool = True) -> "LinearProbe":
        super().train(mode)
        self.encoder.eval()
        return self

    def forward(self, faces: Tensor) -> Tensor:
        """(B, 1, H, W) standardized faces -> logits (B, classes)."""
        with torch.no_grad():
            features = self.encoder(faces)
        return self.classifier(features)


class JointNet(nn.Module):
    """One encoder under a classifier and a projection head, trained by `joint_loss`."""

    def __init__(self, classes: int, arch: Architecture, dropout: float, width: int) -> None:
        super().__init__()
        self.encoder = Encoder(arch)
        self.classifier = Classifier(self.encoder.feature_width, classes, dropout)
        self.projection = ProjectionHead(self.encoder.feature_width, width)

    def forward(self, faces: Tensor) -> Tensor:
        """(B, 1, H, W) standardized faces -> (B, classes + width): logits, then the embedding.

        In evaluation mode the logits alone.
        """
        features = self.encoder(faces)
        logits = self.classifier(features).float()
        return torch.cat([logits, self.projection(features)], dim=1) if self.training else logits


def joint_loss(classes: int, settings: Training) -> Loss:
    """The loss of `JointNet`: cross entropy of both views + `CONTRAST_SHARE` x SupCon.

    It takes outputs (2 B, classes + D), all first views before all second, and labels (2 B,).
    """
    named, pulled = cross_entropy(settings), contrast(settings)

    def loss(outputs: Tensor, labels: Tensor) -> Tensor:
        logits, embeddings = outputs[:, :classes], outputs[:, classes:]
        return named(logits, labels) + CONTRAST_SHARE * pulled(embeddings, labels)

    return loss


class FromTorchvision(nn.Module):
    """A network of torchvision, untrained, for grey faces: the one channel is shown three times.

    VGG's three fully connected layers, 120 million weights made for 224 pixels, give way to the
    mean over places and one linear layer, as is usual for small images.
    """

    def __init__(self, name: str, classes: int) -> None:
        super().__init__()
        more = {"aux_logits": False, "init_weights": True} if name == "googlenet" else {}
        self.net = torchvision.models.get_model(name, weights=None, num_classes=classes, **more)
        if name.startswith("vgg"):
            self.net.avgpool = nn.AdaptiveAvgPool2d(1)
            self.net.classifier = nn.Linear(512, classes)

    def forward(self, faces: Tensor) -> Tensor:
        """(B, 1, H, W) standardized faces -> logits (B, classes)."""
        return self.net(faces.expand(-1, 3, -1, -1))


def make_network(variant: Variant, group: Group, classes: int, seed: int = 0) -> nn.Module:
    """The untrained network of a variant; `seed` decides its weights."""
    torch.manual_seed(seed)
    if variant.network:
        return FromTorchvision(variant.network, classes)
    arch = Architecture(**variant.model)
    if variant.loss == "joint":
        return JointNet(classes, arch, group.train.dropout, group.train.embedding_width)
    return MSFERNet(classes, arch, group.train.dropout)


def train_variant(
    name: str, group: Group, seed: int, images: Tensor, labels: Tensor, classes: int
) -> nn.Module:
    """Train one variant with one seed; the last epoch counts. Checkpoints lie in `.scratch`.

    Args:
        name: of the variant in `group`.
        group: settings.
        seed: of the start, the order of faces and their augmentation.
        images: (N, H, W) uint8.
        labels: (N,) int64, 0 to classes - 1.
        classes: K.

    Returns:
        The network in evaluation mode: standardized faces to logits (B, classes).
    """
    variant = group.variants[name]
    settings = resolve(group.train.model_copy(update={"seed": seed}))
    if variant.epochs:
        settings = settings.model_copy(update={"epochs": variant.epochs})
    loss, model = cross_entropy(settings), make_network(variant, group, classes, seed)
    if variant.loss == "joint":
        loss = joint_loss(classes, settings)
    elif variant.loss != "cross-entropy":
        pretraining = resolve(group.pretrain.model_copy(update={"seed": seed}))
        model.encoder = pretrained_encoder(pretraining, variant, images, labels)
        if variant.loss == "linear":
            torch.manual_seed(seed)  # a pretraining found done has drawn no random numbers
            model = LinearProbe(model.encoder, classes)
    data = [images, labels, flat_weights(model)]
    mark = fingerprint({**variant.model_dump(), **settings.model_dump()}, data, TRAINED_BY)
    fit(
        model, images, labels, settings,
        Objective(loss, classes, views=2 if variant.loss == "joint" else 1),
        title=f"{name}, seed {seed}",
        checkpoint=scratch_folder() / f"variant-{name}-{seed}-{mark}.pt",
    )  # fmt: skip
    return model


def pretrained_encoder(
    settings: Training, variant: Variant, images: Tensor, labels: Tensor
) -> Encoder:
    """The encoder that SupCon alone trains on these faces, projection head taken off."""
    torch.manual_seed(settings.seed)
    model = SupConNet(Architecture(**variant.model), settings.embedding_width)
    mark = fingerprint({**variant.model, **settings.model_dump()}, [images, labels], TRAINED_BY)
    fit(
        model, images, labels, settings, Objective(contrast(settings), views=2),
        title=f"SupCon, seed {settings.seed}",
        checkpoint=scratch_folder() / f"variant-supcon-{settings.seed}-{mark}.pt",
    )  # fmt: skip
    return model.encoder
