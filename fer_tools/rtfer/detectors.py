"""Face detectors beside the library's Haar cascade, and how one is chosen by name.

`YuNetDetector` is a small network (Wu et al. 2023) that also finds turned and half hidden faces,
and is two to four times as fast as the cascade; it needs a model file.
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np

from fer_lib.errors import UserError
from fer_lib.faces.detection import Box, Detector, HaarDetector, largest_first, shrunk
from fer_lib.paths import project_root

YUNET_FOLDER, YUNET_FILES = Path("data/raw/models"), "face_detection_yunet*.onnx"


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
        small, scale = shrunk(image, self.smallest, 18)
        boxes = []
        for x, y, w, h in self._found(small)[:, :4].tolist():
            if max(w, h) >= self.smallest * min(small.shape[:2]):
                boxes.append((x, y - self.raised * max(w, h), w, h))
        return largest_first(boxes, scale)

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


def _yunet_file() -> Path:
    folder = project_root() / YUNET_FOLDER
    files = [file for file in folder.glob(YUNET_FILES) if "int8" not in file.name]
    return max(files, default=folder / YUNET_FILES)
