"""Label errors, out-of-distribution images and near-duplicates of a data set.

Label errors and outliers are found by cleanlab (Northcutt et al. 2021, Kuan and Mueller 2022),
near-duplicates by imagehash's perceptual hash (Zauner 2010), nearest neighbors by scikit-learn.
"""

import warnings
from collections.abc import Mapping

import imagehash
import numpy as np
import pandas as pd
from PIL import Image
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from fer_lib.progress import progress_bar

with warnings.catch_warnings():  # it asks for a progress bar of Jupyter's that nobody uses here
    warnings.simplefilter("ignore")
    from cleanlab.filter import find_label_issues
    from cleanlab.outlier import OutOfDistribution

NEAR = 4  # bits of 64: hashes of near-duplicates differ in no more


def suspected_labels(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Positions of images whose label is likely wrong, the likeliest first.

    Confident learning: a label is suspect if the network gives another class a probability as high
    as images with that label get on average.

    Args:
        labels: (N,) int.
        probabilities: (N, K) of a network that was not trained on these images.
    """
    # One process: starting others takes longer than the search.
    return find_label_issues(
        labels, probabilities, return_indices_ranked_by="self_confidence", n_jobs=1
    )


def detection_scores(suspects: np.ndarray, faulty: np.ndarray) -> Mapping[str, float]:
    """Precision and recall of the positions `suspects` for the images where `faulty` (N,) is True.

    Returns:
        precision, recall and base (the fraction of faulty images), each in [0, 1]; NaN without any.
    """
    hits = float(faulty[suspects].sum())
    return {
        "precision": hits / len(suspects) if len(suspects) else float("nan"),
        "recall": hits / faulty.sum() if faulty.any() else float("nan"),
        "base": float(faulty.mean()),
    }


def outlier_scores(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """How far out of distribution images are, by the distance to their nearest training images.

    Args:
        train: (M, F) features of the training images.
        test: (N, F) features of the images to score.

    Returns:
        (N,) in [0, 1], larger is further out.
    """
    detector = OutOfDistribution()
    detector.fit(features=train, verbose=False)
    return 1 - np.asarray(detector.score(features=test))


def auroc(scores: np.ndarray, faulty: np.ndarray) -> float:
    """Area under the ROC curve; NaN where all or none are faulty."""
    return float(roc_auc_score(faulty, scores)) if 0 < faulty.sum() < len(faulty) else float("nan")


def perceptual_hashes(images: np.ndarray) -> np.ndarray:
    """Perceptual hash of each image, (N, H, W) uint8 -> (N,) uint64."""
    found = np.zeros(len(images), dtype=np.uint64)
    with progress_bar(len(images), "hashes", unit="image") as bar:
        for number, image in enumerate(images):
            bits = imagehash.phash(Image.fromarray(image)).hash.ravel()
            found[number] = np.packbits(bits).view(">u8")[0]
            bar.update()
    return found


def nearest_hash(train: np.ndarray, test: np.ndarray) -> pd.DataFrame:
    """For each hash of `test` the closest of `train`: columns position (into train), bits."""
    rows = [np.bitwise_count(train ^ code) for code in test]
    return pd.DataFrame(
        [(int(row.argmin()), int(row.min())) for row in rows], columns=["position", "bits"]
    )


def nearest_neighbors(train: np.ndarray, test: np.ndarray, count: int) -> np.ndarray:
    """Positions of the `count` closest features of `train` by angle: (N, count), closest first."""
    search = NearestNeighbors(n_neighbors=count, metric="cosine").fit(train)
    return search.kneighbors(test, return_distance=False)
