"""Weights on disk, and the networks they belong to.

Weights are safetensors files: numbers and a text header, no code. The header is the
network's card: what it is, which study trained it on which task, with which parameters, and at
which commit.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from fer_lib.errors import UserError
from fer_lib.files import whole
from fer_lib.models.card import Card
from fer_lib.models.msfernet import Encoder, MSFERNet
from fer_lib.models.quantization import pack, unpack
from fer_lib.models.two_head import TwoHeads
from fer_lib.models.vgg import VggEncoder
from fer_lib.params import Architecture, VggArchitecture

EXPONENTS = ".exponents"


def save_weights(path: Path, weights: Mapping[str, Tensor], card: Card) -> None:
    """Write a weights file, whole or not at all, with not a bit lost.

    Numbers that int8 or float16 hold exactly, as they do those of a finished training run,
    are stored so: a kernel `name` as int8 with its channels' exponents in `name.exponents`.

    Args:
        path: target; its folder is made.
        weights: a state dict.
        card: its description, for the header.
    """
    tensors = {}
    for name, tensor in weights.items():
        tensor = tensor.contiguous().cpu()
        if packed := pack(tensor):
            tensors[name], tensors[name + EXPONENTS] = packed
        elif tensor.is_floating_point() and torch.equal(tensor.half().float(), tensor.float()):
            tensors[name] = tensor.half()
        else:
            tensors[name] = tensor
    with whole(path) as part:
        part.write_bytes(_in_order(save(tensors, card.header())))


def _in_order(file: bytes) -> bytes:
    """A safetensors file with its header sorted; the library writes it in another order each time.

    So the same weights are the same bytes, and DVC reruns nothing after them. The format: eight
    bytes of length, that many bytes of JSON, padded with spaces to a multiple of 8, the numbers.
    """
    length = int.from_bytes(file[:8], "little")
    header = json.dumps(json.loads(file[8 : 8 + length]), sort_keys=True).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + file[8 + length :]


def read_weights(path: Path) -> tuple[dict[str, Tensor], Card]:
    """Read a weights file as float32.

    Raises:
        UserError: if the file is missing, damaged, or not written by this study.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing: train it with `dvc repro`, or name another model.")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{path} is no model, or is damaged or cut short ({error}): name another .safetensors "
            "or .onnx file; that of a stage is written again by running the stage."
        ) from None
    exponents = {n: weights.pop(n) for n in list(weights) if n.endswith(EXPONENTS)}
    for name, tensor in weights.items():
        if name + EXPONENTS in exponents or tensor.dtype == torch.int8:
            if len(exponents.get(name + EXPONENTS, ())) != len(tensor):
                raise UserError(f"{path} is damaged ({name} lacks exponents): get it again.")
            weights[name] = unpack(tensor, exponents[name + EXPONENTS])
        elif tensor.is_floating_point():
            weights[name] = tensor.float()
    return weights, Card.from_header(header, path)


def load_model(path: Path) -> tuple[MSFERNet | TwoHeads, Card]:
    """The trained network of a weights file, in evaluation mode, and its card.

    What it returns for a batch of faces is described at `MSFERNet` and, for a card of the kind
    "two heads", at `TwoHeads`.

    Raises:
        UserError: if the file is missing, damaged, or holds another kind of network.
    """
    weights, card = read_weights(path)
    if card.kind not in ("classifier", "two heads"):
        raise UserError(f"{path} holds an {card.kind}, not a classifier: name another file.")
    model: MSFERNet | TwoHeads
    if isinstance(card.arch, Architecture) and card.kind == "classifier":
        model = MSFERNet(len(card.classes), card.arch)
    else:
        model = TwoHeads(make_encoder(card.arch), len(card.classes))
    _fill(model, weights, path)
    # The layout that CPUs convolve fastest.
    return model.eval().to(memory_format=torch.channels_last), card


def make_encoder(arch: Architecture | VggArchitecture) -> Encoder | VggEncoder:
    """The encoder of an architecture, untrained."""
    return Encoder(arch) if isinstance(arch, Architecture) else VggEncoder(arch)


def load_encoder(path: Path, arch: Architecture) -> Encoder:
    """The encoder of a weights file (pretrained, or out of a classifier).

    Raises:
        UserError: if its architecture is not `arch`.
    """
    weights, card = read_weights(path)
    if card.arch != arch:
        raise UserError(
            f"{path} holds another architecture ({card.arch}) than params.yaml asks for ({arch}): "
            "run the pretraining stage again."
        )
    encoder = Encoder(arch)
    _fill(encoder, weights if card.kind == "encoder" else encoder_weights(weights), path)
    return encoder


def encoder_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of the encoder in that of a whole network."""
    prefix = "encoder."
    return {n.removeprefix(prefix): t for n, t in weights.items() if n.startswith(prefix)}


def _fill(model: torch.nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    if not all(tensor.isfinite().all() for tensor in weights.values()):
        raise UserError(f"{path} holds weights that are no numbers: get it again, or retrain it.")
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise UserError(f"{path} holds another architecture ({first}): retrain it.") from None
