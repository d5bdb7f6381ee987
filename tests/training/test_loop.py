"""The training loop: learns, resumes to the bit after kill -9, refuses bad input."""

import signal
import time
from contextlib import contextmanager

import pytest
import torch
from torch import nn
from two_processes import CONTEXT

from fer_lib.errors import UserError
from fer_lib.models.forward import standardize
from fer_lib.models.msfernet import MSFERNet, SupConNet
from fer_lib.models.quantization import rounded
from fer_lib.params import Architecture, Augmentation, Training
from fer_lib.training import loop as training
from fer_lib.training.augment import augment, draw_numbers, mixup
from fer_lib.training.checkpoints import fingerprint
from fer_lib.training.loop import (
    _as_used,
    contrast,
    cross_entropy,
    fit,
    learning_rate,
    update_average,
    validate_classes,
)
from fer_lib.training.optimizers import Muon, make_optimizer, orthogonalised
from studies.ablation.variants import LinearProbe

SMALL = Architecture(first_width=8, second_width=8, widths=(16, 16, 16))
SETTINGS = Training(seed=3, epochs=3, batch_size=16, lr=3e-3, ema_decay=0.9, dropout=0.1, mixup=0.2)


def bars(count=64, classes=4):
    """Pictures of 24x24 pixels with one bright bar each, whose place is the class."""
    numbers = torch.Generator().manual_seed(1)
    labels = torch.arange(count) % classes
    images = torch.randint(0, 90, (count, 24, 24), generator=numbers, dtype=torch.uint8)
    for image, label in zip(images, labels, strict=True):
        image[3 + 5 * label : 6 + 5 * label] += 150
    return images, labels


def run(checkpoint=None, settings=SETTINGS, **more):
    torch.manual_seed(0)
    images, labels = bars()
    return fit(
        MSFERNet(4, SMALL, dropout=settings.dropout), images, labels, settings,
        cross_entropy(settings), checkpoint=checkpoint, **more,
    )  # fmt: skip


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


def test_learns_bars():
    images, labels = bars()
    settings = SETTINGS.model_copy(update={"epochs": 10})
    fitted = run(settings=settings, validation=(images, labels))
    best = max(row["val_accuracy"] for row in fitted.history)
    assert best > 0.9  # chance is 0.25
    assert fitted.history[fitted.best_epoch - 1]["val_accuracy"] == best


def test_supcon_separates_bars():
    images, labels = bars()
    torch.manual_seed(0)
    model = SupConNet(SMALL, embedding_width=16)
    settings = SETTINGS.model_copy(update={"epochs": 8, "mixup": 0.0})
    history = fit(model, images, labels, settings, contrast(settings), views=2).history
    assert history[-1]["loss"] < history[0]["loss"] - 0.3


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    """What `run` gives with nothing changed, and its checkpoint; trained once, on one thread."""
    checkpoint = tmp_path_factory.mktemp("usual") / "run.pt"
    with one_thread():
        return run(checkpoint), checkpoint


@contextmanager
def one_thread():
    """The same bits come out only where sums are taken by as many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_same_seed_same_weights_other_seed_other_weights(usual):
    with one_thread():
        assert same(usual[0].weights, run().weights)
    assert not same(usual[0].weights, run(settings=SETTINGS.model_copy(update={"seed": 4})).weights)


def test_what_is_kept_is_what_was_judged():
    images, labels = bars()
    fitted = run(validation=(images, labels))
    network = MSFERNet(4, SMALL).to(memory_format=torch.channels_last)  # as `fit` judges it
    network.load_state_dict(fitted.weights)
    judged = validate_classes(network, images, labels)
    best = fitted.history[fitted.best_epoch - 1]
    assert judged == {name: best[name] for name in judged}
    assert all(torch.equal(t, rounded({"": t})[""]) for t in fitted.weights.values())


def test_statistics_are_counted_over_faces_as_they_are():
    """Whatever the moving average holds, batch norm's mean is that of the first layer's output."""
    torch.manual_seed(0)
    images, _ = bars()
    average, used = MSFERNet(4, SMALL), MSFERNet(4, SMALL)
    for part in average.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.fill_(100.0)
    _as_used(average, used, images)
    convolution, norm = next(
        (b[0], b[1]) for b in used.modules()
        if isinstance(b, nn.Sequential) and len(b) > 1 and isinstance(b[1], nn.BatchNorm2d)
    )  # fmt: skip
    mean = convolution(standardize(images)).mean(dim=(0, 2, 3))
    torch.testing.assert_close(norm.running_mean, mean, atol=1e-3, rtol=1e-2)
    assert float(next(p for n, p in average.named_buffers() if "running_mean" in n).max()) == 100


def test_an_encoder_that_is_kept_as_it_is_keeps_its_statistics():
    images, _ = bars()
    average, used = (LinearProbe(MSFERNet(4, SMALL).encoder, 4) for _ in range(2))
    _as_used(average, used, images)
    for name, tensor in average.state_dict().items():
        assert torch.equal(used.state_dict()[name], rounded({"": tensor})[""].float()), name


def test_finished_checkpoint_returns_at_once_and_replays_the_history(usual, monkeypatch):
    monkeypatch.setattr(training, "draw_numbers", no_training)
    rows = []
    again = run(usual[1], on_epoch=rows.append)
    assert rows == again.history == usual[0].history
    assert same(usual[0].weights, again.weights)


def no_training(*_):
    raise AssertionError("trained a second time")


def slow_run(checkpoint, seconds):
    """A run that waits after each epoch, once its checkpoint is written."""
    torch.set_num_threads(1)
    training.SAVE_EVERY = 0
    draw = training.draw_numbers

    def wait_and_draw(*given):
        if checkpoint.exists():
            time.sleep(seconds)
        return draw(*given)

    training.draw_numbers = wait_and_draw
    run(checkpoint)


def begun(checkpoint, seconds):
    """The process of such a run, which has finished its first epoch."""
    process = CONTEXT.Process(target=slow_run, args=(checkpoint, seconds))
    process.start()
    while not checkpoint.exists() and process.is_alive():
        time.sleep(0.01)
    return process


def test_killed_run_ends_with_the_same_bits(usual, tmp_path):
    checkpoint = tmp_path / "run.pt"
    victim = begun(checkpoint, seconds=60)
    victim.kill()
    victim.join()
    assert victim.exitcode == -signal.SIGKILL, "the run ended before it could be killed"
    assert torch.load(checkpoint, weights_only=True)["epoch"] < SETTINGS.epochs
    with one_thread():
        resumed = run(checkpoint)
    assert same(resumed.weights, usual[0].weights)
    assert resumed.history == usual[0].history


def test_a_second_process_takes_over_what_the_first_has_finished(usual, tmp_path, monkeypatch):
    checkpoint = tmp_path / "run.pt"
    first = begun(checkpoint, seconds=0.5)
    monkeypatch.setattr(training, "draw_numbers", no_training)
    second = run(checkpoint)
    first.join()
    assert first.exitcode == 0
    assert second.history == usual[0].history
    assert same(second.weights, torch.load(checkpoint, weights_only=True)["best"]["weights"])


def test_damaged_checkpoint_is_named(usual, tmp_path):
    checkpoint = tmp_path / "run.pt"
    checkpoint.write_bytes(usual[1].read_bytes()[:1000])
    with pytest.raises(UserError, match=r"run\.pt is no usable checkpoint .* delete it"):
        run(checkpoint)


def test_checkpoint_of_another_architecture_is_named(usual):
    images, labels = bars()
    with pytest.raises(UserError, match="delete it"):
        fit(MSFERNet(4), images, labels, SETTINGS, cross_entropy(SETTINGS), checkpoint=usual[1])


def test_missing_class_is_named():
    images, labels = bars()
    labels[labels == 2] = 3
    with pytest.raises(UserError, match="lacks class 2"):
        fit(MSFERNet(4, SMALL), images, labels, SETTINGS, cross_entropy(SETTINGS))


def test_diverging_loss_is_told():
    def infinite(outputs, targets):
        return (outputs * torch.inf).sum()

    images, labels = bars()
    with pytest.raises(UserError, match="not finite in epoch 1, batch 1: lower lr"):
        fit(MSFERNet(4, SMALL), images, labels, SETTINGS, infinite)


def test_learning_rate_warms_up_and_falls_to_nothing():
    settings = Training(seed=0, epochs=10, batch_size=2, lr=1.0, warmup_epochs=2)
    rates = [learning_rate(step, 10, settings) for step in range(100)]
    assert rates[0] < 0.06
    assert max(rates) == rates[20] == 1.0
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert 0 < rates[-1] < 1e-2


def test_weight_decay_spares_biases_and_norms():
    groups = make_optimizer(MSFERNet(4, SMALL), SETTINGS).param_groups
    assert all(p.ndim > 1 for p in groups[0]["params"])
    assert all(p.ndim <= 1 for p in groups[1]["params"])
    assert groups[1]["weight_decay"] == 0


def test_muon_takes_the_kernels_alone():
    model = MSFERNet(4, SMALL)
    optimizer = make_optimizer(model, SETTINGS.model_copy(update={"optimizer": "muon"}))
    kernels, others, vectors = (group["params"] for group in optimizer.param_groups)
    assert all(p.ndim == 4 and min(p.shape[:2]) > 1 for p in kernels)
    assert all(p.ndim <= 1 for p in vectors)
    assert len(kernels) + len(others) + len(vectors) == len(list(model.parameters()))
    assert any(p is model.classifier.linear.weight for p in others)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(40, 100), (100, 40)])
def test_muon_makes_singular_values_alike(shape, dtype):
    torch.manual_seed(0)
    matrix = torch.randn(shape)
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    assert s.max() / s.min() > 2
    result = orthogonalised(matrix, dtype=dtype)
    assert result.dtype == torch.float32
    values = torch.linalg.svdvals(result)
    assert values.min() > 0.6 and values.max() < 1.3
    # ... and leaves the directions: near the orthogonal factor of the polar decomposition.
    assert torch.nn.functional.cosine_similarity(result.flatten(), (u @ v).flatten(), dim=0) > 0.97
    torch.testing.assert_close(orthogonalised(matrix.T, dtype=dtype), result.T)
    assert orthogonalised(torch.zeros(shape), dtype=dtype).abs().max() == 0


def test_muon_s_step_by_hand():
    torch.manual_seed(0)
    kernel, bias = nn.Parameter(torch.randn(6, 4, 3, 3)), nn.Parameter(torch.randn(6))
    twin = nn.Parameter(bias.detach().clone())
    muon = Muon([{"params": [kernel], "muon": True}, {"params": [bias]}], lr=0.1, weight_decay=0.5)
    adamw = torch.optim.AdamW([twin], lr=0.1, weight_decay=0.5)
    momentum, expected = torch.zeros(6, 36), kernel.detach().clone().flatten(1)
    for _ in range(3):
        kernel.grad, bias.grad = torch.randn_like(kernel), torch.randn_like(bias)
        gradient, twin.grad = kernel.grad.flatten(1).clone(), bias.grad.clone()
        momentum = 0.9 * momentum + gradient
        step = orthogonalised(gradient + 0.9 * momentum) * 0.2 * 36**0.5
        expected = expected * (1 - 0.1 * 0.5) - 0.1 * step
        muon.step()
        adamw.step()
    torch.testing.assert_close(kernel.detach().flatten(1), expected)
    assert torch.equal(bias, twin)


def test_muon_goes_on_from_a_checkpoint(usual, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "SAVE_EVERY", 0)
    settings = SETTINGS.model_copy(update={"optimizer": "muon"})

    def stop(row):
        if row["epoch"] == 2:
            raise KeyboardInterrupt

    with one_thread():
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "run.pt", settings, on_epoch=stop)
        assert torch.load(tmp_path / "run.pt", weights_only=True)["epoch"] == 2
        resumed, undisturbed = run(tmp_path / "run.pt", settings), run(settings=settings)
    assert same(resumed.weights, undisturbed.weights)
    assert not same(resumed.weights, usual[0].weights)  # AdamW's


def test_average_follows_the_model():
    average, model = nn.Linear(2, 2), nn.Linear(2, 2)
    before = average.weight.clone()
    update_average(average, model, decay=0.9, step=10_000)
    torch.testing.assert_close(average.weight, 0.9 * before + 0.1 * model.weight)
    update_average(average, model, decay=0.0, step=0)
    assert torch.equal(average.weight, model.weight)


def test_mixup_blends_faces_and_labels_alike():
    # A face that is all the number of its label: what is mixed can be read off.
    labels = torch.arange(50)
    faces = labels.float()[:, None, None, None].expand(50, 1, 2, 2)
    torch.manual_seed(0)
    mixed, partners, share = mixup(faces, labels, 0.4)
    assert 0.5 <= share < 1
    assert sorted(partners.tolist()) == labels.tolist()
    torch.testing.assert_close(mixed[:, 0, 0, 0], share * labels + (1 - share) * partners)


def test_no_mixup_draws_no_numbers():
    before = torch.get_rng_state()
    faces, labels = torch.zeros(3, 1, 2, 2), torch.arange(3)
    mixed, partners, share = mixup(faces, labels, 0.0)
    assert mixed is faces and partners is labels and share == 1
    assert torch.equal(torch.get_rng_state(), before)


def test_supcon_refuses_mixup():
    with pytest.raises(UserError, match="mixup is for classifiers"):
        fit(SupConNet(SMALL), *bars(), SETTINGS, contrast(SETTINGS), views=2)


def test_standardize():
    images, _ = bars(8)
    x = standardize(images)
    torch.testing.assert_close(x.mean(dim=(1, 2, 3)), torch.zeros(8), atol=1e-5, rtol=0)
    torch.testing.assert_close(x.std(dim=(1, 2, 3), correction=0), torch.ones(8))
    torch.testing.assert_close(standardize(images // 2 + 20), x, atol=0.05, rtol=0)
    assert not standardize(torch.full((1, 48, 48), 7, dtype=torch.uint8)).any()


def test_augmentation_off_is_identity_and_flip_is_a_mirror():
    images, _ = bars(8)
    images[:, :, :5] = 255  # left and right differ
    numbers = draw_numbers(8, torch.Generator().manual_seed(0))
    nothing = {"rotate": 0.0, "shift": 0.0, "scale": 0.0, "gamma": 0.0, "erase": 0.0}
    still = augment(images, Augmentation(flip=0.0, **nothing), numbers)
    torch.testing.assert_close(still, images.float(), atol=0.01, rtol=0)
    mirrored = augment(images, Augmentation(flip=1.0, **nothing), numbers)
    torch.testing.assert_close(mirrored, images.float().flip(2), atol=0.01, rtol=0)


def test_moved_faces_keep_most_of_their_fine_detail():
    """Of noise, which is detail alone, linear interpolation would keep less than half."""
    noise = torch.randint(0, 255, (200, 48, 48), dtype=torch.uint8)
    numbers = draw_numbers(200, torch.Generator().manual_seed(0))
    how = Augmentation(flip=0.0, gamma=0.0, erase=0.0, scale=0.0)
    inside = augment(noise, how, numbers)[:, 12:36, 12:36]
    assert float(inside.var() / noise.float().var()) > 0.6


def test_augmentation_changes_each_face_differently():
    image = bars(1)[0].repeat(6, 1, 1)
    numbers = draw_numbers(6, torch.Generator().manual_seed(0))
    changed = augment(image, Augmentation(), numbers)
    assert all((changed[0] - other).abs().mean() > 1 for other in changed[1:])
    assert changed.min() >= 0
    assert changed.max() <= 255


def test_fingerprint_tells_settings_and_data_apart():
    images, labels = bars()
    name = fingerprint({"lr": 1}, [images, labels])
    assert name == fingerprint({"lr": 1}, [images.clone(), labels])
    assert name != fingerprint({"lr": 2}, [images, labels])
    other = images.clone()
    other[0, 0, 0] += 1
    assert name != fingerprint({"lr": 1}, [other, labels])
