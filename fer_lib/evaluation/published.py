"""Published figures: value, unit, interval, and the stage that computed them."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from fer_lib.errors import UserError
from fer_lib.files import whole

# Digits after the point of a published figure. Percentages of a few thousand images carry no more.
DECIMALS = {
    "percent": 2,
    "values": 0,
    "multiply-adds": 0,
    "images": 0,
    "groups": 0,
    "score": 3,
    "pixels": 1,
    "grey levels": 1,
    "degrees": 0,
    "seconds": 2,
}
FIGURE_KEYS = ("value", "unit", "n", "split", "protocol", "seeds", "stage")


def figure(
    value: float,
    *,
    unit: str,
    n: int,
    split: str,
    protocol: str,
    seeds: Iterable[int],
    stage: str,
    low: float | None = None,
    high: float | None = None,
    spread: float | None = None,
) -> dict:
    """One published figure with its metadata.

    Args:
        value: in `unit`; rounded as `DECIMALS` says.
        unit: "percent" (62.31, not 0.6231), "values" for parameters, ...
        n: number of images (or of what `split` counts).
        split: on which data, such as "FER2013 PrivateTest".
        protocol: how it was measured, in a few words.
        seeds: of the trained networks; empty where nothing was trained.
        stage: the notebook that computed it.
        low: lower end of the 95 % interval.
        high: upper end.
        spread: standard deviation over the seeds, where `value` is their mean.

    Raises:
        ValueError: on an unknown unit, or a value that is not finite.
    """
    if unit not in DECIMALS:
        raise ValueError(f"unknown unit {unit!r}: use one of {', '.join(DECIMALS)}")
    entry: dict = {
        "value": value, "unit": unit, "n": int(n), "split": split, "protocol": protocol,
        "seeds": [int(seed) for seed in seeds], "stage": stage,
    }  # fmt: skip
    if low is not None and high is not None:
        entry |= {"low": low, "high": high}
    if spread is not None:
        entry["spread"] = spread
    for key in entry.keys() & {"value", "low", "high", "spread"}:
        number = float(entry[key])
        if not np.isfinite(number):
            raise ValueError(f"{key} is {number}, not a finite number")
        entry[key] = round(number, DECIMALS[unit]) if DECIMALS[unit] else round(number)
    return entry


def write_figures(path: Path, figures: Mapping[str, dict]) -> None:
    """Write figures by key as sorted, indented JSON, atomically."""
    text = json.dumps(dict(figures), indent=2, sort_keys=True, allow_nan=False) + "\n"
    with whole(path) as part:
        part.write_text(text, encoding="utf-8")


def read_figures(path: Path) -> dict[str, dict]:
    """Read what `write_figures` wrote.

    Raises:
        UserError: if the file is missing, no JSON, or an entry lacks a key.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing: run `uv run dvc repro`, whose stages write it")
    try:
        figures = json.loads(path.read_text())
        for key, entry in figures.items():
            missing = [name for name in FIGURE_KEYS if name not in entry]
            if missing:
                raise UserError(f"{path}: {key} lacks {', '.join(missing)}: run its stage again")
    except (json.JSONDecodeError, AttributeError, TypeError) as error:
        raise UserError(f"{path} holds no figures ({error}): run its stage again") from None
    return figures
