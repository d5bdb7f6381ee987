"""Another drawing style: a collection that a network trained on the sample world has never seen.

The expressions are those of the sample world, for these are what is to be recognized. All else is
drawn otherwise: proportions (wide heads, large eyes, small noses and mouths), light (one hard lamp
from the side), and line width. So a loss of accuracy here is a loss to another style, as between
two collections of photographs, and its cause is known.

The files are in the layout of JAFFE (Lyons et al. 1998): 213 grey images of ten people, 256x256.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from fer_lib.labels import JAFFE_EMOTIONS
from fer_tools.synthetic_faces.face import backdrop, draw_face
from fer_tools.synthetic_faces.fer2013 import Map, write_csv
from fer_tools.synthetic_faces.identities import (
    EXPRESSIONS,
    Identity,
    Light,
    Pose,
    Stream,
    at_intensity,
    random_identity,
    stream,
    twitch,
)

SIDE = 256  # pixels
PEOPLE = ("KA", "KL", "KM", "KR", "MK", "NA", "NM", "TM", "UY", "YM")
IMAGES = 213
LINES = 2.0  # times as wide as in the sample world
EACH = 3  # images of a person and emotion; the first people have one more happy one


def write_jaffe(folder: Path, seed: int, in_turn: Map = map) -> None:
    """Draw 213 images in the layout of JAFFE, and `truth.csv` (file, class, intensity) beside them.

    Args:
        folder: made if missing.
        seed: integer >= 0.
        in_turn: draws the images; the `map` of a pool uses more than one core.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shown = [
        (person, code, take)
        for person in range(len(PEOPLE))
        for code in JAFFE_EMOTIONS
        for take in range(1, EACH + 1)
    ]
    shown += [(person, "HA", EACH + 1) for person in range(IMAGES - len(shown))]
    names = [
        f"{PEOPLE[person]}.{code}{take}.{number}.tiff"
        for number, (person, code, take) in enumerate(shown, start=1)
    ]
    drawn = in_turn(partial(_draw, folder, seed), range(len(shown)), names, shown)
    classes = [JAFFE_EMOTIONS[code] for _, code, _ in shown]
    write_csv(
        folder / "truth.csv", ("file", "class", "intensity"),
        zip(names, classes, drawn, strict=True),
    )  # fmt: skip


def other_identity(rng: np.random.Generator) -> Identity:
    """A person of other proportions: wide head, large eyes, small nose and mouth, thin brows."""
    who = random_identity(rng)
    return replace(
        who, width=1.08 * who.width, jaw=0.4 * who.jaw, eye_size=1.22 * who.eye_size,
        eye_gap=1.06 * who.eye_gap, brow_thickness=0.7 * who.brow_thickness,
        nose_width=0.75 * who.nose_width, nose_length=0.88 * who.nose_length,
        mouth_width=0.84 * who.mouth_width, lip=0.8 * who.lip,
    )  # fmt: skip


def _draw(folder: Path, seed: int, number: int, name: str, shown: tuple[int, str, int]) -> float:
    """Draw one image; returns the intensity of its expression, 0 to 1."""
    person, code, _ = shown
    same = stream(seed, Stream.OTHER_PERSON, person)  # what all images of the person share
    who, wall = other_identity(same), backdrop(same, SIDE, SIDE)
    rng = stream(seed, Stream.OTHER_FACE, number)
    looks = EXPRESSIONS[JAFFE_EMOTIONS[code]]
    intensity = 0.0 if code == "NE" else round(rng.uniform(0.55, 1), 3)
    act = twitch(at_intensity(looks[rng.integers(len(looks))], intensity), rng, 0.04)
    centre = (SIDE / 2 + rng.normal(0, 4), 0.46 * SIDE + rng.normal(0, 4))
    yaw, pitch, roll = rng.normal(0, (5, 4, 3))
    pose = Pose(centre, 0.33 * SIDE + rng.normal(0, 3), yaw, pitch, roll)
    side = 1 if rng.random() < 0.5 else -1
    light = Light(side * rng.uniform(45, 70), rng.uniform(0, 30), rng.uniform(0.3, 0.5))
    image = cv2.cvtColor(draw_face(wall, who, act, pose, light, LINES), cv2.COLOR_RGB2GRAY)
    if not cv2.imwrite(str(folder / name), image):
        raise OSError(f"could not write {folder / name}")
    return intensity
