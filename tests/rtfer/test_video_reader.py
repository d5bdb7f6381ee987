"""Videos are read upright, at true times, as far as they go; a line is compared as it should."""

import tracemalloc
from fractions import Fraction

import av
import numpy as np
import pandas as pd
import pytest
from videos import HEIGHT, WIDTH, close_to, grey, image, write, write_sound

from fer_lib.errors import UserError
from fer_tools.rtfer.valence import compare, correlation, crops, lag_seconds, thirds
from fer_tools.rtfer.video_reader import pick_frames, read_frames, video_info

# --------------------------------------------------------------------------- reading


def test_frames_come_in_order_with_their_images_and_times(tmp_path):
    frames = list(read_frames(write(tmp_path / "a.mp4", 40)))
    assert [frame.index for frame in frames] == list(range(40))
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(40) / 25, atol=1e-4)
    for number, frame in enumerate(frames):
        assert frame.rgb.shape == (HEIGHT, WIDTH, 3) and frame.rgb.dtype == np.uint8
        assert close_to(frame.rgb[5, 5], (220, 20, 20), 25)  # red first
        assert close_to(frame.rgb[40, 5], grey(number)), number
    assert video_info(tmp_path / "a.mp4").frames == 40
    assert video_info(tmp_path / "a.mp4").frames_per_second == pytest.approx(25)


def test_uneven_times_are_kept(tmp_path):
    stamps = [0, 40, 80, 280, 290, 1000, 1030, 2500]
    path = write(tmp_path / "a.mkv", len(stamps), stamps=stamps, options={"bf": "0"})
    times = [frame.time_s for frame in read_frames(path)]
    np.testing.assert_allclose(times, np.array(stamps) / 1000, atol=2e-3)


@pytest.mark.parametrize("turn", [90, 180, -90])
def test_rotation_is_applied(tmp_path, turn):
    frame = next(read_frames(write(tmp_path / "a.mp4", 3, turn=turn)))
    expected = np.rot90(image(0), turn // 90)
    assert frame.rgb.shape == expected.shape and frame.rgb.flags.c_contiguous
    places = [(5, 5), (5, -5), (-5, 5), (-5, -5)]
    for place in places:
        assert close_to(frame.rgb[place], expected[place], 25), place


def test_pixels_become_square(tmp_path):
    frame = next(read_frames(write(tmp_path / "a.mp4", 2, pixel=Fraction(2, 1))))
    assert frame.rgb.shape == (HEIGHT, 2 * WIDTH, 3)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("ten_bit.mkv", {"pix_fmt": "yuv420p10le"}),
        ("odd.mkv", {"pix_fmt": "yuv444p", "size": (61, 47)}),
        ("one_frame.mp4", {"count": 1}),
        ("a:b 'c'.mp4", {}),
    ],
)
def test_unusual_videos_are_read(tmp_path, name, settings):
    path = write(tmp_path / name, **settings)
    frames = list(read_frames(path))
    assert len(frames) == settings.get("count", 10)
    assert close_to(frames[0].rgb[3, 3], (220, 20, 20), 25)


def test_gif(tmp_path):
    with av.open(str(tmp_path / "a.gif"), "w") as file:
        stream = file.add_stream("gif", rate=10)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "rgb8"
        for number in range(5):
            frame = av.VideoFrame.from_ndarray(image(number), format="rgb24")
            file.mux(stream.encode(frame.reformat(format="rgb8")))
        file.mux(stream.encode())
    frames = list(read_frames(tmp_path / "a.gif"))
    assert len(frames) == 5 and close_to(frames[0].rgb[3, 3], (220, 20, 20), 40)


def test_picked_frames_are_those_asked_for(tmp_path):
    path = write(tmp_path / "a.mp4", 20)
    assert [frame.index for frame in pick_frames(path, [12, 3, 3])] == [3, 12]


def test_a_cut_video_yields_what_is_there(tmp_path):
    path = write(tmp_path / "a.mp4", 100, container={"movflags": "faststart"}, options={"g": "5"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    frames = list(read_frames(path))
    assert 10 < len(frames) < 100
    assert [frame.index for frame in frames] == list(range(len(frames)))
    np.testing.assert_allclose(frames[9].time_s, 9 / 25, atol=1e-4)


def test_damage_in_the_middle_is_passed_over(tmp_path):
    path = write(tmp_path / "a.mp4", 100, options={"g": "5"})
    data = bytearray(path.read_bytes())
    start = data.find(b"mdat") + len(data) // 4
    data[start : start + 400] = bytes(400)
    path.write_bytes(data)
    times = [frame.time_s for frame in read_frames(path)]
    assert 40 < len(times) <= 100
    assert times[-1] > 3.5 and (np.diff(times) > 0).all()


def test_memory_does_not_grow_with_length(tmp_path):
    path = write(tmp_path / "a.mkv", 150, size=(320, 240))
    tracemalloc.start()
    for _ in read_frames(path):
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10 * 320 * 240 * 3


def test_closing_early_frees_the_file(tmp_path):
    path = write(tmp_path / "a.mp4")
    frames = read_frames(path)
    next(frames)
    frames.close()
    path.unlink()


# --------------------------------------------------------------------------- bad files


def test_bad_files_end_in_one_message(tmp_path):
    files = {
        "empty.mp4": b"",
        "text.mp4": b"I am a letter, not a video.\n" * 50,
        "noise.mp4": bytes(range(256)) * 40,
        "cut.mp4": write(tmp_path / "whole.mp4").read_bytes()[:500],
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    write_sound(tmp_path / "sound.mp4")
    write_sound(tmp_path / "song.mp3", "libmp3lame", cover=True)
    (tmp_path / "folder.mp4").mkdir()
    expected = {
        "missing.mp4": "is not a file", "folder.mp4": "is not a file", "empty.mp4": r"0 bytes",
        "text.mp4": "no video that can be read", "noise.mp4": "no video that can be read",
        "cut.mp4": "no video that can be read", "sound.mp4": "holds sound alone",
        "song.mp3": "holds sound alone",
    }  # fmt: skip
    for name, message in expected.items():
        for reader in (lambda path: list(read_frames(path)), video_info):
            with pytest.raises(UserError, match=f"{name} .*{message}.*: ") as raised:
                reader(tmp_path / name)
            assert "\n" not in str(raised.value)


def test_a_video_without_frames_is_refused(tmp_path):
    path = write(tmp_path / "a.mp4", 30)
    head, rest = path.read_bytes().split(b"mdat")
    frames, tables = rest.split(b"moov")
    path.write_bytes(head + b"mdat" + bytes(len(frames) - 4) + frames[-4:] + b"moov" + tables)
    with pytest.raises(UserError, match="no frame that can be decoded"):
        list(read_frames(path))


# --------------------------------------------------------------------------- the line


def test_crops_are_what_the_network_was_given(tmp_path):
    path = write(tmp_path / "a.mp4", 6)
    table = pd.DataFrame({"face_found": [True, True, False, True, True, True]})
    for name, value in {"x": 0, "y": 30, "w": 16, "h": 16}.items():
        table[name] = pd.array([value] * 6, dtype="Int64")
    given = crops(pick_frames(path, [1, 2]), table, 0.0)
    assert given.shape == (2, 48, 48) and given.dtype == np.uint8
    assert close_to(given[0], 45) and (given[1] == 0).all()
    assert crops([], table, 0.0).shape == (0, 48, 48)


def a_line(valence, found):
    times = np.arange(len(valence)) / 25
    table = pd.DataFrame({"time_s": times, "valence": valence, "face_found": found})
    table.loc[~table.face_found, "valence"] = np.nan
    return table.assign(valence_smooth=table.valence * 0.5)


def test_compare_counts_only_faces_that_are_present_and_found():
    true = np.sin(np.arange(200) / 9)
    found = np.arange(200) % 7 > 0
    truth = pd.DataFrame({"valence": true, "face_present": 1})
    truth.loc[150:, "face_present"] = 0
    answers = np.where(np.arange(200) < 150, true + 0.1, 9.0)  # wild, but nobody is there
    compared = compare(a_line(answers, found), truth)
    assert list(compared.index) == ["frame by frame", "smoothed"]
    expected = [1, 0.1, 0]
    np.testing.assert_allclose(compared.loc["frame by frame"], expected, atol=1e-9)
    assert compared.loc["smoothed", "mean absolute error"] > 0.2
    with pytest.raises(UserError, match="200 rows, the video 199 frames"):
        compare(a_line(answers[1:], found[1:]), truth)


def test_thirds_are_equally_long_in_time():
    table = a_line(np.repeat([-1.0, 0.5, 1.0], [34, 33, 34]), np.arange(101) != 5)
    compared = thirds(table)
    assert compared.valence.tolist() == [-1, 0.5, 1] and compared.frames.tolist() == [33, 33, 34]
    short = thirds(a_line(np.array([0.4]), np.array([True])))
    assert short.valence.iloc[0] == 0.4 and short.frames.tolist()[0] == 1


@pytest.mark.parametrize("delay", [-0.4, 0.0, 0.2])
def test_lag_is_found(delay):
    times = np.arange(500) / 25
    truth = np.sin(times) + 0.3 * np.sin(2.7 * times)
    late = np.sin(times - delay) + 0.3 * np.sin(2.7 * (times - delay))
    late[200:220] = np.nan
    assert lag_seconds(times, late, truth) == pytest.approx(delay, abs=0.011)


def test_correlation_without_variation_is_undefined():
    assert np.isnan(correlation([1, 1, 1], [1, 2, 3])) and np.isnan(
        correlation([1, np.nan], [1, 2])
    )
    assert correlation([1, 2, np.nan, 3], [2, 4, 9, 6]) == pytest.approx(1)
    assert np.isnan(lag_seconds(np.arange(5), np.full(5, np.nan), np.arange(5)))
