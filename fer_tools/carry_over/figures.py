"""The figures of notebook 75, published under carry_over.NAME: several of one kind at once.

Whoever reads the notebook sees what is published; how each figure gets its words is written here.
"""

from collections.abc import Mapping

import numpy as np

from fer_lib.evaluation.metrics import mean_interval
from fer_lib.evaluation.predictions import Predictions
from fer_lib.labels import FER_CLASSES, LEFT_OUT
from fer_tools.carry_over.collections import Collection
from fer_tools.carry_over.conditions import Curve, limit_with_interval
from fer_tools.record.evidence import Evidence

NO_FACE = len(FER_CLASSES)  # the class of an image in which no face was found
LOST = "images without a found face count as wrong"
VIDEO_PROTOCOLS = {
    "correlation": ("score", "smoothed line with the true valence"),
    "lag": ("seconds", "of the line behind the truth"),
    "error": ("score", "mean absolute error of the line, of a range of 2"),
    "error_from_rest": ("score", "the same, the mean of the person's neutral frames taken away"),
    "coverage": ("percent", "frames whose true valence lies within the 95 % band"),
    "found": ("percent", "frames with a whole face in which it is found"),
}  # by the keys of `rtfer.known_truth.score`: unit, and what it is


def publish(
    evidence: Evidence,
    key: str,
    data: Collection,
    found: Predictions,
    metric: str,
    protocol: str,
) -> dict:
    """One figure of a data, `carry_over.KEY`, its interval over people where these are known.

    Args:
        key: such as "jaffe.accuracy".
        found: from `predictions.of_faces`: images without a found face are of class `NO_FACE`.
        metric: see `evidence.value_of`.
    """
    return evidence.measured(
        f"carry_over.{key}", data.labels, found.predicted(), NO_FACE + 1,
        of=found.about["network"], names=found.names, target="label", where=data.title,
        groups=data.subject, metric=metric, split=data.title, protocol=f"zero-shot; {protocol}",
        seeds=[found.about["seed"]],
    )  # fmt: skip


def publish_zero_shot(evidence: Evidence, name: str, data: Collection, found: Predictions) -> None:
    """Accuracy, macro recall, recall of each emotion, images without a face, calibration error."""
    publish(evidence, f"{name}.accuracy", data, found, "accuracy", LOST)
    publish(evidence, f"{name}.macro_recall", data, found, "macro_recall", LOST)
    publish(
        evidence, f"{name}.not_found", data, found, f"predicted.{NO_FACE}",
        "images in which no face was found",
    )  # fmt: skip
    for label in sorted(set(data.labels.tolist())):
        emotion = FER_CLASSES[label]
        protocol = f"recall of {emotion}; {LOST}"
        publish(evidence, f"{name}.recall.{emotion}", data, found, f"recall.{label}", protocol)
    evidence.calibration(
        f"carry_over.{name}.ece", data.labels, [found.output("probabilities")],
        of=[found.about["network"]], names=found.names, mask=found.predicted() < NO_FACE,
        target="label", where=data.title, split=data.title, seeds=[found.about["seed"]],
        protocol="expected calibration error, 15 bins, faces found; temperature of PublicTest",
    )  # fmt: skip


def publish_drop(
    evidence: Evidence, name: str, data: Collection, home: Predictions, labels: np.ndarray,
    private: np.ndarray,
) -> None:  # fmt: skip
    """What a collection has lost against PrivateTest: accuracy, and macro recall of its emotions.

    Args:
        name: of the data, whose figures `publish_zero_shot` has published.
        home: predictions for FER2013's test images.
        labels: (N,) of these.
        private: (N,) bool, which of them are of PrivateTest.
    """
    about = {"split": data.title, "seeds": [home.about["seed"]]}
    shared = np.where(np.isin(labels, data.labels), labels, LEFT_OUT)
    emotions = f"emotions of {data.title}"
    for reference, targets, target, metric in (
        ("private.accuracy", labels, "label", "accuracy"),
        (f"{name}.private_macro_recall", shared, f"label, {emotions}", "macro_recall"),
    ):
        where = "PrivateTest" if target == "label" else f"PrivateTest, {emotions}"
        evidence.measured(
            f"carry_over.{reference}", targets, home.predicted(), NO_FACE, of=home.about["network"],
            names=home.names, target=target, where=where, mask=private, metric=metric,
            split="FER2013 PrivateTest", protocol=f"for comparison; {where}", seeds=about["seeds"],
        )  # fmt: skip
        evidence.difference(
            f"carry_over.{name}.{metric}_drop", f"carry_over.{reference}",
            f"carry_over.{name}.{metric}",
            protocol=f"{metric.replace('_', ' ')} on PrivateTest minus that here", **about,
        )  # fmt: skip


def publish_videos(evidence: Evidence, scores: Mapping[str, np.ndarray], seed: int) -> None:
    """Means over videos with their intervals.

    Args:
        scores: by the keys of `VIDEO_PROTOCOLS`: (V,), one a video.
        seed: of the network.
    """
    for key, (unit, protocol) in VIDEO_PROTOCOLS.items():
        values = np.asarray(scores[key], dtype=np.float64)
        low, high = mean_interval(values, seed=evidence.seed)
        evidence.plain(
            f"carry_over.video.{key}", float(np.nanmean(values)), low=low, high=high, unit=unit,
            n=len(values), split="drawn videos", seeds=[seed],
            protocol=f"{protocol}; mean over videos",
        )  # fmt: skip


def publish_limit(
    evidence: Evidence, name: str, curve: Curve, title: str, unit: str, allowed: float, **about
) -> float | None:
    """`carry_over.limit.NAME`: where a condition has cost more accuracy than allowed.

    Args:
        title: of the condition's axis.
        unit: of `published.DECIMALS`.
        allowed: loss of accuracy, in [0, 1].
        about: split and seeds of `published.figure`.

    Returns:
        The limit; None where no level costs so much, and nothing is published.
    """
    found = limit_with_interval(curve, allowed, resamples=evidence.resamples, seed=evidence.seed)
    if found is None:
        return None
    value, low, high = found
    sense = "least" if curve.place[-1] < curve.place[0] else "most"
    evidence.plain(
        f"carry_over.limit.{name}", value, low=min(low, high), high=max(low, high), unit=unit,
        n=curve.right.shape[1], protocol=f"{sense} {title}, at which the accuracy of three classes "
        f"has lost {100 * allowed:.0f} points", **about,
    )  # fmt: skip
    return value
