"""Figures: same bytes each time, nothing clipped, and no CK+ face that may not be shown."""

import json
from itertools import combinations, pairwise
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fer_lib.data import ferplus
from fer_lib.data.arrays import CkPlus, Fer13
from fer_lib.data.audit import duplicate_of_training
from fer_lib.errors import UserError
from fer_lib.evaluation import calibration
from fer_lib.labels import FER_CLASSES, VALENCE_CLASSES
from fer_lib.plots import style as plots
from fer_tools.explain import gallery
from studies.ablation.plots import pareto

RNG = np.random.default_rng(0)
FACES = RNG.integers(0, 256, (12, 48, 48), dtype=np.uint8)


@pytest.fixture(autouse=True)
def _style():
    plt.switch_backend("Agg")
    plots.use_style()
    yield
    plt.close("all")


def a_reliability_table() -> pd.DataFrame:
    probabilities = RNG.dirichlet(np.ones(3), 200)
    return calibration.reliability_bins(RNG.integers(0, 3, 200), probabilities)


def all_kinds() -> dict:
    counts = pd.DataFrame({"Training": range(7), "PublicTest": range(7)}, index=list(FER_CLASSES))
    spans = pd.DataFrame({"name": FER_CLASSES, "value": 50.0, "low": 40.0, "high": 55.0})
    return {
        "distribution": lambda: plots.distribution_bars({"FER2013": counts, "CK+": counts[:3]}),
        "confusion": lambda: plots.confusion_heatmaps({"a": np.eye(7, dtype=int)}, FER_CLASSES),
        "two matrices": lambda: plots.confusion_heatmaps(
            {"a": np.eye(3, dtype=int), "b": np.zeros((3, 3), dtype=int)}, VALENCE_CLASSES
        ),
        "intervals": lambda: plots.intervals(spans, "recall, %", (52.0, "accuracy")),
        "reliability": lambda: plots.reliability_plot({"7": a_reliability_table()}),
        "dots": lambda: plots.dots({"a": np.array([90, 90]), "b": np.array([80, 100])}, "%"),
        "faces": lambda: plots.face_grid(FACES, ["surprise →\nhappy 99%"] * 12, credit="me"),
    }


@pytest.mark.parametrize("kind", all_kinds())
def test_every_figure_is_drawn_whole_and_small(kind, tmp_path):
    figure = plots.save(all_kinds()[kind](), tmp_path / "new" / "figure.png")
    file = tmp_path / "new" / "figure.png"
    assert file.stat().st_size < 150_000
    with Image.open(file) as image:
        assert not {"Software", "Creation Time", "date"} & set(image.info)
        grey = np.asarray(image.convert("L"))
    edge = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    assert (edge > 250).all(), "something touches the border, so it may be clipped"
    assert figure.axes


def test_the_same_numbers_give_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        plots.save(plots.face_grid(FACES[:3], ["x"] * 3), tmp_path / f"{name}.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_the_heat_map_shows_row_shares_and_counts():
    counts = np.array([[30, 10], [0, 5]])
    axis = plots.confusion_heatmaps({"title": counts}, ("no", "yes")).axes[0]
    assert [text.get_text() for text in axis.texts] == ["75%\n30", "25%\n10", "", "100%\n5"]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("predicted", "true")


@pytest.mark.parametrize(("images", "titles"), [(FACES[:0], []), (FACES[:2], ["one"])])
def test_a_grid_needs_faces_and_a_title_each(images, titles):
    with pytest.raises(ValueError, match="cannot be drawn"):
        plots.face_grid(images, titles)


def test_thumbnails_stay_small():
    figure = plots.face_grid(FACES[:8], ["a\nb"] * 8)
    for axis in figure.axes:
        width = axis.get_position().width * figure.get_figwidth() * plots.DPI
        assert width == pytest.approx(96)


def test_titles_do_not_run_into_one_another():
    figure = plots.face_grid(FACES[:8], ["disgust, surprise\n10 of 10: no face"] * 8)
    figure.canvas.draw()
    spans = [axis.texts[0].get_window_extent() for axis in figure.axes]
    assert all(a.x1 < b.x0 for a, b in pairwise(spans))


def test_names_of_crowded_points_are_whole_and_apart():
    names = ["small", "msfernet", "vgg11", "vgg13", "resnet18", "network of a long name"]
    millions = [0.06, 2.37, 9.2, 9.4, 11.2, 143.0]
    accuracy = [66.0, 70.5, 71.1, 71.5, 71.8, 74.1]
    table = pd.DataFrame({"name": names, "accuracy": accuracy, "millions": millions})
    figure = pareto(table, {"millions": "million weights"}, "accuracy, %")
    figure.canvas.draw()
    axis = figure.axes[0]
    boxes = [name.get_window_extent() for name in axis.texts]
    assert [name.get_text() for name in axis.texts] == names
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    assert all(axis.bbox.contains(*box.min) and axis.bbox.contains(*box.max) for box in boxes)
    points = axis.transData.transform(table[["millions", "accuracy"]])
    assert not any(box.contains(*point) for box in boxes for point in points)


@pytest.mark.parametrize("reach", [0.0, 0.02, 2.0, 15.0])
def test_numbers_under_the_dots_of_seeds_do_not_touch(reach):
    values = {"... not in Training, flip TTA": np.array([69.01, 69.01 + reach])}
    figure = plots.dots(values, "accuracy, %", reference=True)
    figure.canvas.draw()
    axis = figure.axes[0]
    low, high = axis.get_xlim()
    ticks = axis.xaxis.get_major_ticks()
    spans = [tick.label1.get_window_extent() for tick in ticks if low <= tick.get_loc() <= high]
    assert len(spans) > 1
    assert all(a.x1 + 10 < b.x0 for a, b in pairwise(spans))


@pytest.fixture
def ck() -> CkPlus:
    subject = np.array(["S052", "S005", "S132", "S999"])
    return CkPlus(
        images=FACES[:4], labels=np.arange(4), subject=subject,
        sequence=np.char.add(subject, "_001"), frame=np.arange(4), position=np.ones(4),
        path=subject,
    )  # fmt: skip


def test_a_ckplus_face_that_may_not_be_shown_is_refused(ck):
    for positions in ([1], [0, 1, 2], [3]):
        with pytest.raises(UserError, match="may not be shown") as caught:
            gallery.ckplus_grid(ck, np.array(positions), ["x"] * len(positions))
        assert ("S999" in str(caught.value)) == (3 in positions)
        assert not plt.get_fignums(), "a refused face must not be drawn"


def test_printable_ckplus_faces_carry_the_credit(ck):
    assert gallery.printable(ck.subject).tolist() == [True, False, True, False]
    assert len(gallery.PRINTABLE_SUBJECTS) == 11
    figure = gallery.ckplus_grid(ck, np.array([0, 2]), ["a", "b"])
    assert [text.get_text() for text in figure.texts] == ["©Jeffrey Cohn"]


def test_drawn_faces_belong_to_nobody(ck):
    figure = gallery.ckplus_grid(ck, np.arange(4), list("abcd"), synthetic=True)
    assert len(figure.axes) == 4 and not figure.texts


def test_notebooks_show_ckplus_faces_through_the_guard_alone():
    for file in sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb")):
        for cell in json.loads(file.read_text())["cells"]:
            source = "".join(cell["source"])
            drawn = any(word in source for word in ("face_grid", "imshow"))
            assert not (drawn and "ck.images" in source), f"{file.name} draws CK+ unguarded"


def test_most_confident_errors_come_first():
    probabilities = np.array([[0.6, 0.4], [0.1, 0.9], [0.7, 0.3], [0.2, 0.8]])
    found = gallery.most_confident_errors(np.array([1, 0, 0, 0]), probabilities)
    assert found.tolist() == [1, 3, 0]


def test_confusion_pairs_are_counted():
    table = gallery.confusion_pairs(np.array([0, 0, 0, 1]), np.array([1, 1, 0, 0]), ("no", "yes"))
    assert table.to_dict("records") == [
        {"true": "no", "predicted": "yes", "images": 2, "share": 2 / 3},
        {"true": "yes", "predicted": "no", "images": 1, "share": 1.0},
    ]
    assert gallery.confusion_pairs(np.array([1]), np.array([1]), ("no", "yes")).empty


def test_verdicts_by_the_plurality():
    votes = np.array(
        [
            [1, 8, 0, 0, 1, 0, 0, 0, 0, 0],  # happiness
            [5, 5, 0, 0, 0, 0, 0, 0, 0, 0],  # a tie
            [0, 0, 0, 0, 2, 0, 0, 8, 0, 0],  # contempt
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 10],  # not a face
            [-1] * 10,  # no FER+
        ]
    )
    plurality = ferplus.plurality(votes)
    assert plurality.tolist() == [3, -1, -1, -1, -1]
    assert ferplus.majority(votes).tolist() == [3, -1, -1, -1, -1]
    # single votes do not count: four of seven that remain are a majority, four of eight are none
    some = np.array([[4, 3, 1, 1, 1, 0, 0, 0, 0, 0], [4, 4, 1, 1, 0, 0, 0, 0, 0, 0]])
    assert ferplus.majority(some).tolist() == [6, -1]
    assert ferplus.not_a_face(votes).tolist() == [3]
    verdicts = gallery.verdicts(np.array([3, 3, 0, 0, 0]), np.array([0, 0, 0, 0, 0]), plurality)
    assert verdicts.tolist() == ["label"] + ["undecided"] * 4


@pytest.fixture
def flawed() -> Fer13:
    """Six images: one blank, one not a face, one image under two labels, two sound ones."""
    images = FACES[:6].copy()
    images[0], images[3] = 7, images[2]
    usage = np.array(["Training", "Training", "Training", "PublicTest", "PublicTest", "Training"])
    votes = np.zeros((6, 10), dtype=np.int64)
    votes[:, 0], votes[1] = 10, [0] * 9 + [10]
    return Fer13(
        images=images, labels=np.array([0, 1, 2, 4, 5, 6]), usage=usage, row=np.arange(6),
        votes=votes, duplicate_of_training=duplicate_of_training(images, usage),
    )  # fmt: skip


def test_junk_is_found_once_with_the_reason(flawed):
    found = gallery.junk(flawed, each=3)
    assert found.position.tolist() == [1, 2, 0]
    assert found.why.tolist() == [
        "disgust\n10 of 10: no face", "fear, sad\none image", "angry\nblank",
    ]  # fmt: skip
    assert gallery.conflicting_pairs(flawed).to_dict("records") == [
        {"one": "fear", "other": "sad", "groups": 1}
    ]
    sound = flawed.select(np.array([4, 5]))
    assert gallery.junk(sound, each=3).empty and gallery.conflicting_pairs(sound).empty


def test_a_gallery_shows_each_unit_once():
    units = np.array(["a", "a", "b", "c", "b"])
    assert gallery.first_of_each(np.array([4, 1, 2, 0, 3]), units).tolist() == [4, 1, 3]


def test_curves_are_tables_of_step_and_value(tmp_path):
    history = [
        {"epoch": 1, "loss": 2.5, "accuracy": 0.25},
        {"epoch": 2, "loss": 1.5, "accuracy": 1},
    ]
    plots.write_curves(tmp_path, history, ["loss"])
    (file,) = tmp_path.rglob("*.tsv")
    assert file.relative_to(tmp_path).as_posix() == "plots/metrics/loss.tsv"
    assert file.read_text() == "step\tloss\n0\t2.5\n1\t1.5\n"
    plots.write_curves(tmp_path, history[:1], ["loss", "accuracy"])  # a rerun leaves nothing behind
    assert file.read_text() == "step\tloss\n0\t2.5\n"


def test_the_look_is_seaborn_s():
    """Its palette, and the settings that its theme would make; written down, for speed."""
    import matplotlib as mpl
    import seaborn as sns

    assert list(plots.COLORS) == sns.color_palette("colorblind").as_hex()
    with mpl.rc_context():
        mpl.rcdefaults()
        sns.set_theme(context="notebook", style="whitegrid", font_scale=0.9)
        theirs = dict(mpl.rcParams)
        mpl.rcdefaults()
        plots.use_style()
        for name in (
            "font.size",
            "xtick.labelsize",
            "axes.linewidth",
            "xtick.major.size",
            "text.color",
        ):
            assert mpl.rcParams[name] == theirs[name], name
