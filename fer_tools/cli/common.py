"""What the commands share: exit statuses, arguments, and loading a model with a message."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from fer_lib.errors import UserError

if TYPE_CHECKING:
    from fer_lib.inference.recognizer import Recognizer

SOME_UNREAD, USER_ERROR, INTERRUPTED = 1, 2, 130  # exit statuses beside 0


class ErrorMessages(TyperGroup):
    """Prints a `UserError` as a message without a traceback and exits with `USER_ERROR`."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except UserError as error:
            typer.echo(f"Error: {error}", err=True)
            raise typer.Exit(USER_ERROR) from None


class Study(StrEnum):
    """The two studies."""

    sample = "sample"
    paper = "paper"


class ValenceFrom(StrEnum):
    """What the valence is computed from."""

    classes = "classes"
    intensities = "intensities"


VALENCE_OPTION = Annotated[
    ValenceFrom,
    typer.Option(
        "--valence",
        help="From the classes' probabilities, or from intensities where the model has them.",
    ),
]


def load_model(model: str, device: str) -> "Recognizer":
    from fer_lib.inference.recognizer import Recognizer

    recognizer = Recognizer.load(model, device)
    card = recognizer.card
    typer.echo(f"Model: {card.task} of the {card.study} study, {recognizer.path}", err=True)
    if card.study == Study.sample:
        typer.echo(
            "It was trained on drawn faces: its predictions for people mean little.", err=True
        )
    return recognizer


def check_writable(out: Path) -> None:
    """Refuse a target that cannot be written before any work is done."""
    if out.is_dir() or not out.parent.is_dir():
        raise UserError(f"{out} cannot be written: name a file in a folder that exists.")
