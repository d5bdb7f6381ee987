"""`fer record ...`: for maintainers of the paper study's record in the repository."""

from typing import Annotated

import typer

from fer_lib.errors import UserError

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")


@app.callback()
def main() -> None:
    """Maintain the paper study's record: compare it with the current code, renew it, publish it."""


@app.command()
def status() -> None:
    """List the stages of the paper study that differ from their lock entries; trains nothing."""
    from fer_tools.record.renew import status

    status(typer.echo)


@app.command()
def renew(
    stages: Annotated[
        list[str] | None,
        typer.Argument(metavar="STAGE", help="By default all training stages."),
    ] = None,
) -> None:
    """Update the record to the current code, if the golden training reproduces its results.

    About a minute. Exit status 2, without any change, if a stage must be trained again.

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
    """Copy the report of the last run, build/STUDY/report, to the record in reports/STUDY.

    Where a figure of the test set has changed, studies/versions.csv gets one more version.

    ```text
    fer record publish paper
    ```
    """
    from fer_lib.evaluation.published import read_figures
    from fer_lib.training.checkpoints import code_commit
    from fer_tools.record import files as record_files
    from fer_tools.record.versions import add_version

    record = record_files.publish(study)
    if add_version(study, read_figures(record / "summary.json"), code_commit()):
        typer.echo("studies/versions.csv has one more version: say in it what has changed.")
    typer.echo(f"Written: {record}; review it, then commit it.")


@app.command()
def golden(
    cases: Annotated[list[str] | None, typer.Argument(metavar="CASE")] = None,
    record: Annotated[
        bool,
        typer.Option(
            "--record",
            help="Replace the recorded results of the cases: only on code known to be correct.",
        ),
    ] = False,
) -> None:
    """Run the golden training and compare it with its record, studies/golden/record.json."""
    from fer_tools.record import golden

    names = cases or list(golden.CASES)
    if unknown := [name for name in names if name not in golden.CASES]:
        raise UserError(f"there is no case {unknown[0]}: name one of {', '.join(golden.CASES)}.")
    if record:
        found = {name: golden.run(name) for name in names}
        typer.echo(f"Written: {golden.write_record(found)}")
        return
    differences = golden.check(names)
    for name, lines in differences.items():
        typer.echo(f"{name}: {'as recorded' if not lines else lines[0]}")
    if changed := [name for name, lines in differences.items() if lines]:
        raise UserError(
            f"{', '.join(changed)} not as recorded: the training code computes other results than "
            "when they were recorded (--record replaces the record, if that is intended)."
        )
