"""The synthetic `fer2013.csv`: drawn faces, degraded like bad photographs, with some wrong labels.

Written in the format of Kaggle's file, with FER+ votes in Microsoft's format and a `truth.csv` with
the ground truth. As in FER2013 the classes are imbalanced, there are duplicates within and across
the splits, some duplicates have another label, and some images show no face. Unlike in FER2013, the
subjects of one split are in no other split (except for duplicates).
"""

import csv
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from fer_lib.labels import FER_CLASSES, FER_PLUS_COLUMNS
from fer_tools.synthetic_faces.face import backdrop, draw_face
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

SIDE = 48  # pixels of a face in the file
DRAWN = 96  # pixels it is drawn at
NEUTRAL = FER_CLASSES.index("neutral")

# Shares of the classes, imbalanced like FER2013's, but with enough disgust to learn it.
CLASS_SHARES = np.array([0.14, 0.05, 0.14, 0.24, 0.16, 0.12, 0.15])
# Shares of wrong labels; small in the test splits, so that the best possible accuracy is near 1.
LABEL_NOISE = {"Training": 0.04, "PublicTest": 0.012, "PrivateTest": 0.012}
COPIES = 0.025  # share of rows that repeat an earlier training image byte by byte
CONFLICTS = 0.2  # share of the copies within Training that have another label
LEAST_INTENSITY = 0.4
OCCLUDED = 0.08
KINDS = {"face": 0.99, "watermark": 0.004, "logo": 0.004, "blank": 0.002}

# The FER+ column of each class, and the two columns with which taggers confuse it.
TAGGED_AS = {
    "angry": ("anger", "disgust", "sadness"),
    "disgust": ("disgust", "anger", "contempt"),
    "fear": ("fear", "surprise", "sadness"),
    "happy": ("happiness", "neutral", "surprise"),
    "sad": ("sadness", "neutral", "fear"),
    "surprise": ("surprise", "fear", "happiness"),
    "neutral": ("neutral", "sadness", "contempt"),
}


Map = Callable[..., Iterable]  # `map`, or the `map` of a process pool


def write_fer2013(folder: Path, seed: int, sizes: dict[str, int], in_turn: Map = map) -> None:
    """Write `fer2013.csv`, `fer2013new.csv` (votes) and `truth.csv`, with the same rows in each.

    `truth.csv` has the columns row (from 0), usage, class (one of FER_CLASSES, or "none" without a
    face), label (the number in `fer2013.csv`), intensity (0 to 1), identity (a number), kind (face,
    watermark, logo, blank), is_junk (1 for all except face), duplicate_of (row of the original of
    this copy, or -1; blank images are equal without being copies) and label_was_flipped (1 if the
    label differs from the class).

    Args:
        folder: created if missing; files of these names are replaced.
        seed: integer >= 0.
        sizes: rows of each usage, in the order of the file, e.g. {"Training": 2400, ...}.
        in_turn: the `map` that draws the images; that of a process pool uses several cores.
    """
    folder.mkdir(parents=True, exist_ok=True)
    truth: list[dict] = []
    for usage, size in sizes.items():
        truth += plan_rows(seed, usage, size, truth)
    originals = [row for row in truth if row["duplicate_of"] < 0]
    drawn = in_turn(partial(draw_row, seed), originals)
    image_of = {row["row"]: image for row, image in zip(originals, drawn, strict=True)}
    images = [
        image_of[row["row"] if row["duplicate_of"] < 0 else row["duplicate_of"]] for row in truth
    ]

    faces = (
        (row["label"], " ".join(map(str, image.ravel().tolist())), row["usage"])
        for row, image in zip(truth, images, strict=True)
    )
    votes = (
        (
            row["usage"],
            "" if row["class"] == "none" else f"fer{row['row']:07d}.png",
            *cast_votes(seed, row),
        )
        for row in truth
    )
    write_csv(folder / "fer2013.csv", ("emotion", "pixels", "Usage"), faces)
    write_csv(folder / "fer2013new.csv", ("Usage", "Image name", *FER_PLUS_COLUMNS), votes)
    write_csv(folder / "truth.csv", tuple(truth[0]), (row.values() for row in truth))


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Iterable]) -> None:
    """Write a table with the same line endings on every system."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def plan_rows(seed: int, usage: str, size: int, earlier: list[dict]) -> list[dict]:
    """Choose the content of the rows of one usage, before anything is drawn.

    Args:
        seed, usage, size: as in `write_fer2013`.
        earlier: the rows before these in the file.

    Returns:
        `size` rows of `truth.csv`.
    """
    first = len(earlier)
    counts = np.floor(CLASS_SHARES * size).astype(int)
    counts[: size - counts.sum()] += 1
    rng = stream(seed, Stream.CLASSES, first)
    classes = rng.permutation(np.repeat(np.arange(len(FER_CLASSES)), counts))
    people = max(1, size // 4)
    originals = [r for r in earlier if r["usage"] == "Training" and r["duplicate_of"] < 0]
    rows: list[dict] = []
    for number, label in enumerate(classes.tolist(), start=first):
        rng = stream(seed, Stream.ROW, number)
        kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
        shows_face = kind in ("face", "watermark")
        weak = label == NEUTRAL or not shows_face
        row = {
            "row": number, "usage": usage, "class": FER_CLASSES[label] if shows_face else "none",
            "label": label, "intensity": 0.0 if weak else round(rng.uniform(LEAST_INTENSITY, 1), 3),
            "identity": first + int(rng.integers(people)), "kind": kind,
            "is_junk": int(kind != "face"), "duplicate_of": -1, "label_was_flipped": 0,
        }  # fmt: skip
        noise = LABEL_NOISE[usage]
        if originals and rng.random() < COPIES:
            row |= _copy_of(originals[int(rng.integers(len(originals)))])
            noise = CONFLICTS if usage == "Training" else noise
        if row["class"] != "none" and rng.random() < noise:
            wrong = [c for c in range(len(FER_CLASSES)) if FER_CLASSES[c] != row["class"]]
            row |= {"label": int(rng.choice(wrong)), "label_was_flipped": 1}
        rows.append(row)
        if usage == "Training" and row["duplicate_of"] < 0:
            originals.append(row)
    return rows


def _copy_of(original: dict) -> dict:
    """The columns of a byte-identical copy; its label is correct even if the original's is not."""
    kept = {k: original[k] for k in ("class", "intensity", "identity", "kind", "is_junk", "label")}
    if kept["class"] != "none":
        kept["label"] = FER_CLASSES.index(kept["class"])
    return kept | {"duplicate_of": original["row"]}


def draw_row(seed: int, row: dict) -> np.ndarray:
    """Draw the image of one row of `truth.csv`; (48, 48) uint8."""
    rng = stream(seed, Stream.FACE, row["row"])
    if row["kind"] == "blank":
        return np.zeros((SIDE, SIDE), np.uint8)
    if row["kind"] == "logo":
        return _draw_logo(rng)
    who = random_identity(stream(seed, Stream.PERSON, row["identity"]))
    variants = EXPRESSIONS[row["class"]]
    act = at_intensity(variants[rng.integers(len(variants))], row["intensity"])
    act = twitch(act, rng, 0.05)
    # The face fills the image as in the boxes of OpenCV's Haar detector.
    x, y = 0.5 + rng.normal(0, 0.013), 0.42 + rng.normal(0, 0.013)
    yaw, pitch, roll = rng.normal(0, (6, 4, 3.5))
    pose = Pose((DRAWN * x, DRAWN * y), DRAWN * rng.uniform(0.52, 0.59), yaw, pitch, roll)
    light = Light(rng.uniform(-45, 45), rng.uniform(5, 45), rng.uniform(0.5, 0.9))
    image = draw_face(backdrop(rng, DRAWN, DRAWN), who, act, pose, light)
    if rng.random() < OCCLUDED:
        _occlude(image, pose, who, rng)
    if row["kind"] == "watermark":
        font, white = cv2.FONT_HERSHEY_SIMPLEX, (245, 245, 245)
        cv2.putText(image, "SAMPLE", (2, 60), font, 0.75, white, 2, cv2.LINE_AA)
    return _degrade(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), rng)


def _degrade(gray: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Degrade (H, W) uint8 to a bad photograph: gradient, blur, contrast, noise; (48, 48) uint8."""
    shrunk = cv2.resize(gray, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    small: np.ndarray = shrunk.astype(np.float32)
    ramp = np.linspace(-1, 1, SIDE, dtype=np.float32)
    across, down = rng.normal(0, 0.1, 2)
    small *= 1 + across * ramp[None, :] + down * ramp[:, None]
    if rng.random() < 0.3:
        small = cv2.GaussianBlur(small, (0, 0), rng.uniform(0.4, 0.8))
    small = (small - 110) * rng.uniform(0.75, 1.2) + 110 + rng.normal(0, 12)
    small += rng.normal(0, rng.uniform(1, 5), small.shape)
    return np.clip(small, 0, 255).astype(np.uint8)


def _occlude(image: np.ndarray, pose: Pose, who: Identity, rng: np.random.Generator) -> None:
    """Occlude a part of the face, in place, by a hand, a strand of hair or a bar."""
    x, y, unit = *pose.center, pose.scale
    side = 1 if rng.random() < 0.5 else -1
    what = str(rng.choice(("hand", "hair", "bar")))
    if what == "hand":
        for finger in range(4):
            tip = (round(x + side * 0.25 * unit), round(y + (0.62 + 0.13 * finger) * unit))
            knuckle = (round(x + side * 1.3 * unit), round(y + (0.9 + 0.12 * finger) * unit))
            for darker, width in ((0.6, 0.15), (0.85, 0.11)):  # an outline, then the finger
                color = (darker * who.skin[0], darker * who.skin[1], darker * who.skin[2])
                cv2.line(image, tip, knuckle, color, max(1, round(width * unit)), cv2.LINE_AA)
    elif what == "hair":
        corners = ((0.1, -1.0), (0.75, -1.0), (0.62, 0.5))
        strand = np.array([(x + side * u * unit, y + v * unit) for u, v in corners])
        cv2.fillPoly(image, [np.rint(strand).astype(np.int32)], who.hair, cv2.LINE_AA)
    else:
        top = max(0, round(y + rng.uniform(-0.6, 0.9) * unit))
        image[top : top + round(0.16 * unit)] = round(rng.uniform(0, 60))


def _draw_logo(rng: np.random.Generator) -> np.ndarray:
    """An image without a face: a ring and letters; (48, 48) uint8."""
    paper = int(rng.integers(256))
    ink = ((paper + 128.0) % 256,)
    image = np.full((SIDE, SIDE), paper, np.uint8)
    radius, width = int(rng.integers(8, 18)), int(rng.integers(2, 6))
    cv2.circle(image, (24, 20), radius, ink, width, cv2.LINE_AA)
    cv2.putText(image, "LOGO", (4, 45), cv2.FONT_HERSHEY_SIMPLEX, 0.4, ink, 1, cv2.LINE_AA)
    return image


def cast_votes(seed: int, row: dict) -> list[int]:
    """The votes of ten taggers for one row of `truth.csv`, in the order of FER_PLUS_COLUMNS.

    They vote on the class, not the label. The weaker the expression, the more of them choose
    another, most often neutral; without a face all ten vote NF ("not a face").
    """
    probability = dict.fromkeys(FER_PLUS_COLUMNS, 0.0)
    if row["class"] == "none":
        probability["NF"] = 1.0
    else:
        correct, second, third = TAGGED_AS[row["class"]]
        p_correct = 0.92 if row["class"] == "neutral" else 0.62 + 0.33 * row["intensity"]
        probability[correct], probability["unknown"] = p_correct, 0.01
        for name, share in (("neutral", 0.5), (second, 0.35), (third, 0.15)):
            probability[name] += share * (0.99 - p_correct)
    rng = stream(seed, Stream.VOTES, row["row"])
    return rng.multinomial(10, list(probability.values())).tolist()
