"""Checks of unit 3. Oracles: plain loops, and the study's own loss."""

import math

import torch
import torch.nn.functional as F

from fer_lib.training.losses import supcon_loss
from fer_tools.course.expectations import holds, same


def batch(seed, labels, width=5):
    """Random unit vectors for the given labels."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(len(labels), width, generator=generator, dtype=torch.float64)
    return F.normalize(points, dim=1), torch.tensor(labels)


def mask(labels):
    n = len(labels)
    return torch.tensor([[i != j and labels[i] == labels[j] for j in range(n)] for i in range(n)])


def one_anchor(similarities, positives, anchor, temperature, with_itself=False):
    """The formula with loops; the largest value is subtracted so that nothing overflows."""
    row = [float(value) / temperature for value in similarities[anchor]]
    others = [v for j, v in enumerate(row) if with_itself or j != anchor]
    log_sum = max(others) + math.log(sum(math.exp(v - max(others)) for v in others))
    terms = [log_sum - v for v, positive in zip(row, positives[anchor], strict=True) if positive]
    return sum(terms) / len(terms)


def naive_loss(points, labels, temperature, **kind):
    positives = mask(labels.tolist())
    anchors = [i for i in range(len(labels)) if positives[i].any()]
    losses = [one_anchor(points @ points.T, positives, i, temperature, **kind) for i in anchors]
    return sum(losses) / len(losses), sum(losses) / len(labels), sum(losses)


def check_cosine_similarities(answer):
    vectors = torch.tensor([[2.0, 0.0], [0.0, 0.5], [3.0, 3.0]])
    root = 0.5**0.5
    expected = torch.tensor([[1, 0, root], [0, 1, root], [root, root, 1]])
    same(
        answer(vectors), expected, "the cosines of (2, 0), (0, 0.5) and (3, 3)",
        tolerance=1e-5,
        mistakes={
            "These are products of vectors that were not normalized to length 1.":
                vectors @ vectors.T,
            "Divide each row by its own length: norm(dim=1), not dim=0.":
                (vectors / vectors.norm(dim=0)) @ (vectors / vectors.norm(dim=0)).T,
        },
    )  # fmt: skip
    vectors = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
    expected = F.cosine_similarity(vectors[:, None], vectors[None], dim=2)
    same(answer(vectors), expected, "the cosines of six random vectors", tolerance=1e-5)


def check_positive_mask(answer):
    for labels in ([0, 1, 0], [2, 2, 5, 2, 1, 5], list(range(4))):
        given = torch.tensor(labels)
        same(
            answer(given), mask(labels), f"the positives for the labels {labels}",
            mistakes={
                "No embedding is a positive of itself: clear the diagonal.":
                    given[:, None] == given[None, :],
                "You marked the pairs of different labels.": given[:, None] != given[None, :],
            },
        )  # fmt: skip


def check_anchor_loss(answer):
    points, labels = batch(3, [0, 1, 0, 2, 1, 0])
    similarities, positives = points @ points.T, mask(labels.tolist())
    for anchor, temperature in ((0, 1.0), (4, 0.1), (5, 0.3)):
        given = (similarities, positives, anchor, temperature)
        right = one_anchor(*given)
        count = int(positives[anchor].sum())
        same(
            answer(*given), right, f"the loss of anchor {anchor} at temperature {temperature}",
            tolerance=1e-5,
            mistakes={
                "The anchor itself does not belong in the sum under the logarithm.":
                    one_anchor(*given, with_itself=True),
                "Divide the similarities by the temperature.":
                    one_anchor(similarities, positives, anchor, 1.0),
                "You multiplied by the temperature instead of dividing.":
                    one_anchor(similarities, positives, anchor, 1 / temperature),
                "Take the mean over the positives, not their sum.": right * count,
                "The sign is wrong: a loss gets smaller as positives get closer.": -right,
            },
        )  # fmt: skip
    similarities = similarities.float()  # exp() overflows above 88
    found = float(answer(similarities, positives, 0, 0.002))
    holds(
        math.isfinite(found),
        f"the loss at temperature 0.002 is {found}: the exponentials are too large. "
        "Use torch.logsumexp.",
    )
    expected = one_anchor(similarities, positives, 0, 0.002)
    same(found, expected, "the loss at temperature 0.002", tolerance=1e-4)


def check_supervised_contrastive_loss(answer):
    for seed, labels, temperature in (
        (5, [0, 0, 1, 1], 0.5), (6, [3, 1, 3, 3, 1, 1, 3], 0.1), (7, [0, 1, 2, 0, 3, 2, 0], 0.2),
    ):  # fmt: skip
        points, given = batch(seed, labels)
        right, over_all, summed = naive_loss(points, given, temperature)
        same(
            answer(points, given, temperature), right,
            f"the loss for the labels {labels} at temperature {temperature}", tolerance=1e-5,
            mistakes={
                "The anchor itself does not belong in the sum under the logarithm.":
                    naive_loss(points, given, temperature, with_itself=True)[0],
                "Take the mean over the anchors that have a positive, not over all.": over_all,
                "Take the mean over the anchors, not their sum.": summed,
                "The temperature is not used, or not everywhere.":
                    naive_loss(points, given, 1.0)[0],
            },
        )  # fmt: skip

    points, given = batch(8, [0, 1, 2, 0, 1, 2, 2, 4], width=16)
    order = torch.randperm(len(given), generator=torch.Generator().manual_seed(0))
    same(
        answer(points[order], given[order]), float(answer(points, given)),
        "the loss of the same batch in another order", tolerance=1e-5,
        hint="The order of a batch must not matter.",
    )  # fmt: skip
    same(
        answer(points, given), supcon_loss(points[:, None], given), tolerance=1e-5,
        what="your loss compared with fer_lib.training.losses.supcon_loss at the default "
        "temperature",
    )  # fmt: skip

    # Gradient of the raw vectors, so that it does not matter if the answer normalizes them again.
    raw = points * torch.linspace(0.5, 2, len(points))[:, None]
    student, reference = raw.clone().requires_grad_(True), raw.clone().requires_grad_(True)
    loss = answer(F.normalize(student, dim=1), given, 0.2)
    holds(
        isinstance(loss, torch.Tensor) and loss.requires_grad,
        "no gradient flows through your loss: float(), .item() and .detach() remove it.",
    )
    loss.backward()
    supcon_loss(F.normalize(reference, dim=1)[:, None], given, 0.2).backward()
    same(student.grad, reference.grad, "the gradient of the loss", tolerance=1e-4)


def check_descend(answer):
    for seed, classes in ((1, 2), (2, 3), (4, 3)):
        labels = torch.arange(24) % classes
        start = F.normalize(
            torch.randn(24, 2, generator=torch.Generator().manual_seed(seed)), dim=1
        )
        kept = start.clone()
        before = float(supcon_loss(start[:, None], labels, 0.5))
        points = answer(start, labels)
        same(start, kept, "the points passed to your function", hint="Work on a clone of them.")
        holds(isinstance(points, torch.Tensor), "the moved points: expected a tensor")
        same(points.norm(dim=1), torch.ones(24), "the lengths of the moved points",
             tolerance=1e-4, hint="Normalize them to length 1 after each step.")  # fmt: skip
        holds(not points.requires_grad, "the moved points still require a gradient: detach them.")
        same(answer(start, labels, 0), start, "the points after 0 steps", tolerance=1e-5)
        after = float(supcon_loss(points[:, None], labels, 0.5))
        holds(
            after < before,
            f"the loss of {classes} classes went from {before:.3f} to {after:.3f}: it should fall. "
            "Does your step go against the gradient?",
        )
        angle = 2 * math.pi * labels / classes
        optimum = torch.stack([angle.cos(), angle.sin()], dim=1)
        minimum = float(supcon_loss(optimum[:, None], labels, 0.5))
        holds(
            after < minimum + 0.05 * (before - minimum),
            f"the loss of {classes} classes went from {before:.3f} to {after:.3f}, but the minimum "
            f"is {minimum:.3f}: do you take all steps, each with a new gradient?",
        )
