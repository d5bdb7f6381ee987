"""Figures of notebook 75: subjects, conditions, lines of drawn videos."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.figure import Figure

from fer_lib.plots.style import COLORS


class DegradationCurve(NamedTuple):
    """What is drawn of one condition: its axis, (L,) each, and its limit where there is one.

    place is on the axis, unchanged faces first; accuracy with low and high in [0, 1]; shift of the
    valence, 0 to 2.
    """

    title: str
    place: np.ndarray
    accuracy: np.ndarray
    low: np.ndarray
    high: np.ndarray
    shift: np.ndarray
    limit: float | None


def subjects(accuracy: np.ndarray, by_chance: np.ndarray) -> Figure:
    """The accuracy of each subject, worst first, before what chance alone would give.

    Args:
        accuracy: (S,) in [0, 1], lowest first.
        by_chance: (D, S), the same of subjects that do not differ; rows are draws.
    """
    figure, axis = plt.subplots(figsize=(6.6, 3.2))
    place = 100 * (np.arange(len(accuracy)) + 0.5) / len(accuracy)
    low, middle, high = 100 * np.percentile(by_chance, [2.5, 50, 97.5], axis=0)
    axis.fill_between(place, low, high, color="0.85", label="by chance, 95 %")
    axis.plot(place, middle, "--", color="0.45", label="by chance, median")
    axis.step(place, 100 * accuracy, where="mid", color=COLORS[0], label="subjects")
    axis.set(xlabel="subjects, worst first, %", ylabel="accuracy, %", ylim=(-2, 102))
    axis.legend(loc="lower right")
    return figure


def conditions(curves: Sequence[DegradationCurve], chance: float) -> Figure:
    """Small panels: accuracy, with its interval, and shift of the valence along each condition.

    Args:
        curves: one a panel.
        chance: accuracy of always guessing the most frequent class, in [0, 1].
    """
    rows = -(-len(curves) // 3)
    figure, axes = plt.subplots(rows, 3, figsize=(9, 2.35 * rows), sharey=True, squeeze=False)
    for axis, curve in zip(axes.flat, curves, strict=False):
        axis.fill_between(curve.place, 100 * curve.low, 100 * curve.high, color="#cfe3f1")
        axis.plot(curve.place, 100 * curve.accuracy, "o-", color=COLORS[0], label="accuracy, %")
        axis.plot(
            curve.place, 100 * curve.shift, "s--", color=COLORS[1], ms=4,
            label="shift of the valence, hundredths",
        )  # fmt: skip
        axis.axhline(100 * chance, color="0.6", ls=":", label="always the most frequent class")
        if curve.limit is not None:
            axis.axvline(curve.limit, color=COLORS[3], lw=1.4, label="limit")
        axis.set(xlabel=curve.title, ylim=(0, 102))
        if curve.place.min() > 0 and curve.place.max() > 10 * curve.place.min():
            axis.set_xscale("log")
            axis.xaxis.set_major_formatter("{x:g}")
            axis.minorticks_off()
        if curve.place[-1] < curve.place[0]:
            axis.invert_xaxis()
    for axis in list(axes.flat)[len(curves) :]:
        axis.set_axis_off()
    named: dict[str, Artist] = {}
    for axis in axes.flat:
        handles, names = axis.get_legend_handles_labels()
        named |= dict(zip(names, handles, strict=True))
    figure.legend(
        list(named.values()), list(named), loc="outside lower center", ncols=2, fontsize=9
    )
    return figure


def at_rest(values: Mapping[str, np.ndarray]) -> Figure:
    """Valence of neutral faces: a histogram a group of people.

    Args:
        values: by name: (N,) in [-1, 1].
    """
    figure, axes = plt.subplots(1, len(values), figsize=(3.4 * len(values), 2.6), squeeze=False)
    for axis, (name, found) in zip(axes[0], values.items(), strict=True):
        axis.hist(found, bins=np.linspace(-1, 1, 21), color=COLORS[0])
        axis.axvline(0, color="0.4", lw=1)
        middle = float(np.median(found))
        axis.axvline(middle, color=COLORS[1], lw=2)
        axis.set(
            title=f"{name}\nmedian {middle:+.2f}", xlabel="valence of neutral faces", xlim=(-1, 1)
        )
    axes[0, 0].set_ylabel("faces")
    return figure


def courses(tables: Sequence[pd.DataFrame], truths: Sequence[pd.DataFrame]) -> Figure:
    """Lines of some videos with their bands, and the truth.

    Args:
        tables: one row a frame, see `rtfer.engine.largest_face`.
        truths: columns time_s, valence, face_present; one a table.
    """
    figure, axes = plt.subplots(
        len(tables), 1, figsize=(8.4, 1.7 * len(tables) + 0.5), sharex=True, sharey=True,
        squeeze=False,
    )  # fmt: skip
    for axis, table, truth in zip(axes[:, 0], tables, truths, strict=True):
        level, reach = table.valence_smooth, 1.96 * table.valence_sd
        low, high = (level - reach).clip(-1, 1), (level + reach).clip(-1, 1)
        axis.fill_between(table.time_s, low, high, color=COLORS[0], alpha=0.25, lw=0, label="band")
        axis.plot(table.time_s, level, color=COLORS[0], label="line")
        shown = truth.valence.where(truth.face_present == 1)
        axis.plot(truth.time_s, shown, "--", color=COLORS[3], label="truth")
        axis.set(ylim=(-1.05, 1.05), ylabel="valence")
    axes[-1, 0].set_xlabel("time (s)")
    axes[0, 0].legend(loc="upper left", ncols=3, fontsize=9)
    return figure
