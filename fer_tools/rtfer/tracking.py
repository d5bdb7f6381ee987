"""One person keeps one number from frame to frame.

Boxes of a frame are matched with the last known ones by how much they overlap (Bewley et al. 2016,
*SORT*, without its motion model: between two frames a face moves by less than its width).
A face is the same until it has been unseen for `MEMORY_S`, or the recording is cut.
"""

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from fer_lib.faces.detection import Box

MEMORY_S = 3.0  # so long a face may go unseen and keep its number ...
MEMORY_STEPS = 3  # ... or so many steps between frames, where these are far apart
LEAST_OVERLAP = 0.2  # below it two boxes are two faces
# Of neighbouring frames, seen as thumbnails: in videos of one scene colours differ by 0.1 at most,
# and correlations are above 0.9, whatever moves.
CUT_COLORS, CUT_CORRELATION = 0.3, 0.85
THUMBNAIL = (64, 36)  # width and height, pixels


class Tracker:
    """Numbers faces, from 1, in the order of their first appearance.

    It gives a number to each box it is handed and never makes a box of its own: where no face is
    seen there is none.

    Args:
        memory_s: seconds; a face that comes back later gets a new number. Where frames are further
            apart (a time lapse, a pause in the recording), three times their distance counts.
        least_overlap: intersection over union in [0, 1], below which boxes are never matched.
    """

    def __init__(self, memory_s: float = MEMORY_S, least_overlap: float = LEAST_OVERLAP) -> None:
        self.memory_s = memory_s
        self.least_overlap = least_overlap
        self._known: dict[int, tuple[Box, float]] = {}  # where and when each was seen last
        self._count, self._last = 0, 0.0

    def __call__(self, boxes: list[Box], time_s: float) -> dict[int, Box]:
        """Number the boxes of one frame.

        Args:
            boxes: in pixels, the most important first: new ones are numbered in this order.
            time_s: seconds, growing from call to call.

        Returns:
            Each box under its face's number, in the order of `boxes`.
        """
        memory, self._last = max(self.memory_s, MEMORY_STEPS * (time_s - self._last)), time_s
        self._known = {
            number: seen
            for number, seen in self._known.items()
            if time_s - seen[1] <= memory + 1e-6
        }
        face_ids = self._match(boxes)
        named = {}
        for place, box in enumerate(boxes):
            if place not in face_ids:
                self._count += 1
                face_ids[place] = self._count
            named[face_ids[place]] = box
            self._known[face_ids[place]] = (box, time_s)
        return named

    def forget(self) -> None:
        """The faces to come are others: none of them gets a number that was given before."""
        self._known.clear()

    def _match(self, boxes: list[Box]) -> dict[int, int]:
        """The known number of each place in `boxes` that has one; the overlaps' sum is largest."""
        known = list(self._known)
        if not known or not boxes:
            return {}
        overlaps = np.array([[overlap(b, self._known[n][0]) for n in known] for b in boxes])
        # Too small overlaps count nothing, so that they cannot take a face from a good match.
        overlaps[overlaps < self.least_overlap] = 0
        places, columns = linear_sum_assignment(overlaps, maximize=True)
        pairs = zip(places.tolist(), columns.tolist(), strict=True)
        return {place: known[column] for place, column in pairs if overlaps[place, column] > 0}


class Cuts:
    """Notices hard cuts: colours *and* arrangement of a frame are unlike those of the one before.

    Lights that go on change the colours alone, a camera that turns the arrangement alone. A cut
    between two faces before the same wall, and a slow dissolve, go unnoticed.
    """

    def __init__(self) -> None:
        self._before: tuple[np.ndarray, np.ndarray] | None = None

    def __call__(self, rgb: np.ndarray) -> bool:
        """Whether the recording was cut before this frame, (H, W, 3) uint8."""
        small = cv2.resize(rgb, THUMBNAIL, interpolation=cv2.INTER_LINEAR)
        colors = cv2.calcHist([small], [0, 1, 2], None, [8, 8, 8], [0, 256] * 3).ravel()
        grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
        before, self._before = self._before, (colors, grey)
        if before is None:
            return False
        distance = cv2.compareHist(colors, before[0], cv2.HISTCMP_BHATTACHARYYA)
        if distance < CUT_COLORS:
            return False
        correlation = cv2.matchTemplate(grey, before[1], cv2.TM_CCOEFF_NORMED)
        return float(correlation[0, 0]) < CUT_CORRELATION


def overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, in [0, 1]."""
    width = min(a.x + a.w, b.x + b.w) - max(a.x, b.x)
    height = min(a.y + a.h, b.y + b.h) - max(a.y, b.y)
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / (a.w * a.h + b.w * b.h - both)


def between(a: dict[int, Box], b: dict[int, Box], share: float) -> dict[int, Box]:
    """Boxes of the faces in both frames, `share` of the way from `a` (0) to `b` (1)."""
    return {
        number: Box(*(round(p + share * (q - p)) for p, q in zip(box, b[number], strict=True)))
        for number, box in a.items()
        if number in b
    }
