"""A canvas in head coordinates: curves on a rotated ellipsoidal head, painted with OpenCV.

*Head coordinates*: x to the right, y down, origin between the eyes, chin at y = 1 (so the unit is
the distance from eyes to chin). Every curve is projected onto an ellipsoid, rotated by yaw, pitch
and roll, and drawn with an orthographic projection.
"""

from collections.abc import Sequence
from copy import copy
from functools import cache

import cv2
import numpy as np

from fer_tools.synthetic_faces.identities import RGB, Identity, Light, Pose

Point = Sequence[float] | np.ndarray
SHIFT = 4  # OpenCV takes sub-pixel positions as integers of 1/16 pixel
NEUTRAL = 128  # level of the shadow layers that does not change a color


class Canvas:
    """An image, its two shadow layers, and the position of the head in it.

    Attributes:
        rgb: (H, W, 3) uint8, the flat colors.
        soft, fine: (H, W) uint8, shading layers, strongly and slightly blurred at the end: 128
            does not change the color, 0 makes it black.
        body: (H, W) uint8, 255 on the person (only there light and shadows apply).
    """

    def __init__(
        self, background: np.ndarray, who: Identity, pose: Pose, lines: float = 1.0
    ) -> None:
        """Start from `background` (H, W, 3) uint8 RGB, which is copied.

        `lines` is a factor of the width of all lines and folds.
        """
        self.rgb = background.copy()
        self.soft = np.full(background.shape[:2], NEUTRAL, np.uint8)
        self.fine = self.soft.copy()
        self.body = np.zeros(background.shape[:2], np.uint8)
        self.who, self.pose, self.lines = who, pose, lines
        self._rotation = rotation_matrix(pose)[:2].T * (pose.scale * 2**SHIFT)
        self._center = np.array(pose.center) * 2**SHIFT
        self._ellipsoid = np.array([0.9 / who.width**2, 0.7])

    def layer(self) -> "Canvas":
        """A canvas of the same head with a copy of the colors (everything else is shared)."""
        canvas = copy(self)
        canvas.rgb = self.rgb.copy()
        return canvas

    def project(self, points: np.ndarray, lift: float = 0.0) -> np.ndarray:
        """Head coordinates (n, 2) to pixels, (n, 1, 2) int32 in 1/16 pixel, as OpenCV expects.

        `lift` is the height above the ellipsoid, in head coordinates: above 0 for the nose, below 0
        for the ears.
        """
        height = 0.7 * np.sqrt(np.maximum(1 - (points * points) @ self._ellipsoid, 0)) + lift
        flat = points @ self._rotation[:2] + height[:, None] * self._rotation[2] + self._center
        return np.rint(flat).astype(np.int32)[:, None]

    def fill(self, points: np.ndarray, color: RGB, lift: float = 0.0, body: bool = False) -> None:
        """Fill a closed curve; `body` means that it is part of the person."""
        projected = [self.project(points, lift)]
        cv2.fillPoly(self.rgb, projected, color, cv2.LINE_AA, SHIFT)
        if body:
            cv2.fillPoly(self.body, projected, (255.0,), cv2.LINE_AA, SHIFT)

    def line(self, points: np.ndarray, color: RGB, width: float, lift: float = 0.0) -> None:
        """Draw an open curve; `width` in head coordinates, at least one pixel."""
        projected, thickness = [self.project(points, lift)], self._thickness(width)
        cv2.polylines(self.rgb, projected, False, color, thickness, cv2.LINE_AA, SHIFT)

    def shade(self, points: np.ndarray, amount: float, lift: float = 0.0) -> None:
        """Darken (`amount` down to -1) or lighten (up to 1) an area with a soft edge."""
        level = (float(np.clip(NEUTRAL * (1 + amount), 0, 255)),)
        cv2.fillPoly(self.soft, [self.project(points, lift)], level, cv2.LINE_AA, SHIFT)

    def crease(self, points: np.ndarray, depth: float, width: float, lift: float = 0.0) -> None:
        """Draw a fold in the skin, `depth` from 0 (none) to 1 (black)."""
        if depth < 0.04:
            return
        level = (float(np.clip(NEUTRAL * (1 - depth), 0, 255)),)
        projected, thickness = [self.project(points, lift)], self._thickness(width)
        cv2.polylines(self.fine, projected, False, level, thickness, cv2.LINE_AA, SHIFT)

    def _thickness(self, width: float) -> int:
        """Pixels of a line, at least one."""
        return max(1, round(width * self.lines * self.pose.scale))

    def inside(self, outline: np.ndarray, paint: np.ndarray, lift: float = 0.0) -> None:
        """Replace the colors inside a closed curve by those of `paint`, (H, W, 3) uint8."""
        mask = np.zeros(self.rgb.shape[:2], np.uint8)
        cv2.fillPoly(mask, [self.project(outline, lift)], (255.0,), cv2.LINE_8, SHIFT)
        cv2.copyTo(paint, mask, self.rgb)

    def finish(self, light: Light) -> np.ndarray:
        """Multiply the colors by shadows and light; (H, W, 3) uint8 RGB."""
        scale = self.pose.scale
        soft = cv2.GaussianBlur(self.soft, (0, 0), 0.055 * scale).astype(np.float32) / NEUTRAL
        fine = cv2.GaussianBlur(self.fine, (0, 0), max(0.4, 0.012 * scale)) / np.float32(NEUTRAL)
        weight = self.body.astype(np.float32) / 255
        factor = 1 + weight * (soft * fine * self._lamp(light) - 1)
        return np.clip(self.rgb * factor[:, :, None], 0, 255).astype(np.uint8)

    def _lamp(self, light: Light) -> np.ndarray:
        """Brightness by Lambert's cosine law on the ellipsoid; (H, W) float32, about 1 mid-face."""
        height, width = self.rgb.shape[:2]
        columns, rows = max(8, width // 6), max(8, height // 6)  # coarse: the light varies slowly
        x = (np.linspace(0, width, columns) - self.pose.center[0]) / self.pose.scale
        y = (np.linspace(0, height, rows) - self.pose.center[1]) / self.pose.scale
        u, v = np.meshgrid(x / self.who.width, y)
        radius = np.hypot(u, v) + 1e-6
        slope = 0.93 * np.minimum(radius, 1)  # sine of the surface's angle to the image
        normal = np.stack([u / radius * slope, v / radius * slope, np.sqrt(1 - slope**2)], axis=2)
        azimuth, elevation = np.deg2rad([light.azimuth, light.elevation])
        across, out = np.sin(azimuth) * np.cos(elevation), np.cos(azimuth) * np.cos(elevation)
        cosine = np.maximum(0, normal @ np.array([across, -np.sin(elevation), out]))
        ambient = light.ambient * (0.8 + 0.2 * normal[:, :, 2])
        level = (ambient + (1 - light.ambient) * cosine / max(out, 0.5)).astype(np.float32)
        return np.asarray(cv2.resize(level, (width, height), interpolation=cv2.INTER_LINEAR))


def rotation_matrix(pose: Pose) -> np.ndarray:
    """Rotation matrix (3, 3) of a pose: yaw first, then pitch, then roll."""
    (cy, cp, cr), (sy, sp, sr) = (
        f(np.deg2rad([pose.yaw, pose.pitch, pose.roll])) for f in (np.cos, np.sin)
    )
    yaw = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    pitch = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    roll = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return roll @ pitch @ yaw


@cache
def _circle(n: int) -> np.ndarray:
    """n points on the unit circle, (n, 2)."""
    angle = np.linspace(0, 2 * np.pi, n, endpoint=False)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


@cache
def _parabola(n: int) -> np.ndarray:
    """Lagrange polynomials of the nodes 0, 1/2 and 1 at n positions; (n, 3)."""
    t = np.linspace(0, 1, n)
    return np.stack([(1 - t) * (1 - 2 * t), 4 * t * (1 - t), t * (2 * t - 1)], axis=1)


def oval(x: float, y: float, half_width: float, half_height: float, n: int = 20) -> np.ndarray:
    """Closed curve (n, 2) around (x, y)."""
    return _circle(n) * (half_width, half_height) + (x, y)


def bow(start: Point, middle: Point, end: Point, n: int = 9) -> np.ndarray:
    """Parabola (n, 2) through three points."""
    return _parabola(n) @ np.array((start, middle, end), dtype=float)


def closed(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The area between two curves that run in the same direction, as one closed curve."""
    return np.concatenate([first, second[::-1]])


def mirrored(points: np.ndarray, side: int) -> np.ndarray:
    """The curve itself (side 1) or reflected in the vertical axis (side -1)."""
    return points * (side, 1)
