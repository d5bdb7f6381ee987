"""Two processes on one CPU that train together, as torchrun would start them."""

import multiprocessing
import os
import signal
import socket
from pathlib import Path

import torch

from fer_lib import train_command, training


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
    training.SAVE_EVERY = 0
    save = training._save

    def save_and_die(path, epoch, *state):
        save(path, epoch, *state)
        if epoch == dies_after and path.is_relative_to(roots[-1]):
            os.kill(os.getpid(), signal.SIGKILL)

    training._save = save_and_die
    for root in roots:
        os.chdir(root)
        run = train_command.prepare("sample", task)
        fitted = train_command.train(run, train_command.connect(run.settings))
        state = {"model": dict(run.model.named_parameters()), "history": fitted.history}
        torch.save(state, root / f"{task}-{rank}.pt")
    torch.distributed.destroy_process_group()


def train_pair(roots: list[Path], task: str, dies_after: int = 0) -> list[int | None]:
    """Exit statuses of the two; what each ended with lies in its project as TASK-RANK.pt."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["fer_lib.train_command"])  # torch is imported once for all
    port = free_port()
    pair = [
        context.Process(target=_process, args=(rank, port, roots, task, dies_after))
        for rank in range(2)
    ]
    for process in pair:
        process.start()
    pair[0].join()
    if dies_after:
        pair[1].kill()
    pair[1].join()
    return [process.exitcode for process in pair]
