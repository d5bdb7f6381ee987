"""A small synthetic data set with known ground truth, written in the publishers' formats.

`draw_world` writes a `fer2013.csv` with FER+ votes, a CK+ release tree and a video of one face, all
from one seed. Next to each it writes a table with the ground truth.

The data tests whether readers, audit, splits, training, metrics and video code work together,
because a mistake in any of them lowers a figure whose expected value is known. It does not measure
how well a network classifies people: the faces are drawings, the expressions are posed, and each
has one or two variants, so no accuracy measured here applies to photographs.
"""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from fractions import Fraction
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import av
import cv2
import numpy as np

from fer_lib.labels import CKPLUS_EMOTIONS, CKPLUS_TO_FER, FER_CLASSES
from fer_tools.synthetic_faces.face import backdrop, draw_face
from fer_tools.synthetic_faces.fer2013 import Map, write_csv, write_fer2013
from fer_tools.synthetic_faces.identities import (
    EXPRESSIONS,
    Actions,
    Identity,
    Light,
    Pose,
    Stream,
    at_intensity,
    combined,
    random_identity,
    stream,
    twitch,
)
from fer_tools.synthetic_faces.other_style import write_jaffe

CKPLUS_SIZE = (240, 180)  # pixels, width and height
# The emotions of the sequences in turn; contempt is as rare as in the release.
CKPLUS_TURNS = ("happy", "anger", "surprise", "disgust", "sadness", "fear") * 3 + ("contempt",)
UNLABELED = 12  # each twelfth sequence has no emotion file

# The video's course: (share of its length, class, intensity); the intensity is interpolated.
Story = tuple[tuple[float, str, float], ...]
STORY: Story = (
    (0.00, "neutral", 0.0), (0.05, "sad", 0.0), (0.15, "sad", 1.0), (0.21, "sad", 0.9),
    (0.28, "neutral", 0.0), (0.33, "happy", 0.0), (0.43, "happy", 1.0), (0.49, "happy", 0.9),
    (0.55, "neutral", 0.0), (0.70, "angry", 0.0), (0.78, "angry", 1.0), (0.83, "angry", 0.9),
    (0.88, "happy", 0.0), (0.95, "happy", 0.85), (1.00, "happy", 0.8),
)  # fmt: skip
NEGATIVE = ("sad", "angry", "fear", "disgust")  # what further videos put in turns
WALK = (0.55, 0.59, 0.66, 0.70)  # shares: begins to leave, is gone, begins to return, is back
VIDEO_SIZE = (480, 360)  # pixels, width and height
FRAMES_PER_SECOND = 15


def draw_world(
    root: Path,
    *,
    seed: int,
    train: int,
    public_test: int,
    private_test: int,
    subjects: int,
    video_seconds: float,
    sequences_per_subject: int = 3,
    frames_per_sequence: int = 8,
) -> None:
    """Write all data under `root`; the same arguments give the same bytes.

    Writes `fer2013/{fer2013,fer2013new,truth}.csv`, `ckplus/{cohn-kanade-images,Emotion}/` with
    `ckplus/truth.csv`, `other/jaffe/` in another drawing style, and
    `video/{sample.mp4,sample_truth.csv}`; the columns of the truth tables are described at
    `write_fer2013`, `write_ckplus`, `write_jaffe` and `video_truth`.

    Args:
        root: folder, created if missing.
        seed: integer >= 0.
        train, public_test, private_test: rows of each usage in `fer2013.csv`, >= 1.
        subjects: people in the CK+ tree, 1 to 300.
        video_seconds: length of the video, > 0.
        sequences_per_subject: each of another emotion, 1 to 6.
        frames_per_sequence: from neutral to apex, >= 2.
    """
    sizes = {"Training": train, "PublicTest": public_test, "PrivateTest": private_test}
    # One process per core. Every image has its random stream, whichever process draws it.
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        video = pool.submit(write_video, root / "video", seed, video_seconds)
        in_turn = partial(pool.map, chunksize=16)
        write_fer2013(root / "fer2013", seed, sizes, in_turn)
        write_ckplus(
            root / "ckplus", seed, subjects, sequences_per_subject, frames_per_sequence, in_turn
        )
        write_jaffe(root / "other" / "jaffe", seed, in_turn)
        video.result()


def glide(share: float) -> float:
    """Smoothstep: from 0 to 1 with slope 0 at both ends; `share` is clipped to 0..1."""
    share = min(1.0, max(0.0, share))
    return share * share * (3 - 2 * share)


def write_ckplus(
    folder: Path, seed: int, subjects: int, per_subject: int, frames: int, in_turn: Map = map
) -> None:
    """Write sequences from neutral to apex in the layout of the CK+ release, and `truth.csv`.

    The images are 240 x 180 gray PNG files. Every twelfth sequence has an empty folder under
    `Emotion`, as 266 of the release's 593 have no valid label. `truth.csv` has the columns subject,
    sequence, frame (from 1), emotion (one of CKPLUS_EMOTIONS), class (one of FER_CLASSES, or "none"
    for contempt), intensity (0 to 1) and is_labelled.
    """
    truth: list[dict] = []
    indices = range(subjects * per_subject)
    people = [index // per_subject for index in indices]
    names = [f"S{5 + 3 * n:03d}_{k % per_subject + 1:03d}" for k, n in enumerate(people)]
    emotions = [CKPLUS_TURNS[index % len(CKPLUS_TURNS)] for index in indices]
    draw = partial(_draw_sequence, folder, seed, frames)
    drawn = in_turn(draw, people, indices, names, emotions)
    for index, name, emotion, intensities in zip(indices, names, emotions, drawn, strict=True):
        labeled = index % UNLABELED != UNLABELED - 1
        _write_emotion(folder, name, emotion if labeled else None, frames)
        fer_class = CKPLUS_TO_FER[emotion]
        truth += [
            {
                "subject": name[:4], "sequence": name, "frame": frame, "emotion": emotion,
                "class": FER_CLASSES[fer_class] if fer_class >= 0 else "none",
                "intensity": round(intensity, 4), "is_labelled": int(labeled),
            }
            for frame, intensity in enumerate(intensities, start=1)
        ]  # fmt: skip
    write_csv(folder / "truth.csv", tuple(truth[0]), (row.values() for row in truth))


def _draw_sequence(
    folder: Path, seed: int, frames: int, person: int, number: int, name: str, emotion: str
) -> list[float]:
    """Draw the frames of one sequence; returns the intensity of each, 0 to 1."""
    place = folder / "cohn-kanade-images" / name[:4] / name[5:]
    place.mkdir(parents=True, exist_ok=True)
    width, height = CKPLUS_SIZE
    shared = stream(seed, Stream.SUBJECT, person)  # the same for all sequences of the person
    who, wall = random_identity(shared), backdrop(shared, height, width)
    rng = stream(seed, Stream.SEQUENCE, number)
    fer_class = CKPLUS_TO_FER[emotion]
    variants = EXPRESSIONS[FER_CLASSES[fer_class] if fer_class >= 0 else emotion]
    full, at_rest = variants[rng.integers(len(variants))], twitch(Actions(), rng, 0.03)
    center = (width / 2 + rng.normal(0, 5), 0.47 * height + rng.normal(0, 4))
    yaw, pitch, roll = rng.normal(0, (4, 3, 2.5))
    pose = Pose(center, 64 + rng.normal(0, 3), yaw, pitch, roll)
    light = Light(rng.uniform(-35, 35), rng.uniform(10, 45), rng.uniform(0.55, 0.85))
    apex = rng.uniform(0.75, 1.0)
    intensities = [apex * glide(f / (frames - 1)) for f in range(frames)]
    for frame, intensity in enumerate(intensities, start=1):
        act = combined(at_intensity(full, intensity), at_rest)
        sway = rng.normal(0, 0.3, 2)
        moved = replace(pose, yaw=yaw + sway[0], roll=roll + sway[1])
        image = cv2.cvtColor(draw_face(wall, who, act, moved, light), cv2.COLOR_RGB2GRAY)
        grain = rng.standard_normal(image.shape, dtype=np.float32)
        noisy = np.clip(image + 2 * grain, 0, 255).astype(np.uint8)
        path = place / f"{name}_{frame:08d}.png"
        if not cv2.imwrite(str(path), noisy):
            raise OSError(f"could not write {path}")
    return intensities


def _write_emotion(folder: Path, name: str, emotion: str | None, frames: int) -> None:
    """Write the emotion file of a sequence, or an empty folder if `emotion` is None."""
    place = folder / "Emotion" / name[:4] / name[5:]
    place.mkdir(parents=True, exist_ok=True)
    if emotion is not None:
        text = f"   {CKPLUS_EMOTIONS.index(emotion):.7e}\n"  # as in the release: "   3.0000000e+00"
        (place / f"{name}_{frames:08d}_emotion.txt").write_text(text, encoding="utf-8")


def video_truth(seconds: float, story: Story = STORY) -> list[dict]:
    """The ground truth of each frame of a video.

    Args:
        seconds: length.
        story: (share of the length, class, intensity), growing, from 0 to 1.

    Returns:
        One dictionary per frame: frame (from 0), time_s, class (one of FER_CLASSES), intensity (0
        to 1), valence (-1 to 1: the intensity when happy, 0 when neutral, else minus the intensity)
        and face_present (0 while any part of the head is outside the image).
    """
    starts = [at for at, _, _ in story]
    count = max(1, round(seconds * FRAMES_PER_SECOND))
    rows = []
    for frame in range(count):
        share = frame / max(1, count - 1)
        k = min(int(np.searchsorted(starts, share, side="right")) - 1, len(story) - 2)
        (start, before, low), (end, after, high) = story[k], story[k + 1]
        intensity = round(low + (high - low) * glide((share - start) / (end - start)), 4)
        name = before if low > 0 else after
        if intensity == 0:
            name = "neutral"
        sign = {"happy": 1, "neutral": 0}.get(name, -1)
        # The head reaches 0.85 units to each side (with ears) and sways by 10 pixels.
        room = VIDEO_SIZE[0] / 2 - 0.85 * 121 - 10
        rows.append({
            "frame": frame, "time_s": round(frame / FRAMES_PER_SECOND, 4), "class": name,
            "intensity": intensity, "valence": sign * intensity,
            "face_present": int(_walked(share) <= room),
        })  # fmt: skip
    return rows


def _walked(share: float) -> float:
    """How far the person has moved to the right, out of the image, in pixels."""
    leave, gone, back, here = WALK
    away = min(glide((share - leave) / (gone - leave)), glide((here - share) / (here - back)))
    return 460 * away


def write_video(folder: Path, seed: int, seconds: float) -> None:
    """Write the sample study's video, `sample.mp4`, and `sample_truth.csv`; see `write_videos`."""
    rng = stream(seed, Stream.VIDEO)
    who = replace(random_identity(rng), glasses=False, beard="none", hair_style="side", age=0.2)
    _write_video(folder, "sample", video_truth(seconds), who, rng)


def write_videos(folder: Path, seed: int, count: int, seconds: float) -> list[Path]:
    """Write videos of people who differ, `drawn_1.mp4` ..., each with `drawn_1_truth.csv`.

    H.264, 480 x 360, 15 frames per second. The encoder runs on one thread and writes no version, so
    that the bytes are the same with the same PyAV. Each shows `STORY` with other negative emotions.

    Args:
        folder: created if missing.
        seed: integer >= 0.
        count: of videos.
        seconds: length of each.
    """
    names = [f"drawn_{number}" for number in range(1, count + 1)]
    for number, name in enumerate(names, start=1):
        rng = stream(seed, Stream.VIDEO, number)
        turn = NEGATIVE[number % len(NEGATIVE) :] + NEGATIVE[: number % len(NEGATIVE)]
        replaced = dict(zip(NEGATIVE, turn, strict=True))
        story = tuple((at, replaced.get(emotion, emotion), level) for at, emotion, level in STORY)
        _write_video(folder, name, video_truth(seconds, story), random_identity(rng), rng)
    return [folder / f"{name}.mp4" for name in names]


def _write_video(
    folder: Path, name: str, truth: list[dict], who: Identity, rng: np.random.Generator
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    wall = backdrop(rng, VIDEO_SIZE[1], VIDEO_SIZE[0])
    wall = (0.4 * wall + 0.6 * np.array((168, 184, 198))).astype(np.uint8)  # a friendlier color
    phases = rng.uniform(0, 2 * np.pi, 4)
    with av.open(str(folder / f"{name}.mp4"), "w", options={"fflags": "bitexact"}) as container:
        codec_options = {
            "preset": "veryfast", "crf": "20", "flags": "bitexact",
            "x264-params": "cpu-independent=1",  # else two runs may choose differently
        }  # fmt: skip
        rate = Fraction(FRAMES_PER_SECOND)
        video = container.add_stream("libx264", rate=rate, options=codec_options)
        video.width, video.height, video.pix_fmt = *VIDEO_SIZE, "yuv420p"
        video.codec_context.thread_count = 1
        for row in truth:
            share = row["frame"] / max(1, len(truth) - 1)
            image = _video_frame(row, share, who, wall, phases)
            container.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(video.encode(None))
    write_csv(folder / f"{name}_truth.csv", tuple(truth[0]), (row.values() for row in truth))


def _video_frame(
    row: dict, share: float, who: Identity, wall: np.ndarray, phases: np.ndarray
) -> np.ndarray:
    """Draw one frame of the video; (360, 480, 3) uint8 RGB."""
    cycles = row["time_s"] * np.array([0.21, 0.33, 0.27, 0.17])  # slow swaying, in cycles
    wave = np.sin(2 * np.pi * cycles + phases)
    x = VIDEO_SIZE[0] / 2 + 10 * wave[0] + _walked(share)
    y = 0.46 * VIDEO_SIZE[1] + 5 * wave[1]
    pose = Pose((x, y), 118 + 3 * wave[2], 6 * wave[3], 2 + 2 * wave[1], 3 * wave[0])
    act = at_intensity(EXPRESSIONS[row["class"]][0], row["intensity"])
    return draw_face(wall, who, act, pose, Light(-25, 30, 0.65))
