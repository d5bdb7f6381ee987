"""`fer predict`: the emotion of every face in images, as a table."""

import csv
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from fer_lib.errors import UserError
from fer_lib.files import whole
from fer_tools.cli.common import (
    SOME_UNREAD,
    VALENCE_OPTION,
    Study,
    ValenceFrom,
    check_writable,
    load_model,
)

if TYPE_CHECKING:
    import numpy as np

    from fer_lib.faces.detection import Box
    from fer_lib.inference.recognizer import Recogniser

BATCH = 64  # faces classified at once


class Face(NamedTuple):
    """What was found in a picture: `crop` is (48, 48) uint8, or None where there is no face.

    `box` is None there too, and where the whole picture is the face.
    """

    path: Path
    box: "Box | None"
    crop: "np.ndarray | None"


def predict(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH", help="Pictures, and folders of pictures.")
    ],
    model: Annotated[
        str,
        typer.Option(
            metavar="NAME|FILE", help="fer13-7, fer13-3, ckplus-7, ferplus-7-vgg, or a file."
        ),
    ] = "fer13-7",
    faces_are_cropped: Annotated[
        bool,
        typer.Option(
            "--faces-are-cropped",
            help="Each picture is one face, framed as in FER2013: do not look for faces.",
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--csv", metavar="OUT", help="Write the table to this file, not on screen."),
    ] = None,
    margin: Annotated[
        float | None,
        typer.Option(
            min=-0.3, max=1, metavar="SHARE",
            help="Share of its side by which a face's box is widened; by default as in the study.",
        ),
    ] = None,
    valence: VALENCE_OPTION = ValenceFrom.classes,
    device: Annotated[
        str, typer.Option(metavar="D", help="auto, cpu, cuda, cuda:1, mps ...")
    ] = "auto",
) -> None:  # fmt: skip
    """Tell the emotion of every face in pictures.

    One row a face: path, box (x, y, w, h in pixels), label, confidence, one probability a class,
    and valence: P(positive) - P(negative), from -1 to 1. The model ferplus-7-vgg adds an intensity
    from 0 to 1 for each emotion. A picture without a face keeps its row, with empty
    values. A face is not a feeling: the figures say how a face looks to the network.

    ```text
    fer predict photo.jpg
    fer predict photos/ more/*.png --csv faces.csv
    fer predict CK+48/happy --faces-are-cropped --model fer13-3
    fer predict photo.jpg --model ferplus-7-vgg
    ```
    """
    from fer_lib.data.images import list_images

    files = list_images(paths)
    if out is not None:
        check_writable(out)
    recogniser = load_model(model, device)
    look = _whole_picture if faces_are_cropped else _face_finder(recogniser, margin)
    unread: list[Path] = []
    if valence is ValenceFrom.intensities:
        recogniser.check_intensities()
    rows = list(_rows(recogniser, _faces(files, look, unread), valence))
    if out is None:
        _print_table(rows)
    else:
        _write_csv(out, _columns(recogniser), rows)
    _say_what_was_found(rows, files, unread)
    if unread:
        raise typer.Exit(SOME_UNREAD)


Look = Callable[["np.ndarray"], "list[tuple[Box | None, np.ndarray]]"]


def _whole_picture(grey: "np.ndarray") -> "list[tuple[Box | None, np.ndarray]]":
    from fer_lib.faces.detection import to_48

    return [(None, to_48(grey))]


def _face_finder(recogniser: "Recogniser", margin: float | None) -> Look:
    """Cuts the faces out of a picture, the largest first, framed as the model's study does."""
    from fer_lib.faces.detection import HaarDetector, crop_face

    detector = HaarDetector()
    share = _study_margin(recogniser.card.study) if margin is None else margin
    return lambda grey: [(box, crop_face(grey, box, share)) for box in detector(grey)]


def _study_margin(study: str) -> float:
    """The crop margin of a study of `params.yaml`; 0 for a model of another project."""
    from fer_lib.params import load

    return load(study).video.crop_margin if study in list(Study) else 0.0


def _faces(files: list[Path], look: Look, unread: list[Path]) -> Iterator[Face]:
    """Read the pictures and find their faces; what cannot be read is told and put into `unread`."""
    from fer_lib.data.images import read_grey
    from fer_lib.progress import progress_bar

    with progress_bar(len(files), "pictures", unit="picture") as bar:
        for file in files:
            try:
                found = look(read_grey(file))
            except UserError as error:
                bar.write(f"Error: {error}", file=sys.stderr)
                unread.append(file)
            else:
                yield from (Face(file, box, crop) for box, crop in found)
                if not found:
                    yield Face(file, None, None)
            bar.update()


def _rows(recogniser: "Recogniser", faces: Iterable[Face], valence: ValenceFrom) -> Iterator[dict]:
    """Classify faces in batches; one row a face, in the same order."""
    batch: list[Face] = []
    for face in faces:
        batch.append(face)
        if len(batch) == BATCH:
            yield from _classified(recogniser, batch, valence)
            batch = []
    yield from _classified(recogniser, batch, valence)


def _classified(
    recogniser: "Recogniser", batch: list[Face], valence: ValenceFrom
) -> Iterator[dict]:
    import numpy as np

    from fer_lib.evaluation.intensity import valence_of_intensities
    from fer_lib.inference.recognizer import valence as valence_of_classes

    crops = [face.crop for face in batch if face.crop is not None]
    if crops:
        probabilities, intensities = recogniser.read(np.stack(crops))
        scores = valence_of_classes(probabilities, recogniser.classes)
        if valence is ValenceFrom.intensities and intensities is not None:
            scores = valence_of_intensities(intensities)
        strengths = [None] * len(crops) if intensities is None else intensities
        results = zip(probabilities, strengths, scores, strict=True)
    for face in batch:
        row: dict = dict.fromkeys(_columns(recogniser), "") | {"path": str(face.path)}
        if face.box is not None:
            row |= face.box._asdict()
        if face.crop is not None:
            shares, strong, score = next(results)
            best = int(shares.argmax())
            row |= {"label": recogniser.classes[best], "confidence": float(shares[best])}
            row |= {f"p_{n}": float(p) for n, p in zip(recogniser.classes, shares, strict=True)}
            row["valence"] = float(score)
            if strong is not None:
                names = zip(recogniser.classes, strong, strict=True)
                row |= {f"intensity_{n}": float(value) for n, value in names}
        yield row


def _columns(recogniser: "Recogniser") -> list[str]:
    shares = [f"p_{name}" for name in recogniser.classes]
    strengths = [f"intensity_{name}" for name in recogniser.classes]
    return [
        "path", "x", "y", "w", "h", "label", "confidence", *shares, "valence",
        *(strengths if recogniser.card.has_intensities else []),
    ]  # fmt: skip


def _write_csv(out: Path, columns: list[str], rows: list[dict]) -> None:
    """Write the table, whole or not at all; probabilities with six digits."""
    try:
        with whole(out) as part, part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows({name: _text(value, 6) for name, value in row.items()} for row in rows)
    except OSError as error:
        raise UserError(f"{out} cannot be written ({error.strerror}): name another file.") from None


def _text(value: object, digits: int) -> str:
    return f"{value:.{digits}f}" if isinstance(value, float) else str(value)


def _print_table(rows: list[dict]) -> None:
    """The table on standard output; probabilities only where the terminal has room for them."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    if not rows:
        return
    width = Console().width if sys.stdout.isatty() else 1000  # in a pipe nothing is cut
    shares = [name for name in rows[0] if name.startswith("p_")]
    strengths = [name for name in rows[0] if name.startswith("intensity_")]
    hidden = width < 55 + 10 * len(shares) + 18 * len(strengths)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in (
        "path",
        "x, y, w, h",
        "label",
        "confidence",
        *([] if hidden else shares),
        "valence",
        *([] if hidden else strengths),
    ):
        table.add_column(
            name, justify="left" if name in ("path", "label") else "right",
            no_wrap=name != "path", overflow="fold",
        )  # fmt: skip
    for row in rows:
        place = ", ".join(str(row[side]) for side in "xywh" if row[side] != "")
        numbers = [
            _text(row[name], 2) for name in (["confidence"] if hidden else ["confidence", *shares])
        ]
        numbers += [_text(row[name], 2) for name in ("valence", *([] if hidden else strengths))]
        table.add_row(row["path"], place, row["label"] or "no face", *numbers)
    # A path may hold what Rich would take for its own markup, such as "[1]".
    Console(width=width, highlight=False, markup=False, emoji=False).print(table)
    if hidden:
        what = "probabilities and intensities" if strengths else "probabilities"
        typer.echo(f"The {what} need a wider window, or --csv.", err=True)


def _say_what_was_found(rows: list[dict], files: list[Path], unread: list[Path]) -> None:
    """One line on standard error: how many faces in how many pictures, and what is missing."""
    without = [row for row in rows if row["label"] == ""]
    said = f"{len(rows) - len(without)} face(s) in {len(files)} picture(s)"
    if without:
        said += f"; {len(without)} picture(s) without a face that was found"
    if unread:
        said += f"; {len(unread)} picture(s) could not be read"
    typer.echo(said + ".", err=True)
    if without and len(without) == len(rows):
        typer.echo("If the pictures are cropped faces already, add --faces-are-cropped.", err=True)
