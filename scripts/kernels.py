"""Kernels that start immediately: forks of a process that has already imported the libraries.

A notebook's kernel needs about four seconds to import torch, pandas and matplotlib, and a study has
twenty notebooks. So the first notebook of a `dvc repro` starts a server, which imports them during
the first stage; the kernels of later stages are forks of it. The server ends with `dvc repro`.

Only on Linux: elsewhere a process that has loaded these libraries cannot be forked safely. If the
server is not ready, or disabled (FER_FORK=0), a kernel starts in the ordinary way.

    python scripts/kernels.py SOCKET PID     # run by `start`: serve until process PID has ended
"""

import contextlib
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from jupyter_client.provisioning import local_provisioner

from fer_lib.processes import runs
from fer_tools.processes import POLL

LIBRARIES = (
    "ipykernel.kernelapp", "ipykernel.ipkernel", "numpy", "pandas", "matplotlib.pyplot", "seaborn",
    "sklearn.metrics", "scipy.optimize", "torch", "lightning_fabric", "cv2",
)  # fmt: skip


class ForkedKernel:
    """A forked kernel, with the methods of `subprocess.Popen` that `jupyter_client` uses."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """None while it runs, then 0: it is not a child process, so its exit status is unknown."""
        if self.returncode is None and not runs(self.pid):
            self.returncode = 0
        return self.returncode

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait until it has ended."""
        while self.poll() is None:
            time.sleep(0.05)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, if the process exists."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


def use() -> None:
    """Make `jupyter_client` start kernels as forks, if this process was started by `dvc repro`."""
    parent = os.getppid()
    if sys.platform != "linux" or os.environ.get("FER_FORK") == "0" or not _is_dvc(parent):
        return
    ordinary = local_provisioner.launch_kernel

    def launch(command: list[str], **options: Any) -> Any:
        try:
            return fork(parent, command, options.get("env"))
        except OSError:  # not ready yet
            return ordinary(command, **options)

    local_provisioner.launch_kernel = launch  # type: ignore[assignment]
    start(parent)


def start(pid: int) -> None:
    """Start the server that ends with process `pid`, unless it exists; do not wait for it."""
    folder = _folder(pid)
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        subprocess.Popen(
            [sys.executable, __file__, str(folder / "socket"), str(pid)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip


def fork(pid: int, command: list[str], env: dict[str, str] | None) -> ForkedKernel:
    """Get a kernel for `command`, which contains "-m", from the server of process `pid`.

    Raises:
        OSError: if the server does not exist, is not ready yet, or belongs to another user.
    """
    if _folder(pid).stat().st_uid != os.getuid():
        raise PermissionError(f"{_folder(pid)} belongs to another user")
    request = {
        "arguments": command[command.index("-m") + 1 :], "folder": os.getcwd(),
        "environment": dict(os.environ if env is None else env), "client": os.getpid(),
    }  # fmt: skip
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(_folder(pid) / "socket"))
        with connection.makefile("rw") as stream:
            stream.write(json.dumps(request) + "\n")
            stream.flush()
            reply = stream.readline()
    if not reply:
        raise ConnectionError("the server ended")
    return ForkedKernel(int(reply))


def serve(path: Path, pid: int) -> None:
    """Load the libraries, then fork a kernel for every request, until process `pid` has ended."""
    threading.Thread(target=_end_with, args=(pid, path.parent), daemon=True).start()
    os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"  # as in a kernel
    for library in LIBRARIES:
        importlib.import_module(library)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # ended kernels do not become zombies
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    while True:
        connection, _ = listener.accept()
        with connection:
            request = json.loads(connection.makefile().readline())
            if os.fork() == 0:
                listener.close()
                _become_kernel(connection, request)


def _become_kernel(connection: socket.socket, request: dict) -> None:
    """In the fork: run `python -m ARGUMENTS`, and end with the client."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    os.environ.pop("JPY_PARENT_PID", None)  # it is not the kernel's parent
    sys.path[0] = ""  # as with -m
    sys.argv = request["arguments"]
    connection.sendall(f"{os.getpid()}\n".encode())
    connection.close()
    threading.Thread(target=_end_with, args=(request["client"],), daemon=True).start()
    try:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    finally:
        os._exit(0)


def _end_with(pid: int, folder: Path | None = None) -> None:
    """End this process when process `pid` has ended; remove the folder."""
    while runs(pid):
        time.sleep(POLL)
    if folder is not None:
        with contextlib.suppress(OSError):
            (folder / "socket").unlink(missing_ok=True)
            folder.rmdir()
    os._exit(0)


def _is_dvc(pid: int) -> bool:
    """Whether a process is a DVC command."""
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"dvc" in {argument.rpartition(b"/")[2] for argument in arguments}


def _folder(pid: int) -> Path:
    return Path(tempfile.gettempdir()) / f"fer-kernels-{os.getuid()}-{pid}"


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]))
