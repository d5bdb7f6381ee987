"""What a counsellor reads from one face's line: facts as numbers, and as a summary.

A frame stands until the next one comes, so uneven frame rates weigh as they should. Spread,
variability and inertia are given for the means of whole seconds, where the frames' noise is mostly
averaged out. Nothing is made up for moments without the face.
"""

import numpy as np
import pandas as pd
from scipy.stats import t as student_t

from fer_lib.labels import VALENCE_CLASSES
from fer_tools.rtfer.changes import (
    change_points,
    interval_means,
    levels,
    searchable,
)
from fer_tools.rtfer.smoothing import stretches

PROBABILITIES = [f"p_{name}" for name in VALENCE_CLASSES]
STATES = (*VALENCE_CLASSES, "other")  # a surprised face is negative, neutral and positive in none
FEW_SECONDS = 3  # pairs of neighbouring seconds below which variability says nothing
FEW_FOR_INERTIA = 10  # seconds that a series must have to count for inertia ...
LEAST_SECONDS = 60  # ... and all of them together
JUMP = 4.0  # robust standard deviations by which neighbouring seconds of one series may differ
NORMAL_MEDIAN = 0.6745  # median of |N(0, 1)|
SLOWLY = 5.0  # seconds: means over so long show slow movement
LEAST_MOVEMENT = 0.3  # slow movement that the summary names
SUMMARIZED = 3  # changes named in the summary, the largest
SHORTEST = 120  # seconds below which an interval of a mean probability says too little
LEAST_BLOCK, LEAST_BLOCKS, DRAWS = 5, 6, 1000  # of the bootstrap; the first in seconds
LEAST_SHARE = 0.005  # mean probability that the summary names

CAVEAT = (
    "What a network reads from a face is not what a person feels. It saw only the face, knows "
    "nothing of the situation, can be wrong, and may do worse on people unlike those it learned "
    "from. Take this as a hint where to look again, never as a finding about a person."
)


def lines(table: pd.DataFrame) -> dict[int, pd.DataFrame]:
    """One face's line each: a row for every frame of the video, empty where the face is not seen.

    Args:
        table: of all faces, see `engine.COLUMNS`; without the column face_id, of one face.

    Returns:
        By face_id, in growing order: the columns of `table`, rows in order of time.
    """
    if "face_id" not in table:
        return {1: table.sort_values("frame", ignore_index=True)}
    times = table.groupby("frame").time_s.first()
    seen = table[table.face_id.notna() & table.face_found.astype(bool)]
    return {int(face): _on_every_frame(rows, times) for face, rows in seen.groupby("face_id")}


def gaps(table: pd.DataFrame) -> list[tuple[float, float]]:
    """When no face at all is seen: seconds of the last frame with one and of the next."""
    frames = table.assign(found=table.face_found.astype(bool)).groupby("frame")
    times, found = frames.time_s.first().to_numpy(), frames.found.any().to_numpy()
    ends = len(times) - 1
    return [
        (float(times[max(gap.start - 1, 0)]), float(times[min(gap.stop, ends)]))
        for gap in stretches(~found)
    ]


def describe(table: pd.DataFrame) -> dict:
    """Facts about one face's line, ready for JSON: None where something is undefined, never NaN.

    Args:
        table: of one face, best from `lines`, so that moments before it came and after it went
            count; columns frame, time_s (seconds), face_found, valence and the three probabilities.
            Frames whose row is missing count as without the face.

    Returns:
        seconds; seconds_seen; frames_seen; gaps: {count, seconds, longest_s} without the face;
        states: by each of `STATES` {share, interval}, the mean probability over the time seen, in
        [0, 1], and its 95 % interval [low, high] (None below two minutes; see `_chance_interval`);
        mean of the valence; of the means of whole seconds: sd; variability, the mean square
        successive difference (MSSD); inertia, the lag-1 autocorrelation, in [-1, 1] (Koval et al.
        2015), and inertia_interval, [low, high], both None below a minute; slow_movement, the
        largest difference between means of five seconds within one level; changes_searched,
        whether frames are close enough for jumps to be distinguished from movement; change_points:
        [{time_s, before, after}], the jumps, see `changes.change_points`.

    Raises:
        ValueError: if the table holds several faces.
    """
    if table.frame.duplicated().any() or ("face_id" in table and table.face_id.nunique() > 1):
        raise ValueError("one face has one row a frame: split the table with `lines` first")
    line = _without_holes(table)
    edges = _edges(line.time_s.to_numpy(np.float64))
    values = line.valence.where(line.face_found.astype(bool)).to_numpy(np.float64)
    lasting, seen = np.diff(edges), np.isfinite(values)
    gone = [edges[gap.stop] - edges[gap.start] for gap in stretches(~seen)]
    second_means = interval_means(edges, values, 1.0)
    pairs = np.column_stack([second_means[:-1], second_means[1:]])
    pairs = pairs[np.isfinite(pairs).all(axis=1)]
    enough = len(pairs) >= FEW_SECONDS
    rho, changes = _inertia(pairs), change_points(edges, values)
    return {
        "seconds": _number(lasting.sum()),
        "seconds_seen": _number(lasting[seen].sum()),
        "frames_seen": int(seen.sum()),
        "gaps": {
            "count": len(gone), "seconds": _number(sum(gone)),
            "longest_s": _number(max(gone, default=0.0)),
        },
        "states": _states(edges, line[PROBABILITIES].to_numpy(np.float64), seen),
        "mean": _number(np.average(values[seen], weights=_weights(lasting[seen])))
        if seen.any() else None,
        "sd": _number(np.nanstd(second_means)) if enough else None,
        "variability": _number(np.square(np.diff(pairs)).mean()) if enough else None,
        "inertia": None if rho is None else _number(rho),
        "inertia_interval": None if rho is None else _inertia_interval(pairs, rho),
        "slow_movement": _slow_movement(edges, values, changes),
        "changes_searched": searchable(edges),
        "change_points": [{k: _number(v) for k, v in change.items()} for change in changes],
    }  # fmt: skip


def summarize(facts: dict, *, caveat: bool = True) -> str:
    """A short summary in plain language of what `describe` gives; ends in the caveat if wanted."""
    if not facts["frames_seen"]:
        return f"The face was not seen: there is nothing to report of {clock(facts['seconds'])}."
    sentences = [_seen_sentence(facts), _states_sentence(facts["states"])]
    sentences.append(
        f"On the scale from -1 (negative) to +1 (positive) the mean is {facts['mean']:+.2f}."
    )
    if facts["variability"] is not None:
        step = facts["variability"] ** 0.5
        sentences.append(f"From one second to the next it moves by about {step:.2f}.")
    if facts["inertia"] is not None:
        low, high = facts["inertia_interval"]
        sentences.append(
            f"Inertia is {facts['inertia']:.2f} ({low:.2f} to {high:.2f}; 1: each second is like "
            "the one before; 0: it predicts nothing about the next)."
        )
    sentences += [_changes_sentence(facts), _movement_sentence(facts), CAVEAT if caveat else ""]
    return " ".join(part for part in sentences if part)


def clock(seconds: float) -> str:
    """`8.4 s` below a minute, else `2:05` or `1:02:05`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds_left = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds_left:02}" if hours else f"{minutes}:{seconds_left:02}"


def _on_every_frame(rows: pd.DataFrame, times: pd.Series) -> pd.DataFrame:
    """The rows of one face put on all frames; `times` is time_s by frame."""
    line = rows.set_index("frame").reindex(times.index)
    line["time_s"], line["face_found"] = times, line.face_found.eq(True)  # missing: not found
    return line.reset_index()[list(rows.columns)]


def _without_holes(table: pd.DataFrame) -> pd.DataFrame:
    """One row for each frame from the first to the last; times of missing rows are in between."""
    if table.empty:
        return table
    frames = pd.RangeIndex(table.frame.min(), table.frame.max() + 1, name="frame")
    return _on_every_frame(table, table.set_index("frame").time_s.reindex(frames).interpolate())


def _edges(times: np.ndarray) -> np.ndarray:
    """When frames begin, and the last one ends (after a usual step; one alone lasts no time)."""
    usual = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    return np.append(times, times[-1] + usual) if len(times) else np.zeros(1)


def _inertia(pairs: np.ndarray) -> float | None:
    r"""Emotional inertia: the lag-1 autocorrelation of the means of whole seconds.

    A trend or a jump would look like inertia (Jahng et al. 2008), so it is taken within unbroken
    series between gaps and jumps, and of what is left of each beside its straight line. Short
    series come out too low, by :math:`(2 + 4 \rho) / n` each (Marriott & Pope 1954, with a trend
    removed), which is put right.

    Args:
        pairs: (P, 2) means of neighbouring seconds.

    Returns:
        In [-1, 1]; None where fewer than `LEAST_SECONDS` seconds are left, or nothing moves.
    """
    series = _unbroken(pairs)
    count = sum(map(len, series))
    if count < LEAST_SECONDS:
        return None
    products = squares = 0.0
    for values in series:
        place = np.arange(len(values))
        left = values - np.polyval(np.polyfit(place, values, 1), place)
        products, squares = products + left[1:] @ left[:-1], squares + left @ left
    if squares < 1e-9 * count:
        return None
    bias = len(series) / count
    return float(np.clip((products / squares + 2 * bias) / (1 - 4 * bias), -1, 1))


def _inertia_interval(pairs: np.ndarray, rho: float) -> list[float]:
    r"""The 95 % interval of `_inertia`, :math:`\rho \pm 1.96 \sqrt{(1 - \rho^2) / n}`."""
    count = sum(map(len, _unbroken(pairs)))
    half = 1.96 * max(1 - rho**2, 1 / count) ** 0.5 / count**0.5
    return [_number(max(rho - half, -1.0)), _number(min(rho + half, 1.0))]


def _slow_movement(edges: np.ndarray, values: np.ndarray, changes: list[dict[str, float]]) -> float:
    """The largest difference between means of `SLOWLY` seconds within one level."""
    moved = 0.0
    for part in levels(edges[:-1], changes):
        means = interval_means(edges[part.start : part.stop + 1], values[part], SLOWLY)
        means = means[np.isfinite(means)]
        moved = max(moved, float(np.ptp(means)) if len(means) else 0.0)
    return _number(moved)


def _unbroken(pairs: np.ndarray) -> list[np.ndarray]:
    """Series of neighbouring seconds between gaps and jumps, without those too short to judge."""
    if not len(pairs):
        return []
    largest = JUMP * float(np.median(np.abs(np.diff(pairs)))) / NORMAL_MEDIAN
    parts: list[np.ndarray] = []
    for run in np.split(pairs, np.flatnonzero(pairs[1:, 0] != pairs[:-1, 1]) + 1):
        series = np.append(run[0, 0], run[:, 1])
        jumps = np.flatnonzero((np.abs(np.diff(series)) > largest) & (largest > 0)) + 1
        parts += np.split(series, jumps)
    return [part for part in parts if len(part) >= FEW_FOR_INERTIA]


def with_other(probabilities: np.ndarray) -> np.ndarray:
    """(N, 3) P(negative), P(neutral), P(positive) -> (N, 4) in the order of `STATES`."""
    other = (1 - probabilities.sum(axis=1, keepdims=True)).clip(0)
    return np.concatenate([probabilities, other], axis=1)


def _states(
    edges: np.ndarray, probabilities: np.ndarray, seen: np.ndarray
) -> dict[str, dict[str, float | list[float] | None]]:
    """Of (N, 3) probabilities: the mean of each state, and its error by chance.

    Not the share of frames in which a state is the most probable: a face that is always neutral
    would be "positive" in a third of its frames when the frames are noisy.
    """
    if not seen.any():
        return {name: {"share": None, "interval": None} for name in STATES}
    four = with_other(probabilities)
    shares = np.average(four[seen], axis=0, weights=_weights(np.diff(edges)[seen]))
    four[~seen] = np.nan
    seconds = np.stack([interval_means(edges, column, 1.0) for column in four.T], axis=1)
    seconds = seconds[np.isfinite(seconds).all(axis=1)]
    return {
        name: {"share": _number(share), "interval": _chance_interval(column)}
        for name, share, column in zip(STATES, shares, seconds.T, strict=True)
    }


def _chance_interval(values: np.ndarray) -> list[float] | None:
    r"""The 95 % interval of the mean of (N,) seconds, by a block bootstrap (Künsch 1989).

    Neighbouring seconds resemble each other, so blocks of them are drawn, of the length that suits
    a first-order autoregression, :math:`(\sqrt 6 \rho / (1 - \rho^2))^{2/3} N^{1/3}` (Carlstein
    1986), and few blocks widen the interval by Student's t. On made-up lines of 2 to 20 minutes it
    holds the true mean in 87 to 95 % where neighbouring seconds correlate by up to 0.8, in 83 to
    92 % where by 0.9, in 75 to 92 % where by 0.95.
    """
    count = len(values)
    if count < SHORTEST:
        return None
    left = values - values.mean()
    rho = left[1:] @ left[:-1] / max(left @ left, 1e-12) + 4 / count  # it comes out too low
    rho = min(max(rho, 0.0), 0.97)
    block = (6**0.5 * rho / (1 - rho**2)) ** (2 / 3) * count ** (1 / 3)
    block = int(min(max(np.ceil(block), LEAST_BLOCK), count // LEAST_BLOCKS))
    starts = np.random.default_rng(0).integers(0, count, (DRAWS, -(-count // block)))
    sums = np.cumsum(np.concatenate([[0.0], values, values]))  # blocks go on round the end
    means = (sums[starts + block] - sums[starts]).mean(axis=1) / block
    wider = student_t.ppf(0.975, count / block - 1) / 1.96
    ends = values.mean() + wider * (np.quantile(means, [0.025, 0.975]) - values.mean())
    low, high = ends.clip(0, 1)
    return [_number(low), _number(high)]


def _weights(lasting: np.ndarray) -> np.ndarray:
    """Frames weigh as long as they last; where none lasts (there is but one), all the same."""
    return lasting if lasting.sum() > 0 else np.ones(len(lasting))


def _number(value: float) -> float:
    """For JSON: a plain float, of four digits (valence and seconds need no more)."""
    return round(float(value), 4) + 0.0  # + 0.0: no "-0.0"


def _seen_sentence(facts: dict) -> str:
    if not facts["seconds"]:
        return "The face was seen in one frame."
    gaps = facts["gaps"]
    text = f"The face was seen for {clock(facts['seconds_seen'])} of {clock(facts['seconds'])}"
    if not gaps["count"]:
        return text + "."
    where = "in one gap" if gaps["count"] == 1 else f"in {gaps['count']} gaps"
    return f"{text}; for {clock(gaps['seconds'])} it was not, {where}."


def _states_sentence(states: dict) -> str:
    known = [(state["share"], name) for name, state in states.items() if state["share"]]
    parts = []
    for share, name in sorted(known, reverse=True):
        interval = states[name]["interval"]
        if share >= LEAST_SHARE:
            between = f" ({100 * interval[0]:.0f} to {interval[1]:.0%})" if interval else ""
            parts.append(f"{name} {share:.0%}{between}")
    if not parts:
        return ""
    text = f"While seen its mean probabilities were: {', '.join(parts)}"
    if states["negative"]["interval"] is None:
        return f"{text}; it was too short to say how far chance may move them."
    return f"{text}; in brackets, how far chance may move them (95 %)."


def _changes_sentence(facts: dict) -> str:
    changes = facts["change_points"]
    if not facts["changes_searched"]:
        return "Jumps of its level cannot be detected: that takes five frames a second."
    if not changes:
        return "Its level did not jump."
    largest = sorted(changes, key=lambda c: -abs(c["after"] - c["before"]))[:SUMMARIZED]
    listed = ", ".join(
        f"at {clock(c['time_s'])} from {c['before']:+.2f} to {c['after']:+.2f}"
        for c in sorted(largest, key=lambda c: c["time_s"])
    )
    if len(changes) > SUMMARIZED:
        return f"Its level jumped {len(changes)} times. The {SUMMARIZED} largest jumps: {listed}."
    times = "once" if len(changes) == 1 else f"{len(changes)} times"
    return f"Its level jumped {times}: {listed}."


def _movement_sentence(facts: dict) -> str:
    moved = facts["slow_movement"]
    if moved < LEAST_MOVEMENT:
        return ""
    where = " between the jumps" if facts["change_points"] else ""
    return f"It moved slowly{where}, by up to {moved:.2f}."
