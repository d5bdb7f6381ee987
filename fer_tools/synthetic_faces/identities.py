"""Identities, expressions, pose and light of the synthetic faces.

Expressions follow the action units (AU) of Ekman and Friesen's Facial Action Coding System, each
with a strength from 0 (at rest) to 1 (full). Scaling an expression by an intensity from 0 to 1
interpolates linearly between the neutral face and the full expression.
"""

from dataclasses import dataclass, field, fields, replace
from enum import IntEnum

import numpy as np

RGB = tuple[float, float, float]  # each 0 to 255

SKIN_TONES = np.array(
    [(255, 226, 204), (243, 201, 172), (226, 176, 143), (198, 140, 106), (152, 102, 73),
     (108, 72, 54)], dtype=np.float32,
)  # fmt: skip
HAIR_TONES = np.array(
    [(28, 24, 24), (58, 40, 30), (92, 60, 38), (150, 104, 58), (206, 168, 104), (128, 60, 34),
     (150, 148, 146)], dtype=np.float32,
)  # fmt: skip
CLOTHES_TONES = np.array(
    [(70, 80, 110), (120, 60, 60), (90, 110, 90), (190, 190, 195), (50, 50, 55)], np.float32
)
IRIS_TONES = np.array([(62, 40, 26), (92, 66, 38), (84, 104, 70), (76, 108, 138)], np.float32)
HAIR_STYLES = ("bald", "short", "side", "fringe", "long", "curly")


class Stream(IntEnum):
    """The purpose of a random stream.

    Every item has a separate stream, so that no item depends on the order or number of the others.
    """

    PERSON = 0
    FACE = 1
    ROW = 2
    VOTES = 3
    CLASSES = 4
    SUBJECT = 5
    SEQUENCE = 6
    VIDEO = 7
    OTHER_PERSON = 8
    OTHER_FACE = 9
    POSED = 10
    NEUTRAL = 11


def stream(seed: int, kind: Stream, index: int = 0) -> np.random.Generator:
    """The random generator of one item; `seed` and `index` are integers >= 0."""
    return np.random.default_rng([seed, kind, index])


@dataclass(frozen=True)
class Identity:
    """The constant properties of a person. Lengths are in head coordinates, colors RGB 0-255."""

    width: float  # half the width of the head, about 0.77
    jaw: float  # 0 pointed chin, 1 square jaw
    skin: RGB
    hair: RGB
    hair_style: str  # one of HAIR_STYLES
    brow_thickness: float
    brow_height: float  # y of the brow at rest
    brow_arch: float
    eye_size: float  # 1 = average
    eye_gap: float  # x of the eye's center
    iris: RGB
    nose_width: float
    nose_length: float
    mouth_width: float
    lip: float  # fullness of the lips, 1 = average
    lip_tint: float  # 0 skin-colored, 1 red
    age: float  # 0 smooth, 1 lined
    beard: str  # none, stubble, moustache, full
    glasses: bool
    clothes: RGB
    texture: int  # seed of the strands of hair


@dataclass(frozen=True)
class Pose:
    """Position and rotation of the head."""

    center: tuple[float, float]  # pixels (x, y) of the point between the eyes
    scale: float  # pixels from that point to the chin
    yaw: float = 0.0  # degrees, > 0 turns to the image's right
    pitch: float = 0.0  # degrees, > 0 looks down
    roll: float = 0.0  # degrees, > 0 clockwise


@dataclass(frozen=True)
class Light:
    """One lamp and ambient light."""

    azimuth: float = -25.0  # degrees, < 0: from the image's left
    elevation: float = 35.0  # degrees, > 0: from above
    ambient: float = 0.55  # 0: lamp only, 1: ambient light only


@dataclass(frozen=True)
class Actions:
    """Strengths of the action units, 0 to 1."""

    inner_brow: float = 0.0  # AU1, inner brows up
    outer_brow: float = 0.0  # AU2, outer brows up
    frown: float = 0.0  # AU4, brows down and together
    wide_eyes: float = 0.0  # AU5, upper lids up
    cheeks: float = 0.0  # AU6, cheeks up
    squint: float = 0.0  # AU7, lids tight
    nose_wrinkle: float = 0.0  # AU9
    upper_lip: float = 0.0  # AU10, upper lip up
    smile: float = 0.0  # AU12, mouth corners up
    smirk: float = 0.0  # AU14, one corner up
    corners_down: float = 0.0  # AU15
    chin: float = 0.0  # AU17, chin boss up
    stretch: float = 0.0  # AU20, mouth drawn wide
    tight_lips: float = 0.0  # AU23
    part: float = 0.0  # AU25, lips apart
    jaw: float = 0.0  # AU26, jaw drops
    droop: float = 0.0  # upper lids heavy
    gaze: tuple[float, float] = field(default=(0.0, 0.0))  # -1 to 1, right and down


ACTION_NAMES = tuple(f.name for f in fields(Actions) if f.name != "gaze")


def random_identity(rng: np.random.Generator) -> Identity:
    """Draw a person at random; dark skin comes with dark hair, everything else is independent."""
    darkness = rng.uniform(0, len(SKIN_TONES) - 1)
    low = min(int(darkness), len(SKIN_TONES) - 2)
    skin = mixed(tuple(SKIN_TONES[low]), tuple(SKIN_TONES[low + 1]), darkness - low)
    hair_tones = HAIR_TONES[:2] if darkness > 2.5 else HAIR_TONES

    def pick(table: np.ndarray) -> RGB:
        row = table[rng.integers(len(table))] * rng.uniform(0.85, 1.1)
        return (float(row[0]), float(row[1]), float(row[2]))

    return Identity(
        width=rng.uniform(0.72, 0.82), jaw=rng.uniform(0, 1), skin=skin, hair=pick(hair_tones),
        hair_style=str(rng.choice(HAIR_STYLES, p=(0.08, 0.24, 0.2, 0.16, 0.2, 0.12))),
        brow_thickness=rng.uniform(0.028, 0.058), brow_height=rng.uniform(-0.27, -0.22),
        brow_arch=rng.uniform(0.02, 0.07), eye_size=rng.uniform(0.98, 1.22),
        eye_gap=rng.uniform(0.305, 0.345), iris=pick(IRIS_TONES),
        nose_width=rng.uniform(0.115, 0.165), nose_length=rng.uniform(0.36, 0.43),
        mouth_width=rng.uniform(0.27, 0.34), lip=rng.uniform(0.7, 1.35), lip_tint=rng.uniform(0, 1),
        age=float(rng.beta(1.2, 2.0)),
        beard=str(rng.choice(("none", "stubble", "moustache", "full"), p=(0.7, 0.12, 0.08, 0.1))),
        glasses=bool(rng.random() < 0.14), clothes=pick(CLOTHES_TONES),
        texture=int(rng.integers(2**31)),
    )  # fmt: skip


# The full-strength actions of each expression; a class may have several variants.
EXPRESSIONS: dict[str, tuple[Actions, ...]] = {
    "angry": (
        Actions(frown=1, squint=0.5, tight_lips=0.9, wide_eyes=0.35, chin=0.3),
        Actions(frown=1, wide_eyes=0.4, squint=0.2, upper_lip=0.35, part=0.9, tight_lips=0.6,
                stretch=0.35),
    ),
    "disgust": (
        Actions(nose_wrinkle=1, upper_lip=1, squint=0.7, frown=0.3, corners_down=0.45, chin=0.4),
    ),
    "fear": (
        Actions(inner_brow=1, outer_brow=0.4, frown=0.25, wide_eyes=1, stretch=1, part=0.8,
                jaw=0.2),
        Actions(inner_brow=1, outer_brow=0.5, frown=0.3, wide_eyes=1, stretch=0.8, part=0.3),
    ),
    "happy": (Actions(smile=1, cheeks=0.9, part=0.9), Actions(smile=0.95, cheeks=0.7)),
    "sad": (Actions(inner_brow=1, frown=0.2, corners_down=1, droop=0.6, chin=0.5),),
    "surprise": (
        Actions(inner_brow=1, outer_brow=1, wide_eyes=0.9, jaw=1),
        Actions(inner_brow=0.9, outer_brow=1, wide_eyes=0.8, jaw=0.55),
    ),
    "neutral": (Actions(),),
    "contempt": (Actions(smirk=1, droop=0.35),),
}  # fmt: skip


def at_intensity(full: Actions, intensity: float) -> Actions:
    """Scale every action of a full-strength expression by `intensity` (0 to 1)."""
    return replace(full, **{name: intensity * getattr(full, name) for name in ACTION_NAMES})


def twitch(actions: Actions, rng: np.random.Generator, amount: float) -> Actions:
    """Add normal noise of standard deviation `amount` to every action, clipped to 0..1."""
    noise = rng.normal(0, amount, len(ACTION_NAMES))
    changed = {
        name: min(1.0, max(0.0, getattr(actions, name) + float(delta)))
        for name, delta in zip(ACTION_NAMES, noise, strict=True)
    }
    across, down = rng.uniform(-1, 1, 2)
    return replace(actions, gaze=(float(across), float(down)), **changed)


def combined(a: Actions, b: Actions) -> Actions:
    """The sum of two sets of actions, each action at most 1; the gaze is that of `b`."""
    return replace(b, **{n: min(1.0, getattr(a, n) + getattr(b, n)) for n in ACTION_NAMES})


def mixed(a: RGB, b: RGB, share: float) -> RGB:
    """Color between `a` (share 0) and `b` (share 1)."""
    red, green, blue = (float(x + share * (y - x)) for x, y in zip(a, b, strict=True))
    return (red, green, blue)
