"""Shared by the commands: exit statuses, arguments, and loading a model with a message."""

import io
import signal
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

SOME_UNREAD, USER_ERROR, INTERRUPTED = 1, 2, 130  # exit statuses other than 0


class ErrorMessages(TyperGroup):
    """Prints a `UserError` or `OSError` as a message without a traceback.

    The exit status is then `USER_ERROR`.
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
        except BrokenPipeError:  # the reader of the output has closed it
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
    """The predictions from which the valence is computed."""

    classes = "classes"
    intensities = "intensities"


VALENCE_OPTION = Annotated[
    ValenceFrom,
    typer.Option(
        "--valence",
        help="From the class probabilities, or from intensities if the model predicts them.",
    ),
]


def interrupt_on_termination() -> None:
    """Make SIGTERM, and SIGHUP when the terminal closes, act like Ctrl-C."""
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.default_int_handler)


def load_model(model: str, device: str) -> "Recognizer":
    from fer_tools.inference.recognizer import Recognizer

    recognizer = Recognizer.load(model, device)
    card = recognizer.card
    typer.echo(f"Model: {card.task} of the {card.study} study, {recognizer.path}", err=True)
    if card.study == Study.sample:
        typer.echo(
            "It was trained on synthetic faces: its predictions for people mean little.", err=True
        )
    return recognizer
