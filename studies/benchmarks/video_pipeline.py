"""The time and memory that the analysis of a video takes.

    uv run python studies/benchmarks/video_pipeline.py [--detector yunet]

It prints three tables:

1. Stages, one after another on the same frames: median and 95th percentile of the milliseconds per
   frame, and the CPU time of all threads, which matters when stages share two cores.
2. The whole pipeline of `fer video`, from decoding to the annotated file: frames per second, the
   median of several runs; and the milliseconds of `Engine.process_frame` for a live frame.
3. Memory: the peak of a long video over that of a short one, each in a separate process.

The video shows a synthetic face at 640x360, or is your own: --video FILE.
"""

import argparse
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np

from fer_lib.faces.detection import Box, crop_face, to_grey
from fer_lib.labels import VALENCE_CLASSES
from fer_tools.inference.recognizer import Recognizer
from fer_tools.rtfer.detectors import find_detector
from fer_tools.rtfer.engine import SMALLEST, Engine, FaceObservation, analyze
from fer_tools.rtfer.smoothing import LiveSmoother
from fer_tools.rtfer.video_reader import Frame, read_frames
from fer_tools.rtfer.video_writer import AnnotatedVideo, History, VideoWriter, annotate
from fer_tools.synthetic_faces.world import write_video
from fer_tools.timing.speed import processor

SIZE = (640, 360)  # width, height
GOAL = 60  # frames per second


def main() -> None:
    """Print the tables."""
    chosen = _arguments()
    if chosen.memory:
        _only_memory(chosen)
        return
    cv2.setNumThreads(chosen.threads)
    print(f"{platform.machine()}, {chosen.threads} cores for OpenCV, {processor()}")
    print(f"model {chosen.model}, detector {chosen.detector}, faces in every {chosen.every} frames")
    recognizer = Recognizer.load(chosen.model, "cpu")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        video = chosen.video or synthetic_video(folder / "face.mp4", chosen.frames)
        stages(video, recognizer, chosen, folder)
        whole(video, recognizer, chosen, folder)
        live(video, recognizer, chosen)
    memory(chosen)


# ----------------------------------------------------------------------------------------- stages


def stages(video: Path, recognizer: Recognizer, chosen: argparse.Namespace, folder: Path) -> None:
    """One stage after another over the same frames."""
    detector = find_detector(chosen.detector, smallest=SMALLEST)
    frames: list[Frame] = []
    print(f"\n{'stage':28}{'median ms':>10}{'p95 ms':>10}{'CPU ms':>10}   of one frame")
    source = read_frames(video)
    count = chosen.frames
    _timed("decode", range(count), lambda _: frames.extend(first_frames(source, 1)))
    source.close()  # type: ignore[attr-defined]
    found = _timed("detect", frames, lambda frame: detector(frame.rgb), chosen.every)
    boxes = [found[i - i % chosen.every] for i in range(len(frames))]
    pairs = list(zip(frames, boxes, strict=True))
    crops = _timed("crop", pairs, lambda pair: _crops(pair[0], pair[1], detector.margin))
    batches = [np.concatenate(crops[i : i + 32]) for i in range(0, len(crops), 32)]
    _timed("classify, 32 at once", batches, recognizer.probabilities, 1 / 32)
    _timed("classify, one by one", crops, recognizer.probabilities)
    smoother = LiveSmoother(0.4)
    _timed("smooth", frames, lambda frame: smoother(frame.time_s, 0.3))
    faces = [_constant_observations(frame_boxes) for frame_boxes in boxes]
    history = History(frames[-1].time_s)

    def draw(place: int) -> np.ndarray:
        history.add(frames[place].time_s, faces[place])
        return annotate(frames[place].rgb, faces[place], history)

    images = _timed("draw", range(len(frames)), draw)
    height, width = images[0].shape[:2]
    writer = VideoWriter(folder / "stage.mp4", width, height)
    begin, cpu = time.perf_counter(), time.process_time()
    for frame, image in zip(frames, images, strict=True):
        writer.write(image, frame.time_s)
    writer.close()  # encoding runs in its own thread: only the mean is known
    mean = 1000 * (time.perf_counter() - begin) / len(frames)
    used = 1000 * (time.process_time() - cpu) / len(frames)
    print(f"{'encode (mean)':28}{mean:10.2f}{'':10}{used:10.2f}")


def _timed(name: str, items: Iterable, work: Callable, every: float = 1) -> list:
    """Do the work on each item; print its times, divided by the number of frames per item."""
    times, results, cpu = [], [], time.process_time()
    for item in items:
        begin = time.perf_counter()
        results.append(work(item))
        times.append(1000 * (time.perf_counter() - begin))
    used = 1000 * (time.process_time() - cpu) / len(times)
    share = every if every < 1 else 1 / every
    median, high = np.percentile(times, [50, 95])
    print(f"{name:28}{median * share:10.2f}{high * share:10.2f}{used * share:10.2f}")
    return results


def _crops(frame: Frame, boxes: list, margin: float) -> np.ndarray:
    grey = to_grey(frame.rgb)
    faces = [crop_face(grey, box, margin) for box in boxes]
    return np.stack(faces) if faces else np.zeros((0, 48, 48), np.uint8)


def _constant_observations(boxes: list) -> list[FaceObservation]:
    probabilities = np.array([0.1, 0.3, 0.6])
    return [
        FaceObservation(i + 1, box, VALENCE_CLASSES, probabilities, 0.5, 0.5)
        for i, box in enumerate(boxes)
    ]


# ------------------------------------------------------------------------------------------ whole


def whole(video: Path, recognizer: Recognizer, chosen: argparse.Namespace, folder: Path) -> None:
    """The whole pipeline of `fer video`, from decoding to the annotated file."""
    rates = []
    for number in range(chosen.runs):
        begin = time.perf_counter()
        frames = _annotated(video, _engine(recognizer, chosen), folder / f"{number}.mp4")
        rates.append(frames / (time.perf_counter() - begin))
    low, middle, high = np.percentile(rates, [0, 50, 100])
    print(
        f"\nwhole: {middle:.0f} frames/s (of {chosen.runs} runs {low:.0f} to {high:.0f}; ", end=""
    )
    print(f"goal {GOAL}: {'met' if middle >= GOAL else 'missed'})")


def _annotated(video: Path | Iterable[Frame], engine: Engine, out: Path) -> int:
    with AnnotatedVideo(out, 0.0, 25.0) as writer:
        table = analyze(video, engine, on_frame=writer.add)
    return table.frame.nunique()


def live(video: Path, recognizer: Recognizer, chosen: argparse.Namespace) -> None:
    """The time of one frame on the live path; the first ten do not count."""
    engine, times = _engine(recognizer, chosen), []
    for frame in first_frames(read_frames(video), chosen.frames):
        begin = time.perf_counter()
        engine.process_frame(frame.rgb, frame.time_s)
        times.append(1000 * (time.perf_counter() - begin))
    median, high = np.percentile(times[10:], [50, 95])
    print(f"live: median {median:.1f} ms, p95 {high:.1f} ms per frame (goal: at most 50)")


def _engine(recognizer: Recognizer, chosen: argparse.Namespace) -> Engine:
    detector = find_detector(chosen.detector, smallest=SMALLEST)
    return Engine(recognizer, detector, every=chosen.every)


# ----------------------------------------------------------------------------------------- memory


def memory(chosen: argparse.Namespace) -> None:
    """Peak memory of a short and of a long video, each measured in a new process."""
    peaks = []
    for count in (chosen.short, chosen.long):
        command = [sys.executable, __file__, "--memory", str(count), "--model", chosen.model]
        result = subprocess.run(command, check=True, capture_output=True, text=True)
        peaks.append(float(result.stdout.split()[-1]))
        print(f"peak memory over {count} frames: {peaks[-1]:.0f} MB")
    print(f"the longer video needs {100 * (peaks[1] / peaks[0] - 1):+.1f} % (goal: within 5 %)")


def _only_memory(chosen: argparse.Namespace) -> None:
    """Analyze a generated video to its end, with a detector that takes no time."""

    class ConstantDetector:
        margin = 0.0

        def __call__(self, image: np.ndarray) -> list[Box]:
            return [Box(200, 80, 200, 200)]

    with tempfile.TemporaryDirectory() as name:
        video = Path(name) / "gray.mp4"
        with VideoWriter(video, *SIZE) as writer:
            for i in range(chosen.memory):
                writer.write(np.full((SIZE[1], SIZE[0], 3), i % 200, np.uint8), i / 25)
        engine = Engine(Recognizer.load(chosen.model, "cpu"), ConstantDetector())
        _annotated(video, engine, Path(name) / "out.mp4")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(peak / (1024 if sys.platform != "darwin" else 1024**2))


# ------------------------------------------------------------------------------------------ videos


def synthetic_video(path: Path, count: int) -> Path:
    """Write `count` frames of the sample study's synthetic face, 640x360, 25 frames per second."""
    write_video(path.parent, seed=7, seconds=4.0)
    images = [cv2.resize(f.rgb, SIZE) for f in read_frames(path.parent / "sample.mp4")]
    with VideoWriter(path, *SIZE) as writer:
        for i in range(count):
            writer.write(images[i % len(images)], i / 25)
    return path


def first_frames(frames: Iterator[Frame], count: int) -> list[Frame]:
    """The first `count` frames."""
    return [frame for _, frame in zip(range(count), frames, strict=False)]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--detector", default="haar", choices=["haar", "yunet"])
    parser.add_argument("--model", default="fer13-3")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--video", type=Path)
    parser.add_argument("--frames", type=int, default=400, help="measured in each stage")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2, help="of OpenCV")
    parser.add_argument("--short", type=int, default=1_000, help="frames of the short video")
    parser.add_argument("--long", type=int, default=10_000, help="90000: one hour")
    parser.add_argument("--memory", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
