"""The command `fer`: predict the emotions of faces, and run the study.

A command imports its packages when it runs, so that `fer --help` starts quickly.
"""

import typer

from fer_tools.cli import export, learn, predict, record, study, video
from fer_tools.cli.common import ErrorMessages

app = typer.Typer(
    cls=ErrorMessages,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(
    epilog="`fer COMMAND --help` shows a command's options and examples. "
    "Exit status: 0 success, 1 some files could not be read, 2 wrong input."
)
def main() -> None:
    """Facial emotion recognition with MSFERNet: use a trained model, or run the study.

    ```text
    fer predict photo.jpg              emotions of the faces in an image
    fer predict photos/ --csv out.csv  ... in all images of a folder
    fer video talk.mp4 --out talk      valence of the faces in a video, over time
    fer study sample                   the whole study on synthetic faces
    ```
    """


app.command()(predict.predict)
app.command()(video.video)
app.command("app")(video.serve_app)
app.command()(export.export)
for command in (study.study, study.verify, study.train, learn.check, learn.site, study.info):
    app.command()(command)
app.add_typer(record.app, name="record")

if __name__ == "__main__":
    app()
