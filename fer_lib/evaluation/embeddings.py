"""How well the classes separate in a feature space, and its projection to two dimensions.

Shapes: N faces, F features.
"""

import numpy as np
from sklearn.linear_model import RidgeClassifierCV
from sklearn.manifold import TSNE
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def knn_accuracy(features: np.ndarray, labels: np.ndarray, neighbors: int = 20) -> float:
    """Accuracy of a leave-one-out k-nearest-neighbor classifier, in [0, 1].

    No face is its own neighbor. Ties go to the smallest label.

    Args:
        features: (N, F).
        labels: (N,) int >= 0.
        neighbors: k, below N.
    """
    nearest = NearestNeighbors(n_neighbors=neighbors).fit(features)
    voters = nearest.kneighbors(return_distance=False)
    votes = np.zeros((len(labels), labels.max() + 1), dtype=np.int64)
    np.add.at(votes, (np.arange(len(labels))[:, None], labels[voters]), 1)
    return float(np.mean(votes.argmax(axis=1) == labels))


def linear_accuracy(features: np.ndarray, labels: np.ndarray) -> float:
    """Accuracy of a linear probe in five-fold cross-validation, in [0, 1].

    Ridge classification; its penalty is chosen within each training fold.
    """
    classifier = make_pipeline(StandardScaler(), RidgeClassifierCV(np.logspace(0, 4, 9)))
    return float(cross_val_score(classifier, features, labels, cv=5).mean())


def tsne(features: np.ndarray, seed: int) -> np.ndarray:
    """t-SNE (van der Maaten and Hinton 2008), (N, F) to (N, 2) float32.

    It keeps neighbors together. Distances between groups, their sizes and their densities mean
    nothing.

    Args:
        features: (N, F), N above 30, the perplexity.
        seed: of its random numbers; it starts at the first two principal components.
    """
    return TSNE(2, init="pca", max_iter=500, random_state=seed).fit_transform(features)
