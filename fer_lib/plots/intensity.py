"""Figures about intensities: against their targets, what is left over, and along a sequence."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fer_lib.labels import FER_CLASSES
from fer_lib.plots.style import COLORS

LEAST = 5  # faces in a bin, below which its mean is not drawn


def agreement(targets: np.ndarray, networks: Mapping[str, np.ndarray], label: str) -> Figure:
    """One panel an emotion: each face a dot, and the networks' mean at each target.

    Args:
        targets: (N, 7) in [0, 1].
        networks: by name: (N, 7) intensities; the dots are the first one's.
        label: of the horizontal axis.
    """
    figure, axes = _panels()
    dots = next(iter(networks.values()))
    wobble = np.random.default_rng(0).uniform(-0.02, 0.02, len(targets))  # votes fall on tenths
    for k, (axis, name) in enumerate(zip(axes, FER_CLASSES, strict=False)):
        axis.plot([0, 1], [0, 1], color="0.6", lw=1)
        axis.plot(targets[:, k] + wobble, dots[:, k], ".", ms=2, color="0.72", rasterized=True)
        for number, (who, values) in enumerate(networks.items()):
            means = _binned(targets[:, k], values[:, k])
            axis.plot(
                means.index, means, marker="os^"[number], ms=4, color=COLORS[number], label=who
            )
        axis.set(title=name, xlim=(-0.05, 1.05), ylim=(-0.05, 1.05))
    _name_axes(axes, label, "network's intensity")
    return figure


def reliability(networks: Mapping[str, np.ndarray], targets: np.ndarray) -> Figure:
    """Mean target of the faces to which a network gives about the same intensity, by emotion."""
    figure, axes = _panels()
    for k, (axis, name) in enumerate(zip(axes, FER_CLASSES, strict=False)):
        axis.plot([0, 1], [0, 1], color="0.6", lw=1)
        for number, (who, values) in enumerate(networks.items()):
            means = _binned(values[:, k], targets[:, k])
            axis.plot(
                means.index, means, marker="os^"[number], ms=4, color=COLORS[number], label=who
            )
        axis.set(title=name, xlim=(-0.05, 1.05), ylim=(-0.05, 1.05))
    _name_axes(axes, "network's intensity", "mean target")
    return figure


def residuals(targets: np.ndarray, networks: Mapping[str, np.ndarray]) -> Figure:
    """Boxes of intensity less target by emotion, over the faces where either is above 0.1.

    Faces in which neither sees the emotion would hide all others: they are most, and near 0.
    """
    rows = [
        pd.DataFrame({"emotion": name, "network": who, "residual": (values - targets)[seen, k]})
        for who, values in networks.items()
        for k, name in enumerate(FER_CLASSES)
        for seen in [np.maximum(values[:, k], targets[:, k]) > 0.1]
    ]
    figure, axis = plt.subplots(figsize=(8, 3.4))
    axis.axhline(0, color="0.6", lw=1)
    sns.boxplot(
        pd.concat(rows), x="emotion", y="residual", hue="network", fliersize=1, linewidth=1, ax=axis
    )
    axis.set(xlabel="", ylabel="intensity less target")
    axis.legend(title="", loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)
    return figure


def courses(
    position: np.ndarray, labels: np.ndarray, lines: Mapping[str, tuple[np.ndarray, str]]
) -> Figure:
    """Along CK+ sequences: mean intensity of the sequence's own emotion, one panel an emotion.

    Args:
        position: (N,) from 0, neutral, to 1, apex.
        labels: (N,) emotion of the sequence.
        lines: by name: (N, 7) intensities, and a matplotlib line style.
    """
    figure, axes = _panels()
    for k, (axis, name) in enumerate(zip(axes, FER_CLASSES, strict=False)):
        own = labels == k
        for number, (who, (values, style)) in enumerate(lines.items()):
            means = _binned(position[own], values[own, k], least=1)
            axis.plot(means.index, means, style, color=COLORS[number], label=who)
        axis.set(title=name, xlim=(0, 1), ylim=(-0.05, 1.05))
        if not own.any():
            axis.text(0.5, 0.5, "no sequence", ha="center", va="center", color="0.4")
    _name_axes(axes, "from neutral to apex", "intensity")
    return figure


def valences(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Smoothed valence over time, one line a table of `rtfer.largest_face`; gaps stay gaps."""
    figure, axis = plt.subplots(figsize=(8, 2.8))
    axis.axhline(0, color="0.6", lw=1)
    for number, (name, table) in enumerate(tables.items()):
        style = ("-", "--")[number % 2]
        axis.plot(table.time_s, table.valence_smooth, style, color=COLORS[number], label=name)
    axis.set(xlabel="seconds", ylabel="valence", ylim=(-1.05, 1.05))
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(tables))
    return figure


def _panels() -> tuple[Figure, list[Axes]]:
    figure, axes = plt.subplots(2, 4, figsize=(9, 4.6), sharex=True, sharey=True)
    return figure, list(axes.flat)


def _name_axes(axes: list[Axes], across: str, up: str) -> None:
    """Axis labels at the rim, and in the eighth, empty panel the legend."""
    axes[7].set_axis_off()
    handles, names = axes[0].get_legend_handles_labels()
    axes[7].legend(handles, names, loc="center")
    for axis in axes[3:7]:
        axis.set_xlabel(across)
        axis.tick_params(labelbottom=True)
    for axis in (axes[0], axes[4]):
        axis.set_ylabel(up)


def _binned(places: np.ndarray, values: np.ndarray, least: int = LEAST) -> pd.Series:
    """Mean of `values` around each tenth of `places`, where there are enough."""
    near = pd.Series(values).groupby(np.round(places * 10) / 10).agg(["mean", "size"])
    return near["mean"][near["size"] >= least]
