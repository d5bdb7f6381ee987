"""What the commands share: exit statuses, arguments, and loading a model with a message."""

import io
import sys
from contextlib import suppress
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from fer_lib.errors import UserError
from fer_tools.outputs import explain

if TYPE_CHECKING:
    from fer_tools.inference.recognizer import Recognizer

SOME_UNREAD, USER_ERROR, INTERRUPTED = 1, 2, 130  # exit statuses beside 0


class ErrorMessages(TyperGroup):
    """Prints a `UserError`, and what the system refuses, as a message without a traceback.

    The exit status is `USER_ERROR` then.
    """

    def invoke(self, ctx: Any) -> Any:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # a file in an encoding that lacks a letter
                with suppress(OSError):
                    stream.reconfigure(errors="backslashreplace")
        try:
            return super().invoke(ctx)
        except UserError as error:
            message = str(error)
        except BrokenPipeError:  # whoever read the output has seen enough
            raise
        except OSError as error:
            message = explain(error)
        typer.echo(f"Error: {message}", err=True)
        raise typer.Exit(USER_ERROR)


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
    from fer_tools.inference.recognizer import Recognizer

    recognizer = Recognizer.load(model, device)
    card = recognizer.card
    typer.echo(f"Model: {card.task} of the {card.study} study, {recognizer.path}", err=True)
    if card.study == Study.sample:
        typer.echo(
            "It was trained on drawn faces: its predictions for people mean little.", err=True
        )
    return recognizer
