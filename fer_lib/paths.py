"""Where the study's files lie."""

from pathlib import Path


def project_root(start: Path | None = None) -> Path:
    """The folder that holds `params.yaml`, from `start` (default: the working folder) upwards.

    Searched from the working folder first, so that a notebook opened by hand finds its project
    and `dvc exp run --queue`, which works in a copy, finds that copy. Elsewhere on the disk it is
    the project that this package belongs to.
    """
    start = (start or Path.cwd()).resolve()
    for folder in (start, *start.parents):
        if (folder / "params.yaml").is_file() and (folder / "fer_lib").is_dir():
            return folder
    return Path(__file__).resolve().parents[1]


def build_folder(study: str) -> Path:
    """`build/<study>`: what the stages hand to one another (kept by DVC, ignored by git)."""
    return project_root() / "build" / study


def intensity_folder(study: str, task: str) -> Path:
    """Where `ferplus-7` or `ferplus-7-vgg` lies. Without FER+ votes it holds no network."""
    return build_folder(study) / "intensity" / task


def scratch_folder() -> Path:
    """`.scratch`: checkpoints of training runs. Safe to delete; runs then start from scratch."""
    return project_root() / ".scratch"
