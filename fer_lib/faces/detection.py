"""Detecting faces in an image, and cutting them to what the network was trained on.

`HaarDetector` is the cascade that OpenCV ships (Viola and Jones 2001): it needs no download and
finds upright frontal faces. Any other that keeps the `Detector` signature can take its place, such
as those of `fer_tools/rtfer/detectors.py`.

Detectors draw their boxes differently, so each carries the `margin` at which `crop_face` cuts faces
as the training images are cut; its docstring describes how it was measured.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import cv2
import numpy as np

from fer_lib.errors import UserError

FACE_SIDE = 48  # pixels, as in FER2013 and CK+48
CASCADE = "haarcascade_frontalface_default.xml"
SHORT_SIDE = 180  # pixels; images are shrunk to it before detection, see `shrunk`


class Box(NamedTuple):
    """A face's place in its image, in pixels: left and top edge, width and height."""

    x: int
    y: int
    w: int
    h: int


class Detector(Protocol):
    """Image in, face boxes out, the largest first; an empty list where no face is detected.

    The image is (H, W) uint8 grey or (H, W, 3) uint8 RGB. With `margin`, `crop_face` cuts its
    boxes as the images of FER2013 are cut.
    """

    margin: float

    def __call__(self, image: np.ndarray) -> list[Box]: ...


class HaarDetector:
    """OpenCV's frontal-face cascade.

    Framing, measured: run on enlarged and padded training images it finds boxes of 0.99 (FER2013,
    median of 309) and 1.03 (CK+48, median of 246) times the image's side, less than 1 % of the side
    off the centre. So a box cut with margin 0 is framed as the training images are.

    Speed: faces are detected in a copy whose shorter side is 180 pixels, or so many that the
    smallest face has 36. On 79 frames of 640x360 that takes two thirds of the time; every face is
    still found, and its box keeps its place and size within 3 % (5th to 95th percentile); the
    valence moves by 0.02 on average (correlation 0.998).

    Args:
        smallest: least side of a face, as a share of the image's shorter side; at least 24
            pixels count, the size the cascade was trained at.
        min_neighbors: how many overlapping detections make a face. More gives fewer false faces
            and misses more true ones.

    Raises:
        UserError: if this OpenCV does not ship the cascade (5.0 does not).
    """

    margin = 0.0

    def __init__(self, smallest: float = 0.1, min_neighbors: int = 5) -> None:
        file = Path(getattr(getattr(cv2, "data", None), "haarcascades", "")) / CASCADE
        self._cascade = cv2.CascadeClassifier(str(file))
        if self._cascade.empty():
            raise UserError(
                f"{file} is missing in OpenCV {cv2.__version__}: install the version that "
                "pyproject.toml names (4.14 ships the Haar cascades)."
            )
        self.smallest = smallest
        self.min_neighbors = min_neighbors

    def __call__(self, image: np.ndarray) -> list[Box]:
        """Boxes in `image`, the largest first, ties by place; see `Detector`."""
        small, scale = shrunk(image, self.smallest, 36)
        grey = to_grey(small)
        side = max(24, round(min(grey.shape) * self.smallest))
        found = self._cascade.detectMultiScale(grey, 1.1, self.min_neighbors, minSize=(side, side))
        return largest_first(found, scale)


def shrunk(image: np.ndarray, smallest: float, pixels: int) -> tuple[np.ndarray, float]:
    """The image, so small that detection is quick, and its scale relative to the old size.

    Faces fill much of it: a share `smallest` of the shorter side still has `pixels` pixels.
    """
    wanted = max(SHORT_SIDE, pixels / smallest)
    scale = wanted / min(image.shape[:2])
    if scale >= 1:
        return image, 1.0
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), scale


def largest_first(found: Iterable[Sequence[float]], scale: float) -> list[Box]:
    """Boxes (x, y, w, h) of a shrunk image in pixels of the whole one, ties by place."""
    boxes = [Box(*(round(float(side) / scale) for side in box)) for box in found]
    return sorted(boxes, key=lambda box: (-box.w * box.h, box.x, box.y))


def to_grey(image: np.ndarray) -> np.ndarray:
    """RGB (H, W, 3) uint8 to luma (H, W) uint8 as in `images.read_grey`; grey stays as it is."""
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


def crop_face(grey: np.ndarray, box: Box, margin: float = 0.0) -> np.ndarray:
    """Cut a square around a face and scale it to the network's input.

    The square has the box's centre and (1 + margin) times its longer side. Where it reaches beyond
    the image, the image's edge pixels are repeated. Shrinking averages areas.

    Args:
        grey: (H, W) uint8.
        box: in pixels of `grey`.
        margin: share of the side added in all; negative cuts tighter; above -1.

    Returns:
        (48, 48) uint8.
    """
    side = max(1, round(max(box.w, box.h) * (1 + margin)))
    left = round(box.x + box.w / 2 - side / 2)
    top = round(box.y + box.h / 2 - side / 2)
    # Looked up by clipped row and column numbers: repeats edges without a padded copy.
    rows = np.clip(np.arange(top, top + side), 0, grey.shape[0] - 1)
    columns = np.clip(np.arange(left, left + side), 0, grey.shape[1] - 1)
    return to_48(grey[rows[:, None], columns[None, :]])


def to_48(grey: np.ndarray) -> np.ndarray:
    """Scale a grey image (H, W) uint8 to (48, 48) uint8; the sides need not be equal.

    Shrinking averages areas (no aliasing), enlarging is bilinear.
    """
    if grey.shape == (48, 48):
        return grey
    shrinking = min(grey.shape) >= 48
    method = cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
    return cv2.resize(grey, (48, 48), interpolation=method)


def framing(images: np.ndarray, detector: Detector) -> np.ndarray:
    """Where a detector finds the face in images that are already cropped.

    Each image is doubled and set on a wide rim of its own edge pixels, so that a box larger than
    the image could be found too. A box's side of 0.9 means that the image is framed as the
    detector's box widened by 1 / 0.9 - 1 = 11 %: the `margin` at which crops match these images.

    Args:
        images: (N, S, S) uint8.
        detector: what finds the crops that are to match.

    Returns:
        (M, 3) float64, one row for each of the M images in which a face is found: x and y of the
        box's centre, from the image's centre, and the box's longer side; all in sides of the image.
    """
    found = []
    for image in images:
        side = 2 * len(image)
        large = cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC)
        rim = side // 2
        boxes = detector(np.pad(large, rim, mode="edge"))
        if boxes:
            x, y, w, h = boxes[0]
            found.append(((x + w / 2) / side - 1, (y + h / 2) / side - 1, max(w, h) / side))
    return np.array(found, dtype=np.float64).reshape(-1, 3)
