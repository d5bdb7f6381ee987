"""How a network does under worse conditions: faces made blurred, small, dark, ... by degrees.

Every condition is applied to faces of known class, so the accuracy at each level is measured, and
the level at which too much of it is lost is a limit: what is worse should not be used. Where a
condition shows in the face itself, its limit is given as what can be measured there in use (mean
grey level, contrast, ...), not as what was done to it.

Faces are (N, 48, 48) uint8.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from fer_lib.data.arrays import SIDE
from fer_lib.evaluation.metrics import resample
from fer_lib.labels import LEFT_OUT, VALENCE_SIGN

Measure = Callable[[np.ndarray], np.ndarray]  # (N, 48, 48) uint8 -> (N,)


@dataclass(frozen=True)
class Condition:
    """One way in which a face can be worse.

    Attributes:
        title: of the axis, with its unit.
        unit: of the limit, see `published.DECIMALS`.
        levels: from slight to severe.
        apply: the degraded faces, of faces and a level.
        measure: what shows the condition in the degraded faces; None where the level itself is
            known in use, such as the size of a face.
        unchanged: the level that changes nothing.
    """

    title: str
    unit: str
    levels: tuple[float, ...]
    apply: Callable[[np.ndarray, float], np.ndarray]
    measure: Measure | None = None
    unchanged: float = 0.0

    def at(self, faces: np.ndarray, level: float) -> float:
        """Where on the axis these degraded faces are: the median of what is measured."""
        return level if self.measure is None else float(np.median(self.measure(faces)))


@dataclass(frozen=True)
class Curve:
    """How a network does along one condition; the first of L levels is the unchanged faces.

    Attributes:
        place: (L,) on the condition's axis.
        right: (L, N) bool, which faces are classified correctly; a face not found is not.
        valence: (L, N) in [-1, 1]; NaN where no face was found.
    """

    place: np.ndarray
    right: np.ndarray
    valence: np.ndarray

    @property
    def accuracy(self) -> np.ndarray:
        """(L,) in [0, 1]."""
        return self.right.mean(axis=1)

    @property
    def shift(self) -> np.ndarray:
        """(L,) mean distance of a face's valence from that of the unchanged face, 0 to 2."""
        return np.nanmean(np.abs(self.valence - self.valence[0]), axis=1)

    def resampled(self, resamples: int, seed: int) -> np.ndarray:
        """(R, L) accuracies of resampled faces, the same ones at all levels."""
        draws = resample(self.right.T.astype(np.int64), resamples=resamples, seed=seed)
        return draws / self.right.shape[1]

    def interval(self, *, resamples: int, seed: int) -> np.ndarray:
        """(2, L) ends of the 95 % bootstrap interval of the accuracy."""
        return np.percentile(self.resampled(resamples, seed), [2.5, 97.5], axis=0)


def degrade(
    conditions: Mapping[str, Condition],
    faces: np.ndarray,
    labels: np.ndarray,
    predict: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
) -> dict[str, Curve]:
    """Classify faces at every level of some conditions.

    Args:
        conditions: by name.
        faces: (N, 48, 48) uint8.
        labels: (N,) int.
        predict: the predicted classes (N,) and valences (N,) of faces.
    """
    curves, unchanged = {}, predict(faces)
    for name, condition in conditions.items():
        degraded = [condition.apply(faces, level) for level in condition.levels]
        found = [unchanged, *map(predict, degraded)]
        levels = zip((faces, *degraded), (condition.unchanged, *condition.levels), strict=True)
        curves[name] = Curve(
            place=np.array([condition.at(*pair) for pair in levels]),
            right=np.stack([predicted == labels for predicted, _ in found]),
            valence=np.stack([valence for _, valence in found]),
        )
    return curves


def detected_curve(place: Sequence[float], labels: np.ndarray, found: np.ndarray) -> Curve:
    """The curve of a condition in which the detector takes part.

    Args:
        place: L places on the axis, the unchanged faces first.
        labels: (N,) valence classes.
        found: (L, N, 3) probabilities of the valence classes; NaN where no face was found.
    """
    lost = np.isnan(found[..., 0])
    predicted = np.where(lost, LEFT_OUT, np.nan_to_num(found).argmax(axis=2))
    return Curve(np.array(place, dtype=np.float64), predicted == labels, found @ VALENCE_SIGN)


def limit(place: np.ndarray, accuracy: np.ndarray, allowed: float) -> float | None:
    """Where on its axis a curve has lost more accuracy than allowed, interpolated between levels.

    Args:
        place: (L,), the unchanged faces first.
        accuracy: (L,) in [0, 1].
        allowed: loss of accuracy, in [0, 1].

    Returns:
        The first such place; None if the last level has not lost so much.
    """
    loss = accuracy[0] - accuracy
    beyond = np.flatnonzero(loss > allowed)
    if len(beyond) == 0:
        return None
    after = int(beyond[0])
    share = (allowed - loss[after - 1]) / (loss[after] - loss[after - 1])
    return float(place[after - 1] + share * (place[after] - place[after - 1]))


def limit_with_interval(
    found: Curve, allowed: float, *, resamples: int, seed: int
) -> tuple[float, float, float] | None:
    """`limit` with its 95 % bootstrap interval over faces: value, low, high; None as there.

    All levels are evaluated on the same resampled faces. A resample that stays within the allowed
    loss counts as the last level.
    """
    value = limit(found.place, found.accuracy, allowed)
    if value is None:
        return None
    drawn = [limit(found.place, row, allowed) for row in found.resampled(resamples, seed)]
    ends = [found.place[-1] if place is None else place for place in drawn]
    low, high = np.percentile(ends, [2.5, 97.5])
    return value, float(low), float(high)


def blurred(faces: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur; `sigma` in pixels of the 48."""
    return np.stack([cv2.GaussianBlur(face, (0, 0), sigma) for face in faces])


def shrunk(faces: np.ndarray, side: float) -> np.ndarray:
    """As if the face had `side` pixels in the frame: shrunk to it, and enlarged as crops are."""
    size = (round(side), round(side))
    small = [cv2.resize(face, size, interpolation=cv2.INTER_AREA) for face in faces]
    return np.stack([cv2.resize(s, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR) for s in small])


def exposed(faces: np.ndarray, factor: float) -> np.ndarray:
    """Darker (below 1) or brighter, rounded to whole grey levels and clipped at white."""
    return np.clip(np.rint(faces * np.float32(factor)), 0, 255).astype(np.uint8)


def flattened(faces: np.ndarray, factor: float) -> np.ndarray:
    """Less contrast about each face's mean grey, rounded to whole grey levels."""
    mean = faces.mean(axis=(1, 2), keepdims=True)
    return np.rint(mean + np.float32(factor) * (faces - mean)).astype(np.uint8)


def tilted(faces: np.ndarray, degrees: float) -> np.ndarray:
    """Turned in the image's plane (roll), to either side in turn; edge pixels are repeated."""
    middle = (SIDE / 2 - 0.5, SIDE / 2 - 0.5)
    turns = [cv2.getRotationMatrix2D(middle, side * degrees, 1.0) for side in (1, -1)]
    return np.stack([
        cv2.warpAffine(face, turns[number % 2], (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)
        for number, face in enumerate(faces)
    ])  # fmt: skip


def covered(faces: np.ndarray, share: float, edge: str) -> np.ndarray:
    """A grey cover over a share of the face, from its "lower", "upper" or "left" edge."""
    reach, hidden = round(share * SIDE), faces.copy()
    places = {"lower": np.s_[:, SIDE - reach :], "upper": np.s_[:, :reach]}
    hidden[places.get(edge, np.s_[:, :, :reach])] = 128
    return hidden


def mean_grey(faces: np.ndarray) -> np.ndarray:
    """(N,) mean grey level, 0 to 255."""
    return faces.mean(axis=(1, 2))


def contrast(faces: np.ndarray) -> np.ndarray:
    """(N,) standard deviation of the grey levels, 0 to 127.5."""
    return faces.std(axis=(1, 2))


def clipped(faces: np.ndarray) -> np.ndarray:
    """(N,) percentage of pixels that are white."""
    return 100 * (faces == 255).mean(axis=(1, 2))


def sharpness(faces: np.ndarray) -> np.ndarray:
    """(N,) variance of the Laplacian over that of the face; 0 without detail, in any light."""
    detail = np.array([cv2.Laplacian(face, cv2.CV_32F).var() for face in faces])
    return detail / np.maximum(faces.var(axis=(1, 2)), 1.0)


def _cover(edge: str, what: str) -> Condition:
    return Condition(
        f"covered from {what}, % of the face", "percent", (15, 30, 45, 60),
        lambda faces, percent: covered(faces, percent / 100, edge),
    )  # fmt: skip


CONDITIONS: Mapping[str, Condition] = {
    "face_size": Condition(
        "side of the face, pixels", "pixels", (40, 32, 24, 16), shrunk, unchanged=SIDE
    ),
    "blur": Condition("blur, sigma in pixels of 48", "pixels", (0.4, 0.8, 1.5, 3), blurred),
    "dark": Condition(
        "mean grey level", "grey levels", (0.3, 0.1, 0.05, 0.025), exposed, mean_grey, 1.0
    ),
    "bright": Condition(
        "white pixels, %", "percent", (1.5, 2, 3, 5), exposed, clipped, 1.0
    ),
    "contrast": Condition(
        "contrast, grey levels (sd)", "grey levels", (0.3, 0.1, 0.05, 0.025), flattened,
        contrast, 1.0,
    ),
    "tilt": Condition("tilt, degrees", "degrees", (10, 20, 30, 45), tilted),
    "covered_below": _cover("lower", "below"),
    "covered_above": _cover("upper", "above"),
    "covered_left": _cover("left", "the left"),
}  # fmt: skip
