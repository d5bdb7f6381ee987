"""What the columns of the tables mean: `columns.md` beside a video's table, and a page of docs/."""

from collections.abc import Iterable
from typing import NamedTuple

from fer_lib.labels import FER_CLASSES
from fer_tools.rtfer.session import CAVEAT


class Column(NamedTuple):
    """One column: its unit or range, and what it means and how it was computed."""

    values: str
    meaning: str


VIDEO = {
    "frame": Column("whole number from 0", "Number of the frame, in the order of showing."),
    "time_s": Column(
        "seconds from the video's start", "When the frame is shown, as its file says."
    ),
    "face_id": Column(
        "whole number from 1; empty without a face",
        "Number of the face, kept from frame to frame by overlap. A face that was unseen for more "
        "than 3 s, or comes after a hard cut, gets a new number.",
    ),
    "face_found": Column(
        "True, False", "Whether this row has a face. Without one the rest is empty."
    ),
    "x, y, w, h": Column(
        "pixels of the upright frame",
        "The detector's box: left, top, width, height. Between detections (`--every`) it is moved "
        "evenly from one to the next.",
    ),
    "p_positive, p_neutral, p_negative": Column(
        "0 to 1",
        "Probabilities by the network, not smoothed. Seven classes are summed: happy is positive, "
        "angry, disgust, fear and sad are negative. Surprise is in none of the three, so they may "
        "sum to less than 1.",
    ),
    "valence": Column(
        "-1 to 1",
        "p_positive - p_negative of this frame alone. With `--valence intensities`: the intensity "
        "of happy less those of the negative four (at most 1).",
    ),
    "valence_smooth": Column(
        "-1 to 1",
        "The valence smoothed with the time constant of the run (0.4 s unless set), over the "
        "frames before and after, but not across gaps or jumps. Events shorter than three time "
        "constants are reduced. In the annotated video the number is a smoothed one too (of the "
        "frames so far); the word and the sign before it are those of the frame alone.",
    ),
    "valence_sd": Column(
        "0 to 2; empty if unknown",
        "Standard deviation of valence_smooth from the scatter of the frames. 86 to 100 % of a "
        "known truth lay within 1.96 of it in simulations. What the network misreads all along is "
        "not in it.",
    ),
    "emotion": Column("a name", "The most probable class. Only from a model with intensities."),
    "intensity_NAME": Column(
        "0 to 1",
        f"Intensity of each emotion ({', '.join(FER_CLASSES)}): the fraction of ten people who "
        "would see it. Only from a model with intensities.",
    ),
}
IMAGES = {
    "path": Column("text", "The image, as it was named."),
    "x, y, w, h": Column(
        "pixels of the upright image", "The detector's box; none with `--faces-are-cropped`."
    ),
    "label": Column("a name", "The most probable class; empty if no face was found."),
    "confidence": Column("0 to 1", "The probability of that class."),
    "p_NAME": Column("0 to 1", "The probability of each class; they sum to 1."),
    "valence": Column("-1 to 1", VIDEO["valence"].meaning.replace("this frame alone", "this face")),
    "intensity_NAME": VIDEO["intensity_NAME"],
}  # fmt: skip


def describe_columns(names: Iterable[str]) -> str:
    """Markdown on the columns of a video's table.

    Args:
        names: of its columns.
    """
    there = {name for name in VIDEO if _is_one_of(name, list(names))}
    return (
        "# The columns of valence.csv\n\nOne row per face and frame; a frame without a face has "
        f"one row. Numbers have four digits.\n\n{_table(VIDEO, there)}\n{CAVEAT}\n"
    )


def page() -> str:
    """The page docs/columns.md."""
    return (
        "# The columns of the tables\n\nWhat each column means, its unit and range, and how it is "
        "computed. "
        + CAVEAT
        + "\n\n## Of a video: `valence.csv` of `fer video`\n\nOne row per face and frame; a frame "
        "without a face has one row. Numbers have four digits, gaps are empty. The same text lies "
        "beside each table as `columns.md`.\n\n"
        + _table(VIDEO, set(VIDEO))
        + "\n## Of images: the table of `fer predict`\n\nOne row per face, the largest first; an "
        "image without a face that was found has one row. A path that begins with `=`, `+`, `-` or "
        "`@` gets a `'` before it, so that no spreadsheet takes it for a formula.\n\n"
        + _table(IMAGES, set(IMAGES))
    )


def _is_one_of(entry: str, names: list[str]) -> bool:
    """Whether an entry of `VIDEO` is about one of the columns."""
    if entry == "intensity_NAME":
        return any(name.startswith("intensity_") for name in names)
    return entry.split(", ")[0] in names


def _table(columns: dict[str, Column], there: set[str]) -> str:
    rows = ["| column | values | meaning |", "| --- | --- | --- |"]
    for name, (values, meaning) in columns.items():
        if name in there:
            names = ", ".join(f"`{part}`" for part in name.split(", "))
            rows.append(f"| {names} | {values} | {meaning} |")
    return "\n".join(rows) + "\n"
