"""Every published version of a study: what its test set gave each time, and what had changed.

A test set that was looked at several times no longer gives an unbiased accuracy, even if every
choice was made on the validation set. `studies/versions.csv` counts the looks; `fer record publish`
adds one whenever a figure has changed.
"""

from collections.abc import Mapping
from datetime import date
from pathlib import Path

import pandas as pd

from fer_lib.errors import UserError
from fer_lib.paths import project_root

KEYS = (
    "fer13_7.private.accuracy", "fer13_3.private.accuracy", "fer13_3.public_private.accuracy",
)  # fmt: skip
COLUMNS = ["study", "date", "commit", *KEYS, "change"]


def versions_file() -> Path:
    """`studies/versions.csv`."""
    return project_root() / "studies" / "versions.csv"


def read_versions(study: str) -> pd.DataFrame:
    """The published versions of a study, oldest first: `COLUMNS`, accuracies in percent.

    Raises:
        UserError: if the file is missing or lacks a column.
    """
    table = _read()
    return table[table.study == study].reset_index(drop=True)


def add_version(study: str, figures: Mapping[str, Mapping], commit: str) -> bool:
    """Add a version where a figure differs from the last one; whether one was added.

    A study without any version is not counted: nothing is claimed for synthetic faces.

    Args:
        study: of `params.yaml`.
        figures: by key, as published.
        commit: of the code that computed them.
    """
    table, known = _read(), read_versions(study)
    if known.empty or not changed(study, figures):
        return False
    values = {key: figures[key]["value"] for key in KEYS}
    row = {"study": study, "date": date.today().isoformat(), "commit": commit[:10], **values}
    table = pd.concat([table, pd.DataFrame([row | {"change": ""}])], ignore_index=True)
    table.to_csv(versions_file(), index=False, float_format="%.2f")
    return True


def changed(study: str, figures: Mapping[str, Mapping]) -> bool:
    """Whether figures differ from the last version of a study that has any."""
    known = read_versions(study)
    if known.empty:
        return False
    last = known.iloc[-1]
    return any(round(figures[key]["value"], 2) != round(last[key], 2) for key in KEYS)


def _read() -> pd.DataFrame:
    file = versions_file()
    try:
        table = pd.read_csv(file, keep_default_na=False, dtype={"commit": str})
    except (FileNotFoundError, pd.errors.ParserError, pd.errors.EmptyDataError):
        raise UserError(f"{file} is missing or damaged: `git checkout {file}`.") from None
    if missing := set(COLUMNS) - set(table.columns):
        raise UserError(f"{file} lacks {', '.join(sorted(missing))}: `git checkout {file}`.")
    return table
