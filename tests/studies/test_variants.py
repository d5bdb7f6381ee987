"""The short trainings of the comparison: alike but for the one thing that each changes."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from imports import ROOT

from fer_lib.errors import UserError
from fer_lib.models.msfernet import Encoder, count_parameters
from fer_lib.params import Architecture, Training
from fer_lib.training.losses import supcon_loss
from studies.ablation import variants
from studies.ablation.settings import FromNothing, load_section
from studies.ablation.variants import Group, JointNet, LinearProbe, Variant, joint_loss, load_group

TINY = {"first_width": 4, "second_width": 4, "widths": [8, 8, 8]}
SHORT = {"seed": 0, "epochs": 1, "batch_size": 8, "lr": 0.01, "precision": "32-true"}
STAGES = yaml.safe_load((ROOT / "studies/ablation/dvc.yaml").read_text())["stages"]


@pytest.fixture
def tiny_group(monkeypatch, tmp_path):
    monkeypatch.setattr(variants, "scratch_folder", lambda: tmp_path)
    return Group.model_validate(
        {
            "side": 16, "faces": {"sample": 24}, "pretrain": SHORT, "train": SHORT,
            "variants": {
                "plain": {"model": TINY},
                "longer": {"model": TINY, "epochs": 2},
                "linear": {"model": TINY, "loss": "linear"},
                "all": {"model": TINY, "loss": "fine-tuned"},
                "joint": {"model": TINY, "loss": "joint"},
            },
        }
    )  # fmt: skip


@pytest.fixture
def faces():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (24, 16, 16), generator=generator, dtype=torch.uint8)
    return images, torch.arange(24) % 3


@pytest.mark.parametrize(("stage", "group"), [("part", "parts"), ("baseline", "baselines")])
def test_there_is_a_stage_for_every_variant(stage, group):
    named = load_group(group).variants
    assert set(STAGES[stage]["matrix"]["variant"]) == set(named)


@pytest.mark.parametrize("group", ["parts", "baselines"])
def test_the_first_variant_changes_nothing(group):
    first = next(iter(load_group(group).variants.values()))
    assert first == Variant()


def test_a_wrong_value_is_named_with_its_file(tmp_path):
    (tmp_path / "studies" / "ablation").mkdir(parents=True)
    text = (ROOT / "studies/ablation/params.yaml").read_text()
    path = tmp_path / "studies" / "ablation" / "params.yaml"
    path.write_text(text.replace("{loss: joint}", "{loss: both}"))
    with pytest.raises(UserError, match=r"params.yaml: parts.variants.*'both'"):
        load_group("parts", tmp_path)
    for wrong, place in (
        ("{model: {branches: [4]}}", "only-3x3.model"), ("{epochs: 0}", "only-3x3.epochs"),
    ):  # fmt: skip
        path.write_text(text.replace("{model: {branches: [3]}}", wrong))
        with pytest.raises(UserError, match=rf"params.yaml: parts.variants.{place}"):
            load_group("parts", tmp_path)
    path.write_text(text.replace("only-3x3", "../only-3x3"))
    with pytest.raises(UserError, match=r"params.yaml: parts.variants.../only-3x3"):
        load_group("parts", tmp_path)
    with pytest.raises(UserError, match="has no section nobody"):
        load_group("nobody", tmp_path)


def test_the_settings_for_ckplus_are_checked_too(tmp_path):
    assert load_section("ckplus", FromNothing).train.seed == 1
    (tmp_path / "studies" / "ablation").mkdir(parents=True)
    path = tmp_path / "studies" / "ablation" / "params.yaml"
    path.write_text("ckplus: {train: {seed: 1, epochs: 30, batch_size: 32, lr: -1}}")
    with pytest.raises(UserError, match=r"params.yaml: ckplus.train.lr = -1: .* greater than 0"):
        load_section("ckplus", FromNothing, tmp_path)


def test_shrinking_keeps_the_mean_and_nothing_at_full_size():
    images = np.random.default_rng(0).integers(0, 256, (3, 48, 48), dtype=np.uint8)
    small = variants.shrink(images, 24)
    assert small.shape == (3, 24, 24)
    blocks = images.reshape(3, 24, 2, 24, 2).mean(axis=(2, 4))
    assert np.abs(small.numpy() - blocks).max() <= 0.5
    assert (variants.shrink(images, 48).numpy() == images).all()


def test_a_linear_probe_trains_its_layer_alone(faces):
    encoder = Encoder(Architecture(**TINY))
    probe = LinearProbe(encoder, 3).train()
    before = {name: value.clone() for name, value in probe.state_dict().items()}
    loss = F.cross_entropy(probe(faces[0][:, None].float()), faces[1])
    loss.backward()
    torch.optim.SGD([p for p in probe.parameters() if p.requires_grad], lr=1.0).step()
    changed = {n for n, value in probe.state_dict().items() if not torch.equal(value, before[n])}
    assert changed == {"classifier.linear.weight", "classifier.linear.bias"}


def test_the_joint_loss_is_the_sum_of_both(faces):
    settings = Training(**SHORT, label_smoothing=0.1, temperature=0.2)
    torch.manual_seed(0)
    net = JointNet(3, Architecture(**TINY), 0.0, 16).train()
    labels = faces[1].repeat(2)
    outputs = net(faces[0].repeat(2, 1, 1)[:, None].float())
    assert outputs.shape == (48, 3 + 16)
    logits, embeddings = outputs[:, :3], outputs[:, 3:]
    pairs = torch.stack([embeddings[:24], embeddings[24:]], dim=1)
    expected = F.cross_entropy(logits, labels, label_smoothing=0.1) + (
        variants.CONTRAST_SHARE * supcon_loss(pairs, faces[1], 0.2)
    )
    found = joint_loss(3, settings)(outputs, labels)
    assert torch.isclose(found, expected)
    found.backward()
    for part in (net.encoder, net.classifier, net.projection):
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in part.parameters())
    assert net.eval()(faces[0][:, None].float()).shape == (24, 3)


@pytest.mark.parametrize("name", [n for n in load_group("baselines").variants if n != "msfernet"])
def test_torchvision_networks_take_grey_faces_of_48_pixels(name):
    group = load_group("baselines")
    network = variants.make_network(group.variants[name], group, 7).eval()
    with torch.inference_mode():
        logits = network(torch.randn(2, 1, 48, 48))
    assert logits.shape == (2, 7)
    assert logits.isfinite().all()
    assert count_parameters(network) < 15e6


@pytest.mark.parametrize("name", ["plain", "longer", "linear", "all", "joint"])
def test_each_kind_trains_and_a_second_call_finds_it_done(tiny_group, faces, name):
    first = variants.train_variant(name, tiny_group, 1, *faces, 3)
    again = variants.train_variant(name, tiny_group, 1, *faces, 3)
    other = variants.train_variant(name, tiny_group, 2, *faces, 3)
    x = torch.randn(4, 1, 16, 16)
    with torch.inference_mode():
        assert first(x).shape == (4, 3)
        assert torch.equal(first(x), again(x))
        assert not torch.equal(first(x), other(x))


def test_both_uses_of_supcon_share_one_pretraining(tiny_group, faces, tmp_path):
    variants.train_variant("linear", tiny_group, 1, *faces, 3)
    variants.train_variant("all", tiny_group, 1, *faces, 3)
    assert len(list(tmp_path.glob("variant-supcon-1-*.pt"))) == 1
