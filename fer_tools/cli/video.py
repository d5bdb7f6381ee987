"""`fer video` and `fer app`: the valence of the faces in a video, and the app in the browser."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fer_lib.errors import UserError
from fer_tools.cli.common import (
    INTERRUPTED,
    SOME_UNREAD,
    VALENCE_OPTION,
    ValenceFrom,
    interrupt_on_termination,
    load_model,
)
from fer_tools.rtfer.defaults import DETECTOR, EVERY, MODEL, SMALLEST_FACE, SMOOTHING_SECONDS


class FaceDetector(StrEnum):
    """The face detectors."""

    haar = "haar"
    yunet = "yunet"


DEFAULT_DETECTOR = FaceDetector(DETECTOR)


def video(
    source: Annotated[
        str, typer.Argument(metavar="INPUT", help="A video, a folder of videos, or a camera: 0.")
    ],
    out: Annotated[
        Path,
        typer.Option("--out", metavar="DIR", help="Folder for the results, created if missing."),
    ],
    detector: Annotated[
        FaceDetector, typer.Option(help="haar needs no model file; yunet is better and faster.")
    ] = DEFAULT_DETECTOR,
    smooth: Annotated[
        float,
        typer.Option(
            min=0, max=60, metavar="S", help="Time constant of smoothing in seconds; 0: none."
        ),
    ] = SMOOTHING_SECONDS,
    every: Annotated[
        int, typer.Option(min=1, max=100, metavar="K", help="Detect faces in every K-th frame.")
    ] = EVERY,
    no_annotate: Annotated[
        bool, typer.Option("--no-annotate", help="Do not write the annotated video.")
    ] = False,
    model: Annotated[
        str, typer.Option(metavar="NAME|FILE", help="fer13-7, fer13-3, ferplus-7-vgg, or a file.")
    ] = MODEL,
    valence: VALENCE_OPTION = ValenceFrom.classes,
    smallest_face: Annotated[
        float,
        typer.Option(
            min=0.02, max=1, metavar="SHARE",
            help="Smallest face, as a share of the frame's shorter side.",
        ),
    ] = SMALLEST_FACE,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue an earlier run that was interrupted.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the results of another video in DIR.")
    ] = False,
    device: Annotated[
        str, typer.Option(metavar="D", help="auto, cpu, cuda, cuda:1, mps ...")
    ] = "auto",
) -> None:  # fmt: skip
    """Plot the valence of every face in a video: from -1, negative, to 1, positive.

    Written to DIR: valence.csv (one row per face and frame; columns.md explains it), annotated.mp4,
    valence.png, valence.html (opens in any browser, without internet), summary.json. The line has a
    gap where no face is detected. Ctrl-C ends early and keeps what was analyzed so far; --resume
    continues from there, also after a crash, and skips what is complete. An expression is not a
    feeling. With --model ferplus-7-vgg the table also has the emotion and seven intensities, which
    the annotated video shows as bars.

    ```text
    fer video talk.mp4 --out talk
    fer video talk.mp4 --out talk --model ferplus-7-vgg
    fer video videos/ --out results --detector yunet --every 2
    fer video 0 --out me
    ```
    """
    from fer_tools.rtfer import analyze

    videos = analyze.find_videos(source, out)
    recognizer = load_model(model, device)
    settings = analyze.Settings(
        detector.value, smooth, every, not no_annotate, valence.value, smallest_face
    )
    unread = 0
    interrupt_on_termination()
    for path, folder in videos:
        try:
            summary = analyze.run(
                path, folder, recognizer, settings, resume=resume, overwrite=overwrite
            )
        except UserError as error:
            if len(videos) == 1:
                raise
            typer.echo(f"Error: {error}", err=True)
            unread += 1
            continue
        except KeyboardInterrupt:
            typer.echo("Stopped; nothing more was written.", err=True)
            raise typer.Exit(INTERRUPTED) from None
        typer.echo(analyze.report(summary, folder))
        if summary["ended"] == "interrupted":
            raise typer.Exit(INTERRUPTED)
        unread += "not_written" in summary
    if unread:
        raise typer.Exit(SOME_UNREAD)


def serve_app(
    port: Annotated[
        int, typer.Option(min=1, max=65535, metavar="P", help="Port on 127.0.0.1.")
    ] = 7860,
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE", help="Initial model: fer13-7 ..., or a weights file."),
    ] = None,
    detector: Annotated[
        str, typer.Option(metavar="haar|yunet", help="Initial face detector.")
    ] = DETECTOR,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Do not open the page in the browser.")
    ] = False,
    max_minutes: Annotated[
        float,
        typer.Option(min=0.01, metavar="M", help="Longest video that is accepted, in minutes."),
    ] = 30,
    max_mb: Annotated[
        float, typer.Option(min=1, metavar="MB", help="Largest file that is accepted, in MB.")
    ] = 500,
) -> None:
    """Open the app in the browser: valence of videos, of the webcam, and of images.

    The app is served only to this computer (127.0.0.1) and needs no internet. Uploads and results
    are deleted when the browser tab is closed or the server ends (Ctrl-C).

    ```text
    fer app
    fer app --port 8000 --model fer13-3 --no-browser
    ```
    """
    from fer_tools.rtfer.app.guard import forget_proxies

    forget_proxies()
    from fer_tools.rtfer.app.server import Limits, serve

    serve(
        port=port,
        model=model,
        detector=detector,
        limits=Limits(max_minutes, max_mb),
        open_browser=not no_browser,
    )
