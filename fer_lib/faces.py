"""Finding faces in a picture, and cutting them to what the network was trained on.

The detector is the Haar cascade that OpenCV ships (Viola and Jones 2001): small, needs no download,
finds upright frontal faces. Any other detector that keeps the `Detector` signature can take its
place.

Framing, measured: the same cascade, run on enlarged and padded training images, finds boxes of
0.99 (FER2013, median of 251) and 1.03 (CK+48, median of 246) times the image's side, less than 1 %
of the side off the centre. So a box cut with margin 0 is framed as the training images are.
"""

from pathlib import Path
from typing import NamedTuple, Protocol

import cv2
import numpy as np

from fer_lib.errors import UserError
from fer_lib.images import to_48

FACE_SIDE = 48  # pixels, as in FER2013 and CK+48
CASCADE = "haarcascade_frontalface_default.xml"


class Box(NamedTuple):
    """A face's place in its picture, in pixels: left and top edge, width and height."""

    x: int
    y: int
    w: int
    h: int


class Detector(Protocol):
    """Picture in, face boxes out, the largest first; an empty list where no face is seen.

    The picture is (H, W) uint8 grey or (H, W, 3) uint8 RGB.
    """

    def __call__(self, picture: np.ndarray) -> list[Box]: ...


class HaarDetector:
    """OpenCV's frontal-face cascade.

    Args:
        smallest: least side of a face, as a share of the picture's shorter side; at least 24
            pixels count, the size the cascade was trained at.
        neighbours: how many overlapping finds make a face. More gives fewer false faces and misses
            more true ones.

    Raises:
        UserError: if this OpenCV does not ship the cascade (5.0 does not).
    """

    def __init__(self, smallest: float = 0.1, neighbours: int = 5) -> None:
        file = _cascade_file()
        self._cascade = cv2.CascadeClassifier(str(file))
        if self._cascade.empty():
            raise UserError(
                f"{file} is missing in OpenCV {cv2.__version__}: install the version that "
                "pyproject.toml names (4.14 ships the Haar cascades)."
            )
        self.smallest = smallest
        self.neighbours = neighbours

    def __call__(self, picture: np.ndarray) -> list[Box]:
        """Boxes in `picture`, the largest first, ties by place; see `Detector`."""
        grey = to_grey(picture)
        side = max(24, round(min(grey.shape) * self.smallest))
        found = self._cascade.detectMultiScale(grey, 1.1, self.neighbours, minSize=(side, side))
        boxes = [Box(*(int(value) for value in box)) for box in found]
        return sorted(boxes, key=lambda box: (-box.w * box.h, box.x, box.y))


def to_grey(picture: np.ndarray) -> np.ndarray:
    """RGB (H, W, 3) uint8 to luma (H, W) uint8 as in `images.read_grey`; grey stays as it is."""
    return picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)


def crop_face(grey: np.ndarray, box: Box, margin: float = 0.0) -> np.ndarray:
    """Cut a square around a face and scale it to the network's input.

    The square has the box's centre and (1 + margin) times its longer side. Where it reaches beyond
    the picture, the picture's edge pixels are repeated. Shrinking averages areas.

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


def framing(images: np.ndarray, detector: Detector) -> np.ndarray:
    """Where a detector sees the face in images that are already cropped.

    Each image is doubled and set on a wide rim of its own edge pixels, so that a box larger than
    the image could be found too. A box's side of 0.9 means that the image is framed as the
    detector's box widened by 1 / 0.9 - 1 = 11 %: the `margin` at which crops match these images.

    Args:
        images: (N, S, S) uint8.
        detector: what finds the crops that are to match.

    Returns:
        (M, 3) float64, one row for each of the M images in which a face is found: x and y of the
        box's centre, from the image's centre, and the box's side; all in sides of the image.
    """
    found = []
    for image in images:
        side = 2 * len(image)
        large = cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC)
        rim = side // 2
        boxes = detector(np.pad(large, rim, mode="edge"))
        if boxes:
            x, y, w, h = boxes[0]
            found.append(((x + w / 2) / side - 1, (y + h / 2) / side - 1, w / side))
    return np.array(found, dtype=np.float64).reshape(-1, 3)


def _cascade_file() -> Path:
    folder = getattr(getattr(cv2, "data", None), "haarcascades", "")
    return Path(folder) / CASCADE
