"""What `fer video` does: a video in, a folder with line, annotated video, page and summary out."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from filelock import FileLock, Timeout

from fer_lib.errors import UserError
from fer_lib.plots.style import use_style
from fer_lib.progress import progress_bar
from fer_tools.inference.backend import ValenceSource
from fer_tools.inference.recognizer import Recognizer
from fer_tools.outputs import readable, reason, refuse_inputs, short
from fer_tools.rtfer import plots, session
from fer_tools.rtfer.camera import camera_frames
from fer_tools.rtfer.detectors import find_detector
from fer_tools.rtfer.engine import SMALLEST, Engine, FaceObservation, analyze
from fer_tools.rtfer.html_report import write_page
from fer_tools.rtfer.valence import save_line
from fer_tools.rtfer.video_reader import SUFFIXES, Frame, video_info
from fer_tools.rtfer.video_writer import AnnotatedVideo

FILES = ("valence.csv", "annotated.mp4", "valence.png", "valence.html", "summary.json")
LEAST_SECONDS = 1.0  # a face seen for less is in the csv only: mostly a false find
LOCK, NEW = ".fer-video.lock", ".fer-video-new"


@dataclass(frozen=True)
class Settings:
    """The choices of one run, as they stand in summary.json.

    Attributes:
        detector: "haar" or "yunet".
        smoothing_seconds, every: see `engine.Engine`.
        annotate: whether to write the annotated video.
        valence_from: see `engine.Engine`.
    """

    detector: str = "haar"
    smoothing_seconds: float = 0.4
    every: int = 1
    annotate: bool = True
    valence_from: ValenceSource = "classes"


def find_videos(source: str, out: Path) -> list[tuple[Path | int, Path]]:
    """The videos to analyze, and the folder of each one's results.

    Args:
        source: a video file, a folder (its videos and those of its subfolders, each with a folder
            of its own under `out`), or the number of a camera.
        out: folder for the results. What an earlier run wrote is never taken for input.

    Raises:
        UserError: if there is no such file, no video in the folder, or a result would replace a
            video that is to be read.
    """
    path = Path(source)
    if not path.exists() and source.isdecimal():
        return [(int(source), out)]
    if not path.is_dir():
        if not path.exists():
            raise UserError(
                f"{short(source)} does not exist: check the spelling, or name a camera by 0."
            )
        refuse_inputs(out, FILES, [path])
        return [(path, out)]
    inside = [
        file
        for file in sorted(path.rglob("*"))
        if file.suffix.lower() in SUFFIXES
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(path).parts)
        and not _is_result(file)
    ]
    if not inside:
        raise UserError(f"{path} holds no video: name a folder with .mp4, .mov, .mkv or the like.")
    targets = [(out / file.relative_to(path)).with_suffix("") for file in inside]
    videos = [
        (file, target if targets.count(target) == 1 else out / file.relative_to(path))
        for file, target in zip(inside, targets, strict=True)
    ]
    for _, target in videos:
        refuse_inputs(target, FILES, inside)
    return list(videos)


def _is_result(file: Path) -> bool:
    """Whether a run wrote this file: it lies beside a summary, under a result's name."""
    return file.name in FILES and (file.parent / "summary.json").is_file()


def run(
    source: Path | int,
    out: Path,
    recognizer: Recognizer,
    settings: Settings,
    *,
    frames: Callable[[int], Iterator[Frame]] = camera_frames,
) -> dict:
    """Analyze one video and write `FILES` into `out`.

    A video that is cut short, or broken off with Ctrl-C, gives the files for what could be read,
    and `ended` in the summary says so.

    Args:
        source: a video file, or a camera's number.
        out: folder, made where missing; older results in it are replaced.
        frames: of a camera.

    Returns:
        What stands in summary.json.

    Raises:
        UserError: if the video cannot be read, or `out` cannot be written or is in use by
            another run.
    """
    detector = find_detector(settings.detector, smallest=SMALLEST)
    engine = Engine(
        recognizer,
        detector,
        every=settings.every,
        smoothing_seconds=settings.smoothing_seconds,
        valence_from=settings.valence_from,
    )
    name = f"camera {source}" if isinstance(source, int) else readable(source.name)
    info = None if isinstance(source, int) else video_info(source)
    rate = (info and info.frames_per_second) or 25.0
    with _locked(out), ExitStack() as stack:
        bar = stack.enter_context(progress_bar(info.frames if info else 0, name, unit="frame"))
        seconds = info.frames / rate if info else 0.0
        new = stack.enter_context(_new_results(out))
        annotated = stack.enter_context(AnnotatedVideo(new / "annotated.mp4", seconds, rate))

        def on_frame(frame: Frame, faces: list[FaceObservation]) -> None:
            if settings.annotate:
                annotated.add(frame, faces)
            bar.update()

        frames_or_path = frames(source) if isinstance(source, int) else source
        table = analyze(frames_or_path, engine, on_frame=on_frame)
        annotated.close()
        bar.close()
        elapsed = bar.format_dict["elapsed"]
        summary = _summary(name, table, engine, settings, elapsed)
        _write(new, table, summary, name)
        _replace_results(new, out)
    return summary


def describe_faces(table: pd.DataFrame) -> dict[int, dict]:
    """`session.describe` of each face seen for a second, or else of the longest seen."""
    lines = session.lines(table)
    facts_by_face = {face: session.describe(line) for face, line in lines.items()}
    seen = {face: facts["seconds_seen"] for face, facts in facts_by_face.items()}
    longest = max(seen.values(), default=0)
    return {
        face: facts
        for face, facts in facts_by_face.items()
        if seen[face] >= LEAST_SECONDS or seen[face] == longest
    }


def without_brief_faces(table: pd.DataFrame, facts_by_face: dict[int, dict]) -> pd.DataFrame:
    """The rows to draw: those of the faces in `describe_faces`, and those without a face."""
    return table[table.face_id.isna() | table.face_id.isin(list(facts_by_face))]


def _summary(
    name: str, table: pd.DataFrame, engine: Engine, settings: Settings, elapsed: float
) -> dict:
    facts_by_face = describe_faces(table)
    frames = table.drop_duplicates("frame")
    seconds = float(frames.time_s.iloc[-1] - frames.time_s.iloc[0])
    card = engine.recognizer.card
    return {
        "input": name,
        "ended": table.attrs["ended"],
        "frames": len(frames),
        "seconds": round(seconds, 3),
        "frames_per_second": round((len(frames) - 1) / seconds, 3) if seconds > 0 else None,
        "frames_without_face": int((~table.face_found).sum()),
        "faces": {str(face): facts for face, facts in facts_by_face.items()},
        "brief_finds": int(table.face_id.nunique()) - len(facts_by_face),
        "in_words": {
            str(face): session.summarize(facts) for face, facts in facts_by_face.items()
        },
        "caveat": session.CAVEAT,
        "model": {"task": card.task, "study": card.study, "classes": list(card.classes),
                  "commit": card.commit, "file": str(engine.recognizer.path)},
        "parameters": asdict(settings) | {"margin": engine.margin, "smallest_face": SMALLEST},
        "analysed_frames_per_second": round(len(frames) / max(elapsed, 1e-9), 1),
    }  # fmt: skip


def report(summary: dict, out: Path) -> str:
    """A few lines for the terminal."""
    lines = [f"{summary['input']}: {summary['frames']} frames, results in {out}"]
    if summary["ended"] == "interrupted":
        lines.append("Stopped early: the results hold what was seen until then.")
    elif summary["ended"] != "whole":
        lines.append(f"{summary['ended']}; the results hold those.")
    if not summary["faces"]:
        lines.append("No face was seen in it.")
    for face, text in summary["in_words"].items():
        lines.append(f"Face {face}: {text}")
    return "\n".join(lines)


# ------------------------------------------------------------------------------------- the folder


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Hold the folder's lock while a run goes on; the lock goes with the process that holds it."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = FileLock(out / LOCK, timeout=0)
        lock.acquire()
    except Timeout:
        raise UserError(
            f"{out} is in use by another run: wait for its end, or name another folder."
        ) from None
    except OSError as error:
        raise _unwritable(out, error) from None
    try:
        yield
    finally:
        with suppress(OSError):  # before it is let go, or it might be another's
            (out / LOCK).unlink()
        lock.release()


@contextmanager
def _new_results(out: Path) -> Iterator[Path]:
    """A folder in `out` in which a run's files come to be; nothing of it stays."""
    new = out / NEW
    shutil.rmtree(new, ignore_errors=True)  # of a run that was killed
    try:
        new.mkdir()
    except OSError as error:
        raise _unwritable(out, error) from None
    try:
        yield new
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _replace_results(new: Path, out: Path) -> None:
    """Put one run's files in the place of another's.

    The summary is removed first and comes last: wherever this is cut short, files without a summary
    show that they may be of two videos.
    """
    try:
        (out / "summary.json").unlink(missing_ok=True)
        for name in FILES:
            if (new / name).exists():
                os.replace(new / name, out / name)
            else:
                (out / name).unlink(missing_ok=True)
    except OSError as error:
        raise _unwritable(out, error) from None


def _write(out: Path, table: pd.DataFrame, summary: dict, name: str) -> None:
    """All files but the annotated video, into the folder of `_new_results`."""
    facts_by_face = {int(face): facts for face, facts in summary["faces"].items()}
    shown = without_brief_faces(table, facts_by_face)
    try:
        save_line(table, out / "valence.csv")
        _save_plot(shown, out / "valence.png")
        write_page(shown, facts_by_face, out / "valence.html", name)
        text = json.dumps(summary, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        (out / "summary.json").write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise _unwritable(out, error) from None


def _save_plot(table: pd.DataFrame, path: Path) -> None:
    use_style()
    figure = plots.line_plot(table)
    figure.savefig(path, format="png", dpi=110, bbox_inches="tight")
    plt.close(figure)


def _unwritable(out: Path, error: OSError) -> UserError:
    return UserError(
        f"{short(out)} cannot be written ({reason(error)}): name a folder with room in it."
    )
