"""Processes that train, forked from one in which torch is imported once for all.

Two on one CPU that train together, as torchrun would start them; and `fer` as a process.
"""

import multiprocessing
import os
import signal
import socket
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from fer_lib.training import checkpoints
from fer_lib.training.tasks import prepare
from fer_tools.cli.main import app
from fer_tools.study import train

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["fer_tools.study.train", "fer_tools.course.grader"])


def environment(rank: int, port: int) -> dict[str, str]:
    """What torchrun sets for process `rank` of two on this machine."""
    return {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2",
        "GROUP_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": "test",
    }  # fmt: skip


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _process(rank: int, port: int, roots: list[Path], task: str, dies_after: int) -> None:
    """Train in each project in turn; in the last one process 0 dies once an epoch is saved."""
    os.environ |= environment(rank, port)
    torch.set_num_threads(1)
    torch.cuda.device_count = lambda: 0
    checkpoints.SAVE_EVERY = 0
    save = checkpoints.Checkpoint.save

    def save_and_die(run, finished):
        save(run, finished)
        if run.epoch == dies_after and run.path.is_relative_to(roots[-1]):
            os.kill(os.getpid(), signal.SIGKILL)

    checkpoints.Checkpoint.save = save_and_die  # type: ignore[method-assign]
    for root in roots:
        os.chdir(root)
        run = prepare("sample", task)
        fitted = train.train(run, train.connect(run.settings))
        state = {"model": dict(run.model.named_parameters()), "history": fitted.history}
        torch.save(state, root / f"{task}-{rank}.pt")
    torch.distributed.destroy_process_group()


def train_pair(roots: list[Path], task: str, dies_after: int = 0) -> list[int | None]:
    """Exit statuses of the two; what each ended with lies in its project as TASK-RANK.pt."""
    port = free_port()
    pair = [
        CONTEXT.Process(target=_process, args=(rank, port, roots, task, dies_after))
        for rank in range(2)
    ]
    for process in pair:
        process.start()
    pair[0].join()
    if dies_after:
        pair[1].kill()
    pair[1].join()
    return [process.exitcode for process in pair]


def _fer(words: list[str], output: Connection) -> None:
    """Run `fer`; what it prints goes to a pipe, and its status becomes that of the process."""
    for stream in (1, 2):
        os.dup2(output.fileno(), stream)
    torch.set_num_threads(1)
    app(words)


class Forked:
    """`fer` with some words as a process; acts like the `subprocess.Popen` of it."""

    def __init__(self, words: list[str]):
        reader, writer = CONTEXT.Pipe(duplex=False)
        self.process = CONTEXT.Process(target=_fer, args=(words, writer))
        self.process.start()
        writer.close()
        self.stdout = os.fdopen(os.dup(reader.fileno()))

    def terminate(self) -> None:
        self.process.terminate()

    def wait(self) -> int | None:
        self.process.join()
        return self.process.exitcode
