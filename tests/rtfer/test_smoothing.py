"""The smoothers give the exact posterior of their model, keep gaps and range, and do not lie."""

import numpy as np
import pytest
from lines import shared_errors

from fer_tools.rtfer.known_truth import correlated_noise, jump_trials
from fer_tools.rtfer.smoothing import (
    DEFAULT_NOISE,
    LiveSmoother,
    frame_noise,
    smooth,
    smooth_parts,
    stretches,
)
from fer_tools.rtfer.valence import lag_seconds

ROUNDS = range(25)


def a_line(seed, count=40, uneven=True, holes=True):
    """Random times, a wandering noisy line, random gaps."""
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.uniform(0.02, 0.06, count) if uneven else np.full(count, 0.04))
    values = np.clip(np.cumsum(rng.normal(0, 0.1, count)) + rng.normal(0, 0.2, count), -1, 1)
    if holes:
        values[rng.random(count) < 0.15] = np.nan
    return times, values


def live(times, values, seconds, noise=DEFAULT_NOISE):
    """(N,) levels, and the standard deviations that the filter works with but does not give."""
    smoother = LiveSmoother(seconds)
    found = []
    for time, value in zip(times, values, strict=True):
        level = smoother(time, value)
        known = np.isfinite(level) and seconds > 0
        found.append((level, noise * smoother._gain**0.5 if known else np.nan))
    return np.array(found).T


def posterior(times, values, usual, seconds, noise):
    """The naive way: the precision matrix of all levels at once, flat before the first frame."""
    count, r = len(values), noise**2
    q = r / usual * 4 * np.sinh(usual / (2 * seconds)) ** 2
    steps = np.diff(np.eye(count), axis=0)
    precision = np.eye(count) / r + steps.T @ np.diag(1 / (q * np.diff(times))) @ steps
    covariance = np.linalg.inv(precision)
    return covariance @ values / r, np.sqrt(np.diag(covariance))


def simulated(rng, count, step, seconds, noise):
    """True levels and noisy frames, drawn from the model itself."""
    drift = 2 * noise * np.sinh(step / (2 * seconds))
    level = np.cumsum(rng.normal(0, drift, count))
    return np.arange(count) * step, level, level + rng.normal(0, noise, count)


# --------------------------------------------------------------------------- exact


@pytest.mark.parametrize("seed", ROUNDS)
def test_the_smoother_is_the_posterior_of_each_stretch(seed):
    times, values = a_line(seed, count=30)
    seconds = float(np.random.default_rng(seed).uniform(0.03, 2))
    parts = stretches(np.isfinite(values))
    level, variance = smooth_parts(times, values, parts, seconds)
    usual = np.mean(np.concatenate([np.diff(times[part]) for part in parts]))
    for part in parts:
        expected = posterior(times[part], values[part], usual, seconds, noise=1.0)
        np.testing.assert_allclose(level[part], expected[0], atol=1e-8)
        np.testing.assert_allclose(np.sqrt(variance[part]), expected[1], rtol=1e-6)


@pytest.mark.parametrize("seed", ROUNDS)
def test_the_live_smoother_is_the_posterior_of_the_past(seed):
    times, values = a_line(seed, count=25, uneven=False, holes=False)
    level, sd = live(times, values, 0.2, noise=0.3)
    for now in range(1, len(times)):
        past = slice(0, now + 1)
        expected = posterior(times[past], values[past], 0.04, 0.2, 0.3)
        np.testing.assert_allclose((level[now], sd[now]), [e[-1] for e in expected], atol=1e-8)


def test_both_agree_at_the_last_frame():
    times, values = a_line(3, count=200, uneven=False, holes=False)
    noise = frame_noise(times, values, 0.4)
    level, variance = smooth_parts(times, values, [slice(0, 200)], 0.4)
    sd, past = noise * np.sqrt(variance), live(times, values, 0.4, noise=noise)
    np.testing.assert_allclose(level[-1], past[0][-1], atol=1e-9)
    np.testing.assert_allclose(sd[-1], past[1][-1], atol=1e-9)
    assert (sd <= past[1] + 1e-12).all() and sd[100] < 0.8 * past[1][100]


@pytest.mark.parametrize("rate", [5, 25, 60, 240])
@pytest.mark.parametrize("seconds", [0.2, 1.0])
def test_seconds_is_the_time_constant_at_any_frame_rate(rate, seconds):
    times = np.arange(40 * rate) / rate
    step = (times >= 20).astype(float)
    since = times[20 * rate :] - 20 + 1 / rate  # the frame at the step has taken it in already
    level, _ = live(times, step, seconds)
    np.testing.assert_allclose(level[20 * rate :], 1 - np.exp(-since / seconds), atol=1e-3)
    bump = np.zeros(len(times))
    bump[20 * rate] = rate  # of area 1
    level, _ = smooth_parts(times, bump, [slice(0, len(times))], seconds)
    around = np.abs(times - 20)
    kernel = np.exp(-around / seconds) * rate * np.tanh(1 / (2 * rate * seconds))
    np.testing.assert_allclose(level, kernel, atol=1e-6 * rate)


def test_uneven_times_weigh_by_time():
    """With half the frames left out at random the shape is the same; times matter."""
    rng = np.random.default_rng(0)
    dense = np.arange(1000) / 50
    shape = np.sin(dense / 2)
    kept = np.sort(rng.choice(1000, 500, replace=False))
    full, part = smooth(dense, shape, 0.5)[0], smooth(dense[kept], shape[kept], 0.5)[0]
    inner = slice(20, -20)  # at the ends there is less to average
    by_number = smooth(np.arange(500) / 25, shape[kept], 0.5)[0]
    off, off_by_number = (np.abs(line - full[kept])[inner].max() for line in (part, by_number))
    assert off < 0.02 and off_by_number > 2 * off


# --------------------------------------------------------------------------- properties


@pytest.mark.parametrize("seconds", [0, 1e-6, 0.05, 0.4, 30.0])
@pytest.mark.parametrize("seed", ROUNDS)
def test_nan_where_nan_and_within_the_range_of_the_stretch(seed, seconds):
    times, values = a_line(seed)
    for level, sd in (smooth(times, values, seconds), live(times, values, seconds)):
        np.testing.assert_array_equal(np.isnan(level), np.isnan(values))
        for part in stretches(np.isfinite(values)):
            seen, got = values[part], level[part]
            assert seen.min() <= got.min() and got.max() <= seen.max()
        assert (sd[np.isfinite(sd)] >= 0).all() and np.isnan(sd[np.isnan(values)]).all()
        if seconds >= 0.05:  # else frames are further apart than the time constant
            assert np.isfinite(sd[np.isfinite(values)]).all()


@pytest.mark.parametrize("seed", ROUNDS)
def test_live_looks_back_only(seed):
    times, values = a_line(seed)
    now = 20
    level, sd = live(times, values, 0.4)
    other = values.copy()
    other[now:] = 0.77
    changed = live(times, other, 0.4)
    np.testing.assert_array_equal(changed[0][:now], level[:now])
    np.testing.assert_array_equal(changed[1][:now], sd[:now])


@pytest.mark.parametrize("seed", ROUNDS)
def test_the_smoother_is_the_same_backwards(seed):
    times, values = a_line(seed)
    level, sd = smooth(times, values, 0.4)
    backwards = smooth(-times[::-1], values[::-1], 0.4)
    np.testing.assert_allclose(backwards[0][::-1], level, atol=1e-9)
    np.testing.assert_allclose(backwards[1][::-1], sd, atol=1e-9)


def test_the_smoother_does_not_lag_and_the_live_one_does():
    times = np.arange(600) / 25
    bump = np.exp(-((times - 12) ** 2))
    assert lag_seconds(times, smooth(times, bump, 0.4)[0], bump) == 0
    assert 0.25 < lag_seconds(times, live(times, bump, 0.4)[0], bump) < 0.55


def test_gaps_are_neither_filled_nor_bridged():
    values = np.array([1.0] * 10 + [np.nan] + [-1.0] * 10)
    for level, _ in (
        smooth(np.arange(21) / 25, values, 1.0), live(np.arange(21) / 25, values, 1.0),
    ):  # fmt: skip
        np.testing.assert_array_equal(level, values)  # no side hears of the other


def test_smoothing_quiets():
    values = np.random.default_rng(0).uniform(-1, 1, 300)
    got, _ = smooth(np.arange(300) / 25, values, 0.3)
    assert np.abs(np.diff(got)).mean() < 0.2 * np.abs(np.diff(values)).mean()


def test_zero_seconds_leave_the_line_as_it_is_and_have_no_band():
    values = np.array([0.1, np.nan, 0.3])
    for level, sd in (smooth(np.arange(3.0), values, 0), live(np.arange(3.0), values, 0)):
        np.testing.assert_array_equal(level, values)
        assert np.isnan(sd).all()


# --------------------------------------------------------------------------- the band


def test_the_band_holds_what_it_says():
    """When the model is true, about 95 % of true levels lie within 1.96 sd, live and offline."""
    rng = np.random.default_rng(0)
    inside = {"offline": [], "live": []}
    for _ in range(30):
        times, true, seen = simulated(rng, 400, 0.04, 0.3, noise=0.2)
        level, sd = smooth(times, seen, 0.3)
        inside["offline"].append(np.mean(np.abs(level - true) < 1.96 * sd))
        level, sd = live(times, seen, 0.3, noise=0.2)
        inside["live"].append(np.mean(np.abs(level - true) < 1.96 * sd))
    assert np.mean(inside["offline"]) > 0.93
    assert 0.93 < np.mean(inside["live"]) < 0.97


TIMES = np.arange(0, 60, 0.04)
TRUTHS = {
    "constant": lambda rng: np.zeros(len(TIMES)),
    "ramp": lambda rng: -0.8 + 1.6 * TIMES / 60,
    "wave of 4 s": lambda rng: 0.5 * np.sin(2 * np.pi * TIMES / 4),
    "wave of 20 s": lambda rng: 0.5 * np.sin(2 * np.pi * TIMES / 20),
    "steps each 3 s": lambda rng: np.repeat(rng.uniform(-0.8, 0.8, 20), 75),
}


@pytest.mark.parametrize("correlation", [0, 0.5, 0.8, 0.95])
@pytest.mark.parametrize("truth", TRUTHS)
def test_the_band_holds_the_truth_where_frames_share_their_errors(truth, correlation):
    rng = np.random.default_rng(5)
    inside, width = [], []
    for _ in range(10):
        true = TRUTHS[truth](rng)
        seen = np.clip(true + shared_errors(rng, correlation, 0.06), -1, 1)
        level, sd = smooth(TIMES, seen, 0.2)
        inside.append(np.mean(np.abs(level - true) <= 1.96 * sd))
        width.append(3.92 * sd.mean())
    assert np.mean(inside) >= (0.75 if correlation == 0.95 else 0.9)
    if truth == "constant":  # no wider than it need be
        assert np.mean(width) < (0.09 if correlation == 0 else 0.17)


def test_a_jump_is_not_blurred():
    true = np.where(TIMES < 30, -0.5, 0.6)
    seen = true + np.random.default_rng(0).normal(0, 0.05, len(TIMES))
    level, _ = smooth(TIMES, seen, 1.0)
    assert np.abs(level - true).max() < 0.08


def test_without_neighbours_within_the_time_constant_there_is_no_band():
    level, sd = smooth(np.arange(60.0), np.linspace(0, 1, 60), 0.2)
    assert np.isfinite(level).all() and np.isnan(sd).all()


@pytest.mark.parametrize("noise", [0.01, 0.1])
def test_noise_is_found_and_jumps_are_not_taken_for_it(noise):
    rng = np.random.default_rng(1)
    times, _, seen = simulated(rng, 4000, 0.04, 0.4, noise)
    assert frame_noise(times, seen, 0.4) == pytest.approx(noise, rel=0.05)
    seen[::40] += 1.0  # a jump up and one down: a twentieth of the differences
    assert frame_noise(times, seen, 0.4) == pytest.approx(noise, rel=0.2)


def test_noise_of_lines_that_tell_little():
    assert frame_noise(np.arange(9.0), np.full(9, 0.4), 0.4) == 0
    for values in ([], [0.5], [0.5, np.nan, 0.7]):
        assert frame_noise(np.arange(len(values)), values, 0.4) == DEFAULT_NOISE


# --------------------------------------------------------------------------- corners


def test_short_and_constant_lines():
    assert [len(part) for part in smooth([], [], 0.4)] == [0, 0]
    level, sd = smooth([7.0], [0.3], 0.4)
    assert level.tolist() == [0.3] and sd.tolist() == [DEFAULT_NOISE]
    level, sd = smooth(np.arange(50) / 25, np.full(50, -0.7), 0.4)
    assert (level == -0.7).all() and (sd == 0).all()
    level, sd = smooth(np.arange(5.0), np.full(5, np.nan), 0.4)
    assert np.isnan(level).all() and np.isnan(sd).all()


def test_frames_of_one_time_are_averaged():
    level, _ = smooth([1.0, 1.0, 1.0], [0.0, 0.3, 0.6], 0.4)
    np.testing.assert_allclose(level, 0.3)
    level, _ = live([0.0, 1.0, 1.0], [0.0, 0.2, 0.4], 0.4)
    assert np.isfinite(level).all()


def test_time_that_goes_back_restarts_the_live_smoother():
    smoother = LiveSmoother(5.0)
    for time in range(10):
        smoother(time, 1.0)
    assert smoother(0.0, -1.0) == -1.0
    smoother.restart()
    assert smoother(0.1, 0.5) == 0.5


def test_the_live_smoother_follows_a_changing_frame_rate():
    """From 60 to 10 frames a second: after a while it is what it were at 10 from the start."""
    slow = np.arange(1, 100) / 10
    times = np.concatenate([np.arange(300) / 60, 5 + slow])
    values = np.where(times < 10, 0.0, 1.0)
    level, sd = live(times, values, 0.5)
    at_ten, sd_at_ten = live(slow + 5, np.where(slow < 5, 0.0, 1.0), 0.5)
    np.testing.assert_allclose(level[-50:], at_ten[-50:], atol=1e-6)
    np.testing.assert_allclose(sd[-50:], sd_at_ten[-50:], rtol=1e-6)


@pytest.mark.parametrize("seconds", [-0.1, float("nan"), float("inf")])
def test_a_strength_that_is_none_is_refused(seconds):
    with pytest.raises(ValueError, match="seconds must be a number from 0 on"):
        smooth([0.0], [0.1], seconds)
    with pytest.raises(ValueError, match="seconds must be a number from 0 on"):
        LiveSmoother(seconds)
    with pytest.raises(ValueError, match="must be \\(N,\\) both"):
        smooth([0.0, 1.0], [0.1], 0.4)


def test_stretches():
    present = np.array([False, True, True, False, False, True])
    assert stretches(present) == [slice(1, 3), slice(5, 6)]
    assert stretches(np.zeros(2, bool)) == [] and stretches(np.zeros(0, bool)) == []
    assert stretches(np.ones(2, bool)) == [slice(0, 2)]


# --------------------------------------------------------------------------- lines made up


def test_trials_find_jumps_and_no_others():
    """Long jumps in independent noise are found; those of 0.2 s are not; a jump is not made up."""
    noises = {name: correlated_noise(k, 0.06, seed=1) for name, k in (("none", 0), ("half", 0.5))}
    trials = jump_trials(noises, (0.2, 1.5), count=4)
    assert (trials["hits, %"].unstack()["1.5 s"] == 100).all()
    assert (trials["hits, %"].unstack()["0.2 s"] < 50).all()
    assert (trials["false alarms a minute"] <= 1).all()
    assert trials["coverage, %"].between(80, 100).all()
    jumpy = {"a jump in the noise": np.repeat([0.0, 0.5, 0.0], 500)}
    assert (jump_trials(jumpy, (3.0,))["false alarms a minute"] > 0.5).all()


def test_correlated_noise_is_as_correlated_as_it_says():
    for correlation in (0, 0.5, 0.9):
        noise = correlated_noise(correlation, 0.06, seed=2)
        assert np.corrcoef(noise[1:], noise[:-1])[0, 1] == pytest.approx(correlation, abs=0.08)
        assert noise.std() == pytest.approx(0.06, rel=0.25)
