"""A process that ends with the one that started it."""

import os
import signal
import threading
import time

LOOK_EVERY = 0.5  # seconds
PATIENCE = 5.0  # seconds between asking a process to end and ending it


def end_with_parent() -> None:
    """From now on this process ends (SIGTERM, after a while SIGKILL) when its parent is gone.

    A killed `dvc repro` would leave its notebook running otherwise, beside that of the next run. On
    Windows, where a parent's end does not show, nothing happens.
    """
    parent = os.getppid()

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_EVERY)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(PATIENCE)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=look, name="end with parent", daemon=True).start()
