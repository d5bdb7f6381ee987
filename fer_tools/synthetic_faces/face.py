"""Draw one face from its identity, its facial actions, its pose and the light.

Flat colors are painted first, part by part; soft shadows and folds are painted on two separate
layers, blurred, and multiplied with the colors at the end, together with the light. All lengths are
in the head coordinates of `fer_tools.synthetic_faces.canvas`.
"""

import cv2
import numpy as np

from fer_tools.synthetic_faces import features as features
from fer_tools.synthetic_faces.canvas import Canvas, bow, closed, mirrored, oval
from fer_tools.synthetic_faces.identities import Actions, Identity, Light, Pose, mixed

# Hairlines from the right temple over the forehead to the left: x in half head widths, y.
HAIRLINES = {
    "short": [(1, -0.2), (0.82, -0.48), (0.58, -0.66), (0, -0.7),
              (-0.58, -0.66), (-0.82, -0.48), (-1, -0.2)],
    "side": [(1, -0.15), (0.85, -0.45), (0.54, -0.72), (0.26, -0.62), (-0.26, -0.5),
             (-0.8, -0.38), (-1, -0.1)],
    "fringe": [(1, 0), (0.84, -0.3), (0.64, -0.42), (0.26, -0.4), (-0.26, -0.4),
               (-0.64, -0.42), (-0.84, -0.3), (-1, 0)],
    "long": [(1, 0.3), (0.9, -0.2), (0.7, -0.55), (0.13, -0.74), (-0.45, -0.6),
             (-0.85, -0.2), (-1, 0.3)],
    "curly": [(1, 0.05), (0.86, -0.35), (0.52, -0.62), (0, -0.6), (-0.52, -0.62),
              (-0.86, -0.35), (-1, 0.05)],
}  # fmt: skip
CROWN_HEIGHT = {"short": 1.0, "side": 1.05, "fringe": 1.03, "long": 1.04, "curly": 1.12}
HAIR_BEHIND = {"long": 1.25, "curly": 0.55}  # how far down (y) the hair behind the head reaches


def draw_face(
    background: np.ndarray,
    who: Identity,
    act: Actions,
    pose: Pose,
    light: Light,
    lines: float = 1.0,
) -> np.ndarray:
    """Draw one person, head and shoulders, on a background.

    Args:
        background: (H, W, 3) uint8 RGB; not changed.
        who: the person.
        act: the facial actions.
        pose: position and rotation of the head; parts outside the image are cut off.
        light: direction of the light.
        lines: factor of the width of lines and folds.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    canvas = Canvas(background, who, pose, lines)
    outline = _head_outline(who, act.jaw)
    _paint_bust(canvas)
    canvas.fill(outline, who.skin, body=True)
    _shade_skin(canvas, act)
    _fold_skin(canvas, act)
    features.paint_beard(canvas, outline)
    features.paint_nose(canvas, act)
    features.paint_mouth(canvas, act)
    for side in (-1, 1):
        features.paint_eye(canvas, act, side)
        features.paint_brow(canvas, act, side)
    _paint_hair(canvas)
    if who.glasses:
        features.paint_glasses(canvas)
    return canvas.finish(light)


def backdrop(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A grayish wall, unevenly lit; (height, width, 3) uint8 RGB."""
    gray = rng.uniform(50, 205) + rng.normal(0, 14, 3)
    patches = gray + rng.normal(0, 14, (3, 4, 1)) + rng.normal(0, 3, (3, 4, 3))
    small = np.clip(patches, 0, 255).astype(np.uint8)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC))


def _head_outline(who: Identity, jaw_drop: float) -> np.ndarray:
    """Closed curve (48, 2): half an ellipse at the top, narrowing to the chin at the bottom."""
    circle = oval(0, 0, 1, 1, n=48)
    below = np.maximum(circle[:, 1], 0)
    narrowing = 1 - (0.22 - 0.16 * who.jaw) * below**1.5
    x = who.width * np.sign(circle[:, 0]) * np.abs(circle[:, 0]) ** 0.86 * narrowing
    y = circle[:, 1] * np.where(circle[:, 1] > 0, 1 + 0.11 * jaw_drop, 0.93)
    return np.stack([x, y], axis=1)


def _paint_bust(canvas: Canvas) -> None:
    """Paint everything behind the face: long hair, shoulders, neck, ears."""
    who = canvas.who
    if who.hair_style in HAIR_BEHIND:
        reach, width = HAIR_BEHIND[who.hair_style], who.width * 1.25
        arch = oval(0, -0.18, width, 0.98, n=32)[16:]
        behind = np.concatenate([arch, [(width, reach), (-width, reach)]])
        canvas.fill(behind, mixed(who.hair, (0, 0, 0), 0.25), lift=-0.4, body=True)
    left = np.array([(-0.46, 1.08), (-1.2, 1.34), (-1.6, 2.6)])
    canvas.fill(closed(left, left * (-1, 1)), who.clothes, lift=-0.5, body=True)
    left = np.array([(-0.46, 0.5), (-0.46, 1.12), (-0.2, 1.34)])
    neck = mixed(who.skin, (40, 20, 10), 0.28)
    canvas.fill(closed(left, left * (-1, 1)), neck, lift=-0.35, body=True)
    for side in (-1, 1):
        ear = mirrored(oval(who.width + 0.02, 0.08, 0.085, 0.2), side)
        canvas.fill(ear, mixed(who.skin, (120, 50, 30), 0.18), lift=-0.1, body=True)


def _shade_skin(canvas: Canvas, act: Actions) -> None:
    """Shade forehead, eye sockets, cheeks and chin."""
    who = canvas.who
    canvas.shade(oval(0, -0.55, 0.36, 0.2), 0.07)
    cheek = 0.3 - 0.05 * act.cheeks - 0.02 * act.smile
    for side in (-1, 1):
        canvas.shade(mirrored(oval(who.width * 0.93, 0.5, 0.13, 0.34), side), -0.16)
        canvas.shade(mirrored(oval(who.eye_gap - 0.02, -0.1, 0.2, 0.09), side), -0.26)
        apple = mirrored(oval(who.eye_gap + 0.03, cheek, 0.15, 0.1), side)
        canvas.shade(apple, 0.09 + 0.1 * act.cheeks)
    canvas.shade(oval(0, 0.86 + 0.1 * act.jaw, 0.13, 0.06), 0.08 - 0.12 * act.chin)


def _fold_skin(canvas: Canvas, act: Actions) -> None:
    """Paint wrinkles of age, and the folds of the expression."""
    who, age, gap = canvas.who, canvas.who.age, canvas.who.eye_gap

    # From the wings of the nose to the corners of the mouth.
    start = (who.nose_width + 0.035, who.nose_length - 0.06 - 0.05 * act.nose_wrinkle)
    end = (who.mouth_width + 0.07 + 0.09 * act.smile, 0.62 - 0.07 * act.smile)
    cheek = bow(start, ((start[0] + end[0]) / 2 + 0.05, (start[1] + end[1]) / 2 - 0.02), end)
    pull = max(act.smile, act.upper_lip, act.nose_wrinkle)
    bag = bow(
        (gap - 0.13, 0.11), (gap, 0.15 - 0.05 * act.cheeks - 0.02 * act.smile), (gap + 0.15, 0.1)
    )
    between_brows = bow((0.045, -0.32), (0.06, -0.24), (0.05, -0.16))
    beside_root = bow((0.03, 0.0), (0.07, 0.04), (0.1, 0.1))
    for side in (-1, 1):
        canvas.crease(mirrored(cheek, side), min(0.06 + 0.25 * age + 0.45 * pull, 0.42), 0.026)
        canvas.crease(
            mirrored(bag, side), 0.06 + 0.2 * age + 0.3 * max(act.cheeks, act.squint), 0.02
        )
        canvas.crease(mirrored(between_brows, side), act.frown * (0.36 + 0.24 * age), 0.025)
        canvas.crease(mirrored(beside_root, side), 0.6 * act.nose_wrinkle, 0.022)
        for slope in (-0.06, 0.0, 0.06):
            crows_foot = np.array([(gap + 0.2, 0.4 * slope), (gap + 0.29, 1.3 * slope)])
            canvas.crease(mirrored(crows_foot, side), 0.45 * act.cheeks * (0.5 + age), 0.012)

    raised = max(act.inner_brow, act.outer_brow) * (0.2 + 0.2 * age) + 0.12 * age
    half = 0.18 + 0.22 * act.outer_brow
    for y in (-0.42, -0.5, -0.58):
        forehead = bow((-half, y + 0.02), (0, y - 0.02 * act.outer_brow), (half, y + 0.02))
        canvas.crease(forehead, raised, 0.016)
    for y in (-0.06, -0.01, 0.04):
        across_root = bow((-0.07, y + 0.02), (0, y - 0.01), (0.07, y + 0.02))
        canvas.crease(across_root, 0.6 * act.nose_wrinkle, 0.016, lift=0.1)


def _paint_hair(canvas: Canvas) -> None:
    """Paint hair with some lighter and darker strands; on bald heads a highlight."""
    who, width = canvas.who, canvas.who.width
    if who.hair_style == "bald":
        canvas.shade(oval(-0.1, -0.72, 0.2, 0.1), 0.2)
        return
    angle = np.linspace(np.pi, 2 * np.pi, 40)
    curl = 1 + (0.03 * np.sin(21 * angle) if who.hair_style == "curly" else 0 * angle)
    rise = CROWN_HEIGHT[who.hair_style]
    crown = np.stack([1.06 * width * curl * np.cos(angle), rise * curl * np.sin(angle)], axis=1)
    hairline = np.array(HAIRLINES[who.hair_style]) * (width, 1)
    crown[[0, -1], 1] = hairline[0, 1]
    shape = np.concatenate([crown, hairline])
    canvas.fill(shape, who.hair, lift=0.02, body=True)
    layer = canvas.layer()
    rng = np.random.default_rng(who.texture)
    for x, bend, light in rng.uniform((-0.9, -0.12, 0), (0.9, 0.12, 1), (10, 3)):
        x *= width
        strand = bow((0.7 * x, -1.1), (1.02 * x + bend / 2, -0.75), (1.15 * x + bend, -0.25), n=6)
        tint = (255.0, 240.0, 220.0) if light > 0.55 else (0.0, 0.0, 0.0)
        layer.line(strand, mixed(who.hair, tint, 0.13), 0.035, lift=0.02)
    canvas.inside(shape, layer.rgb, lift=0.02)
    canvas.shade(bow((-0.55, -0.72), (-0.1, -0.92), (0.4, -0.8)), 0.25)
