"""Videos are playable, true to time, and readable at any size."""

import errno
import subprocess
import sys
import time

import av
import numpy as np
import pytest
from videos import close_to, image, observation

from fer_lib.errors import UserError
from fer_lib.faces.detection import Box
from fer_tools.rtfer import video_writer
from fer_tools.rtfer.video_reader import read_frames
from fer_tools.rtfer.video_writer import History, VideoWriter, annotate

PLACE = Box(100, 60, 80, 80)


def a_face(valence, face_id=1, box=PLACE, detected=True):
    probabilities = [max(-valence, 0), 1 - abs(valence), max(valence, 0)]
    return observation(probabilities, face_id, box, valence, detected)


def video_of(path, stamps, size=(64, 48), **settings):
    with VideoWriter(path, *size, **settings) as writer:
        for number, stamp in enumerate(stamps):
            writer.write(image(number, size[1], size[0]), stamp)
    return path


# --------------------------------------------------------------------------- writing


def test_browsers_play_it(tmp_path):
    path = video_of(tmp_path / "a.mp4", np.arange(60) / 25)
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        assert stream.codec.name == "h264" and stream.codec_context.pix_fmt == "yuv420p"
        assert stream.frames == 60 and float(stream.duration * stream.time_base) == pytest.approx(
            2.4, abs=0.01
        )
    data = path.read_bytes()
    assert 0 < data.find(b"moov") < data.find(b"mdat")  # the index in front
    assert b"moof" not in data
    assert [file.name for file in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize("shift", [0.0, 0.7])
def test_uneven_times_and_frames_are_kept(tmp_path, shift):
    stamps = shift + np.array([0, 40, 80, 280, 290, 1000, 1030, 2500]) / 1000
    frames = list(read_frames(video_of(tmp_path / "a.mp4", stamps, rate=8 / 2.5)))
    times = np.array([frame.time_s for frame in frames])
    np.testing.assert_allclose(times - times[0], stamps - stamps[0], atol=1e-3)
    for number, frame in enumerate(frames):
        assert close_to(frame.rgb[40, 5], 40 + 5 * number, 14), number


@pytest.mark.parametrize("size", [(61, 47), (64, 47), (1, 1)])
def test_odd_sides_are_padded(tmp_path, size):
    (frame,) = read_frames(video_of(tmp_path / "a.mp4", [0.0], size))
    assert frame.rgb.shape == (size[1] + size[1] % 2, size[0] + size[0] % 2, 3)


def test_8k_is_shrunk(tmp_path):
    path = video_of(tmp_path / "a.mp4", [0.0, 0.04], (7680, 4320))
    shapes = {frame.rgb.shape for frame in read_frames(path)}
    assert shapes == {(720, 1280, 3)}


def test_a_size_that_changes_midway_is_fitted(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", 64, 48) as writer:
        writer.write(image(0), 0.0)
        writer.write(image(1, 96, 128), 0.1)
    assert len(list(read_frames(tmp_path / "a.mp4"))) == 2


def broken_off(path, error):
    """A video of one frame, whose writing `error` ends."""
    with VideoWriter(path, 64, 48) as writer:
        writer.write(image(0), 0.0)
        raise error


def test_no_frame_no_file_and_an_error_leaves_nothing(tmp_path):
    VideoWriter(tmp_path / "a.mp4", 64, 48).close()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(RuntimeError):
        broken_off(tmp_path / "a.mp4", RuntimeError)
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_finishes_the_video(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        broken_off(tmp_path / "a.mp4", KeyboardInterrupt)
    assert len(list(read_frames(tmp_path / "a.mp4"))) == 1


KILLED = """
import sys, time, numpy as np
from pathlib import Path
from fer_tools.rtfer.video_writer import VideoWriter
writer = VideoWriter(Path(sys.argv[1]), 64, 48)
noise = np.random.default_rng(0)
for number in range(300):
    writer.write(noise.integers(0, 256, (48, 64, 3)).astype(np.uint8), number / 25)
print("written", flush=True)
time.sleep(100)
"""


def test_a_killed_run_leaves_a_playable_file(tmp_path):
    command = [sys.executable, "-c", KILLED, str(tmp_path / "a.mp4")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout.readline()
    time.sleep(0.5)
    process.kill()
    process.communicate()
    frames = list(read_frames(tmp_path / "a.part.mp4"))
    assert 150 <= len(frames) <= 300


def test_a_full_disk_is_reported_and_nothing_stays(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    def write_all():
        with VideoWriter(tmp_path / "a.mp4", 64, 48) as writer:
            monkeypatch.setattr(writer, "_even", full)
            for number in range(50):
                writer.write(image(number), number / 25)

    with pytest.raises(UserError, match=r"a.mp4 cannot be written \(No space left on device\): "):
        write_all()
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(video_writer.os, "replace", full)
    with pytest.raises(UserError, match="No space left"):
        video_of(tmp_path / "a.mp4", [0.0, 0.04])
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_reported(tmp_path):
    with pytest.raises(UserError, match="cannot be written"):
        VideoWriter(tmp_path / "none" / "a.mp4", 64, 48)


# --------------------------------------------------------------------------- drawing


def grey(height=360, width=640):
    return np.full((height, width, 3), 90, np.uint8)


@pytest.mark.parametrize(
    ("valence", "state"), [(-0.9, "negative"), (0.0, "neutral"), (0.9, "positive")]
)
def test_the_box_has_the_color_of_its_state(valence, state):
    rgb = grey()
    drawn = annotate(rgb, [a_face(valence)])
    assert (rgb == 90).all() and drawn.shape == rgb.shape
    color = video_writer.STATE_COLORS[state]
    for x, y in ((100, 100), (180, 100), (140, 140)):
        assert tuple(drawn[y, x]) == color
    assert (drawn[90:110, 130:150] == 90).all()  # the face itself is left free


def test_label_sign_and_score_are_drawn(monkeypatch):
    texts = []
    put = video_writer.cv2.putText
    monkeypatch.setattr(
        video_writer.cv2,
        "putText",
        lambda p, text, *rest: texts.append(text) or put(p, text, *rest),
    )
    annotate(grey(), [a_face(-0.5)])
    annotate(grey(), [a_face(0.75), a_face(0.0, 2, Box(300, 60, 50, 50))])
    assert texts == ["- negative -0.50", "2: o neutral +0.00", "1: + positive +0.75"]


@pytest.mark.parametrize("size", [(180, 320), (1080, 1920), (4320, 7680), (48, 64), (2, 2)])
def test_any_size_is_drawn_and_text_is_large_enough(size):
    history = History(2.0)
    big = Box(size[1] // 4, size[0] // 4, size[0] // 2, size[0] // 2)
    for number in range(20):
        history.add(number / 25, [a_face(0.5, box=big)])
    drawn = annotate(grey(*size), [a_face(0.5, box=big)], history)
    assert drawn.shape[1] == min(size[1], 1280)
    assert abs(drawn.shape[0] / drawn.shape[1] - size[0] / size[1]) < 0.01
    letters = video_writer.cv2.getTextSize(
        "+0.50", video_writer.FONT, video_writer._text_scale(*drawn.shape[:2]), 1
    )[0][1]
    assert letters >= 9


@pytest.mark.parametrize(
    "box", [Box(-50, -40, 200, 200), Box(600, 340, 90, 90), Box(0, 0, 640, 360)]
)
def test_labels_stay_inside_the_image(box):
    drawn = annotate(grey(), [a_face(0.9, box=box)])
    green = (drawn == video_writer.STATE_COLORS["positive"]).all(axis=2)
    assert green[2:-2, 2:-2].sum() > 1000  # the label's ground


def line_pixels(drawn):
    """Columns of the strip in which the white line stands, and its mean row in each."""
    strip = (drawn[275:, 30:610] > 200).all(axis=2)
    return {x: np.flatnonzero(strip[:, x]).mean() for x in range(580) if strip[:, x].any()}


def test_the_line_grows_from_left_to_right_and_has_gaps():
    history, widths = History(4.0), []
    for number in range(100):
        seen = [] if 40 <= number < 60 else [a_face(-1 + number / 50)]
        history.add(number / 25, seen)
        widths.append(len(line_pixels(annotate(grey(), [], history))))
    assert (np.diff(widths) >= -8).all() and widths[0] < 12 and widths[35] > 180
    columns = line_pixels(annotate(grey(), [], history))
    gap = [x for x in columns if 0.43 * 580 < x < 0.57 * 580]
    assert gap == []
    means = [np.mean([y for x, y in columns.items() if a <= x < a + 100]) for a in (0, 130, 450)]
    assert means[0] > means[1] > means[2]  # it rises


def test_history_stays_small_however_long_the_video_is():
    history = History()
    for number in range(20_000):
        seen = [a_face(np.sin(number / 100), face) for face in range(1, 4)]
        history.add(number / 10, seen if number % 1000 else [])
    assert history.seconds >= 2000
    assert all(len(line) < 1500 for line in history.lines.values()) and len(history.lines) == 3
    assert sum(not joined for _, _, joined in history.lines[1]) == 20
    assert history.lines[1][-1][0] == 1999.9
    for face in range(10, 40):
        history.add(2000 + face / 10, [a_face(0.1, 1), a_face(0.1, face)])
    assert len(history.lines) == history.faces and 1 in history.lines
