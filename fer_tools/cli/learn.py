"""`fer check` and `fer site`: the course's exercises, and the study as a website."""

from pathlib import Path
from typing import Annotated

import typer

from fer_tools.cli.common import SOME_UNREAD


def check(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME|FILE", help="exercise-03, or 3; all; a notebook.")
    ],
    limit: Annotated[
        float, typer.Option(min=0.1, metavar="S", help="Seconds that one task may take.")
    ] = 20,
) -> None:
    """Check your answers to the exercises of the course.

    Reads the saved notebooks of course/exercises and runs only the set-up and answer cells.
    Exit status: 0 if every task is right, 1 otherwise.

    ```text
    fer check exercise-03
    fer check 1 2 3
    fer check all
    fer check handed-in/*.ipynb
    ```
    """
    from fer_tools.course import grader as course

    if not course.command(names, limit, typer.echo):
        raise typer.Exit(1)


def site(
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Output folder; an earlier site in it is replaced."),
    ] = None,
    open_: Annotated[
        bool, typer.Option("--open", help="Open it in the browser when it is built.")
    ] = False,
) -> None:
    """Build the study as a website: notebooks, figures, course, glossary, search.

    ```text
    fer site           writes build/site/index.html
    fer site --open    ... and opens it
    ```

    The site needs no server and no network: open index.html, or share the folder.
    """
    from fer_tools.site.command import run

    if run(out, open_, typer.echo):
        raise typer.Exit(SOME_UNREAD)
