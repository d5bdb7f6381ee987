"""`fer predict`: the emotion of every face in images, as a table."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fer_tools.cli.common import (
    SOME_UNREAD,
    VALENCE_OPTION,
    ValenceFrom,
    load_model,
)
from fer_tools.rtfer.defaults import MODEL, SMALLEST_IN_IMAGE

if TYPE_CHECKING:
    import pandas as pd

    from fer_lib.errors import UserError


def predict(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH", help="Images, and folders of images.")
    ],
    model: Annotated[
        str,
        typer.Option(
            metavar="NAME|FILE", help="fer13-7, fer13-3, ckplus-7, ferplus-7-vgg, or a file."
        ),
    ] = MODEL,
    faces_are_cropped: Annotated[
        bool,
        typer.Option(
            "--faces-are-cropped",
            help="Each image is one face, framed as in FER2013: do not detect faces.",
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
            help="Margin added to a face's box, as a share of its side; default: as in the study.",
        ),
    ] = None,
    valence: VALENCE_OPTION = ValenceFrom.classes,
    device: Annotated[
        str, typer.Option(metavar="D", help="auto, cpu, cuda, cuda:1, mps ...")
    ] = "auto",
) -> None:  # fmt: skip
    """Predict the emotion of every face in images.

    One row per face: path, box (x, y, w, h in pixels), label, confidence, one probability per
    class, and valence: P(positive) - P(negative), from -1 to 1. The model ferplus-7-vgg adds an
    intensity from 0 to 1 for each emotion. An image without a detected face keeps its row, with
    empty values. An expression is not a feeling: the network classifies how a face looks.

    ```text
    fer predict photo.jpg
    fer predict photos/ more/*.png --csv faces.csv
    fer predict CK+48/happy --faces-are-cropped --model fer13-3
    fer predict photo.jpg --model ferplus-7-vgg
    ```
    """
    from fer_lib.faces.detection import HaarDetector
    from fer_lib.progress import progress_bar
    from fer_tools.outputs import target_file
    from fer_tools.rtfer.detectors import WholeImage
    from fer_tools.rtfer.engine import Engine
    from fer_tools.rtfer.image_files import list_images
    from fer_tools.rtfer.images import TABLES, predict_images, save_table

    files = list_images(paths, lambda message: typer.echo(message, err=True))
    if out is not None:
        out = target_file(out, files, TABLES)
    detector = WholeImage() if faces_are_cropped else HaarDetector(smallest=SMALLEST_IN_IMAGE)
    engine = Engine(load_model(model, device), detector, margin=margin, valence_from=valence.value)
    unread: list[Path] = []
    with progress_bar(len(files), "images", unit="image") as bar:

        def on_file(file: Path, error: "UserError | None") -> None:
            if error is not None:
                bar.write(f"Error: {error}", file=sys.stderr)
                unread.append(file)
            bar.update()

        table = predict_images(files, engine, cropped=faces_are_cropped, on_file=on_file)
    if out is None:
        _print_table(table)
    else:
        save_table(table, out)
    _print_summary(table, len(files), len(unread))
    if unread:
        raise typer.Exit(SOME_UNREAD)


def _print_table(table: "pd.DataFrame") -> None:
    """Print the table; probabilities only if the terminal is wide enough for them."""
    import pandas as pd
    from rich import box
    from rich.console import Console
    from rich.table import Table

    if table.empty:
        return
    width = Console().width if sys.stdout.isatty() else 1000  # do not truncate in a pipe
    probabilities = [name for name in table if name.startswith("p_")]
    intensities = [name for name in table if name.startswith("intensity_")]
    hidden = width < 55 + 10 * len(probabilities) + 18 * len(intensities)
    if hidden:
        table = table.drop(columns=probabilities + intensities)
    value_columns = list(table)[table.columns.get_loc("confidence") :]
    printed = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("path", "x, y, w, h", "label", *value_columns):
        printed.add_column(
            name, justify="left" if name in ("path", "label") else "right",
            no_wrap=name != "path", overflow="fold",
        )  # fmt: skip
    for row in table.to_dict("records"):
        found = pd.notna(row["label"])
        place = ", ".join(str(row[side]) for side in "xywh" if pd.notna(row[side]))
        values = [f"{row[name]:.2f}" if found else "" for name in value_columns]
        printed.add_row(row["path"], place, row["label"] if found else "no face", *values)
    # A path may contain text that Rich would treat as markup, such as "[1]".
    Console(width=width, highlight=False, markup=False, emoji=False).print(printed)
    if hidden:
        names = "probabilities and intensities" if intensities else "probabilities"
        typer.echo(f"The {names} need a wider window, or --csv.", err=True)


def _print_summary(table: "pd.DataFrame", files: int, unread: int) -> None:
    """Print one line on standard error: the numbers of faces and images, and what is missing."""
    without = int(table.label.isna().sum())
    summary = f"{len(table) - without} face(s) in {files} image(s)"
    if without:
        summary += f"; {without} image(s) without a detected face"
    if unread:
        summary += f"; {unread} image(s) could not be read"
    typer.echo(summary + ".", err=True)
    if without and without == len(table):
        typer.echo("If the images are already cropped faces, add --faces-are-cropped.", err=True)
