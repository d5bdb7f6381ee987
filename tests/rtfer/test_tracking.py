"""One face keeps one number; no box is ever made up."""

import numpy as np
import pytest

from fer_lib.faces.detection import Box
from fer_tools.rtfer.tracking import Tracker, between, overlap

LEFT, RIGHT = Box(0, 0, 40, 40), Box(100, 0, 40, 40)


def moved(box, dx, dy=0):
    return Box(box.x + dx, box.y + dy, box.w, box.h)


def test_overlap():
    assert overlap(LEFT, LEFT) == 1 and overlap(LEFT, RIGHT) == 0
    assert overlap(Box(0, 0, 2, 2), Box(1, 1, 2, 2)) == pytest.approx(1 / 7)
    assert overlap(Box(0, 0, 2, 2), Box(2, 0, 2, 2)) == 0  # they only touch


def test_numbers_stay_whatever_the_order():
    track = Tracker()
    assert track([LEFT, RIGHT], 0) == {1: LEFT, 2: RIGHT}
    assert track([moved(RIGHT, 5), moved(LEFT, 5)], 0.04) == {2: moved(RIGHT, 5), 1: moved(LEFT, 5)}


def test_two_who_walk_towards_each_other_keep_their_numbers():
    track = Tracker()
    for step in range(8):
        named = track([moved(RIGHT, -4 * step), moved(LEFT, 4 * step)], step / 25)
    assert named == {1: moved(RIGHT, -28), 2: moved(LEFT, 28)}


def test_the_best_overlap_of_all_wins():
    """Greedily, the first box would take the number of the other's face."""
    track = Tracker()
    track([Box(0, 0, 40, 40), Box(30, 0, 40, 40)], 0)
    assert track([Box(18, 0, 40, 40), Box(36, 0, 40, 40)], 0.04) == {
        1: Box(18, 0, 40, 40), 2: Box(36, 0, 40, 40),
    }  # fmt: skip


def test_a_missed_face_is_not_made_up_and_keeps_its_number_for_a_second():
    track = Tracker(memory_s=1.0)
    track([LEFT], 0)
    for frame in range(1, 25):
        assert track([], frame / 25) == {}
    assert track([moved(LEFT, 3)], 1.0) == {1: moved(LEFT, 3)}
    for frame in range(26, 52):
        assert track([], frame / 25) == {}
    assert track([LEFT], 2.1) == {2: LEFT}


def test_frames_far_apart_show_one_face():
    track = Tracker(memory_s=1.0)
    assert [list(track([LEFT], 5.0 * frame)) for frame in range(6)] == [[1]] * 6
    assert list(track([LEFT], 40.0)) == [1]  # two lost, or a pause


def test_a_face_elsewhere_is_another_one():
    track = Tracker()
    track([LEFT], 0)
    assert track([RIGHT], 0.04) == {2: RIGHT}
    assert track([RIGHT, LEFT], 0.08) == {2: RIGHT, 1: LEFT}


def test_many_random_frames_give_each_box_one_number():
    rng, track = np.random.default_rng(0), Tracker()
    for frame in range(50):
        boxes = [Box(*rng.integers(0, 60, 2).tolist(), 30, 30) for _ in range(rng.integers(0, 5))]
        assert list(track(boxes, frame / 25).values()) == boxes


def test_between():
    after = {1: moved(LEFT, 10, 20), 3: RIGHT}
    assert between({1: LEFT, 2: RIGHT}, after, 0.5) == {1: moved(LEFT, 5, 10)}
