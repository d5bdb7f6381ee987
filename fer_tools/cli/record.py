"""`fer record ...`: for maintainers, who keep the paper study's record in the repository."""

from typing import Annotated

import typer

from fer_lib.errors import UserError

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")


@app.callback()
def main() -> None:
    """Keep the paper study's record: what differs from today's code, and bind it anew."""


@app.command()
def status() -> None:
    """Tell which stages of the paper study differ from their lock entries; nothing is trained."""
    from fer_tools.record.renew import status

    status(typer.echo)


@app.command()
def renew(
    stages: Annotated[
        list[str] | None, typer.Argument(metavar="STAGE", help="By default all that train.")
    ] = None,
) -> None:
    """Bind the record to today's code, if the golden training shows that it computes the same.

    About a minute. Exit status 2, and nothing is changed, where a stage must be trained anew.

    ```text
    fer record renew
    fer record renew train@paper train_valence@paper
    ```
    """
    from fer_tools.record.renew import renew

    renew(stages or [], typer.echo)


@app.command()
def publish(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="sample or paper.")],
) -> None:
    """Make the report of the last run, build/STUDY/report, the record in reports/STUDY.

    ```text
    fer record publish paper
    ```
    """
    from fer_tools.record import files as record_files

    typer.echo(f"Written: {record_files.publish(study)}; look at it, then commit it.")


@app.command()
def golden(
    cases: Annotated[list[str] | None, typer.Argument(metavar="CASE")] = None,
    record: Annotated[
        bool,
        typer.Option(
            "--record",
            help="Replace the recorded results of the cases: only on code known to train rightly.",
        ),
    ] = False,
) -> None:
    """Run the golden training and compare it with its record, studies/golden/record.json."""
    from fer_tools.record import golden

    names = cases or list(golden.CASES)
    if unknown := [name for name in names if name not in golden.CASES]:
        raise UserError(f"{unknown[0]} is no case: name one of {', '.join(golden.CASES)}.")
    if record:
        found = {name: golden.run(name) for name in names}
        typer.echo(f"Written: {golden.write_record(found)}")
        return
    differences = golden.check(names)
    for name, lines in differences.items():
        typer.echo(f"{name}: {'as recorded' if not lines else lines[0]}")
    if changed := [name for name, lines in differences.items() if lines]:
        raise UserError(
            f"{', '.join(changed)} not as recorded: the training code computes something else than "
            "when it was recorded (--record replaces the record, if that is meant)."
        )
