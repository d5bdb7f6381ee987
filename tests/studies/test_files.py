"""Files are whole or absent, and two processes do not meet in one."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from fer_lib.files import alone, remove_stale, whole

WRITES_AND_HANGS = """
import sys, time
from pathlib import Path
from fer_lib.files import whole
with whole(Path(sys.argv[1])) as part:
    part.write_text("half of")
    print("wrote", flush=True)
    time.sleep(60)
"""
LOCKS_AND_HANGS = """
import sys, time
from pathlib import Path
from fer_lib.files import alone
with alone(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def started():
    """Start a process that runs some code; returns it once it has printed a line."""
    processes = []

    def start(code, path):
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True
        )
        processes.append(process)
        assert process.stdout.readline()
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()


def names(folder):
    return sorted(file.name for file in folder.iterdir())


def test_written_in_a_new_folder_and_nothing_else_stays(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with whole(path) as part:
        part.write_text("first")
        assert not path.exists()
        assert f".pid{os.getpid()}-" in part.name
    assert path.read_text() == "first"
    assert names(path.parent) == ["a.txt"]


def test_an_error_leaves_the_earlier_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("earlier")

    def fail():
        with whole(path) as part:
            part.write_text("half of")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "earlier"
    assert names(tmp_path) == ["a.txt"]


def test_two_writers_in_one_process_do_not_meet(tmp_path):
    with whole(tmp_path / "a") as first, whole(tmp_path / "a") as second:
        first.write_text("1")
        second.write_text("2")
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a").read_text() == "1"  # the outer one ended last


def test_what_a_killed_process_left_is_removed_and_a_living_ones_is_not(tmp_path, started):
    path = tmp_path / "a[1].txt"
    living, killed = started(WRITES_AND_HANGS, path), started(WRITES_AND_HANGS, path)
    other = started(WRITES_AND_HANGS, tmp_path / "b.txt")
    for process in (killed, other):
        process.send_signal(signal.SIGKILL)
        process.wait()
    with whole(path) as part:
        part.write_text("mine")
    assert path.read_text() == "mine"
    assert names(tmp_path) == [
        "a[1].txt", f"a[1].txt.pid{living.pid}-0.part", f"b.txt.pid{other.pid}-0.part",
    ]  # fmt: skip
    remove_stale(tmp_path / "b.txt")
    assert not list(tmp_path.glob("b.txt*"))


def test_files_of_others_stay(tmp_path):
    for name in ("a.1.part", "a.part", "a.pid1-0.parts"):
        (tmp_path / name).touch()
    remove_stale(tmp_path / "a")
    assert len(names(tmp_path)) == 3


def test_a_second_process_waits_and_says_so(tmp_path, started, capfd, monkeypatch):
    monkeypatch.delenv("FER_PROGRESS_FILE", raising=False)
    path = tmp_path / "a.pt"
    holder = started(LOCKS_AND_HANGS, path)
    entered = threading.Event()

    def enter():
        with alone(path):
            entered.set()

    waiting = threading.Thread(target=enter)
    waiting.start()
    assert not entered.wait(0.5)
    holder.send_signal(signal.SIGKILL)  # a lock ends with its process
    holder.wait()
    waiting.join()
    assert entered.is_set()
    stderr = capfd.readouterr().err
    assert stderr == f"Another process works on {path}: waiting for it.\n"


def test_a_lock_ends_with_the_block_and_with_an_error(tmp_path, capfd):
    for _ in range(2):
        with pytest.raises(RuntimeError), alone(tmp_path / "a"):
            raise RuntimeError
    with alone(tmp_path / "a"):
        pass
    assert capfd.readouterr().err == ""
