"""A line against a truth that is known: figures that can be worked out by hand."""

import numpy as np
import pandas as pd
import pytest

from fer_tools.rtfer.known_truth import score

TIMES = np.arange(200) / 20
TRUTH = np.where(TIMES < 2, 0, np.sin(TIMES))


def line(values, sd=0.1, found=True):
    return pd.DataFrame(
        {"time_s": TIMES, "valence_smooth": values, "valence_sd": sd, "face_found": found}
    )


def truth(present=1):
    return pd.DataFrame({"time_s": TIMES, "valence": TRUTH, "face_present": present})


def test_a_perfect_line():
    found = score(line(TRUTH), truth())
    assert found == pytest.approx(
        {"correlation": 1, "lag": 0, "error": 0, "error_from_rest": 0, "coverage": 100,
         "found": 100}
    )  # fmt: skip


def test_a_person_who_rests_elsewhere():
    found = score(line(TRUTH + 0.3), truth())
    assert found["error"] == pytest.approx(0.3) and found["coverage"] == 0
    assert found["error_from_rest"] == pytest.approx(0)
    assert found["correlation"] == pytest.approx(1)


def test_the_band_is_a_normal_one():
    noise = np.random.default_rng(0).normal(0, 0.1, (50, len(TIMES)))
    covered = [score(line(TRUTH + one), truth())["coverage"] for one in noise]
    assert np.mean(covered) == pytest.approx(95, abs=0.6)


def test_a_late_line():
    late = np.interp(TIMES - 0.25, TIMES, TRUTH)
    assert score(line(late), truth())["lag"] == pytest.approx(0.25, abs=0.02)


def test_only_frames_with_a_whole_face_that_is_found_count():
    values, present = TRUTH.copy(), np.ones(200, int)
    values[50:100], present[50:100] = 9, 0  # out of the frame
    values[150:] = np.nan
    found = score(line(values, found=np.isfinite(values)), truth(present))
    assert found["error"] == pytest.approx(0) and found["coverage"] == 100
    assert found["found"] == pytest.approx(100 * 100 / 150)


def test_without_a_found_face_nothing_is_made_up():
    found = score(line(np.full(200, np.nan), found=False), truth())
    assert found["found"] == 0
    assert all(np.isnan(value) for key, value in found.items() if key != "found")
