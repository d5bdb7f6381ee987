"""SupCon against naive loops and against pytorch-metric-learning; one and several processes."""

import math
import multiprocessing
import os

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from lightning_fabric import Fabric
from pytorch_metric_learning.losses import SupConLoss
from two_processes import environment, free_port

from fer_lib.training.losses import supcon_loss


def random_batch(faces=12, views=2, width=16, classes=4, seed=0, dtype=torch.float32):
    numbers = torch.Generator().manual_seed(seed)
    z = F.normalize(torch.randn(faces, views, width, generator=numbers, dtype=torch.float64), dim=2)
    return z.to(dtype), torch.randint(0, classes, (faces,), generator=numbers)


def naive_supcon(embeddings, labels, temperature):
    """Khosla eq. 2, a sum at a time, in Python floats."""
    z = [e.tolist() for row in embeddings for e in row]
    y = [int(label) for label, row in zip(labels, embeddings, strict=True) for _ in row]
    terms = []
    for i, anchor in enumerate(z):
        similar = [
            sum(a * b for a, b in zip(anchor, other, strict=True)) / temperature for other in z
        ]
        others = [a for a in range(len(z)) if a != i]
        positives = [p for p in others if y[p] == y[i]]
        if positives:
            log_sum = math.log(sum(math.exp(similar[a]) for a in others))
            terms.append(-sum(similar[p] - log_sum for p in positives) / len(positives))
    return sum(terms) / len(terms)


@pytest.mark.parametrize("temperature", [0.05, 0.1, 1.0])
@pytest.mark.parametrize("views", [1, 2, 3])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 2e-6), (torch.float32, 2e-6)])
def test_equals_naive_loops(views, temperature, dtype, tolerance):
    z, labels = random_batch(views=views, dtype=dtype)
    expected = naive_supcon(z.double(), labels, temperature)
    assert supcon_loss(z, labels, temperature).item() == pytest.approx(expected, rel=tolerance * 10)


@pytest.mark.parametrize("seed", range(3))
def test_equals_pytorch_metric_learning(seed):
    z, labels = random_batch(faces=20, seed=seed)
    independent = SupConLoss(temperature=0.1)(z.flatten(0, 1), labels.repeat_interleave(2))
    torch.testing.assert_close(supcon_loss(z, labels, 0.1), independent, rtol=1e-5, atol=1e-6)


def test_gradient_equals_pytorch_metric_learning():
    z, labels = random_batch()
    # It normalises by itself, so the gradients are compared before that step.
    ours, theirs = (3 * z).requires_grad_(), (3 * z).requires_grad_()
    supcon_loss(F.normalize(ours, dim=2), labels, 0.2).backward()
    SupConLoss(temperature=0.2)(theirs.flatten(0, 1), labels.repeat_interleave(2)).backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6)


def test_single_class_and_all_different():
    z, _ = random_batch(faces=6)
    for labels in (torch.zeros(6, dtype=torch.long), torch.arange(6)):
        expected = naive_supcon(z.double(), labels, 0.1)
        assert supcon_loss(z, labels, 0.1).item() == pytest.approx(expected, rel=1e-5)


def test_identical_embeddings_give_log_of_the_others():
    z = F.normalize(torch.ones(4, 2, 8), dim=2)
    assert supcon_loss(z, torch.tensor([0, 0, 1, 1])).item() == pytest.approx(math.log(7), rel=1e-5)


def test_separated_classes_beat_mixed_ones():
    directions = torch.eye(4)
    labels = torch.tensor([0, 0, 1, 1])
    apart = directions[labels][:, None].repeat(1, 2, 1)
    mixed = directions[torch.tensor([0, 1, 0, 1])][:, None].repeat(1, 2, 1)
    assert supcon_loss(apart, labels) + 1 < supcon_loss(mixed, labels)


def test_float32_inside_autocast():
    z, labels = random_batch()
    with torch.autocast("cpu", torch.bfloat16):
        inside = supcon_loss(z.requires_grad_(), labels)
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, supcon_loss(z, labels), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("embeddings", "labels", "temperature", "message"),
    [
        (torch.ones(4, 8), torch.zeros(4), 0.1, "expected embeddings"),
        (torch.ones(4, 2, 8), torch.zeros(3), 0.1, "expected embeddings"),
        (torch.ones(4, 2, 8), torch.zeros(4), 0.0, "temperature"),
        (torch.ones(4, 1, 8), torch.arange(4), 0.1, "no anchor has a positive"),
    ],
)
def test_refuses(embeddings, labels, temperature, message):
    with pytest.raises(ValueError, match=message):
        supcon_loss(embeddings, labels, temperature)


def _one_process(rank, port, answers):
    os.environ |= environment(rank, port)
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    z, labels = random_batch(faces=8)
    own = z[rank * 4 : rank * 4 + 4].clone().requires_grad_()
    loss = supcon_loss(own, labels[rank * 4 : rank * 4 + 4])
    loss.backward()
    weights = _trained_once(rank)
    answers.put((rank, loss.item(), own.grad.numpy(), weights))
    dist.barrier()
    dist.destroy_process_group()


def _faces_and_encoder():
    """8 faces of 12 numbers with two views each, and an encoder without batch norm."""
    torch.manual_seed(1)
    return torch.randn(8, 2, 12), torch.arange(8) % 3, torch.nn.Linear(12, 16)


def _trained_once(rank):
    """The gradients and the weights after a step on this process's half of the faces."""
    faces, labels, encoder = _faces_and_encoder()
    fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp")
    fabric.launch()
    optimizer = torch.optim.SGD(encoder.parameters(), lr=0.5)
    network, optimizer = fabric.setup(encoder, optimizer)
    z = F.normalize(network(faces[rank::2].flatten(0, 1)), dim=1).unflatten(0, (4, 2))
    fabric.backward(supcon_loss(z, labels[rank::2]))
    gradients = [p.grad.numpy().copy() for p in encoder.parameters()]
    optimizer.step()
    return gradients, [p.detach().numpy() for p in encoder.parameters()]


@pytest.mark.timeout(120)
def test_two_processes_equal_one():
    port = free_port()
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    workers = [context.Process(target=_one_process, args=(r, port, answers)) for r in range(2)]
    for worker in workers:
        worker.start()
    results = sorted((answers.get(timeout=100) for _ in workers), key=lambda answer: answer[0])
    for worker in workers:
        worker.join()

    z, labels = random_batch(faces=8)
    z.requires_grad_()
    joint = supcon_loss(z, labels)
    joint.backward()
    assert (results[0][1] + results[1][1]) / 2 == pytest.approx(joint.item(), rel=1e-6)
    # Data-parallel training averages the processes' gradients; each holds those of both losses.
    split = torch.cat([torch.from_numpy(gradient) for _, _, gradient, _ in results]) / 2
    torch.testing.assert_close(split, z.grad, rtol=1e-5, atol=1e-7)

    # And the same through a network that Fabric shares out.
    faces, labels, encoder = _faces_and_encoder()
    embeddings = F.normalize(encoder(faces.flatten(0, 1)), dim=1).unflatten(0, (8, 2))
    supcon_loss(embeddings, labels).backward()
    for _, _, _, (gradients, weights) in results:
        for own, stepped, p in zip(gradients, weights, encoder.parameters(), strict=True):
            torch.testing.assert_close(torch.from_numpy(own), p.grad, rtol=1e-5, atol=1e-7)
            after = (p - 0.5 * p.grad).detach()
            torch.testing.assert_close(torch.from_numpy(stepped), after, rtol=1e-5, atol=1e-7)
