"""What `fer train STUDY` does without a task: all networks of a study, several at once.

Stage by stage, `dvc repro` trains one network after the other. A network of 2.37 million
parameters leaves most of a large GPU idle, so here each is a process of its own (`fer train STUDY
TASK`), begun as soon as the networks are there that it begins with or learns from. Afterwards
`dvc repro` runs the notebooks, which take the checkpoints over.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from fer_lib.data.arrays import load_fer13
from fer_lib.errors import UserError
from fer_lib.evaluation.intensity import TASKS_WITH_INTENSITIES
from fer_lib.params import Study, load
from fer_lib.paths import build_folder, scratch_folder
from fer_lib.processes import usable_cores
from fer_lib.progress import PROGRESS_FILE, progress_bar

LOOK_EVERY = 0.2  # seconds


@dataclass(frozen=True)
class Job:
    """One run of `fer train STUDY TASK`.

    Attributes:
        task: see `train_command.prepare`.
        seed: a further one; 0 is that of `params.yaml`.
        after: the jobs that must be finished before it begins.
    """

    task: str
    seed: int = 0
    after: tuple["Job", ...] = ()

    def __str__(self) -> str:
        return f"{self.task}-seed-{self.seed}" if self.seed else self.task


def jobs(settings: Study, votes: bool = True) -> list[Job]:
    """All runs of a study. Where not all can run at once, the first ones go first.

    Args:
        settings: of the study.
        votes: whether its FER2013 has FER+ votes, which two of the runs learn from.
    """
    pretrain = Job("pretrain")
    teachers = tuple(Job(name) for name in settings.teachers.networks)
    sevens = [Job("fer13-7", seed, (pretrain, *teachers)) for seed in (0, *settings.further_seeds)]
    threes = [Job("fer13-3", seven.seed, (seven,)) for seven in sevens]
    intensity = [Job("ferplus-7", after=(sevens[0],)), Job("ferplus-7-vgg")]
    return [pretrain, *teachers, *sevens, *threes, *(intensity if votes else [])]


def default_at_once() -> int:
    """How many networks to train side by side: what fills a large GPU, or one on a CPU."""
    return 4 if torch.cuda.is_available() else 1


def train_all(study: str, at_once: int, tell: Callable[[str], None]) -> None:
    """Train every network of a study whose checkpoint is not there yet.

    What a run prints goes to `.scratch/logs`. A killed run leaves its checkpoint, and the same
    command goes on with all of them.

    Args:
        study: of `params.yaml`.
        at_once: processes side by side, at least 1; without a GPU they share the CPU's cores.
        tell: is given a line for each network that is finished, and one for what is left out.

    Raises:
        UserError: if a run fails, with what it said and where; no other one is begun then.
    """
    faces = build_folder(study) / "fer13.npz"  # where it is missing, the first run says so
    votes = not faces.is_file() or load_fer13(faces).has_votes
    if not votes:
        tell(f"There are no FER+ votes: {' and '.join(TASKS_WITH_INTENSITIES)} are left out.")
    waiting, running, finished = jobs(load(study), votes), dict[Job, subprocess.Popen](), set[Job]()
    started, shown = dict[Job, float](), ""
    try:
        with progress_bar(len(waiting), f"{study}: networks", unit="network") as bar:
            while waiting or running:
                ready = [job for job in waiting if finished.issuperset(job.after)]
                for job in ready[: at_once - len(running)]:
                    waiting.remove(job)
                    running[job], started[job] = _start(study, job, at_once), time.monotonic()
                doing = ", ".join(f"{job} {_percent(_bar(study, job))}" for job in running)
                if doing != shown:
                    bar.set_postfix_str(doing)
                    shown = doing
                time.sleep(LOOK_EVERY)
                for job in [job for job, process in running.items() if process.poll() is not None]:
                    if running.pop(job).returncode:
                        reason = _line(_log(study, job), -1).removeprefix("Error: ")
                        raise UserError(
                            f"{job} failed (all it said: {_log(study, job)}): {reason} "
                            "Then the same command goes on."
                        )
                    finished.add(job)
                    bar.update()
                    seconds = time.monotonic() - started[job]
                    bar.clear()
                    tell(f"{job}, {seconds:.0f} s: {_line(_log(study, job), -2)}")
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.wait()


def _log(study: str, job: Job) -> Path:
    return scratch_folder() / "logs" / f"{study}-{job}.txt"


def _bar(study: str, job: Job) -> Path:
    return _log(study, job).with_suffix(".bar")


def _start(study: str, job: Job, at_once: int) -> subprocess.Popen:
    """A process that trains a network; what it prints goes to its log."""
    log, bar = _log(study, job), _bar(study, job)
    log.parent.mkdir(parents=True, exist_ok=True)
    bar.unlink(missing_ok=True)
    environment = os.environ | {PROGRESS_FILE: str(bar)}
    if not torch.cuda.is_available():
        cores = max(usable_cores() // at_once, 1)  # more threads than cores are slower
        environment["OMP_NUM_THREADS"] = str(cores)
    command = [sys.executable, "-m", "fer_tools.cli.main", "train", study, job.task]
    with log.open("w") as file:
        return subprocess.Popen(
            [*command, "--seed", str(job.seed)], stdout=file, stderr=file, env=environment
        )


def _line(log: Path, which: int) -> str:
    lines = log.read_text().splitlines() or ["It said nothing."]
    return lines[max(which, -len(lines))]


def _percent(bar: Path) -> str:
    """How far a run's own bar is, by its file's end: the file grows all the while."""
    if not bar.is_file():
        return "begins"
    with bar.open("rb") as file:
        file.seek(max(bar.stat().st_size - 1000, 0))
        drawn = re.findall(rb"(\d+%)\|", file.read())
    return drawn[-1].decode() if drawn else "begins"
