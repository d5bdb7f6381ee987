"""Small videos and stand-ins for detector and network, for the tests."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from fer_lib.faces.detection import Box
from fer_lib.labels import FER_CLASSES, VALENCE_CLASSES
from fer_lib.models.card import Card
from fer_tools.inference.backend import Prediction
from fer_tools.rtfer.engine import FaceObservation

WIDTH, HEIGHT = 64, 48


def grey(number):
    """What counts frames, 40 to 190, up and down: a jump would be a cut. Of ints or arrays."""
    return 40 + 5 * np.minimum(number % 60, 60 - number % 60)


def image(number, height=HEIGHT, width=WIDTH):
    """Red top left, blue bottom right, and a grey that counts frames elsewhere."""
    rgb = np.full((height, width, 3), grey(number), np.uint8)
    rgb[: height // 2, : width // 2] = (220, 20, 20)
    rgb[height // 2 :, width // 2 :] = (20, 20, 220)
    return rgb


def write(path, count=10, *, rate=25, stamps=None, turn=0, pixel=None, options=None,
          container=None, size=(WIDTH, HEIGHT), **stream_settings):  # fmt: skip
    """A small H.264 video; `stamps` in milliseconds."""
    with av.open(str(path), "w", options=container or {}) as file:
        stream = file.add_stream("libx264", rate=Fraction(rate))
        settings = {"width": size[0], "height": size[1], "pix_fmt": "yuv420p", **stream_settings}
        for name, value in settings.items():
            setattr(stream, name, value)
        if pixel:
            stream.codec_context.sample_aspect_ratio = pixel
        stream.codec_context.options = {"crf": "10", "preset": "veryfast", **(options or {})}
        if stamps is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if turn:
            stream.set_display_rotation(turn)
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(image(number, size[1], size[0]), format="rgb24")
            if stamps is not None:
                frame.pts, frame.time_base = stamps[number], Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def write_sound(path, codec="aac", cover=False):
    """Half a second of silence, with a cover image if asked for."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=16000)
        if cover:
            cover_stream = file.add_stream("mjpeg", rate=1)
            cover_stream.width, cover_stream.height = WIDTH, HEIGHT
            cover_stream.pix_fmt = "yuvj420p"
            cover_stream.disposition = av.stream.Disposition.attached_pic
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 16000
        for number in range(8):
            frame.pts = 1024 * number
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
        if cover:
            frame = av.VideoFrame.from_ndarray(image(0), format="rgb24")
            file.mux(cover_stream.encode(frame))
            file.mux(cover_stream.encode())
    return path


FACE = Box(0, 30, 16, 16)


def observation(probabilities, face_id=1, box=FACE, value=None, detected=True, intensities=None):
    """A face with P(negative), P(neutral), P(positive), or of seven classes."""
    probabilities = np.asarray(probabilities)
    classes = VALENCE_CLASSES if len(probabilities) == 3 else FER_CLASSES
    value = probabilities[2] - probabilities[0] if value is None else value
    return FaceObservation(
        face_id, box, classes, probabilities, value, value, detected, intensities
    )


class FakeRecognizer:
    """A recognizer that reads the valence off the face's brightness: black -1, white +1."""

    classes = VALENCE_CLASSES
    path = Path(__file__)  # any file that is there
    card = Card("classifier", "paper", "fer13-3", None, {}, "abc1234", {})

    def __init__(self):
        self.batches = []

    def predict(self, faces):
        self.batches.append(len(faces))
        bright = faces.reshape(len(faces), -1).mean(axis=1) / 255
        probabilities = np.column_stack([1 - bright, np.zeros(len(faces)), bright])
        return Prediction(self.classes, probabilities.astype(np.float32))


class FakeDetector:
    """A detector that sees one face at (0, 30), 16 pixels wide, but not in its calls `missing`."""

    margin = 0.0

    def __init__(self, missing=(), boxes=(FACE,)):
        self.missing, self.boxes, self.calls = missing, boxes, -1

    def __call__(self, image):
        self.calls += 1
        return [] if self.calls in self.missing else list(self.boxes)


def close_to(rgb, expected, tolerance=12):
    return np.abs(rgb.astype(int) - np.asarray(expected)).max() <= tolerance
