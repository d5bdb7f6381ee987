"""Outputs never replace an input, and a pipe stays a pipe."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fer_lib.errors import UserError
from fer_tools.outputs import refuse_inputs, replace_folder, short, target_file, write

CSV = (".csv", ".tsv", ".txt")


def test_new_and_existing_files_are_accepted(tmp_path):
    (tmp_path / "old.csv").write_text("old")
    for name in ("new.csv", "old.csv", "UPPER.CSV"):
        assert target_file(tmp_path / name, [tmp_path / "a.png"], CSV) == tmp_path / name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.png", r"a\.png does not end in \.csv or \.tsv or \.txt"),
        ("in.csv", r"in\.csv is one of the files to be read"),
        ("link.csv", r"link\.csv is one of the files to be read"),
        ("hard.csv", r"hard\.csv is one of the files to be read"),
        ("folder.csv", r"folder\.csv is a folder"),
        ("none/a.csv", r"none/a\.csv cannot be written: its folder does not exist"),
        ("round.csv", r"round\.csv cannot be written \("),
        (300 * "a" + ".csv", r"\.\.\.a+\.csv cannot be written \(File name too long\)"),
    ],
)
def test_inputs_and_unwritable_targets_are_refused(tmp_path, name, message):
    (tmp_path / "in.csv").write_text("given")
    (tmp_path / "link.csv").symlink_to(tmp_path / "in.csv")
    (tmp_path / "hard.csv").hardlink_to(tmp_path / "in.csv")
    (tmp_path / "round.csv").symlink_to(tmp_path / "round.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(UserError, match=message):
        target_file(tmp_path / name, [tmp_path / "in.csv"], CSV)
    assert (tmp_path / "in.csv").read_text() == "given"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe_is_written_into_and_a_link_is_followed(tmp_path):
    pipe, got = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_text()))
    reader.start()
    with write(target_file(pipe, [], CSV)) as part:
        part.write_text("table")
    reader.join(10)
    assert got == ["table"] and pipe.is_fifo()

    real, link = tmp_path / "real.csv", tmp_path / "link.csv"
    real.write_text("old")
    link.symlink_to(real)
    with write(target_file(link, [], CSV)) as part:
        part.write_text("new")
    assert link.is_symlink() and real.read_text() == "new"


def test_an_error_keeps_the_target_and_leaves_no_temporary_file(tmp_path):
    (tmp_path / "a.csv").write_text("old")
    with pytest.raises(ZeroDivisionError), write(tmp_path / "a.csv") as part:
        part.write_text(str(1 / 0))
    assert [f.name for f in tmp_path.iterdir()] == ["a.csv"]
    assert (tmp_path / "a.csv").read_text() == "old"


def test_a_folder_with_an_input_named_like_a_result_is_refused(tmp_path):
    video = tmp_path / "annotated.mp4"
    video.write_bytes(b"x")
    (tmp_path / "link.mp4").symlink_to(video)
    for given in (video, tmp_path / "link.mp4"):
        with pytest.raises(UserError, match=r"annotated\.mp4 is one of the files to be read"):
            refuse_inputs(tmp_path, ["summary.json", "annotated.mp4"], [given])
    refuse_inputs(tmp_path, ["summary.json"], [video])
    refuse_inputs(tmp_path / "new", ["annotated.mp4"], [video])


def test_paths_that_are_not_utf8_can_be_printed():
    assert short(os.fsdecode(b"smil\xe9.jpg")) == "smil\\xe9.jpg"


# --------------------------------------------------------------------------- a folder replaced


def make_folder(path, text):
    path.mkdir()
    (path / "file").write_text(text)
    return path


def test_a_folder_is_replaced_when_the_new_one_is_complete(tmp_path):
    target = make_folder(tmp_path / "site", "old")
    with replace_folder(target) as new:
        (new / "file").write_text("new")
        assert (target / "file").read_text() == "old"
    assert (target / "file").read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_an_error_leaves_the_folder_as_it_was(tmp_path, monkeypatch):
    target = make_folder(tmp_path / "site", "old")

    def write_half():
        with replace_folder(target) as new:
            (new / "file").write_text("new")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        write_half()
    rename, calls = Path.rename, []

    def fail_at_the_second(self, name):
        calls.append(name)
        if len(calls) == 2:
            raise OSError("busy")
        return rename(self, name)

    monkeypatch.setattr(Path, "rename", fail_at_the_second)
    with pytest.raises(OSError, match="busy"), replace_folder(target):
        pass
    assert (target / "file").read_text() == "old" and list(tmp_path.iterdir()) == [target]


def test_the_folders_of_a_killed_process_are_restored_or_removed(tmp_path):
    target = tmp_path / "site"
    make_folder(tmp_path / ".site.old", "old")
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    make_folder(tmp_path / f".site.{ended.pid}.new", "half")
    with replace_folder(target):
        assert (target / "file").read_text() == "old"
        assert not (tmp_path / f".site.{ended.pid}.new").exists()
    assert list(tmp_path.iterdir()) == [target]
