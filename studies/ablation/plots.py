"""Accuracy over what it costs, with the Pareto front."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter
from matplotlib.transforms import Bbox

from fer_lib.plots.style import COLORS

OVER_GRID = 0.9  # z-order of the Pareto front: above the grid, below the points
# Offsets of a name from its point, in points, and its alignment; the best first. The Pareto front
# leaves a point to the right and downwards, so these come late.
PLACES = (
    (0, 6, "center", "bottom"), (-7, 0, "right", "center"),
    (7, 0, "left", "center"), (0, -6, "center", "top"),
    (-5, 5, "right", "bottom"), (5, -5, "left", "top"),
    (5, 5, "left", "bottom"), (-5, -5, "right", "top"),
)  # fmt: skip


def pareto(
    table: pd.DataFrame, costs: dict[str, str], label: str, groups: dict[str, str] | None = None
) -> Figure:
    """Accuracy over each cost (logarithmic), one panel a cost, and the Pareto front.

    Args:
        table: columns name, accuracy (percent), those of `costs`, and group, where there are some.
            A row whose cost is NaN is left out of that panel.
        costs: column to the label of its axis.
        label: of the accuracies.
        groups: group to its matplotlib marker; without them all rows are dots.
    """
    figure, axes = plt.subplots(
        1, len(costs), figsize=(4.7 * len(costs) + 0.4, 3.9), sharey=True, squeeze=False
    )
    for axis, (cost, title) in zip(axes[0], costs.items(), strict=True):
        known = table.dropna(subset=[cost])
        for number, (group, marker) in enumerate((groups or {"": "o"}).items()):
            rows = known[known.group == group] if groups else known
            color = COLORS[number]
            axis.scatter(rows[cost], rows.accuracy, marker=marker, color=color, label=group)
        front = known.sort_values(cost)
        front = front[front.accuracy > front.accuracy.cummax().shift(fill_value=-np.inf)]
        axis.step(front[cost], front.accuracy, where="post", color="0.6", zorder=OVER_GRID)
        axis.set(xscale="log", xlabel=title)
        wide = known[cost].max() > 100 * known[cost].min()  # more numbers would run together
        axis.xaxis.set_major_locator(LogLocator(subs=(1,) if wide else (1, 2, 5)))
        axis.xaxis.set_major_formatter(EngFormatter(sep=" "))  # 2 M, not 2 x 10^6
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.tick_params(axis="x", labelrotation=30)
        axis.margins(x=0.22, y=0.12)
    axes[0, 0].set_ylabel(label)
    if groups:
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    figure.draw_without_rendering()  # computes the positions of the points
    for axis, cost in zip(axes[0], costs, strict=True):
        _name_points(axis, table.dropna(subset=[cost]), cost)
    return figure


def _name_points(axis: Axes, rows: pd.DataFrame, cost: str) -> None:
    """Write each name by its point, inside the axes and where it overlaps least."""
    points = rows[[cost, "accuracy"]].to_numpy(dtype=float)
    line = axis.lines[0].get_path().transformed(axis.transData)
    taken = [Bbox([p, p]).padded(5) for p in axis.transData.transform(points)]
    for text, point in zip(rows.name, points, strict=True):
        name = axis.annotate(text, point, (0, 0), textcoords="offset points", fontsize=8)
        harm = []
        for place in PLACES:
            box = _put(name, *place)
            clipped = not (axis.bbox.contains(*box.min) and axis.bbox.contains(*box.max))
            overlaps = [Bbox.intersection(box, other) for other in taken]
            area = sum(overlap.width * overlap.height for overlap in overlaps if overlap)
            harm.append((clipped, area, line.intersects_bbox(box, filled=False)))
        taken.append(_put(name, *PLACES[harm.index(min(harm))]))


def _put(name: Annotation, x: float, y: float, ha: str, va: str) -> Bbox:
    """Move a name, and return its bounding box."""
    name.set(position=(x, y), ha=ha, va=va)
    return name.get_window_extent().padded(2)
