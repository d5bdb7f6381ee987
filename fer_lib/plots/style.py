"""The style of all figures, and the figures that several notebooks draw.

Each function returns a matplotlib Figure. Style and colors are seaborn's, safe for color blindness,
and no information is in color alone. Figures are deterministic: the same data give the same file.
seaborn itself is imported where it draws: that takes a second, and few notebooks need it.
"""

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from cycler import cycler
from IPython.display import Image as DisplayedImage
from IPython.display import Markdown, display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

DPI = 110  # of saved figures: sharp on a screen, and a heat map below 60 kB
COLORS = (
    "#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc",
    "#ca9161", "#fbafe4", "#949494", "#ece133", "#56b4e9",
)  # fmt: skip  # seaborn's palette "colorblind"
FEW = 20  # images in a bin, below which its accuracy is uncertain


def use_style() -> None:
    """Set fonts, colors and grid for all figures that follow."""
    small, large = 9.9, 10.8  # points: nine tenths of seaborn's sizes for notebooks
    settings = {
        "figure.dpi": DPI, "savefig.dpi": DPI, "figure.facecolor": "white",
        "figure.constrained_layout.use": True, "axes.titleweight": "bold",
        "axes.titlesize": 11, "axes.spines.top": False, "axes.spines.right": False,
        "axes.prop_cycle": cycler(color=COLORS), "axes.linewidth": 1.25,
        "grid.color": "#e6e6e6", "grid.linewidth": 1, "legend.frameon": False,
        "patch.edgecolor": "w", "patch.force_edgecolor": True,
        "xtick.bottom": False, "ytick.left": False, "xtick.major.size": 6, "ytick.major.size": 6,
        "font.sans-serif": ["Arial", "DejaVu Sans", "Liberation Sans", "sans-serif"],
        "font.size": large, "axes.labelsize": large, "legend.title_fontsize": large,
        "xtick.labelsize": small, "ytick.labelsize": small, "legend.fontsize": small,
    }  # fmt: skip
    plt.style.use(["seaborn-v0_8-whitegrid", settings])


def save(figure: Figure, path: Path) -> Figure:
    """Write `figure` as PNG without metadata, and return it.

    256 colors halve the file without a visible difference: the style has about ten, and faces are
    gray.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    full = BytesIO()
    figure.savefig(full, dpi=DPI, bbox_inches="tight", pad_inches=0.08)
    with Image.open(full) as image:
        few = image.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    few.save(path, optimize=True)
    return figure


def show(figure: Figure, path: Path, caption: str = "") -> None:
    """Save `figure`, and show the file in the notebook with a caption (Markdown) below."""
    save(figure, path)
    display(DisplayedImage(path))
    if caption:
        display(Markdown(f"*{caption}*"))
    plt.close(figure)  # otherwise the notebook shows it twice


def write_curves(
    folder: Path, history: Sequence[Mapping[str, float]], names: Sequence[str]
) -> None:
    """Write the tables that `dvc plots` draws: step, from 0, and value of each quantity.

    Args:
        folder: the tables go to `plots/metrics/NAME.tsv` in it, as from DVCLive.
        history: from `loop.fit`.
        names: of the quantities.
    """
    tables = folder / "plots" / "metrics"
    tables.mkdir(parents=True, exist_ok=True)
    for name in names:
        lines = [f"{step}\t{row[name]}" for step, row in enumerate(history)]
        (tables / f"{name}.tsv").write_text("\n".join([f"step\t{name}", *lines]) + "\n")


def learning_curves(history: Sequence[Mapping[str, float]], kept: int) -> Figure:
    """Accuracy and loss over the epochs, of training and validation.

    Args:
        history: from `loop.fit`, with validation.
        kept: the epoch whose weights are kept; marked by a line.
    """
    epochs = [row["epoch"] for row in history]
    marks = {"marker": "o", "markersize": 5} if len(history) <= 30 else {}
    figure, axes = plt.subplots(1, 2, figsize=(8, 3))
    for axis, key, scale in zip(axes, ("accuracy", "loss"), (100, 1), strict=True):
        axis.plot(epochs, [scale * row[key] for row in history], label="training", **marks)
        values = [scale * row[f"val_{key}"] for row in history]
        axis.plot(epochs, values, linestyle="--", label="validation", **marks)
        axis.axvline(kept, color="0.6", linewidth=1, label="kept")
        axis.set_xlabel("epoch")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0].set_ylabel("accuracy (%)")
    axes[1].set_ylabel("cross entropy (nats)")
    axes[0].legend()
    return figure


def distribution_bars(tables: Mapping[str, pd.DataFrame], unit: str = "images") -> Figure:
    """Stacked bars of counts, one panel a data set.

    Args:
        tables: by panel title: counts, a row a class (a bar) and a column a part (stacked).
        unit: what is counted.
    """
    figure, axes = plt.subplots(1, len(tables), figsize=(4.6 * len(tables), 3.6), squeeze=False)
    for axis, (title, table) in zip(axes[0], tables.items(), strict=True):
        start = np.zeros(len(table))
        for column in table:
            axis.barh(table.index, table[column], left=start, label=column)
            start += table[column].to_numpy()
        for place, total in enumerate(start):
            axis.text(total, place, f" {total:,.0f}", va="center", fontsize=9)
        axis.set(
            title=f"{title}: {start.sum():,.0f} {unit}", xlabel=unit, xlim=(0, start.max() * 1.2)
        )
        axis.invert_yaxis()
        axis.grid(visible=False, axis="y")
        if table.shape[1] > 1:
            axis.legend(loc="upper center", bbox_to_anchor=(0.45, -0.16), ncols=table.shape[1])
    return figure


def confusion_heatmaps(
    matrices: Mapping[str, np.ndarray], classes: Sequence[str], predicted: Sequence[str] = ()
) -> Figure:
    """Confusion matrices side by side: color and first line are recall, second line counts.

    Args:
        matrices: by panel title: (K, K) counts, true classes in rows.
        classes: names of the rows.
        predicted: names of the columns, if different.
    """
    import seaborn

    columns = list(predicted or classes)
    width, height = 1.6 + 0.62 * len(columns), 1.2 + 0.52 * len(classes)
    figure, axes = plt.subplots(
        1, len(matrices), figsize=(max(width, 3.4) * len(matrices), max(height, 3.0)), squeeze=False
    )
    for axis, (title, counts) in zip(axes[0], matrices.items(), strict=True):
        totals = counts.sum(axis=1, keepdims=True)
        fractions = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
        text = np.array(
            [[f"{p:.0%}\n{n}" if n else "" for p, n in zip(*rows, strict=True)]
             for rows in zip(fractions, counts, strict=True)]
        )  # fmt: skip
        seaborn.heatmap(
            fractions, annot=text, fmt="", cmap="Blues", vmin=0, vmax=1, cbar=False, ax=axis,
            xticklabels=columns, yticklabels=classes, linewidths=0.5, annot_kws={"fontsize": 8},
        )  # fmt: skip
        axis.set(title=title, xlabel="predicted", ylabel="true")
        axis.tick_params(axis="x", rotation=40)
        axis.tick_params(axis="y", rotation=0)
        for label in axis.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
    return figure


def intervals(
    table: pd.DataFrame, label: str, reference: tuple[float, str] | None = None
) -> Figure:
    """Points with their 95 % intervals, one row each, top to bottom.

    Args:
        table: columns name, value, low, high (percent).
        label: of the axis.
        reference: a value to mark with a dashed line, and its name.
    """
    figure, axis = plt.subplots(figsize=(6.4, 0.9 + 0.36 * len(table)))
    places = np.arange(len(table))
    reach = [table.value - table.low, table.high - table.value]
    axis.errorbar(table.value, places, xerr=reach, fmt="o", capsize=3, color=COLORS[0])
    for place, row in zip(places, table.itertuples(), strict=True):
        axis.annotate(
            f"{row.value:.1f}", (row.value, place), xytext=(0, 5), textcoords="offset points",
            ha="center", fontsize=8,
        )  # fmt: skip
    if reference is not None:
        axis.axvline(reference[0], ls="--", color=COLORS[1], label=reference[1])
        axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12 - 0.9 / len(table)))
    axis.set(yticks=places, yticklabels=table.name, xlabel=label, ylim=(len(table) - 0.5, -0.7))
    return figure


def reliability_plot(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Reliability diagram: accuracy against confidence, and how many images have it.

    Args:
        tables: by name: from `calibration.reliability_bins`.
    """
    figure, axes = plt.subplots(
        1, len(tables), figsize=(3.9 * len(tables), 3.8), squeeze=False, sharey=True
    )
    for axis, (title, table) in zip(axes[0], tables.items(), strict=True):
        width = table.high - table.low
        fraction = table.images / table.images.sum()
        axis.bar(table.low, fraction, width, align="edge", color="#cfcfcf", label="images")
        axis.plot([0, 1], [0, 1], ls="--", color="#555555", label="perfectly calibrated")
        axis.plot(table.confidence, table.accuracy, "-", color=COLORS[0])
        for enough, fill in ((True, COLORS[0]), (False, "white")):
            rows = table[(table.images >= FEW) == enough]
            axis.plot(
                rows.confidence, rows.accuracy, "o", color=COLORS[0], mfc=fill, clip_on=False,
                label="accuracy" if enough else f"accuracy of fewer than {FEW} images",
            )  # fmt: skip
        axis.set(title=title, xlabel="confidence (largest probability)", xlim=(0, 1), ylim=(0, 1))
        axis.set_xticks(np.linspace(0, 1, 5))
    figure.set_layout_engine("constrained", w_pad=0.12)
    axes[0, 0].set_ylabel("accuracy; fraction of images")
    handles = axes[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=2, fontsize=9)
    return figure


def dots(values: Mapping[str, np.ndarray], label: str, *, reference: bool = False) -> Figure:
    """One row a name: each value a dot, and a bar at their mean.

    Args:
        values: by name, top to bottom: (V,), such as the accuracy of each fold or seed in percent.
        label: of the axis.
        reference: mark the first row's mean by a dashed line through all rows.
    """
    figure, axis = plt.subplots(figsize=(6.6, 0.9 + 0.4 * len(values)))
    for place, row in enumerate(values.values()):
        # Equal values would hide one another: a fixed fan, not jitter, keeps them apart.
        fan = place + np.linspace(-0.16, 0.16, len(row))
        axis.plot(row, fan, "o", color=COLORS[0], markersize=5, alpha=0.85)
        axis.plot([np.mean(row)] * 2, [place - 0.3, place + 0.3], color=COLORS[1], linewidth=2)
    if reference:
        first = np.mean(next(iter(values.values())))
        axis.axvline(first, linestyle="--", color="0.6", linewidth=1)
    axis.set(yticks=range(len(values)), yticklabels=list(values), xlabel=label)
    axis.set_ylim(len(values) - 0.5, -0.5)
    axis.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    axis.ticklabel_format(axis="x", useOffset=False)
    axis.grid(visible=False, axis="y")
    return figure


def face_grid(
    images: np.ndarray, titles: Sequence[str], *, columns: int = 8, scale: int = 2, credit: str = ""
) -> Figure:
    """Small faces in rows, each with a title of one or two lines under it.

    Args:
        images: (N, H, W) uint8.
        titles: N texts.
        columns: faces in a row.
        scale: screen pixels for each pixel of the face, 1 or 2.
        credit: copyright line, drawn into the figure.

    Raises:
        ValueError: if titles and images differ in number, or there is no image.
    """
    if len(images) == 0 or len(images) != len(titles):
        raise ValueError(f"{len(images)} images and {len(titles)} titles cannot be drawn")
    rows = -(-len(images) // columns)
    side = images.shape[1] * scale / DPI
    lines = max(title.count("\n") for title in titles) + 1
    # Room for titles: about 17 characters of 7 points in a row, 0.125 inch a line.
    cell = max(side + 0.08, 0.98), side + 0.1 + 0.125 * lines
    foot = 0.22 if credit else 0.0
    size = cell[0] * columns, cell[1] * rows + foot
    figure = plt.figure(figsize=size)
    figure.set_layout_engine("none")  # positions are computed here
    for place, (image, title) in enumerate(zip(images, titles, strict=True)):
        row, column = divmod(place, columns)
        left = column * cell[0] + (cell[0] - side) / 2
        bottom = size[1] - row * cell[1] - side - 0.04
        axis = figure.add_axes((left / size[0], bottom / size[1], side / size[0], side / size[1]))
        axis.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        _title_below(axis, title)
    if credit:
        figure.text(0.5, 0.04 / size[1], credit, ha="center", va="bottom", fontsize=8)
    return figure


def _title_below(axis: Axes, title: str) -> None:
    axis.set_axis_off()
    axis.text(0.5, -0.03, title, transform=axis.transAxes, ha="center", va="top", fontsize=7)
