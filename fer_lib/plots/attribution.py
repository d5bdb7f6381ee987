"""Figures about the inside of a network: spaces, maps on faces, channel weights, covered faces."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from fer_lib.plots.style import COLORS

HEAT = "viridis"  # even in lightness, and readable with every kind of colour blindness
MARKERS = "osv^DPX"
CLASS_COLORS = (0, 1, 2, 3, 4, 9, 7)  # of the palette: neutral is grey, no two are alike
STYLES = ("-o", "--s", "-.^", ":D")


def spaces(
    pictures: Mapping[str, np.ndarray], labels: np.ndarray, classes: Sequence[str]
) -> Figure:
    """Pictures of feature spaces, one panel each; a class has one colour and one marker.

    Args:
        pictures: by panel title: (N, 2), such as t-SNE gives. Axes have no unit, so none is shown.
        labels: (N,) int.
        classes: their names, at most seven.
    """
    rows = -(-len(pictures) // 2)
    figure, axes = plt.subplots(rows, 2, figsize=(8, 3.9 * rows), squeeze=False)
    order = np.random.default_rng(0).permutation(len(labels))  # so that no class covers the others
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    for axis, (title, points) in zip(axes.flat, pictures.items(), strict=False):
        for layer in np.array_split(order, 12):
            for k in range(len(classes)):
                some = points[layer[labels[layer] == k]]
                axis.plot(*some.T, MARKERS[k], color=_class_color(k), ms=3.5, mew=0, alpha=0.8)
        axis.set_title(title)
    handles = [
        plt.Line2D([], [], ls="", marker=MARKERS[k], color=_class_color(k), label=name)
        for k, name in enumerate(classes)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(classes), fontsize=9)
    return figure


def maps(
    images: np.ndarray,
    names: Sequence[str],
    cams: np.ndarray,
    attention: Mapping[str, np.ndarray],
) -> Figure:
    """One row a face: the face, Grad-CAM over it, and the place weights of each CBAM.

    Args:
        images: (N, 48, 48) uint8.
        names: N texts of one or two lines.
        cams: (N, h, w) >= 0; coloured from 0 to the face's own largest value.
        attention: by column title: (N, H, W) in [0, 1], coloured from 0 to 1.
    """
    titles = ["face", "Grad-CAM", *attention]
    size = 0.86 * len(titles) + 1.2, 0.86 * len(images) + 0.8
    figure, axes = plt.subplots(len(images), len(titles), figsize=size, squeeze=False)
    for row, image, name, cam in zip(axes, images, names, cams, strict=True):
        for axis in row[:2]:
            _face(axis, image)
        _over(row[1], cam)
        row[0].text(
            -0.1, 0.5, name, transform=row[0].transAxes, ha="right", va="center", fontsize=8
        )
    shown = None
    for column, weights in zip(axes[:, 2:].T, attention.values(), strict=True):
        for axis, places in zip(column, weights, strict=True):
            shown = axis.imshow(places, cmap=HEAT, vmin=0, vmax=1, interpolation="nearest")
            axis.set_axis_off()
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=8)
    if shown is not None:
        bar = figure.colorbar(shown, ax=axes[-1, 2:], location="bottom", shrink=0.8, aspect=30)
        bar.set_label("weight of a place", fontsize=8)
        bar.ax.tick_params(labelsize=8)
    return figure


def class_maps(faces: np.ndarray, rows: Mapping[str, np.ndarray], classes: Sequence[str]) -> Figure:
    """One column a class, one row a kind of map, each over the mean face of the class.

    Args:
        faces: (K, 48, 48) grey levels.
        rows: by name: (K, h, w) >= 0; coloured from 0 to the map's own largest value.
        classes: K names.
    """
    size = 1.05 * len(classes) + 1.1, 1.15 * len(rows) + 0.2
    figure, axes = plt.subplots(len(rows), len(classes), figsize=size, squeeze=False)
    for row, (name, values) in zip(axes, rows.items(), strict=True):
        for axis, face, one in zip(row, faces, values, strict=True):
            _face(axis, face)
            _over(axis, one)
        row[0].text(
            -0.1, 0.5, name, transform=row[0].transAxes, ha="right", va="center", fontsize=8
        )
    for axis, name in zip(axes[0], classes, strict=True):
        axis.set_title(name, fontsize=9)
    return figure


def channels(
    weights: Mapping[str, np.ndarray], between: Mapping[str, np.ndarray], chance: float
) -> Figure:
    """Each channel a dot: how much its weight varies over faces, and how much of that is the class.

    Args:
        weights: by panel title: (N, C) in (0, 1).
        between: by panel title: (C,) share of the variance that lies between classes.
        chance: what that share would be of classes drawn by lot.
    """
    figure, axes = plt.subplots(
        1, len(weights), figsize=(2.3 * len(weights) + 0.6, 2.9), sharey=True, squeeze=False
    )
    for axis, (title, values) in zip(axes[0], weights.items(), strict=True):
        axis.axhline(chance, ls="--", lw=1, color="0.4")
        axis.plot(values.std(axis=0), between[title], "o", ms=3, alpha=0.5, color=COLORS[0])
        axis.set(title=title, xlim=(-0.02, 0.52), ylim=(-0.04, 1.04))
        axis.set_xlabel("deviation over faces")
    axes[0, 0].set_ylabel("share between classes")
    return figure


def deletion(shares: np.ndarray, curves: Mapping[str, np.ndarray]) -> Figure:
    """Mean probability of the answer against the share of the face that is covered.

    Args:
        shares: (S,) in [0, 1].
        curves: by name of the order: (N, S) probabilities.
    """
    figure, axis = plt.subplots(figsize=(6.2, 3.6))
    for number, (name, values) in enumerate(curves.items()):
        axis.plot(
            100 * shares, values.mean(axis=0), STYLES[number], color=COLORS[number], label=name
        )
    axis.set(xlabel="part of the face covered, %", ylabel="probability of the answer", ylim=(0, 1))
    axis.legend(title="covered first", loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _face(axis: Axes, image: np.ndarray) -> None:
    axis.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axis.set_axis_off()


def _over(axis: Axes, values: np.ndarray) -> AxesImage:
    """A map of any size over the 48 pixels of a face."""
    top = max(float(values.max()), 1e-9)
    return axis.imshow(
        values, cmap=HEAT, vmin=0, vmax=top, extent=(-0.5, 47.5, 47.5, -0.5),
        interpolation="bilinear", alpha=0.55,
    )  # fmt: skip


def _class_color(label: int) -> str:
    return COLORS[CLASS_COLORS[label]]
