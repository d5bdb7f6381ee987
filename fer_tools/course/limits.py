"""What code of others may use while `fer check` runs it.

This guards against accidents: endless loops, lists without end, files that fill the disk, a
forgotten download. It is no prison: the code runs as the user who called `fer check`, and may read
and change that user's files. Answers of people you do not trust belong in a container or a virtual
machine.
"""

import ctypes
import os
import sys
from contextlib import suppress
from pathlib import Path

MEMORY = 6 * 2**30  # bytes of data that the process may hold; PyTorch alone takes about one
FILE = 100 * 2**20  # bytes of each file that it writes
NEW_USER, NEW_NETWORK = 0x10000000, 0x40000000  # CLONE_NEWUSER, CLONE_NEWNET of Linux


def limit_this_process() -> None:
    """Limit memory and the size of files, and take the network away, where the system can.

    Linux can do all of it, macOS the sizes of files, Windows nothing.
    """
    with suppress(ImportError):
        import resource

        for kind, most in (("RLIMIT_DATA", MEMORY), ("RLIMIT_FSIZE", FILE)):
            with suppress(OSError, ValueError):
                resource.setrlimit(getattr(resource, kind), (most, most))
    _leave_the_network()


def _leave_the_network() -> None:
    """Go where there is no network card; the user, seen from there, stays the same."""
    if sys.platform != "linux":
        return
    user, group = os.getuid(), os.getgid()
    # `os.unshare` came with Python 3.12.
    if ctypes.CDLL(None).unshare(NEW_USER | NEW_NETWORK) != 0:  # some systems do not allow it
        return
    for name, text in (
        ("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1"),
    ):  # fmt: skip
        with suppress(OSError):
            Path("/proc/self", name).write_text(text)
