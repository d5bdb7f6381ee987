"""Frames of a camera, as they come."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import cv2

from fer_lib.errors import UserError
from fer_tools.rtfer.video_reader import Frame

MISSES = 25  # frames in a row that may fail (a second or two) before the camera counts as gone


def camera_frames(
    number: int,
    *,
    open_camera: Callable[[int], Any] = cv2.VideoCapture,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Frame]:
    """Yield frames until the camera is pulled out; close the generator to let go of it.

    Args:
        number: from 0, as the system counts its cameras.
        open_camera: gives an object that acts like `cv2.VideoCapture`.
        clock: seconds.

    Raises:
        UserError: if there is no such camera, or it gives no frame. Raised when the first frame
            is asked for.
    """
    capture = open_camera(number)
    index, start, misses = 0, 0.0, 0
    try:
        if not capture.isOpened():
            raise UserError(
                f"camera {number} cannot be opened: connect it, close other programs that use it, "
                "or try another number."
            )
        while misses < MISSES:
            there, bgr = capture.read()
            if not there or bgr is None:
                misses += 1
                time.sleep(0.02)
                continue
            now, misses = clock(), 0
            start = start if index else now
            yield Frame(index, now - start, cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
            index += 1
    finally:
        capture.release()
    if index == 0:
        raise UserError(f"camera {number} gives no frame: connect it again, or try another one.")
