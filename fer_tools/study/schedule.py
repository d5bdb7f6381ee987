"""`fer train STUDY` without a task: train all networks of a study, several in parallel.

`dvc repro` trains one network after the other. A network of 2.37 million parameters leaves most of
a large GPU idle, so here each network is trained in a separate process (`fer train STUDY TASK`),
which starts as soon as its initial weights and its teachers are trained. Afterwards `dvc repro`
runs the notebooks, which use the checkpoints.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

import torch
from tqdm import tqdm

from fer_lib.data.arrays import load_fer13
from fer_lib.errors import UserError
from fer_lib.evaluation.intensity import TASKS_WITH_INTENSITIES
from fer_lib.params import Study, load
from fer_lib.paths import build_folder, scratch_folder
from fer_lib.processes import usable_cores
from fer_lib.progress import PROGRESS_FILE, progress_bar
from fer_tools.study.train import PROGRESS_LINES


@dataclass(frozen=True)
class Job:
    """One run of `fer train STUDY TASK`.

    Attributes:
        task: see `tasks.prepare`.
        seed: a further seed; 0 is the seed of `params.yaml`.
        after: the jobs that must be finished before it starts.
    """

    task: str
    seed: int = 0
    after: tuple["Job", ...] = ()

    def __str__(self) -> str:
        return f"{self.task}-seed-{self.seed}" if self.seed else self.task


def jobs(settings: Study, votes: bool = True) -> list[Job]:
    """All runs of a study, each after those that provide its initial weights or soft targets.

    Args:
        settings: of the study.
        votes: whether its FER2013 has FER+ votes, the targets of two of the runs.
    """
    pretrain = Job("pretrain")
    teachers = tuple(Job(name) for name in settings.teachers.networks)
    sevens = [Job("fer13-7", seed, (pretrain, *teachers)) for seed in (0, *settings.further_seeds)]
    threes = [Job("fer13-3", seven.seed, (seven,)) for seven in sevens]
    intensity = [Job("ferplus-7", after=(sevens[0],)), Job("ferplus-7-vgg")]
    return [pretrain, *teachers, *sevens, *threes, *(intensity if votes else [])]


def default_at_once() -> int:
    """How many networks to train in parallel: enough for a large GPU, or one on a CPU."""
    return 4 if torch.cuda.is_available() else 1


def train_all(study: str, at_once: int, report: Callable[[str], None]) -> None:
    """Train every network of a study that has no finished checkpoint yet.

    The output of the runs goes to `.scratch/logs`. An interrupted run keeps its checkpoint, and the
    same command resumes all runs.

    Args:
        study: of `params.yaml`.
        at_once: number of parallel processes, at least 1; without a GPU they share the CPU's cores.
        report: called with a line for each finished network, and for what is left out.

    Raises:
        UserError: if a run fails, with its message; then no other run starts.
    """
    faces = build_folder(study) / "fer13.npz"  # if it is missing, the first run reports it
    votes = not faces.is_file() or load_fer13(faces).has_votes
    if not votes:
        report(f"There are no FER+ votes: {' and '.join(TASKS_WITH_INTENSITIES)} are left out.")
    listed = jobs(load(study), votes)
    graph = TopologicalSorter({job: job.after for job in listed})
    graph.prepare()
    ready, running = list[Job](), dict[Future[str], tuple[Job, subprocess.Popen]]()
    with (
        ThreadPoolExecutor(at_once) as pool,
        progress_bar(len(listed), f"{study}: networks", unit="network") as bar,
    ):
        progress = dict[str, str]()  # of each running job
        try:
            while graph.is_active():
                ready += graph.get_ready()
                while ready and len(running) < at_once:
                    job = ready.pop(0)
                    process = _start(study, job, at_once)
                    follower = pool.submit(_follow, study, job, process, progress, bar)
                    running[follower] = job, process
                for follower in wait(running, return_when=FIRST_COMPLETED).done:
                    report(follower.result())
                    graph.done(running.pop(follower)[0])
                    bar.update()
        finally:
            for _, process in running.values():
                process.terminate()


def _start(study: str, job: Job, at_once: int) -> subprocess.Popen:
    """Start a process that trains a network; it prints a JSON line for each epoch."""
    environment = os.environ | {PROGRESS_FILE: os.devnull, PROGRESS_LINES: "1"}
    if not torch.cuda.is_available():
        cores = max(usable_cores() // at_once, 1)  # more threads than cores are slower
        environment["OMP_NUM_THREADS"] = str(cores)
    arguments = ["train", study, job.task, "--seed", str(job.seed)]
    return subprocess.Popen(
        [sys.executable, "-m", "fer_tools.cli.main", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment,
    )  # fmt: skip


def _follow(
    study: str, job: Job, process: subprocess.Popen, progress: dict[str, str], bar: tqdm
) -> str:
    """Wait for a run; its output goes to its log, its progress to the bar.

    Returns:
        A line about the finished network.

    Raises:
        UserError: if the run failed, with its last line and its log.
    """
    begin, printed = time.monotonic(), ["It printed nothing."]
    log = log_file(study, job)
    log.parent.mkdir(parents=True, exist_ok=True)
    progress[str(job)] = "starting"
    with log.open("w", encoding="utf-8") as file:
        for line in process.stdout or ():
            file.write(line)
            file.flush()
            if line.startswith("{"):
                row = json.loads(line)
                progress[str(job)] = f"{row['epoch'] / row['epochs']:.0%}"
            else:
                printed.append(line.strip())
            bar.set_postfix_str(", ".join(f"{name} {p}" for name, p in dict(progress).items()))
    del progress[str(job)]
    if process.wait():
        reason = printed[-1].removeprefix("Error: ")
        raise UserError(f"{job} failed (its log: {log}): {reason} Then run the same command again.")
    return f"{job}, {time.monotonic() - begin:.0f} s: {printed[-2:][0]}"


def log_file(study: str, job: Job) -> Path:
    """The file with the output of a run."""
    return scratch_folder() / "logs" / f"{study}-{job}.txt"
