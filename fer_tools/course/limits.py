"""Limits on memory, files and the network for the code that `fer check` runs.

They protect against accidents: endless loops, endless lists, files that fill the disk, a download
left in the code. They are not a sandbox: the code runs as the user who called `fer check`, and may
read and change that user's files. Run answers of people you do not trust in a container or a
virtual machine.
"""

import ctypes
import os
import sys
from contextlib import suppress
from pathlib import Path

MEMORY = 6 * 2**30  # bytes of data of the process; PyTorch alone needs about 2**30
FILE = 100 * 2**20  # bytes of each file that it writes
NEW_USER, NEW_NETWORK = 0x10000000, 0x40000000  # CLONE_NEWUSER, CLONE_NEWNET of Linux


def limit_this_process() -> None:
    """Limit memory and file sizes, and disable the network, as far as the system supports it.

    Linux supports all of it, macOS the file sizes, Windows nothing.
    """
    with suppress(ImportError):
        import resource

        for kind, limit in (("RLIMIT_DATA", MEMORY), ("RLIMIT_FSIZE", FILE)):
            with suppress(OSError, ValueError):
                resource.setrlimit(getattr(resource, kind), (limit, limit))
    _disable_network()


def _disable_network() -> None:
    """Move to a new network namespace without devices; the user ids stay the same."""
    if sys.platform != "linux":
        return
    user, group = os.getuid(), os.getgid()
    # `os.unshare` needs Python 3.12.
    if ctypes.CDLL(None).unshare(NEW_USER | NEW_NETWORK) != 0:  # not permitted on some systems
        return
    for name, text in (
        ("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1"),
    ):  # fmt: skip
        with suppress(OSError):
            Path("/proc/self", name).write_text(text)
