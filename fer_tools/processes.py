"""A process that ends when the one that started it is gone."""

import os
import signal
import threading
import time

POLL = 0.5  # seconds
PATIENCE = 5.0  # seconds between asking a process to end and ending it


def end_with_parent() -> None:
    """From now on this process ends (SIGTERM, after a while SIGKILL) when its parent is gone.

    A killed `dvc repro` would leave its notebook running otherwise, beside that of the next run. On
    Windows, where a parent's end does not show, nothing happens.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(POLL)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(PATIENCE)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="end with parent", daemon=True).start()
