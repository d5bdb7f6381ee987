"""Teachers: their mean, their valence, and that a network really learns from them."""

import numpy as np
import pytest
import torch
from test_loop import SETTINGS, SMALL, bars
from torch import nn

from fer_lib.errors import UserError
from fer_lib.labels import FER_CLASSES
from fer_lib.models.msfernet import MSFERNet
from fer_lib.training.distillation import Teachers, load_teachers
from fer_lib.training.loop import fit
from fer_lib.training.losses import cross_entropy
from fer_lib.training.objective import Objective


class Says(nn.Module):
    """The same logits for every face, or those of a rule."""

    def __init__(self, rule):
        super().__init__()
        self.rule = rule

    def forward(self, faces):
        return self.rule(faces)


def softmax(logits):
    powers = np.exp(np.array(logits, dtype=float))
    return powers / powers.sum()


FIRST, SECOND = [2.0, 0, 0, 1, 0, 3, 0], [0.0, 1, 2, 0, 0, 0, 4]
FACES = torch.zeros(2, 1, 48, 48)


def both(valence=False):
    rows = [torch.tensor(logits).repeat(2, 1) for logits in (FIRST, SECOND)]
    return Teachers([Says(lambda faces, row=row: row) for row in rows], valence)


def test_together_is_the_mean_of_the_probabilities():
    expected = (softmax(FIRST) + softmax(SECOND)) / 2
    np.testing.assert_allclose(both()(FACES)[0], expected, rtol=1e-6)


def test_valence_adds_up_the_emotions_and_leaves_surprise_out():
    share = dict(zip(FER_CLASSES, (softmax(FIRST) + softmax(SECOND)) / 2, strict=True))
    rest = 1 - share["surprise"]
    negative = share["angry"] + share["disgust"] + share["fear"] + share["sad"]
    expected = [negative / rest, share["neutral"] / rest, share["happy"] / rest]
    np.testing.assert_allclose(both(valence=True)(FACES)[1], expected, rtol=1e-6)


def taught(weight, teacher, asked):
    """Validation accuracy against the labels of `bars`, moved on by `asked` classes."""
    images, labels = bars()
    settings = SETTINGS.model_copy(
        update={"epochs": 15, "teacher_weight": weight, "mixup": 0.0, "label_smoothing": 0.0}
    )
    torch.manual_seed(0)
    return fit(
        MSFERNet(4, SMALL), images, labels, settings,
        Objective(
            cross_entropy(settings), teacher=teacher, validation=(images, (labels + asked) % 4)
        ),
    ).history[-1]["val_accuracy"]  # fmt: skip


def one_further(faces):
    """Shares of the class after the one whose bar is bright; mirrored faces have the same bar."""
    rows = faces.mean(dim=(1, 3))
    heights = torch.stack([rows[:, 3 + 5 * k : 6 + 5 * k].mean(dim=1) for k in range(4)], dim=1)
    return nn.functional.one_hot((heights.argmax(dim=1) + 1) % 4, 4).float()


def test_a_network_follows_its_teacher_by_the_weight_it_has():
    teacher = Says(one_further)
    assert taught(0.9, teacher, asked=1) > 0.8
    assert taught(0.1, teacher, asked=0) > 0.8


@pytest.mark.parametrize(("weight", "teacher"), [(0.5, None), (0.0, Says(one_further))])
def test_weight_and_teacher_belong_together(weight, teacher):
    images, labels = bars()
    settings = SETTINGS.model_copy(update={"teacher_weight": weight})
    objective = Objective(cross_entropy(settings), teacher=teacher)
    with pytest.raises(UserError, match=r"change teacher_weight or teachers in params\.yaml"):
        fit(MSFERNet(4, SMALL), images, labels, settings, objective)


def test_a_missing_teacher_is_named(tmp_path):
    with pytest.raises(UserError, match=r"teacher-1\.safetensors is missing"):
        load_teachers(tmp_path, ["teacher-1"], "fer13-7")
