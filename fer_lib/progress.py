"""A progress bar that reaches the terminal also from inside an executed notebook.

Papermill keeps a cell's output for the notebook. `scripts/run_nb.py` names a file in the variable
below and copies what is written there to the terminal: the bar moves, the notebook stays clean.
"""

import os
import sys
from typing import TextIO

from tqdm import tqdm

PROGRESS_FILE = "FER_PROGRESS_FILE"


def progress_stream() -> TextIO:
    """Where bars are drawn: the runner's file, or standard error."""
    path = os.environ.get(PROGRESS_FILE)
    return open(path, "a", buffering=1) if path else sys.stderr


def progress_bar(total: int, title: str, unit: str = "it", disable: bool = False) -> tqdm:
    """A bar with rate and time left; close it, or use it in a `with`. None where disabled."""
    return tqdm(
        total=total,
        desc=title,
        unit=unit,
        file=progress_stream(),
        mininterval=0.5,
        dynamic_ncols=True,
        disable=disable,
    )
