"""Faces are turned upright by their eyes, and their grey values evened out."""

import numpy as np
import pytest

from fer_lib.errors import UserError
from fer_tools.rtfer.detectors import YuNetDetector
from studies.ablation import alignment


def eyes_drawn(angle: float, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """A grey image with two bright eyes, turned by `angle` degrees; and where they are."""
    turn = np.deg2rad(angle)
    half = 9 * scale * np.array([np.cos(turn), np.sin(turn)])
    eyes = np.array([[24.0, 20.0] - half, [24.0, 20.0] + half], dtype=np.float32)
    rows, columns = np.mgrid[:48, :48]
    face = np.full((48, 48), 40.0)
    for x, y in eyes:
        face += 200 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 4)
    return face.clip(0, 255).astype(np.uint8), eyes


@pytest.mark.parametrize(("angle", "scale"), [(0, 1), (17, 1), (-25, 0.8), (8, 1.2)])
def test_aligned_eyes_lie_level_at_their_place(angle, scale):
    face, eyes = eyes_drawn(angle, scale)
    turned = alignment.align(face, eyes)
    for half, wanted in zip((slice(0, 24), slice(24, 48)), alignment.EYES, strict=True):
        bright = turned[:, half].astype(float) - 60
        weight = bright.clip(0)
        rows, columns = np.mgrid[:48, half]
        centre = (weight * columns).sum() / weight.sum(), (weight * rows).sum() / weight.sum()
        np.testing.assert_allclose(centre, wanted, atol=0.5)


def test_absurd_eyes_leave_a_face_as_it_is():
    face, eyes = eyes_drawn(70)
    assert alignment.align(face, eyes) is None
    assert alignment.align(face, np.zeros((2, 2), np.float32)) is None
    faces, count = alignment.align_all(np.stack([face]), lambda _: eyes, "x")
    assert count == 0 and np.array_equal(faces[0], face)


def test_haar_finds_the_eyes_of_drawn_faces(drawn_faces):
    find = alignment.eyes_by_haar()
    found = [eyes for eyes in map(find, drawn_faces) if eyes is not None]
    assert len(found) > 0.2 * len(drawn_faces)
    middle = np.median(found, axis=0)
    assert middle[0, 0] < 24 < middle[1, 0] and 8 < middle[:, 1].mean() < 30


def test_yunet_finds_points_where_its_file_is(drawn_faces):
    try:
        detector = YuNetDetector()
    except UserError:
        pytest.skip("YuNet's model file is not here")
    find = alignment.eyes_by_yunet(detector)
    found = [eyes for eyes in map(find, drawn_faces) if eyes is not None]
    assert len(found) > 0.5 * len(drawn_faces)
    np.testing.assert_allclose(np.median(found, axis=0), alignment.EYES, atol=4)
    assert detector.points(np.zeros((96, 96), np.uint8)) is None


@pytest.fixture(scope="module")
def drawn_faces() -> np.ndarray:
    from fer_tools.synthetic_faces.fer2013 import draw_row, plan_rows

    rows = [row for row in plan_rows(3, "Training", 40, []) if row["kind"] == "face"]
    return np.stack([draw_row(3, row) for row in rows if row["duplicate_of"] < 0])


def test_equalized_faces_use_all_greys(drawn_faces):
    even = alignment.equalize(drawn_faces)
    assert even.shape == drawn_faces.shape and even.dtype == np.uint8
    parts = [np.histogram(face, bins=4, range=(0, 256))[0] / face.size for face in even]
    np.testing.assert_allclose(np.mean(parts, axis=0), 0.25, atol=0.03)
