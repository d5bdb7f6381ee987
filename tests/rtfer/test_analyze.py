"""`fer video` end to end: whole results for good videos, one message for bad ones."""

import errno
import json
import os
import signal
import subprocess
import sys
import time

import av
import cv2
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner
from videos import FakeDetector, FakeRecognizer, image, write, write_sound

from fer_lib.errors import UserError
from fer_lib.faces.detection import Box
from fer_tools.cli import video
from fer_tools.cli.common import INTERRUPTED
from fer_tools.cli.main import app
from fer_tools.rtfer import analyze
from fer_tools.rtfer.analyze import FILES, JOURNAL, LOCK, NEW, Settings, find_videos, run
from fer_tools.rtfer.camera import MISSES, camera_frames
from fer_tools.rtfer.engine import COLUMNS
from fer_tools.rtfer.video_reader import read_frames


@pytest.fixture
def detector(monkeypatch):
    """Faces where the test says, instead of Haar's."""
    detector = FakeDetector()
    smaller = FakeDetector(boxes=())
    monkeypatch.setattr(
        analyze, "find_detector", lambda name, smallest: detector if smallest > 0.1 else smaller
    )
    return detector


def results(out, left=()):
    """The summary and the table; the folder holds the five files, those left and nothing else."""
    assert {file.name for file in out.iterdir()} == {*FILES, *left}
    table = pd.read_csv(out / "valence.csv")
    assert list(table) == COLUMNS
    summary = json.loads((out / "summary.json").read_text())
    frames = len(list(read_frames(out / "annotated.mp4")))
    assert summary["frames"] == table.frame.nunique() == frames
    assert cv2.imread(str(out / "valence.png")) is not None
    assert (out / "valence.html").stat().st_size > 0
    return summary, table


def a_gif(path):
    with av.open(str(path), "w") as file:
        stream = file.add_stream("gif", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "rgb8"
        for number in range(5):
            frame = av.VideoFrame.from_ndarray(image(number), format="rgb24")
            file.mux(stream.encode(frame.reformat(format="rgb8")))
        file.mux(stream.encode())
    return path


# --------------------------------------------------------------------------- good videos


def test_all_files_are_written(tmp_path, detector):
    detector.missing = [10, 11]
    path = write(tmp_path / "a.mp4", 60)
    summary = run(path, tmp_path / "out", FakeRecognizer(), Settings(smoothing_seconds=0.2))
    written, table = results(tmp_path / "out")
    assert written == json.loads(json.dumps(summary))
    assert summary["input"] == "a.mp4" and summary["ended"] == "whole"
    assert summary["frames"] == 60 and summary["frames_per_second"] == pytest.approx(25, abs=0.01)
    assert summary["frames_without_face"] == 2 and list(summary["faces"]) == ["1"]
    assert {"states", "change_points", "inertia"} <= set(summary["faces"]["1"])
    assert summary["model"]["task"] == "fer13-3" and summary["model"]["commit"] == "abc1234"
    assert summary["parameters"] == {
        "detector": "haar", "smoothing_seconds": 0.2, "every": 1, "annotate": True,
        "smallest_face": 0.2, "valence_from": "classes", "margin": 0.0,
    }  # fmt: skip
    assert table.frame[~table.face_found].tolist() == [10, 11]


@pytest.mark.parametrize(
    ("name", "settings", "size"),
    [
        ("odd.mkv", {"pix_fmt": "yuv444p", "size": (61, 47)}, (48, 62)),
        ("ten_bit.mkv", {"pix_fmt": "yuv420p10le"}, (48, 64)),
        ("turned.mp4", {"turn": 90}, (64, 48)),
        ("one.mp4", {"count": 1}, (48, 64)),
        ("8k.mp4", {"count": 2, "size": (7680, 4320)}, (720, 1280)),
    ],
)
def test_unusual_videos(tmp_path, detector, name, settings, size):
    run(write(tmp_path / name, **settings), tmp_path / "out", FakeRecognizer(), Settings())
    summary, _ = results(tmp_path / "out")
    assert summary["frames"] == settings.get("count", 10) and list(summary["faces"]) == ["1"]
    assert next(read_frames(tmp_path / "out/annotated.mp4")).rgb.shape[:2] == size


def test_gif(tmp_path, detector):
    run(a_gif(tmp_path / "a.gif"), tmp_path / "out", FakeRecognizer(), Settings())
    assert results(tmp_path / "out")[0]["frames"] == 5


def test_uneven_times_stay_in_table_and_video(tmp_path, detector):
    stamps = [0, 40, 80, 280, 290, 1000, 1030, 2500]
    path = write(tmp_path / "a.mkv", len(stamps), stamps=stamps, options={"bf": "0"})
    run(path, tmp_path / "out", FakeRecognizer(), Settings())
    _, table = results(tmp_path / "out")
    np.testing.assert_allclose(table.time_s, np.array(stamps) / 1000, atol=2e-3)
    times = [frame.time_s for frame in read_frames(tmp_path / "out/annotated.mp4")]
    np.testing.assert_allclose(times, np.array(stamps) / 1000, atol=2e-3)


def test_no_face_at_all(tmp_path, detector):
    detector.boxes = ()
    summary = run(write(tmp_path / "a.mp4", 10), tmp_path / "out", FakeRecognizer(), Settings())
    summary, table = results(tmp_path / "out")
    assert summary["faces"] == {} and not table.face_found.any() and table.valence.isna().all()
    assert "No face was seen" in analyze.report(summary, tmp_path)


def test_a_face_that_leaves_for_long_and_returns_is_two_faces(tmp_path, detector):
    detector.missing = range(30, 110)  # 3.2 s: longer than the tracker remembers
    run(write(tmp_path / "a.mp4", 140), tmp_path / "out", FakeRecognizer(), Settings())
    summary, table = results(tmp_path / "out")
    assert list(summary["faces"]) == ["1", "2"] and summary["frames_without_face"] == 80
    assert (table.face_id[110:] == 2).all()


def test_brief_faces_are_in_the_csv_only(tmp_path, monkeypatch):
    class Flicker(FakeDetector):
        def __call__(self, image):
            extra = [Box(48, 0, 8, 8)] if self.calls == 20 else []
            return super().__call__(image) + extra

    monkeypatch.setattr(analyze, "find_detector", lambda name, smallest: Flicker())
    run(write(tmp_path / "a.mp4", 60), tmp_path / "out", FakeRecognizer(), Settings())
    summary, table = results(tmp_path / "out")
    assert list(summary["faces"]) == ["1"] and summary["brief_finds"] == 1
    assert set(table.face_id) == {1, 2}


def test_faces_too_small_to_be_followed_are_reported(tmp_path, detector, monkeypatch):
    small = FakeDetector(boxes=(Box(10, 10, 6, 6),))
    monkeypatch.setattr(
        analyze, "find_detector", lambda name, smallest: detector if smallest > 0.1 else small
    )
    path = write(tmp_path / "a.mp4", 20, stamps=[i * 2000 for i in range(20)])
    summary = run(path, tmp_path / "out", FakeRecognizer(), Settings())
    assert summary["smaller_faces"] == {"frames_looked_at": 6, "with_smaller_faces": 6}
    text = analyze.report(summary, tmp_path)
    assert "In 6 of 6 frames looked at, faces are smaller than 20%" in text
    assert "--smallest-face 0.08 follows them" in text


def test_a_gap_stays_a_gap_while_something_else_is_taken_for_a_face():
    frames = np.arange(200)
    table = pd.DataFrame({
        "frame": frames, "time_s": frames / 25, "face_id": pd.array([1] * 200, dtype="Int64"),
        "face_found": True, "valence": 0.5,
    })  # fmt: skip
    table.loc[100:109, ["face_id", "valence"]] = [2, -0.9]
    shown = analyze.without_brief_faces(table, {1: {}})
    assert shown.frame.tolist() == frames.tolist()
    assert shown.frame[~shown.face_found].tolist() == list(range(100, 110))
    (line,) = analyze.session.lines(shown).values()
    assert line.valence.isna().sum() == 10


def test_without_annotation_there_is_no_video(tmp_path, detector):
    path, out = write(tmp_path / "a.mp4", 10), tmp_path / "out"
    run(path, out, FakeRecognizer(), Settings())
    run(path, out, FakeRecognizer(), Settings(annotate=False))
    assert {file.name for file in out.iterdir()} == set(FILES) - {"annotated.mp4"}


def test_half_a_file_is_analyzed(tmp_path, detector):
    path = write(tmp_path / "a.mp4", 100, container={"movflags": "faststart"}, options={"g": "5"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    summary = run(path, tmp_path / "out", FakeRecognizer(), Settings())
    summary, _ = results(tmp_path / "out")
    assert 10 < summary["frames"] < 100
    assert summary["ended"].endswith("of 4.0 s could not be read")
    assert "cut short" in analyze.report(summary, tmp_path)


# --------------------------------------------------------------------------- bad videos


def a_video_without_frames(path):
    write(path, 30)
    head, rest = path.read_bytes().split(b"mdat")
    frames, tables = rest.split(b"moov")
    path.write_bytes(head + b"mdat" + bytes(len(frames) - 4) + frames[-4:] + b"moov" + tables)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.mp4", "does not exist"),
        ("empty.mp4", "0 bytes"),
        ("text.mp4", "no video that can be read"),
        ("sound.mp4", "sound alone"),
        ("hollow.mp4", "no frame that can be decoded"),
    ],
)
def test_bad_videos_end_in_one_message(tmp_path, detector, monkeypatch, name, message):
    monkeypatch.setattr(video, "load_model", lambda *_: FakeRecognizer())
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("I am a letter.\n" * 50)
    write_sound(tmp_path / "sound.mp4")
    a_video_without_frames(tmp_path / "hollow.mp4")
    result = fer("video", tmp_path / name, "--out", tmp_path / "out")
    assert result.exit_code == 2
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error:")]
    assert len(errors) == 1 and message in errors[0] and "Traceback" not in result.output
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []


def fer(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_folder_of_videos(tmp_path, detector, monkeypatch):
    monkeypatch.setattr(video, "load_model", lambda *_: FakeRecognizer())
    source, out = tmp_path / "in", tmp_path / "in" / "out"
    (source / "more").mkdir(parents=True)
    write(source / "a.mp4", 5)
    write(source / "a.mkv", 6)
    write(source / "more" / "b.mp4", 7)
    (source / "note.mp4").write_text("no video\n" * 99)
    for _ in range(2):  # the second time, `out` holds videos too
        result = fer("video", source, "--out", out)
        assert result.exit_code == 1 and "note.mp4 is no video" in result.stderr
        found = {s.parent.relative_to(out).as_posix() for s in out.rglob("summary.json")}
        assert found == {"a.mp4", "a.mkv", "more/b"}
    assert results(out / "more" / "b")[0]["frames"] == 7


def test_inputs(tmp_path):
    assert find_videos("0", tmp_path) == [(0, tmp_path)]
    with pytest.raises(UserError, match="holds no video"):
        find_videos(str(tmp_path), tmp_path / "out")
    with pytest.raises(UserError, match="does not exist: check the spelling"):
        find_videos("non.mp4", tmp_path)


def test_help_and_wrong_options():
    assert "camera" in fer("video", "--help").output
    assert fer("video", "a.mp4", "--out", "x", "--every", "0").exit_code == 2
    assert fer("video", "a.mp4").exit_code == 2


# --------------------------------------------------------------------------- the folder


def test_a_full_disk_is_reported(tmp_path, detector, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    path = write(tmp_path / "a.mp4", 10)
    monkeypatch.setattr(analyze, "save_line", full)
    with pytest.raises(UserError, match=r"cannot be written \(No space left on device\)"):
        run(path, tmp_path / "out", FakeRecognizer(), Settings())
    assert not list((tmp_path / "out").glob("*part*"))
    assert not (tmp_path / "out" / "valence.csv").exists()


def test_a_disk_too_full_for_the_annotated_video_costs_nothing_else(
    tmp_path, detector, monkeypatch
):
    class Full:
        """Encodes a while, then the disk is full."""

        def __init__(self, path, seconds, rate):
            self.path, self.frames = path, 0
            path.touch()

        def add(self, frame, faces):
            self.frames += 1
            if self.frames > 20:
                raise UserError("annotated.mp4 cannot be written (No space left on device): ...")

        def discard(self):
            self.path.unlink()

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(analyze, "AnnotatedVideo", Full)
    monkeypatch.setattr(video, "load_model", lambda *_: FakeRecognizer())
    out = tmp_path / "out"
    result = fer("video", write(tmp_path / "a.mp4", 60), "--out", out)
    assert result.exit_code == 1 and "annotated.mp4 is missing: annotated.mp4" in result.output
    assert {file.name for file in out.iterdir()} == set(FILES) - {"annotated.mp4"}
    assert len(pd.read_csv(out / "valence.csv")) == 60


def test_results_of_another_video_are_not_replaced_unasked(tmp_path, detector):
    out = tmp_path / "out"
    run(write(tmp_path / "a.mp4", 10), out, FakeRecognizer(), Settings())
    other = write(tmp_path / "b.mp4", 20)
    before = (out / "valence.csv").read_bytes()
    with pytest.raises(UserError, match=r"out holds the results of a\.mp4: name another folder"):
        run(other, out, FakeRecognizer(), Settings())
    assert (out / "valence.csv").read_bytes() == before
    run(other, out, FakeRecognizer(), Settings(), overwrite=True)
    assert results(out)[0]["input"] == "b.mp4"
    run(other, out, FakeRecognizer(), Settings())  # the same video


@pytest.mark.parametrize("after", range(5))
def test_a_run_killed_while_it_replaces_results_is_finished_by_the_next(
    tmp_path, detector, monkeypatch, after
):
    path, out = write(tmp_path / "a.mp4", 10), tmp_path / "out"
    run(path, out, FakeRecognizer(), Settings(smoothing_seconds=1))
    moves = 0

    def replace(source, target):
        nonlocal moves
        if os.path.dirname(target) == str(out):
            if moves == after:
                raise SystemError("killed")
            moves += 1
        os.rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(analyze.os, "replace", replace)
        with pytest.raises(SystemError):
            run(path, out, FakeRecognizer(), Settings(smoothing_seconds=2))
        assert not (out / "summary.json").exists()
    summary = run(path, out, FakeRecognizer(), Settings(smoothing_seconds=2), resume=True)
    results(out)
    assert summary["parameters"]["smoothing_seconds"] == 2
    assert all(analyze._sha256(out / name) == mark for name, mark in summary["files"].items())
    assert set(summary["files"]) == set(FILES) - {"summary.json"}


# --------------------------------------------------------------------------- going on


class Breaks(FakeDetector):
    """A detector that fails at its n-th call."""

    def __init__(self, at):
        super().__init__()
        self.at = at

    def __call__(self, image):
        if self.calls + 1 == self.at:
            raise RuntimeError("broken")
        return super().__call__(image)


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("cut", [0, 7])
def test_a_run_that_goes_on_equals_an_unbroken_one(tmp_path, detector, monkeypatch, every, cut):
    path, settings = write(tmp_path / "a.mp4", 200), Settings(every=every)
    run(path, tmp_path / "whole", FakeRecognizer(), settings)
    whole, out = results(tmp_path / "whole"), tmp_path / "out"
    monkeypatch.setattr(analyze, "find_detector", lambda name, smallest: Breaks(150 // every))
    with pytest.raises(RuntimeError, match="broken"):
        run(path, out, FakeRecognizer(), settings)
    assert [file.name for file in out.iterdir()] == [NEW]
    journal = out / NEW / JOURNAL
    text = journal.read_bytes()
    journal.write_bytes(text[: len(text) - cut])  # a line cut short, as by a kill
    again, recognizer = FakeDetector(), FakeRecognizer()
    monkeypatch.setattr(analyze, "find_detector", lambda name, smallest: again)
    run(path, out, recognizer, settings, resume=True)
    summary, table = results(out)
    pd.testing.assert_frame_equal(table, whole[1])
    assert (out / "annotated.mp4").read_bytes() == (tmp_path / "whole/annotated.mp4").read_bytes()
    assert summary["faces"] == whole[0]["faces"]
    done = 128 - 32 * bool(cut)  # whole batches before the fault
    assert again.calls + 1 <= (200 - done) // every + 4  # and two looks for smaller faces
    assert sum(recognizer.batches) == (table.face_found & (table.frame >= done)).sum()


def test_going_on_asks_for_the_same_settings_and_skips_what_is_complete(tmp_path, monkeypatch):
    path, out = write(tmp_path / "a.mp4", 100), tmp_path / "out"
    monkeypatch.setattr(analyze, "find_detector", lambda name, smallest: Breaks(80))
    with pytest.raises(RuntimeError):
        run(path, out, FakeRecognizer(), Settings())
    with pytest.raises(UserError, match="a run with another input, model or settings: give"):
        run(path, out, FakeRecognizer(), Settings(smoothing_seconds=1), resume=True)
    again = FakeDetector()
    monkeypatch.setattr(analyze, "find_detector", lambda name, smallest: again)
    first = run(path, out, FakeRecognizer(), Settings(), resume=True)
    calls = again.calls
    assert run(path, out, FakeRecognizer(), Settings(), resume=True) == first
    assert again.calls == calls > 0


@pytest.mark.parametrize("name", ["file", "file/out"])
def test_a_folder_that_cannot_be_made_is_reported(tmp_path, detector, name):
    (tmp_path / "file").touch()
    path = write(tmp_path / "a.mp4", 3)
    with pytest.raises(UserError, match="cannot be written"):
        run(path, tmp_path / name, FakeRecognizer(), Settings())


def test_two_runs_at_once_are_refused(tmp_path, detector):
    path, out = write(tmp_path / "a.mp4", 3), tmp_path / "out"
    with analyze._locked(out):
        with pytest.raises(UserError, match="out is in use by another run: wait"):
            run(path, out, FakeRecognizer(), Settings())
        assert [file.name for file in out.iterdir()] == [LOCK]
    run(path, out, FakeRecognizer(), Settings())
    results(out)


SLOW = """
import signal, sys, time
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's "&" would have it ignored
from videos import FakeRecognizer, FakeDetector
from fer_tools.cli import video
from fer_tools.cli.main import app
from fer_tools.rtfer import analyze
class Slow(FakeDetector):
    def __call__(self, image):
        if self.calls == 60:
            print("midway", flush=True)
        time.sleep(0.01)
        return super().__call__(image)
analyze.find_detector = lambda name, smallest: Slow()
video.load_model = lambda *_: FakeRecognizer()
app(["video", sys.argv[1], "--out", sys.argv[2]])
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no signal to one process")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_midway_leaves_whole_files(tmp_path, name):
    path, out = write(tmp_path / "a.mp4", 2000), tmp_path / "out"
    command = [sys.executable, "-c", SLOW, str(path), str(out)]
    paths = os.pathsep.join([*sys.path, os.path.dirname(__file__)])
    process = subprocess.Popen(
        command, env=os.environ | {"PYTHONPATH": paths},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "midway\n"
    time.sleep(0.3)
    process.send_signal(getattr(signal, name))
    output, errors = process.communicate(timeout=120)
    assert process.returncode == INTERRUPTED and "Traceback" not in errors, errors
    assert "Stopped early" in output
    summary, _ = results(out, [NEW])
    assert [file.name for file in (out / NEW).iterdir()] == [JOURNAL]
    assert summary["ended"] == "interrupted" and 32 <= summary["frames"] < 2000


# --------------------------------------------------------------------------- cameras


class Camera:
    """Acts like `cv2.VideoCapture`; fails for good after `lasts` images, and now and then."""

    def __init__(self, lasts, opens=True, skips=()):
        self.lasts, self.opens, self.skips, self.reads, self.released = lasts, opens, skips, 0, 0

    def isOpened(self):
        return self.opens

    def read(self):
        self.reads += 1
        if self.reads > self.lasts or self.reads in self.skips:
            return False, None
        return True, image(self.reads)[:, :, ::-1]

    def release(self):
        self.released += 1


def test_a_camera_gives_frames_until_it_is_pulled_out():
    camera, times = Camera(10, skips=[4]), iter(np.arange(100, 200, 0.04))
    frames = list(camera_frames(0, open_camera=lambda _: camera, clock=lambda: next(times)))
    assert [frame.index for frame in frames] == list(range(9))
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(9) * 0.04)
    assert tuple(frames[0].rgb[0, 0]) == (220, 20, 20)  # red first
    assert camera.reads == 10 + MISSES and camera.released == 1


@pytest.mark.parametrize(
    ("camera", "message"),
    [(Camera(0, opens=False), "cannot be opened: connect it"), (Camera(0), "gives no frame")],
)
def test_an_absent_camera_is_reported(tmp_path, detector, monkeypatch, camera, message):
    with pytest.raises(UserError, match=f"camera 3 {message}"):
        list(camera_frames(3, open_camera=lambda _: camera))
    assert camera.released == 1
    with pytest.raises(UserError, match=f"camera 3 {message}"):
        run(3, tmp_path / "out", FakeRecognizer(), Settings(),
            frames=lambda n: camera_frames(n, open_camera=lambda _: camera))  # fmt: skip
    assert list((tmp_path / "out").iterdir()) == []


def test_a_camera_end_to_end(tmp_path, detector):
    camera = Camera(40)
    run(0, tmp_path / "out", FakeRecognizer(), Settings(),
        frames=lambda n: camera_frames(n, open_camera=lambda _: camera))  # fmt: skip
    summary, _ = results(tmp_path / "out")
    assert summary["input"] == "camera 0" and summary["frames"] == 40 and camera.released == 1
