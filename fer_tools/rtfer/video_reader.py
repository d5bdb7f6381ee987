"""Reading videos frame by frame: true timestamps, upright, in flat memory.

PyAV (FFmpeg's libraries) decodes; sound is ignored. One frame is held at a time, so the length of a
video does not matter.
"""

import math
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from fer_lib.errors import UserError
from fer_tools.outputs import reason

SUFFIXES = frozenset([
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".gif", ".3gp", ".wmv",
    ".ogv", ".flv", ".ts", ".mts", ".m2ts",
])  # fmt: skip


@dataclass(frozen=True)
class Frame:
    """One frame of a video.

    Attributes:
        index: from 0, in the order of showing.
        time_s: seconds from the file's start, strictly growing; steps may be uneven.
        rgb: (H, W, 3) uint8, turned upright, pixels square.
    """

    index: int
    time_s: float
    rgb: np.ndarray


@dataclass(frozen=True)
class VideoInfo:
    """What a video's header promises; a damaged file may hold less.

    Attributes:
        frames: number of frames, 0 where the file does not say.
        frames_per_second: on average, 0.0 where the file does not say.
    """

    frames: int
    frames_per_second: float


def video_info(path: Path | str) -> VideoInfo:
    """Read a video's header. Errors as in `read_frames`."""
    with _open(Path(path)) as container:
        stream = _stream(container, Path(path))
        rate = float(stream.average_rate or 0)
        frames = stream.frames
        if not frames and container.duration:
            frames = round(container.duration / av.time_base * rate)
        return VideoInfo(frames, rate)


def read_frames(path: Path | str) -> Iterator[Frame]:
    """Yield the frames of a video, one at a time.

    Rotation stored in the file (a phone held upright) is applied, so is a pixel shape that is not
    square. Damaged stretches are skipped; a file cut short yields the frames that are there.

    Raises:
        UserError: if the file is missing, empty, no video, holds sound alone, or not a single frame
            of it can be decoded. Raised when the first frame is asked for.
    """
    path = Path(path)
    with _open(path) as container:
        stream = _stream(container, path)
        step = 1 / float(stream.average_rate or 25)
        start = (container.start_time or 0) / av.time_base
        index, time = 0, -math.inf
        for decoded in _decode(container, stream):
            stamp = -math.inf if decoded.time is None else decoded.time - start
            # Broken or missing stamps: go on by the average step, so that time never stands still.
            time = stamp if stamp > time else (time + step if index else 0.0)
            yield Frame(index, time, _upright_rgb(decoded, stream.sample_aspect_ratio))
            index += 1
    if index == 0:
        raise UserError(f"{path} holds no frame that can be decoded: export the video again.")


def missing_seconds(path: Path | str) -> tuple[float, float]:
    """How much of a video, sound included, is not in its file, and how much its header promises.

    Nothing is decoded: what counts is the end of the last packet of any track. So a varying frame
    rate, a trimmed beginning, or sound that lasts longer is no damage. Errors as in `read_frames`.
    """
    with _open(Path(path)) as container:
        promised = (container.duration or 0) / av.time_base
        end = -math.inf
        with suppress(av.error.FFmpegError):
            for packet in container.demux():
                if packet.pts is not None and packet.time_base is not None:
                    last = packet.pts + (packet.duration or 0)
                    end = max(end, float(last * packet.time_base))
        seen = end - (container.start_time or 0) / av.time_base
        return max(promised - max(seen, 0.0), 0.0), promised


def pick_frames(path: Path | str, indices: Iterable[int]) -> list[Frame]:
    """The frames of some numbers, in the order of showing. Errors as in `read_frames`."""
    wanted = set(indices)
    picked = []
    for frame in read_frames(path):
        if frame.index in wanted:
            picked.append(frame)
            if len(picked) == len(wanted):
                break
    return picked


def _open(path: Path) -> InputContainer:
    if not path.is_file():
        raise UserError(f"{path} is not a file: check the spelling of the path.")
    if path.stat().st_size == 0:
        raise UserError(f"{path} is empty (0 bytes): copy or record it again.")
    try:
        # "file:" keeps FFmpeg from reading a name such as "a:b.mp4" as an address.
        return av.open(f"file:{path}", options={"protocol_whitelist": "file"})
    except PermissionError:
        raise UserError(f"{path} may not be read: change its permissions.") from None
    except (av.error.FFmpegError, ValueError) as error:
        raise UserError(
            f"{path} is no video that can be read ({_reason(error)}): export it as MP4 (H.264); "
            "a recording that was cut off before its end may have to be made again."
        ) from None


def _stream(container: InputContainer, path: Path) -> VideoStream:
    """The first true video stream; a song's cover image is none."""
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic and stream.codec_context is not None:
            stream.thread_type = "AUTO"
            return stream
    what = "sound alone" if container.streams.audio else "no frames"
    raise UserError(f"{path} holds {what}: name a file with a video track.")


def _decode(container: InputContainer, stream: VideoStream) -> Iterator[av.VideoFrame]:
    """All frames that can be decoded, in order of showing; damaged packets are passed over."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.error.FFmpegError):
            break
        try:
            yield from packet.decode()
        except av.error.FFmpegError:
            continue


def _upright_rgb(decoded: av.VideoFrame, pixel_shape: Fraction | None) -> np.ndarray:
    """(H, W, 3) uint8, rotated as the file asks, with square pixels."""
    width = max(1, round(decoded.width * float(pixel_shape or 1)))
    rgb = decoded.to_ndarray(format="rgb24", width=width, height=decoded.height)
    turns = round(decoded.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(rgb, turns)) if turns else rgb


def _reason(error: Exception) -> str:
    """FFmpeg's message, without its error numbers."""
    return reason(error).strip().lower()
