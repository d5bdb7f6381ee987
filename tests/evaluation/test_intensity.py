"""Targets of intensities, how far off an answer is, and a network with two heads."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from fer_lib.data import ferplus
from fer_lib.data.arrays import CkPlus
from fer_lib.errors import UserError
from fer_lib.evaluation import intensity, linear_probe
from fer_lib.labels import FER_CLASSES, FER_PLUS_COLUMNS
from fer_lib.models.card import Card
from fer_lib.models.msfernet import Encoder, count_multiply_adds, count_parameters
from fer_lib.models.two_head import TwoHeads, split_heads
from fer_lib.models.vgg import VggEncoder
from fer_lib.models.weights import load_encoder, load_model, make_encoder, save_weights
from fer_lib.params import Architecture, TwoHeadTraining, VggArchitecture
from fer_lib.plots import intensity as intensity_plots
from fer_lib.training.loop import fit
from fer_lib.training.losses import correct
from fer_lib.training.objective import Objective
from fer_lib.training.two_head import two_head_loss, validate_two_heads

SMALL = Architecture(first_width=4, second_width=4, widths=(8, 8, 8))
SMALL_VGG = VggArchitecture(kernels=(5, 3), widths=(4, 8), pools=(0, 1), hidden=16)
SETTINGS = TwoHeadTraining(
    seed=1, epochs=8, batch_size=16, lr=3e-3, ema_decay=0.9, precision="32-true"
)


def votes(**counts) -> np.ndarray:
    return np.array([[counts.get(name, 0) for name in FER_PLUS_COLUMNS]])


# ---------------------------------------------------------------------------------------- targets


def test_votes_become_shares_of_all_taggers():
    targets, left_out = ferplus.targets_from_votes(votes(happiness=6, neutral=2, contempt=2))
    wanted = dict.fromkeys(FER_CLASSES, 0.0) | {"happy": 0.6, "neutral": 0.2}
    assert targets.dtype == np.float32 and targets.shape == (1, 7)
    np.testing.assert_allclose(targets[0], [wanted[name] for name in FER_CLASSES], rtol=1e-6)
    assert left_out.tolist() == [""]
    nine, _ = ferplus.targets_from_votes(votes(anger=9))  # FER+ has one row of nine
    assert nine[0, 0] == 1


@pytest.mark.parametrize("name", ["contempt", "unknown", "NF"])
def test_rows_without_one_of_the_seven_emotions_are_left_out_and_named(name):
    _, left_out = ferplus.targets_from_votes(votes(**{name: 6, "anger": 4}))
    assert left_out.tolist() == [name]
    _, shared = ferplus.targets_from_votes(votes(**{name: 5, "anger": 5}))
    assert shared.tolist() == [""]


def test_no_votes_at_all_are_told():
    with pytest.raises(UserError, match=r"no FER\+ votes.* put fer2013new\.csv beside"):
        ferplus.targets_from_votes(np.full((3, 10), -1))


@pytest.mark.parametrize("row", [votes(), votes(anger=8, fear=4), votes(anger=-1, fear=11)])
def test_votes_that_do_not_sum_are_told(row):
    good = votes(anger=10)
    with pytest.raises(UserError, match=r"votes of row 1 sum to .* expected 1 to 10"):
        ferplus.targets_from_votes(np.concatenate([good, row]))


def sequence(positions, label=3, name="S005_001") -> CkPlus:
    n = len(positions)
    return CkPlus(
        images=np.zeros((n, 48, 48), np.uint8), labels=np.full(n, label),
        subject=np.full(n, "S005"), sequence=np.full(n, name), frame=np.arange(n),
        position=np.array(positions, float), path=np.full(n, "x"),
    )  # fmt: skip


def test_places_become_the_emotion_and_neutral():
    targets = intensity.targets_from_positions(sequence([0, 0.25, 1]))
    np.testing.assert_allclose(targets[:, 3], [0, 0.25, 1])
    np.testing.assert_allclose(targets[:, 6], [1, 0.75, 0])
    np.testing.assert_allclose(targets.sum(axis=1), 1)


def test_neutral_stays_neutral_whatever_its_intensity():
    targets = intensity.single_emotion_targets(np.array([6, 6]), np.array([0.0, 0.7]))
    np.testing.assert_allclose(targets, np.eye(7)[[6, 6]])


def test_sequences_without_a_neutral_frame_and_ck48_are_told():
    with pytest.raises(UserError, match="S009_002 has no frame near neutral"):
        intensity.targets_from_positions(sequence([0.7, 0.85, 1], name="S009_002"))
    with pytest.raises(UserError, match="CK\\+48 holds only the last frames"):
        intensity.targets_from_positions(sequence([np.nan, np.nan]))


# ----------------------------------------------------------------------------------------- errors


def test_concordance_and_rank_correlation_against_their_definitions():
    rng = np.random.default_rng(0)
    t, r = rng.random(200), rng.random(200)
    r = 0.6 * t + 0.4 * r
    pearson = np.corrcoef(t, r)[0, 1]
    expected = 2 * pearson * t.std() * r.std() / (t.var() + r.var() + (t.mean() - r.mean()) ** 2)
    assert intensity.concordance(t, r) == pytest.approx(expected)
    assert intensity.concordance(t, t) == pytest.approx(1)
    assert intensity.concordance(t, t + 0.3) < 0.7 < np.corrcoef(t, t + 0.3)[0, 1]
    assert intensity.concordance(t, np.full(200, 0.5)) == 0
    ranks = np.corrcoef(stats.rankdata(t), stats.rankdata(r))[0, 1]
    assert intensity.rank_correlation(t, r) == pytest.approx(ranks)
    assert intensity.rank_correlation(t, np.zeros(200)) == 0


def test_errors_by_emotion_tell_each_and_all():
    targets = np.zeros((4, 7))
    targets[:, 0] = [0, 0.2, 0.6, 1]
    answers = targets + 0.1
    table = intensity.errors_by_emotion(targets, answers, targets.mean(axis=0))
    assert list(table.index) == [*FER_CLASSES, "all"]
    np.testing.assert_allclose(table.rmse, 0.1)
    assert table.baseline["angry"] == pytest.approx(targets[:, 0].std())
    assert table.baseline["all"] == pytest.approx(targets[:, 0].std() / np.sqrt(7))


def test_the_vote_noise_rmse_is_that_of_ten_taggers():
    rng = np.random.default_rng(2)
    minds = rng.dirichlet(np.ones(7), size=3000)
    shares = np.stack([rng.multinomial(10, p) for p in minds]) / 10
    assert intensity.vote_noise_rmse(shares) == pytest.approx(
        intensity.rmse(shares, minds), rel=0.03
    )


def test_outputs_split_into_logits_and_intensities():
    outputs = torch.randn(5, 14)
    logits, intensities = split_heads(outputs)
    assert torch.equal(logits, outputs[:, :7])
    torch.testing.assert_close(intensities, 1 / (1 + torch.exp(-outputs[:, 7:])))


# ---------------------------------------------------------------------------------------- network


def test_the_loss_is_the_sum_of_both_parts_written_out():
    torch.manual_seed(0)
    outputs, targets = torch.randn(6, 14), torch.rand(6, 7)
    p = outputs[:, :7].softmax(dim=1)
    r = outputs[:, 7:].sigmoid()
    classes = votes_part = 0.0
    for i in range(6):
        for k in range(7):
            classes -= float(targets[i, k] / targets[i].sum() * p[i, k].log()) / 6
            s = targets[i, k]
            votes_part -= float(s * r[i, k].log() + (1 - s) * (1 - r[i, k]).log()) / 6
    for c, w in ((1.0, 1.0), (0.0, 2.0), (0.5, 0.0)):
        settings = SETTINGS.model_copy(update={"class_weight": c, "intensity_weight": w})
        loss = two_head_loss(settings)(outputs, targets)
        assert float(loss) == pytest.approx(c * classes + w * votes_part, rel=1e-5)


def test_the_best_intensity_is_the_expected_share():
    torch.manual_seed(0)
    shares = torch.bernoulli(torch.full((4000, 7), 0.3)).clamp(min=1e-3)
    logits = torch.zeros(1, 14, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=50)
    objective = two_head_loss(SETTINGS.model_copy(update={"class_weight": 0.0}))

    def closure():
        optimizer.zero_grad()
        loss = objective(logits.expand(4000, 14), shares)
        loss.backward()
        return loss

    optimizer.step(closure)
    assert torch.allclose(logits[0, 7:].sigmoid(), shares.mean(dim=0), atol=1e-3)


def test_correct_looks_at_the_class_head_alone():
    outputs = torch.zeros(2, 14)
    outputs[:, 2], outputs[:, 10] = 1, 9
    targets = torch.zeros(2, 7)
    targets[0, 2], targets[1, 3] = 0.5, 0.5
    assert correct(outputs, targets).tolist() == [True, False]


@pytest.mark.parametrize(
    ("encoder", "bar"), [(Encoder(SMALL), 3), (VggEncoder(SMALL_VGG), 6)], ids=["ms", "vgg"]
)
def test_two_heads_learn_both_tasks(encoder, bar):
    """Bars at four places, weak or strong: the place is the class, the brightness its strength.

    Only the first encoder takes faces of other sizes than 48: a quarter of the work.
    """
    rng = np.random.default_rng(0)
    side, count = 8 * bar, 64
    place, strength = rng.integers(0, 4, count), rng.choice([0.4, 1.0], count)
    images = rng.integers(60, 90, (count, side, side)).astype(np.uint8)
    for image, where, strong in zip(images, place, strength, strict=True):
        top = bar + 5 * bar * where // 3
        image[top : top + bar] += round(150 * strong)
        image[-bar // 3 :] = 255  # a fixed white, so that standardising leaves the strength visible
    targets = torch.from_numpy(intensity.single_emotion_targets(place, strength))
    torch.manual_seed(0)
    model = TwoHeads(encoder, 7)
    still = {"flip": 0.0, "rotate": 0.0, "shift": 0.0, "scale": 0.0, "gamma": 0.0, "erase": 0.0}
    settings = SETTINGS.model_copy(
        update={"augmentation": SETTINGS.augmentation.__class__(**still), "epochs": 25, "lr": 0.01}
    )
    faces = torch.from_numpy(images)
    fitted = fit(
        model, faces, targets, settings,
        Objective(
            two_head_loss(settings), validation=(faces, targets), validate=validate_two_heads
        ),
    )  # fmt: skip
    last = fitted.history[-1]
    mean = targets.mean(dim=0)
    assert last["val_accuracy"] > 0.9
    assert last["val_rmse"] < 0.5 * intensity.rmse(targets.numpy(), mean.numpy())


def test_a_weights_file_of_either_kind_is_read_back(tmp_path):
    for arch in (SMALL, SMALL_VGG):
        model = TwoHeads(make_encoder(arch), 7).eval()
        card = Card("two heads", "sample", "ferplus-7", arch, {}, "abc", {})
        path = tmp_path / "w.safetensors"
        save_weights(path, model.state_dict(), card)
        again, read = load_model(path)
        assert read == card and read.has_intensities
        faces = torch.randn(2, 1, 48, 48)
        torch.testing.assert_close(again(faces), model(faces), rtol=1e-4, atol=1e-5)
    assert isinstance(again.encoder, VggEncoder)
    with_ms = Card("two heads", "sample", "ferplus-7", SMALL, {}, "abc", {})
    save_weights(path, TwoHeads(Encoder(SMALL), 7).state_dict(), with_ms)
    assert isinstance(load_encoder(path, SMALL), Encoder)


def test_the_vgg_is_compact():
    model = TwoHeads(VggEncoder(), 7)
    assert count_parameters(model) < 2.37e6
    assert count_multiply_adds(model) < 0.158e9
    assert model(torch.zeros(3, 1, 48, 48)).shape == (3, 14)


def test_kernels_and_widths_must_match():
    with pytest.raises(ValueError, match="2 kernels for 1 widths"):
        VggArchitecture(kernels=(3, 3), widths=(8,))


def test_a_probe_does_not_look_at_its_test_targets_and_leaves_the_model_alone():
    torch.manual_seed(0)
    model = TwoHeads(Encoder(SMALL), 7)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (24, 48, 48), dtype=np.uint8)
    targets, fold = rng.random((24, 7)).astype(np.float32), np.repeat([0, 1], 12)
    first = linear_probe.probe(model, images, targets, fold, 0.01)
    changed = np.where((fold == 1)[:, None], 1 - targets, targets)
    again = linear_probe.probe(model, images, changed, fold, 0.01)
    np.testing.assert_array_equal(again[fold == 1], first[fold == 1])
    assert np.abs(again[fold == 0] - first[fold == 0]).max() > 0.01
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_a_fitted_head_finds_a_linear_truth_and_heavy_decay_keeps_its_start():
    torch.manual_seed(0)
    known, truth = torch.randn(400, 8), torch.randn(8, 7)
    targets = (known @ truth).sigmoid()
    start = torch.nn.Linear(8, 7)
    fitted = linear_probe.fit_head(start, known, targets, 0.0)
    assert (fitted(known).sigmoid() - targets).abs().max() < 0.02
    stiff = linear_probe.fit_head(start, known, targets, 1e4)
    torch.testing.assert_close(stiff.weight, start.weight, atol=1e-3, rtol=0)


# ------------------------------------------------------------------------------------------ plots


def test_figures_draw_with_few_faces():
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 11, (12, 7)) / 10
    networks = {"a": rng.random((12, 7)), "b": rng.random((12, 7))}
    labels = np.zeros(12, int)
    lines = {"a": (networks["a"], "-")}
    table = pd.DataFrame({"time_s": [0.0, 1.0], "valence_smooth": [0.1, np.nan]})
    figures = [
        intensity_plots.agreement(targets, networks, "share"),
        intensity_plots.reliability(targets, networks),
        intensity_plots.residuals(targets, networks),
        intensity_plots.courses(np.linspace(0, 1, 12), labels, lines),
        intensity_plots.valences({"one": table, "two": table}),
    ]
    for figure in figures:
        figure.canvas.draw()
    assert [axis.get_title() for axis in figures[0].axes[:7]] == list(FER_CLASSES)
