"""Comparisons for the checks of the course, and the message to the student when one fails.

A message names what was tested, what was expected, what was found, and where possible the common
mistake that leads to exactly this result.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fer_lib.errors import UserError
from fer_lib.paths import build_folder

AS_BOOL = "Make it an array of type bool, which can pick entries of another."


class Wrong(Exception):
    """An answer is wrong; the exception's text is the message to the student."""


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
        found: what the student's function returned.
        expected: what it should return.
        what: what was tested, such as "the loss of three faces"; begins the message.
        tolerance: allowed difference, absolute and relative.
        mistakes: from hint to the result of a common mistake; the hint is shown if `found` is that.
        hint: shown if no mistake matches.

    Raises:
        Wrong: if type, shape or a value differs.
    """
    actual, correct = array(found, what), array(expected, what)
    if correct.dtype == bool and actual.dtype != bool:
        raise Wrong(_message(f"{what}: expected True and False, found {actual.dtype}", AS_BOOL))
    if actual.shape != correct.shape:
        raise Wrong(_message(f"{what}: expected {_shape(correct)}, found {_shape(actual)}", hint))
    if _close(actual, correct, tolerance):
        return
    for mistake, wrong in (mistakes or {}).items():
        if _close(actual, array(wrong, what), tolerance):
            hint = mistake
            break
    raise Wrong(_message(f"{what}: {_first_difference(actual, correct, tolerance)}", hint))


def array(found: Any, what: str) -> np.ndarray:
    """Convert a number, list, array or tensor to an array; a tensor is detached from its graph.

    Raises:
        Wrong: for None, strings, and ragged lists.
    """
    if found is None:
        raise Wrong(f"{what}: the function returns None. Is its `return` missing?")
    if hasattr(found, "detach"):
        found = found.detach().cpu().numpy()
    try:
        values = np.asarray(found)
    except ValueError:
        raise Wrong(
            f"{what}: expected an array, found a list with rows of different lengths."
        ) from None
    if values.dtype.kind not in "biuf":
        raise Wrong(f"{what}: expected numbers, found {type(found).__name__}.")
    return values


def holds(condition: Any, message: str) -> None:
    """Require a condition.

    Raises:
        Wrong: with the message, if the condition is false.
    """
    if not condition:
        raise Wrong(message)


def sample(name: str) -> Path:
    """Path of a file that the sample study has built.

    Raises:
        UserError: if the file is missing, because the study was not run yet.
    """
    path = build_folder("sample") / name
    if not path.is_file():
        raise UserError(f"{path} is missing: run `uv run dvc repro` first")
    return path


def _close(found: np.ndarray, expected: np.ndarray, tolerance: float) -> bool:
    if found.shape != expected.shape:
        return False
    return bool(np.isclose(found, expected, tolerance, tolerance, equal_nan=True).all())


def _shape(values: np.ndarray) -> str:
    return f"an array of shape {values.shape}" if values.ndim else "one number"


def _first_difference(found: np.ndarray, expected: np.ndarray, tolerance: float) -> str:
    """`expected 0.5, found 0.7 at index [2, 3]`, for the first element that differs."""
    differs = ~np.isclose(found, expected, tolerance, tolerance, equal_nan=True)
    index = tuple(int(i) for i in np.argwhere(differs)[0])
    where = f" at index {list(index)}" if index else ""
    return f"expected {_text(expected[index])}, found {_text(found[index])}{where}"


def _text(number: Any) -> str:
    return str(number) if number.dtype.kind in "biu" else f"{float(number):.6g}"


def _message(difference: str, hint: str) -> str:
    return f"{difference}. {hint}".strip()
