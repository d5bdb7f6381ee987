"""`fer export`: a trained network as an ONNX file."""

from pathlib import Path
from typing import Annotated

import typer

from fer_tools.cli.common import load_model
from fer_tools.outputs import target_file


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
        bool, typer.Option("--int8", help="Quantize to int8: smaller, faster, slightly less exact.")
    ] = False,
) -> None:
    """Write a trained model as an ONNX file, which runs faster and without PyTorch.

    Input: faces (N x 48 x 48, 8-bit gray); output: probabilities. The model card is in the
    metadata. The file is compared with PyTorch on the faces of the study, or on synthetic ones.

    ```text
    fer export --model fer13-3
    fer export --int8 --out small.onnx
    fer predict photo.jpg --model small.onnx
    ```
    """
    from fer_tools.study.export_check import comparison_faces, write_checked

    target = Path(f"{Path(model).stem}{'-int8' if int8 else ''}.onnx") if out is None else out
    path = target_file(target, [Path(model)], (".onnx",))
    recognizer = load_model(model, "cpu")
    data, source = comparison_faces(recognizer.card.study)
    found = write_checked(recognizer, path, data, int8)
    size = path.stat().st_size / 1e6
    typer.echo(f"Written: {target} ({size:.1f} MB)")
    typer.echo(f"Compared on {found.faces} faces ({source}).")
    typer.echo(f"Largest difference of a float32 probability from PyTorch: {found.difference:.1e}")
    if found.accuracy_int8 is not None:
        before, after = 100 * found.accuracy, 100 * found.accuracy_int8
        typer.echo(
            f"Accuracy: float32 {before:.2f} %, int8 {after:.2f} % ({after - before:+.2f} points)"
        )
