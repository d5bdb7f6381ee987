"""What a counsellor reads from one face's line: facts as numbers, and as a summary.

A frame stands until the next one comes, so uneven frame rates weigh as they should. Spread,
variability and inertia are given for the means of whole seconds: there the frames' noise is
averaged out, and videos of any frame rate compare. Nothing is made up for moments without the face.
"""

from itertools import pairwise

import numpy as np
import pandas as pd
import ruptures

from fer_lib.labels import VALENCE_CLASSES
from fer_tools.rtfer.smoothing import stretches

PROBABILITIES = [f"p_{name}" for name in VALENCE_CLASSES]
SAMPLE = 0.2  # seconds between samples in the search for changes: how exactly one is placed
PER_SECOND = 5  # samples; a level holds for a second at least
LEAST_NOISE = 0.2  # of a sample: a step of 0.5 kept up for 1 s counts, or one of 0.2 for 5 s
FEW_SECONDS = 3  # pairs of neighbouring seconds below which variability says nothing ...
FEW_FOR_INERTIA = 10  # ... and below which a correlation over time says nothing
SUMMARIZED = 3  # changes named in the summary, the largest

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
        states: by valence class {seconds, share} of the time seen, by the most probable class;
        mean of the valence; of the means of whole seconds: sd; variability, the mean square
        successive difference (MSSD); inertia, the lag-1 autocorrelation, in [-1, 1] (Koval et al.
        2015; with n seconds it comes out too low by about (1 + 4 inertia) / n);
        change_points: [{time_s, before, after}], the segments' mean valence on both sides.

    Raises:
        ValueError: if the table holds several faces.
    """
    if table.frame.duplicated().any():
        raise ValueError("one face has one row a frame: split the table with `lines` first")
    line = _without_holes(table)
    edges = _edges(line.time_s.to_numpy(np.float64))
    values = line.valence.where(line.face_found.astype(bool)).to_numpy(np.float64)
    lasting, seen = np.diff(edges), np.isfinite(values)
    gone = [edges[gap.stop] - edges[gap.start] for gap in stretches(~seen)]
    second_means = _means(edges, values, 1.0)
    pairs = np.column_stack([second_means[:-1], second_means[1:]])
    pairs = pairs[np.isfinite(pairs).all(axis=1)]
    enough = len(pairs) >= FEW_SECONDS
    return {
        "seconds": _number(lasting.sum()),
        "seconds_seen": _number(lasting[seen].sum()),
        "frames_seen": int(seen.sum()),
        "gaps": {
            "count": len(gone), "seconds": _number(sum(gone)),
            "longest_s": _number(max(gone, default=0.0)),
        },
        "states": _states(line.loc[seen, PROBABILITIES].to_numpy(np.float64), lasting[seen]),
        "mean": _number(np.average(values[seen], weights=_weights(lasting[seen])))
        if seen.any() else None,
        "sd": _number(np.nanstd(second_means)) if enough else None,
        "variability": _number(np.square(np.diff(pairs)).mean()) if enough else None,
        "inertia": _inertia(pairs),
        "change_points": change_points(edges, values),
    }  # fmt: skip


def change_points(edges: np.ndarray, values: np.ndarray) -> list[dict[str, float]]:
    r"""Moments at which the line goes to another level and stays there for a second or more.

    The line, as means of 0.2 s, is cut so that the squared distance from each segment's mean plus a
    penalty for each cut is least (PELT, Killick et al. 2012; library `ruptures`). The penalty is
    :math:`3 \sigma^2 \ln n`, that of the Bayesian information criterion as Zhang & Siegmund (2007)
    corrected it for cuts: one adds a level and a place, and places are many. The noise
    :math:`\sigma` of a sample is taken from successive differences, robustly (median), but from
    `LEAST_NOISE` on: a long video would else show changes too small to mean anything. Each unbroken
    stretch is searched by itself: what happened in a gap is not known.

    Args:
        edges: (N + 1,) seconds at which frames begin, and the last one ends.
        values: (N,) NaN without the face.

    Returns:
        By time: time_s, the new level's begin; before and after, mean valence of both levels.
    """
    samples = _means(edges, values, SAMPLE)
    penalty = 3 * _noise(samples) ** 2 * np.log(max(np.isfinite(samples).sum(), 2))
    found = []
    for stretch in stretches(np.isfinite(samples)):
        segment = samples[stretch]
        if len(segment) < 2 * PER_SECOND:
            continue
        # The linear kernel's cost is the squared distance from the mean; this one runs in C.
        search = ruptures.KernelCPD(kernel="linear", min_size=PER_SECOND).fit(segment[:, None])
        cuts = [0, *search.predict(pen=penalty)]
        means = [segment[a:b].mean() for a, b in pairwise(cuts)]
        for cut, (before, after) in zip(cuts[1:-1], pairwise(means), strict=True):
            time = edges[0] + (stretch.start + cut) * SAMPLE
            found.append({
                "time_s": _number(time), "before": _number(before), "after": _number(after),
            })  # fmt: skip
    return found


def summarize(facts: dict, *, caveat: bool = True) -> str:
    """A short summary in plain language of what `describe` gives; ends in the caveat if wanted."""
    if not facts["frames_seen"]:
        return f"The face was not seen: there is nothing to tell of {clock(facts['seconds'])}."
    sentences = [_seen_sentence(facts), _states_sentence(facts["states"])]
    sentences.append(
        f"On the scale from -1 (negative) to +1 (positive) the mean is {facts['mean']:+.2f}."
    )
    if facts["variability"] is not None:
        step = facts["variability"] ** 0.5
        sentences.append(f"From one second to the next it moves by about {step:.2f}.")
    if facts["inertia"] is not None:
        sentences.append(
            f"Inertia is {facts['inertia']:.2f} (1: each second is like the one before; 0: it "
            "tells nothing about the next)."
        )
    sentences += [_changes_sentence(facts["change_points"]), CAVEAT if caveat else ""]
    return " ".join(part for part in sentences if part)


def clock(seconds: float) -> str:
    """`8.4 s` below a minute, else `2:05` or `1:02:05`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


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


def _means(edges: np.ndarray, values: np.ndarray, width: float) -> np.ndarray:
    """Mean over each whole `width` seconds; NaN where the face is seen for less than half of it."""
    starts = edges[0] + width * np.arange(int((edges[-1] - edges[0]) / width + 1e-6) + 1)
    lasting, seen = np.diff(edges), np.isfinite(values)
    area = np.append(0.0, np.cumsum(np.where(seen, values, 0.0) * lasting))
    time = np.append(0.0, np.cumsum(seen * lasting))
    # Both grow in straight lines between frames, so what is read off between them is exact.
    area, time = np.diff(np.interp(starts, edges, area)), np.diff(np.interp(starts, edges, time))
    return np.divide(area, time, out=np.full(len(area), np.nan), where=time > 0.499 * width)


def _noise(samples: np.ndarray) -> float:
    """Standard deviation of independent samples about their level."""
    steps = np.abs(np.diff(samples))
    steps = steps[np.isfinite(steps)]
    spread = float(np.median(steps)) / 0.6745 / 2**0.5 if len(steps) else 0.0
    return max(LEAST_NOISE, spread)


def _inertia(pairs: np.ndarray) -> float | None:
    if len(pairs) < FEW_FOR_INERTIA or (np.ptp(pairs, axis=0) < 1e-9).any():
        return None
    return _number(np.corrcoef(pairs.T)[0, 1])


def _states(probabilities: np.ndarray, lasting: np.ndarray) -> dict[str, dict[str, float | None]]:
    """Of (N, 3) probabilities and (N,) seconds: how long each class is the most probable."""
    facts: dict[str, dict[str, float | None]] = {}
    weights = _weights(lasting)
    for place, name in enumerate(VALENCE_CLASSES):
        here = (
            probabilities.argmax(axis=1) == place if len(probabilities) else np.zeros(0, dtype=bool)
        )
        share = _number(weights[here].sum() / weights.sum()) if len(probabilities) else None
        facts[name] = {"seconds": _number(lasting[here].sum()), "share": share}
    return facts


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
    if not known:
        return ""
    parts = [f"{name} for {share:.0%}" for share, name in sorted(known, reverse=True)]
    return f"While seen it looked {', '.join(parts)} of the time."


def _changes_sentence(changes: list[dict]) -> str:
    if not changes:
        return "Its level did not change lastingly."
    largest = sorted(changes, key=lambda c: -abs(c["after"] - c["before"]))[:SUMMARIZED]
    listed = ", ".join(
        f"at {clock(c['time_s'])} from {c['before']:+.2f} to {c['after']:+.2f}"
        for c in sorted(largest, key=lambda c: c["time_s"])
    )
    if len(changes) > SUMMARIZED:
        return (
            f"Its level changed {len(changes)} times. The {SUMMARIZED} largest changes: {listed}."
        )
    times = "once" if len(changes) == 1 else f"{len(changes)} times"
    return f"Its level changed {times}: {listed}."
