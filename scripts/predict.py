"""Run every trained network of a study over its test images: `python scripts/predict.py STUDY`

Writes `build/STUDY/predictions/NETWORK.npz`, from which all evaluation notebooks compute their
figures. FER2013's networks predict PublicTest and PrivateTest; the seven-class network also CK+, on
which it was not trained; for SupCon's encoder its features of some faces of PublicTest are written.
(The folds of CK+ are predicted where they are trained, in notebook 48.)
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import torch

from fer_lib.data.arrays import Fer13, load_ckplus, load_fer13
from fer_lib.evaluation import predictions
from fer_lib.models.forward import predict_logits
from fer_lib.models.weights import load_encoder, load_model, read_weights
from fer_lib.params import Architecture, load
from fer_lib.paths import build_folder, intensity_folder
from fer_lib.progress import progress_bar
from fer_tools.explain.gallery import sample_unique


def main(study: str) -> None:
    """Write all predictions of a study, replacing earlier ones."""
    settings, build = load(study), build_folder(study)
    out = build / "predictions"
    shutil.rmtree(out, ignore_errors=True)
    data = load_fer13(build / "fer13.npz")
    test = data.select(data.usage != "Training")
    weights = trained(study)
    with progress_bar(len(weights) + 2, f"{study}: predictions", unit="network") as bar:
        for name, (file, about) in weights.items():
            network, card = load_model(file)
            about |= {"network": name, "data": "fer2013"}
            predicted = predictions.predict(network, card, test.images, test.row, about)
            predictions.save(out / f"{name}.npz", predicted)
            bar.update()
        ck = load_ckplus(build / "ckplus.npz")
        network, card = load_model(build / "fer13-7.safetensors")
        about = {"network": "fer13-7-on-ckplus", "data": "ckplus", "seed": card.params["seed"]}
        names = predictions.ckplus_names(ck)
        predicted = predictions.predict(network, card, ck.images, names, about)
        predictions.save(out / "fer13-7-on-ckplus.npz", predicted)
        bar.update()
        features = encoded(build / "encoder.safetensors", data, settings.evaluation.seed)
        predictions.save(out / "supcon.npz", features)
        bar.update()


def trained(study: str) -> dict[str, tuple[Path, dict]]:
    """Weights files by the network's name, with metadata that their cards lack."""
    settings, build = load(study), build_folder(study)
    files: dict[str, tuple[Path, dict]] = {}
    for task, train in settings.train.items():
        for seed in (train.seed, *settings.further_seeds):
            folder = build if seed == train.seed else build / "seeds" / str(seed)
            name = predictions.name_of(task, seed, train.seed)
            files[name] = folder / f"{task}.safetensors", {"seed": seed}
    for name, two_heads in settings.intensity.items():
        folder = intensity_folder(study, name)
        if (folder / f"{name}.safetensors").exists():  # missing without FER+ votes
            record = json.loads((folder / f"{name}.json").read_text())
            about = {"seed": two_heads.seed, "training_mean": record["training_mean"]}
            files[name] = folder / f"{name}.safetensors", about
    return files


def encoded(file: Path, data: Fer13, seed: int) -> predictions.Predictions:
    """SupCon's features of the faces that notebook 55 analyzes."""
    card = read_weights(file)[1]
    assert isinstance(card.arch, Architecture)
    public = data.select(data.usage == "PublicTest")
    faces = public.select(sample_unique(public.images, np.random.default_rng(seed)))
    encoder = load_encoder(file, card.arch)
    features = predict_logits(encoder, torch.from_numpy(faces.images), title="features").numpy()
    about = {
        "network": "supcon", "task": card.task, "study": card.study, "commit": card.commit,
        "data": "fer2013", "seed": card.params["seed"],
    }  # fmt: skip
    return predictions.Predictions(faces.row, about, features=features.astype(np.float16))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
