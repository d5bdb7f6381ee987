"""Figures as they are published: value, unit, interval, and the stage they come from."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from fer_lib.errors import UserError
from fer_lib.evaluation.metrics import Metric, accuracy, bootstrap_interval, confusion
from fer_lib.files import whole

# Digits after the point of a published figure. Percentages of a few thousand images carry no more.
DECIMALS = {
    "percent": 2,
    "values": 0,
    "multiply-adds": 0,
    "images": 0,
    "groups": 0,
    "score": 3,
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
    """One published figure with all that is needed to read it.

    Args:
        value: in `unit`; rounded as `DECIMALS` says.
        unit: "percent" for shares (62.31, not 0.6231), "values" for parameters, ...
        n: number of images (or whatever `split` counts) behind it.
        split: on which data, such as "FER2013 PrivateTest".
        protocol: how, in a few words.
        seeds: of the trainings behind it; empty where nothing was trained.
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


def measured(
    labels: np.ndarray,
    predictions: np.ndarray,
    classes: int,
    metric: Metric = accuracy,
    *,
    n: int,
    seed: int,
    groups: np.ndarray | None = None,
    **about,
) -> dict:
    """`figure` of a metric in percent, with its bootstrap interval.

    Args:
        labels: (N,) int.
        predictions: (N,) int.
        classes: K.
        metric: `accuracy`, `macro_f1` or `class_recall(...)`.
        n: bootstrap draws.
        seed: of the bootstrap.
        groups: see `bootstrap_confusions`.
        about: split, protocol, seeds and stage of `figure`.
    """
    value = float(metric(confusion(labels, predictions, classes)))
    low, high = bootstrap_interval(
        labels, predictions, classes, metric, n=n, seed=seed, groups=groups
    )
    return figure(
        100 * value,
        unit="percent",
        n=len(labels),
        low=100 * low,
        high=100 * high,
        **about,
    )


def write_figures(path: Path, figures: Mapping[str, dict]) -> None:
    """Write figures by key as JSON: sorted, indented, whole or not at all."""
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
