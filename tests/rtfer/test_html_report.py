"""The page holds its data, asks for nothing, shows its summary; both drawings keep gaps as gaps."""

import json
import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from test_session import a_table

from fer_tools.rtfer.html_report import POINTS, START, figure, write_page
from fer_tools.rtfer.plots import line_plot
from fer_tools.rtfer.session import CAVEAT, describe, gaps, lines
from fer_tools.rtfer.smoothing import smooth


def smoothed(valence, *, seconds=0.4, rate=10.0, face=1):
    table = a_table(valence, rate=rate, face=face)
    level, sd = smooth(table.time_s.to_numpy(), table.valence.to_numpy(), seconds)
    return table.assign(valence_smooth=level, valence_sd=sd)


def one_face(**settings):
    levels = np.repeat([-0.7, np.nan, 0.6, -0.1], [100, 30, 100, 100])
    noise = np.random.default_rng(0).normal(0, 0.1, len(levels))
    return smoothed(np.clip(levels + noise, -1, 1), **settings)


def two_faces():
    one, two = one_face(), one_face(face=2)
    late = two[two.face_found & (two.frame > 150)]
    table = pd.concat([one[one.face_found], late, one[~one.face_found]])
    return table.sort_values(["frame", "face_id"], ignore_index=True)


def facts_of(table):
    return {face: describe(line) for face, line in lines(table).items()}


def traces(drawing, name):
    return [trace for trace in drawing.data if trace.name == name]


# --------------------------------------------------------------------------- the figure


def test_one_face_is_drawn_with_band_changes_and_gap():
    table = one_face()
    drawing = figure(table, facts_of(table))
    (bold,), (band,) = traces(drawing, "smoothed"), traces(drawing, "uncertainty")
    np.testing.assert_allclose(bold.y, table.valence_smooth, atol=1e-6)
    np.testing.assert_allclose(bold.customdata, table.time_s, atol=1e-4)
    assert bold.connectgaps is False and np.isnan(np.asarray(bold.y)[100:130]).all()
    assert list(band.x).count(None) == 2  # an outline each side of the gap
    (gap,) = traces(drawing, "no face seen")
    assert [(x - START) / 1000 for x in gap.x[:4]] == [9.9, 9.9, 13.0, 13.0]
    (change,) = traces(drawing, "change of level")
    assert change.y[0] > change.y[1] and change.marker.symbol[1] == "triangle-down"
    assert (change.x[0] - START) / 1000 == pytest.approx(23, abs=0.21)
    for trace in drawing.data:  # plotly takes small numbers on a date axis for years
        assert min(x for x in trace.x if x is not None) >= START


def test_several_faces_differ_by_more_than_color():
    valence = 0.5 * np.sin(np.arange(60) / 9)
    table = pd.concat([smoothed(valence, face=face) for face in range(1, 14)])
    drawing = figure(table)
    bold = [trace for trace in drawing.data if trace.showlegend is None]
    assert [trace.name for trace in bold] == [f"face {face}" for face in range(1, 14)]
    styles = {(trace.line.color, trace.line.dash) for trace in bold}
    assert len(styles) == 12
    labels = [text for trace in drawing.data if trace.mode == "markers+text" for text in trace.text]
    assert labels == [f"<b>{face}</b>" for face in range(1, 14)]  # named at the line too


def test_a_long_line_is_thinned_but_keeps_its_gaps():
    valence = 0.5 * np.sin(np.arange(12 * POINTS) / 999)
    valence[[5001, 30_003, 30_004]] = np.nan
    table = smoothed(valence, rate=25)
    (bold,) = traces(figure(table), "smoothed")
    assert POINTS <= len(bold.y) <= POINTS + 12
    y = np.asarray(bold.y)
    assert np.flatnonzero(np.diff(np.isfinite(y).astype(int)) < 0).size == 2


@pytest.mark.parametrize("seed", range(8))
def test_any_table_can_be_drawn_and_its_band_holds_the_line(seed):
    rng = np.random.default_rng(seed)
    valence = np.clip(np.cumsum(rng.normal(0, 0.3, 80)), -1, 1)
    valence[rng.random(80) < 0.3] = np.nan
    table = smoothed(valence)
    (band,) = traces(figure(table, facts_of(table), dark=bool(seed % 2)), "uncertainty")
    y = np.array([value for value in band.y if value is not None])
    assert y.min() >= -1 and y.max() <= 1 and len(y) == 2 * np.isfinite(valence).sum()


def test_no_band_without_smoothing():
    assert not traces(figure(one_face(seconds=0)), "uncertainty")


# --------------------------------------------------------------------------- the page


def test_the_page_is_whole_and_asks_for_nothing(tmp_path):
    table = two_faces()
    title = "a <script>alert(1)</script> & {b}.mp4"
    write_page(table, facts_of(table), tmp_path / "new" / "valence.html", title)
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["valence.html"]
    page = (tmp_path / "new" / "valence.html").read_text()
    own = re.sub(r"(?s)<script.*?</script>", "", page)  # but for plotly.js
    assert not re.findall(r"""(?:src|href)=["']?(?!data:)[^"'\s>]""", own)
    assert "default-src 'none'" in own and "<script src" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; {b}.mp4" in own
    assert CAVEAT in own and own.count(CAVEAT) == 1
    for text in ("<h2>Face 1</h2>", "<h2>Face 2</h2>", "prefers-color-scheme: dark", "lang=\"en\"",
                 "width=device-width", "aria-label=\"Valence over time"):  # fmt: skip
        assert text in own
    assert len(page) > 1_000_000  # plotly.js is inside


def test_the_page_of_little(tmp_path):
    nobody, single = smoothed([np.nan] * 20), smoothed([0.3])
    for table in (nobody, nobody.iloc[:0], single, smoothed(np.full(30, 0.2), seconds=0)):
        write_page(table, facts_of(table), tmp_path / "a.html", "a")
        page = (tmp_path / "a.html").read_text()
        own = re.sub(r"(?s)<script.*?</script>", "", page)
        assert ("No face was seen" in own) == (table is not single and not table.face_found.any())
        assert "nan" not in own.lower() and "None" not in own


# --------------------------------------------------------------------------- matplotlib


def labels_of(drawn):
    return drawn.axes[0].get_legend_handles_labels()[1]


def test_line_plot_of_one_face_with_its_truth():
    table = one_face()
    truth = pd.DataFrame({"time_s": table.time_s, "valence": 0.2, "face_present": 1})
    drawn = line_plot(table, truth)
    expected = ["no face seen", "frame by frame", "smoothed", "uncertainty", "truth"]
    assert labels_of(drawn) == expected
    without = line_plot(table.drop(columns=["valence_sd", "face_id"]))
    assert labels_of(without) == expected[:3]
    bold = next(line for line in drawn.axes[0].lines if line.get_label() == "smoothed")
    np.testing.assert_array_equal(bold.get_ydata(), table.valence_smooth)
    plt.close("all")


def test_line_plot_of_several_faces_and_of_none():
    drawn = line_plot(two_faces())
    assert labels_of(drawn) == ["no face seen", "face 1", "face 2"]
    assert {text.get_text() for text in drawn.axes[0].texts} == {"face 1", "face 2"}
    assert labels_of(line_plot(smoothed([np.nan] * 9))) == ["no face seen"]
    line_plot(smoothed([0.3])), line_plot(smoothed([0.3]).iloc[:0])
    minutes = line_plot(smoothed(np.zeros(2000)))
    assert "minutes" in minutes.axes[0].get_xlabel()
    plt.close("all")


def test_gaps_are_those_without_any_face():
    assert gaps(two_faces()) == [(9.9, 13.0)]
    assert gaps(smoothed([0.1, 0.2])) == [] and json.dumps(gaps(one_face()))
