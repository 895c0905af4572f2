"""The bootstrap: images drawn anew, each class with its size, and figures of all draws at once.

A draw is kept as how often each image was drawn, so that a figure of 2,000 draws is a few sums. Draws take
2 bytes each an image, and are gone through some at a time: a hundred thousand images take half a GB.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pneumocli.core.clusters import CONFIDENCE, number_clusters
from pneumocli.core.metrics import call_labels

RESAMPLES = 2000
AT_ONCE = 100  # draws whose figure is computed together

Weigh = Callable[[NDArray[np.int64]], NDArray[np.float64]]


@dataclass(frozen=True)
class Interval:
    """The 95 % interval of a figure; NaN where there is nothing to count."""

    low: float
    high: float

    @property
    def says_something(self) -> bool:
        """Whether it has a width; without one the images are too few, or too easy, to bound the figure."""
        return self.low < self.high

    @property
    def told(self) -> tuple[float | None, float | None]:
        """The bounds, or twice None where they say nothing."""
        return (self.low, self.high) if self.says_something else (None, None)


def draw_resamples(
    y_true: ArrayLike,
    resamples: int = RESAMPLES,
    seed: int = 0,
    groups: NDArray[np.int64] | None = None,
) -> NDArray[np.int16]:
    """Return how often each image is drawn, (resamples, N): each class with replacement, its size kept.

    Where images belong together, return how often each group is drawn, (resamples, I), in the order of
    `clusters.number_clusters` (Field and Welsh 2007, Journal of the Royal Statistical Society B 69:369): from
    those with normal images alone, with pneumonia alone, and with both, as many as there are of each, so
    that no class is ever missing.
    """
    truth = np.asarray(y_true).ravel()
    rng = np.random.default_rng(seed)
    clusters = number_clusters(groups)
    # The share of each cluster's images that have pneumonia: 0, 1 or in between.
    held = truth if clusters is None else np.bincount(clusters, truth) / np.bincount(clusters)
    strata = [np.flatnonzero(stratum) for stratum in (held == 0, held == 1, (held > 0) & (held < 1))]
    # That one image is drawn more often than an int16 holds does not happen: its mean is 1.
    drawn = np.zeros((resamples, len(held)), np.int16)
    for rows in filter(len, strata):
        shares = np.full(len(rows), 1 / len(rows))
        for start in range(0, resamples, AT_ONCE):
            some = slice(start, min(start + AT_ONCE, resamples))
            drawn[some, rows] = rng.multinomial(len(rows), shares, some.stop - some.start)
    return drawn


def compute_resampled(
    compute: Weigh, drawn: NDArray[np.int16], groups: NDArray[np.int64] | None = None
) -> NDArray[np.float64]:
    """Return a figure of each draw, (R,).

    Args:
        compute: one of `weigh_figures`.
        drawn, groups: (R, N) or (R, I) of `draw_resamples`, and the groups that it was given.
    """
    clusters = number_clusters(groups)
    parts = (drawn[start : start + AT_ONCE].astype(np.int64) for start in range(0, len(drawn), AT_ONCE))
    return np.concatenate(
        [compute(part if clusters is None else part.take(clusters, axis=1)) for part in parts]
    )


def bound_values(values: NDArray[np.float64]) -> Interval:
    """Return the percentile interval of a figure's values (R,) over resamples.

    Efron 1979, Annals of Statistics 7:1. Where no resample differs, as where all images are called right,
    it has no width and says nothing; see `Interval.says_something`.
    """
    low, high = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(float(low), float(high))


def weigh_figures(y_true: ArrayLike, y_score: ArrayLike, threshold: float = 0.5) -> dict[str, Weigh]:
    """Return functions that give a figure (R,) for each row of weights (R, N) of the images.

    They are accuracy, balanced_accuracy, f1, sensitivity, specificity, average_precision and brier
    (the mean squared difference of score and truth; Brier 1950, lower is better).

    Args:
        y_true: (N,), 0 or 1; both must occur, and in every row with a weight.
        y_score: (N,), 0 to 1.
        threshold: called pneumonia where `y_score >= threshold`.
    """
    truth, score = np.asarray(y_true).ravel(), np.asarray(y_score, dtype=np.float64).ravel()
    is_called = call_labels(score, threshold) == 1
    order = np.argsort(-score, kind="stable")
    last_of_ties = np.flatnonzero(np.diff(score[order], append=-np.inf))

    def compute_f1(weights: NDArray[np.int64]) -> NDArray[np.float64]:
        called, hits = weights[:, is_called].sum(axis=1), weights[:, is_called & (truth == 1)].sum(axis=1)
        return 2 * hits / (called + weights[:, truth == 1].sum(axis=1))

    def compute_rate(weights: NDArray[np.int64], label: int) -> NDArray[np.float64]:
        right = weights[:, (truth == label) & (is_called == label)].sum(axis=1)
        return right / weights[:, truth == label].sum(axis=1)

    def compute_balanced_accuracy(weights: NDArray[np.int64]) -> NDArray[np.float64]:
        return (compute_rate(weights, 0) + compute_rate(weights, 1)) / 2

    def compute_accuracy(weights: NDArray[np.int64]) -> NDArray[np.float64]:
        return weights[:, is_called == truth].sum(axis=1) / weights.sum(axis=1)

    def compute_average_precision(weights: NDArray[np.int64]) -> NDArray[np.float64]:
        called = np.cumsum(weights[:, order], axis=1)[:, last_of_ties]
        hits = np.cumsum(weights[:, order] * truth[order], axis=1)[:, last_of_ties]
        # Before the first drawn image nothing is called, and nothing is added.
        precision = hits / np.maximum(called, 1)
        recall_steps = np.diff(hits, axis=1, prepend=0) / hits[:, -1:]
        return (precision * recall_steps).sum(axis=1)

    def compute_brier(weights: NDArray[np.int64]) -> NDArray[np.float64]:
        return weights @ (score - truth) ** 2 / weights.sum(axis=1)

    return {
        "accuracy": compute_accuracy,
        "balanced_accuracy": compute_balanced_accuracy,
        "f1": compute_f1,
        "sensitivity": lambda weights: compute_rate(weights, 1),
        "specificity": lambda weights: compute_rate(weights, 0),
        "average_precision": compute_average_precision,
        "brier": compute_brier,
    }
