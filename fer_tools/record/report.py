"""Tables of the report and the README, from the figures written by the stages."""

import json
from pathlib import Path
from statistics import NormalDist

import pandas as pd

from fer_lib.errors import UserError
from fer_lib.evaluation.published import DECIMALS, read_figures
from fer_lib.paths import project_root

# Name of a figure, what the paper states, and the key of this study's figure.
PAPER_A = (
    ("Parameters, 7 classes", "2.37 M", "model.parameters"),
    ("FER2013, 7 classes, PrivateTest", "not stated", "fer13_7.private.accuracy"),
    ("... with horizontal-flip test-time augmentation", "not stated",
     "fer13_7.private.accuracy_flip"),
    ("... without duplicates of training images", "not stated", "fer13_7.private_dedup.accuracy"),
    ("FER2013, 3 classes, PrivateTest", "not stated", "fer13_3.private.accuracy"),
    ("FER2013, 3 classes, Public + Private", "81.08 % (set inferred)",
     "fer13_3.public_private.accuracy"),
    ("CK+, 7 classes, random folds", "96.77 % (data and split inferred)",
     "ckplus_7.random_split.accuracy"),
    ("CK+, 7 classes, folds by sequence", "not stated", "ckplus_7.sequence_10fold.accuracy"),
    ("CK+, 7 classes, folds by subject", "not stated", "ckplus_7.subject_10fold.accuracy"),
)  # fmt: skip
PAPER_B = (
    ("Emotion, MSFERNet with two heads", "over 80 % (validation 85 %)",
     "ferplus_7.private.accuracy"),
    ("... compact VGG with two heads", "over 80 % (validation 85 %)",
     "ferplus_7_vgg.private.accuracy"),
    ("... MSFERNet, without duplicates of training images", "not stated",
     "ferplus_7.private_dedup.accuracy"),
    ("Intensities, RMSE, MSFERNet", "about 0.13", "ferplus_7.intensity.rmse"),
    ("... compact VGG", "about 0.13", "ferplus_7_vgg.intensity.rmse"),
    ("... always the training mean", "not stated", "ferplus.intensity.baseline_rmse"),
)  # fmt: skip
# Tasks under a protocol with leakage and one without: name, what paper A states, the key with
# leakage and what leaks, the key without leakage and its test set.
LEAKY_AND_CLEAN = (
    ("FER2013, 7 classes", "not stated",
     "fer13_7.private.accuracy", "some test images are duplicates of training images",
     "fer13_7.private_dedup.accuracy", "PrivateTest, without those duplicates"),
    ("FER2013, 3 classes", "81.08 %",
     "fer13_3.public_private.accuracy", "half of the test images chose the epoch",
     "fer13_3.private_dedup.accuracy", "PrivateTest, without those duplicates"),
    ("CK+, 7 classes", "96.77 %",
     "ckplus_7.random_split.accuracy", "subjects are in training and test",
     "ckplus_7.subject_10fold.accuracy", "unseen subjects"),
)  # fmt: skip


# Name of a figure of notebook 75, and its key.
CARRIED_OVER = (
    ("CK+48, no training on it: accuracy", "carry_over.ckplus.accuracy"),
    ("... macro recall lost against PrivateTest, the same emotions, points",
     "carry_over.ckplus.macro_recall_drop"),
    ("... calibration error, temperature of FER2013", "carry_over.ckplus.ece"),
    ("... the worst tenth of its people", "carry_over.ckplus.worst_tenth"),
    ("... the same, if people did not differ", "carry_over.ckplus.worst_tenth_by_chance"),
    ("FER2013's neutral faces: standard deviation of their valence", "carry_over.rest.fer2013.sd"),
    ("Drawn videos: correlation of the line with the truth", "carry_over.video.correlation"),
    ("... mean absolute error of the line, of a range of 2", "carry_over.video.error"),
    ("... counted from the person's own rest", "carry_over.video.error_from_rest"),
    ("... frames whose truth lies in the 95 % band", "carry_over.video.coverage"),
    ("Least side of a face, pixels", "carry_over.limit.face_size"),
    ("Most turn of a (drawn) head, degrees", "carry_over.limit.turn"),
)  # fmt: skip


# The figures that `dvc metrics` and `dvc exp show` compare.
HEADLINES = (
    "fer13_7.private.accuracy", "fer13_7.private_dedup.accuracy", "fer13_7.private.ece",
    "seeds.fer13_7.private.accuracy", "fer13_3.public_private.accuracy",
    "ckplus_7.subject_10fold.accuracy", "ckplus_7.random_split.accuracy",
    "ckplus_7.zero_shot.accuracy", "ferplus_7.private.accuracy", "ferplus_7.intensity.rmse",
)  # fmt: skip


def merged_figures(folder: Path) -> dict[str, dict]:
    """All figures of a study: the union of `folder/*.json`.

    Raises:
        UserError: if two stages publish the same key, or none published any.
    """
    figures: dict[str, dict] = {}
    for file in sorted(folder.glob("*.json")):
        for key, entry in read_figures(file).items():
            if key in figures:
                raise UserError(f"{file} publishes {key}, as another stage does: rename one.")
            figures[key] = entry
    if not figures:
        raise UserError(f"{folder} contains no figures: run the stages before this one.")
    return dict(sorted(figures.items()))


def errors_in(notebook: Path) -> list[str]:
    """The errors in a rendered notebook, as "cell 7: ValueError: ..."."""
    cells = json.loads(notebook.read_text())["cells"]
    return [
        f"cell {number}: {output['ename']}: {output['evalue']}"
        for number, cell in enumerate(cells)
        for output in cell.get("outputs", [])
        if output["output_type"] == "error"
    ]


def recorded(build: Path, stage: str) -> dict[str, dict]:
    """Figures of a stage that were measured by networks that are no longer available.

    They are in `build/predictions/recorded.json` if the published networks are used; "recorded" is
    the commit that measured a figure.

    Raises:
        UserError: if the file is damaged.
    """
    file = build / "predictions" / "recorded.json"
    figures = read_figures(file) if file.is_file() else {}
    return {key: entry for key, entry in figures.items() if entry["stage"] == stage}


def format_figure(entry: dict | None) -> str:
    """A figure as text: "63.2 % (61.6 to 64.8)", "2,369,538", or "-" if there is none.

    A mean over seeds has its spread as well: "63.4 % ± 0.3 (61.9 to 64.8)". A dagger marks a
    figure from `recorded`.
    """
    if entry is None:
        return "-"
    value, unit = entry["value"], entry["unit"]
    digits, sign = (1, " %") if unit == "percent" else (DECIMALS[unit], "")
    text = f"{value:,}" if isinstance(value, int) else f"{value:.{digits}f}{sign}"
    if "spread" in entry:
        text += f" ± {entry['spread']:.{digits}f}"
    text += "†" if "recorded" in entry else ""
    if "low" in entry:
        text += f" ({entry['low']:.{digits}f} to {entry['high']:.{digits}f})"
    return text


def reproduction_table(figures: dict[str, dict], paper: str = "A") -> pd.DataFrame:
    """Paper "A" or "B" compared with this study, one row per figure.

    "over seeds" is the mean of several trainings and their standard deviation, published under
    "seeds." and the same key; the column is left out where there is none. "published network" is
    one of them, the first, with its 95 % interval over test images.
    """
    rows = []
    for name, stated, key in {"A": PAPER_A, "B": PAPER_B}[paper]:
        entry = figures.get(key)
        images = "" if entry is None or entry["unit"] == "values" else f"{entry['n']:,}"
        mean = format_figure(figures.get(f"seeds.{key}")).split(" (")[0]
        rows.append((name, stated, mean, format_figure(entry), images, key))
    faces = {"A": "paper A (real faces)", "B": "paper B (its own faces)"}[paper]
    columns = ["figure", faces, "over seeds", "published network", "images", "key"]
    table = pd.DataFrame(rows, columns=columns)
    return table if (table["over seeds"] != "-").any() else table.drop(columns="over seeds")


def carry_over_table(figures: dict[str, dict]) -> pd.DataFrame:
    """How the published networks do elsewhere, one row a figure."""
    rows = [
        (name, format_figure(figures.get(key)), figures[key]["n"] if key in figures else "", key)
        for name, key in CARRIED_OVER
    ]
    return pd.DataFrame(rows, columns=["figure", "this study", "n", "key"])


def leaky_and_clean_table(figures: dict[str, dict]) -> pd.DataFrame:
    """Paper A, our figure with leakage, and our figure without; one row per task."""
    rows = [
        (
            task,
            stated,
            format_figure(figures.get(leaky)),
            leak,
            format_figure(figures.get(clean)),
            test_set,
        )
        for task, stated, leaky, leak, clean, test_set in LEAKY_AND_CLEAN
    ]
    columns = ["task", "paper A", "ours, leaky", "what leaks", "ours, clean", "test set"]
    return pd.DataFrame(rows, columns=columns)


def markdown_table(table: pd.DataFrame) -> str:
    """A table as GitHub Markdown."""
    lines = [list(table.columns), ["---"] * table.shape[1], *table.astype(str).to_numpy().tolist()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


# Test sets of which a figure of paper A could come: the figure, the images, how many they are.
CANDIDATES = (
    (96.77, "a random tenth of CK+48 without contempt (927 images)", 93),
    (96.77, "a random fifth of the same images", 186),
    (96.77, "three tenths of the same images", 279),
    (96.77, "a random tenth of its 309 sequences", 31),
    (96.77, "a random fifth of its 309 sequences", 62),
    (96.77, "a random tenth of CK+48 with contempt (981 images)", 98),
    (96.77, "a random fifth of CK+48 with contempt", 197),
    (81.08, "PrivateTest without surprise", 3173),
    (81.08, "PublicTest without surprise", 3174),
    (81.08, "PublicTest and PrivateTest without surprise", 6347),
    (81.08, "15 % of FER2013 without surprise (31,885 images)", 4783),
    (81.08, "a fifth of the same images", 6377),
    (81.08, "three tenths of the same images", 9565),
)  # fmt: skip


def candidates_table() -> pd.DataFrame:
    """Which test sets give paper A's figures: the count of correct images that rounds to each.

    "by chance" is how many of the denominators near this one hit a figure of two decimals at all:
    the step between two counts is 100 / N points, so 0.01 N / 100 of the figures, at most all.
    """
    rows = [
        (
            f"{figure} %",
            test_set,
            f"{images:,}",
            ", ".join(f"{count:,}" for count in counts_that_give(figure, images)) or "none",
            f"{min(1, images / 10_000):.0%}",
        )
        for figure, test_set, images in CANDIDATES
    ]
    columns = ["paper A", "test set", "images", "correct images", "by chance"]
    return pd.DataFrame(rows, columns=columns)


def counts_that_give(percent: float, images: int) -> list[int]:
    """Counts of correct images whose percentage rounds to `percent` (two decimals)."""
    nearest = round(percent / 100 * images)
    around = range(max(0, nearest - 1), min(images, nearest + 1) + 1)
    return [count for count in around if round(100 * count / images, 2) == percent]


def corrected_differences(parts: pd.DataFrame) -> pd.DataFrame:
    """The variants of `reports/ablation/STUDY/parts.csv`, intervals corrected for their number.

    Bonferroni (Dunn 1961): of m comparisons each interval has a level of 1 - 0.05 / m. A 95 %
    interval is widened about its middle as that of a normal distribution.
    """
    compared = parts.dropna(subset=["difference"])
    level = 1 - 0.05 / len(compared) / 2
    factor = NormalDist().inv_cdf(level) / NormalDist().inv_cdf(0.975)
    rows = []
    for row in compared.itertuples():
        half, middle = factor * (row.high - row.low) / 2, (row.high + row.low) / 2
        low, high = middle - half, middle + half
        clear = "yes" if row.clear == "yes" and low * high > 0 else "no"
        interval = f"{low:+.1f} to {high:+.1f}"
        rows.append(
            (f"`{row.variant}`", f"{row.accuracy:.1f} %", f"{row.difference:+.1f}", interval, clear)
        )
    columns = ["variant", "accuracy", "difference", "corrected interval", "clear"]
    return pd.DataFrame(rows, columns=columns)


# A column of `studies/ablation/peers.csv`, its title, and the key of our figure.
PEER_COLUMNS = {
    "fer13_7.private": ("FER2013, 7 classes", "fer13_7.private.accuracy"),
    "fer13_3.public_private": ("3 classes, Public + Private", "fer13_3.public_private.accuracy"),
    "ferplus": ("against FER+", "fer13_7.private.fer_plus_majority.accuracy"),
    "ckplus": ("CK+, zero-shot", "ckplus_7.zero_shot.accuracy"),
}


def peers_table(figures: dict[str, dict]) -> pd.DataFrame:
    """Other networks on the same files, and ours: means over seeds where there are several.

    Ours against FER+ are two networks: `fer13-7`, which learned FER2013's labels, and the one with
    two heads, which learned from FER+ votes.
    """
    peers = pd.read_csv(project_root() / "studies" / "ablation" / "peers.csv")
    row: dict[str, object] = {
        name: figures.get(f"seeds.{key}", figures[key])["value"]
        for name, (_, key) in PEER_COLUMNS.items()
    }
    row |= {"system": "**ours, `fer13-7`**", "parameters": figures["model.parameters"]["value"]}
    heads = figures.get("ferplus_7_vgg.private.majority.accuracy")
    two = {"system": "**ours, compact VGG with two heads, FER+ votes**"}
    rows = [row] + ([two | {"ferplus": heads["value"]}] if heads else [])
    table = pd.concat([peers, pd.DataFrame(rows)], ignore_index=True)
    shown = pd.DataFrame({"system": table.system})
    shown["parameters"] = [f"{n / 1e6:.2f} M" if n > 0 else "" for n in table.parameters]
    for name, (title, _) in PEER_COLUMNS.items():
        best = table[name].max()
        shown[title] = [
            "" if pd.isna(v) else f"**{v:.1f}**" if v == best else f"{v:.1f}" for v in table[name]
        ]
    shown["ms a face"] = ["" if pd.isna(v) else f"{v:g}" for v in table.ms]
    return shown
