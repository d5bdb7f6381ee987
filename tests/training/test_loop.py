"""The training loop: learns, resumes to the bit after kill -9, refuses bad input."""

import signal
import time
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from two_processes import CONTEXT

from fer_lib.errors import UserError
from fer_lib.models.msfernet import MSFERNet, SupConNet
from fer_lib.models.quantization import quantize
from fer_lib.params import Architecture, Training
from fer_lib.training import batches, checkpoints
from fer_lib.training.loop import fit, learning_rate
from fer_lib.training.losses import contrast, cross_entropy
from fer_lib.training.objective import Objective, validate_classes

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


def make_model(settings=SETTINGS):
    torch.manual_seed(0)
    return MSFERNet(4, SMALL, dropout=settings.dropout)


def run(checkpoint=None, settings=SETTINGS, validation=None, model=None, **more):
    images, labels = bars()
    return fit(
        model or make_model(settings), images, labels, settings,
        Objective(cross_entropy(settings), validation=validation), checkpoint=checkpoint, **more,
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
    history = fit(model, images, labels, settings, Objective(contrast(settings), views=2)).history
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
    assert all(torch.equal(t, quantize({"": t})[""]) for t in fitted.weights.values())


def test_finished_checkpoint_returns_at_once_and_replays_the_history(usual, monkeypatch):
    monkeypatch.setattr(batches, "draw_numbers", no_training)
    rows, model = [], make_model()
    again = run(usual[1], model=model, on_epoch=rows.append)
    assert rows == again.history == usual[0].history
    assert same(usual[0].weights, again.weights)
    assert_holds(model, again.weights)


def assert_holds(model, weights):
    assert not model.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, weights[name].to(tensor.dtype)), name


def test_the_model_ends_with_the_weights_that_are_kept():
    model = make_model()
    assert_holds(model, run(model=model).weights)


def no_training(*_):
    raise AssertionError("trained a second time")


def slow_run(checkpoint, seconds):
    """A run that waits after each epoch, once its checkpoint is written."""
    torch.set_num_threads(1)
    checkpoints.SAVE_EVERY = 0
    draw = batches.draw_numbers

    def wait_and_draw(*given):
        if checkpoint.exists():
            time.sleep(seconds)
        return draw(*given)

    batches.draw_numbers = wait_and_draw
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
    monkeypatch.setattr(batches, "draw_numbers", no_training)
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
    with pytest.raises(UserError, match="delete it"):
        run(usual[1], model=MSFERNet(4))


def test_missing_class_is_named():
    images, labels = bars()
    labels[labels == 2] = 3
    with pytest.warns(UserWarning, match="lacks class 2"):
        fit(MSFERNet(4, SMALL), images, labels, SETTINGS, Objective(cross_entropy(SETTINGS)))
    with pytest.raises(UserError, match="fewer than two classes"):
        fit(MSFERNet(4, SMALL), images, 0 * labels, SETTINGS, Objective(cross_entropy(SETTINGS)))


@pytest.mark.parametrize("step", [1, 4])
def test_a_loss_that_is_not_finite_is_told(step):
    """At whichever of the four steps of an epoch it happens."""
    steps = []

    def sometimes_infinite(outputs, targets):
        steps.append(1)
        return outputs.sum() * (torch.nan if len(steps) == step else 0)

    images, labels = bars()
    settings = SETTINGS.model_copy(update={"mixup": 0.0})
    with pytest.raises(UserError, match="the loss is not finite in epoch 1: lower lr"):
        fit(MSFERNet(4, SMALL), images, labels, settings, Objective(sometimes_infinite))


def validated_by(result):
    images, labels = bars()
    objective = Objective(
        cross_entropy(SETTINGS), validation=(images, labels), validate=lambda *_: result
    )
    return lambda **more: fit(make_model(), images, labels, SETTINGS, objective, **more)


def test_a_validation_loss_that_is_not_finite_is_told():
    with pytest.raises(UserError, match="the val_loss is not finite in epoch 1"):
        validated_by({"val_loss": float("nan"), "val_accuracy": 0.25})()


def test_a_validation_may_give_numbers_of_numpy(tmp_path):
    found = {"val_loss": np.float64(1.5), "val_accuracy": np.float32(0.25)}
    first = validated_by(found)(checkpoint=tmp_path / "run.pt")
    again = validated_by(found)(checkpoint=tmp_path / "run.pt")
    assert first.history == again.history
    assert first.best["val_accuracy"] == 0.25


def test_learning_rate_warms_up_and_falls_to_nothing():
    settings = Training(seed=0, epochs=10, batch_size=2, lr=1.0, warmup_epochs=2)
    rates = [learning_rate(step, 10, settings) for step in range(100)]
    assert rates[0] < 0.06
    assert max(rates) == rates[20] == 1.0
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert 0 < rates[-1] < 1e-2


def test_muon_goes_on_from_a_checkpoint(usual, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "SAVE_EVERY", 0)
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


def test_supcon_refuses_mixup():
    with pytest.raises(UserError, match="mixup is for classifiers"):
        fit(SupConNet(SMALL), *bars(), SETTINGS, Objective(contrast(SETTINGS), views=2))
