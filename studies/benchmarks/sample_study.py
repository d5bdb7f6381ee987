"""How long the sample study takes from a clean clone, stage by stage.

    python studies/benchmarks/sample_study.py --emulate-old-cpu --out reports/speed/sample_study.txt

The last commit is cloned into a temporary folder, and `dvc repro` runs there as for a new user with
the packages installed. The table has the seconds of each stage, and the part spent in the cells of
its notebook: the remaining time is the start of processes, the import of libraries, and DVC's
bookkeeping. Run it on an otherwise idle machine. Memory is the total of all processes; on Linux,
pages that they share count once.

With --emulate-old-cpu it runs a second time as on a processor without AVX-512 and bfloat16.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from fer_lib.precision import best_device, native_bfloat16
from fer_lib.processes import usable_cores
from fer_tools.timing.speed import processor

ROOT = Path(__file__).resolve().parents[2]
OLD_CPU = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
MEMORY_INTERVAL = 0.5  # seconds


@dataclass
class Measured:
    """The result of one run.

    Attributes:
        stages: from stage to the seconds from its start to the start of the next one.
        work: from stage to the seconds in the cells of its notebook.
        total: seconds of the whole command.
        peak: bytes of memory.
    """

    stages: dict[str, float] = field(default_factory=dict)
    work: dict[str, float] = field(default_factory=dict)
    total: float = 0.0
    peak: int = 0


def measure(folder: Path, more_environment: dict[str, str]) -> Measured:
    """Clone the project into `folder` and run the sample study there."""
    project, times = folder / "clone", folder / "times.tsv"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(project)], check=True)
    # Compiled modules are kept, as on a user's computer; some containers switch that off.
    kept = {name: v for name, v in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment = kept | more_environment | {
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
    stage, since = "before the first stage", begin
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("Running stage"):
            now = time.monotonic()
            note(measured, stage, now - since, times)
            stage, since = line.split("'")[1].rpartition(":")[2], now
            print(f"{now - begin:6.0f} s  {stage}", file=sys.stderr, flush=True)
    process.wait()
    measured.total = time.monotonic() - begin
    note(measured, stage, time.monotonic() - since, times)
    if "sample" not in measured.stages:
        sys.exit(f"dvc repro ended in {stage}: run it by hand in a clone to see why.")
    return measured


def note(measured: Measured, stage: str, seconds: float, times: Path) -> None:
    """Store the times of a stage that has ended; `times` has a line for each notebook that ran."""
    measured.stages[stage] = seconds
    finished = times.read_text().splitlines() if times.exists() else []
    if len(finished) > len(measured.work):
        measured.work[stage] = float(finished[-1].split("\t")[1])


def watch_memory(pid: int, measured: Measured) -> None:
    """Keep the peak memory of a process and all its descendants."""
    root = psutil.Process(pid)
    while root.is_running() and root.status() != psutil.STATUS_ZOMBIE:
        held = 0
        for process in family(root):
            try:
                memory = process.memory_full_info()
                held += getattr(memory, "pss", memory.rss)  # a share of each shared page
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        measured.peak = max(measured.peak, held)
        time.sleep(MEMORY_INTERVAL)


def family(root: psutil.Process) -> list[psutil.Process]:
    """A process, its descendants, and the forked kernels (`scripts/kernels.py`)."""
    servers = [
        process for process in psutil.process_iter(["cmdline"])
        if (process.info["cmdline"] or [""])[-1] == str(root.pid)
    ]  # fmt: skip
    with suppress(psutil.NoSuchProcess):
        return [p for start in (root, *servers) for p in [start, *start.children(recursive=True)]]
    return []


def as_text(measured: Measured, title: str) -> str:
    """A table with one line per stage, in the order in which they ran."""
    lines = [title, f"{'stage':34}{'seconds':>8}{'start and import':>18}{'work':>7}"]
    for stage, seconds in measured.stages.items():
        work = measured.work.get(stage, 0.0)
        lines.append(f"{stage:34}{seconds:8.1f}{seconds - work:18.1f}{work:7.1f}")
    work = sum(measured.work.values())
    lines.append(
        f"{'the whole command':34}{measured.total:8.1f}{measured.total - work:18.1f}{work:7.1f}"
    )
    return "\n".join([*lines, f"peak memory {measured.peak / 1e9:.2f} GB"]) + "\n"


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
