"""From pictures to valence: the one engine behind notebook, command, app and library.

    from fer_lib.inference.recognizer import Recogniser
    from fer_tools.rtfer.engine import Engine, analyse
    table = analyse("talk.mp4", Engine(Recogniser.load("fer13-3")))

Every face of a frame is found, numbered by a tracker, cut and classified; its score is
P(positive) - P(negative). Where no face is seen there is no score, never a made-up value. A model
with an intensity head also tells how strong each of the seven emotions is.

`Engine.look` takes one frame at a time, as they come. `analyse` takes a recording: reading and
finding faces run in threads of their own, faces are classified many at once, and the line is
smoothed both ways. Memory does not grow with the film, but for 60 bytes a face and frame (92 with
intensities).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from fer_lib.errors import UserError
from fer_lib.evaluation.intensity import valence_of_intensities
from fer_lib.faces.detection import Box, Detector, HaarDetector, crop_face, to_grey
from fer_lib.inference.backend import Reading
from fer_lib.inference.recognizer import Recogniser, valence_shares
from fer_lib.labels import FER_CLASSES, VALENCE_CLASSES, VALENCE_SIGN
from fer_tools.rtfer.smoothing import LiveSmoother, smooth
from fer_tools.rtfer.tracking import Tracker, between
from fer_tools.rtfer.video_reader import Frame, read_frames, video_info

COLUMNS = [
    "frame", "time_s", "face_id", "face_found", "x", "y", "w", "h",
    "p_positive", "p_neutral", "p_negative", "valence", "valence_smooth", "valence_sd",
]  # fmt: skip
INTENSITY_COLUMNS = ["emotion", *(f"intensity_{name}" for name in FER_CLASSES)]
SMALLEST = 0.2  # of the frame's shorter side: who is filmed fills it; smaller finds are often false
BATCH = 32  # faces classified at once: quicker than one by one, and few enough to hold
HELD_BYTES = 200e6  # of frames between reading and `on_frame`; decides how many an 8K film may have
ROW = [
    ("frame", "i8"), ("time_s", "f8"), ("face_id", "i4"), ("box", "i4", 4), ("shares", "f4", 3),
    ("valence", "f8"),
]  # fmt: skip
INTENSITY_ROW = [("emotion", "i4"), ("intensities", "f4", len(FER_CLASSES))]
NOBODY = (0, (0,) * 4, (np.nan,) * 3, np.nan)
NO_INTENSITY = (0, (np.nan,) * len(FER_CLASSES))


@dataclass(frozen=True)
class Seen:
    """One face in one frame.

    Attributes:
        face_id: from 1, kept by the tracker.
        box: pixels of the upright frame; may reach beyond its edge.
        shares: (3,) P(negative), P(neutral), P(positive), see `inference.valence_shares`.
        valence: of this frame, in [-1, 1]; see `Engine` for what it is computed from.
        smooth: the same, smoothed over the frames so far, in [-1, 1].
        fresh: whether the face was found in this very frame, or its box is carried over.
        emotion: the likeliest of the model's classes.
        intensities: (7,) in [0, 1], in the order of `labels.FER_CLASSES`; None from a model without
            an intensity head.
    """

    face_id: int
    box: Box
    shares: np.ndarray
    valence: float
    smooth: float
    fresh: bool
    emotion: str = ""
    intensities: np.ndarray | None = None


class _Spotted(NamedTuple):
    """A frame with the boxes of its faces under their numbers, not yet classified."""

    frame: Frame
    boxes: Mapping[int, Box]
    fresh: bool


class Engine:
    """Finds, follows and scores the faces of one film.

    Args:
        recogniser: a model of three or seven classes, `inference.Recogniser` or what acts like it.
        detector: finds faces; by default Haar, for faces above `SMALLEST`.
        margin: of the crop, see `faces.crop_face`; by default the detector's own.
        every: faces are looked for in every so many frames. Between two of them `look` carries
            boxes over, and `analyse` moves them evenly from one to the other. Measured on a film of
            24 frames a second: with 2 or 3 the valence of a frame moves by 0.01 on average (Haar
            and YuNet; correlation 0.999), a third of what it moves from frame to frame anyway.
        smoothing_seconds: time constant, see `smoothing`; 0 leaves the line as it is.
        valence_from: "classes" for paper A's P(positive) - P(negative), "intensities" for
            `intensity.valence_of_intensities`.

    Raises:
        UserError: if intensities are asked of a model that has none.
    """

    def __init__(
        self,
        recogniser: Recogniser,
        detector: Detector | None = None,
        *,
        margin: float | None = None,
        every: int = 1,
        smoothing_seconds: float = 0.4,
        valence_from: Literal["classes", "intensities"] = "classes",
    ) -> None:
        if every < 1:
            raise ValueError(f"every must be at least 1, not {every}")
        if valence_from == "intensities":
            recogniser.check_intensities()
        self.recogniser = recogniser
        self.detector = detector or HaarDetector(smallest=SMALLEST)
        self.margin = self.detector.margin if margin is None else margin
        self.every = every
        self.smoothing_seconds = smoothing_seconds
        self.valence_from = valence_from
        self.reset()

    def reset(self) -> None:
        """Forget all faces: the next frame begins a new film."""
        self._track = Tracker()
        self._smoothers: dict[int, LiveSmoother] = {}
        self._held: dict[int, Box] = {}
        self._count = 0

    def look(self, rgb: np.ndarray, time_s: float) -> list[Seen]:
        """Score the faces of the next frame.

        Args:
            rgb: (H, W, 3) uint8.
            time_s: seconds, growing from call to call.

        Returns:
            The largest face first; an empty list where none is seen.
        """
        fresh = self._count % self.every == 0
        if fresh:
            self._held = self.spot(rgb, time_s)
        spotted = _Spotted(Frame(self._count, time_s, rgb), self._held, fresh)
        self._count += 1
        return self.score([spotted])[0]

    def spot(self, rgb: np.ndarray, time_s: float) -> dict[int, Box]:
        """Find the faces of a frame and number them; the largest first."""
        return self._track(self.detector(rgb), time_s)

    def score(self, batch: list[_Spotted]) -> list[list[Seen]]:
        """Classify the faces of some frames in a row, at once."""
        crops = [crop for spotted in batch for crop in self._crops(spotted)]
        scores: Iterator[_Score] = iter(())
        if crops:
            scores = self._scores(self.recogniser.read(np.stack(crops)))
        return [self._smoothed(s, {n: next(scores) for n in s.boxes}) for s in batch]

    def _scores(self, reading: Reading) -> "Iterator[_Score]":
        classes, intensities = self.recogniser.classes, reading.intensities
        shares = valence_shares(reading.probabilities, classes)
        values = shares @ VALENCE_SIGN
        if intensities is not None and self.valence_from == "intensities":
            values = valence_of_intensities(intensities)
        for number, best in enumerate(reading.probabilities.argmax(axis=1)):
            own = None if intensities is None else intensities[number]
            yield _Score(shares[number], float(values[number]), classes[best], own)

    def _crops(self, spotted: _Spotted) -> list[np.ndarray]:
        if not spotted.boxes:
            return []
        grey = to_grey(spotted.frame.rgb)
        return [crop_face(grey, box, self.margin) for box in spotted.boxes.values()]

    def _smoothed(self, spotted: _Spotted, scores: "dict[int, _Score]") -> list[Seen]:
        # A smoother lives as long as its face is seen without a break: gaps are not bridged.
        self._smoothers = {
            number: self._smoothers.get(number) or LiveSmoother(self.smoothing_seconds)
            for number in spotted.boxes
        }
        seen = []
        for number, box in spotted.boxes.items():
            one = scores[number]
            level, _ = self._smoothers[number](spotted.frame.time_s, one.valence)
            told = (one.shares, one.valence, level, spotted.fresh, one.emotion, one.intensities)
            seen.append(Seen(number, box, *told))
        return seen


class _Score(NamedTuple):
    """What the network says of one face; see `Seen`."""

    shares: np.ndarray
    valence: float
    emotion: str
    intensities: np.ndarray | None


def analyse(
    path_or_frames: Path | str | Iterable[Frame],
    engine: Engine,
    *,
    on_frame: Callable[[Frame, list[Seen]], object] | None = None,
) -> pd.DataFrame:
    """Score every face of a film.

    Args:
        path_or_frames: a video file, or frames as `video.read_frames` yields them.
        engine: is reset first.
        on_frame: called with each frame and its faces, in order, in the caller's thread. `smooth`
            knows only the frames so far there; in the table it knows all.

    Returns:
        One row a face and frame with `COLUMNS`; a frame without a face has one row. frame (int,
        from 0); time_s (float, seconds); face_id (Int64, from 1); face_found (bool); x, y, w, h
        (Int64, pixels of the upright frame); p_positive, p_neutral, p_negative (in [0, 1]);
        valence, valence_smooth (in [-1, 1]) and its standard deviation valence_sd. With a model
        that gives intensities also `INTENSITY_COLUMNS`: emotion (the likeliest class, a name) and
        intensity_<class> (in [0, 1]). Without a face all but frame, time_s and face_found is
        missing (NA or NaN). `attrs["ended"]` tells how it ended: "whole", "interrupted" (Ctrl-C),
        or in a sentence how much of the file is missing; what was read before is there.

    Raises:
        UserError: if the video cannot be read (see `video.read_frames`), or holds no frame.
        Exception: what `on_frame` raises.
    """
    engine.reset()
    rows = _Rows(engine.recogniser.card.has_intensities)
    batch, ended = list[_Spotted](), "whole"
    path, frames = None, path_or_frames
    if isinstance(frames, Path | str):
        path, frames = Path(frames), read_frames(frames)

    def flush() -> None:
        while batch:
            now, rest = batch[:BATCH], batch[BATCH:]
            batch[:] = rest
            for spotted, seen in zip(now, engine.score(now), strict=True):
                rows.add(spotted.frame, seen)
                if on_frame is not None:
                    on_frame(spotted.frame, seen)

    with closing(_Pipeline(frames, engine)) as pipeline:
        try:
            for spotted in pipeline:
                batch.append(spotted)
                if len(batch) >= min(BATCH, pipeline.room):
                    flush()
        except KeyboardInterrupt:
            ended = "interrupted"
            pipeline.close()
    flush()
    if not rows.count:
        if ended == "whole":
            raise UserError("there was no frame to look at: name a video or a camera that works.")
        raise KeyboardInterrupt
    if path is not None and ended == "whole":
        ended = _missing(path, rows.frames)
    table = rows.table(engine.smoothing_seconds)
    table.attrs["ended"] = ended
    return table


def largest_face(table: pd.DataFrame) -> pd.DataFrame:
    """One row a frame: that of its largest face, or the empty one; row number = frame number."""
    size = (table.w * table.h).fillna(0)
    order = table.assign(size=size).sort_values(["frame", "size"], ascending=[True, False])
    return table.loc[order.drop_duplicates("frame").index].reset_index(drop=True)


# ------------------------------------------------------------------------------------- pipeline


class _Pipeline:
    """Frames in, `_Spotted` out, in order; reading and finding faces each have their own thread.

    FFmpeg and OpenCV let other threads of Python run while they work. Few frames are under way at
    any time: `room` for those that the caller gathers, so many that all take `HELD_BYTES`.
    """

    def __init__(self, frames: Iterable[Frame], engine: Engine) -> None:
        self._engine, self._stop = engine, Event()
        self.room = 1
        self._read: Queue = Queue(maxsize=2)
        self._found: Queue = Queue(maxsize=2)
        jobs = ((lambda: self._measured(frames), self._read), (self._spotted, self._found))
        self._threads = [Thread(target=self._run, args=job, daemon=True) for job in jobs]
        for thread in self._threads:
            thread.start()

    def __iter__(self) -> Iterator[_Spotted]:
        return self._from(self._found)

    def close(self) -> None:
        """Stop both threads; what they hold is dropped."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, make: Callable[[], Iterator], queue: Queue) -> None:
        """Put all that `make` yields, then how it ended: None, or an error."""
        end: BaseException | None = None
        try:
            with closing(make()) as items:  # type: ignore[type-var]
                for item in items:
                    if not self._put(queue, item):
                        return
        except BaseException as error:  # told in the caller's thread
            end = error
        self._put(queue, _End(end))

    def _put(self, queue: Queue, item: object) -> bool:
        while not self._stop.is_set():
            try:
                queue.put(item, timeout=0.1)
            except Full:
                continue
            return True
        return False

    def _from(self, queue: Queue) -> Iterator:
        while not self._stop.is_set():
            try:
                item = queue.get(timeout=0.1)
            except Empty:
                continue
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item

    def _measured(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        frames = iter(frames)
        try:
            for frame in frames:
                # Beside the caller's: 2 + 2 in the queues, one at work in each thread.
                self.room = max(1, int(HELD_BYTES / frame.rgb.nbytes) - 6 - self._engine.every)
                yield frame
        finally:
            if hasattr(frames, "close"):
                frames.close()

    def _spotted(self) -> Iterator[_Spotted]:
        """Look for faces in every k-th frame and in the last; between two, faces seen in both."""
        engine, waiting = self._engine, list[Frame]()
        before: dict[int, Box] = {}
        for frame in self._from(self._read):
            waiting.append(frame)
            if frame.index % engine.every == 0:
                before = yield from self._placed(waiting, before)
                waiting = []
        if waiting:
            yield from self._placed(waiting, before)

    def _placed(self, frames: list[Frame], before: dict[int, Box]):  # type: ignore[no-untyped-def]
        """Look for faces in the last of some frames; move boxes evenly in those before it."""
        *passed, last = frames
        after = self._engine.spot(last.rgb, last.time_s)
        for number, frame in enumerate(passed, start=1):
            yield _Spotted(frame, between(before, after, number / len(frames)), False)
        yield _Spotted(last, after, True)
        return after


class _End(NamedTuple):
    error: BaseException | None


class _Rows:
    """The growing table, in few bytes a row."""

    def __init__(self, has_intensities: bool) -> None:
        self._has_intensities = has_intensities
        self._row = np.dtype(ROW + (INTENSITY_ROW if has_intensities else []))
        self._nobody = NOBODY + (NO_INTENSITY if has_intensities else ())
        self._parts: list[np.ndarray] = []
        self._new: list[tuple] = []
        self.count = self.frames = 0

    def add(self, frame: Frame, seen: list[Seen]) -> None:
        for face in [self._face(one) for one in seen] or [self._nobody]:
            self._new.append((frame.index, frame.time_s, *face))
        self.count += max(1, len(seen))
        self.frames += 1
        if len(self._new) >= 1000:
            self._pack()

    def _face(self, one: Seen) -> tuple:
        told = (one.face_id, tuple(one.box), tuple(one.shares), one.valence)
        if one.intensities is None:
            return told
        return (*told, FER_CLASSES.index(one.emotion), tuple(one.intensities))

    def _pack(self) -> None:
        self._parts.append(np.array(self._new, dtype=self._row))
        self._new = []

    def table(self, smoothing_seconds: float) -> pd.DataFrame:
        """All rows with `COLUMNS`, smoothed both ways."""
        self._pack()
        rows = np.concatenate(self._parts)
        found = rows["face_id"] > 0
        table = pd.DataFrame({"frame": rows["frame"], "time_s": rows["time_s"]})
        table["face_id"] = pd.array(rows["face_id"], dtype="Int64")
        table["face_found"] = found
        for place, side in enumerate("xywh"):
            table[side] = pd.array(rows["box"][:, place], dtype="Int64")
        table.loc[~found, ["face_id", *"xywh"]] = pd.NA
        for place, name in reversed(list(enumerate(VALENCE_CLASSES))):
            table[f"p_{name}"] = rows["shares"][:, place].astype(np.float64)
        table["valence"] = rows["valence"]
        level, sd = _smoothed(rows, table.valence.to_numpy(), smoothing_seconds)
        table = table.assign(valence_smooth=level, valence_sd=sd)[COLUMNS]
        if self._has_intensities:
            table["emotion"] = pd.Series(np.array(FER_CLASSES)[rows["emotion"]]).where(found)
            for place, name in enumerate(INTENSITY_COLUMNS[1:]):
                table[name] = rows["intensities"][:, place].astype(np.float64)
        return table


def _smoothed(
    rows: np.ndarray, values: np.ndarray, seconds: float
) -> tuple[np.ndarray, np.ndarray]:
    """Level and standard deviation of each row, every face for itself, with its gaps."""
    level, sd = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
    frames, first = np.unique(rows["frame"], return_index=True)
    times, place = rows["time_s"][first], np.searchsorted(frames, rows["frame"])
    order = np.argsort(rows["face_id"], kind="stable")
    numbers, starts = np.unique(rows["face_id"][order], return_index=True)
    for number, own in zip(numbers, np.split(order, starts[1:]), strict=True):
        if number == 0:
            continue
        begin, end = place[own[0]], place[own[-1]] + 1
        line = np.full(end - begin, np.nan)
        line[place[own] - begin] = values[own]
        smoothed = smooth(times[begin:end], line, seconds)
        level[own], sd[own] = (column[place[own] - begin] for column in smoothed)
    return level, sd


def _missing(path: Path, frames: int) -> str:
    """Tell "whole", or how many of the frames that the header promises could not be read."""
    promised = video_info(path).frames
    if frames >= 0.98 * promised - 2:  # headers without a count tell it roughly
        return "whole"
    return f"{path.name} is cut short or damaged: {frames} of {promised} frames could be read"
