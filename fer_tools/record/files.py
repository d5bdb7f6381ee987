"""A study's report in `build/STUDY/report`, and its published record in `reports/STUDY`.

A run collects its report: rendered notebooks, figures, predictions, evidence, weights. Git ignores
it, so a run changes no file of the repository. `publish` copies it to the record. `restore` copies
the published networks and predictions to the folder that the evaluation notebooks read, so that
these run without training.
"""

import base64
import filecmp
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import nbformat

from fer_lib.errors import UserError
from fer_lib.evaluation.published import read_figures
from fer_lib.params import load
from fer_lib.paths import build_folder, project_root
from fer_tools.record import evidence
from fer_tools.record.report import HEADLINES, errors_in

LINE = Path("figures/70_video_valence/line.png")  # the README shows it
# The stages without training, in the order of their dependencies.
EVALUATION = (
    "evaluate_fer13", "evaluate_intensity", "evaluate_ckplus", "seeds", "look_inside",
    "show_errors", "search_faults", "draw_valence_line", "carry_over", "report", "collect",
)  # fmt: skip
REPORTED = ("architecture", "curves")  # images of notebook 30, in order, shown in the report


def record_folder(study: str) -> Path:
    """The record of a study in the repository."""
    return project_root() / "reports" / study


def collect(study: str) -> None:
    """Write `build/STUDY/report` from the outputs of the stages.

    `summary.json` has all figures, `metrics.json` only the headline figures, for `dvc metrics`.
    """
    build = build_folder(study)
    out = build / "report"
    shutil.rmtree(out, ignore_errors=True)
    for notebook in sorted([*build.glob("[0-9]*.ipynb"), *build.glob("teachers/*.ipynb")]):
        if ".running" not in notebook.suffixes:
            copy(notebook, out / "notebooks" / notebook.name)
    if (build / LINE).exists():  # missing if there is no video
        copy(build / LINE, out / LINE)
    for curve in sorted(build.glob("curves/*/plots/metrics/*.tsv")):
        copy(curve, out / "curves" / curve.parents[2].name / curve.name)
    copy(build / "summary.json", out / "summary.json")
    figures = read_figures(build / "summary.json")
    values = {key: figures[key]["value"] for key in HEADLINES if key in figures}
    (out / "metrics.json").write_text(json.dumps(values, indent=1) + "\n")
    stored = ("predictions/*", "folds/*.npz", "carry_over/*.npz")
    for file in sorted(file for pattern in stored for file in build.glob(pattern)):
        copy(file, out / "predictions" / file.name)
    tables: dict[str, dict] = {}
    recipes: dict[str, dict] = {}
    for file in sorted(build.glob("evidence/*.json")):
        of_stage = evidence.read(file)
        tables, recipes = tables | of_stage[0], recipes | of_stage[1]
    evidence.write(out / "predictions" / "evidence.json", tables, recipes)
    if load(study).publish_weights:
        files = [*build.glob("*-*.safetensors"), *build.glob("intensity/*/*.safetensors")]
        for file in sorted(files):
            copy(file, out / "weights" / file.name)


def publish(study: str) -> Path:
    """Copy the report of the last run to the record in the repository; returns its folder.

    Raises:
        UserError: if there is no report, or one of its notebooks contains an error.
    """
    report, record = build_folder(study) / "report", record_folder(study)
    if not (report / "summary.json").is_file():
        raise UserError(f"{report} contains no report: run `uv run fer study {study}` first.")
    for notebook in sorted(report.glob("notebooks/*.ipynb")):
        if errors := errors_in(notebook):
            raise UserError(f"{notebook} contains an error ({errors[0]}): run its stage again.")
    new, old = (record.with_name(f".{study}.{name}") for name in ("new", "old"))
    for folder in (new, old):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(report, new)
    if record.exists():
        record.replace(old)
    new.replace(record)
    shutil.rmtree(old, ignore_errors=True)
    return record


def restore(study: str) -> None:
    """Copy the published networks, predictions and training notebooks to `build/STUDY`.

    Raises:
        UserError: if the record has no predictions, or the folder has a network trained by the
            user, which is never overwritten.
    """
    record, build = record_folder(study), build_folder(study)
    if not list(record.glob("predictions/*.npz")):
        raise UserError(
            f"{record / 'predictions'} is empty: restore it with `git checkout reports`."
        )
    files = dict(published_files(record, build))
    for source, target in files.items():
        trained = target.suffix == ".safetensors" and target.exists()
        if trained and not filecmp.cmp(source, target, shallow=False):
            raise UserError(
                f"{target} is a network that you trained, and the published one would replace it: "
                f"move {build} away first, or omit --published."
            )
    for folder in ("predictions", "folds"):
        shutil.rmtree(build / folder, ignore_errors=True)
    for source, target in files.items():
        copy(source, target)
    figures = build / "figures" / "30_train-fer13-7"
    for name, png in zip(REPORTED, images_in(build / "30_train-fer13-7.ipynb"), strict=False):
        figures.mkdir(parents=True, exist_ok=True)
        (figures / f"{name}.png").write_bytes(png)


def published_files(record: Path, build: Path) -> Iterator[tuple[Path, Path]]:
    """Each file of a record that replaces a training, and its path in `build`."""
    for file in sorted(record.glob("weights/*.safetensors")):
        folder = build / "intensity" / file.stem if file.stem.startswith("ferplus") else build
        yield file, folder / file.name
    for file in sorted(record.glob("predictions/*")):
        # Other collections are predicted again by notebook 75, wherever they are.
        if file.name != "evidence.json" and "-zero-shot-" not in file.name:
            in_folds = file.name.startswith("ckplus-7-")
            yield file, build / ("folds" if in_folds else "predictions") / file.name
    for file in sorted(record.glob("curves/*/*.tsv")):
        yield file, build / "curves" / file.parent.name / "plots" / "metrics" / file.name
    for number in ("20", "25", "30", "45", "48"):
        for file in sorted(record.glob(f"notebooks/{number}_*.ipynb")):
            yield file, (build / "teachers" if number == "25" else build) / file.name


def images_in(notebook: Path) -> list[bytes]:
    """The PNG images in a rendered notebook, in order."""
    return [
        base64.b64decode(output.data["image/png"])
        for cell in nbformat.read(notebook, as_version=4).cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]


def copy(source: Path, target: Path) -> None:
    """Copy a file, and create the folder of the target."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
