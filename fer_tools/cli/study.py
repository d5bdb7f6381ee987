"""`fer study`, `fer verify`, `fer train`, `fer info`: run, verify and train a study."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from fer_lib.errors import UserError
from fer_tools.cli.common import INTERRUPTED, Study


def study(
    name: Annotated[
        Study,
        typer.Argument(
            help="sample: synthetic faces, minutes. paper: your FER2013 and CK+, hours."
        ),
    ],
    published: Annotated[
        bool,
        typer.Option(
            "--published",
            help="paper only: train nothing; evaluate the published networks, in minutes.",
        ),
    ] = False,
) -> None:
    """Run a study: every stage whose code, parameters or data changed since the last run.

    ```text
    fer study sample               the same as `dvc repro`
    fer study paper                the same as `dvc repro studies/paper/dvc.yaml`
    fer study paper --published    only its evaluation, on the published networks
    ```

    The paper study needs FER2013 and CK+ under data/raw; data/README.md explains how to get them.
    """
    from fer_lib.errors import UserError
    from fer_lib.paths import project_root

    if published and name is Study.sample:
        raise UserError(
            "the sample study has no published networks: run `fer study sample`, in minutes."
        )
    root = project_root()
    if name is Study.paper:
        from fer_lib.params import load
        from fer_tools.study.raw_data import check_raw_data

        check_raw_data(root / load(name).raw, root)
    if published:
        from fer_tools.record.files import EVALUATION, restore

        _dvc(root, f"studies/dvc.yaml:prepare@{name.value}")
        restore(name.value)
        stages = [f"studies/dvc.yaml:{stage}@{name.value}" for stage in EVALUATION]
        _dvc(root, "--single-item", *stages)
        typer.echo(f"The report of the published networks: build/{name.value}/report")
        return
    if name is Study.paper:
        from fer_tools.study.duration import estimate

        estimate(name.value, typer.echo)
    _dvc(root, *(["studies/paper/dvc.yaml"] if name is Study.paper else []))


def _dvc(root: Path, *targets: str) -> None:
    """Run `dvc repro` on targets; exit with its status if it fails."""
    if not (root / ".git").exists():
        raise UserError(
            f"{root} is a copy without git, which DVC needs: clone the repository, or run "
            "`git init` there first."
        )
    # DVC starts the stages as `python ...`: make that this Python.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    command = [sys.executable, "-m", "dvc", "repro", *targets]
    try:
        status = subprocess.run(command, cwd=root, env=os.environ | {"PATH": path}, check=False)
    except KeyboardInterrupt:  # DVC received it too and has printed a message
        raise typer.Exit(INTERRUPTED) from None
    if status.returncode:
        raise typer.Exit(status.returncode)


def verify(
    name: Annotated[Study, typer.Argument(metavar="STUDY", help="sample or paper.")],
    record: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="By default reports/STUDY, the published record."),
    ] = None,
    with_data: Annotated[
        bool | None,
        typer.Option(
            "--with-data/--without-data",
            show_default="with it, if `fer study` has prepared it",
            help="Also compare labels and networks with the predictions; takes minutes.",
        ),
    ] = None,
) -> None:
    """Recompute every published figure from the predictions, and list those that cannot be.

    Needs neither data nor GPU. Exit status: 0 if all figures are reproduced, 1 otherwise.

    ```text
    fer verify paper
    fer verify sample --record build/sample/report
    ```
    """
    from fer_tools.record.verify import command

    if not command(name.value, record, with_data, typer.echo):
        raise typer.Exit(1)


def train(
    name: Annotated[Study, typer.Argument(metavar="STUDY", help="sample or paper.")],
    task: Annotated[
        str,
        typer.Argument(
            metavar="[TASK]",
            show_default=False,
            help="pretrain (SupCon), a teacher such as teacher-1, fer13-7, fer13-3, ferplus-7, "
            "ferplus-7-vgg. Without it: all networks, each in a separate process.",
        ),
    ] = "",
    seed: Annotated[
        int, typer.Option(min=0, metavar="N", help="A further seed of fer13-7 or fer13-3.")
    ] = 0,
    at_once: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            show_default="4 on a GPU, 1 without",
            help="Without a task: how many networks to train in parallel.",
        ),
    ] = 0,
) -> None:
    """Train all networks of a study, or one: with one process or, under torchrun, with several.

    The runs are those of the study's notebooks, with its settings from params.yaml. They write
    checkpoints to .scratch, which `dvc repro` then uses instead of training.

    ```text
    fer train sample
    fer train sample fer13-7
    torchrun --nproc-per-node 2 -m fer_tools.cli.main train paper pretrain
    ```
    """
    if (task and at_once) or (seed and not task):
        raise UserError(
            "--at-once is for all networks and --seed for one: name a task with --seed, and none "
            "with --at-once."
        )
    if task:
        from fer_tools.study.train import command

        command(name.value, task, seed, typer.echo)
        return
    from fer_tools.study.schedule import default_at_once, train_all

    train_all(name.value, at_once or default_at_once(), typer.echo)
    typer.echo(
        "All networks are trained. Continue with `dvc repro`: its notebooks use the checkpoints."
    )


def info() -> None:
    """Show versions, the project's folder, how this computer trains, and the available models."""
    from importlib.metadata import version

    from fer_lib.labels import TASKS
    from fer_lib.paths import project_root
    from fer_tools.inference.recognizer import find_weights
    from fer_tools.study.computer import describe_computer

    packages = ("fer-study", "torch", "onnxruntime", "opencv-python-headless", "av", "dvc")
    typer.echo(", ".join(f"{name} {version(name)}" for name in packages))
    typer.echo(f"Python {sys.version.split()[0]}, project in {project_root()}")
    typer.echo(describe_computer())
    for task in TASKS:
        try:
            typer.echo(f"{task}: {find_weights(task)}")
        except UserError:
            typer.echo(f"{task}: not trained yet")
