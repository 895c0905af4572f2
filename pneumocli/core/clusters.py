"""Images that belong together, such as those of one patient, in the arithmetic of intervals.

What one image of a patient says the next one says partly again, so that intervals which count images as
independent are too narrow. Here clusters are what is independent.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

CONFIDENCE = 0.95
FEW = 5  # clusters with an answer: from so many on their spread is believed


def number_clusters(groups: NDArray[np.int64] | None) -> NDArray[np.int64] | None:
    """Return the groups counted from 0, int64 (N,); None where every image is on its own."""
    if groups is None:
        return None
    found, clusters = np.unique(groups, return_inverse=True)
    return None if len(found) == len(groups) else clusters.astype(np.int64)


def count_clusters(groups: NDArray[np.int64] | None) -> int | None:
    """Return how many groups there are; None where nothing is known of any."""
    return None if groups is None else len(np.unique(groups))


def count_smaller_class(y_true: NDArray[np.int64], groups: NDArray[np.int64] | None) -> int:
    """Return how many clusters, or images on their own, hold a class: of the class that fewer hold."""
    numbers = np.arange(len(y_true)) if groups is None else groups
    return min(len(np.unique(numbers[y_true == label])) for label in (0, 1))


def sum_clusters(values: ArrayLike, clusters: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the sums over each cluster.

    Args:
        values: (M, N).
        clusters: (N,), counted from 0.

    Returns:
        (M, I) of I clusters.
    """
    rows = np.atleast_2d(np.asarray(values, dtype=np.float64))
    return np.stack([np.bincount(clusters, row, int(clusters.max()) + 1) for row in rows])


def measure_effect(is_hit: ArrayLike, groups: NDArray[np.int64] | None) -> float:
    """Return the design effect of a share: by how much belonging together widens its variance.

    Rao and Scott 1992, Biometrics 48:577: the variance of the ratio of hits to images over clusters, against
    that of as many independent images; never below 1. Few clusters tell it badly, for which it grows as the
    square of Student's t over the normal quantile (Korn and Graubard 1998, Survey Methodology 24:193). Where
    the rarer answer is in fewer than `FEW` clusters there is too little to see it by, and the images of a
    cluster are taken to be all alike, the most that it can be (Kish 1965, Survey Sampling).

    Args:
        is_hit: (N,), of the images that the share is of; at least one.
        groups: int64 (N,), of the same images; None if each is on its own.
    """
    from scipy.stats import norm, t

    clusters = number_clusters(groups)
    if clusters is None:
        return 1.0
    hits = np.asarray(is_hit, dtype=np.float64)
    n, share = len(hits), float(hits.mean())
    sizes = np.bincount(clusters)
    alike = float(sizes @ sizes) / n
    if len(sizes) == 1:
        return alike
    held = np.bincount(clusters, hits)
    effect = 1.0
    if 0 < share < 1:
        residuals = held - share * sizes
        variance = len(sizes) / (len(sizes) - 1) * float(residuals @ residuals) / n**2
        effect = max(effect, variance / (share * (1 - share) / n))
    if min((held > 0).sum(), (held < sizes).sum()) < FEW:
        effect = max(effect, alike)
    quantile = (1 + CONFIDENCE) / 2
    return effect * float(t.ppf(quantile, len(sizes) - 1) / norm.ppf(quantile)) ** 2
