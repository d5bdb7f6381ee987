"""From images to valence: the one engine behind notebook, command, app and library.

    from fer_tools.inference.recognizer import Recognizer
    from fer_tools.rtfer.engine import Engine, analyze
    table = analyze("talk.mp4", Engine(Recognizer.load("fer13-3")))

Every face of a frame is detected, tracked, cropped and classified; its score is
P(positive) - P(negative). Where no face is detected there is no score, never a made-up value. A
model with an intensity head also gives the intensity of each of the seven emotions.

`Engine.process_frame` takes one frame at a time, as they come, `Engine.process_images` images that
have nothing to do with each other. `analyze` takes a recording: decoding and detection run in
threads of their own, faces are classified many at once, and the line is smoothed both ways. Memory
does not grow with the video, but for about 200 bytes a face and frame.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from fer_lib.errors import UserError
from fer_lib.evaluation.valence import valence_probabilities
from fer_lib.faces.detection import Box, Detector, HaarDetector, crop_face, to_grey
from fer_lib.labels import FER_CLASSES, VALENCE_CLASSES
from fer_tools.inference.backend import Prediction, ValenceSource
from fer_tools.inference.recognizer import Recognizer
from fer_tools.rtfer.defaults import EVERY, SMALLEST_FACE, SMOOTHING_SECONDS
from fer_tools.rtfer.journal import Journal
from fer_tools.rtfer.prefetch import prefetch
from fer_tools.rtfer.session import STATES, with_other
from fer_tools.rtfer.smoothing import LiveSmoother, smooth
from fer_tools.rtfer.tracking import Cuts, Tracker, between
from fer_tools.rtfer.video_reader import Frame, missing_seconds, read_frames

COLUMNS = [
    "frame", "time_s", "face_id", "face_found", "x", "y", "w", "h",
    "p_positive", "p_neutral", "p_negative", "valence", "valence_smooth", "valence_sd",
]  # fmt: skip
INTENSITY_COLUMNS = ["emotion", *(f"intensity_{name}" for name in FER_CLASSES)]
BATCH = 32  # faces classified at once: quicker than one by one, and few enough to hold
HELD_BYTES = 200e6  # of frames between decoding and `on_frame`, however large each is
AHEAD = 2  # frames that each thread of `analyze` is ahead of the next


@dataclass(frozen=True)
class FaceObservation:
    """One face in one frame or image.

    Attributes:
        face_id: from 1, kept by the tracker; in an image 1 is the largest face.
        box: pixels of the upright frame; may reach beyond its edge.
        classes: names of the C classes of the model.
        probabilities: (C,) in [0, 1].
        valence: of this frame, in [-1, 1]; see `Engine` for what it is computed from.
        smooth: the same, smoothed over the frames so far, in [-1, 1].
        detected: whether the face was detected in this very frame, or its box is carried over.
        intensities: (7,) in [0, 1], in the order of `labels.FER_CLASSES`; None from a model without
            an intensity head.
    """

    face_id: int
    box: Box
    classes: tuple[str, ...]
    probabilities: np.ndarray
    valence: float
    smooth: float
    detected: bool = True
    intensities: np.ndarray | None = None

    @property
    def emotion(self) -> str:
        """The most probable of the model's classes."""
        return self.classes[int(self.probabilities.argmax())]

    @property
    def valence_probabilities(self) -> np.ndarray:
        """(3,) P(negative), P(neutral), P(positive)."""
        return valence_probabilities(self.probabilities[None], self.classes)[0]

    @property
    def state(self) -> str:
        """The most probable of `session.STATES`; of this frame alone, not smoothed."""
        return STATES[int(with_other(self.valence_probabilities[None])[0].argmax())]


class _DetectedFrame(NamedTuple):
    """A frame with the boxes of its faces by face_id, not yet classified."""

    frame: Frame
    boxes: Mapping[int, Box]
    detected: bool


class Engine:
    """Detects, tracks and scores the faces of one video.

    Args:
        recognizer: a model of three or seven classes, `Recognizer` or what acts like it.
        detector: by default Haar, for faces above `defaults.SMALLEST_FACE`.
        margin: of the crop, see `detection.crop_face`; by default the detector's own.
        every: faces are detected in every so many frames. Between two of them `process_frame`
            carries boxes over, and `analyze` moves them evenly from one to the other. Measured on a
            video of 24 frames a second: with 2 or 3 the valence of a frame moves by 0.01 on average
            (Haar and YuNet; correlation 0.999), a third of what it moves from frame to frame
            anyway.
        smoothing_seconds: time constant, see `smoothing`; 0 leaves the line as it is.
        valence_from: see `Prediction.valence`.

    Raises:
        UserError: if intensities are asked of a model that has none.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        detector: Detector | None = None,
        *,
        margin: float | None = None,
        every: int = EVERY,
        smoothing_seconds: float = SMOOTHING_SECONDS,
        valence_from: ValenceSource = "classes",
    ) -> None:
        if every < 1:
            raise ValueError(f"every must be at least 1, not {every}")
        if valence_from == "intensities":
            recognizer.check_intensities()
        self.recognizer = recognizer
        self.detector = detector or HaarDetector(smallest=SMALLEST_FACE)
        self.margin = self.detector.margin if margin is None else margin
        self.every = every
        self.smoothing_seconds = smoothing_seconds
        self.valence_from = valence_from
        self.reset()

    def reset(self) -> None:
        """Forget all faces: the next frame begins a new video."""
        self._track, self._cuts = Tracker(), Cuts()
        self._smoothers: dict[int, LiveSmoother] = {}
        self._boxes: dict[int, Box] = {}
        self._count = 0

    def process_frame(self, rgb: np.ndarray, time_s: float) -> list[FaceObservation]:
        """Score the faces of the next frame.

        Args:
            rgb: (H, W, 3) uint8.
            time_s: seconds, growing from call to call.

        Returns:
            The largest face first; an empty list where none is detected.
        """
        detected = self._count % self.every == 0
        if detected:
            self._boxes = self.detect(rgb, time_s)
        frame = _DetectedFrame(Frame(self._count, time_s, rgb), self._boxes, detected)
        self._count += 1
        return self.score([frame])[0]

    def detect(
        self, rgb: np.ndarray, time_s: float, boxes: list[Box] | None = None
    ) -> dict[int, Box]:
        """Detect the faces of a frame and track them.

        Args:
            rgb: (H, W, 3) uint8.
            time_s: seconds, growing from call to call.
            boxes: what the detector found earlier in this frame, if it need not look again.

        Returns:
            Boxes by face_id, the largest first.
        """
        if self._cuts(rgb):
            self._track.forget()
        return self._track(self.detector(rgb) if boxes is None else boxes, time_s)

    def score(self, frames: list[_DetectedFrame]) -> list[list[FaceObservation]]:
        """Classify the faces of some frames in a row, at once, and smooth their valence."""
        return self.observe(frames, self.predict(frames))

    def predict(self, frames: list[_DetectedFrame]) -> Prediction | None:
        """Classify the faces of some frames at once; None where there is none."""
        return self._predict([self._crop(found.frame.rgb, found.boxes) for found in frames])

    def observe(
        self, frames: list[_DetectedFrame], prediction: Prediction | None
    ) -> list[list[FaceObservation]]:
        """The faces of some frames in a row, with what was predicted, and smoothed."""
        observed = self._put_together([found.boxes for found in frames], prediction)
        return [self._smooth(*pair) for pair in zip(frames, observed, strict=True)]

    def process_images(self, images: Iterable[np.ndarray]) -> Iterator[list[FaceObservation]]:
        """Score the faces of images one by one, without tracking or smoothing.

        Args:
            images: each (H, W) uint8 grey or (H, W, 3) uint8 RGB.

        Yields:
            For each image its faces, the largest first.
        """
        boxes: list[dict[int, Box]] = []
        crops: list[list[np.ndarray]] = []
        for image in images:
            boxes.append(dict(enumerate(self.detector(image), start=1)))
            crops.append(self._crop(image, boxes[-1]))
            if sum(map(len, crops)) >= BATCH:
                yield from self._put_together(boxes, self._predict(crops))
                boxes, crops = [], []
        yield from self._put_together(boxes, self._predict(crops))

    def _crop(self, image: np.ndarray, boxes: Mapping[int, Box]) -> list[np.ndarray]:
        grey = to_grey(image) if boxes else image
        return [crop_face(grey, box, self.margin) for box in boxes.values()]

    def _predict(self, crops: list[list[np.ndarray]]) -> Prediction | None:
        """What the network predicts for the crops, (48, 48) uint8, of all images."""
        faces = [crop for of_image in crops for crop in of_image]
        return self.recognizer.predict(np.stack(faces)) if faces else None

    def _put_together(
        self, boxes: Sequence[Mapping[int, Box]], prediction: Prediction | None
    ) -> list[list[FaceObservation]]:
        """The faces of each image, from their boxes and a prediction for all of them."""
        if prediction is None:
            return [[] for _ in boxes]
        valence = prediction.valence(self.valence_from).tolist()
        place = iter(range(len(valence)))
        return [
            [
                FaceObservation(
                    face_id, box, prediction.classes, prediction.probabilities[i], valence[i],
                    valence[i], True,
                    None if prediction.intensities is None else prediction.intensities[i],
                )
                for (face_id, box), i in zip(of_image.items(), place, strict=False)
            ]
            for of_image in boxes
        ]  # fmt: skip

    def _smooth(
        self, detected: _DetectedFrame, faces: list[FaceObservation]
    ) -> list[FaceObservation]:
        # A smoother lives as long as its face is seen without a break: gaps are not bridged.
        self._smoothers = {
            face.face_id: self._smoothers.get(face.face_id) or LiveSmoother(self.smoothing_seconds)
            for face in faces
        }
        time_s, smoothed = detected.frame.time_s, []
        for face in faces:
            level = self._smoothers[face.face_id](time_s, face.valence)
            smoothed.append(replace(face, smooth=level, detected=detected.detected))
        return smoothed


def analyze(
    path_or_frames: Path | str | Iterable[Frame],
    engine: Engine,
    *,
    on_frame: Callable[[Frame, list[FaceObservation]], object] | None = None,
    journal: Journal | None = None,
) -> pd.DataFrame:
    """Score every face of a video.

    Args:
        path_or_frames: a video file, or frames as `video_reader.read_frames` yields them.
        engine: is reset first.
        on_frame: called with each frame and its faces, in order, in the caller's thread. `smooth`
            knows only the frames so far there; in the table it knows all.
        journal: keeps what was found in each batch of frames, and spares detection and
            classification for the batches that it already holds.

    Returns:
        One row a face and frame with `COLUMNS`; a frame without a face has one row. frame (int,
        from 0); time_s (float, seconds); face_id (Int64, from 1); face_found (bool); x, y, w, h
        (Int64, pixels of the upright frame); p_positive, p_neutral, p_negative (in [0, 1]);
        valence, valence_smooth (in [-1, 1]) and its standard deviation valence_sd. With a model
        that gives intensities also `INTENSITY_COLUMNS`: emotion (the most probable class, a name)
        and intensity_<class> (in [0, 1]). Without a face all but frame, time_s and face_found is
        missing (NA or NaN). `attrs["ended"]` says how it ended: "whole", "interrupted" (Ctrl-C),
        or in a sentence how much of the file is missing; what was read before is there.

    Raises:
        UserError: if the video cannot be read (see `video_reader.read_frames`), or has no frame.
        Exception: what `on_frame` raises.
    """
    engine.reset()
    path, frames = None, path_or_frames
    if isinstance(frames, Path | str):
        path, frames = Path(frames), read_frames(frames)
    parts, batch, ended = list[dict[str, np.ndarray]](), list[_DetectedFrame](), "whole"
    waiting: deque[tuple[Frame, list[FaceObservation]]] = deque()  # for `on_frame`

    def flush(*, full: bool) -> None:
        now, batch[:] = batch[:], []
        if now:
            first = now[0].frame.index
            if journal is not None and first in journal.predictions:
                prediction = journal.predictions[first]
            else:
                prediction = engine.predict(now)
                if journal is not None and full:  # a run that goes on makes the same batches
                    boxes = {found.frame.index: list(found.boxes.values()) for found in now}
                    journal.append(boxes, prediction)
            scored = engine.observe(now, prediction)
            parts.append(_columns(now, scored, engine.recognizer.card.has_intensities))
            waiting.extend(zip((found.frame for found in now), scored, strict=True))
        while waiting:  # also what Ctrl-C left
            frame, faces = waiting.popleft()
            if on_frame is not None:
                on_frame(frame, faces)

    known = journal.boxes if journal is not None else {}
    with closing(prefetch(_detect(frames, engine, known), AHEAD)) as pipeline:
        try:
            for found in pipeline:
                batch.append(found)
                if len(batch) >= _batch_size(found.frame.rgb.nbytes, engine.every):
                    flush(full=True)
        except KeyboardInterrupt:
            ended = "interrupted"
    try:
        flush(full=False)
    except KeyboardInterrupt:
        ended = "interrupted"
    if not parts:
        if ended == "whole":
            raise UserError("there was no frame to analyze: name a video or a camera that works.")
        raise KeyboardInterrupt
    table = pd.DataFrame({name: np.concatenate([p[name] for p in parts]) for name in parts[0]})
    table = table.astype(dict.fromkeys(("face_id", *"xywh"), "Int64"))
    table = _with_smoothed_lines(table, engine.smoothing_seconds)
    if path is not None and ended == "whole":
        ended = _missing(path)
    table.attrs["ended"] = ended
    return table


def largest_face(table: pd.DataFrame) -> pd.DataFrame:
    """One row a frame: that of its largest face, or the empty one; row number = frame number."""
    size = (table.w * table.h).fillna(0)
    order = table.assign(size=size).sort_values(["frame", "size"], ascending=[True, False])
    return table.loc[order.drop_duplicates("frame").index].reset_index(drop=True)


def _every(nbytes: int, every: int) -> int:
    """`every`, or of large frames fewer: those between two detections wait in memory."""
    return max(1, min(every, int(HELD_BYTES / 2 // nbytes)))


def _batch_size(nbytes: int, every: int) -> int:
    """Frames that are classified at once."""
    # Beside these: those ahead, one at work in each thread, and those being moved.
    held = 2 * AHEAD + 2 + _every(nbytes, every)
    return int(min(BATCH, max(1, HELD_BYTES // nbytes - held)))


def _detect(
    frames: Iterable[Frame], engine: Engine, known: Mapping[int, list[Box]]
) -> Iterator[_DetectedFrame]:
    """Detect faces in every k-th frame and in the last; between two, those detected in both.

    Args:
        frames: of a video.
        engine: detects and tracks.
        known: boxes of the frames in which faces were detected earlier.
    """
    waiting, before = list[Frame](), dict[int, Box]()
    since = math.inf  # frames since faces were last looked for
    with closing(prefetch(frames, AHEAD)) as decoded:
        for frame in decoded:
            waiting.append(frame)
            since += 1
            if since >= _every(frame.rgb.nbytes, engine.every):
                after = engine.detect(frame.rgb, frame.time_s, known.get(frame.index))
                yield from _move(waiting, before, after)
                waiting, before, since = [], after, 0
    if waiting:
        after = engine.detect(waiting[-1].rgb, waiting[-1].time_s, known.get(waiting[-1].index))
        yield from _move(waiting, before, after)


def _move(
    frames: list[Frame], before: dict[int, Box], after: dict[int, Box]
) -> Iterator[_DetectedFrame]:
    """Boxes of the last of some frames, and moved evenly towards it in those before."""
    *passed, last = frames
    for number, frame in enumerate(passed, start=1):
        yield _DetectedFrame(frame, between(before, after, number / len(frames)), False)
    yield _DetectedFrame(last, after, True)


def _columns(
    frames: list[_DetectedFrame], scored: list[list[FaceObservation]], has_intensities: bool
) -> dict[str, np.ndarray]:
    """The table's columns for some frames, without the smoothed line; NaN where no face is."""
    empty = dict.fromkeys(COLUMNS + INTENSITY_COLUMNS * has_intensities, np.nan)
    rows: list[dict] = []
    for (frame, *_), faces in zip(frames, scored, strict=True):
        row = empty | {"frame": frame.index, "time_s": frame.time_s, "face_found": bool(faces)}
        rows += [row | _facts(face) for face in faces] or [row]
    kinds = {"frame": np.int64, "face_found": bool, "emotion": object}
    return {name: np.array([row[name] for row in rows], kinds.get(name, float)) for name in empty}


def _facts(face: FaceObservation) -> dict:
    names = [f"p_{name}" for name in VALENCE_CLASSES]
    facts = {"face_id": face.face_id, "valence": face.valence, **face.box._asdict()}
    facts |= zip(names, face.valence_probabilities, strict=True)
    if face.intensities is not None:
        facts |= zip(INTENSITY_COLUMNS, [face.emotion, *face.intensities], strict=True)
    return facts


def _with_smoothed_lines(table: pd.DataFrame, seconds: float) -> pd.DataFrame:
    """The table with level and standard deviation of each face's line, which keeps its gaps."""
    times = table.groupby("frame").time_s.first()
    for _, rows in table[table.face_found].groupby("face_id"):
        line = rows.set_index("frame").valence
        line = line.reindex(times.loc[line.index[0] : line.index[-1]].index)
        level, sd = smooth(times[line.index].to_numpy(), line.to_numpy(), seconds)
        seen = line.notna().to_numpy()
        table.loc[rows.index, "valence_smooth"] = level[seen]
        table.loc[rows.index, "valence_sd"] = sd[seen]
    return table


def _missing(path: Path) -> str:
    """ "whole", or how much of what the header promises is not in the file."""
    missing, promised = missing_seconds(path)
    if missing <= max(0.5, 0.02 * promised):  # headers give it roughly
        return "whole"
    return (
        f"{path.name} is cut short or damaged: the last {missing:.1f} of {promised:.1f} s could "
        "not be read"
    )
