"""Weights on disk, and the checkpoints from which a killed training run goes on.

Weights are safetensors files: numbers and a text header, no code. The header says what the network
is, which study trained it on which task, with which parameters, and at which commit.
"""

import ast
import hashlib
import json
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from fer_lib.card import Card
from fer_lib.eight_bits import pack, unpack
from fer_lib.errors import UserError
from fer_lib.files import whole
from fer_lib.model import Encoder, MSFERNet
from fer_lib.params import Architecture, VggArchitecture
from fer_lib.paths import project_root
from fer_lib.two_heads import TwoHeads
from fer_lib.vgg import VggEncoder

# The modules whose code decides what a training run computes.
TRAINING_CODE = (
    "augment", "eight_bits", "forward", "labels", "losses", "model", "muon", "recording",
    "teachers", "training",
)  # fmt: skip
EXPONENTS = ".exponents"
TWO_HEAD_CODE = (*TRAINING_CODE, "two_head_training", "two_heads", "vgg")


def save_weights(path: Path, weights: Mapping[str, Tensor], card: Card) -> None:
    """Write a weights file, whole or not at all, with not a bit lost.

    Numbers that eight bits or float16 hold exactly, as they do those of a finished training run,
    are stored so: a kernel `name` as int8 with its channels' exponents in `name.exponents`.

    Args:
        path: target; its folder is made.
        weights: a state dict.
        card: what to say of it.
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
            f"{path} is damaged or cut short ({error}): delete it and run its stage again, "
            "or restore it with `git checkout`."
        ) from None
    exponents = {n: weights.pop(n) for n in list(weights) if n.endswith(EXPONENTS)}
    for name, tensor in weights.items():
        if name + EXPONENTS in exponents:
            weights[name] = unpack(tensor, exponents[name + EXPONENTS])
        elif tensor.is_floating_point():
            weights[name] = tensor.float()
    return weights, Card.from_header(header, path)


def load_model(path: Path) -> tuple[MSFERNet | TwoHeads, Card]:
    """The trained network of a weights file, in evaluation mode, and its card.

    What it returns for a batch of faces is told at `MSFERNet` and, for a card of the kind
    "two heads", at `TwoHeads`.

    Raises:
        UserError: if the file is missing, damaged, or holds another kind of network.
    """
    weights, card = read_weights(path)
    if card.kind not in ("classifier", "two heads"):
        raise UserError(f"{path} holds an {card.kind}, not a classifier: name another file.")
    model = make_model(card)
    _fill(model, weights, path)
    # The layout that CPUs convolve fastest.
    return model.eval().to(memory_format=torch.channels_last), card


def make_model(card: Card) -> MSFERNet | TwoHeads:
    """The network that a card describes, untrained."""
    if isinstance(card.arch, Architecture) and card.kind == "classifier":
        return MSFERNet(len(card.classes), card.arch)
    return TwoHeads(make_encoder(card.arch), len(card.classes))


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
    if card.kind != "encoder":
        prefix = "encoder."
        weights = {n.removeprefix(prefix): t for n, t in weights.items() if n.startswith(prefix)}
    _fill(encoder, weights, path)
    return encoder


def _fill(model: torch.nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise UserError(f"{path} holds another architecture ({first}): retrain it.") from None


def numbers_of(model: torch.nn.Module) -> Tensor:
    """All numbers of a network in one row (CPU, float32), for the `fingerprint` of its run."""
    return torch.cat([t.float().cpu().flatten() for t in model.state_dict().values()])


def fingerprint(
    settings: Mapping,
    arrays: Iterable[np.ndarray | Tensor],
    code: Iterable[str] = TRAINING_CODE,
) -> str:
    """One name for what a training run will compute: settings, data and code.

    Comments and docstrings do not count, so that mending a sentence does not cost a training run.
    The name is the same in each version of Python, so that a run may be gone on with elsewhere.

    Args:
        settings: of the run.
        arrays: its data and the weights it starts from.
        code: names of the modules whose code decides what it computes.

    Returns:
        16 hexadecimal digits.
    """
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for module in code:
        tree = ast.parse((Path(__file__).parent / f"{module}.py").read_text())
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list) and body and _is_docstring(body[0]):
                body[0] = ast.Pass()
        digest.update(_dump(tree).encode())
    for array in arrays:
        values = np.ascontiguousarray(array)
        digest.update(f"{values.dtype}{values.shape}".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()[:16]


def _dump(node: object) -> str:
    """As `ast.dump`, without what is empty: which fields there are depends on Python's version."""
    if isinstance(node, list):
        return f"[{', '.join(map(_dump, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = [(name, value) for name, value in ast.iter_fields(node) if value not in (None, [])]
    return f"{type(node).__name__}({', '.join(f'{name}={_dump(value)}' for name, value in fields)})"


def _is_docstring(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def code_commit(code: Iterable[str] = TRAINING_CODE) -> str:
    """The last commit that changed the training code, "+changes" if it differs from that commit."""
    files = [f"fer_lib/{module}.py" for module in code]

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments, "--", *files],
            cwd=project_root(), capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip

    try:
        commit = git("log", "-1", "--format=%H")
        return (commit or "uncommitted") + (
            "+changes" if commit and git("status", "--porcelain") else ""
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def trained_at(checkpoint: Path, code: Iterable[str] = TRAINING_CODE) -> str:
    """The commit at which a run was begun, for its card.

    It stands in a small file beside the checkpoint, written when the run begins. So a run that is
    gone on with, or taken over finished, names the code that trained it, not the code of today.
    """
    note = checkpoint.with_suffix(".commit")
    if not note.exists():
        with whole(note) as part:
            part.write_text(code_commit(code) + "\n")
    return note.read_text().strip()
