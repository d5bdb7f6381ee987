"""How classes lie in a space of features: numbers of the space itself, and a picture of it.

Shapes: N faces, F features. Directions count, not lengths, as in the SupCon loss.
"""

import numpy as np
from sklearn.linear_model import RidgeClassifierCV
from sklearn.manifold import TSNE
from sklearn.metrics import silhouette_score
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, normalize


def neighbours_accuracy(features: np.ndarray, labels: np.ndarray, count: int = 20) -> float:
    """Share of faces whose label most of their nearest others carry, in [0, 1].

    No face is its own neighbour. Where labels tie, the smallest counts.

    Args:
        features: (N, F), or the (N, 2) of a picture.
        labels: (N,) int >= 0.
        count: neighbours asked, below N.
    """
    nearest = NearestNeighbors(n_neighbors=count).fit(features).kneighbors(return_distance=False)
    votes = np.zeros((len(labels), labels.max() + 1), dtype=np.int64)
    np.add.at(votes, (np.arange(len(labels))[:, None], labels[nearest]), 1)
    return float(np.mean(votes.argmax(axis=1) == labels))


def linear_accuracy(features: np.ndarray, labels: np.ndarray) -> float:
    """Share of faces that a linear classifier names rightly, trained on the other four fifths.

    Ridge regression on the classes; how strongly it is held back is chosen within the four fifths.
    """
    classifier = make_pipeline(StandardScaler(), RidgeClassifierCV(np.logspace(0, 4, 9)))
    return float(cross_val_score(classifier, features, labels, cv=5).mean())


def silhouette(features: np.ndarray, labels: np.ndarray) -> float:
    """How much closer a face lies to its own class than to the next one, in [-1, 1].

    The mean of (b - a) / max(a, b) over the faces, with a the mean distance to its own class and b
    that to the nearest other class (Rousseeuw 1987). At 0 classes lie within one another.
    """
    return float(silhouette_score(features, labels))


def directions(features: np.ndarray) -> np.ndarray:
    """Features of length 1, (N, F); a row of zeros stays."""
    return normalize(features)


def flattened(features: np.ndarray, seed: int) -> np.ndarray:
    """A picture of the space by t-SNE (van der Maaten and Hinton 2008).

    It keeps neighbours together. Distances between groups, their sizes and their densities are
    arbitrary.

    Args:
        features: (N, F), N above 30, the perplexity.
        seed: of its random numbers; the start is the first two principal components.

    Returns:
        (N, 2) float32.
    """
    return TSNE(2, init="pca", max_iter=500, random_state=seed).fit_transform(features)
