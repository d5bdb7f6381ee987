"""Behind the page of `fer app`: client sessions and their files, models, videos and images.

Nothing of the page itself is in here, so that all of it can be used without a browser. Uploads and
results lie in one temporary folder; a tab's files go when it is closed, the folder with the server.
What a killed server left is removed by the next one.
"""

import itertools
import os
import re
import shutil
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from fer_lib.data.images import read_rgb
from fer_lib.errors import UserError
from fer_lib.evaluation.intensity import TASKS_WITH_INTENSITIES
from fer_lib.labels import FER_CLASSES, TASKS
from fer_lib.paths import build_folder
from fer_lib.processes import runs
from fer_tools.inference.recognizer import Recognizer, find_weights
from fer_tools.rtfer.analyze import describe_faces, without_brief_faces
from fer_tools.rtfer.app import page
from fer_tools.rtfer.defaults import MODEL, SMALLEST_FACE, SMALLEST_IN_IMAGE
from fer_tools.rtfer.detectors import available_detectors, find_detector
from fer_tools.rtfer.engine import Engine, FaceObservation, analyze
from fer_tools.rtfer.html_report import figure, write_page
from fer_tools.rtfer.session import CAVEAT, summarize
from fer_tools.rtfer.valence import save_line
from fer_tools.rtfer.video_reader import Frame, VideoInfo, video_info
from fer_tools.rtfer.video_writer import AnnotatedVideo

ANNOUNCE_EVERY = 5.0  # seconds between two summaries for a screen reader
STRAY = 600.0  # seconds after which an upload that no session uses is removed
PREFIX = "fer-app-"  # of the temporary folder, before the server's process number


@dataclass(frozen=True)
class Limits:
    """What may be uploaded: length of a video in minutes, size of a file in megabytes."""

    minutes: float = 30.0
    megabytes: float = 500.0


@dataclass
class Webcam:
    """A webcam's engine and its line so far; `settings` are what the engine was made with."""

    settings: tuple
    engine: Engine
    started: float  # of time.monotonic
    history: deque[tuple[float, list[FaceObservation]]] = field(
        default_factory=lambda: deque(maxlen=600)
    )
    announced_at: float = -ANNOUNCE_EVERY


@dataclass
class ClientSession:
    """One browser tab's files, its camera's line, and whether to stop its work."""

    folder: Path
    uploads: set[Path] = field(default_factory=set)
    stop: threading.Event = field(default_factory=threading.Event)
    closed: bool = False
    results: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    webcam: Webcam | None = None


class Closed(Exception):
    """The tab, or the server, was closed while a video was analyzed."""


def new_folder() -> Path:
    """A temporary folder for this server's files; those of servers that are gone are removed."""
    for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        number = re.match(rf"{PREFIX}(\d+)-", left.name)
        if number and not runs(int(number[1])):  # another user's cannot be removed, and stays
            shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-")).resolve()


class SessionStore:
    """The sessions that are open, and the one temporary folder with all their files."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        self.folder, self.limits = folder, limits
        self._sessions: dict[str, ClientSession] = {}
        self._lock = threading.Lock()

    def session(self, name: str) -> ClientSession:
        """The session of that name; a new one gets a folder of its own."""
        with self._lock:
            if name not in self._sessions:
                folder = Path(tempfile.mkdtemp(prefix="session-", dir=self.folder))
                self._sessions[name] = ClientSession(folder)
            return self._sessions[name]

    def sessions(self) -> list[ClientSession]:
        """All that are open."""
        with self._lock:
            return list(self._sessions.values())

    def keep_only(self, name: str, uploads: list[Path]) -> None:
        """Forget a session's results and earlier uploads: others take their place."""
        session = self.session(name)
        for old in session.folder.iterdir():
            shutil.rmtree(old, ignore_errors=True)
        with self._lock:
            before, session.uploads = session.uploads, set(uploads)
            self._remove(before - session.uploads)

    def close(self, name: str) -> None:
        """Stop a session's work and delete its files."""
        with self._lock:
            session = self._sessions.pop(name, None)
            if session is None:
                return
            session.closed = True
            session.stop.set()
            shutil.rmtree(session.folder, ignore_errors=True)
            self._remove(session.uploads)
            for stray in self.folder.iterdir():  # Gradio leaves an empty file for each upload
                if stray.is_file() and stray.stat().st_size == 0:
                    stray.unlink(missing_ok=True)

    def sweep(self, older: float = STRAY) -> None:
        """Delete uploads that no session uses: sent to the server, but to none of its controls.

        Args:
            older: seconds since it came; one that is just arriving is nobody's yet.
        """
        with self._lock:
            in_use = {session.folder for session in self._sessions.values()}
            used = {file.parent for session in self._sessions.values() for file in session.uploads}
            for entry in self.folder.iterdir():
                if entry in in_use or any(folder.is_relative_to(entry) for folder in used):
                    continue
                if time.time() - entry.stat().st_mtime > older:
                    if entry.is_dir():
                        shutil.rmtree(entry, ignore_errors=True)
                    else:
                        entry.unlink(missing_ok=True)

    def close_all(self) -> None:
        """Stop all work and delete the folder."""
        for name in list(self._sessions):
            self.close(name)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _remove(self, uploads: set[Path]) -> None:
        """Delete uploads that no other session uses: the same bytes share one file."""
        used = set().union(*(session.uploads for session in self._sessions.values()))
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
    for task in dict.fromkeys((MODEL, *TASKS)):
        try:
            found.setdefault(_model_label(task), task)
        except UserError:
            continue
    if not found:
        find_weights("fer13-7")  # raises, saying where it looked
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
    labels = {"haar": "Haar", "yunet": "YuNet"}
    return {labels[name]: name for name in available_detectors()}


@cache
def recognizer(model: str) -> Recognizer:
    """The model, loaded once for all sessions."""
    return Recognizer.load(model)


def make_engine(model: str, detector: str, seconds: float) -> Engine:
    """A new engine; each video and each camera has its own."""
    return Engine(
        recognizer(model), find_detector(detector, SMALLEST_FACE), smoothing_seconds=seconds
    )


# ----------------------------------------------------------------------------------------- a video


@dataclass(frozen=True)
class Result:
    """What came of a video: its files, its line, and as HTML that it is done, and its summary."""

    video: Path
    csv: Path
    report: Path
    plot: Any
    done: str
    summary: str


def check_video(path: Path, limits: Limits) -> str:
    """Refuse a video that is too long before any work is done; else say what it is."""
    info = video_info(path)
    seconds = _seconds(info)
    _check_length(path, seconds, limits)
    length = f"about {seconds:.0f} seconds, {info.frames} frames" if seconds else "length unknown"
    return f"{path.name}: {length}. Press Analyse."


def _seconds(info: VideoInfo) -> float:
    """The length that a header gives, 0 where it does not."""
    return info.frames / info.frames_per_second if info.frames_per_second else 0.0


def _check_length(path: Path, seconds: float, limits: Limits) -> None:
    if seconds > 60 * limits.minutes:
        raise UserError(
            f"{path.name} is longer than {limits.minutes:g} minutes: cut it, or start "
            "`fer app --max-minutes` with a higher limit."
        )


def annotate_video(
    path: Path,
    session: ClientSession,
    engine: Engine,
    limits: Limits,
    on_progress: Callable[[int, int], None],
) -> Result:
    """Analyze a video; write annotated video, table and report into the session's folder.

    Args:
        path: the upload.
        session: whose folder gets a folder with the results (a name of its own, or the browser
            would show an earlier video that it remembers); its `stop` ends the work, and what was
            analyzed until then is kept.
        engine: finds and scores faces.
        limits: a video whose header hides its length is stopped at the limit.
        on_progress: called after each frame as `on_progress(frames done, frames in all)`.

    Raises:
        UserError: if the file is no video, is too long, or shows no face.
        Closed: if the session was closed.
    """
    info = video_info(path)
    folder = session.folder / str(next(session.results))
    folder.mkdir(parents=True)
    target = folder / "annotated.mp4"
    with AnnotatedVideo(target, _seconds(info), info.frames_per_second or 25.0) as annotated:

        def on_frame(frame: Frame, faces: list[FaceObservation]) -> None:
            if session.closed:
                raise Closed
            _check_length(path, frame.time_s, limits)
            annotated.add(frame, faces)
            if session.stop.is_set():
                session.stop.clear()
                raise KeyboardInterrupt  # as in the terminal: `analyze` keeps what it has
            on_progress(frame.index + 1, max(info.frames, frame.index + 1))

        table = analyze(path, engine, on_frame=on_frame)
    if not table.face_found.any():
        raise UserError(
            f"No face was found in {path.name}: use a video in which a face is seen from the "
            "front, or choose the other detector."
        )
    return _write_result(path, table, folder, target)


def _write_result(path: Path, table: pd.DataFrame, folder: Path, video: Path) -> Result:
    facts_by_face = describe_faces(table)  # without what was taken for a face for a moment
    shown = without_brief_faces(table, facts_by_face)
    csv, report = folder / "valence.csv", folder / "valence.html"
    save_line(table, csv)
    write_page(shown, facts_by_face, report, f"Valence of {path.name}")
    html = []
    for number, facts in facts_by_face.items():
        text = summarize(facts, caveat=False)  # once, not for every face
        html.append(page.message(f"Face {number}: {text}" if len(facts_by_face) > 1 else text))
        html.append(page.moments(facts["change_points"]))
    ended = table.attrs.get("ended", "whole")
    brief = {
        "whole": "Done.",
        "interrupted": "Stopped; this is what was analyzed until then.",
    }.get(ended, f"{ended}.")
    brief += f" {table.frame.nunique()} frames, {len(facts_by_face)} face(s)."
    html.append(page.message(CAVEAT))
    done = page.message(brief, "info" if ended == "whole" else "error")
    plot = figure(shown, facts_by_face)
    plot.update_layout(margin_t=72)  # room for the label that Gradio lays over it
    return Result(video, csv, report, plot, done, "".join(html))


# ---------------------------------------------------------------------------------------- an image


def classify_image(path: Path, model: str, detector: str) -> str:
    """An image with its faces boxed and their class bars below, as HTML.

    Raises:
        UserError: if it cannot be read.
    """
    rgb = read_rgb(path)
    engine = Engine(recognizer(model), find_detector(detector, SMALLEST_IN_IMAGE))
    (faces,) = engine.process_images([rgb])
    if not faces:
        none = f"{path.name}: no face was found. A large face, seen from the front, is found best."
        return page.image(rgb, [], none, page.message(none))
    summaries, below = [], []
    for face in faces:
        summaries.append(
            f"face {face.face_id} looks {face.emotion} ({face.probabilities.max():.0%}), "
            f"valence {face.valence:+.2f}"
        )
        below.append(page.bars(summaries[-1].capitalize(), face.classes, face.probabilities))
        if face.intensities is not None:
            title = f"How strong each is in face {face.face_id}, from 0 to 1"
            below.append(page.bars(title, FER_CLASSES, face.intensities, percent=False))
    return page.image(rgb, faces, f"{path.name}: {'; '.join(summaries)}", "".join(below))
