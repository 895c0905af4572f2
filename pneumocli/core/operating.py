"""The operating point: the threshold that a rule chooses from scores whose truth is known."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pneumocli.core.metrics import check_scores
from pneumocli.core.rule import parse_rule


def choose_threshold(rule: str, y_true: ArrayLike, y_score: ArrayLike) -> float:
    """Return the threshold of a rule; an image is called pneumonia where its score is at least this.

    `youden` has the highest sensitivity + specificity - 1 (Youden 1950, Cancer 3:32), `f1` the highest
    F1; where several are equally high it is the lowest of them, which misses least pneumonia.
    `sensitivity:X` is the highest threshold with a sensitivity of at least X, `specificity:X` the
    lowest with a specificity of at least X. A number is the threshold itself.

    All thresholds between two neighbouring scores call the same images; the one half way is taken, 0
    and 1 being the neighbours of the lowest and of the highest score. Tied scores are called alike.
    Normal images with a score of 1 are called pneumonia at every threshold: where they keep
    `specificity:X` from being reached, the highest threshold is taken.

    Args:
        rule: as `parse_rule` takes it.
        y_true: (N,), 0 = normal, 1 = pneumonia; both must occur.
        y_score: (N,), 0 to 1.

    Returns:
        0 to 1. In float64: half way between two float32 scores there need not be another float32.

    Raises:
        SettingError: there is no such rule.
        ValueError: as for `compute_metrics`.
    """
    wanted = parse_rule(rule)
    truth, score = check_scores(y_true, y_score)
    if wanted.kind == "threshold":
        assert wanted.value is not None
        return wanted.value
    levels, place = np.unique(score, return_inverse=True)
    positive = np.bincount(place[truth == 1], minlength=len(levels))
    negative = np.bincount(place[truth == 0], minlength=len(levels))
    # Entry i calls pneumonia what is at the i-th level or above it; the last calls nothing.
    tp = np.append(np.cumsum(positive[::-1])[::-1], 0)
    tn = np.append(0, np.cumsum(negative))
    thresholds = _halve(np.append(0.0, levels), np.append(levels, 1.0))
    if levels[-1] == 1:
        tp, tn, thresholds = tp[:-1], tn[:-1], thresholds[:-1]
    n_positive, n_negative = positive.sum(), negative.sum()
    if wanted.kind == "sensitivity":
        return float(thresholds[np.flatnonzero(tp / n_positive >= wanted.value)[-1]])
    if wanted.kind == "specificity":
        reached = np.flatnonzero(tn / n_negative >= wanted.value)
        return float(thresholds[reached[0] if len(reached) else -1])
    if wanted.kind == "f1":
        fp = n_negative - tn
        return float(thresholds[np.argmax(2 * tp / (tp + fp + n_positive))])
    # Sensitivity + specificity over one denominator: whole numbers, whose ties are exact.
    return float(thresholds[np.argmax(tp * n_negative + tn * n_positive)])


def _halve(low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.float64]:
    half = low + (high - low) / 2
    # Between neighbouring float64 numbers there is no other: the higher one calls the same.
    return np.where(half > low, half, high)
