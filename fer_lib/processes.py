"""Which processes are there, and how many cores this one may use."""

import os
from pathlib import Path

TOPOLOGY = Path("/sys/devices/system/cpu")
QUOTA = Path("/sys/fs/cgroup/cpu.max")


def runs(process: int) -> bool:
    """Whether a process of this number is there; on Windows, where asking may end it, always."""
    if os.name == "nt":
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # there, and somebody else's
        return True
    return True


def usable_cores() -> int:
    """Physical cores that this process may use, at least 1.

    Fewer than the computer has where a container, a batch system or `taskset` allows fewer: more
    threads than cores wait for each other. Two hardware threads of one core count once, for they
    share the units that multiply.
    """
    if not hasattr(os, "sched_getaffinity"):  # macOS, Windows
        return os.cpu_count() or 1
    cores = {_core(processor) for processor in os.sched_getaffinity(0)}
    return max(min(len(cores), _quota()), 1)


def _core(processor: int) -> str:
    """What the hardware threads of one core have in common."""
    try:
        return (TOPOLOGY / f"cpu{processor}" / "topology" / "thread_siblings_list").read_text()
    except OSError:
        return str(processor)


def _quota() -> int:
    """Cores' worth of time that Linux grants this container; as many as one likes without limit."""
    try:
        microseconds, period = QUOTA.read_text().split()
        return int(microseconds) // int(period)
    except (OSError, ValueError):  # no such file; "max 100000"
        return os.cpu_count() or 1
