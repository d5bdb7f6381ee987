"""What tells training runs apart: names made of settings, data and code, and the code's commit."""

import ast
import hashlib
import json
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fer_lib.files import whole
from fer_lib.paths import project_root

# The modules whose code decides what a training run computes.
TRAINING_CODE = (
    "fer_lib/labels.py",
    "fer_lib/models/forward.py",
    "fer_lib/models/msfernet.py",
    "fer_lib/models/quantization.py",
    "fer_lib/training/augment.py",
    "fer_lib/training/cuda_graph.py",
    "fer_lib/training/distillation.py",
    "fer_lib/training/loop.py",
    "fer_lib/training/losses.py",
    "fer_lib/training/optimizers.py",
)
TWO_HEAD_CODE = (
    *TRAINING_CODE,
    "fer_lib/models/two_head.py",
    "fer_lib/models/vgg.py",
    "fer_lib/training/two_head.py",
)
CODE_ROOT = Path(__file__).resolve().parents[2]


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
        code: files, from the project's folder, whose code decides what it computes.

    Returns:
        16 hexadecimal digits.
    """
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for file in code:
        tree = ast.parse((CODE_ROOT / file).read_text())
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

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments, "--", *code],
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
