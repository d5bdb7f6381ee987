"""Boxes stand where the face is, and crops hold what the box says."""

import cv2
import numpy as np
import pytest

from fer_lib.errors import UserError
from fer_lib.faces import detection
from fer_lib.faces.detection import Box, HaarDetector, crop_face
from fer_tools.rtfer.detectors import YuNetDetector, find_detector
from fer_tools.rtfer.video_reader import read_frames
from fer_tools.synthetic_faces.world import write_video


@pytest.fixture(scope="module")
def portrait(tmp_path_factory):
    """A drawn face on a wall, (360, 480, 3) uint8 RGB; its nose is near (240, 190)."""
    folder = tmp_path_factory.mktemp("video")
    write_video(folder, seed=7, seconds=0.2)
    return next(read_frames(folder / "sample.mp4")).rgb


def test_finds_the_one_face(portrait):
    (box,) = HaarDetector()(portrait)
    assert all(type(value) is int for value in box)
    assert 150 < box.w == box.h < 260
    assert box.x < 200 < 280 < box.x + box.w and box.y < 150 < 230 < box.y + box.h


def test_grey_and_colour_give_the_same_boxes(portrait):
    assert HaarDetector()(portrait) == HaarDetector()(detection.to_grey(portrait))


def test_several_faces_come_largest_first(portrait):
    small = cv2.resize(portrait, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    page = np.full((400, 800, 3), 128, np.uint8)
    page[: small.shape[0], : small.shape[1]] = small
    page[: portrait.shape[0], 300 : 300 + portrait.shape[1]] = portrait
    first, second = HaarDetector()(page)
    assert first.w > second.w and first.x > 300 > second.x + second.w


def test_smallest_leaves_out_small_faces(portrait):
    assert HaarDetector(smallest=0.9)(portrait) == []


def test_a_wall_has_no_face():
    wall = np.random.default_rng(0).integers(100, 120, (200, 300)).astype(np.uint8)
    assert HaarDetector()(wall) == []


def test_a_missing_cascade_is_reported(monkeypatch, tmp_path):
    monkeypatch.setattr(detection, "CASCADE", "none.xml")
    with pytest.raises(UserError, match=r"none.xml is missing in OpenCV .* pyproject.toml"):
        HaarDetector()


def ramp(height=100, width=120):
    """Every pixel tells its column; rows differ by one."""
    return np.add.outer(np.arange(height), np.arange(width)).astype(np.uint8)


def test_crop_of_48_pixels_is_exact():
    grey = ramp()
    np.testing.assert_array_equal(crop_face(grey, Box(20, 10, 48, 48)), grey[10:58, 20:68])


def test_margin_grows_about_the_centre():
    grey = ramp()
    crop = crop_face(grey, Box(30, 20, 40, 40), margin=0.2)
    np.testing.assert_array_equal(crop, grey[16:64, 26:74])
    crop = crop_face(grey, Box(10, 10, 60, 60), margin=-0.2)
    np.testing.assert_array_equal(crop, grey[16:64, 16:64])


def test_a_box_that_is_not_square_takes_its_longer_side():
    grey = ramp()
    np.testing.assert_array_equal(crop_face(grey, Box(30, 20, 20, 48)), grey[20:68, 16:64])


def test_edges_are_repeated_beyond_the_picture():
    grey = ramp()
    crop = crop_face(grey, Box(-8, -5, 48, 48))
    np.testing.assert_array_equal(crop[5:, 8:], grey[:43, :40])
    np.testing.assert_array_equal(crop[:5, 8:], np.repeat(grey[:1, :40], 5, axis=0))
    np.testing.assert_array_equal(crop[5:, :8], np.repeat(grey[:43, :1], 8, axis=1))
    far = crop_face(grey, Box(200, 300, 48, 48))
    assert (far == grey[-1, -1]).all()


def test_shrinking_averages_areas():
    fine = np.indices((192, 192)).sum(axis=0) % 2 * 255
    crop = crop_face(fine.astype(np.uint8), Box(0, 0, 192, 192))
    assert crop.shape == (48, 48) and np.abs(crop.astype(int) - 127).max() <= 1


@pytest.mark.parametrize("box", [Box(3, 3, 1, 1), Box(0, 0, 20, 20), Box(5, 5, 301, 77)])
def test_crop_is_always_48_and_uint8(box):
    crop = crop_face(ramp(), box, margin=0.1)
    assert crop.shape == (48, 48) and crop.dtype == np.uint8


def test_framing_tells_how_a_crop_sits(portrait):
    grey = detection.to_grey(portrait)
    detector = HaarDetector(smallest=0.3)
    (box,) = detector(grey)
    wide = np.stack([crop_face(grey, box, margin) for margin in (0.0, 0.25)])
    found = detection.framing(wide, detector)
    assert found.shape == (2, 3)
    np.testing.assert_allclose(found[:, 2], [1, 1 / 1.25], rtol=0.08)
    np.testing.assert_allclose(found[:, :2], 0, atol=0.06)
    moved = crop_face(grey, Box(box.x - 20, box.y, box.w, box.h))
    ((x, y, _),) = detection.framing(moved[None], detector)
    assert x == pytest.approx(20 / box.w, abs=0.05) and abs(y) < 0.05
    assert detection.framing(np.zeros((3, 48, 48), np.uint8), detector).shape == (0, 3)


def test_a_shrunken_image_gives_the_same_boxes(portrait, monkeypatch):
    """Found in a copy four times as large, boxes stand at four times the place, within 3 %."""
    large = cv2.resize(portrait, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    (small,), (box,) = HaarDetector()(portrait), HaarDetector()(large)
    np.testing.assert_allclose(np.array(box) / 4, small, atol=0.03 * small.w)
    monkeypatch.setattr(detection, "SHORT_SIDE", 10_000)
    (whole,) = HaarDetector()(portrait)
    np.testing.assert_allclose(whole, small, atol=0.04 * small.w)


def test_a_picture_is_shrunk_as_far_as_small_faces_allow():
    image = np.zeros((720, 1280, 3), np.uint8)
    assert detection.shrunk(image, 0.2, 36)[0].shape == (180, 320, 3)
    small, scale = detection.shrunk(image, 0.1, 36)
    assert small.shape == (360, 640, 3) and scale == 0.5
    assert detection.shrunk(image[:100], 0.2, 36)[0].shape == (100, 1280, 3)


def test_detectors_by_name(tmp_path, monkeypatch):
    detector = find_detector("haar", smallest=0.3)
    assert isinstance(detector, HaarDetector) and detector.smallest == 0.3
    with pytest.raises(UserError, match="'mtcnn' is no face detector: choose one of haar, yunet"):
        find_detector("mtcnn")
    monkeypatch.setattr("fer_tools.rtfer.detectors.project_root", lambda: tmp_path)
    with pytest.raises(UserError, match=r"yunet.*onnx is missing: data/README.md says where"):
        find_detector("yunet")
    file = tmp_path / "data/raw/models/face_detection_yunet_2026may.onnx"
    file.parent.mkdir(parents=True)
    file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 229738\n")
    with pytest.raises(UserError, match=r"2026may.onnx \(.* bytes\) is no model .* data/README.md"):
        find_detector("yunet")


@pytest.fixture(scope="module")
def yunet():
    try:
        return YuNetDetector()
    except UserError as error:
        pytest.skip(str(error))


def test_yunet_finds_the_face_that_haar_finds(yunet, portrait):
    """At its own margin it is framed nearly as Haar frames it."""
    (box,), (other,) = yunet(portrait), HaarDetector()(portrait)
    assert all(type(value) is int for value in box)
    side = (1 + yunet.margin) * max(box.w, box.h)
    assert side == pytest.approx(other.w, rel=0.25)
    assert box.x + box.w / 2 == pytest.approx(other.x + other.w / 2, abs=0.1 * other.w)
    assert box.y + box.h / 2 == pytest.approx(other.y + other.h / 2, abs=0.15 * other.w)
    assert yunet(detection.to_grey(portrait)) and not YuNetDetector(smallest=0.9)(portrait)


def test_yunet_boxes_do_not_depend_on_the_pictures_size(yunet, portrait):
    large = cv2.resize(portrait, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
    (small,), (box,) = yunet(portrait), yunet(large)
    np.testing.assert_allclose(np.array(box) / 3, small, atol=0.05 * small.h)
    assert yunet(np.full((200, 300, 3), 90, np.uint8)) == []
