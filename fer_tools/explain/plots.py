"""Figures about a network's inside: feature spaces, attribution maps, channel weights, deletion."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fer_lib.plots.style import COLORS

HEAT = "viridis"  # perceptually uniform, and safe for color blindness
MARKERS = "osv^DPX"
CLASS_COLORS = [COLORS[i] for i in (0, 1, 2, 3, 4, 9, 7)]  # neutral is gray, no two are alike
STYLES = ("-o", "--s", "-.^", ":D")


def spaces(
    projections: Mapping[str, np.ndarray], labels: np.ndarray, classes: Sequence[str]
) -> Figure:
    """Feature spaces in two dimensions, one panel each; a class has one color and one marker.

    Args:
        projections: by panel title: (N, 2), such as from t-SNE. The axes have no unit.
        labels: (N,) int.
        classes: their names, at most seven.
    """
    rows = -(-len(projections) // 2)
    figure, axes = plt.subplots(rows, 2, figsize=(8, 3.9 * rows), squeeze=False)
    order = np.random.default_rng(0).permutation(len(labels))  # so that no class hides the others
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    for axis, (title, points) in zip(axes.flat, projections.items(), strict=False):
        for layer in np.array_split(order, 12):
            for k in range(len(classes)):
                some = points[layer[labels[layer] == k]]
                axis.plot(*some.T, MARKERS[k], color=CLASS_COLORS[k], ms=3.5, mew=0, alpha=0.8)
        axis.set_title(title)
    handles = [
        plt.Line2D([], [], ls="", marker=MARKERS[k], color=CLASS_COLORS[k], label=name)
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
    """One row a face: the face, Grad-CAM over it, and the spatial attention of each CBAM.

    Args:
        images: (N, 48, 48) uint8.
        names: N texts of one or two lines.
        cams: (N, h, w) >= 0; colored from 0 to the maximum of each face.
        attention: by column title: (N, H, W) in [0, 1], colored from 0 to 1.
    """
    titles = ["face", "Grad-CAM", *attention]
    size = 0.86 * len(titles) + 1.2, 0.86 * len(images) + 0.8
    figure, axes = plt.subplots(len(images), len(titles), figsize=size, squeeze=False)
    for row, image, name, cam in zip(axes, images, names, cams, strict=True):
        _face(row[0], image)
        _face(row[1], image, cam)
        _row_title(row[0], name)
    shown = None
    for column, weights in zip(axes[:, 2:].T, attention.values(), strict=True):
        for axis, spatial in zip(column, weights, strict=True):
            shown = axis.imshow(spatial, cmap=HEAT, vmin=0, vmax=1, interpolation="nearest")
            axis.set_axis_off()
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=8)
    if shown is not None:
        bar = figure.colorbar(shown, ax=axes[-1, 2:], location="bottom", shrink=0.8, aspect=30)
        bar.set_label("spatial attention", fontsize=8)
        bar.ax.tick_params(labelsize=8)
    return figure


def class_maps(faces: np.ndarray, rows: Mapping[str, np.ndarray], classes: Sequence[str]) -> Figure:
    """One column a class, one row a kind of map, each over the mean face of the class.

    Args:
        faces: (K, 48, 48) gray values.
        rows: by name: (K, h, w) >= 0; colored from 0 to the maximum of each map.
        classes: K names.
    """
    size = 1.05 * len(classes) + 1.1, 1.15 * len(rows) + 0.2
    figure, axes = plt.subplots(len(rows), len(classes), figsize=size, squeeze=False)
    for row, (name, values) in zip(axes, rows.items(), strict=True):
        for axis, face, cam in zip(row, faces, values, strict=True):
            _face(axis, face, cam)
        _row_title(row[0], name)
    for axis, name in zip(axes[0], classes, strict=True):
        axis.set_title(name, fontsize=9)
    return figure


def channels(
    weights: Mapping[str, np.ndarray], between: Mapping[str, np.ndarray], chance: float
) -> Figure:
    """Each channel a dot: how much its weight varies over faces, and how much of that by class.

    Args:
        weights: by panel title: (N, C) in (0, 1).
        between: by panel title: (C,) from `attribution.eta_squared`.
        chance: its expected value for random classes.
    """
    figure, axes = plt.subplots(
        1, len(weights), figsize=(2.3 * len(weights) + 0.6, 2.9), sharey=True, squeeze=False
    )
    for axis, (title, values) in zip(axes[0], weights.items(), strict=True):
        axis.axhline(chance, ls="--", lw=1, color="0.4")
        axis.plot(values.std(axis=0), between[title], "o", ms=3, alpha=0.5, color=COLORS[0])
        axis.set(title=title, xlim=(-0.02, 0.52), ylim=(-0.04, 1.04))
        axis.set_xlabel("standard deviation")
    axes[0, 0].set_ylabel("η², variance by class")
    return figure


def deletion(occluded: np.ndarray, curves: Mapping[str, np.ndarray]) -> Figure:
    """Mean probability of the predicted class against the occluded fraction of the face.

    Args:
        occluded: (S,) in [0, 1].
        curves: by name of the order: (N, S) probabilities.
    """
    figure, axis = plt.subplots(figsize=(6.2, 3.6))
    for style, color, (name, values) in zip(STYLES, COLORS, curves.items(), strict=False):
        axis.plot(100 * occluded, values.mean(axis=0), style, color=color, label=name)
    axis.set(xlabel="face occluded, %", ylabel="probability of the prediction", ylim=(0, 1))
    axis.legend(title="occluded first", loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _face(axis: Axes, image: np.ndarray, cam: np.ndarray | None = None) -> None:
    """A face of 48 x 48 pixels, and over it a map of any size."""
    axis.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axis.set_axis_off()
    if cam is not None:
        axis.imshow(
            cam, cmap=HEAT, vmin=0, vmax=max(float(cam.max()), 1e-9),
            extent=(-0.5, 47.5, 47.5, -0.5), interpolation="bilinear", alpha=0.55,
        )  # fmt: skip


def _row_title(axis: Axes, title: str) -> None:
    axis.text(-0.1, 0.5, title, transform=axis.transAxes, ha="right", va="center", fontsize=8)
