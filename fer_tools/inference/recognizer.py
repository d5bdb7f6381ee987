"""Using a trained network: one line loads it, one turns faces into probabilities.

    from fer_tools.inference.recognizer import Recognizer
    recognizer = Recognizer.load("fer13-7")
    probabilities = recognizer.probabilities(faces)  # (N, 48, 48) uint8 -> (N, 7)

A model with an intensity head ("ferplus-7-vgg") also has `intensities(faces)`; `predict`
gives both.

A weights file is run by PyTorch, an ONNX file (see `export.py`) by ONNX Runtime; either is imported
only when it is needed, so that a command starts quickly.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit, logit, softmax

from fer_lib.data.arrays import SIDE
from fer_lib.errors import UserError
from fer_lib.labels import TASKS
from fer_lib.paths import build_folder, project_root
from fer_tools.inference.backend import Backend, Prediction

if TYPE_CHECKING:
    from fer_lib.models.card import Card
    from fer_lib.models.msfernet import MSFERNet
    from fer_lib.models.two_head import TwoHeads

SUFFIXES = (".safetensors", ".onnx")


@dataclass(frozen=True)
class Recognizer:
    """A trained network, ready to use.

    Attributes:
        backend: what runs it.
        path: its file.
    """

    backend: Backend
    path: Path

    @classmethod
    def load(cls, name_or_path: str | Path, device: str = "auto") -> "Recognizer":
        """Load a model of this study by its task, or any of its weights files.

        Args:
            name_or_path: "fer13-7" or another of `labels.TASKS` (see `find_weights`), or the path
                of a `.safetensors` or `.onnx` file.
            device: "cpu", "cuda", "mps", "cuda:1" ...; "auto" takes the fastest there is. An ONNX
                file runs on the CPU.

        Raises:
            UserError: if there is no such model, its file is damaged, or the device is missing.
        """
        path = find_weights(name_or_path)
        if path.suffix == ".onnx":
            from fer_tools.inference.onnx_backend import OnnxBackend

            return cls(OnnxBackend.load(path, device), path)
        from fer_tools.inference.torch_backend import TorchBackend

        return cls(TorchBackend.load(path, device), path)

    @property
    def card(self) -> "Card":
        """The model card in its file."""
        return self.backend.card

    @property
    def model(self) -> "MSFERNet | TwoHeads":
        """The PyTorch network, in evaluation mode.

        Raises:
            UserError: for an ONNX file.
        """
        backend: Any = self.backend
        if not hasattr(backend, "model"):
            raise UserError(f"{self.path} holds no PyTorch network: name a .safetensors file.")
        return backend.model

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the columns of `probabilities`."""
        return self.card.classes

    def probabilities(self, faces: np.ndarray, flip: bool = False) -> np.ndarray:
        """Classify faces: the first part of `predict`, (N, C) float32."""
        return self.predict(faces, flip).probabilities

    def intensities(self, faces: np.ndarray, flip: bool = False) -> np.ndarray:
        """How strong each emotion is: the second part of `predict`, (N, C) float32 in [0, 1].

        Raises:
            UserError: if the model has no intensity head.
        """
        self.check_intensities()
        found = self.predict(faces, flip).intensities
        assert found is not None
        return found

    def check_intensities(self) -> None:
        """Refuse a model that has no intensity head.

        Raises:
            UserError: naming a model that has one.
        """
        if not self.card.has_intensities:
            raise UserError(
                f"{_within_project(self.path)} gives no intensities, only classes: use "
                "ferplus-7-vgg, which has learned them."
            )

    def predict(self, faces: np.ndarray, flip: bool = False) -> Prediction:
        """Class probabilities and, where the model has an intensity head, intensities of faces.

        Args:
            faces: (N, 48, 48) uint8 grey, framed as in FER2013 (`faces.crop_face`); N may be 0.
            flip: horizontal-flip test-time augmentation: average the logits with those of the
                flipped images.

        Returns:
            Columns in the order of `classes`.

        Raises:
            ValueError: for another shape or type.
            UserError: if the network gives no numbers, as a damaged file may.
        """
        faces = np.asarray(faces)
        if faces.ndim != 3 or faces.shape[1:] != (SIDE, SIDE) or faces.dtype != np.uint8:
            raise ValueError(f"faces must be (N, 48, 48) uint8, not {faces.shape} {faces.dtype}")
        if len(faces) == 0:
            nothing = np.zeros((0, len(self.classes)), dtype=np.float32)
            return Prediction(self.classes, nothing, nothing if self.card.has_intensities else None)
        prediction = self.backend.predict(faces)
        if not np.isfinite(prediction.probabilities).all():
            raise UserError(
                f"{self.path} gives no numbers: it is damaged; get it again, or name another model."
            )
        if not flip:
            return prediction
        return _average(prediction, self.backend.predict(faces[:, :, ::-1]))

    def describe(self) -> str:
        """Which study, parameters and commit made this model, and how well it did; a few lines."""
        card, notes = self.card, dict(self.card.notes)
        size = self.backend.parameters / 1e6
        accuracy = notes.pop("validation_accuracy", None)
        reached = "unknown" if accuracy is None else f"{100 * accuracy:.1f} %"
        if "validation_rmse" in notes:
            reached += f"; RMSE of the intensities: {notes.pop('validation_rmse'):.3f}"
        lines = [
            f"{card.task} of the {card.study} study: {size:.2f} million parameters, "
            f"classes {', '.join(self.classes)}",
            f"validation accuracy: {reached}",
            f"commit: {card.commit}",
            f"parameters: {_listed(card.params)}",
            *([f"notes: {_listed(notes)}"] if notes else []),
            f"file: {_within_project(self.path)}",
        ]
        return "\n".join(lines)


def _average(first: Prediction, second: Prediction) -> Prediction:
    """The mean of both predictions' logits, as probabilities and intensities."""
    # A logarithm is the logit up to a constant of its row, which the softmax removes.
    tiny = np.finfo(np.float32).tiny
    logits = np.log(np.maximum([first.probabilities, second.probabilities], tiny)).mean(axis=0)
    intensities = None
    if first.intensities is not None and second.intensities is not None:
        inner = np.clip([first.intensities, second.intensities], 1e-7, 1 - 1e-7)
        intensities = expit(logit(inner).mean(axis=0))
    return Prediction(first.classes, softmax(logits, axis=1), intensities)


def find_weights(name_or_path: str | Path) -> Path:
    """The weights file of a model's name, or the path itself.

    A name is searched first among the user's runs of the paper study (`build/paper`), then
    among the published weights (`reports/paper/weights`), then in the sample study
    (`build/sample`), whose drawn faces are no people.

    Raises:
        UserError: if there is no such name, or nothing trained of that name.
    """
    name = str(name_or_path)
    if name in TASKS:
        places = [build_folder("paper"), published_weights(), build_folder("sample")]
        for folder in places:
            for place in (folder, folder / "intensity" / name):
                if (place / f"{name}.safetensors").is_file():
                    return place / f"{name}.safetensors"
        searched = ", ".join(str(folder) for folder in places)
        raise UserError(
            f"no trained {name} was found (looked in {searched}): run `uv run fer study sample`, "
            "restore the published weights with `git checkout reports`, or name a weights file."
        )
    if Path(name).is_file() or Path(name).suffix in SUFFIXES:
        return Path(name)  # a missing file is reported where it is read
    raise UserError(
        f"{name} is neither a model's name nor a file: choose one of {', '.join(TASKS)}, "
        "or name a .safetensors or .onnx file."
    )


def published_weights() -> Path:
    """Folder of the weights that come with the project."""
    return project_root() / "reports" / "paper" / "weights"


def _within_project(path: Path) -> Path:
    """The path from the project's folder if it lies in there: the same on every machine."""
    root, path = project_root(), path.resolve()
    return path.relative_to(root) if path.is_relative_to(root) else path


def _listed(facts: dict) -> str:
    """Facts on one line: `epochs 5, lr 0.002`."""

    def text(value: object) -> str:
        return f"{value:.6g}" if isinstance(value, float) else str(value)

    return ", ".join(f"{name} {text(value)}" for name, value in facts.items())
