"""What Linux says of other processes."""

import time
from pathlib import Path


def gone(process: int, within: float) -> bool:
    """Whether a process ends within some seconds; a zombie, which nobody waits for, has ended."""
    until = time.monotonic() + within
    while True:
        try:
            state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z" or time.monotonic() > until:
            return state == "Z"
        time.sleep(0.1)
