"""Attribution and embeddings: equations, shapes, hooks, deletion, re-initialization."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.neighbors import KNeighborsClassifier

from fer_lib.evaluation import embeddings
from fer_lib.labels import FER_CLASSES
from fer_lib.models.forward import standardize
from fer_lib.models.msfernet import CBAM, MSFERNet
from fer_lib.models.vgg import VggEncoder
from fer_lib.params import Architecture, VggArchitecture
from fer_lib.plots import style as plots
from fer_tools.explain import attribution
from fer_tools.explain import plots as attribution_plots
from fer_tools.synthetic_faces.pairs import drawn_pairs

SMALL = Architecture(first_width=8, second_width=8, widths=(12, 16, 16))
RNG = np.random.default_rng(0)
FACES = torch.from_numpy(RNG.integers(0, 256, (70, 48, 48), dtype=np.uint8))


@pytest.fixture(scope="module")
def model() -> MSFERNet:
    torch.manual_seed(0)
    network = MSFERNet(7, SMALL)
    network.train()
    with torch.no_grad():  # running means as after training, so that the maps are not all alike
        for _ in range(3):
            network(standardize(FACES))
    return network.eval()


def hooks_of(network: torch.nn.Module) -> int:
    return sum(len(module._forward_hooks) for module in network.modules())


def test_grad_cam_is_the_class_activation_map_behind_a_mean_and_a_linear_layer(model):
    """Zhou et al. 2016: the last map, summed with the weights of the class; more than one batch."""
    classes = torch.arange(len(FACES)) % 7
    encoder = model.encoder
    with torch.no_grad():
        x = encoder.refine1(encoder.stage1(standardize(FACES)))
        last = encoder.refine2(encoder.stage2(torch.relu(encoder.downsample(x))))
        by_hand = torch.einsum("nc,nchw->nhw", model.classifier.linear.weight[classes], last) / 36
    signed = attribution.grad_cam(model, FACES, classes, signed=True)
    assert signed.shape == (70, 6, 6)
    torch.testing.assert_close(signed, by_hand, rtol=1e-4, atol=1e-6)
    assert (signed < 0).any(), "otherwise the next line shows nothing"
    torch.testing.assert_close(attribution.grad_cam(model, FACES, classes), by_hand.relu(),
                               rtol=1e-4, atol=1e-6)  # fmt: skip


def test_the_signed_map_adds_up_to_the_logit(model):
    """Global average pooling and a linear layer: the sum is the logit without its bias."""
    classes = torch.full((len(FACES),), 3)
    total = attribution.grad_cam(model, FACES, classes, signed=True).sum(dim=(1, 2))
    with torch.no_grad():
        logit = model(standardize(FACES))[:, 3] - model.classifier.linear.bias[3]
    torch.testing.assert_close(total, logit, rtol=1e-3, atol=1e-5)


def test_grad_cam_of_another_network_finds_its_last_map():
    small = VggArchitecture(kernels=(3, 3), widths=(4, 8), pools=(0,), hidden=16)
    network = torch.nn.Sequential(VggEncoder(small), torch.nn.Linear(16, 3))
    maps = attribution.grad_cam(network, FACES[:5], torch.zeros(5, dtype=torch.int64))
    assert maps.ndim == 3 and len(maps) == 5 and (maps >= 0).all()


def test_grad_cam_leaves_the_network_as_it_was(model):
    before = {n: t.clone() for n, t in model.state_dict().items()}
    model.train()
    attribution.grad_cam(model, FACES[:4], torch.zeros(4, dtype=torch.int64))
    assert model.training and hooks_of(model) == 0
    model.eval()
    assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_hooks_go_away_also_when_the_model_raises(model):
    with pytest.raises(RuntimeError, match="out of bounds"):
        attribution.grad_cam(model, FACES[:2], torch.tensor([0, 7]))
    assert hooks_of(model) == 0
    seen: list[torch.nn.Module] = []

    def stop_with_hooks() -> None:
        with attribution.forward_hooks(model.modules(), lambda module, _: seen.append(module)):
            assert hooks_of(model) == len(list(model.modules()))
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        stop_with_hooks()
    assert hooks_of(model) == 0
    with torch.no_grad():
        model(standardize(FACES[:1]))
    assert not seen


def test_attention_is_what_cbam_multiplies_with(model):
    found = attribution.attention(model.encoder, FACES)
    assert list(found) == ["refine1", "refine2.0", "refine2.1", "refine2.2"]
    assert [tuple(w.spatial.shape) for w in found.values()] == [
        (70, 48, 48), (70, 12, 12), (70, 6, 6), (70, 6, 6)
    ]  # fmt: skip
    assert [w.channels.shape[1] for w in found.values()] == [8, 12, 16, 16]
    for weights in found.values():
        for values in (weights.spatial, weights.channels):
            assert values.min() > 0 and values.max() < 1
    block = model.encoder.refine2[2]
    passed: list[torch.Tensor] = []
    hook = block.attention.register_forward_hook(lambda _, given, out: passed.extend([*given, out]))
    with torch.no_grad():
        model.encoder(standardize(FACES))
    hook.remove()
    last = found["refine2.2"]
    by_hand = passed[0] * last.channels[:, :, None, None] * last.spatial[:, None]
    torch.testing.assert_close(passed[1], by_hand, rtol=1e-4, atol=1e-6)
    assert hooks_of(model) == 0


def test_a_network_without_attention_has_none():
    plain = MSFERNet(7, Architecture(first_width=8, widths=(8, 8), attention=False))
    assert attribution.attention(plain.encoder, FACES[:2]) == {}
    assert attribution.residual_blocks(plain.encoder) == ["refine1", "refine2.0", "refine2.1"]


def test_eta_squared():
    groups = np.repeat([0, 1, 2], 20)
    noise = RNG.normal(size=60)
    values = np.stack([groups.astype(float), noise, groups + noise, np.ones(60)], axis=1)
    of_class, by_chance, mixed, constant = attribution.eta_squared(values, groups)
    assert of_class == pytest.approx(1) and by_chance < 0.2 < mixed < 1 and np.isnan(constant)


def test_the_highest_patches_are_occluded_and_nothing_else():
    scores = torch.zeros(1, 6, 6)
    scores[0, 1, 2], scores[0, 5, 5] = 2, 1
    first, second = (attribution.occlude(FACES[:1], scores, count)[0] for count in (1, 2))
    gray = FACES[0].float().mean().round()
    assert (first[8:16, 16:24] == gray).all() and (second[40:, 40:] == gray).all()
    untouched = torch.ones(48, 48, dtype=torch.bool)
    untouched[8:16, 16:24] = False
    assert torch.equal(first[untouched], FACES[0][untouched])
    assert torch.equal(attribution.occlude(FACES, torch.rand(70, 6, 6), 0), FACES)
    assert attribution.occlude(FACES, torch.rand(70, 6, 6), 36).float().std(dim=(1, 2)).max() == 0


class MiddleIsBright(torch.nn.Module):
    """A known network: the logit of class 1 is the brightness of the middle of the face."""

    def __init__(self) -> None:
        super().__init__()
        self.strength = torch.nn.Parameter(torch.tensor(2.0))

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        middle = self.strength * faces[:, 0, 16:32, 16:32].mean(dim=(1, 2))
        return torch.stack([-middle, middle], dim=1)


def test_occluding_what_matters_lowers_the_probability_most():
    bright = torch.from_numpy(RNG.integers(0, 150, (3, 48, 48), dtype=np.uint8))
    bright[:, 16:32, 16:32] = 200
    middle = torch.zeros(3, 6, 6)
    middle[:, 2:4, 2:4] = 1
    target = torch.ones(3, dtype=torch.int64)
    best, worst = (
        attribution.deletion_curve(MiddleIsBright(), bright, target, s, [0, 2, 4])
        for s in (middle, -middle)
    )
    assert best.shape == (3, 3) and (best[:, 0] > 0.99).all()
    assert (best[:, 2] < 0.85).all() and (worst[:, 2] > 0.99).all()
    assert (np.diff(best) <= 0).all()
    smooth = attribution.deletion_curve(
        MiddleIsBright(), bright, target, middle, [0], temperature=100.0
    )
    assert (smooth < 0.7).all()


def test_reinitialization_changes_only_the_named_part(model):
    degraded = attribution.reinitialized(model, ["encoder.refine2.2"], seed=0)
    same = {
        name: torch.equal(tensor, degraded.state_dict()[name])
        for name, tensor in model.state_dict().items()
        if name.endswith("weight") and "0.weight" in name
    }
    changed = {name for name, equal in same.items() if not equal}
    assert changed and all(name.startswith("encoder.refine2.2.") for name in changed)
    again = attribution.reinitialized(model, ["encoder.refine2.2"], seed=0)
    assert all(torch.equal(t, again.state_dict()[n]) for n, t in degraded.state_dict().items())


def test_reinitialization_leaves_the_random_state_alone(model):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    attribution.reinitialized(model, ["classifier"], seed=0)
    assert torch.equal(torch.rand(3), expected)


def test_map_correlation_is_that_of_numpy():
    a, b = torch.rand(4, 6, 6), torch.rand(4, 6, 6)
    by_hand = [np.corrcoef(x.ravel(), y.ravel())[0, 1] for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(attribution.map_correlation(a, b), by_hand, atol=1e-6)
    np.testing.assert_allclose(attribution.map_correlation(a, -3 * a + 1), -1, atol=1e-6)
    assert np.isnan(attribution.map_correlation(a, torch.ones(4, 6, 6))).all()


def test_knn_accuracy_against_scikit_learn():
    """Leaving each face out by hand."""
    labels = np.arange(60) % 3
    features = RNG.normal(size=(60, 5)) + 1.5 * np.eye(5)[labels]
    right = [
        KNeighborsClassifier(5).fit(features[others], labels[others]).predict(features[[i]])[0]
        == labels[i]
        for i in range(60)
        for others in [np.arange(60) != i]
    ]
    assert embeddings.knn_accuracy(features, labels, 5) == pytest.approx(np.mean(right))
    assert 0.4 < np.mean(right) < 1


def test_measures_of_a_space_distinguish_classes_from_noise():
    labels = np.repeat(np.arange(3), 40)
    ordered = np.eye(8)[labels] + RNG.normal(0, 0.05, (120, 8))
    random = RNG.normal(size=(120, 8))
    for measure, chance in ((embeddings.knn_accuracy, 0.33), (embeddings.linear_accuracy, 0.33)):
        assert measure(ordered, labels) > 0.95
        assert abs(measure(random, labels) - chance) < 0.2
    projected = embeddings.tsne(ordered, 0)
    assert projected.shape == (120, 2) and embeddings.knn_accuracy(projected, labels) > 0.95


def test_drawn_twins_differ_where_the_expression_is():
    images, changes, labels = drawn_pairs(seed=3, each=2)
    assert images.shape == changes.shape == (12, 48, 48) and images.dtype == np.uint8
    assert labels.tolist() == np.repeat(np.arange(6), 2).tolist()
    happy = changes[labels == FER_CLASSES.index("happy")].mean(axis=0)
    angry = changes[labels == FER_CLASSES.index("angry")].mean(axis=0)
    mouth, brows = np.s_[30:40, 14:34], np.s_[12:20, 12:36]
    assert happy[mouth].mean() > happy[brows].mean()
    assert angry[brows].mean() > angry[mouth].mean()
    assert changes[:, :3].max() < 5 < changes.max() / 10, "hair and background stay"
    np.testing.assert_array_equal(images, drawn_pairs(seed=3, each=2)[0])


def every_figure() -> dict:
    cams = RNG.random((3, 6, 6))
    faces = FACES[:3].numpy()
    weights = {f"CBAM {k}": RNG.random((20, 16)) for k in (1, 2)}
    points = {f"space {k}": RNG.normal(size=(70, 2)) for k in range(4)}
    titles = ["surprise →\ndisgust 100%", "happy\n9%", "sad"]
    return {
        "spaces": lambda: attribution_plots.spaces(points, np.arange(70) % 7, FER_CLASSES),
        "maps": lambda: attribution_plots.maps(faces, titles, cams, {"CBAM 1\n6×6": cams}),
        "maps without attention": lambda: attribution_plots.maps(faces, titles, 0 * cams, {}),
        "classes": lambda: attribution_plots.class_maps(faces, {"Grad-CAM": cams}, FER_CLASSES[:3]),
        "channels": lambda: attribution_plots.channels(
            weights, {n: RNG.random(16) for n in weights}, 0.01
        ),
        "deletion": lambda: attribution_plots.deletion(
            np.array([0, 0.5]), {n: RNG.random((9, 2)) for n in ("another face's highest", "b")}
        ),
    }


@pytest.mark.parametrize("kind", every_figure())
def test_figures_are_drawn_whole(kind, tmp_path):
    plt.switch_backend("Agg")
    plots.use_style()
    plots.save(every_figure()[kind](), tmp_path / "figure.png")
    plt.close("all")
    with Image.open(tmp_path / "figure.png") as image:
        grey = np.asarray(image.convert("L"))
    edge = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    assert (edge > 250).all(), "something touches the border, so it may be clipped"


def test_constant_attention_weighs_every_face_alike(model):
    before = attribution.attention(model.encoder, FACES[:6])
    ones = attribution.with_constant_attention(model, spatial=[torch.ones(1)] * len(before))
    halves = [torch.full_like(block.channels[0], 0.5) for block in before.values()]
    flat = attribution.with_constant_attention(model, channels=halves)
    x = standardize(FACES[:6])
    with torch.no_grad():
        logits = [network(x) for network in (model, ones, flat)]
        for module in ones.modules():
            if isinstance(module, CBAM):
                assert (module.spatial(x) == 1).all()
    assert len(before) == len(halves) > 1
    assert not torch.allclose(logits[0], logits[1]) and not torch.allclose(logits[0], logits[2])
    after = attribution.attention(model.encoder, FACES[:6])  # the network itself is as it was
    for name, block in before.items():
        assert torch.equal(block.spatial, after[name].spatial)
