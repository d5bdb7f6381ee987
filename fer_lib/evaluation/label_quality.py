"""Finding what is wrong with a data set without looking at it, and telling how well that works.

Suspected labels and strange images come from cleanlab (Northcutt et al. 2021, Kuan and Mueller
2022), near-duplicates from imagehash's perceptual hash (Zauner 2010), neighbours from scikit-learn.
Here they are only given the study's arrays, and scored against those who know better: the FER+
taggers, or in the sample study the truth.
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

NEAR = 4  # of a hash's 64 bits: two images that differ in no more are taken for one


def suspected_labels(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Positions of images whose label is likely wrong, the most suspect first.

    Confident learning: an image is suspect if the network gives another class a probability as high
    as that class's own images get on average.

    Args:
        labels: (N,) int.
        probabilities: (N, K) of a network that was not trained on these images.
    """
    # One process: starting others takes longer than the counting.
    return find_label_issues(
        labels, probabilities, return_indices_ranked_by="self_confidence", n_jobs=1
    )


def score_of(suspects: np.ndarray, faulty: np.ndarray) -> Mapping[str, float]:
    """How well positions `suspects` find the images where `faulty` (N,) is True.

    Returns:
        precision (share of the suspects that are faulty), recall (share of the faulty that are
        suspected), base (share of faulty images overall), each in [0, 1]; NaN without any.
    """
    hit = float(faulty[suspects].sum())
    return {
        "precision": hit / len(suspects) if len(suspects) else float("nan"),
        "recall": hit / faulty.sum() if faulty.any() else float("nan"),
        "base": float(faulty.mean()),
    }


def strangeness(known: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """How far images lie from those of a data set, by their distance to the nearest neighbours.

    Args:
        known: (M, F) features of the data set.
        asked: (N, F) features of the images.

    Returns:
        (N,) in [0, 1], larger is stranger.
    """
    judge = OutOfDistribution()
    judge.fit(features=known, verbose=False)
    return 1 - np.asarray(judge.score(features=asked))


def ranking(scores: np.ndarray, faulty: np.ndarray) -> float:
    """Area under the ROC curve: the chance that a faulty image outranks a good one; NaN without."""
    return float(roc_auc_score(faulty, scores)) if 0 < faulty.sum() < len(faulty) else float("nan")


def hashes(images: np.ndarray) -> np.ndarray:
    """Perceptual hash of each image, (N, H, W) uint8 -> (N,) uint64; alike images differ little."""
    found = np.zeros(len(images), dtype=np.uint64)
    with progress_bar(len(images), "hashes", unit="image") as bar:
        for number, image in enumerate(images):
            bits = imagehash.phash(Image.fromarray(image)).hash.ravel()
            found[number] = np.packbits(bits).view(">u8")[0]
            bar.update()
    return found


def nearest_hash(known: np.ndarray, asked: np.ndarray) -> pd.DataFrame:
    """For each hash of `asked` the closest of `known`: columns position (into known), bits."""
    rows = [np.bitwise_count(known ^ one) for one in asked]
    return pd.DataFrame(
        [(int(row.argmin()), int(row.min())) for row in rows], columns=["position", "bits"]
    )


def neighbours(known: np.ndarray, asked: np.ndarray, count: int) -> np.ndarray:
    """Positions of the `count` closest features of `known` by angle: (N, count), closest first."""
    search = NearestNeighbors(n_neighbors=count, metric="cosine").fit(known)
    return search.kneighbors(asked, return_distance=False)
