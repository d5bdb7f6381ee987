"""One HTML page a video: the interactive valence line of each face, and its summary.

The page holds all it needs (plotly.js too), asks no server for anything, follows the reader's light
or dark setting and fits a phone.
"""

import json
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from fer_lib.files import whole
from fer_tools.rtfer.plots import FACE_COLORS
from fer_tools.rtfer.session import CAVEAT, clock, gaps, lines, summarize
from fer_tools.rtfer.smoothing import stretches

DASHES = ("solid", "dash", "dot")
POINTS = 5000  # of a line drawn at most: more than a screen has pixels, and quick to draw
# Milliseconds of 2000-01-01, where the time axis begins: plotly takes small numbers for years.
START = 946_684_800_000
BAND = 1.96  # standard deviations of the level, see `smoothing.smooth`
CONFIG = {
    "responsive": True, "displaylogo": False,
    "showSendToCloud": False, "plotlyServerURL": "",  # the chart is a person's: no button sends it
    "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"],
}  # fmt: skip


def figure(
    table: pd.DataFrame,
    facts_by_face: dict[int, dict] | None = None,
    *,
    dark: bool = False,
) -> go.Figure:
    """The lines over time: faint frame by frame, bold smoothed, shaded its uncertainty.

    Args:
        table: of all faces, see `engine.COLUMNS`.
        facts_by_face: what `session.describe` gives for each face; marks the changes of level.
        dark: for a dark page; the background is the page's own in any case.

    Returns:
        A plotly figure. The time axis is a date axis that begins at `START`, so that it reads
        minutes:seconds at any zoom; `customdata` of the bold lines holds time_s.
    """
    by_face = lines(table)
    facts_by_face = facts_by_face or {}
    drawing = go.Figure(_gaps(table))
    for number, (face, line) in enumerate(by_face.items()):
        drawing.add_traces(_face_traces(line, face, number, alone=len(by_face) == 1))
        changes = facts_by_face.get(face, {}).get("change_points", [])
        drawing.add_traces(_change_traces(changes, face, number, alone=len(by_face) == 1))
    whole = (0.0, 1.0) if table.empty else (table.time_s.min(), table.time_s.max())
    drawing.update_layout(_layout(*whole, room_for_names=len(by_face) > 1))
    drawing.update_layout({key.replace(".", "_"): value for key, value in theme(dark).items()})
    return drawing


def theme(dark: bool) -> dict[str, str]:
    """Colours of text, grid and hover box, as updates of a plotly layout."""
    text, grid, paper = ("#e8e8e8", "#3a3f47", "#14171c") if dark else ("#222", "#dcdcdc", "#fff")
    return {
        "font.color": text, "xaxis.gridcolor": grid, "yaxis.gridcolor": grid,
        "yaxis.zerolinecolor": text, "xaxis.linecolor": text, "hoverlabel.bgcolor": paper,
        "hoverlabel.font.color": text, "modebar.color": text, "modebar.activecolor": text,
    }  # fmt: skip


def write_page(table: pd.DataFrame, facts_by_face: dict[int, dict], path: Path, title: str) -> None:
    """Write the page, whole or not at all.

    Args:
        table: of all faces, see `engine.COLUMNS`.
        facts_by_face: what `session.describe` gives for each face; may be empty.
        path: of the HTML file; its folder is made.
        title: of the page, as the video's name; plain text.
    """
    drawing = figure(table, facts_by_face).to_html(
        full_html=False, include_plotlyjs=True, config=CONFIG, div_id="line",
        default_height="420px",
    )  # fmt: skip
    faces = "\n".join(_face_section(face, facts) for face, facts in facts_by_face.items())
    page = PAGE.format(
        title=escape(title), style=STYLE, figure=drawing, alt=escape(_alt(facts_by_face), True),
        caveat=escape(CAVEAT), faces=faces or "<p>No face was seen: nothing to report.</p>",
        light=json.dumps(theme(False)), dark=json.dumps(theme(True)), thinned=_thinned(table),
    )  # fmt: skip
    with whole(path) as part:
        part.write_text(page, encoding="utf-8")


# --------------------------------------------------------------------------- the figure


def _face_traces(line: pd.DataFrame, face: int, number: int, *, alone: bool) -> list[go.Scatter]:
    line = _thin(line)
    x = START + (1000 * line.time_s.to_numpy(np.float64)).round()
    level = line.valence_smooth.to_numpy(np.float32)
    color, dash = (
        FACE_COLORS[number % len(FACE_COLORS)],
        DASHES[number // len(FACE_COLORS) % len(DASHES)],
    )
    group = None if alone else f"face {face}"
    of_face = {"legendgroup": group, "x": x, "connectgaps": False}
    traces = [
        go.Scatter(
            **of_face, y=line.valence.to_numpy(np.float32), name="frame by frame", opacity=0.45,
            line={"width": 1, "color": color}, hoverinfo="skip", showlegend=alone, mode="lines",
        ),
        go.Scatter(
            **of_face, y=level, name="smoothed" if alone else f"face {face}", mode="lines",
            line={"width": 2.5, "color": color, "dash": dash},
            customdata=line.time_s.to_numpy(np.float32),
            hovertemplate=f"{'valence' if alone else f'face {face}'}: %{{y:+.2f}}<extra></extra>",
        ),
    ]  # fmt: skip
    half = BAND * line.valence_sd.to_numpy(np.float64)
    if np.isfinite(half).any():
        xs, ys = _band(x, level - half, level + half)
        traces.insert(0, go.Scatter(
            x=xs, y=ys, name="uncertainty", legendgroup=group, fill="toself", mode="none",
            fillcolor=_faint(color), hoverinfo="skip", showlegend=alone,
        ))  # fmt: skip
    last = np.flatnonzero(np.isfinite(level))
    if not alone and len(last):
        traces.append(go.Scatter(
            x=x[last[-1:]], y=level[last[-1:]], text=[f"<b>{face}</b>"], mode="markers+text",
            textposition="middle right", marker={"color": color, "size": 7}, showlegend=False,
            legendgroup=group, hoverinfo="skip", cliponaxis=False,
        ))  # fmt: skip
    return traces


def _change_traces(changes: list[dict], face: int, number: int, *, alone: bool) -> list[go.Scatter]:
    """A hollow ring at the level before, a triangle that points to the level after."""
    if not changes:
        return []
    x, y, text, symbols = [], [], [], []
    for change in changes:
        before, after = change["before"], change["after"]
        x += [_time(change["time_s"])] * 2 + [None]
        y += [before, after, None]
        symbols += ["circle-open", "triangle-up" if after > before else "triangle-down", "circle"]
        text += [f"face {face}, {clock(change['time_s'])}: {before:+.2f} to {after:+.2f}"] * 3
    return [go.Scatter(
        x=x, y=y, mode="lines+markers", name="change of level",
        legendgroup=None if alone else f"face {face}",
        line={"color": FACE_COLORS[number % len(FACE_COLORS)], "width": 1.5, "dash": "dot"},
        marker={"symbol": symbols, "size": 11}, showlegend=alone, text=text,
        hovertemplate="change of level, %{text}<extra></extra>",
    )]  # fmt: skip


def _gaps(table: pd.DataFrame) -> list[go.Scatter]:
    """Grey where no face at all is seen, as one trace however many gaps there are."""
    x: list[float | None] = []
    y: list[float | None] = []
    for start, end in gaps(table):
        x += [_time(start)] * 2 + [_time(end)] * 2 + [None]
        y += [-1.05, 1.05, 1.05, -1.05, None]
    if not x:
        return []
    return [go.Scatter(
        x=x, y=y, fill="toself", fillcolor="rgba(128, 128, 128, 0.28)", mode="none",
        name="no face seen", hoverinfo="skip",
    )]  # fmt: skip


def _layout(first: float, last: float, *, room_for_names: bool) -> dict:
    hours = "%-H:%M:%S" if last >= 3600 else "%-M:%S"
    end = last + (last - first) * (0.08 if room_for_names else 0)
    return {
        "template": "none", "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 14}, "hovermode": "x unified",
        "margin": {"l": 34, "r": 8, "t": 34, "b": 44},
        "legend": {"orientation": "h", "y": -0.3, "yanchor": "top", "x": 0},
        "xaxis": {
            "type": "date", "range": [_time(first), _time(end)], "showline": True,
            "title": {"text": "time, minutes:seconds", "font": {"size": 14}, "standoff": 6},
            "hoverformat": f"{hours}.%1f", "nticks": 8,
            "tickformatstops": [
                {"dtickrange": [None, 999], "value": f"{hours}.%1f"},
                {"dtickrange": [1000, None], "value": hours},
            ],
        },
        "yaxis": {
            "range": [-1.08, 1.08], "fixedrange": True, "zeroline": True, "zerolinewidth": 1.5,
            "tickvals": [-1, -0.5, 0, 0.5, 1], "ticktext": ["−1", "", "0", "", "+1"],
        },
        "annotations": [
            {"text": text, "x": 0, "y": y, "xref": "paper", "yref": "y", "showarrow": False,
             "xanchor": "left", "yanchor": anchor, "xshift": 4}
            for text, y, anchor in (("positive ↑", 1.08, "bottom"), ("negative ↓", -1.06, "bottom"))
        ],
    }  # fmt: skip


def _band(x: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[list, list]:
    """Outline of each unbroken stretch, within [-1, 1]; None between stretches."""
    xs: list[float | None] = []
    ys: list[float | None] = []
    for part in stretches(np.isfinite(low)):
        xs += [*x[part].tolist(), *x[part][::-1].tolist(), None]
        ys += [*high[part].clip(-1, 1).round(4), *low[part][::-1].clip(-1, 1).round(4), None]
    return xs, ys


def _thin(line: pd.DataFrame) -> pd.DataFrame:
    """Every k-th row of a long line, and every row at the edge of a gap: gaps stay gaps."""
    every = -(-len(line) // POINTS)
    there = np.isfinite(line.valence_smooth.to_numpy(np.float64))
    change = np.flatnonzero(np.diff(there))
    kept = np.zeros(len(line), dtype=bool)
    kept[::every], kept[change], kept[change + 1], kept[-1:] = True, True, True, True
    return line[kept]


def _time(seconds: float) -> int:
    """Milliseconds, as plotly's date axis counts."""
    return START + round(1000 * seconds)


def _faint(color: str) -> str:
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, 0.25)"


# --------------------------------------------------------------------------- the page


def _alt(facts_by_face: dict[int, dict]) -> str:
    summaries = [
        f"Face {face}: {summarize(facts, caveat=False)}" for face, facts in facts_by_face.items()
    ]
    text = "Valence over time, from -1, negative, to +1, positive."
    return " ".join([text, *(summaries or ["No face was seen."])])


def _face_section(face: int, facts: dict) -> str:
    summary = summarize(facts, caveat=False)
    states = "".join(
        f"<tr><th scope=row>{name}</th><td>{_or_dash(state['share'], '.0%')}</td>"
        f"<td>{_range(state['interval'])}</td>"
        f"<td class=bar><span style='width:{100 * (state['share'] or 0):.1f}%'></span></td></tr>"
        for name, state in reversed(facts["states"].items())
        if name != "other" or state["share"]  # three classes leave none
    )
    measures = "".join(
        f"<dt>{name}</dt><dd><b>{_or_dash(facts[key], form)}</b> {meaning}</dd>"
        for name, key, form, meaning in MEASURES
    )
    changes = "".join(
        f"<tr><td>{clock(c['time_s'])}</td><td>{c['before']:+.2f}</td><td>{c['after']:+.2f}</td>"
        f"<td>{'▲ up' if c['after'] > c['before'] else '▼ down'}</td></tr>"
        for c in facts["change_points"]
    )
    table = CHANGES.format(rows=changes) if changes else ""
    return FACE.format(
        face=face, summary=escape(summary), states=states, measures=measures, changes=table
    )


def _or_dash(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _range(interval: list[float] | None) -> str:
    return "" if interval is None else f"{100 * interval[0]:.0f} to {interval[1]:.0%}"


def _thinned(table: pd.DataFrame) -> str:
    every = -(-table.frame.nunique() // POINTS)
    return f" Of this long video one frame in {every} is drawn." if every > 1 else ""


MEASURES = (
    ("Mean", "mean", "+.2f", "from -1 (negative) to +1 (positive)"),
    ("Spread", "sd", ".2f", "standard deviation of the seconds’ means"),
    ("Variability", "variability", ".3f", "mean squared step from second to second (MSSD)"),
    ("Inertia", "inertia", ".2f", "how much a second resembles the one before (1: fully, 0: not)"),
)

FACE = """<section>
<h2>Face {face}</h2>
<p>{summary}</p>
<div class=columns>
<table><caption>Mean probability while seen, and its 95&nbsp;% interval by chance</caption>
{states}</table>
<dl>{measures}</dl>
</div>
{changes}
</section>"""

CHANGES = """<table class=changes><caption>Changes of level that lasted a second or more</caption>
<thead><tr><th scope=col>at</th><th scope=col>from</th><th scope=col>to</th><th scope=col>way</th></tr></thead>
<tbody>{rows}</tbody></table>"""  # noqa: E501

STYLE = """
:root { color-scheme: light dark; --text: #222; --paper: #fff; --soft: #f3f4f6; --rule: #dcdcdc;
  --accent: #0173b2; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e8e8e8; --paper: #14171c; --soft: #1f242b; --rule: #3a3f47; --accent: #56b4e9; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 1rem; background: var(--paper);
  color: var(--text); font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.4rem; margin: 0 0 .5rem; }
h2 { font-size: 1.15rem; margin: 0 0 .25rem; }
p { margin: 0 0 .75rem; max-width: 44rem; }
figure { margin: 0 0 1rem; }
figcaption, caption { font-size: .9rem; text-align: left; opacity: .85; }
caption { padding-bottom: .25rem; }
.caveat { border-left: 4px solid var(--accent); background: var(--soft); padding: .6rem .8rem;
  max-width: none; }
section { border-top: 1px solid var(--rule); padding-top: .75rem; margin-top: 1rem; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(17rem, 1fr)); gap: 1rem; }
table { border-collapse: collapse; width: 100%; align-self: start;
  font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .15rem .75rem .15rem 0; font-weight: 400; white-space: nowrap; }
.changes { max-width: 26rem; }
.bar { width: 40%; padding-right: 0; }
.bar span { display: block; height: .8rem; background: var(--accent); }
dl { margin: 0; display: grid; grid-template-columns: auto 1fr; gap: .15rem .75rem; }
dd { margin: 0; }
"""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'unsafe-inline';
 style-src 'unsafe-inline'; img-src data: blob:">
<link rel="icon" href="data:,">
<title>Valence: {title}</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>Valence: {title}</h1>
<p class=caveat role=note><b>A face is not a feeling.</b> {caveat}</p>
<figure>
<div role="img" aria-label="{alt}">{figure}</div>
<figcaption>Bold: smoothed. Faint: frame by frame. Shaded along the line: how unsure the
frames’ errors leave it (86 to 100&nbsp;% of a known truth lay within, in trials); faces that the
network misreads all along are not in it. Rings and triangles: the level before and after a
change. Grey: no face seen, nothing drawn. Of several faces, each line ends in its face’s number.
Drag to zoom, double-click to see
all.{thinned}</figcaption>
</figure>
{faces}
</main>
<script>
const wish = matchMedia("(prefers-color-scheme: dark)");
const paint = () => Plotly.relayout("line", wish.matches ? {dark} : {light});
wish.addEventListener("change", paint);
paint();
// On a touch screen a drag scrolls the page.
if (matchMedia("(pointer: coarse)").matches) Plotly.relayout("line", {{dragmode: false}});
</script>
</body>
</html>
"""
