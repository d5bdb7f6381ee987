"""How long the sample study takes from a clean clone, stage by stage.

    python benchmarks/sample_study.py [--emulate-old-cpu] [--out reports/speed/sample_study.txt]

The last commit is cloned into a temporary folder, and `dvc repro` runs there as it would for a new
user whose packages are installed. Of each stage the seconds are told, and of those how many went by
in the cells of its notebook: the rest is the start of processes and the import of libraries. Memory
is what all processes of the run hold together, pages that they share counted for each.

With --emulate-old-cpu it runs a second time as on a processor without AVX-512 and bfloat16.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from fer_lib.precision import best_device, native_bfloat16
from fer_lib.speed import processor
from fer_lib.threads import usable_cores

ROOT = Path(__file__).resolve().parents[1]
OLD_CPU = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
LOOK_EVERY = 0.25  # seconds


@dataclass
class Measured:
    """One run: `stages` by name the seconds from its start to the next one's, `work` by the same
    name those in its cells, `total` seconds of the whole command, `peak` bytes of memory."""

    stages: dict[str, float] = field(default_factory=dict)
    work: dict[str, float] = field(default_factory=dict)
    total: float = 0.0
    peak: int = 0


def measure(folder: Path, more_environment: dict[str, str]) -> Measured:
    """Clone the project into `folder` and run the sample study there."""
    project, times = folder / "clone", folder / "times.tsv"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(project)], check=True)
    environment = os.environ | more_environment | {
        "FER_TIMES": str(times),
        "PYTHONPATH": str(project),  # the clone's fer_lib, not the installed one
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }  # fmt: skip
    measured, begin = Measured(), time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro"], cwd=project, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    threading.Thread(target=watch_memory, args=(process.pid, measured), daemon=True).start()
    stage, since = "", begin
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("Running stage"):
            now = time.monotonic()
            if stage:
                measured.stages[stage] = now - since
            stage, since = line.split("'")[1].rpartition(":")[2], now
            finished = times.read_text().splitlines() if times.exists() else []
            print(f"{now - begin:6.0f} s  {stage}", file=sys.stderr, flush=True)
            note_work(measured, finished)
    measured.stages[stage] = time.monotonic() - since
    measured.total = time.monotonic() - begin
    note_work(measured, times.read_text().splitlines())
    if process.wait():
        sys.exit(f"dvc repro ended with status {process.returncode} in {project}.")
    return measured


def note_work(measured: Measured, finished: list[str]) -> None:
    """The last line belongs to the stage that has just ended, if that ran a notebook at all."""
    if len(finished) > len(measured.work) and measured.stages:
        measured.work[list(measured.stages)[-1]] = float(finished[-1].split("\t")[1])


def watch_memory(pid: int, measured: Measured) -> None:
    """Keep the largest sum of the resident memory of a process and all that it started."""
    root = psutil.Process(pid)
    while root.is_running() and root.status() != psutil.STATUS_ZOMBIE:
        held = 0
        for process in [root, *root.children(recursive=True)]:
            try:
                held += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        measured.peak = max(measured.peak, held)
        time.sleep(LOOK_EVERY)


def as_text(measured: Measured, title: str) -> str:
    """A table, the slowest stage first."""
    lines = [title, f"{'stage':30}{'seconds':>9}{'start and import':>19}{'work':>8}"]
    for stage, seconds in sorted(measured.stages.items(), key=lambda item: -item[1]):
        work = measured.work.get(stage, 0.0)
        lines.append(f"{stage:30}{seconds:9.1f}{seconds - work:19.1f}{work:8.1f}")
    work, stages = sum(measured.work.values()), sum(measured.stages.values())
    lines.append(f"{'all stages':30}{stages:9.1f}{stages - work:19.1f}{work:8.1f}")
    lines.append(
        f"{'the whole command':30}{measured.total:9.1f}   peak memory {measured.peak / 1e9:.2f} GB"
    )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Command line; see above."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--emulate-old-cpu", action="store_true", help="a second run, as on AVX2")
    parser.add_argument("--out", type=Path, help="write the tables to this file as well")
    options = parser.parse_args()
    has = "with" if native_bfloat16(best_device()) else "without"
    computer = f"{processor()}, {usable_cores()} usable core(s)"
    runs = {f"{computer}, {has} native bfloat16": {}}
    if options.emulate_old_cpu:
        runs[f"{computer}, held to AVX2"] = OLD_CPU
    tables = []
    for title, environment in runs.items():
        with tempfile.TemporaryDirectory() as folder:
            tables.append(as_text(measure(Path(folder), environment), title))
        print(tables[-1], flush=True)
    if options.out:
        options.out.write_text("\n".join(tables))


if __name__ == "__main__":
    main()
