"""Which images are worth a look: the worst errors, and those that a model is least certain of."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pneumocli.core.calibration import apply_temperature
from pneumocli.core.metrics import call_labels, check_scores

CASES = 8


def find_errors(y_true: ArrayLike, y_score: ArrayLike, threshold: float) -> NDArray[np.int64]:
    """Return the places of the images that are called the other class than they are, int64 (E,), rising.

    Raises:
        ValueError: as for `compute_metrics`.
    """
    truth, score = check_scores(y_true, y_score)
    return np.flatnonzero(call_labels(score, threshold) != truth)


def find_worst_errors(
    y_true: ArrayLike, y_score: ArrayLike, threshold: float, temperature: float, most: int = CASES
) -> NDArray[np.int64]:
    """Return the errors whose calibrated probability is farthest from the calibrated threshold.

    Half of them are missed pneumonia and half are normal images called pneumonia; where there are fewer
    of one kind, more of the other, so that a frequent kind does not hide a rare one.

    Args:
        y_true: (N,), 0 or 1; both must occur.
        y_score: (N,), 0 to 1, uncalibrated.
        threshold: on their scale.
        temperature: above 0.
        most: how many at most.

    Returns:
        Places, int64 (up to `most`,): the farthest first, equally far ones in their order.

    Raises:
        ValueError: as for `compute_metrics`.
    """
    truth, score = check_scores(y_true, y_score)
    distance = _measure_distance(score, threshold, temperature)
    errors = find_errors(truth, score, threshold)
    errors = errors[np.argsort(-distance[errors], kind="stable")]
    missed, alarms = errors[truth[errors] == 1], errors[truth[errors] == 0]
    half = most // 2
    taken_missed = min(len(missed), max(half, most - len(alarms)))
    taken = np.concatenate([missed[:taken_missed], alarms[: most - taken_missed]])
    return errors[np.isin(errors, taken)]


def find_least_certain(
    y_score: ArrayLike, threshold: float, temperature: float, most: int = CASES
) -> NDArray[np.int64]:
    """Return the images whose calibrated probability is nearest to the calibrated threshold.

    Args:
        y_score: (N,), 0 to 1, uncalibrated.
        threshold: on their scale.
        temperature: above 0.
        most: how many at most.

    Returns:
        Places, int64 (up to `most`,): the nearest first, equally near ones in their order.
    """
    return np.argsort(_measure_distance(y_score, threshold, temperature), kind="stable")[:most]


def _measure_distance(y_score: ArrayLike, threshold: float, temperature: float) -> NDArray[np.float64]:
    return np.abs(apply_temperature(y_score, temperature) - apply_temperature(threshold, temperature))
