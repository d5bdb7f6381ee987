"""Facts of lines made by hand, and nothing made up for what is not there."""

import json
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from lines import shared_errors

from fer_tools.rtfer.session import CAVEAT, PROBABILITIES, describe, lines, summarize


def a_table(valence, rate=10.0, face=1, times=None):
    """One face's rows; NaN is a frame without it."""
    valence = np.asarray(valence, dtype=float)
    seen = np.isfinite(valence)
    shares = np.column_stack([np.clip(-valence, 0, 1), 1 - np.abs(valence), valence.clip(0, 1)])
    return pd.DataFrame({
        "frame": np.arange(len(valence)),
        "time_s": np.arange(len(valence)) / rate if times is None else times,
        "face_id": pd.array(np.where(seen, face, 0), dtype="Int64"),
        "face_found": seen,
        **dict(zip(PROBABILITIES, shares.T, strict=True)),
        "valence": valence,
    }).assign(face_id=lambda t: t.face_id.where(t.face_found))  # fmt: skip


def facts_of(valence, **settings):
    facts = describe(a_table(valence, **settings))
    json.dumps(facts, allow_nan=False)  # raises at a NaN
    assert CAVEAT in summarize(facts) or "not seen" in summarize(facts)
    assert "nan" not in summarize(facts).lower() and "None" not in summarize(facts)
    return facts


# --------------------------------------------------------------------------- known answers


def test_time_in_each_state_and_gaps():
    facts = facts_of(np.repeat([0.9, -0.8, np.nan, 0.1, np.nan], [30, 20, 10, 50, 5]))
    assert facts["seconds"] == 11.5 and facts["seconds_seen"] == 10 and facts["frames_seen"] == 100
    assert facts["gaps"] == {"count": 2, "seconds": 1.5, "longest_s": 1.0}
    shares = {name: state["share"] for name, state in facts["states"].items()}
    assert shares == {
        "negative": pytest.approx(0.2 * 0.8),
        "neutral": pytest.approx(0.3 * 0.1 + 0.2 * 0.2 + 0.5 * 0.9),
        "positive": pytest.approx(0.3 * 0.9 + 0.5 * 0.1), "other": 0,
    }  # fmt: skip
    assert facts["mean"] == pytest.approx(0.3 * 0.9 - 0.2 * 0.8 + 0.5 * 0.1)


def test_uneven_frames_weigh_by_how_long_they_stand():
    times = np.concatenate([np.arange(50) / 50, 1 + np.arange(4) / 4])  # a second each
    facts = facts_of(np.repeat([0.9, -0.9], [50, 4]), times=times)
    # A second of 0.9, then three quarters and, for the last frame, a usual step.
    assert facts["states"]["negative"]["share"] == pytest.approx(0.9 * 0.77 / 1.77, abs=1e-4)
    assert facts["states"]["positive"]["share"] == pytest.approx(0.9 / 1.77, abs=1e-4)


def test_a_surprised_face_is_neither_negative_nor_positive():
    table = a_table(np.zeros(100))
    table[PROBABILITIES] = [0.02, 0.01, 0.02]
    facts = describe(table)
    assert facts["states"]["other"]["share"] == pytest.approx(0.95)
    assert "mean probabilities were: other 95%, positive 2%" in summarize(facts)


@pytest.mark.parametrize(("correlation", "least"), [(0, 88), (0.8, 80)])
def test_the_interval_of_a_mean_probability_holds_the_truth(correlation, least):
    """Of 100 sessions of ten minutes with a known mean; seconds are alike by so much."""
    rng = np.random.default_rng(3)
    held = 0
    for _ in range(100):
        positive = 0.5 + np.repeat(shared_errors(rng, correlation, 0.1, 600), 2)
        table = a_table(np.zeros(1200), rate=2)
        table[PROBABILITIES] = np.column_stack([1 - positive, 0 * positive, positive])
        low, high = describe(table)["states"]["positive"]["interval"]
        held += low <= 0.5 <= high
    assert least <= held <= 99


def test_no_interval_of_a_short_session():
    facts = facts_of(np.tile([0.5, -0.5], 550))  # 110 s
    assert facts["states"]["positive"]["interval"] is None
    assert "too short to say" in summarize(facts)


def test_spread_variability_and_inertia_of_whole_seconds():
    rng = np.random.default_rng(0)
    seconds = rng.uniform(-0.9, 0.9, 60)
    facts = facts_of(np.repeat(seconds, 10) + np.tile([0.05, -0.05], 300))
    assert facts["sd"] == pytest.approx(seconds.std(), abs=1e-4)
    assert facts["variability"] == pytest.approx(np.square(np.diff(seconds)).mean(), abs=1e-4)
    low, high = facts["inertia_interval"]
    assert low < 0 < high and facts["inertia"] == pytest.approx((low + high) / 2, abs=1e-3)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_inertia_of_a_known_process(rho):
    rng = np.random.default_rng(4)
    seconds = np.zeros(3000)
    for i in range(1, len(seconds)):
        seconds[i] = rho * seconds[i - 1] + rng.normal(0, 0.1)
    assert facts_of(np.repeat(seconds, 4), rate=4)["inertia"] == pytest.approx(rho, abs=0.06)


def test_only_neighbouring_seconds_are_paired():
    seconds = np.tile([0.5, np.nan, -0.5, np.nan], 20)
    facts = facts_of(np.repeat(seconds, 10))
    assert facts["sd"] is None and facts["variability"] is None and facts["inertia"] is None
    assert facts["gaps"]["count"] == 40


@pytest.mark.parametrize("rate", [3.0, 10.0, 30.0])
def test_facts_hardly_depend_on_the_frame_rate(rate):
    times = np.arange(int(60 * rate)) / rate
    facts = facts_of(0.6 * np.sin(times / 4), rate=rate)
    assert facts["sd"] == pytest.approx(0.6 / 2**0.5, abs=0.03)
    assert facts["inertia"] == pytest.approx(np.cos(1 / 4), abs=0.04)
    assert facts["change_points"] == [] and facts["changes_searched"] == (rate >= 5)
    assert facts["slow_movement"] == pytest.approx(1.1, abs=0.1)


# --------------------------------------------------------------------------- change points


@pytest.mark.parametrize(
    ("rate", "noise"), [(5.0, 0.0), (5.0, 0.1), (25.0, 0.0), (25.0, 0.1), (25.0, 0.3)]
)
def test_steps_are_found_where_they_are(noise, rate):
    rng = np.random.default_rng(7)
    levels = np.repeat([-0.6, 0.5, -0.1], (np.array([8, 12, 10]) * rate).astype(int))
    facts = facts_of(levels + rng.normal(0, noise, len(levels)), rate=rate)
    changes = facts["change_points"]
    assert [c["time_s"] for c in changes] == pytest.approx([8, 20], abs=0.41)
    close = 0.06 + 4 * noise / (2 * rate) ** 0.5  # medians of two seconds
    assert changes[0]["before"] == pytest.approx(-0.6, abs=close)
    for level in (changes[0]["after"], changes[1]["before"]):
        assert level == pytest.approx(0.5, abs=close)


def test_noise_is_no_change():
    rng = np.random.default_rng(1)
    found = [len(facts_of(rng.normal(0, 0.3, 1500), rate=25)["change_points"]) for _ in range(10)]
    assert sum(found) <= 1


@pytest.mark.parametrize("length", [0.4, 0.6, 1, 2])
def test_a_smile_is_two_jumps(length):
    rng = np.random.default_rng(3)
    times, hits = np.arange(0, 60, 0.04), 0
    for _ in range(20):
        start = 20 + rng.uniform(0, 0.2)
        line = np.where((times >= start) & (times < start + length), 0.9, 0.0)
        found = facts_of(line + shared_errors(rng, 0.8, 0.06), rate=25)["change_points"]
        up = [c for c in found if abs(c["time_s"] - start) < 0.1]
        down = [c for c in found if abs(c["time_s"] - start - length) < 0.1]
        hits += len(found) == 2 and len(up) == len(down) == 1
        assert not up or up[0]["after"] == pytest.approx(0.9, abs=0.15)
    assert hits >= 18


@pytest.mark.parametrize(
    "line", ["constant", "ramp", "wave of 4 s", "wave of 20 s", "blinks of 0.12 s"]
)
def test_slow_movement_blinks_and_shared_errors_are_no_jumps(line):
    rng = np.random.default_rng(6)
    times = np.arange(1500) / 25
    true = {
        "constant": np.zeros(1500),
        "ramp": -0.8 + 1.6 * times / 60,
        "wave of 4 s": 0.5 * np.sin(2 * np.pi * times / 4),
        "wave of 20 s": 0.5 * np.sin(2 * np.pi * times / 20),
        "blinks of 0.12 s": np.where(np.arange(1500) % 250 < 3, -0.7, 0.0),
    }[line]
    for correlation, sd in ((0, 0.15), (0.8, 0.06), (0.95, 0.15)):
        found = [
            len(facts_of(np.clip(true + shared_errors(rng, correlation, sd), -1, 1), rate=25)
                ["change_points"])
            for _ in range(10)
        ]  # fmt: skip
        assert sum(found) <= 1, (correlation, sd)


def test_inertia_is_not_raised_by_jumps_trends_and_short_series():
    rng = np.random.default_rng(7)

    def of(seconds):
        facts = facts_of(np.repeat(seconds, 5), rate=5)
        return facts["inertia"], facts["inertia_interval"]

    jump = [of(np.repeat([-0.45, 0.45], 40) + rng.normal(0, 0.08, 80))[0] for _ in range(20)]
    trend = [of(np.linspace(-0.5, 0.5, 120) + rng.normal(0, 0.1, 120))[0] for _ in range(20)]
    assert abs(np.mean(jump)) < 0.1 and abs(np.mean(trend)) < 0.1
    found = [of(np.clip(shared_errors(rng, 0.8, 0.2, 120), -1, 1)) for _ in range(60)]
    assert np.mean([rho for rho, _ in found]) == pytest.approx(0.78, abs=0.04)
    assert np.mean([low <= 0.8 <= high for _, (low, high) in found]) > 0.8
    assert of(rng.normal(0, 0.2, 50)) == (None, None)  # less than a minute


def test_a_short_gap_hides_no_jump_and_a_long_one_is_not_searched():
    for gone, expected in ((10, 1), (30, 0)):  # 0.4 s, 1.2 s
        line = np.repeat([-0.8, np.nan, 0.8], [100, gone, 100])
        assert len(facts_of(line, rate=25)["change_points"]) == expected
    lost = np.repeat([-0.8, 0.8], [50, 50])
    lost[::9] = np.nan  # single frames lost here and there do not hide it
    assert len(facts_of(lost, rate=25)["change_points"]) == 1


# --------------------------------------------------------------------------- little to tell


def test_lines_with_little_in_them():
    for valence in ([], [np.nan], [np.nan] * 50):
        facts = facts_of(valence)
        assert facts["mean"] is None and facts["frames_seen"] == 0
        assert facts["states"]["positive"] == {"share": None, "interval": None}
        assert summarize(facts).startswith("The face was not seen")
    one = facts_of([0.8])
    assert one["mean"] == 0.8 and one["seconds"] == 0 and one["states"]["positive"]["share"] == 0.8
    assert "seen in one frame" in summarize(one)
    short = facts_of([0.8, 0.6] * 10)
    assert short["mean"] == pytest.approx(0.7)
    for name in ("sd", "variability", "inertia"):
        assert one[name] is None and short[name] is None
    flat = facts_of(np.full(300, -0.3))
    assert (flat["sd"], flat["variability"], flat["inertia"]) == (0.0, 0.0, None)
    assert flat["change_points"] == [] and "did not jump" in summarize(flat)


@pytest.mark.parametrize("seed", range(20))
def test_any_line_gives_facts_that_hold_together(seed):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(2, 400))
    line = np.clip(np.cumsum(rng.normal(0, 0.2, count)), -1, 1)
    line[rng.random(count) < rng.choice([0, 0.1, 0.6])] = np.nan
    facts = facts_of(line, times=np.cumsum(rng.uniform(0.01, 0.3, count)))
    assert facts["seconds_seen"] + facts["gaps"]["seconds"] == pytest.approx(
        facts["seconds"], abs=1e-3
    )
    if facts["frames_seen"]:
        states = facts["states"].values()
        assert sum(state["share"] for state in states) == pytest.approx(1, abs=1e-3)
    assert facts["inertia"] is None or -1 <= facts["inertia"] <= 1
    times = [c["time_s"] for c in facts["change_points"]]
    assert all(b - a > 0.09 for a, b in pairwise(times))


# --------------------------------------------------------------------------- several faces


def test_each_face_gets_a_line_with_every_frame():
    one = a_table(np.repeat([0.5, np.nan], [60, 40]))
    two = a_table(np.repeat([np.nan, -0.5, np.nan, -0.6], [20, 30, 30, 20]), face=2)
    nobody = one[one.valence.isna() & two.valence.isna()]
    table = pd.concat([one[one.face_found], two[two.face_found], nobody]).sort_values("frame")
    assert len(table) == 60 + 50 + 20
    split = lines(table)
    assert list(split) == [1, 2]
    for face, whole in ((1, one), (2, two)):
        assert split[face].frame.tolist() == list(range(100))
        np.testing.assert_array_equal(split[face].valence, whole.valence)
        np.testing.assert_array_equal(split[face].time_s, whole.time_s)
        assert split[face].face_found.tolist() == whole.face_found.tolist()
        assert describe(split[face]) == describe(whole)
    assert describe(split[2])["gaps"] == {"count": 2, "seconds": 5.0, "longest_s": 3.0}
    # Of the rows of one face alone, what is missing between them counts as a gap too.
    assert describe(table[table.face_id == 2])["gaps"]["seconds"] == 3.0
    with pytest.raises(ValueError, match="one row a frame"):
        describe(table)
    taking_turns = table.drop_duplicates("frame")
    with pytest.raises(ValueError, match="split the table with `lines` first"):
        describe(taking_turns)


def test_a_video_without_faces_has_no_lines():
    assert lines(a_table([np.nan] * 5)) == {}
    assert list(lines(a_table([0.1, 0.2]).drop(columns="face_id"))) == [1]


def test_a_table_read_back_from_csv_tells_the_same(tmp_path):
    table = a_table(np.repeat([0.5, np.nan, -0.5], [40, 10, 60]))
    table.to_csv(tmp_path / "valence.csv", index=False)
    back = pd.read_csv(tmp_path / "valence.csv")
    assert describe(lines(back)[1]) == describe(lines(table)[1])


# --------------------------------------------------------------------------- summary


def test_the_summary_is_plain():
    facts = facts_of(np.repeat([-0.7, 0.6, np.nan, -0.2, 0.7, -0.8], [300, 700, 50, 300, 200, 300]))
    text = summarize(facts)
    assert "seen for 3:00 of 3:05; for 5.0 s it was not, in one gap." in text
    assert "mean probabilities were: " in text and "; in brackets, how far chance" in text
    assert "Its level jumped 3 times: at 30.0 s from -0.70 to +0.60, at 2:15" in text
    many = facts_of(np.tile(np.repeat([-0.5, 0.5], 100), 4))
    assert "Its level jumped 7 times. The 3 largest jumps: at" in summarize(many)
