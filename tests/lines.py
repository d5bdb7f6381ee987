"""Made-up lines: noise as a network's errors on a face can be."""

import numpy as np


def shared_errors(rng, correlation, sd, count=1500):
    """(N,) noise of which neighbouring frames share so much."""
    errors, fresh = np.zeros(count), rng.normal(0, 1, count)
    for i in range(1, count):
        errors[i] = correlation * errors[i - 1] + (1 - correlation**2) ** 0.5 * fresh[i]
    return sd * errors
