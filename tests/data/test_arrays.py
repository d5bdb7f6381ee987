"""Prepared arrays: round trip, equal bytes, damaged and foreign files."""

import dataclasses

import numpy as np
import pytest

from fer_lib.data.arrays import (
    CkPlus,
    Fer13,
    LeftOut,
    load_ckplus,
    load_fer13,
    save_ckplus,
    save_fer13,
)
from fer_lib.errors import UserError


def fer13() -> Fer13:
    return Fer13(
        images=np.arange(3 * 48 * 48).reshape(3, 48, 48).astype(np.uint8),
        labels=np.array([0, 6, 3]),
        usage=np.array(["Training", "PublicTest", "PrivateTest"]),
        row=np.arange(3),
        votes=np.full((3, 10), -1),
        duplicate_of_training=np.array([False, True, False]),
    )


def ckplus() -> CkPlus:
    return CkPlus(
        images=np.zeros((2, 48, 48), dtype=np.uint8),
        labels=np.array([3, 5]),
        subject=np.array(["S005", "S010"]),
        sequence=np.array(["S005_001", "S010_002"]),
        frame=np.array([9, 14]),
        position=np.array([0.5, np.nan]),
        path=np.array(["a.png", "b.png"]),
        left_out=LeftOut(1, 2, 3, 4),
    )


def assert_same(a, b):
    for field in dataclasses.fields(a):
        x, y = getattr(a, field.name), getattr(b, field.name)
        if isinstance(x, LeftOut):
            assert x == y
        else:
            np.testing.assert_array_equal(x, y)
            assert x.dtype == y.dtype


@pytest.mark.parametrize(
    ("make", "save", "load"),
    [(fer13, save_fer13, load_fer13), (ckplus, save_ckplus, load_ckplus)],
)
def test_round_trip_and_same_bytes(tmp_path, make, save, load):
    one, two = tmp_path / "new" / "one.npz", tmp_path / "two.npz"
    save(one, make())
    save(two, make())
    assert one.read_bytes() == two.read_bytes()
    assert_same(load(one), make())


def test_select():
    kept = fer13().select(np.array([True, False, True]))
    assert len(kept) == 2 and kept.labels.tolist() == [0, 3] and kept.images.shape == (2, 48, 48)
    turned = ckplus().select(np.array([1, 0]))
    assert turned.subject.tolist() == ["S010", "S005"] and turned.left_out == LeftOut(1, 2, 3, 4)


def test_votes_are_there_or_not():
    assert not fer13().has_votes
    assert dataclasses.replace(fer13(), votes=np.zeros((3, 10), dtype=np.int64)).has_votes


@pytest.mark.parametrize("load", [load_fer13, load_ckplus])
def test_missing_damaged_and_foreign_files(tmp_path, load):
    path = tmp_path / "x.npz"
    with pytest.raises(UserError, match=r"x\.npz is missing: run"):
        load(path)
    path.write_bytes(b"PK\x03\x04 no longer a zip")
    with pytest.raises(UserError, match=r"x\.npz cannot be read .*: delete it and run"):
        load(path)
    np.savez(path, images=np.zeros(1))
    with pytest.raises(UserError, match=r"x\.npz lacks the array.* labels, .*: run"):
        load(path)


def test_a_truncated_file(tmp_path):
    path = tmp_path / "x.npz"
    save_fer13(path, fer13())
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match="cannot be read"):
        load_fer13(path)


def test_a_save_that_fails_leaves_the_earlier_file(tmp_path):
    path = tmp_path / "x.npz"
    save_fer13(path, fer13())
    broken = dataclasses.replace(fer13(), usage=np.array([object()] * 3, dtype=object))
    with pytest.raises(ValueError, match=r"[Oo]bject"):
        save_fer13(path, broken)
    assert_same(load_fer13(path), fer13())
