"""Kill commands at random moments, and check that the old or the new result is complete.

    python scripts/kill.py --video 120 --export 40 --site 20 --out reports/kills.txt
    python scripts/kill.py --study 20 --out reports/kills.txt   # minutes: runs the sample study

Each run is a separate process that gets SIGKILL after a random part of its usual time. Runs
alternate between two results, so that a mixture is detected. Checked after each kill:

- `fer video`: the files match the SHA-256 values in the summary. After a kill between two renames
  there is no summary, and the next run must complete the move.
- `fer export`: the file equals one of the two models, byte for byte.
- `fer site`: all files belong to one of the two sites; after a kill between two renames the older
  site is next to it, and the next run must restore it.
- `dvc repro` of the sample study (in a clone): after all kills and restarts, its figures equal
  those of a run that was never killed.

Processes are forked from this one, which has loaded the libraries, so that a kill happens during
the work and not during the start. The exit status is 1 if any result was incomplete.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from fer_lib.progress import progress_bar
from fer_tools.cli.main import app
from fer_tools.rtfer import analyze
from fer_tools.synthetic_faces.world import write_video

ROOT = Path(__file__).resolve().parents[1]
Inspection = Callable[[], str]  # the name of the result that exists, or what is wrong with it


def run(arguments: list[str], kill_after: float | None = None) -> float:
    """Run `fer` in a forked process; kill it after `kill_after` seconds.

    Returns:
        Its duration in seconds.
    """
    started = time.perf_counter()
    process = os.fork()
    if process == 0:
        status = 1
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
            try:
                app(arguments)
            except SystemExit as ended:
                status = int(ended.code or 0)
            finally:
                os._exit(status)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    if kill_after is None and status != 0:
        raise RuntimeError(
            f"fer {' '.join(arguments)} ended with {os.waitstatus_to_exitcode(status)}"
        )
    return time.perf_counter() - started


def kill_often(
    name: str, count: int, runs: dict[str, list[str]], inspect: Inspection, rng: random.Random
) -> Counter[str]:
    """Kill runs that replace one of two results by the other.

    Args:
        name: of the command, for the progress bar.
        count: number of kills.
        runs: from the name of a result to the arguments of its command.
        inspect: returns the name of the result that exists; anything else is a fault.
        rng: draws the moments.

    Returns:
        How often each result was found afterwards.
    """
    first, second = runs
    seconds = {}
    for result in (second, first):
        run(runs[result])  # the first run may create caches
        seconds[result] = run(runs[result])
        assert inspect() == result, f"{name}: {inspect()} after a complete run of {result}"
    found: Counter[str] = Counter()
    with progress_bar(count, name, unit="kill") as bar:
        for _ in range(count):
            before = inspect()
            result = second if before == first else first
            run(runs[result], rng.uniform(0, 1.05) * seconds[result])
            after = inspect()
            if after == "between":
                found["between, ended by the next run"] += 1
                run(runs[result])
                after = inspect()
            found["the new result" if after == result else
                  "the old result" if after == before else f"FAULT: {after}"] += 1  # fmt: skip
            bar.update()
    return found


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def kill_video(folder: Path, count: int, rng: random.Random) -> Counter[str]:
    """`fer video`, alternating between two videos."""
    runs = {}
    for seed, name in enumerate(("a", "b"), start=1):
        (folder / name).mkdir()
        write_video(folder / name, seed=seed, seconds=4)
        video = (folder / name / "sample.mp4").rename(folder / f"{name}.mp4")
        runs[video.name] = [
            "video", str(video), "--out", str(folder / "out"), "--overwrite", "--resume",
        ]  # fmt: skip
    out = folder / "out"

    def inspect() -> str:
        if not (out / "summary.json").exists():
            return "between" if (out / analyze.NEW / analyze.COMPLETE).exists() else "no summary"
        summary = json.loads((out / "summary.json").read_text())
        wrong = [file for file, digest in summary["files"].items() if sha256(out / file) != digest]
        others = {file.name for file in out.iterdir()} - {*analyze.FILES, analyze.NEW, analyze.LOCK}
        return f"{wrong} of another run, {others} left" if wrong or others else summary["input"]

    return kill_often("fer video", count, runs, inspect, rng)


def kill_export(folder: Path, count: int, rng: random.Random) -> Counter[str]:
    """`fer export`, alternating between two models, into one file."""
    target, known = folder / "model.onnx", {}
    runs = {m: ["export", "--model", m, "--out", str(target)] for m in ("fer13-7", "fer13-3")}
    for model, arguments in runs.items():
        run(arguments)
        known[sha256(target)] = model

    def inspect() -> str:
        return known.get(sha256(target), "neither of the two files")

    return kill_often("fer export", count, runs, inspect, rng)


def kill_site(folder: Path, count: int, rng: random.Random) -> Counter[str]:
    """`fer site`; an additional file marks the earlier site."""
    out = folder / "site"
    run(["site", "--out", str(out)])
    files = {file.relative_to(out) for file in out.rglob("*") if file.is_file()}
    runs = {"new": ["site", "--out", str(out)]}
    seconds, found = run(runs["new"]), Counter[str]()
    with progress_bar(count, "fer site", unit="kill") as bar:
        for _ in range(count):
            (out / "old.txt").write_text("of the older site")
            run(runs["new"], rng.uniform(0.5, 1.05) * seconds)
            if not out.exists():
                found["between, ended by the next run"] += 1
                run(runs["new"])
            after = {file.relative_to(out) for file in out.rglob("*") if file.is_file()}
            extra, missing = after - files, files - after
            if missing or extra - {Path("old.txt")}:
                found[f"FAULT: {len(missing)} files missing, {len(extra)} more"] += 1
            else:
                found["the old result" if extra else "the new result"] += 1
            bar.update()
    return found


def kill_study(folder: Path, count: int, rng: random.Random) -> Counter[str]:
    """`dvc repro` of the sample study in a clone, killed `count` times, then compared with a run
    that is not killed."""
    results = {}
    for name, kills in (("killed", count), ("whole", 0)):
        clone = folder / name
        subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
        command = [sys.executable, "-m", "dvc", "repro", "-q"]
        environment = os.environ | {
            "PYTHONPATH": str(clone),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }
        with progress_bar(kills, "dvc repro", unit="kill") as bar:
            for _ in range(kills):
                process = subprocess.Popen(
                    command, cwd=clone, env=environment, start_new_session=True
                )
                time.sleep(rng.uniform(2, 40))
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                bar.update()
        subprocess.run(command, cwd=clone, env=environment, check=True)
        report = clone / "build" / "sample" / "report" / "summary.json"
        results[name] = json.loads(report.read_text(encoding="utf-8"))
    same = results["killed"] == results["whole"]
    return Counter({"the figures of an unbroken run" if same else "FAULT: other figures": count})


KILLS = {"video": kill_video, "export": kill_export, "site": kill_site, "study": kill_study}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in KILLS:
        parser.add_argument(f"--{name}", type=int, default=0, metavar="N", help="kills")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="append the report to this file")
    options = parser.parse_args()
    lines = []
    for name, kill in KILLS.items():
        count = getattr(options, name)
        if count:
            folder = Path(tempfile.mkdtemp(prefix="fer-kill-"))
            try:
                found = kill(folder, count, random.Random(options.seed))
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            lines.append(f"{name}, {count} kills: " + ", ".join(
                f"{outcome} {times} times" for outcome, times in sorted(found.items())
            ))  # fmt: skip
            print(lines[-1], flush=True)
    if options.out is not None and lines:
        with options.out.open("a", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
    return int(any("FAULT" in line for line in lines))


if __name__ == "__main__":
    raise SystemExit(main())
