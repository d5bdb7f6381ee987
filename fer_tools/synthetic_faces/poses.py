"""Drawn people with the head turned, and at rest: what no photograph of FER2013 can be made into.

A photograph can be blurred or darkened afterwards, but not seen from the side, and of no one in
FER2013 is there a second photograph. A drawn person can be drawn again.
"""

import cv2
import numpy as np

from fer_lib.labels import FER_CLASSES
from fer_tools.synthetic_faces.face import backdrop, draw_face
from fer_tools.synthetic_faces.identities import (
    EXPRESSIONS,
    Actions,
    Light,
    Pose,
    Stream,
    at_intensity,
    random_identity,
    stream,
    twitch,
)

SIDE = 160  # pixels; the face fills half of it


def turned_people(seed: int, people: int, yaw: float) -> tuple[np.ndarray, np.ndarray]:
    """Each person with each of the seven expressions, the head turned by `yaw` to either side.

    The same people, expressions and light for every `yaw`.

    Args:
        seed: of people, expressions and light.
        people: how many, P.
        yaw: degrees; odd people turn to the left.

    Returns:
        images (7 P, 160, 160) uint8 grey; labels (7 P,) int64.
    """
    images = [
        _draw(seed, person, label, _acted(seed, person, label), yaw * (-1) ** person)
        for person in range(people)
        for label in range(len(FER_CLASSES))
    ]
    return np.stack(images), np.tile(np.arange(len(FER_CLASSES)), people)


def people_at_rest(seed: int, people: int, each: int) -> tuple[np.ndarray, np.ndarray]:
    """Neutral faces of people, each in `each` poses and lights.

    Returns:
        images (people x each, 160, 160) uint8 grey; person (people x each,) int64.
    """
    images = []
    for person in range(people):
        for take in range(each):
            rng = stream(seed, Stream.NEUTRAL, 100 * person + take)
            images.append(_draw(seed, person, take, twitch(Actions(), rng, 0.02), rng.normal(0, 5)))
    return np.stack(images), np.repeat(np.arange(people), each)


def _acted(seed: int, person: int, label: int) -> Actions:
    looks = EXPRESSIONS[FER_CLASSES[label]]
    return at_intensity(looks[person % len(looks)], 0.9)


def _draw(seed: int, person: int, take: int, act: Actions, yaw: float) -> np.ndarray:
    """One image (160, 160) uint8: person, expression and turn as given, the rest by chance."""
    same = stream(seed, Stream.POSED, person)
    who, wall = random_identity(same), backdrop(same, SIDE, SIDE)
    rng = stream(seed, Stream.POSED, 100 * (person + 1) + take)
    pitch, roll = rng.normal(0, (3, 3))
    pose = Pose((SIDE / 2, 0.45 * SIDE), 0.33 * SIDE, yaw, pitch, roll)
    light = Light(rng.uniform(-40, 40), rng.uniform(10, 45), rng.uniform(0.55, 0.85))
    return np.asarray(cv2.cvtColor(draw_face(wall, who, act, pose, light), cv2.COLOR_RGB2GRAY))
