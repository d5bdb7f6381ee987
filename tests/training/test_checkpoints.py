"""Weights files: what goes in comes out, says what it is, and damage is told."""

import json

import pytest
import torch
from safetensors.torch import save_file
from test_loop import bars

from fer_lib.errors import UserError
from fer_lib.models.card import Card
from fer_lib.models.forward import predict_logits
from fer_lib.models.msfernet import MSFERNet
from fer_lib.models.quantization import quantize
from fer_lib.models.weights import load_encoder, load_model, read_weights, save_weights
from fer_lib.params import Architecture
from fer_lib.training import checkpoints
from fer_lib.training.checkpoints import code_commit, trained_at

SMALL = Architecture(first_width=8, second_width=8, widths=(16, 16, 16))
FACES = torch.randint(
    0, 256, (5, 48, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)


def card(**changes):
    fields = {
        "kind": "classifier", "study": "sample", "task": "fer13-7", "arch": SMALL,
        "params": {"epochs": 2}, "commit": "abc", "notes": {"validation_accuracy": 0.5},
    }  # fmt: skip
    return Card(**fields | changes)


@pytest.fixture
def stored(tmp_path):
    """A small trained-looking network and its file."""
    torch.manual_seed(0)
    model = MSFERNet(7, SMALL).eval()
    save_weights(tmp_path / "model.safetensors", model.state_dict(), card())
    return model, tmp_path / "model.safetensors"


def test_round_trip(stored):
    model, path = stored
    again, says = load_model(path)
    assert says == card()
    assert says.classes[3] == "happy"
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    # The loaded network lies in memory in another order, which changes the last bits of sums.
    torch.testing.assert_close(predict_logits(again, FACES), predict_logits(model, FACES))
    encoder = load_encoder(path, SMALL)
    assert torch.equal(predict_logits(encoder, FACES), predict_logits(model.encoder, FACES))


def test_the_same_weights_are_the_same_bytes(stored, tmp_path):
    model, path = stored
    for number in range(4):
        other = tmp_path / f"{number}.safetensors"
        save_weights(other, dict(reversed(model.state_dict().items())), card())
        assert other.read_bytes() == path.read_bytes()


def test_quantized_weights_are_a_quarter_of_the_size_and_come_back_exactly(stored, tmp_path):
    model, path = stored
    weights = quantize(model.state_dict())
    save_weights(tmp_path / "small.safetensors", weights, card())
    assert (tmp_path / "small.safetensors").stat().st_size < 0.5 * path.stat().st_size
    again, _ = load_model(tmp_path / "small.safetensors")
    for name, tensor in again.state_dict().items():
        assert torch.equal(tensor, weights[name].float()), name
    # Written once more, from what was read, the file is the same.
    save_weights(tmp_path / "again.safetensors", again.state_dict(), card())
    files = [(tmp_path / f"{name}.safetensors").read_bytes() for name in ("small", "again")]
    assert files[0] == files[1]


def test_prediction_does_not_depend_on_the_batch(stored):
    model, _ = stored
    whole, pieces = predict_logits(model, FACES), predict_logits(model, FACES, batch_size=2)
    torch.testing.assert_close(whole, pieces, atol=1e-5, rtol=0)


def test_missing_truncated_and_foreign_files_are_told(stored, tmp_path):
    _, path = stored
    with pytest.raises(UserError, match=r"none\.safetensors is missing"):
        read_weights(tmp_path / "none.safetensors")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(UserError, match=r"cut\.safetensors is no model, or is damaged"):
        read_weights(cut)
    foreign = tmp_path / "foreign.safetensors"
    save_file({"w": torch.ones(2)}, foreign)
    with pytest.raises(UserError, match="not written by this study"):
        read_weights(foreign)


def test_another_architecture_is_told(stored, tmp_path):
    model, path = stored
    with pytest.raises(UserError, match="another architecture"):
        load_encoder(path, Architecture())
    wrong = tmp_path / "wrong.safetensors"
    save_weights(wrong, model.state_dict(), card(arch=Architecture()))
    with pytest.raises(UserError, match="another architecture"):
        load_model(wrong)
    save_weights(wrong, model.encoder.state_dict(), card(kind="encoder", task="supcon"))
    with pytest.raises(UserError, match="holds an encoder"):
        load_model(wrong)


def test_header_is_plain_json(stored):
    from safetensors import safe_open

    with safe_open(stored[1], framework="pt") as file:
        assert json.loads(file.metadata()["study"]) == "sample"


def test_commit_is_a_commit_or_says_why_not():
    assert code_commit() in ("unknown", "uncommitted") or len(code_commit().split("+")[0]) == 40


def test_fingerprint_ignores_docstrings_and_comments_only(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "CODE_ROOT", tmp_path)

    def name(source):
        (tmp_path / "code.py").write_text(source)
        return checkpoints.fingerprint({}, [], ["code.py"])

    first = name('def f(x):\n    """One."""\n    return x + 1\n')
    assert name('def f(x):\n    """Two."""\n    return x + 1  # so\n') == first
    assert name('def f(x):\n    """One."""\n    return x + 2\n') != first
    assert name('def f(x):\n    """One."""\n    return x\n') != first


def test_a_run_keeps_the_commit_it_was_begun_at(tmp_path, monkeypatch):
    checkpoint = tmp_path / "new" / "run.pt"
    assert trained_at(checkpoint) == code_commit()
    monkeypatch.setattr("fer_lib.training.checkpoints.code_commit", lambda code: "another")
    assert trained_at(checkpoint) == code_commit()
    assert trained_at(tmp_path / "other.pt") == "another"


def test_fingerprint_tells_settings_and_data_apart():
    images, labels = bars()
    name = checkpoints.fingerprint({"lr": 1}, [images, labels])
    assert name == checkpoints.fingerprint({"lr": 1}, [images.clone(), labels])
    assert name != checkpoints.fingerprint({"lr": 2}, [images, labels])
    other = images.clone()
    other[0, 0, 0] += 1
    assert name != checkpoints.fingerprint({"lr": 1}, [other, labels])
