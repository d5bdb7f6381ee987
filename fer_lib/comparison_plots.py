"""Figures that compare networks: dots of single runs, and accuracy over what it costs."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter


def dots_by_seed(table: pd.DataFrame, label: str, reference: bool = True) -> Figure:
    """One row a variant: a small dot a seed, a bar at their mean.

    Args:
        table: columns variant, seed, accuracy (percent), in the order to be drawn.
        label: of the axis.
        reference: draw the first variant's mean as a dashed line through all rows.
    """
    names = list(dict.fromkeys(table.variant))
    colours = sns.color_palette("colorblind")
    figure, axis = plt.subplots(figsize=(6.6, 0.9 + 0.34 * len(names)))
    for place, name in enumerate(names):
        values = table.accuracy[table.variant == name]
        axis.scatter(values, np.full(len(values), place), s=22, color=colours[0], zorder=3)
        axis.plot([values.mean()] * 2, [place - 0.3, place + 0.3], color=colours[1], linewidth=2)
    if reference:
        first = table.accuracy[table.variant == names[0]].mean()
        axis.axvline(first, linestyle="--", color="0.6", linewidth=1, zorder=0)
    axis.set(yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.5, -0.5))
    axis.set_xlabel(label)
    return figure


def pareto(
    table: pd.DataFrame, costs: dict[str, str], label: str, groups: dict[str, str] | None = None
) -> Figure:
    """Accuracy over each cost (logarithmic), one panel a cost, and the line that nothing beats.

    Args:
        table: columns name, accuracy (percent), those of `costs`, and group, where there are some.
            A row whose cost is NaN is left out of that panel.
        costs: column to what stands under its axis.
        label: of the accuracies.
        groups: group to its matplotlib marker; without them all rows are dots.
    """
    figure, axes = plt.subplots(
        1, len(costs), figsize=(4.7 * len(costs) + 0.4, 3.9), sharey=True, squeeze=False
    )
    for axis, (cost, words) in zip(axes[0], costs.items(), strict=True):
        known = table.dropna(subset=[cost])
        for number, (group, marker) in enumerate((groups or {"": "o"}).items()):
            rows = known[known.group == group] if groups else known
            colour = sns.color_palette("colorblind")[number]
            axis.scatter(rows[cost], rows.accuracy, marker=marker, color=colour, label=group)
        _name_points(axis, known, cost)
        front = known.sort_values(cost)
        front = front[front.accuracy > front.accuracy.cummax().shift(fill_value=-np.inf)]
        axis.step(front[cost], front.accuracy, where="post", color="0.6", zorder=0)
        axis.set(xscale="log", xlabel=words)
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter(EngFormatter(sep=" "))  # 2 M, not 2 x 10^6
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.tick_params(axis="x", labelrotation=30)
        axis.margins(x=0.22, y=0.12)
    axes[0, 0].set_ylabel(label)
    if groups:
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _name_points(axis: Axes, rows: pd.DataFrame, cost: str) -> None:
    """Write each name above its point, or below where the next higher point is close."""
    reach = np.ptp(rows.accuracy) or 1.0
    for row in rows.itertuples():
        cost_ratio = np.abs(np.log(rows[cost] / getattr(row, cost)))
        above = rows.accuracy - row.accuracy
        crowded = ((cost_ratio < 1.0) & (above > 0) & (above < 0.12 * reach)).any()
        axis.annotate(
            row.name, (getattr(row, cost), row.accuracy), xytext=(0, -6 if crowded else 6),
            textcoords="offset points", ha="center", va="top" if crowded else "bottom", fontsize=8,
        )  # fmt: skip
