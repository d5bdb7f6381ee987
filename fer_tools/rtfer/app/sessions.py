"""What stands behind the page of `fer app`: tabs and their files, models, videos and pictures.

Nothing of the page itself is in here, so that all of it can be used without a browser. Uploads and
results lie in one temporary folder; a tab's files go when it is closed, the folder with the server.
"""

import shutil
import tempfile
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fer_lib.data.images import read_rgb
from fer_lib.errors import UserError
from fer_lib.evaluation.intensity import TASKS_WITH_INTENSITIES
from fer_lib.faces.detection import crop_face, find_detector, to_grey
from fer_lib.inference.recognizer import Recogniser, find_weights, valence, valence_shares
from fer_lib.labels import FER_CLASSES, TASKS
from fer_lib.paths import build_folder
from fer_tools.rtfer.analyze import facts, without_brief_finds
from fer_tools.rtfer.app import page as page
from fer_tools.rtfer.engine import SMALLEST, Engine, Seen, analyse
from fer_tools.rtfer.html_report import figure, write_page
from fer_tools.rtfer.session import CAVEAT, in_words
from fer_tools.rtfer.valence import save_line
from fer_tools.rtfer.video_reader import Frame, VideoInfo, video_info
from fer_tools.rtfer.video_writer import AnnotatedFilm

TELL_EVERY = 5.0  # seconds between two sentences for a screen reader


@dataclass(frozen=True)
class Limits:
    """What may be uploaded: length of a video in minutes, size of a file in megabytes."""

    minutes: float = 30.0
    megabytes: float = 500.0


@dataclass
class Live:
    """A webcam's engine and its line so far; `settings` are what the engine was made with."""

    settings: tuple
    engine: Engine
    started: float  # of time.monotonic
    history: deque[tuple[float, list[Seen]]] = field(default_factory=lambda: deque(maxlen=600))
    told_at: float = -TELL_EVERY


@dataclass
class Tab:
    """What one browser tab holds: its files, its camera's line, and whether to stop its work."""

    folder: Path
    uploads: set[Path] = field(default_factory=set)
    stop: threading.Event = field(default_factory=threading.Event)
    live: Live | None = None


class Stopped(Exception):
    """The user, or the end of the tab, stopped a video's analysis."""


class Desk:
    """The tabs that are open, and the one temporary folder with all their files."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        self.folder, self.limits = folder, limits
        self._tabs: dict[str, Tab] = {}
        self._lock = threading.Lock()

    def tab(self, name: str) -> Tab:
        """The tab of that name; a new one gets a folder of its own."""
        with self._lock:
            if name not in self._tabs:
                folder = Path(tempfile.mkdtemp(prefix="tab-", dir=self.folder))
                self._tabs[name] = Tab(folder)
            return self._tabs[name]

    def tabs(self) -> list[Tab]:
        """All that are open."""
        with self._lock:
            return list(self._tabs.values())

    def keep_only(self, name: str, uploads: list[Path]) -> None:
        """Forget a tab's results and earlier uploads: others take their place."""
        tab = self.tab(name)
        for old in tab.folder.iterdir():
            old.unlink(missing_ok=True)
        with self._lock:
            before, tab.uploads = tab.uploads, set(uploads)
            self._remove(before - tab.uploads)

    def close(self, name: str) -> None:
        """Stop a tab's work and delete its files."""
        with self._lock:
            tab = self._tabs.pop(name, None)
            if tab is None:
                return
            tab.stop.set()
            shutil.rmtree(tab.folder, ignore_errors=True)
            self._remove(tab.uploads)
            for stray in self.folder.iterdir():  # Gradio leaves an empty file for each upload
                if stray.is_file() and stray.stat().st_size == 0:
                    stray.unlink(missing_ok=True)

    def close_all(self) -> None:
        """Stop all work and delete the folder."""
        for name in list(self._tabs):
            self.close(name)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _remove(self, uploads: set[Path]) -> None:
        """Delete uploads that no other tab uses: the same bytes share one file."""
        used = set().union(*(tab.uploads for tab in self._tabs.values()))
        for file in uploads - used:
            shutil.rmtree(file.parent, ignore_errors=True)


# ------------------------------------------------------------------------------ what is found here


def find_models(wanted: str | None = None) -> dict[str, str]:
    """Models to choose from, label to name or file; `wanted` comes first.

    Raises:
        UserError: if `wanted` is not there, or nothing trained is found.
    """
    found: dict[str, str] = {}
    if wanted:
        found[_model_label(wanted)] = wanted
    for task in TASKS:
        try:
            found.setdefault(_model_label(task), task)
        except UserError:
            continue
    if not found:
        find_weights("fer13-7")  # raises, telling where it looked
    return found


def _model_label(name: str) -> str:
    """`fer13-7 (7 classes)`; with a warning where the model has seen drawn faces alone."""
    path = find_weights(name)
    more = ", intensities" if name in TASKS_WITH_INTENSITIES else ""
    label = f"{name} ({len(TASKS[name])} classes{more})" if name in TASKS else path.name
    drawn = path.resolve().is_relative_to(build_folder("sample").resolve())
    return f"{label}, trained on drawn faces" if drawn else label


def find_detectors() -> dict[str, str]:
    """Detectors to choose from, label to name: those whose files are there."""
    found = {}
    for label, name in (("Haar", "haar"), ("YuNet", "yunet")):
        try:
            find_detector(name)
        except UserError:
            continue
        found[label] = name
    return found


@cache
def recogniser(model: str) -> Recogniser:
    """The model, loaded once for all tabs."""
    return Recogniser.load(model)


def make_engine(model: str, detector: str, seconds: float) -> Engine:
    """A new engine; each video and each camera has its own."""
    finder = find_detector(detector, SMALLEST)
    return Engine(recogniser(model), finder, smoothing_seconds=seconds)


# ----------------------------------------------------------------------------------------- a video


@dataclass(frozen=True)
class Result:
    """What came of a video: its files, its line, and as HTML that it is done, and what it shows."""

    film: Path
    csv: Path
    report: Path
    plot: Any
    done: str
    words: str


def check_video(path: Path, limits: Limits) -> str:
    """Refuse a video that is too long before any work is done; else tell what it is."""
    info = video_info(path)
    seconds = _seconds(info)
    _check_length(path, seconds, limits)
    length = f"about {seconds:.0f} seconds, {info.frames} frames" if seconds else "length unknown"
    return f"{path.name}: {length}. Press Analyse."


def _seconds(info: VideoInfo) -> float:
    """The length that a header tells, 0 where it does not."""
    return info.frames / info.frames_per_second if info.frames_per_second else 0.0


def _check_length(path: Path, seconds: float, limits: Limits) -> None:
    if seconds > 60 * limits.minutes:
        raise UserError(
            f"{path.name} is longer than {limits.minutes:g} minutes: cut it, or start "
            "`fer app --max-minutes` with a higher limit."
        )


def watch_video(
    path: Path, tab: Tab, engine: Engine, limits: Limits, on_progress: Callable[[int, int], None]
) -> Result:
    """Analyse a video and write the annotated film, the table and the report into the tab's folder.

    Args:
        path: the upload.
        tab: whose folder is written to, and whose `stop` ends the work.
        engine: finds and scores faces.
        limits: a video whose header hides its length is stopped at the limit.
        on_progress: called after each frame as `on_progress(frames done, frames in all)`.

    Raises:
        UserError: if the file is no video, is too long, or shows no face.
        Stopped: if `tab.stop` was set.
    """
    info = video_info(path)
    target = tab.folder / "annotated.mp4"
    with AnnotatedFilm(target, _seconds(info), info.frames_per_second or 25.0) as film:

        def on_frame(frame: Frame, seen: list[Seen]) -> None:
            if tab.stop.is_set():
                raise Stopped
            _check_length(path, frame.time_s, limits)
            film.add(frame, seen)
            on_progress(frame.index + 1, max(info.frames, frame.index + 1))

        table = analyse(path, engine, on_frame=on_frame)
    if not table.face_found.any():
        raise UserError(
            f"No face was found in {path.name}: use a video in which a face is seen from the "
            "front, or choose the other detector."
        )
    return _write_result(path, table, tab.folder, target)


def _write_result(path: Path, table: pd.DataFrame, folder: Path, film: Path) -> Result:
    told = facts(table)  # without what was taken for a face for a moment
    shown = without_brief_finds(table, told)
    csv, report = folder / "valence.csv", folder / "valence.html"
    save_line(table, csv)
    write_page(shown, told, report, f"Valence of {path.name}")
    words = []
    for number, fact in told.items():
        text = in_words(fact, caveat=False)  # told once, not for every face
        words.append(page.told(f"Face {number}: {text}" if len(told) > 1 else text))
        words.append(page.moments(fact["change_points"]))
    ended = table.attrs.get("ended", "whole")
    brief = "Done." if ended == "whole" else f"{ended}."
    brief += f" {table.frame.nunique()} frames, {len(told)} face(s)."
    words.append(page.told(CAVEAT))
    done = page.told(brief, "said" if ended == "whole" else "error")
    plot = figure(shown, told)
    plot.update_layout(margin_t=72)  # room for the label that Gradio lays over it
    return Result(film, csv, report, plot, done, "".join(words))


# --------------------------------------------------------------------------------------- a picture


def read_picture(path: Path, model: str, detector: str) -> str:
    """A picture with its faces boxed and their class bars below, as HTML.

    Raises:
        UserError: if it cannot be read.
    """
    rgb = read_rgb(path)
    finder = find_detector(detector)
    found = finder(rgb)
    if not found:
        none = f"{path.name}: no face was found. A large face, seen from the front, is found best."
        return page.picture(rgb, [], none, page.told(none))
    network = recogniser(model)
    grey = to_grey(rgb)
    crops = np.stack([crop_face(grey, box, finder.margin) for box in found])
    shares, strengths = network.read(crops)
    scores = valence(shares, network.classes)
    three = valence_shares(shares, network.classes)
    seen = [
        Seen(
            number + 1, box, three[number], float(scores[number]), float(scores[number]), True,
            network.classes[shares[number].argmax()],
            None if strengths is None else strengths[number],
        )
        for number, box in enumerate(found)
    ]  # fmt: skip
    words, below = [], []
    for face, row in zip(seen, shares, strict=True):
        words.append(
            f"face {face.face_id} looks {face.emotion} ({row.max():.0%}), "
            f"valence {face.valence:+.2f}"
        )
        below.append(page.bars(words[-1].capitalize(), network.classes, row))
        if face.intensities is not None:
            strong = f"How strong each is in face {face.face_id}, from 0 to 1"
            below.append(page.bars(strong, FER_CLASSES, face.intensities, percent=False))
    return page.picture(rgb, seen, f"{path.name}: {'; '.join(words)}", "".join(below))
