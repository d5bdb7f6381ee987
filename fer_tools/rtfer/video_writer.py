"""Drawing observations into frames, and writing these as a video that browsers play."""

import os
from collections.abc import Iterable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from queue import Queue
from threading import Thread

import av
import cv2
import numpy as np

from fer_lib.errors import UserError
from fer_lib.labels import FER_CLASSES
from fer_tools.outputs import reason
from fer_tools.rtfer.engine import FaceObservation
from fer_tools.rtfer.video_reader import Frame

WIDEST = 1280  # pixels; a wider video is shrunk: boxes and text show as well, and it stays small
TICKS = 90_000  # a second; fine enough for any frame rate
FONT = cv2.FONT_HERSHEY_SIMPLEX
WHITE, BLACK, GREY = (255, 255, 255), (0, 0, 0), (150, 150, 150)
# As in plots: colour-blind safe; each state's color, and the sign before it.
STATE_COLORS = {
    "negative": (222, 143, 5), "neutral": (86, 180, 233), "positive": (2, 190, 140),
    "other": (190, 190, 190),
}  # fmt: skip
STATE_SIGNS = {"negative": "-", "neutral": "o", "positive": "+", "other": "*"}
LINE_COLORS = ((255, 255, 255), (236, 225, 51), (204, 120, 188), (86, 180, 233), (251, 175, 228))
BAR = (240, 228, 66)
STRIP = 0.24  # of the image's height: the line's place along the bottom


# ---------------------------------------------------------------------------------------- drawing


class History:
    """The lines so far, in few numbers however long the video is.

    Args:
        seconds: the video's length, the width of the strip; where it grows longer, or is not known
            (0), the strip doubles its span.
        faces: lines kept; of more, those seen least go.
    """

    points = 600  # of one line: more would not show

    def __init__(self, seconds: float = 0.0, faces: int = 5) -> None:
        self.seconds = seconds if seconds > 0 else 10.0
        self.faces = faces
        # By face: time, value, and whether the face was seen without a break since the last point.
        self.lines: dict[int, list[tuple[float, float, bool]]] = {}
        self._present: set[int] = set()

    def add(self, time_s: float, faces: Iterable[FaceObservation]) -> None:
        """Append a frame's smoothed valences; call it for frames without a face too."""
        while time_s > self.seconds * 1.001:
            self.seconds *= 2
            self.lines = {face: self._thinned(line) for face, line in self.lines.items()}
        present = set()
        for face in faces:
            present.add(face.face_id)
            line = self.lines.setdefault(face.face_id, [])
            self._append(line, time_s, face.smooth, face.face_id in self._present)
        self._present = present
        while len(self.lines) > self.faces:
            del self.lines[min(self.lines, key=lambda face: (len(self.lines[face]), -face))]

    def _append(self, line: list, time_s: float, value: float, joined: bool) -> None:
        # The last point stands where the line is now, and moves on until it is a step away.
        near = len(line) > 1 and time_s - line[-2][0] < self.seconds / self.points
        if joined and near and line[-1][2]:
            line.pop()
        line.append((time_s, value, joined))

    def _thinned(self, line: list) -> list:
        kept: list[tuple[float, float, bool]] = []
        for point in line:
            self._append(kept, *point)
        return kept


def annotate(
    rgb: np.ndarray,
    faces: list[FaceObservation],
    history: History | None = None,
    *,
    widest: int = WIDEST,
) -> np.ndarray:
    """Draw the faces' boxes, class and score, and the lines so far along the bottom.

    A box's color, and the sign before its class, show the state of this frame: orange and -
    negative, blue and o neutral, green and + positive, grey and * none of these (surprise). The
    number is the smoothed valence. A box that is carried over is thinner. Where the model gives
    intensities, those of the largest face stand as bars in the upper left corner.

    Args:
        rgb: (H, W, 3) uint8; left as it is.
        faces: those observed in it.
        history: the lines, this frame included; None draws none.
        widest: a wider frame is shrunk to this width, in pixels.

    Returns:
        (H, W, 3) uint8, shrunk or not.
    """
    scale = min(1.0, widest / rgb.shape[1])
    image = shrink(rgb, widest)
    if image is rgb:
        image = rgb.copy()
    if history is not None:
        _draw_strip(image, history)
    if faces and faces[0].intensities is not None:
        _draw_bars(image, faces[0].intensities)
    for face in reversed(faces):  # the largest on top
        _draw_face(image, face, scale, name=len(faces) > 1)
    return image


def shrink(rgb: np.ndarray, widest: int = WIDEST) -> np.ndarray:
    """The image at most `widest` pixels wide, its shape kept; as it is where it fits."""
    height, width = rgb.shape[:2]
    if width <= widest:
        return rgb
    size = (widest, max(1, round(height * widest / width)))
    return cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)


def _draw_face(image: np.ndarray, face: FaceObservation, scale: float, name: bool) -> None:
    height, width = image.shape[:2]
    state = face.state
    color, thick = STATE_COLORS[state], max(2, round(height / 240)) + int(face.detected)
    x, y, w, h = (round(side * scale) for side in face.box)
    cv2.rectangle(image, (x, y), (x + w, y + h), BLACK, thick + 2)
    cv2.rectangle(image, (x, y), (x + w, y + h), color, thick)
    label = face.emotion if face.intensities is not None or state == "other" else state
    text = f"{STATE_SIGNS[state]} {label} {face.smooth:+.2f}"
    if name:
        text = f"{face.face_id}: {text}"
    size = _text_scale(height, width)
    (long, tall), below = cv2.getTextSize(text, FONT, size, _text_thick(size))
    left = min(max(x, 0), max(width - long - 6, 0))
    # Above the box, or else inside at its top: below, it would cover the lines.
    foot = y - below if y - below > tall + 6 else max(y, 0) + tall + 6
    cv2.rectangle(image, (left, foot - tall - 4), (left + long + 6, foot + below), color, -1)
    cv2.putText(
        image, text, (left + 3, foot - 1), FONT, size, BLACK, _text_thick(size), cv2.LINE_AA
    )


def _draw_bars(image: np.ndarray, intensities: np.ndarray) -> None:
    """Seven bars with their names, from 0 to the width of the longest name again."""
    height, width = image.shape[:2]
    size = _text_scale(height, width) * 0.8
    (long, tall), below = cv2.getTextSize(max(FER_CLASSES, key=len), FONT, size, 1)
    line, left, full = tall + below + 2, 8 + long, long
    foot = line * len(FER_CLASSES) + 4
    corner = image[:foot, : left + full + 6]
    corner[:] = cv2.convertScaleAbs(corner, alpha=0.3)
    for number, (name, value) in enumerate(zip(FER_CLASSES, intensities, strict=True)):
        top = 2 + number * line
        cv2.putText(image, name, (3, top + tall + 1), FONT, size, WHITE, 1, cv2.LINE_AA)
        cv2.rectangle(image, (left, top + 1), (left + full, top + tall), GREY, 1)
        end = left + round(float(np.clip(value, 0, 1)) * full)
        cv2.rectangle(image, (left, top + 1), (end, top + tall), BAR, -1)


def _draw_strip(image: np.ndarray, history: History) -> None:
    """The lines on a darkened strip, time from left to right, valence from -1 to 1."""
    height, width = image.shape[:2]
    top, size = height - max(8, round(height * STRIP)), _text_scale(height, width) * 0.8
    image[top:] = cv2.convertScaleAbs(image[top:], alpha=0.3)
    (mark, tall), _ = cv2.getTextSize("+1", FONT, size, 1)
    left, right = mark + 6, width - mark - 6
    rim = tall // 2 + 3

    def row(value: float) -> int:
        return round(top + rim + (1 - value) / 2 * (height - 1 - top - 2 * rim))

    def column(time_s: float) -> int:
        return round(left + max(0.0, time_s) / history.seconds * (right - left))

    for value, text in ((1, "+1"), (0, " 0"), (-1, "-1")):
        cv2.line(image, (left, row(value)), (right, row(value)), GREY, 1)
        cv2.putText(
            image, text, (3, row(value) + tall // 2), FONT, size, WHITE, 1, cv2.LINE_AA
        )  # fmt: skip
    thick = max(1, round(height / 300))
    for face, line in history.lines.items():
        color = LINE_COLORS[(face - 1) % len(LINE_COLORS)]
        for stretch in _stretches(line):
            points = [(column(time_s), row(value)) for time_s, value, _ in stretch]
            cv2.polylines(image, [np.array(points)], False, color, thick, cv2.LINE_AA)
        end = (column(line[-1][0]), row(line[-1][1]))
        cv2.circle(image, end, thick + 1, color, -1, cv2.LINE_AA)
        if len(history.lines) > 1:
            place = (min(end[0] + thick + 3, right + 2), end[1] + tall // 2)
            cv2.putText(image, str(face), place, FONT, size, color, 1, cv2.LINE_AA)


def _stretches(line: list[tuple[float, float, bool]]) -> list[list[tuple[float, float, bool]]]:
    starts = [i for i, point in enumerate(line) if i == 0 or not point[2]]
    return [line[a:b] for a, b in pairwise([*starts, len(line)])]


def _text_scale(height: int, width: int) -> float:
    """Of OpenCV's font (22 pixels at 1): 10 pixels on a small image, 3 % of a large face."""
    return max(0.42, min(height, width) * 0.03 / 22)


def _text_thick(size: float) -> int:
    return 1 if size < 0.7 else 2


# ---------------------------------------------------------------------------------------- writing


class VideoWriter:
    """Writes frames at their true times to an H.264 file; encoding runs in its own thread.

    While it works, the video lies in `NAME.part.mp4`, in fragments: whatever ends the program, what
    was written up to the last two seconds or so plays. `close` makes `NAME.mp4` of it, whole, with
    its index in front, so that browsers start at once and can jump.

    Args:
        path: ends in .mp4; an older file is replaced on `close`.
        width, height: of the frames to come, pixels. Odd sides are padded by one row or column
            of repeated pixels, since H.264's usual colour format asks for even ones.
        rate: frames a second, roughly: what the encoder plans for. Times are not bound to it.
        widest: wider frames are shrunk.

    Raises:
        UserError: here and from `write` and `close`, if the file cannot be written.
    """

    def __init__(
        self, path: Path, width: int, height: int, rate: float = 25.0, widest: int = WIDEST
    ) -> None:
        self.path, self.part = Path(path), Path(path).with_suffix(".part.mp4")
        share = min(1.0, widest / width)
        self.width, self.height = (max(1, round(side * share)) for side in (width, height))
        self.frames = 0
        self._rate = min(max(rate, 1.0), 240.0)
        self._error: BaseException | None = None
        self._queue: Queue = Queue(maxsize=4)
        try:
            self._open()
        except (OSError, av.error.FFmpegError) as error:
            raise self._as_user_error(error) from None
        self._thread: Thread | None = Thread(target=self._work, daemon=True)
        self._thread.start()

    def write(self, rgb: np.ndarray, time_s: float) -> None:
        """Append a image, (H, W, 3) uint8, shown from `time_s` on, in seconds, growing."""
        if self._error is not None:
            raise self._as_user_error(self._error)
        self._queue.put((rgb, time_s))
        self.frames += 1

    def close(self) -> None:
        """Finish the video; without a frame there is no file."""
        if self._thread is None:
            return
        self._finish()
        if self._error is None and self.frames:
            try:
                self._index_in_front()
            except (OSError, av.error.FFmpegError) as error:
                self._error = error
        if self._error is not None or not self.frames:
            self._remove()
        if self._error is not None:
            raise self._as_user_error(self._error)

    def discard(self) -> None:
        """Stop, and leave no file behind."""
        if self._thread is not None:
            self._finish()
            self._remove()

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None or kind is KeyboardInterrupt:
            self.close()
        else:
            self.discard()

    def _open(self) -> None:
        # Fragments: the file is playable at any time, not only once its index has been written.
        flags = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
        self._file = av.open(str(self.part), "w", format="mp4", options=flags)
        self._stream = self._file.add_stream(
            "libx264", rate=Fraction(self._rate).limit_denominator(1001)
        )
        stream = self._stream
        stream.width, stream.height = self.width + self.width % 2, self.height + self.height % 2
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, TICKS)
        seconds_apart = str(max(1, round(2 * self._rate)))
        # Without B-frames they come out as they went in, at their exact times.
        stream.codec_context.options = {
            "preset": "superfast", "crf": "23", "bf": "0", "g": seconds_apart,
        }  # fmt: skip
        self._file.start_encoding()  # now, so that a bad path fails before any work is done

    def _work(self) -> None:
        """The thread: encode what comes, until None comes; after an error, only take it."""
        ticks = -1
        while (item := self._queue.get()) is not None:
            if self._error is not None:
                continue
            try:
                rgb, time_s = item
                ticks = max(ticks + 1, round(time_s * TICKS))
                frame = av.VideoFrame.from_ndarray(self._even(rgb), format="rgb24")
                frame.pts, frame.time_base = ticks, Fraction(1, TICKS)
                frame.duration = round(TICKS / self._rate)
                self._file.mux(self._stream.encode(frame))
            except BaseException as error:
                self._error = error

    def _even(self, rgb: np.ndarray) -> np.ndarray:
        if rgb.shape[:2] != (self.height, self.width):
            rgb = cv2.resize(rgb, (self.width, self.height), interpolation=cv2.INTER_AREA)
        odd = (self.height % 2, self.width % 2)
        if any(odd):
            rgb = np.pad(rgb, ((0, odd[0]), (0, odd[1]), (0, 0)), mode="edge")
        return np.ascontiguousarray(rgb)

    def _finish(self) -> None:
        assert self._thread is not None
        self._queue.put(None)
        self._thread.join()
        self._thread = None
        try:
            if self._error is None and self.frames:
                self._file.mux(self._stream.encode())
            self._file.close()
        except (OSError, av.error.FFmpegError) as error:
            self._error = self._error or error

    def _index_in_front(self) -> None:
        """Copy the fragments, not re-encoded, to an ordinary file, then put it in its place."""
        whole = self.path.with_suffix(".whole.mp4")
        try:
            with (
                av.open(str(self.part)) as source,
                av.open(str(whole), "w", format="mp4", options={"movflags": "faststart"}) as target,
            ):
                stream = target.add_stream_from_template(source.streams.video[0])
                for packet in source.demux(video=0):
                    if packet.dts is not None:
                        packet.stream = stream
                        target.mux(packet)
            os.replace(whole, self.path)
        finally:
            whole.unlink(missing_ok=True)
        self.part.unlink()

    def _remove(self) -> None:
        self.part.unlink(missing_ok=True)

    def _as_user_error(self, error: BaseException) -> Exception:
        """The error as one sentence; what is no matter of files stays as it is."""
        if not isinstance(error, OSError | av.error.FFmpegError):
            return error if isinstance(error, Exception) else RuntimeError(str(error))
        return UserError(
            f"{self.path.name} cannot be written ({reason(error)}): make room, or name a folder "
            "with room in it."
        )


class AnnotatedVideo:
    """A video with observations drawn into it; opened with the first frame, whose size it takes.

    Args:
        path, rate: see `VideoWriter`.
        seconds: see `History`.
    """

    def __init__(self, path: Path, seconds: float, rate: float) -> None:
        self._path, self._rate = path, rate
        self._history = History(seconds)
        self._writer: VideoWriter | None = None

    def add(self, frame: Frame, faces: list[FaceObservation]) -> None:
        """Append a frame and its faces."""
        self._history.add(frame.time_s, faces)
        image = annotate(frame.rgb, faces, self._history)
        if self._writer is None:
            height, width = image.shape[:2]
            self._writer = VideoWriter(self._path, width, height, self._rate)
        self._writer.write(image, frame.time_s)

    def close(self) -> None:
        """Finish the video; without a frame there is no file."""
        if self._writer is not None:
            self._writer.close()

    def discard(self) -> None:
        """Stop, and leave no file behind."""
        if self._writer is not None:
            self._writer.discard()

    def __enter__(self) -> "AnnotatedVideo":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._writer is not None:
            self._writer.__exit__(kind)
