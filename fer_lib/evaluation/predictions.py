"""Stored predictions: the probabilities of a network for each test image, in a small file.

Every figure of an evaluation is computed from these files, so notebooks can be rerun without any
training, and a reader can check a figure without data or GPU. Probabilities are float16; an image
is named by its row in FER2013, by its sequence and frame in CK+, or by its place in another
collection (`fer_tools/carry_over`). The files hold no image and no label.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fer_lib.data.arrays import CkPlus, load_arrays, save_arrays
from fer_lib.errors import UserError
from fer_lib.labels import FER_CLASSES, TASKS

if TYPE_CHECKING:
    from torch import nn

    from fer_lib.models.card import Card

ARRAYS = ("probabilities", "flipped", "intensities", "features", "fold")


@dataclass(frozen=True)
class Predictions:
    """The predictions of one network for N images of one data set.

    Attributes:
        names: (N,) of the images: int64 rows of FER2013 or places in a collection, or text such as
            "S010_004_00000017" (subject, sequence, frame) of CK+.
        about: metadata of the network: network (its name here), task, study, seed, commit,
            data ("fer2013", "ckplus", or a collection's title), temperature, parameters,
            multiply_adds; plain JSON types.
        probabilities: (N, K) float16 in [0, 1], divided by the temperature before the softmax. Of
            a collection (N, K + 1): the last column is 1 where no face was found.
        flipped: (N, K) float16, with horizontal-flip test-time augmentation (the logits of both
            are averaged, no temperature); None where it is not used.
        intensities: (N, 7) float16 in [0, 1]; None without an intensity head.
        features: (N, F) float16; only of an encoder without a classifier.
        fold: (N,) int64, the fold in which an image was tested; None without folds.
    """

    names: np.ndarray
    about: dict
    probabilities: np.ndarray | None = None
    flipped: np.ndarray | None = None
    intensities: np.ndarray | None = None
    features: np.ndarray | None = None
    fold: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.names)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the columns of `probabilities`."""
        return TASKS[self.about["task"]]

    def output(self, name: str) -> np.ndarray:
        """Class probabilities of one kind, float32 (N, K).

        Args:
            name: "probabilities" or "flipped" as they are; "uncalibrated" as if the temperature
                were 1; "valence" the seven summed to three (surprise belongs to none).
        """
        if name == "valence":
            from fer_lib.evaluation.valence import valence_probabilities

            return valence_probabilities(self.output("probabilities"), FER_CLASSES)
        stored = self.flipped if name == "flipped" else self.probabilities
        if stored is None:
            raise ValueError(f"{self.about['network']} has no {name}")
        values = stored.astype(np.float32)
        if name == "uncalibrated":
            # softmax(z) from softmax(z / T): to the power of T, scaled to a sum of 1
            values = values ** np.float32(self.about["temperature"])
            return values / values.sum(axis=1, keepdims=True)
        return values

    def predicted(self, name: str = "probabilities") -> np.ndarray:
        """(N,) int64: the class with the largest probability; the first of equal ones."""
        return self.output(name).argmax(axis=1)


def save(path: Path, predictions: Predictions) -> None:
    """Write predictions atomically: the same bytes for the same values."""
    arrays = {name: getattr(predictions, name) for name in ARRAYS}
    arrays = {name: array for name, array in arrays.items() if array is not None}
    about = np.array(json.dumps(predictions.about, sort_keys=True))
    save_arrays(path, {"names": predictions.names, "about": about, **arrays}, compressed=True)


def load(path: Path) -> Predictions:
    """Read what `save` wrote.

    Raises:
        UserError: if the file is missing, damaged, or holds something else.
    """
    arrays = load_arrays(path, ["names", "about"], optional=ARRAYS)
    try:
        about = json.loads(str(arrays.pop("about")))
        about["network"], TASKS.get(about["task"])
        if any(len(array) != len(arrays["names"]) for array in arrays.values()):
            raise ValueError("its arrays differ in length")
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} holds no predictions ({error}): restore it with `git checkout`, or run its "
            "stage again."
        ) from None
    return Predictions(about=about, **arrays)


def load_all(*folders: Path) -> dict[str, Predictions]:
    """Predictions in some folders by network, such as "fer13-7" or "fer13-7-seed-2".

    A folder may be missing.

    Raises:
        UserError: see `load`.
    """
    files = sorted(file for folder in folders for file in folder.glob("*.npz"))
    found = [load(file) for file in files]
    return {predictions.about["network"]: predictions for predictions in found}


def name_of(task: str, seed: int, first: int) -> str:
    """The name of a network: its task, and its seed unless that is the first."""
    return task if seed == first else f"{task}-seed-{seed}"


def ckplus_names(data: CkPlus) -> np.ndarray:
    """(M,) names of CK+ images: sequence and frame, without the emotion."""
    pairs = zip(data.sequence, data.frame, strict=True)
    return np.array([f"{sequence}_{frame:08d}" for sequence, frame in pairs])


def sequences(names: np.ndarray) -> np.ndarray:
    """(M,) the sequence of each of `ckplus_names`."""
    return np.array([name.rsplit("_", 1)[0] for name in names])


def subjects(names: np.ndarray) -> np.ndarray:
    """(M,) the subject of each of `ckplus_names`."""
    return np.array([name.split("_", 1)[0] for name in names])


def predict(
    model: "nn.Module", card: "Card", images: np.ndarray, names: np.ndarray, about: Mapping
) -> Predictions:
    """Run a network over images.

    Args:
        model: from `models.weights.load_model`.
        card: its card.
        images: (N, 48, 48) uint8.
        names: (N,) see `Predictions`.
        about: network, data and seed; the rest comes from the card.
    """
    import torch

    from fer_lib.models.forward import predict_logits
    from fer_lib.models.msfernet import count_multiply_adds, count_parameters
    from fer_lib.models.two_head import split_heads

    faces = torch.from_numpy(np.ascontiguousarray(images))
    outputs, mirrored = predict_logits(model, faces), predict_logits(model, faces.flip(2))
    intensities = None
    logits, flipped = outputs, (outputs + mirrored) / 2
    if card.has_intensities:
        logits, second_head = split_heads(outputs)
        flipped, _ = split_heads(flipped)
        intensities = second_head.numpy().astype(np.float16)
    known = {
        "task": card.task, "study": card.study, "commit": card.commit,
        "temperature": card.temperature, "parameters": count_parameters(model),
        "multiply_adds": count_multiply_adds(model),
    }  # fmt: skip
    return Predictions(
        names, known | dict(about),
        probabilities=half((logits / card.temperature).softmax(dim=1).numpy()),
        flipped=half(flipped.softmax(dim=1).numpy()), intensities=intensities,
    )  # fmt: skip


def of_faces(faces: Sequence[np.ndarray | None], card: "Card", about: Mapping) -> Predictions:
    """The predictions for the images of a collection, in some of which no face was found.

    Args:
        faces: for each of N images the probabilities (K,) of its face, or None without a face.
        card: of the network.
        about: network and data.

    Returns:
        Probabilities (N, K + 1); an image without a face is of the last class, and so counted as
        wrong wherever all images count.
    """
    classes = len(TASKS[card.task])
    missing = np.eye(classes + 1)[classes]
    rows = [missing if face is None else np.append(face, 0.0) for face in faces]
    known = {"task": card.task, "study": card.study, "commit": card.commit,
             "temperature": card.temperature, "seed": card.params["seed"]}  # fmt: skip
    return Predictions(np.arange(len(rows)), known | dict(about), half(np.stack(rows)))


def half(values: np.ndarray) -> np.ndarray:
    """(N, K) as float16, which keeps three digits; the argmax of each row stays the same."""
    rounded = values.astype(np.float16)
    rows, largest = np.arange(len(values)), values.argmax(axis=1)
    tied = rounded.argmax(axis=1) != largest  # rounded to equal values
    raised = np.nextafter(rounded[rows, largest], np.float16(2))
    rounded[rows[tied], largest[tied]] = raised[tied]
    return rounded
