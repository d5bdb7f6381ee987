"""Synthetic pairs: the same person, pose and light twice, with an expression and neutral.

The two images differ exactly where the expression is. So for synthetic faces the ground truth of an
attribution map is known.
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
    at_intensity,
    random_identity,
)

DRAWN = 96  # pixels a face is drawn at
SIDE = 48  # pixels of the result


def drawn_pairs(
    seed: int, each: int, intensity: float = 0.9
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw faces with an expression, and their differences from the neutral face.

    Args:
        seed: of people, poses, light and variants.
        each: people per expression; no two expressions share a person.
        intensity: of the expressions, 0 to 1.

    Returns:
        images (N, 48, 48) uint8; changes (N, 48, 48) float32, absolute difference in gray levels
        from the neutral face, 0 where they are equal; labels (N,) int64. N is 6 x `each`: there
        are no pairs for neutral.
    """
    images, changes, labels = [], [], []
    for label, name in enumerate(FER_CLASSES[:-1]):
        for number in range(each):
            # Both images of a pair use the same random stream, so that only the expression differs.
            variants = EXPRESSIONS[name]
            expression = at_intensity(variants[number % len(variants)], intensity)
            face, neutral = (_draw([seed, label, number], act) for act in (expression, Actions()))
            images.append(face)
            changes.append(np.abs(face.astype(np.float32) - neutral))
            labels.append(label)
    return np.stack(images), np.stack(changes), np.array(labels, dtype=np.int64)


def _draw(seed: list[int], act: Actions) -> np.ndarray:
    """A clean image of the person of `seed`; (48, 48) uint8."""
    rng = np.random.default_rng(seed)
    who = random_identity(rng)
    pose = Pose((0.5 * DRAWN, 0.42 * DRAWN), 0.555 * DRAWN, *rng.normal(0, (6, 4, 3.5)))
    light = Light(rng.uniform(-45, 45), rng.uniform(5, 45), rng.uniform(0.5, 0.9))
    image = draw_face(backdrop(rng, DRAWN, DRAWN), who, act, pose, light)
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(gray, (SIDE, SIDE), interpolation=cv2.INTER_AREA))
