"""Plots of a valence line: alone, beside frames of the video, and on a frame.

Each function returns a matplotlib Figure; `table` has one row a frame, see `engine.largest_face`.
"""

from collections.abc import Sequence

import cv2
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from fer_lib.labels import VALENCE_CLASSES
from fer_lib.plots.style import COLORS
from fer_tools.rtfer.session import PROBABILITIES, clock, gaps, lines
from fer_tools.rtfer.video_reader import Frame

FRAME_WIDTH = 150  # pixels: as much as a page shows of one of several frames
GAP_COLOR = "#d9d9d9"
# seaborn's colour-blind safe set, those of 3 : 1 contrast on white and on black.
FACE_COLORS = ("#0173b2", "#d55e00", "#029e73", "#cc78bc")


def line_plot(table: pd.DataFrame, truth: pd.DataFrame | None = None) -> Figure:
    """The line of each face over time, frame by frame and smoothed with its uncertainty.

    Grey is where no face at all was seen. Several faces differ in colour and dash, and the end of
    each line says whose it is.

    Args:
        table: of one video, of one face or several (column face_id); the band is drawn where there
            is a column valence_sd.
        truth: columns time_s, valence, face_present; drawn dashed where the face is present.
    """
    figure, axis = plt.subplots(figsize=(8.4, 3.2))
    _shade_gaps(axis, table)
    faces = lines(table)
    for number, (face, line) in enumerate(faces.items()):
        _draw_face(axis, line, number, f"face {face}" if len(faces) > 1 else "")
    if truth is not None:
        shown = truth.valence.where(truth.face_present == 1)
        axis.plot(truth.time_s, shown, ls="--", lw=1.6, color=COLORS[3], label="truth")
    _valence_axis(axis, table)
    handles, names = axis.get_legend_handles_labels()
    if handles:
        axis.legend(
            handles, names, loc="upper center", bbox_to_anchor=(0.5, -0.2),
            ncols=min(len(names), 5),
        )  # fmt: skip
    return figure


def _draw_face(axis: Axes, line: pd.DataFrame, number: int, name: str) -> None:
    """One face's line; without a name it is the only one, and its parts are named instead."""
    color = FACE_COLORS[number % len(FACE_COLORS)]
    dash = ("-", "--", ":")[number // len(FACE_COLORS) % 3]
    faint = "0.55" if not name else color
    axis.plot(
        line.time_s, line.valence, lw=0.9, color=faint, alpha=1 if not name else 0.4,
        label=None if name else "frame by frame",
    )  # fmt: skip
    level = line.valence_smooth
    axis.plot(line.time_s, level, dash, lw=2.2, color=color, label=name or "smoothed")
    if "valence_sd" in line and line.valence_sd.notna().any():
        low, high = ((level + side * 1.96 * line.valence_sd).clip(-1, 1) for side in (-1, 1))
        axis.fill_between(
            line.time_s.to_numpy(), low.to_numpy(), high.to_numpy(), color=color, alpha=0.25,
            lw=0, label=None if name else "uncertainty",
        )  # fmt: skip
    if name and level.notna().any():
        end = level.last_valid_index()
        axis.annotate(
            name, (line.time_s[end], level[end]), xytext=(5, 0), textcoords="offset points",
            va="center", fontsize=8, annotation_clip=False,
        )  # fmt: skip


def frame_strip(frames: Sequence[Frame], table: pd.DataFrame, columns: int = 4) -> Figure:
    """Frames with the face's box and its class, in rows.

    Args:
        frames: what to show, at most a dozen.
        table: of the same video.
        columns: frames in a row.
    """
    rows = -(-len(frames) // columns)
    height, width = frames[0].rgb.shape[:2]
    size = (1.38 * columns, (1.38 * height / width + 0.32) * rows)
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, frame in zip(axes.flat, frames, strict=False):
        row = table.iloc[frame.index]
        _draw_frame(axis, frame, row)
        axis.set_title(f"{frame.time_s:.1f} s: {describe_row(row)}", fontsize=7, weight="normal")
    return figure


def line_on_frame(frame: Frame, table: pd.DataFrame) -> Figure:
    """One moment of a video as a user sees it: the frame, the face, and the line so far.

    Args:
        frame: the moment.
        table: of the same video; what comes after the moment is not drawn.
    """
    height, width = frame.rgb.shape[:2]
    figure, (top, bottom) = plt.subplots(
        2, 1, figsize=(4.6, 4.2 * height / width + 1.5), height_ratios=(4.2 * height / width, 1.5)
    )
    row = table.iloc[frame.index]
    top.set_axis_off()
    _draw_frame(top, frame, row, 3 * FRAME_WIDTH)
    top.set_title(f"{frame.time_s:.1f} s: {describe_row(row)}", fontsize=9, weight="normal")
    past = table.iloc[: frame.index + 1]
    _shade_gaps(bottom, past)
    bottom.plot(past.time_s, past.valence_smooth, lw=2, color=COLORS[0])
    bottom.plot(row.time_s, row.valence_smooth, "o", color=COLORS[0])
    _valence_axis(bottom, table)
    return figure


def describe_row(row: pd.Series) -> str:
    """`positive 0.93` for a row of the table, `no face` in a gap."""
    if not row.face_found:
        return "no face"
    probabilities = row[PROBABILITIES].to_numpy(dtype=np.float64)
    return f"{VALENCE_CLASSES[int(probabilities.argmax())]} {probabilities.max():.2f}"


def evenly_spaced_rows(table: pd.DataFrame, count: int = 8) -> list[int]:
    """Rows in the middle of `count` equally long parts of the video: nothing is picked by looks."""
    middle = (np.arange(count) + 0.5) / count
    times = table.time_s.iloc[0] + middle * np.ptp(table.time_s)
    return sorted({int(np.abs(table.time_s - time).argmin()) for time in times})


def _draw_frame(axis: Axes, frame: Frame, row: pd.Series, width: int = FRAME_WIDTH) -> None:
    """Draw a frame, scaled down, with the box of the row's face."""
    scale = min(1.0, width / frame.rgb.shape[1])
    small = cv2.resize(frame.rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    axis.imshow(small)
    if row.face_found:
        x, y, w, h = (scale * float(row[side]) for side in "xywh")
        # White under colour: the box shows on any background.
        for color, line in (("white", 3.0), (COLORS[_state_color(row)], 1.6)):
            axis.add_patch(Rectangle((x, y), w, h, fill=False, edgecolor=color, linewidth=line))


def _state_color(row: pd.Series) -> int:
    """Place in the palette: orange negative, blue neutral, green positive."""
    return (1, 0, 2)[int(row[PROBABILITIES].to_numpy(dtype=np.float64).argmax())]


def _shade_gaps(axis: Axes, table: pd.DataFrame) -> None:
    """Grey from the last frame with a face to the next one."""
    for number, (start, end) in enumerate(gaps(table)):
        label = "no face seen" if number == 0 else None
        axis.axvspan(start, end, color=GAP_COLOR, lw=0, zorder=0, label=label)


def _valence_axis(axis: Axes, table: pd.DataFrame) -> None:
    axis.axhline(0, color="0.4", lw=0.8)
    axis.set(xlabel="time, seconds", ylabel="valence", ylim=(-1.05, 1.05))
    if len(table) and np.ptp(table.time_s) > 0:
        axis.set_xlim(table.time_s.min(), table.time_s.max())
        if table.time_s.max() >= 120:
            axis.xaxis.set_major_formatter(lambda seconds, _: clock(seconds))
            axis.set_xlabel("time, minutes:seconds")
    axis.set_yticks([-1, 0, 1], ["-1 negative", "0 neutral", "+1 positive"])
