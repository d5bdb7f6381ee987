"""What `fer video` does: a video in, a folder with line, annotated video, page and summary out.

While a run works, everything lies in `NEW` within the folder, and its journal says what was found
so far. Results take the place of older ones together, `summary.json` last; it lists the files that
belong to it with their SHA-256. A run that was broken off leaves its journal for `--resume`.
"""

import hashlib
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
from fer_tools.rtfer.columns import describe_columns
from fer_tools.rtfer.defaults import DETECTOR, EVERY, SMALLEST_FACE, SMOOTHING_SECONDS
from fer_tools.rtfer.detectors import find_detector
from fer_tools.rtfer.engine import Engine, FaceObservation, analyze
from fer_tools.rtfer.html_report import write_page
from fer_tools.rtfer.journal import Journal
from fer_tools.rtfer.valence import save_line
from fer_tools.rtfer.video_reader import SUFFIXES, Frame, video_info
from fer_tools.rtfer.video_writer import AnnotatedVideo

FILES = (
    "valence.csv", "columns.md", "annotated.mp4", "valence.png", "valence.html", "summary.json",
)  # fmt: skip
LOOK_EVERY = 5.0  # seconds between two frames in which smaller faces are looked for ...
SMALLER = 0.4  # ... down to this share of the smallest face
MANY = 0.2  # of these frames: fewer may be false finds, and are not reported
LEAST_SECONDS = 1.0  # a face seen for less is in the csv only: mostly a false find
LOCK, NEW = ".fer-video.lock", ".fer-video-new"
JOURNAL, COMPLETE = "journal.jsonl", "complete"  # in NEW; the second: only the move is missing


@dataclass(frozen=True)
class Settings:
    """The choices of one run, as they stand in summary.json.

    Attributes:
        detector: "haar" or "yunet".
        smoothing_seconds, every: see `engine.Engine`.
        annotate: whether to write the annotated video.
        valence_from: see `engine.Engine`.
        smallest_face: share of the frame's shorter side; smaller faces are not looked for.
    """

    detector: str = DETECTOR
    smoothing_seconds: float = SMOOTHING_SECONDS
    every: int = EVERY
    annotate: bool = True
    valence_from: ValenceSource = "classes"
    smallest_face: float = SMALLEST_FACE


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
    resume: bool = False,
    overwrite: bool = False,
    frames: Callable[[int], Iterator[Frame]] = camera_frames,
) -> dict:
    """Analyze one video and write `FILES` into `out`.

    A video that is cut short, or broken off with Ctrl-C, gives the files for what could be read,
    and `ended` in the summary says so. Where the disk is too full for the annotated video the other
    files are written, and `not_written` says so.

    Args:
        source: a video file, or a camera's number.
        out: folder, made where missing; older results of the same video in it are replaced.
        resume: go on where an earlier run of this input, with this model and these settings, was
            broken off; where it was not, its summary is given back.
        overwrite: replace results of another video, or of a camera.
        frames: of a camera.

    Returns:
        What stands in summary.json.

    Raises:
        UserError: if the video cannot be read, `out` cannot be written, is in use by another run
            or holds another video's results, or `resume` finds a run with other settings.
    """
    engine = Engine(
        recognizer,
        find_detector(settings.detector, smallest=settings.smallest_face),
        every=settings.every,
        smoothing_seconds=settings.smoothing_seconds,
        valence_from=settings.valence_from,
    )
    name = f"camera {source}" if isinstance(source, int) else readable(source.name)
    info = None if isinstance(source, int) else video_info(source)
    rate = (info and info.frames_per_second) or 25.0
    with _locked(out), ExitStack() as stack:
        _finish_replacing(out)
        identity = _identity(source, recognizer, settings)
        earlier = _earlier_summary(out)
        if resume and earlier.get("ended") == "whole" and earlier.get("run") == identity:
            return earlier
        if not overwrite:
            _refuse_other_results(out, earlier, identity)
        new = _folder_for_new_results(out, keep=resume)
        journal = Journal(new / JOURNAL, identity, resume=resume)
        stack.callback(_tidy, new, journal)
        bar = stack.enter_context(progress_bar(info.frames if info else 0, name, unit="frame"))
        seconds = info.frames / rate if info else 0.0
        annotated = stack.enter_context(AnnotatedVideo(new / "annotated.mp4", seconds, rate))
        not_written: list[str] = []
        smaller = _SmallerFaces(settings)

        def on_frame(frame: Frame, faces: list[FaceObservation]) -> None:
            if settings.annotate and not not_written:
                try:
                    annotated.add(frame, faces)
                except UserError as error:
                    not_written.append(str(error))
                    annotated.discard()  # makes room for the table
            smaller.add_frame(frame)
            bar.update()

        table = analyze(
            frames(source) if isinstance(source, int) else source,
            engine,
            on_frame=on_frame,
            journal=None if isinstance(source, int) else journal,
        )
        if not not_written:
            try:
                annotated.close()
            except UserError as error:
                not_written.append(str(error))
        bar.close()
        summary = _summary(name, table, engine, settings, bar.format_dict["elapsed"])
        summary |= {"smaller_faces": smaller.counts, "run": identity}
        if not_written:
            summary["not_written"] = {"annotated.mp4": not_written[0]}
        _write(new, table, summary, name)
        _replace_results(out)
        if table.attrs["ended"] != "interrupted":
            journal.batches = 0
    return summary


def _identity(source: Path | int, recognizer: Recognizer, settings: Settings) -> dict:
    """What makes two runs the same: the bytes of video and model, and the settings."""
    return {
        "input_sha256": None if isinstance(source, int) else _sha256(source),
        "model_sha256": _sha256(recognizer.path),
        "settings": asdict(settings),
    }


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(
            f"{short(path)} cannot be read ({reason(error)}): check the file."
        ) from None


def _earlier_summary(out: Path) -> dict:
    """The summary of the results in a folder; empty if there is none that can be read."""
    try:
        summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return summary if isinstance(summary, dict) else {}


def _refuse_other_results(out: Path, earlier: dict, identity: dict) -> None:
    """Results of another video, or of a camera, which cannot be had again, are not replaced."""
    if not earlier:
        return
    before = earlier.get("run", {}).get("input_sha256")
    if before is None or before != identity["input_sha256"]:
        raise UserError(
            f"{short(out)} holds the results of {earlier.get('input', 'another video')}: name "
            "another folder, or replace them with --overwrite."
        )


class _SmallerFaces:
    """Counts the frames with faces below the smallest that are followed, in a few of all frames."""

    def __init__(self, settings: Settings) -> None:
        self._least = settings.smallest_face
        self._detector = find_detector(settings.detector, smallest=SMALLER * self._least)
        self._next = LOOK_EVERY / 2
        self.counts = {"frames_looked_at": 0, "with_smaller_faces": 0}

    def add_frame(self, frame: Frame) -> None:
        if frame.time_s < self._next:
            return
        self._next = frame.time_s + LOOK_EVERY
        least = self._least * min(frame.rgb.shape[:2])
        self.counts["frames_looked_at"] += 1
        self.counts["with_smaller_faces"] += any(
            max(box.w, box.h) < least for box in self._detector(frame.rgb)
        )


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
    """The rows to draw: those of the faces in `describe_faces`; frames of others show no face."""
    kept = table.face_id.isna() | table.face_id.isin(list(facts_by_face))
    others = table[~kept & ~table.frame.isin(table.frame[kept])].drop_duplicates("frame")
    empty = others[["frame", "time_s"]].assign(face_found=False)
    shown = pd.concat([table[kept], empty]) if len(empty) else table[kept]
    return shown.astype(table.dtypes).sort_values(["frame", "face_id"], ignore_index=True)


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
        "parameters": asdict(settings) | {"margin": engine.margin},
        "analysed_frames_per_second": round(len(frames) / max(elapsed, 1e-9), 1),
    }  # fmt: skip


def report(summary: dict, out: Path) -> str:
    """A few lines for the terminal."""
    lines = [f"{summary['input']}: {summary['frames']} frames, results in {out}"]
    if summary["ended"] == "interrupted":
        lines.append(
            "Stopped early: the results hold what was seen until then. --resume goes on from there."
        )
    elif summary["ended"] != "whole":
        lines.append(f"{summary['ended']}; the results hold those.")
    for file, why in summary.get("not_written", {}).items():
        lines.append(f"{file} is missing: {why}")
    if not summary["faces"]:
        lines.append("No face was seen in it.")
    looked, found = summary["smaller_faces"].values()
    least = summary["parameters"]["smallest_face"]
    if looked and found >= MANY * looked:
        lines.append(
            f"In {found} of {looked} frames looked at, faces are smaller than {least:.0%} of the "
            f"frame's shorter side, and were not followed: --smallest-face {SMALLER * least:.2g} "
            "follows them."
        )
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


def _folder_for_new_results(out: Path, *, keep: bool) -> Path:
    """The folder in which a run's files come to be, with the journal alone of what was in it."""
    new = out / NEW
    try:
        if not keep:
            shutil.rmtree(new, ignore_errors=True)
        new.mkdir(exist_ok=True)
        for file in new.iterdir():
            if file.name != JOURNAL:
                file.unlink()
    except OSError as error:
        raise _unwritable(out, error) from None
    return new


def _tidy(new: Path, journal: Journal) -> None:
    """Leave the journal of a run that can go on, and nothing else."""
    journal.close()
    if (new / COMPLETE).exists():  # the move failed midway: the next run ends it
        return
    if not journal.batches:
        shutil.rmtree(new, ignore_errors=True)
        return
    with suppress(OSError):
        for file in new.iterdir():
            if file.name != JOURNAL:
                file.unlink()


def _replace_results(out: Path) -> None:
    """Put a run's files, which are all there, in the place of another's.

    The older summary is removed first and the new one comes last. Whoever is killed in between
    leaves no summary, and the next run in this folder ends the move.
    """
    new = out / NEW
    try:
        (new / COMPLETE).touch()
        (out / "summary.json").unlink(missing_ok=True)
        for name in FILES:
            if (new / name).exists():
                os.replace(new / name, out / name)
            elif name not in _listed(out, new):
                (out / name).unlink(missing_ok=True)
        (new / COMPLETE).unlink()
    except OSError as error:
        raise _unwritable(out, error) from None


def _listed(out: Path, new: Path) -> list[str]:
    """Names of the files that belong to the new results, wherever their summary lies by now."""
    summary = _earlier_summary(new) or _earlier_summary(out)
    return list(summary.get("files", {}))


def _finish_replacing(out: Path) -> None:
    """End the move of a run that was killed during it."""
    if (out / NEW / COMPLETE).exists():
        _replace_results(out)
        shutil.rmtree(out / NEW, ignore_errors=True)


def _write(out: Path, table: pd.DataFrame, summary: dict, name: str) -> None:
    """All files but the annotated video; the summary lists them all with their SHA-256."""
    facts_by_face = {int(face): facts for face, facts in summary["faces"].items()}
    shown = without_brief_faces(table, facts_by_face)
    try:
        out.mkdir(parents=True, exist_ok=True)  # somebody may have removed it meanwhile
        save_line(table, out / "valence.csv")
        (out / "columns.md").write_text(describe_columns(table), encoding="utf-8")
        _save_plot(shown, out / "valence.png")
        write_page(shown, facts_by_face, out / "valence.html", name)
        summary["files"] = {file: _sha256(out / file) for file in FILES if (out / file).exists()}
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
