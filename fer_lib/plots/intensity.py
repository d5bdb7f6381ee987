"""Figures about intensities: calibration by emotion, residuals, and the course of a sequence."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fer_lib.labels import FER_CLASSES
from fer_lib.plots.style import COLORS

FEWEST = 5  # faces in a bin, below which its mean is not drawn


def agreement(targets: np.ndarray, networks: Mapping[str, np.ndarray], label: str) -> Figure:
    """One panel an emotion: each face a dot, and the networks' mean at each target.

    Args:
        targets: (N, 7) in [0, 1].
        networks: by name: (N, 7) intensities; the dots are those of the first.
        label: of the horizontal axis.
    """
    figure, axes = _panels()
    first = next(iter(networks.values()))
    jitter = np.random.default_rng(0).uniform(-0.02, 0.02, len(targets))  # votes are tenths
    for k, axis in enumerate(axes[:7]):
        axis.plot(targets[:, k] + jitter, first[:, k], ".", ms=2, color="0.72", rasterized=True)
        _diagonal(axis, {name: _binned(targets[:, k], v[:, k]) for name, v in networks.items()})
    _name_axes(axes, label, "network's intensity")
    return figure


def reliability(targets: np.ndarray, networks: Mapping[str, np.ndarray]) -> Figure:
    """One panel an emotion: the mean target of the faces with about the same intensity.

    Args:
        targets: (N, 7) in [0, 1].
        networks: by name: (N, 7) intensities.
    """
    figure, axes = _panels()
    for k, axis in enumerate(axes[:7]):
        _diagonal(axis, {name: _binned(v[:, k], targets[:, k]) for name, v in networks.items()})
    _name_axes(axes, "network's intensity", "mean target")
    return figure


def residuals(targets: np.ndarray, networks: Mapping[str, np.ndarray]) -> Figure:
    """Box plots of prediction minus target by emotion, of faces where either is above 0.1.

    Faces where both are near 0 are most of the data and would hide all others.
    """
    rows = [
        pd.DataFrame({"emotion": name, "network": network, "residual": (values - targets)[seen, k]})
        for network, values in networks.items()
        for k, name in enumerate(FER_CLASSES)
        for seen in [np.maximum(values[:, k], targets[:, k]) > 0.1]
    ]
    figure, axis = plt.subplots(figsize=(8, 3.4))
    axis.axhline(0, color="0.6", lw=1)
    sns.boxplot(
        pd.concat(rows), x="emotion", y="residual", hue="network", fliersize=1, linewidth=1, ax=axis
    )
    axis.set(xlabel="", ylabel="prediction minus target")
    axis.legend(title="", loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)
    return figure


def courses(
    position: np.ndarray, labels: np.ndarray, lines: Mapping[str, tuple[np.ndarray, str]]
) -> Figure:
    """Mean intensity of the labeled emotion along CK+ sequences, one panel an emotion.

    Args:
        position: (N,) from 0, neutral, to 1, apex.
        labels: (N,) emotion of the sequence.
        lines: by name: (N, 7) intensities, and a matplotlib line style.
    """
    figure, axes = _panels()
    for k, axis in enumerate(axes[:7]):
        shown = labels == k
        for number, (name, (values, style)) in enumerate(lines.items()):
            means = _binned(position[shown], values[shown, k], fewest=1)
            axis.plot(means.index, means, style, color=COLORS[number], label=name)
        axis.set(xlim=(0, 1), ylim=(-0.05, 1.05))
        if not shown.any():
            axis.text(0.5, 0.5, "no sequence", ha="center", va="center", color="0.4")
    _name_axes(axes, "from neutral to apex", "intensity")
    return figure


def valences(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Smoothed valence over time, one line a table of `engine.largest_face`."""
    figure, axis = plt.subplots(figsize=(8, 2.8))
    axis.axhline(0, color="0.6", lw=1)
    for number, (name, table) in enumerate(tables.items()):
        style = ("-", "--")[number % 2]
        axis.plot(table.time_s, table.valence_smooth, style, color=COLORS[number], label=name)
    axis.set(xlabel="seconds", ylabel="valence", ylim=(-1.05, 1.05))
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(tables))
    return figure


def _panels() -> tuple[Figure, list[Axes]]:
    """Seven panels with an emotion as title, and an eighth, which `_name_axes` fills."""
    figure, axes = plt.subplots(2, 4, figsize=(9, 4.6), sharex=True, sharey=True)
    for axis, name in zip(axes.flat, FER_CLASSES, strict=False):
        axis.set_title(name)
    return figure, list(axes.flat)


def _diagonal(axis: Axes, lines: Mapping[str, pd.Series]) -> None:
    """Binned means by network, and the diagonal of perfect agreement."""
    axis.plot([0, 1], [0, 1], color="0.6", lw=1)
    for number, (name, means) in enumerate(lines.items()):
        marker = "os^"[number]
        axis.plot(means.index, means, marker=marker, ms=4, color=COLORS[number], label=name)
    axis.set(xlim=(-0.05, 1.05), ylim=(-0.05, 1.05))


def _name_axes(axes: list[Axes], across: str, up: str) -> None:
    """Axis labels at the rim, and the legend in the eighth panel."""
    axes[7].set_axis_off()
    handles, names = axes[0].get_legend_handles_labels()
    axes[7].legend(handles, names, loc="center")
    for axis in axes[3:7]:
        axis.set_xlabel(across)
        axis.tick_params(labelbottom=True)
    for axis in (axes[0], axes[4]):
        axis.set_ylabel(up)


def _binned(x: np.ndarray, values: np.ndarray, fewest: int = FEWEST) -> pd.Series:
    """Mean of `values` in bins of a tenth of `x`, where a bin holds enough faces."""
    bins = pd.Series(values).groupby(np.round(x * 10) / 10).agg(["mean", "size"])
    return bins["mean"][bins["size"] >= fewest]
