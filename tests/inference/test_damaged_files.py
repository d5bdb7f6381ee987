"""Model files with wrong headers or numbers end in one sentence, and never give NaN."""

import json
import re

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from fer_lib.errors import UserError
from fer_tools.inference.recognizer import Recognizer, published_weights

FACES = np.random.default_rng(0).integers(0, 256, (3, 48, 48), np.uint8)
ARCH = {"first_width": 16, "second_width": 40, "widths": [128, 240, 256], "branches": [3, 5]}


@pytest.fixture(scope="module")
def good():
    """The header and tensors of a published file."""
    with safe_open(published_weights() / "fer13-7.safetensors", "pt") as file:
        return file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def refused(path, header, tensors):
    save_file(tensors, path, metadata=header)
    with pytest.raises(UserError, match=r"again|retrain|name another") as caught:
        Recognizer.load(path, "cpu").probabilities(FACES)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    return message


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("kind", 3, "kind: 3 is no str"),
        ("kind", "two heads", "another architecture"),
        ("task", ["a"], "is no str"),
        ("task", "fer99", "there is no 'fer99'"),
        ("task", "fer13-3", "another architecture"),
        ("params", 7, "params: 7 is no dict"),
        ("commit", None, "is no str"),
        ("notes", [1], "is no dict"),
        ("notes", {"temperature": "hot"}, "could not convert"),
        ("notes", {"temperature": 0}, "not above 0"),
        ("notes", {"temperature": -1}, "not above 0"),
        ("notes", {"temperature": float("nan")}, "not above 0"),
        ("arch", None, "unknown architecture"),
        ("arch", [1], "unknown architecture"),
        ("arch", ARCH | {"widths": "abc"}, "widths: "),
        ("arch", ARCH | {"widths": [1e9, 1, 1]}, r"widths\.0: "),
        ("arch", ARCH | {"branches": ["x"]}, r"branches\.0: "),
        ("arch", ARCH | {"branches": []}, "branches: "),
        ("arch", ARCH | {"first_width": -3}, "first_width: "),
        ("arch", ARCH | {"first_width": 2.5}, "first_width: "),
        ("arch", ARCH | {"depth": 3}, "depth"),
    ],
)
def test_wrong_headers(tmp_path, good, field, value, message):
    header, tensors = good
    found = refused(tmp_path / "a.safetensors", header | {field: json.dumps(value)}, tensors)
    assert re.search(message, found), found


def test_wrong_numbers(tmp_path, good):
    header, tensors = good
    half = next(name for name, tensor in tensors.items() if tensor.dtype == torch.float16)
    exponents = next(name for name in tensors if name.endswith(".exponents"))
    without = {name: tensor for name, tensor in tensors.items() if name != exponents}
    for name, changed in {
        "nan": tensors | {half: tensors[half] * float("nan")},
        "huge": tensors | {half: tensors[half].double() * 1e300},
        "large_exponents": tensors | {exponents: torch.full_like(tensors[exponents], 120)},
        "no_exponents": without,
        "few_exponents": tensors | {exponents: tensors[exponents][:1]},
    }.items():
        refused(tmp_path / f"{name}.safetensors", header, changed)
