"""The published versions of a study are counted, each once."""

import pytest

from fer_lib.errors import UserError
from fer_tools.record import versions
from fer_tools.record.report import candidates_table, counts_that_give

HEAD = ",".join(versions.COLUMNS)


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A file with one version of the study `mine`."""
    path = tmp_path / "versions.csv"
    path.write_text(f"{HEAD}\nmine,2026-11-20,0123456789,60.10,80.20,81.30,first\n")
    monkeypatch.setattr(versions, "versions_file", lambda: path)
    return path


def figures(seven):
    values = dict(zip(versions.KEYS, (seven, 80.2, 81.3), strict=True))
    return {key: {"value": value} for key, value in values.items()}


def test_a_version_is_added_only_where_a_figure_changed(file):
    before = file.read_text()
    assert not versions.add_version("mine", figures(60.1), "f" * 40)
    assert file.read_text() == before
    assert versions.add_version("mine", figures(60.2), "f" * 40)
    last = versions.read_versions("mine").iloc[-1]
    assert (last.commit, last["fer13_7.private.accuracy"]) == ("f" * 10, 60.2)
    assert not versions.changed("mine", figures(60.2))
    assert file.read_text().startswith(before)


def test_a_study_without_versions_is_not_counted(file):
    assert not versions.add_version("sample", figures(99.0), "f" * 40)
    assert not versions.changed("sample", figures(99.0))


def test_a_damaged_file_ends_in_a_sentence(file):
    file.write_text("study,date\n")
    with pytest.raises(UserError, match=r"lacks change, commit.*git checkout"):
        versions.read_versions("mine")
    file.unlink()
    with pytest.raises(UserError, match="missing or damaged"):
        versions.read_versions("mine")


def test_counts_that_round_to_a_figure():
    assert counts_that_give(96.77, 93) == [90]
    assert counts_that_give(81.08, 6347) == [5146]
    assert counts_that_give(81.08, 3173) == []
    assert counts_that_give(100.0, 5) == [5]
    table = candidates_table().set_index("test set")
    assert table.loc["PrivateTest without surprise", "correct images"] == "none"
    # By counting: how many of 2,000 denominators near 6,347 hit the figure.
    hit = sum(bool(counts_that_give(81.08, n)) for n in range(5347, 7347)) / 2000
    assert hit == pytest.approx(0.64, abs=0.02)
