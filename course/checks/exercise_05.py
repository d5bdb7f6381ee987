"""Checks of unit 5. Oracles: plain loops, ruptures, and the study's own valence and smoothing."""

from itertools import pairwise

import numpy as np
import ruptures

from fer_lib.evaluation.valence import valence, valence_probabilities
from fer_lib.labels import FER_CLASSES
from fer_tools.course.expectations import array, holds, same
from fer_tools.rtfer.smoothing import LiveSmoother


def check_valence(answer):
    rng = np.random.default_rng(1)
    for what, probabilities in (
        ("the valence of seven certain predictions, one per class", np.eye(7)),
        ("the valence of 20 random faces", rng.dirichlet(np.full(7, 0.5), 20)),
    ):
        expected = valence(probabilities, FER_CLASSES)
        without_surprise = np.maximum(1 - probabilities[:, 5], 1e-9)
        three = valence_probabilities(probabilities, FER_CLASSES)
        same(
            answer(probabilities), expected, what, tolerance=1e-6,
            mistakes={
                "Do not rescale the probabilities without surprise.": expected / without_surprise,
                "Surprise is not positive.": expected + probabilities[:, 5],
                "Surprise is not negative.": expected - probabilities[:, 5],
                "Take the difference of the probabilities, not the sign of the predicted class.":
                    np.array([-1.0, 0, 1])[three.argmax(axis=1)],
                "The sign is wrong: happy is +1.": -expected,
            },
        )  # fmt: skip


def recursion(times, values, seconds, restart=True, weight=None):
    """Exponential smoothing, and its usual mistakes: bridging gaps, one weight for all frames."""
    levels, level, last = [], None, None
    for time, value in zip(times, values, strict=True):
        if np.isnan(value):
            levels.append(np.nan)
            level = None if restart else level
            continue
        if level is None:
            level = value
        else:
            gain = 1 - np.exp(-(time - last) / seconds) if weight is None else weight
            level = level + gain * (value - level)
        last = time
        levels.append(level)
    return np.array(levels)


def check_smooth(answer):
    rng = np.random.default_rng(2)
    times = np.cumsum(rng.choice([0.02, 0.04, 0.3], 60))
    values = np.clip(rng.normal(0, 0.5, 60).cumsum() / 2, -1, 1)
    values[[0, 17, 18, 19, 40]] = np.nan
    for seconds in (0.4, 2.0):
        step = np.diff(times).mean()
        found = array(answer(times.copy(), values.copy(), seconds), "the smoothed line")
        holds(
            (np.isnan(found) == np.isnan(values)).all() if found.shape == values.shape else True,
            "the smoothed line must be NaN exactly where the values are: no face, no line.",
        )
        same(
            found, recursion(times, values, seconds), f"the line smoothed by {seconds:g} s",
            tolerance=1e-6,
            mistakes={
                "Restart after a gap.": recursion(times, values, seconds, restart=False),
                "The weight depends on the time between frames; yours is the same for all.":
                    recursion(times, values, seconds, weight=1 - np.exp(-step / seconds)),
                "You swapped the weights of the old level and the new value.":
                    swapped(times, values, seconds),
            },
            hint="The weight of a new value is 1 - exp(-dt / S), with dt from the time stamps.",
        )  # fmt: skip

    for rate in (5, 25, 50):  # 1 - 1/e after S seconds, whatever the frame rate
        times = np.arange(2 * rate + 1) / rate
        level = answer(times, (times > 0).astype(float), 1.0)[rate]
        same(level, 1 - np.exp(-1),
             f"a step from 0 to 1, S seconds later, at {rate} frames per second",
             tolerance=1e-5)  # fmt: skip
    times, values = np.arange(400) / 25, np.sin(np.arange(400) / 30)
    live = LiveSmoother(0.4)
    filtered = [live(t, v) for t, v in zip(times, values, strict=True)]
    same(answer(times, values, 0.4)[200:], np.array(filtered)[200:],
         "your line compared with the study's live filter in its steady state",
         tolerance=1e-3)  # fmt: skip


def swapped(times, values, seconds):
    levels = np.full(len(values), np.nan)
    for i, value in enumerate(values):
        if i == 0 or np.isnan(levels[i - 1]) or np.isnan(value):
            levels[i] = value
        else:
            gain = 1 - np.exp(-(times[i] - times[i - 1]) / seconds)
            levels[i] = gain * levels[i - 1] + (1 - gain) * value
    return levels


def check_share_above(answer):
    rng = np.random.default_rng(3)
    for frames in (6, 80):
        edges = np.append(0, np.cumsum(rng.choice([0.03, 0.04, 0.8], frames))) + 5
        values = rng.uniform(-1, 1, frames)
        values[rng.choice(frames, frames // 4, replace=False)] = np.nan
        observed = [i for i in range(frames) if not np.isnan(values[i])]
        above = [i for i in observed if values[i] > 0.2]
        durations = [edges[i + 1] - edges[i] for i in range(frames)]
        time_observed = sum(durations[i] for i in observed)
        time_above = sum(durations[i] for i in above)
        same(
            answer(edges, values, 0.2), time_above / time_observed,
            f"the share above 0.2 of {frames} frames", tolerance=1e-6,
            mistakes={
                "Count time, not frames.": len(above) / len(observed),
                "Divide by the time in which the face was found.": time_above / sum(durations),
                "Count time, and only where the face was found.": len(above) / frames,
                "That is in seconds; divide by the time in which the face was found.": time_above,
            },
        )  # fmt: skip
    same(answer(np.arange(4.0), np.array([0.5, 0.5, np.nan]), 0.5), 0.0,
         "the share above 0.5 of a line that is constantly 0.5")  # fmt: skip


def check_inertia(answer):
    rng = np.random.default_rng(4)
    for coefficient in (0.9, 0.3):
        values = np.zeros(80)
        for i in range(1, 80):
            values[i] = coefficient * values[i - 1] + rng.normal(0, 0.1)
        values = np.clip(values, -0.95, 0.95)
        values[rng.choice(80, 25, replace=False)] = np.nan
        pairs = [pair for pair in pairwise(values) if not np.isnan(pair).any()]
        joined = values[np.isfinite(values)]
        filled = np.where(np.isnan(values), 0, values)
        found = answer(values.copy())
        same(
            found, np.corrcoef(np.array(pairs).T)[0, 1], "the inertia of 80 seconds with gaps",
            tolerance=1e-6,
            mistakes={
                "You closed the gaps: the two sides of a gap are not neighbors.":
                    np.corrcoef(joined[:-1], joined[1:])[0, 1],
                "A second without a face is not a second of valence 0.":
                    np.corrcoef(filled[:-1], filled[1:])[0, 1],
            },
            hint="Keep the pairs whose two seconds both have a value.",
        )  # fmt: skip


def check_change_point(answer):
    rng = np.random.default_rng(5)
    for length, cut in ((12, 4), (60, 45), (60, 7), (2, 1)):
        values = np.where(np.arange(length) < cut, 0.4, -0.4) + rng.normal(0, 0.15, length)
        if length > 12:
            values[cut // 2] += 1.6  # one outlier within the first level
        expected = ruptures.Dynp(model="l2", min_size=1, jump=1).fit(values).predict(1)[0]
        jump = int(np.abs(np.diff(values)).argmax()) + 1
        same(
            answer(values.copy()), expected, f"the change point of {length} values",
            mistakes={
                "One too early: return the start of the second segment.": expected - 1,
                "One too late: return the start of the second segment.": expected + 1,
                "That is the largest jump, of a single outlier; compare the segments' means.": jump,
            },
            hint="For every cut, add up the squared distances from the mean of each segment.",
        )  # fmt: skip
