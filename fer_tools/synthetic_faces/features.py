"""Eyes, brows, nose, mouth, beard and glasses: the parts of the face that show the expression.

Each function paints one part on a canvas. Lengths are in head coordinates (see `canvas.py`);
`side` is -1 for the half on the image's left and 1 for the right. The constants were chosen by eye.
"""

import numpy as np

from fer_tools.synthetic_faces.canvas import Canvas, bow, closed, mirrored, oval
from fer_tools.synthetic_faces.identities import Actions, Identity, mixed

IVORY = (238.0, 232.0, 218.0)


def paint_nose(canvas: Canvas, act: Actions) -> None:
    """Paint bridge, wings, nostrils and the shadow under the tip."""
    who, wrinkle = canvas.who, act.nose_wrinkle
    tip = who.nose_length - 0.05 * wrinkle
    width = who.nose_width * (1 + 0.15 * wrinkle + 0.1 * act.smile)
    flank = [(0.05, -0.12), (0.1, tip - 0.1), (width + 0.03, tip), (0.06, tip - 0.02), (0.03, 0.0)]
    ridge = [(-0.02, -0.15), (0.02, -0.15), (0.035, tip - 0.04), (-0.035, tip - 0.04)]
    for side, depth in ((1, -0.2), (-1, -0.12)):
        canvas.shade(mirrored(np.array(flank), side), depth, lift=0.08)
    canvas.shade(oval(0, tip + 0.055, width, 0.04), -0.3, lift=0.1)
    canvas.shade(np.array(ridge), 0.16, lift=0.16)
    wing = bow((width - 0.01, tip - 0.075), (width + 0.02, tip - 0.02), (width - 0.03, tip + 0.025))
    nostril = oval(width * 0.52, tip + 0.012, 0.042, 0.02 + 0.006 * wrinkle, n=12)
    for side in (-1, 1):
        canvas.fill(mirrored(nostril, side), mixed(who.skin, (50, 15, 10), 0.72), lift=0.12)
        canvas.crease(mirrored(wing, side), 0.3 + 0.2 * wrinkle, 0.02, lift=0.08)


def mouth_curves(who: Identity, act: Actions) -> tuple[np.ndarray, ...]:
    """Rims of the lips: outer upper, inner upper, inner lower, outer lower; (25, 2) each.

    All four run from the mouth's left to its right corner. Where the inner rims part, the mouth is
    open.
    """
    t = np.sin(np.linspace(-np.pi / 2, np.pi / 2, 25))  # -1 to 1, denser at the corners
    edge = np.abs(t)
    rounding = max(0.0, act.jaw - act.smile - act.stretch)
    wider = 0.3 * act.smile + 0.26 * act.stretch - 0.1 * act.tight_lips - 0.34 * rounding
    half = who.mouth_width * (1 + wider)
    lifted = act.smile + np.where(t > 0, 1.0, 0.1) * act.smirk
    bend = -0.15 * lifted + 0.12 * act.corners_down + 0.05 * act.stretch
    line = 0.64 - 0.02 * act.smile - 0.03 * act.chin + bend * edge**1.7
    belly = (1 - edge**2.4) ** (1 - 0.5 * min(1.0, 1.5 * rounding))
    square = 1 - edge ** (2 + 4 * act.stretch)
    up = 0.075 * act.upper_lip + 0.022 * act.part + 0.05 * act.jaw
    down = 0.32 * act.jaw + 0.085 * act.part * (1 - act.jaw)
    fullness = (1 - 0.6 * act.tight_lips) * (1 - 0.25 * act.smile) * who.lip
    cupid = 1 - 0.22 * np.exp(-((t / 0.16) ** 2))
    inner_up = line - up * belly
    inner_low = line + down * (act.stretch * square + (1 - act.stretch) * belly)
    outer_up = inner_up - 0.062 * fullness * np.sqrt(1 - t**2) * cupid
    outer_low = inner_low + 0.08 * fullness * (1 + 0.15 * act.chin) * (1 - t**2) ** 0.6
    rims = (outer_up, inner_up, inner_low, outer_low)
    return tuple(np.stack([half * t, y], axis=1) for y in rims)


def paint_mouth(canvas: Canvas, act: Actions) -> None:
    """Paint the lips, the inside of the mouth, and the folds at the corners."""
    who = canvas.who
    outer_up, inner_up, inner_low, outer_low = mouth_curves(who, act)
    lips = mixed(mixed(who.skin, (130, 40, 40), 0.34), (176, 40, 52), 0.42 * who.lip_tint)
    under = outer_low[6:-6] + (0, 0.035)
    canvas.shade(closed(under, under + (0, 0.045)), -0.2 - 0.12 * act.chin, lift=0.05)
    canvas.fill(closed(outer_up, inner_low), mixed(lips, (60, 10, 10), 0.14), lift=0.06)
    canvas.fill(closed(inner_up, outer_low), lips, lift=0.06)
    gap = float((inner_low - inner_up)[:, 1].max())
    if gap > 0.012:
        _paint_inside_of_mouth(canvas, act, inner_up, inner_low, gap)
    seam = inner_up if gap > 0.012 else (inner_up + inner_low) / 2
    canvas.line(seam, mixed(lips, (40, 5, 5), 0.72), 0.018, lift=0.06)
    for side in (-1, 1):
        end = outer_low[-1 if side > 0 else 0]
        dimple = np.array([end + (0, -0.02), end + (side * 0.025, 0.02)])
        depth = 0.1 + 0.5 * max(act.corners_down, act.smile, act.smirk * (side > 0))
        canvas.crease(dimple, depth, 0.022)
        hanging = bow(end, end + (side * 0.03, 0.06), end + (side * 0.035, 0.13))
        canvas.crease(hanging, 0.35 * act.corners_down, 0.02)


def _paint_inside_of_mouth(
    canvas: Canvas, act: Actions, inner_up: np.ndarray, inner_low: np.ndarray, gap: float
) -> None:
    """Paint the dark inside, tongue and teeth within the inner rims of the lips."""
    opening = closed(inner_up, inner_low)
    layer = canvas.layer()
    layer.fill(opening, (52, 14, 16), lift=0.06)
    tongue = oval(0, inner_low[12, 1] + 0.01, 0.16, min(0.1, 0.4 * gap))
    layer.fill(tongue, (178, 76, 78), lift=0.06)
    bared = max(act.smile, act.upper_lip, 0.7 * act.stretch, 0.45 * act.jaw, 0.5 * act.part)
    layer.fill(closed(inner_up, inner_up + (0, 0.075 * bared)), IVORY, lift=0.06)
    bared = max(0.8 * act.stretch, act.tight_lips * act.part)
    lower_teeth = closed(inner_low, inner_low - (0, 0.07 * bared))
    layer.fill(lower_teeth, mixed(IVORY, (120, 90, 80), 0.15), lift=0.06)
    canvas.inside(opening, layer.rgb, lift=0.06)


def _lid(half_width: float, height: float, slant: float) -> np.ndarray:
    """A lid's rim from the inner to the outer corner, around the eye's center; (13, 2)."""
    t = np.linspace(-1, 1, 13)
    return np.stack([half_width * t, -height * (1 - np.abs(t) ** 2.2) + slant * t], axis=1)


def paint_eye(canvas: Canvas, act: Actions, side: int) -> None:
    """Paint the eyeball between the lids, lashes, and the fold of the upper lid."""
    who = canvas.who
    half, tall = 0.165 * who.eye_size, 0.074 * who.eye_size
    slant = -0.008 + 0.03 * act.inner_brow * (1 - act.outer_brow)
    narrow = 0.45 * act.squint + 0.26 * act.cheeks + 0.55 * act.droop + 0.25 * act.nose_wrinkle
    raised = max(0.06, 1 + 0.7 * act.wide_eyes - narrow)
    lowered = max(0.05, 0.62 + 0.25 * act.wide_eyes - 0.35 * act.cheeks - 0.3 * act.squint)

    def rim(width: float, height: float) -> np.ndarray:
        return mirrored(_lid(width * half, height * tall, slant) + (who.eye_gap, 0), side)

    upper, lower = rim(1, raised), rim(1, -lowered)
    canvas.fill(closed(rim(1.08, 1.5), upper), mixed(who.skin, (70, 30, 25), 0.25))
    outline = closed(upper, lower)
    layer = canvas.layer()
    layer.fill(outline, (232, 230, 226))
    x, y = who.eye_gap * side + 0.045 * act.gaze[0], 0.022 * act.gaze[1] - 0.006
    layer.fill(oval(x, y, 0.078, 0.078), mixed(who.iris, (0, 0, 0), 0.35))
    layer.fill(oval(x, y, 0.064, 0.064), who.iris)
    layer.fill(oval(x, y, 0.034, 0.034, n=14), (10, 8, 8))
    layer.fill(oval(x - 0.025, y - 0.026, 0.016, 0.016, n=10), (250, 250, 250))
    layer.line(upper + (0, 0.012), (120, 100, 95), 0.022)  # the lid's shadow on the eyeball
    canvas.inside(outline, layer.rgb)
    canvas.line(upper, mixed(who.hair, (25, 12, 10), 0.75), 0.03)
    canvas.line(lower, mixed(who.skin, (90, 40, 35), 0.5), 0.012)
    canvas.crease(rim(1.05, 1.55 + 0.3 * act.wide_eyes)[1:-1], 0.35, 0.016)


def paint_brow(canvas: Canvas, act: Actions, side: int) -> None:
    """Paint a brow: AU1 lifts its inner, AU2 its outer end, AU4 draws it down and inward."""
    who = canvas.who
    down = act.frown + 0.45 * act.nose_wrinkle
    y = who.brow_height
    inner = (0.135 - 0.055 * act.frown, y - 0.13 * act.inner_brow + 0.13 * down)
    lift = who.brow_arch + 0.03 * act.inner_brow + 0.1 * act.outer_brow
    outer = (0.54, y + 0.035 - 0.11 * act.outer_brow + 0.02 * act.inner_brow)
    spine = bow(inner, (0.35, y - lift + 0.075 * down), outer, n=11)
    taper = who.brow_thickness * np.sqrt(np.linspace(1, 0.12, 11))[:, None] * (0, 1)
    color = mixed(who.hair, (30, 20, 18), 0.45)
    canvas.fill(mirrored(closed(spine - taper, spine + taper), side), color, lift=0.04)


def paint_beard(canvas: Canvas, chin: np.ndarray) -> None:
    """Paint stubble or a beard between the mouth and `chin` (the head's rim), or a moustache."""
    who = canvas.who
    if who.beard in ("stubble", "full"):
        rim = chin[chin[:, 1] > 0.3]
        rim = rim[np.argsort(-rim[:, 0])]
        edge = bow((-0.5 * who.width, 0.55), (0, 0.5), (0.5 * who.width, 0.55))
        share = 0.3 if who.beard == "stubble" else 0.8
        canvas.fill(np.concatenate([rim, edge]), mixed(who.skin, who.hair, share))
        canvas.shade(oval(0, rim[:, 1].max() - 0.08, 0.3, 0.1), -0.12)
    if who.beard in ("moustache", "full"):
        top = who.nose_length + 0.075
        left = bow((-0.27, 0.62), (-0.14, top), (0, top + 0.01))
        right = bow((0, top + 0.01), (0.14, top), (0.27, 0.62))
        below = bow((-0.27, 0.62), (0, 0.6), (0.27, 0.62), n=18)
        whiskers = closed(np.concatenate([left, right]), below)
        canvas.fill(whiskers, mixed(who.skin, who.hair, 0.85), lift=0.05)


def paint_glasses(canvas: Canvas) -> None:
    """Paint the two rims, the bridge and the temples."""
    gap, frame = canvas.who.eye_gap, (34.0, 30.0, 32.0)
    rim = oval(gap, 0.02, 0.22, 0.17, n=24)
    temple = np.array([(gap + 0.22, -0.02), (canvas.who.width, -0.04)])
    for side in (-1, 1):
        canvas.line(mirrored(np.concatenate([rim, rim[:1]]), side), frame, 0.026, lift=0.1)
        canvas.line(mirrored(temple, side), frame, 0.026)
    canvas.line(bow((0.22 - gap, 0), (0, -0.03), (gap - 0.22, 0)), frame, 0.026, lift=0.1)
