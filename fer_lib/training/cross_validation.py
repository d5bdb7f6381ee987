"""Cross-validation on CK+: each fold trained from one encoder, for a fixed number of epochs.

Nothing is chosen on a test fold: no early stopping, no best epoch. So the figure is what the last
epoch gives. A fold that is done leaves its logits in a small file whose name identifies settings,
data and code; run again, it costs nothing.
"""

from dataclasses import asdict
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch

from fer_lib.files import alone, whole
from fer_lib.models.forward import predict_logits
from fer_lib.models.msfernet import Encoder, MSFERNet
from fer_lib.params import Training
from fer_lib.precision import resolve
from fer_lib.training.checkpoints import fingerprint, flat_weights
from fer_lib.training.loop import Fitted, fit
from fer_lib.training.losses import cross_entropy
from fer_lib.training.objective import Objective


def classifier_on(encoder: Encoder, classes: int, settings: Training) -> MSFERNet:
    """A network with a copy of `encoder` and a new classifier, drawn from the settings' seed."""
    torch.manual_seed(settings.seed)
    model = MSFERNet(classes, encoder.arch, settings.dropout)
    model.encoder.load_state_dict(encoder.state_dict())
    return model


def run_name(title: str, model: MSFERNet, settings: Training, *arrays: np.ndarray) -> str:
    """A file name that is the same only for the same settings, data, starting weights and code.

    Args:
        title: the beginning of the name.
        model: from `classifier_on`; its weights are those of encoder and new classifier.
        settings: of the run.
        arrays: its data.
    """
    everything = {"training": resolve(settings).model_dump(), "model": asdict(model.encoder.arch)}
    return f"{title}-{fingerprint(everything, [*arrays, flat_weights(model)])}"


def train_from(
    encoder: Encoder,
    images: np.ndarray,
    labels: np.ndarray,
    settings: Training,
    *,
    classes: int,
    folder: Path,
    title: str,
) -> tuple[MSFERNet, Fitted, Path]:
    """Fine-tune a copy of `encoder` with a new classifier on all the images given.

    Args:
        encoder: where to start; stays as it is.
        images: (N, 48, 48) uint8.
        labels: (N,) int64, 0 to classes - 1; classes above the largest label stay untrained.
        settings: one run of the training loop; the last epoch's weights are kept.
        classes: number of logits.
        folder: where the checkpoint goes.
        title: of the progress bar, and the beginning of the checkpoint's name.

    Returns:
        The network (CPU, evaluation mode), the run's history, and the checkpoint's path.
    """
    model = classifier_on(encoder, classes, settings)
    checkpoint = folder / f"{run_name(title, model, settings, images, labels)}.pt"
    fitted = fit(
        model, torch.from_numpy(images), torch.from_numpy(labels), settings,
        Objective(cross_entropy(settings)), checkpoint=checkpoint, title=title,
    )  # fmt: skip
    return model.cpu().eval(), fitted, checkpoint


def cross_validate(
    encoder: Encoder,
    images: np.ndarray,
    labels: np.ndarray,
    fold: np.ndarray,
    settings: Training,
    *,
    classes: int,
    folder: Path,
    title: str,
) -> np.ndarray:
    """Logits for every image from the network that was trained without the image's fold.

    Args:
        encoder: where each fold's training starts.
        images: (N, 48, 48) uint8.
        labels: (N,) int64.
        fold: (N,) int64, the fold in which an image is tested.
        settings: the same for each fold.
        classes: number of logits K.
        folder: where results of finished folds are kept.
        title: of the progress bars and files.

    Returns:
        (N, K) float32.
    """
    logits = np.zeros((len(images), classes), dtype=np.float32)
    for number in np.unique(fold):
        test, name = fold == number, f"{title}-{number + 1}"
        arrays = images[~test], labels[~test], images[test]
        start = classifier_on(encoder, classes, settings)
        kept = folder / f"{run_name(name, start, settings, *arrays)}.npy"
        with alone(kept):
            result = _read_logits(kept, (int(test.sum()), classes))
            if result is None:
                model, _, checkpoint = train_from(
                    encoder, *arrays[:2], settings, classes=classes, folder=folder, title=name
                )
                result = predict_logits(model, torch.from_numpy(images[test])).numpy()
                with whole(kept) as part, part.open("wb") as file:
                    np.save(file, result)
                checkpoint.unlink()  # 50 MB a fold, and the logits are all that is needed of it
        logits[test] = result
    return logits


def _read_logits(path: Path, shape: tuple[int, int]) -> np.ndarray | None:
    """Logits of a finished fold; None if there are none, or if writing them was cut short."""
    try:
        logits = np.load(path, allow_pickle=False)
    except (FileNotFoundError, ValueError, EOFError, BadZipFile):
        return None
    return logits if logits.shape == shape else None
