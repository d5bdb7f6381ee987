"""How a check of the course compares an answer, and the sentence it says when something is wrong.

A sentence names what was asked, what was expected, what was found, and where possible the mistake
that leads just there.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fer_lib.errors import UserError
from fer_lib.paths import build_folder

AS_BOOL = "Make it an array of type bool, which can pick entries of another."


class Wrong(Exception):
    """An answer is not right; its text is what the student reads."""


def same(
    found: Any,
    expected: Any,
    what: str,
    *,
    tolerance: float = 1e-6,
    mistakes: Mapping[str, Any] | None = None,
    hint: str = "",
) -> None:
    """Compare numbers, arrays or tensors.

    Args:
        found: what the student's function gave.
        expected: what it should give.
        what: what was asked for, such as "the loss of three faces"; begins the sentence.
        tolerance: allowed difference, absolute and relative.
        mistakes: by hint, what usual mistakes would give; the hint is told if `found` is that.
        hint: told if no mistake fits.

    Raises:
        Wrong: if type, shape or a value differs.
    """
    numbers, wanted = array(found, what), array(expected, what)
    if wanted.dtype == bool and numbers.dtype != bool:
        raise Wrong(_sentence(f"{what}: expected True and False, found {numbers.dtype}", AS_BOOL))
    if numbers.shape != wanted.shape:
        raise Wrong(_sentence(f"{what}: expected {_form(wanted)}, found {_form(numbers)}", hint))
    if _close(numbers, wanted, tolerance):
        return
    for mistake, wrong in (mistakes or {}).items():
        if _close(numbers, array(wrong, what), tolerance):
            hint = mistake
            break
    raise Wrong(_sentence(f"{what}: {_first_difference(numbers, wanted, tolerance)}", hint))


def array(found: Any, what: str) -> np.ndarray:
    """Numbers of any kind as an array; a tensor is taken off its graph.

    Raises:
        Wrong: for None, texts, and lists of uneven length.
    """
    if found is None:
        raise Wrong(f"{what}: the function gives None. Is its `return` missing?")
    if hasattr(found, "detach"):
        found = found.detach().cpu().numpy()
    try:
        numbers = np.asarray(found)
    except ValueError:
        raise Wrong(f"{what}: expected an array, found a list of uneven parts.") from None
    if numbers.dtype.kind not in "biuf":
        raise Wrong(f"{what}: expected numbers, found {type(found).__name__}.")
    return numbers


def holds(condition: Any, sentence: str) -> None:
    """Ask for a property.

    Raises:
        Wrong: with the sentence, if the condition does not hold.
    """
    if not condition:
        raise Wrong(sentence)


def sample(name: str) -> Path:
    """A file of the sample study.

    Raises:
        UserError: if the study was not run yet.
    """
    path = build_folder("sample") / name
    if not path.is_file():
        raise UserError(f"{path} is missing: run `uv run dvc repro` first")
    return path


def _close(found: np.ndarray, expected: np.ndarray, tolerance: float) -> bool:
    if found.shape != expected.shape:
        return False
    return bool(np.isclose(found, expected, tolerance, tolerance, equal_nan=True).all())


def _form(numbers: np.ndarray) -> str:
    return f"an array of shape {numbers.shape}" if numbers.ndim else "one number"


def _first_difference(found: np.ndarray, expected: np.ndarray, tolerance: float) -> str:
    """`expected 0.5, found 0.7 at place [2, 3]`, of the first place that differs."""
    differs = ~np.isclose(found, expected, tolerance, tolerance, equal_nan=True)
    place = tuple(int(i) for i in np.argwhere(differs)[0])
    where = f" at place {list(place)}" if place else ""
    return f"expected {_text(expected[place])}, found {_text(found[place])}{where}"


def _text(number: Any) -> str:
    return str(number) if number.dtype.kind in "biu" else f"{float(number):.6g}"


def _sentence(said: str, hint: str) -> str:
    return f"{said}. {hint}".strip()
