"""The command `fer`: faces in pictures to emotions, and the study itself.

What a command needs is imported when it runs, so that `fer --help` answers at once.
"""

import csv
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from typer.core import TyperGroup

from fer_lib.errors import UserError
from fer_lib.files import whole
from fer_tools.record import command as record_command

if TYPE_CHECKING:
    import numpy as np

    from fer_lib.faces.detection import Box
    from fer_lib.inference.recognizer import Recogniser

SOME_UNREAD, USER_ERROR, INTERRUPTED = 1, 2, 130  # exit statuses beside 0
BATCH = 64  # faces classified at once


class OneSentence(TyperGroup):
    """Tells a `UserError` as the sentence it is, without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except UserError as error:
            typer.echo(f"Error: {error}", err=True)
            raise typer.Exit(USER_ERROR) from None


app = typer.Typer(
    cls=OneSentence,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(record_command.app, name="record")


@app.callback(
    epilog="`fer COMMAND --help` shows a command's options and examples. "
    "Exit status: 0 all is well, 1 some files could not be read, 2 wrong input."
)
def main() -> None:
    """Facial emotion recognition with MSFERNet: use a trained model, or run the study.

    ```text
    fer predict photo.jpg              emotions of the faces in a picture
    fer predict photos/ --csv out.csv  ... in all pictures of a folder
    fer video talk.mp4 --out talk      valence of the faces in a film, over time
    fer study sample                   the whole study on drawn faces
    ```
    """


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


class Face(NamedTuple):
    """What was found in a picture: `crop` is (48, 48) uint8, or None where there is no face.

    `box` is None there too, and where the whole picture is the face.
    """

    path: Path
    box: "Box | None"
    crop: "np.ndarray | None"


# -------------------------------------------------------------------------------------- predict


@app.command()
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
        _check_writable(out)
    recogniser = _load(model, device)
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


def _load(model: str, device: str) -> "Recogniser":
    from fer_lib.inference.recognizer import Recogniser

    recogniser = Recogniser.load(model, device)
    card = recogniser.card
    typer.echo(f"Model: {card.task} of the {card.study} study, {recogniser.path}", err=True)
    if card.study == Study.sample:
        typer.echo("It was trained on drawn faces: what it says of people means little.", err=True)
    return recogniser


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


def _check_writable(out: Path) -> None:
    """Refuse a target that cannot be written before any work is done."""
    if out.is_dir() or not out.parent.is_dir():
        raise UserError(f"{out} cannot be written: name a file in a folder that exists.")


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


# ---------------------------------------------------------------------------------------- video


class FaceDetector(StrEnum):
    """What finds faces."""

    haar = "haar"
    yunet = "yunet"


@app.command()
def video(
    source: Annotated[
        str, typer.Argument(metavar="INPUT", help="A video, a folder of videos, or a camera: 0.")
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder for the results, made if missing.")
    ],
    detector: Annotated[
        FaceDetector, typer.Option(help="haar needs no file; yunet is better and faster.")
    ] = FaceDetector.haar,
    smooth: Annotated[
        float, typer.Option(min=0, max=60, metavar="S", help="Seconds of smoothing; 0: none.")
    ] = 0.4,
    every: Annotated[
        int, typer.Option(min=1, max=100, metavar="K", help="Find faces in every K-th frame.")
    ] = 1,
    no_annotate: Annotated[
        bool, typer.Option("--no-annotate", help="Do not write the annotated film.")
    ] = False,
    model: Annotated[
        str, typer.Option(metavar="NAME|FILE", help="fer13-3, fer13-7, ferplus-7-vgg, or a file.")
    ] = "fer13-3",
    valence: VALENCE_OPTION = ValenceFrom.classes,
    device: Annotated[
        str, typer.Option(metavar="D", help="auto, cpu, cuda, cuda:1, mps ...")
    ] = "auto",
) -> None:
    """Draw the valence of every face in a film: from -1, negative, to 1, positive.

    Written to DIR: valence.csv (one row a face and frame), annotated.mp4, valence.png,
    valence.html (opens in any browser, without internet), summary.json. Where no face is seen the
    line has a gap. Ctrl-C ends early and keeps what was seen so far. A face is not a feeling.
    With --model ferplus-7-vgg the table also names the emotion and gives seven intensities, which
    the film shows as bars.

    ```text
    fer video talk.mp4 --out talk
    fer video talk.mp4 --out talk --model ferplus-7-vgg
    fer video films/ --out results --detector yunet --every 2
    fer video 0 --out me
    ```
    """
    from fer_tools.rtfer import analyze as video_command

    todo = video_command.films(source, out)
    recogniser = _load(model, device)
    settings = video_command.Settings(detector.value, smooth, every, not no_annotate, valence.value)
    unread = 0
    for film, folder in todo:
        try:
            summary = video_command.run(film, folder, recogniser, settings)
        except UserError as error:
            if len(todo) == 1:
                raise
            typer.echo(f"Error: {error}", err=True)
            unread += 1
            continue
        except KeyboardInterrupt:
            typer.echo("Stopped; nothing more was written.", err=True)
            raise typer.Exit(INTERRUPTED) from None
        typer.echo(video_command.in_words(summary, folder))
        if summary["ended"] == "interrupted":
            raise typer.Exit(INTERRUPTED)
    if unread:
        raise typer.Exit(SOME_UNREAD)


# ------------------------------------------------------------------------------------------ app


@app.command("app")
def serve_app(
    port: Annotated[
        int, typer.Option(min=1, max=65535, metavar="P", help="Port on 127.0.0.1.")
    ] = 7860,
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE", help="Chosen at first: fer13-7 ..., or a weights file."),
    ] = None,
    detector: Annotated[
        str, typer.Option(metavar="haar|yunet", help="Face detector that is chosen at first.")
    ] = "haar",
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Do not open the page in the browser.")
    ] = False,
    max_minutes: Annotated[
        float, typer.Option(min=0.01, metavar="M", help="Longest video that is taken.")
    ] = 30,
    max_mb: Annotated[
        float, typer.Option(min=1, metavar="MB", help="Largest file that is taken.")
    ] = 500,
) -> None:
    """Open a page in the browser: valence of videos, of the webcam, and of pictures.

    The page is served by this machine to this machine alone (127.0.0.1) and needs no internet.
    Uploads and results are deleted when the tab is closed or the server ends (Ctrl-C).

    ```text
    fer app
    fer app --port 8000 --model fer13-3 --no-browser
    ```
    """
    from fer_tools.rtfer.app.server import Limits, serve

    serve(
        port=port,
        model=model,
        detector=detector,
        limits=Limits(max_minutes, max_mb),
        open_browser=not no_browser,
    )


# --------------------------------------------------------------------------------------- export


@app.command()
def export(
    model: Annotated[
        str,
        typer.Option(metavar="NAME|FILE", help="fer13-7, fer13-3, ckplus-7, or a weights file."),
    ] = "fer13-7",
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="By default MODEL.onnx, or MODEL-int8.onnx, here."),
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="8-bit integers: smaller, faster, a little less exact.")
    ] = False,
) -> None:
    """Write a trained model as an ONNX file, which runs without PyTorch and faster.

    Faces in (N x 48 x 48, 8-bit grey), probabilities out; what to know of the model is in the
    metadata. The file is compared with PyTorch on the faces of the study, or on drawn ones.

    ```text
    fer export --model fer13-3
    fer export --int8 --out small.onnx
    fer predict photo.jpg --model small.onnx
    ```
    """
    from fer_lib.inference.export import write_checked
    from fer_tools.synthetic_faces.comparison import comparison_faces

    target = Path(f"{Path(model).stem}{'-int8' if int8 else ''}.onnx") if out is None else out
    if target.suffix != ".onnx":
        raise UserError(f"{target} does not end in .onnx, by which it would be known: rename it.")
    _check_writable(target)
    recogniser = _load(model, "cpu")
    data, source = comparison_faces(recogniser.card.study)
    found = write_checked(recogniser, target, data, int8)
    size = target.stat().st_size / 1e6
    typer.echo(f"Written: {target} ({size:.1f} MB)")
    typer.echo(f"Compared on {found.faces} faces ({source}).")
    typer.echo(f"Largest difference of a float32 probability from PyTorch: {found.difference:.1e}")
    if found.accuracy_int8 is not None:
        before, after = 100 * found.accuracy, 100 * found.accuracy_int8
        typer.echo(
            f"Accuracy: float32 {before:.2f} %, int8 {after:.2f} % ({after - before:+.2f} points)"
        )


# ---------------------------------------------------------------------------------------- study


@app.command()
def study(
    name: Annotated[
        Study,
        typer.Argument(help="sample: drawn faces, minutes. paper: your FER2013 and CK+, hours."),
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
    fer study paper --published    its evaluation alone, on the published networks
    ```

    The paper study needs FER2013 and CK+ under data/raw; data/README.md says how to get them.
    """
    from fer_lib.paths import project_root

    root = project_root()
    if name is Study.paper:
        from fer_lib.params import load

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
        from fer_tools.study.duration import tell

        tell(name.value, typer.echo)
    _dvc(root, *(["studies/paper/dvc.yaml"] if name is Study.paper else []))


def _dvc(root: Path, *targets: str) -> None:
    """`dvc repro` of some targets; ends this program where that fails."""
    # DVC starts the stages as `python ...`: let that be this very Python.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    command = [sys.executable, "-m", "dvc", "repro", *targets]
    try:
        status = subprocess.run(command, cwd=root, env=os.environ | {"PATH": path}, check=False)
    except KeyboardInterrupt:  # DVC got it too, and has told so
        raise typer.Exit(INTERRUPTED) from None
    if status.returncode:
        raise typer.Exit(status.returncode)


@app.command()
def verify(
    name: Annotated[Study, typer.Argument(metavar="STUDY", help="sample or paper.")],
    record: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="By default reports/STUDY, what is published."),
    ] = None,
    with_data: Annotated[
        bool | None,
        typer.Option(
            "--with-data/--without-data",
            show_default="with it, where `fer study` has prepared it",
            help="Also hold labels and networks against the predictions; takes minutes.",
        ),
    ] = None,
) -> None:
    """Compute every published figure anew from the predictions, and say which cannot be.

    Needs neither data nor GPU. Exit status: 0 all figures are what the predictions give, 1 not.

    ```text
    fer verify paper
    fer verify sample --record build/sample/report
    ```
    """
    from fer_tools.record.verify import command

    if not command(name.value, record, with_data, typer.echo):
        raise typer.Exit(1)


def check_raw_data(raw: Path, root: Path) -> None:
    """See to it that the paper study's data is there, in one of the layouts that can be read.

    Raises:
        UserError: naming all that is missing, and where it is told how to get it.
    """
    fer2013, ckplus = raw / "fer2013", raw / "ckplus"
    missing = []
    if not (fer2013 / "fer2013.csv").is_file() and not all(
        (fer2013 / part).is_dir() for part in ("train", "test")
    ):
        missing.append(
            f"FER2013 ({fer2013 / 'fer2013.csv'}, or the folders train and test in there)"
        )
    if not (ckplus / "CK+48").is_dir() and not (ckplus / "cohn-kanade-images").is_dir():
        missing.append(f"CK+ ({ckplus / 'CK+48'}, or {ckplus / 'cohn-kanade-images'} with Emotion)")
    # A video is optional, but DVC wants the folder that the video stage names.
    (raw / "video").mkdir(parents=True, exist_ok=True)
    if missing:
        raise UserError(
            f"The paper study lacks {' and '.join(missing)}: {root / 'data' / 'README.md'} says "
            "where to get it and how to lay it out; `fer study sample` needs no data."
        )


# ---------------------------------------------------------------------------------------- train


@app.command()
def train(
    name: Annotated[Study, typer.Argument(metavar="STUDY", help="sample or paper.")],
    task: Annotated[
        str,
        typer.Argument(
            metavar="[TASK]",
            show_default=False,
            help="pretrain (SupCon), a teacher such as teacher-1, fer13-7, fer13-3, ferplus-7, "
            "ferplus-7-vgg. Without it: all networks, each a process of its own.",
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
            help="Without a task: how many networks to train side by side.",
        ),
    ] = 0,
) -> None:
    """Train all networks of a study, or one: with one process or, under torchrun, with several.

    The runs are those of the study's notebooks, with its settings from params.yaml. What they leave
    behind are checkpoints in .scratch, which `dvc repro` takes over instead of training.

    ```text
    fer train sample
    fer train sample fer13-7
    torchrun --nproc-per-node 2 -m fer_tools.cli.main train paper pretrain
    ```
    """
    if (task and at_once) or (seed and not task):
        raise UserError(
            "--at-once is for all networks and --seed for one: name a task beside --seed, and none "
            "beside --at-once."
        )
    if task:
        from fer_lib.training.tasks import command

        command(name.value, task, seed, typer.echo)
        return
    from fer_tools.study.schedule import default_at_once, train_all

    train_all(name.value, at_once or default_at_once(), typer.echo)
    typer.echo(
        "All networks are trained. Go on with `dvc repro`: its notebooks take the checkpoints over."
    )


# --------------------------------------------------------------------------------------- course


@app.command()
def check(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME|FILE", help="exercise-03, or 3; all; a notebook.")
    ],
    limit: Annotated[
        float, typer.Option(min=0.1, metavar="S", help="Seconds that one task may take.")
    ] = 20,
) -> None:
    """Check your answers to the exercises of the course.

    Reads the saved notebooks of course/exercises and runs the cells you answered, nothing else.
    Exit status: 0 every task is right, 1 some are not.

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


# ----------------------------------------------------------------------------------------- site


@app.command()
def site(
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where to; an earlier site there is replaced."),
    ] = None,
    open_: Annotated[
        bool, typer.Option("--open", help="Open it in the browser when it is built.")
    ] = False,
) -> None:
    """Build the study as a web site: notebooks, figures, course, glossary, search.

    ```text
    fer site           writes build/site/index.html
    fer site --open    ... and opens it
    ```

    The site needs no server and no network: open index.html, or hand the folder on.
    """
    from fer_tools.site.command import run

    if run(out, open_, typer.echo):
        raise typer.Exit(SOME_UNREAD)


# ----------------------------------------------------------------------------------------- info


@app.command()
def info() -> None:
    """Show versions, the project's folder, how this computer trains, and which models are here."""
    from importlib.metadata import version

    from fer_lib.inference.recognizer import find_weights
    from fer_lib.labels import TASKS
    from fer_lib.paths import project_root
    from fer_lib.precision import describe_computer

    packages = ("fer-study", "torch", "onnxruntime", "opencv-python-headless", "av", "dvc")
    typer.echo(", ".join(f"{name} {version(name)}" for name in packages))
    typer.echo(f"Python {sys.version.split()[0]}, project in {project_root()}")
    typer.echo(describe_computer())
    for task in TASKS:
        try:
            typer.echo(f"{task}: {find_weights(task)}")
        except UserError:
            typer.echo(f"{task}: not trained yet")


if __name__ == "__main__":
    app()
