"""Curves and counts from `y_true` and `y_score`: the numbers behind the pictures of a split."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pneumocli.core.metrics import check_scores, compute_roc

SAMPLES = 201
BINS = 30


@dataclass(frozen=True)
class MeanRoc:
    """The mean of several ROC curves, and how far they lie apart.

    Attributes:
        false_positive_rate: float64 (G,), from 0 to 1.
        mean: float64 (G,), of the curves' true positive rates.
        sd: float64 (G,), their standard deviation (n - 1).
        low, high: float64 (G,), mean minus and plus one standard deviation, kept in 0 to 1.
    """

    false_positive_rate: NDArray[np.float64]
    mean: NDArray[np.float64]
    sd: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True)
class PrecisionRecall:
    """A precision-recall curve, as steps: a precision holds from its recall back to the one before.

    Attributes:
        recall: float64 (P,), rising from 0 to 1; the sensitivity.
        precision: float64 (P,), 0 to 1; the PPV. The first, where nothing is called pneumonia, is 1.
        average_precision: the area under the steps.
    """

    recall: NDArray[np.float64]
    precision: NDArray[np.float64]
    average_precision: float


@dataclass(frozen=True)
class ScoreCounts:
    """How many images of each class have which score.

    Attributes:
        edges: float64 (B + 1,), from 0 to 1; a score on an edge is in the bin above it, 1 in the last.
        counts: int64 (2, B), of normal and of pneumonia.
        wrong: int64 (2, B), those of them that are called the other class.
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.int64]
    wrong: NDArray[np.int64]


def sample_roc(
    y_true: ArrayLike, y_score: ArrayLike, false_positive_rate: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the true positive rates of a ROC curve at given false positive rates.

    Fawcett 2006, Pattern Recognition Letters 27:861, algorithm 3: the highest where the curve rises
    upright, and between two of its points on the line that joins them.

    Args:
        y_true: (N,), 0 or 1; both must occur.
        y_score: (N,), 0 to 1.
        false_positive_rate: (G,), 0 to 1.

    Raises:
        ValueError: as for `compute_metrics`.
    """
    x, y = compute_roc(y_true, y_score)
    left = np.searchsorted(x, false_positive_rate, side="right") - 1
    right = np.minimum(left + 1, len(x) - 1)
    width = x[right] - x[left]
    share = np.divide(false_positive_rate - x[left], width, out=np.zeros(len(left)), where=width > 0)
    return y[left] + share * (y[right] - y[left])


def average_roc(parts: Sequence[tuple[ArrayLike, ArrayLike]], samples: int = SAMPLES) -> MeanRoc:
    """Average ROC curves vertically: at each false positive rate the mean of the true positive rates.

    Fawcett 2006, Pattern Recognition Letters 27:861, section 8.1. The standard deviation tells how the
    curves differ; it is no confidence interval.

    Args:
        parts: (y_true, y_score) of each curve, at least two; the images may differ.
        samples: number of false positive rates.

    Raises:
        ValueError: fewer than two curves; else as for `compute_metrics`.
    """
    if len(parts) < 2:
        raise ValueError(f"a mean of ROC curves needs at least two; received {len(parts)}")
    grid = np.linspace(0, 1, samples)
    rows = np.stack([sample_roc(y_true, y_score, grid) for y_true, y_score in parts])
    mean, sd = rows.mean(axis=0), rows.std(axis=0, ddof=1)
    return MeanRoc(grid, mean, sd, np.clip(mean - sd, 0, 1), np.clip(mean + sd, 0, 1))


def compute_precision_recall(y_true: ArrayLike, y_score: ArrayLike) -> PrecisionRecall:
    """Compute the precision-recall curve and the area under its steps.

    Raises:
        ValueError: as for `compute_metrics`.
    """
    from sklearn.metrics import average_precision_score, precision_recall_curve

    truth, score = check_scores(y_true, y_score)
    precision, recall, _ = precision_recall_curve(truth, score)
    return PrecisionRecall(recall[::-1], precision[::-1], float(average_precision_score(truth, score)))


def count_scores(
    y_true: ArrayLike, y_score: ArrayLike, called: NDArray[np.int64], bins: int = BINS
) -> ScoreCounts:
    """Count the images of each class by their score, in equal bins of 0 to 1.

    Args:
        y_true: (N,), 0 or 1; both must occur.
        y_score: (N,), 0 to 1.
        called: (N,), 0 or 1, as `call_labels` gives it.

    Raises:
        ValueError: as for `compute_metrics`.
    """
    truth, score = check_scores(y_true, y_score)
    edges = np.linspace(0, 1, bins + 1)

    def count(rows: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.histogram(score[rows], edges)[0].astype(np.int64)

    return ScoreCounts(
        edges,
        np.stack([count(truth == label) for label in (0, 1)]),
        np.stack([count((truth == label) & (called != truth)) for label in (0, 1)]),
    )
