"""Detecting faces in an image, and cutting them to what the network was trained on.

Two detectors. `HaarDetector` is the cascade that OpenCV ships (Viola and Jones 2001): it needs no
download and finds upright frontal faces. `YuNetDetector` is a small network (Wu et al. 2023) that
also finds turned and half hidden faces, and is two to four times as fast; it needs a model file.
Any other that keeps the `Detector` signature can take their place.

Each detector draws its boxes in its own way, so each carries the `margin` at which `crop_face` cuts
faces as the training images are cut; their docstrings say how it was measured.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Protocol

import cv2
import numpy as np

from fer_lib.errors import UserError
from fer_lib.paths import project_root

FACE_SIDE = 48  # pixels, as in FER2013 and CK+48
CASCADE = "haarcascade_frontalface_default.xml"
YUNET_FOLDER, YUNET_FILES = Path("data/raw/models"), "face_detection_yunet*.onnx"
SHORT_SIDE = 180  # pixels; images are shrunk to it before detection, see `_shrunk`


class Box(NamedTuple):
    """A face's place in its image, in pixels: left and top edge, width and height."""

    x: int
    y: int
    w: int
    h: int


class Detector(Protocol):
    """Image in, face boxes out, the largest first; an empty list where no face is seen.

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
        file = _cascade_file()
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
        small, scale = _shrunk(image, self.smallest, 36)
        grey = to_grey(small)
        side = max(24, round(min(grey.shape) * self.smallest))
        found = self._cascade.detectMultiScale(grey, 1.1, self.min_neighbors, minSize=(side, side))
        return _largest_first([_box(box, scale) for box in found])


class YuNetDetector:
    """OpenCV Zoo's YuNet, a network of 76 thousand weights for `cv2.FaceDetectorYN`.

    Its boxes reach from the forehead to the chin and are higher than wide; `crop_face` takes the
    longer side.

    Framing, measured in three ways. On enlarged and padded images of FER2013 (333 found of 400) the
    box's longer side has 0.97 of the image's: margin +0.03; but there the rim of repeated pixels
    hides where the face ends. On 59 frames of a video, cut with some margin and then seen the same
    way, longer side, eye distance and eyes-to-mouth distance agree with FER2013's at margins of
    -0.05, -0.02 and -0.06. In the same frames the longer side has 1.16 of Haar's: -0.13. The middle
    of the three is taken, -0.05. All three find the box 2 to 4 % too low, so it is raised by 2.5 %.

    Speed: faces are detected in a copy whose shorter side is 180 pixels, or so many that the
    smallest face has 18. On 79 frames of 640x360 that takes a quarter of the time; every face is
    still found, and its box keeps place and size within 7 % (5th to 95th percentile); the valence
    moves by 0.05 on average (correlation 0.99), as it does between YuNet and Haar.

    Args:
        file: the model; by default the newest `data/raw/models/face_detection_yunet*.onnx`.
        smallest: least longer side of a face, as a share of the image's shorter side.
        score: how confident the network must be, in [0, 1].

    Raises:
        UserError: if there is no such file, or it is no model.
    """

    margin = -0.05
    raised = 0.025  # of the longer side

    def __init__(
        self, file: Path | str | None = None, smallest: float = 0.1, score: float = 0.7
    ) -> None:
        path = _yunet_file() if file is None else Path(file)
        if not path.is_file():
            raise UserError(f"{path} is missing: data/README.md says where to get YuNet's model.")
        try:
            self._net = cv2.FaceDetectorYN.create(str(path), "", (32, 32), score)
        except cv2.error:
            raise UserError(
                f"{path} ({path.stat().st_size} bytes) is no model that OpenCV can read; the zoo "
                "keeps pointers of 130 bytes under that name: data/README.md says where to get it."
            ) from None
        self.smallest = smallest

    def __call__(self, image: np.ndarray) -> list[Box]:
        """Boxes in `image`, the largest first, ties by place; see `Detector`."""
        small, scale = _shrunk(image, self.smallest, 18)
        boxes = []
        for x, y, w, h in self._found(small)[:, :4].tolist():
            if max(w, h) >= self.smallest * min(small.shape[:2]):
                boxes.append(_box((x, y - self.raised * max(w, h), w, h), scale))
        return _largest_first(boxes)

    def points(self, image: np.ndarray) -> np.ndarray | None:
        """Five points of the most confident face: (5, 2) float32, x and y in pixels, or None.

        Eyes, nose and corners of the mouth, the image's left one first.
        """
        found = self._found(image)
        return found[found[:, 14].argmax(), 4:14].reshape(5, 2) if len(found) else None

    def _found(self, image: np.ndarray) -> np.ndarray:
        """One row a face, as `cv2.FaceDetectorYN.detect` gives them: (F, 15) float32."""
        conversion = cv2.COLOR_GRAY2BGR if image.ndim == 2 else cv2.COLOR_RGB2BGR
        height, width = image.shape[:2]
        self._net.setInputSize((width, height))
        found = self._net.detect(cv2.cvtColor(image, conversion))[1]
        return np.zeros((0, 15), dtype=np.float32) if found is None else found


class WholeImage:
    """Takes each image for one face, as where faces are cropped already."""

    margin = 0.0

    def __call__(self, image: np.ndarray) -> list[Box]:
        """One box: the whole of `image`."""
        return [Box(0, 0, image.shape[1], image.shape[0])]


DETECTORS: dict[str, Callable[..., Detector]] = {"haar": HaarDetector, "yunet": YuNetDetector}


def find_detector(name: str, smallest: float = 0.1) -> Detector:
    """The detector of a name, "haar" or "yunet"; `smallest` as in both of them.

    Raises:
        UserError: for another name, or if the detector's file is missing.
    """
    if name not in DETECTORS:
        raise UserError(f"{name!r} is no face detector: choose one of {', '.join(DETECTORS)}.")
    return DETECTORS[name](smallest=smallest)


def available_detectors() -> list[str]:
    """Names of the detectors whose files are there."""
    available = []
    for name in DETECTORS:
        with suppress(UserError):
            find_detector(name)
            available.append(name)
    return available


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
    """Where a detector sees the face in images that are already cropped.

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


def _cascade_file() -> Path:
    folder = getattr(getattr(cv2, "data", None), "haarcascades", "")
    return Path(folder) / CASCADE


def _yunet_file() -> Path:
    folder = project_root() / YUNET_FOLDER
    files = [file for file in folder.glob(YUNET_FILES) if "int8" not in file.name]
    return max(files, default=folder / YUNET_FILES)


def _shrunk(image: np.ndarray, smallest: float, pixels: int) -> tuple[np.ndarray, float]:
    """The image, so small that detection is quick, and its share of the old size.

    Faces fill much of it: a share `smallest` of the shorter side still has `pixels` pixels.
    """
    wanted = max(SHORT_SIDE, pixels / smallest)
    scale = wanted / min(image.shape[:2])
    if scale >= 1:
        return image, 1.0
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), scale


def _box(sides: Sequence[float], scale: float) -> Box:
    """A box of the shrunk image in pixels of the whole one."""
    return Box(*(round(float(side) / scale) for side in sides))


def _largest_first(boxes: list[Box]) -> list[Box]:
    return sorted(boxes, key=lambda box: (-box.w * box.h, box.x, box.y))
