"""Last stage of a study: copy what readers want from build/STUDY to reports/STUDY, which git keeps.

    python scripts/publish.py STUDY

Rendered notebooks with their pictures, training curves, `summary.json` (every published figure),
`metrics.json` (the same, numbers only, for `dvc metrics`), and the trained weights where
`params.yaml` says so. No image of a data set is copied but what a figure shows. Pictures as files
stay in build/STUDY/figures, but for what the README shows.
"""

import json
import shutil
import sys
from pathlib import Path

from fer_lib.labels import TASKS
from fer_lib.params import load
from fer_lib.paths import build_folder, project_root


def publish(study: str) -> None:
    """Write `reports/<study>` anew."""
    build, reports = build_folder(study), project_root() / "reports" / study
    shutil.rmtree(reports, ignore_errors=True)
    for notebook in sorted([*build.glob("[0-9]*.ipynb"), *build.glob("teachers/*.ipynb")]):
        if not notebook.name.endswith(".running.ipynb"):
            copy(notebook, reports / "notebooks" / notebook.name)
    line = "figures/70_video_valence/line.png"
    copy(build / line, reports / line)
    for curve in sorted(build.glob("curves/*/plots/metrics/*.tsv")):
        copy(curve, reports / "curves" / curve.parents[2].name / curve.name)
    copy(build / "summary.json", reports / "summary.json")
    figures = json.loads((build / "summary.json").read_text())
    values = {key: entry["value"] for key, entry in figures.items()}
    (reports / "metrics.json").write_text(json.dumps(values, indent=1) + "\n")
    if load(study).publish_weights:
        from fer_lib.checkpoints import read_weights, save_weights  # loads torch

        for task in TASKS:
            if task == "ferplus-7":
                continue  # a point better than ferplus-7-vgg, but 5 MB more in every clone
            weights, card = read_weights(build / f"{task}.safetensors")
            save_weights(reports / "weights" / f"{task}.safetensors", weights, card)


def copy(source: Path, target: Path) -> None:
    """Copy one file, its folder made where missing."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    publish(sys.argv[1])
