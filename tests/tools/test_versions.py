"""The published versions of a study are counted, each once."""

import pandas as pd
import pytest

from fer_lib.errors import UserError
from fer_tools.record import versions
from fer_tools.record.report import (
    PEER_COLUMNS,
    candidates_table,
    corrected_differences,
    counts_that_give,
    peers_table,
)

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


def test_differences_are_corrected_for_their_number():
    rows = [("a", 50.0, 49.0, 51.0, 40.0, None, None, None, "", 1, 1)]
    rows += [(name, 51.0, 50.0, 52.0, 41.0, 1.0, low, 2.0 - low, "yes", 1, 1)
             for name, low in (("b", 0.5), ("c", 0.2))]  # fmt: skip
    columns = ["variant", "accuracy", "lowest", "highest", "macro_f1", "difference", "low", "high",
               "clear", "parameters", "million_multiply_adds"]  # fmt: skip
    table = corrected_differences(pd.DataFrame(rows, columns=columns))
    # two comparisons: 2.241 standard errors instead of 1.960
    assert table["corrected interval"].tolist() == ["+0.4 to +1.6", "+0.1 to +1.9"]
    many = pd.DataFrame(rows + rows[1:] * 8, columns=columns)
    assert corrected_differences(many)["clear"].tolist()[:2] == ["yes", "no"]


def test_peers_stand_beside_the_mean_over_seeds():
    keys = [key for _, key in PEER_COLUMNS.values()]
    found = {key: {"value": 73.0} for key in keys} | {"model.parameters": {"value": 2_369_546}}
    found[f"seeds.{keys[0]}"] = {"value": 72.5}
    table = peers_table(found).set_index("system")
    row = table.loc["**ours, `fer13-7`**"]
    assert row.iloc[0] == "2.37 M" and row["FER2013, 7 classes"] == "**72.5**"
    assert table["against FER+"].str.contains(r"\*\*").sum() == 1  # the best of a column
    assert all(table.index != "")
