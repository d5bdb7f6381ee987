"""The engine: every face its line, gaps where none is, the same live and from a file."""

import re
import threading
import time
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from videos import FakeDetector, FakeRecognizer, grey, image, write

from fer_lib.errors import UserError
from fer_lib.faces.detection import Box
from fer_tools.inference.recognizer import Recognizer, published_weights
from fer_tools.rtfer import prefetch as prefetch_module
from fer_tools.rtfer.engine import COLUMNS, Engine, analyze, largest_face
from fer_tools.rtfer.smoothing import smooth
from fer_tools.rtfer.valence import save_line, thirds
from fer_tools.rtfer.video_reader import Frame, read_frames
from fer_tools.synthetic_faces.world import write_video

MISSING = [name for name in COLUMNS if name not in ("frame", "time_s", "face_found")]


def frames_of(count, size=(48, 64)):
    """Frames whose grey is their number."""
    return [Frame(i, i / 25, np.full((*size, 3), i % 256, np.uint8)) for i in range(count)]


class Walker:
    """A face that moves by `step` pixels a frame, read off the grey; gone in `missing`."""

    margin = 0.0

    def __init__(self, step=1, missing=()):
        self.step, self.missing, self.searched = step, missing, []

    def __call__(self, image):
        number = int(image[0, 0, 0])
        self.searched.append(number)
        return [] if number in self.missing else [Box(self.step * number, 5, 20, 20)]


def test_one_row_a_frame_with_gaps(tmp_path):
    path, gap = write(tmp_path / "a.mp4", 80), [0, 33, 34, 35, 79]
    engine = Engine(FakeRecognizer(), FakeDetector(gap), smoothing_seconds=0.1)
    table = analyze(path, engine)
    assert list(table) == COLUMNS and table.frame.tolist() == list(range(80))
    assert table.attrs["ended"] == "whole"
    np.testing.assert_allclose(table.time_s, np.arange(80) / 25, atol=1e-4)
    assert table.frame[~table.face_found].tolist() == gap
    assert table.loc[gap, MISSING].isna().all(axis=None)
    found = table[table.face_found]
    assert found[MISSING].notna().all(axis=None) and (found.face_id == 1).all()
    assert (found[["x", "y", "w", "h"]] == [0, 30, 16, 16]).all(axis=None)
    expected = 2 * grey(found.frame) / 255 - 1
    np.testing.assert_allclose(found.valence, expected, atol=0.06)
    np.testing.assert_allclose(found.valence, found.p_positive - found.p_negative, atol=1e-6)
    level, sd = smooth(table.time_s.to_numpy(), table.valence.to_numpy(), 0.1)
    np.testing.assert_allclose(table.valence_smooth, level)
    np.testing.assert_allclose(table.valence_sd, sd)


def test_live_and_recorded_are_the_same(tmp_path):
    frames = frames_of(70)
    live, heard = Engine(FakeRecognizer(), Walker(missing=[20, 21])), []
    table = analyze(frames, Engine(FakeRecognizer(), Walker(missing=[20, 21])),
                    on_frame=lambda frame, faces: heard.append((frame.index, faces)))  # fmt: skip
    assert [index for index, _ in heard] == list(range(70))
    for frame, (_, observed) in zip(frames, heard, strict=True):
        seen = live.process_frame(frame.rgb, frame.time_s)
        assert [(s.face_id, s.box, s.detected) for s in seen] == [
            (s.face_id, s.box, s.detected) for s in observed
        ]
        assert [s.smooth for s in seen] == pytest.approx([s.smooth for s in observed])
    assert heard[20][1] == [] and heard[22][1][0].smooth == heard[22][1][0].valence  # starts anew
    assert heard[19][1][0].smooth != heard[19][1][0].valence
    assert table.valence.dropna().tolist() == pytest.approx(
        [one.valence for _, observed in heard for one in observed]
    )


def test_several_faces_have_a_row_and_a_line_each():
    class Two:
        margin = 0.0

        def __call__(self, image):
            number = int(image[0, 0, 0])
            big, small = Box(0, 0, 20, 20), Box(40, 20, 10, 10)
            return [big, small] if number % 3 else [small]

    frames = frames_of(12)
    for frame in frames:
        frame.rgb[20:, 40:] = 255
    table = analyze(frames, Engine(FakeRecognizer(), Two(), smoothing_seconds=0.2))
    assert table.groupby("frame").size().tolist() == [1, 2, 2] * 4
    one, two = table[table.face_id == 1], table[table.face_id == 2]
    assert (one.w == 10).all() and len(one) == 12 and (one.valence == 1).all()
    assert (two.w == 20).all() and len(two) == 8 and (two.valence_smooth < -0.8).all()
    main = largest_face(table)
    assert main.frame.tolist() == list(range(12)) and main.w.tolist() == [10, 20, 20] * 4


@pytest.mark.parametrize("count", [1, 2, 9, 10, 12])
def test_every_third_frame_is_searched_and_boxes_move_evenly_between(count):
    walker = Walker(step=3)
    table = analyze(frames_of(count), Engine(FakeRecognizer(), walker, every=3))
    assert walker.searched == sorted({*range(0, count, 3), count - 1})
    assert table.x.tolist() == [3 * i for i in range(count)]


def test_no_box_is_carried_where_the_next_search_finds_no_face():
    table = analyze(frames_of(12), Engine(FakeRecognizer(), Walker(missing=[6]), every=3))
    assert table.frame[table.face_found].tolist() == [0, 1, 2, 3, 9, 10, 11]
    assert set(table.face_id.dropna()) == {1}


def test_live_boxes_are_carried_over_till_the_next_search():
    engine = Engine(FakeRecognizer(), Walker(missing=[6]), every=3)
    seen = [engine.process_frame(frame.rgb, frame.time_s) for frame in frames_of(10)]
    assert [[(s.box.x, s.detected) for s in now] for now in seen[:5]] == [
        [(0, True)], [(0, False)], [(0, False)], [(3, True)], [(3, False)],
    ]  # fmt: skip
    assert [len(now) for now in seen[6:]] == [0, 0, 0, 1]
    engine.reset()
    assert engine.process_frame(frames_of(1)[0].rgb, 0.0)[0].face_id == 1


def test_settings_are_checked_and_the_detector_brings_its_margin():
    with pytest.raises(ValueError, match="every"):
        Engine(FakeRecognizer(), FakeDetector(), every=0)
    detector = FakeDetector()
    detector.margin = 0.25
    assert Engine(FakeRecognizer(), detector).margin == 0.25
    assert Engine(FakeRecognizer(), detector, margin=0.0).margin == 0.0


def test_no_face_at_all_gives_empty_rows():
    table = analyze(frames_of(5), Engine(FakeRecognizer(), FakeDetector(range(5))))
    assert len(table) == 5 and not table.face_found.any() and table[MISSING].isna().all(axis=None)


def test_the_csv_reads_back(tmp_path):
    table = analyze(frames_of(12), Engine(FakeRecognizer(), FakeDetector([4])))
    save_line(table, tmp_path / "out" / "valence.csv")
    text = (tmp_path / "out" / "valence.csv").read_text()
    assert text.splitlines()[5] == "4,0.1600,,False" + "," * 10
    back = pd.read_csv(tmp_path / "out" / "valence.csv")
    np.testing.assert_allclose(back.valence, table.valence, atol=1e-4)


def test_a_cut_file_says_how_much_is_missing(tmp_path):
    path = write(tmp_path / "a.mp4", 100, container={"movflags": "faststart"}, options={"g": "5"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    table = analyze(path, Engine(FakeRecognizer(), FakeDetector()))
    assert 10 < len(table) < 100
    found = re.fullmatch(
        r"a\.mp4 is cut short or damaged: the last (\d\.\d) of 4\.0 s could not be read",
        table.attrs["ended"],
    )
    assert found and float(found[1]) == pytest.approx(4 - len(table) / 25, abs=0.3)


def running_threads():
    return {thread for thread in threading.enumerate() if thread.is_alive()}


def test_ctrl_c_keeps_what_was_read():
    before = running_threads()

    def interrupt(frame, seen):
        if frame.index == 40:
            raise KeyboardInterrupt

    table = analyze(frames_of(500), Engine(FakeRecognizer(), FakeDetector()), on_frame=interrupt)
    assert table.attrs["ended"] == "interrupted"
    assert 40 <= len(table) < 200 and table.frame.tolist() == list(range(len(table)))
    assert running_threads() == before


@pytest.mark.parametrize("where", ["frames", "detector", "on_frame"])
def test_errors_come_out_and_threads_end(where):
    before = running_threads()

    def frames():
        yield from frames_of(50)
        if where == "frames":
            raise UserError("the video tore")

    class Broken(FakeDetector):
        def __call__(self, image):
            if where == "detector" and self.calls > 3:
                raise UserError("the video tore")
            return super().__call__(image)

    def on_frame(frame, seen):
        if where == "on_frame":
            raise UserError("the video tore")

    with pytest.raises(UserError, match="the video tore"):
        analyze(frames(), Engine(FakeRecognizer(), Broken()), on_frame=on_frame)
    assert running_threads() == before


def test_a_stalled_camera_does_not_keep_an_error_back(monkeypatch):
    monkeypatch.setattr(prefetch_module, "PATIENCE", 0.2)
    stalled = threading.Event()

    def frames():
        yield from frames_of(40)
        stalled.wait(60)

    def on_frame(frame, seen):
        raise UserError("the disk is full")

    begun = time.monotonic()
    with pytest.raises(UserError, match="the disk is full"):
        analyze(frames(), Engine(FakeRecognizer(), FakeDetector()), on_frame=on_frame)
    assert time.monotonic() - begun < 10
    stalled.set()


@pytest.mark.parametrize("first", [0, 1])
def test_every_counts_frames_whatever_their_numbers(first):
    frames = [Frame(2 * i + first, i / 25, image(i)) for i in range(50)]
    table = analyze(frames, Engine(FakeRecognizer(), FakeDetector(), every=2))
    assert table.face_found.all() and len(table) == 50


def test_a_hard_cut_begins_new_faces():
    other = np.full((48, 64, 3), (30, 160, 60), np.uint8)
    other[:, ::8] = 250
    frames = [Frame(i, i / 25, image(i) if i < 20 else other) for i in range(40)]
    table = analyze(frames, Engine(FakeRecognizer(), FakeDetector()))
    assert table.face_id.tolist() == [1] * 20 + [2] * 20


@pytest.mark.parametrize("change", ["light", "turn"])
def test_light_or_a_turning_camera_is_no_cut(change):
    rng = np.random.default_rng(0)
    room = cv2.resize(rng.integers(0, 256, (9, 16, 3), np.uint8), (640, 360))
    brighter = cv2.convertScaleAbs(room, alpha=0.6, beta=90)
    other = brighter if change == "light" else np.roll(room, 200, axis=1)
    frames = [Frame(i, i / 25, room if i < 5 else other) for i in range(10)]
    table = analyze(frames, Engine(FakeRecognizer(), FakeDetector()))
    assert set(table.face_id) == {1}


def test_a_video_without_frames_is_refused():
    with pytest.raises(UserError, match="no frame to analyze"):
        analyze([], Engine(FakeRecognizer(), FakeDetector()))


def test_memory_is_flat_in_length_and_bounded_for_large_frames():
    def video(count, size):
        for i in range(count):
            yield Frame(i, i / 25, np.full((*size, 3), i % 256, np.uint8))

    def peak(count, size, every=1):
        tracemalloc.start()
        analyze(video(count, size), Engine(FakeRecognizer(), FakeDetector(), every=every))
        _, top = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return top

    short, long = peak(100, (120, 160)), peak(1000, (120, 160))
    assert long - short < 900 * 400  # rows, and pandas at the end
    large = (2160, 3840)
    assert peak(12, large) < 14 * 3 * large[0] * large[1]
    assert peak(60, large, every=100) < 18 * 3 * large[0] * large[1]


def test_the_sample_video_end_to_end(tmp_path):
    """Haar finds the drawn face where it is, and nothing while it is away."""
    write_video(tmp_path, seed=7, seconds=2.0)
    truth = pd.read_csv(tmp_path / "sample_truth.csv")
    table = largest_face(analyze(tmp_path / "sample.mp4", Engine(FakeRecognizer())))
    assert len(table) == len(truth)
    np.testing.assert_allclose(table.time_s, truth.time_s, atol=1e-3)
    assert table.face_found[truth.face_present == 1].mean() > 0.9
    assert (truth.face_present == 0).sum() >= 2  # else the next line would say nothing
    assert table.face_found[truth.face_present == 0].mean() < 0.4
    assert table.face_id[table.face_found].mode()[0] == 1


def test_closing_early_frees_the_file(tmp_path):
    path = write(tmp_path / "a.mp4", 60)

    def stop(frame, seen):
        raise KeyboardInterrupt

    analyze(read_frames(path), Engine(FakeRecognizer(), FakeDetector()), on_frame=stop)
    path.unlink()


VIDEO = Path(__file__).parents[2] / "data/raw/video/sad_to_happy.mp4"


@pytest.mark.skipif(not VIDEO.exists(), reason=f"{VIDEO} is not there")
def test_a_real_face_goes_from_sad_to_happy():
    """A woman who cries, then laughs; every sixth frame will do."""
    frames = [Frame(f.index // 6, f.time_s, f.rgb) for f in read_frames(VIDEO) if f.index % 6 == 0]
    recognizer = Recognizer.load(published_weights() / "fer13-3.safetensors", "cpu")
    table = analyze(frames, Engine(recognizer))
    assert table.face_found.mean() > 0.95
    course = thirds(largest_face(table)).valence
    assert course["first third"] < course["last third"] - 0.8
