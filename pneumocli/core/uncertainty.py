"""How sure each figure is: 95 % intervals, from `y_true` and `y_score` or from counts.

Shares of images (sensitivity, accuracy, ...) have Wilson's interval, the AUC DeLong's, and what is
neither (F1, average precision, ...) a stratified bootstrap's. All of them hold for other images drawn
as those scored were, each taken as independent of the rest: where several are of one patient they are
too narrow, and another hospital's figures may lie outside.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pneumocli.core.metrics import check_scores, compute_metrics
from pneumocli.core.resampling import (
    CONFIDENCE,
    RESAMPLES,
    Interval,
    Weigh,
    bound_values,
    compute_resampled,
    draw_resamples,
    weigh_figures,
)

Z = 1.959963984540054  # the normal distribution's quantile at (1 + CONFIDENCE) / 2


def bound_share(hits: int, n: int) -> Interval:
    """Return the Wilson interval of `hits` among `n` images.

    Wilson 1927, Journal of the American Statistical Association 22:209, without continuity correction.
    """
    from scipy.stats import binomtest

    if n == 0:
        return Interval(float("nan"), float("nan"))
    found = binomtest(hits, n).proportion_ci(CONFIDENCE, "wilson")
    return Interval(float(found.low), float(found.high))


def compute_auc_covariance(
    y_true: ArrayLike, y_scores: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the AUC of each of M models on the same images, and the covariance of these AUCs.

    DeLong et al. 1988, Biometrics 44:837, by midranks as in Sun and Xu 2014, IEEE Signal Processing
    Letters 21:1389.

    Args:
        y_true: (N,), 0 or 1; at least two images of each class.
        y_scores: (M, N), one row a model.

    Returns:
        AUCs (M,) and covariance (M, M).

    Raises:
        ValueError: fewer than two images of a class.
    """
    from scipy.stats import rankdata

    truth, scores = np.asarray(y_true).ravel(), np.atleast_2d(np.asarray(y_scores, dtype=np.float64))
    positive, negative = scores[:, truth == 1], scores[:, truth == 0]
    n_positive, n_negative = positive.shape[1], negative.shape[1]
    if min(n_positive, n_negative) < 2:
        raise ValueError(
            "an AUC's variance needs two images of each class; "
            f"received {n_negative} normal, {n_positive} pneumonia"
        )
    among_all = rankdata(np.concatenate([positive, negative], axis=1), axis=1)
    # Of each image: the share of the other class's images that it stands right to.
    positive_parts = (among_all[:, :n_positive] - rankdata(positive, axis=1)) / n_negative
    negative_parts = 1 - (among_all[:, n_positive:] - rankdata(negative, axis=1)) / n_positive
    covariance = np.cov(positive_parts) / n_positive + np.cov(negative_parts) / n_negative
    return positive_parts.mean(axis=1), np.atleast_2d(covariance)


def bound_auc(y_true: ArrayLike, y_score: ArrayLike) -> Interval:
    """Return DeLong's interval of the AUC, taken on the logit scale so that it stays below 1.

    For a perfect AUC the variance is zero, and the interval has no width: it is (1, 1) and says nothing.
    """
    auc, covariance = compute_auc_covariance(y_true, y_score)
    centre, variance = float(auc[0]), float(covariance[0, 0])
    if not 0 < centre < 1:
        return Interval(centre, centre)
    logit = np.log(centre / (1 - centre))
    half = Z * np.sqrt(variance) / (centre * (1 - centre))
    return Interval(float(1 / (1 + np.exp(half - logit))), float(1 / (1 + np.exp(-half - logit))))


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval; None where there is nothing, or too little, to count.

    Attributes:
        value: 0 to 1.
        low, high: the interval; None where it would have no width, as the AUC's of perfectly parted images,
            or too little, as the F1's where a class is all right.
        hits, of: for a share of images, how many of how many; else None.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    hits: int | None = None
    of: int | None = None


def estimate_figures(
    y_true: ArrayLike,
    y_score: ArrayLike,
    threshold: float = 0.5,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Return the figures of one model's scores at one threshold, as `estimate_at` does at several."""
    return estimate_at(y_true, y_score, [threshold], resamples=resamples, seed=seed)[0]


def estimate_at(
    y_true: ArrayLike,
    y_score: ArrayLike,
    thresholds: Sequence[float],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[dict[str, Estimate]]:
    """Return the figures of one model's scores with their 95 % intervals, at each threshold.

    They are roc_auc, average_precision, accuracy, balanced_accuracy, f1, sensitivity, specificity,
    ppv and npv (the shares of right calls among those called pneumonia, and normal) and brier (the
    mean squared difference of score and truth; Brier 1950, lower is better).

    Args:
        y_true: (N,), 0 or 1; both must occur.
        y_score: (N,), 0 to 1.
        thresholds: called pneumonia where `y_score >= threshold`.
        resamples, seed: of the bootstrap.

    Raises:
        ValueError: as for `compute_metrics`.
    """
    truth, score = check_scores(y_true, y_score)
    every = [compute_metrics(truth, score, threshold) for threshold in thresholds]
    drawn = draw_resamples(truth, resamples, seed)

    def estimate(compute: Weigh, is_bounded: bool = True) -> Estimate:
        value = float(compute(np.ones((1, len(truth)), np.int64))[0])
        if not is_bounded:
            return Estimate(value)
        return Estimate(value, *bound_values(compute_resampled(compute, drawn)).told)

    auc = Estimate(every[0].roc_auc)
    if np.bincount(truth, minlength=2).min() > 1:
        auc = Estimate(every[0].roc_auc, *bound_auc(truth, score).told)
    # What goes by no threshold, and costs most, is computed once.
    weighted = weigh_figures(truth, score)
    average_precision, brier = estimate(weighted["average_precision"]), estimate(weighted["brier"])
    found = []
    for metrics, threshold in zip(every, thresholds, strict=True):
        weighted = weigh_figures(truth, score, threshold)
        tn, fp, fn, tp = metrics.tn, metrics.fp, metrics.fn, metrics.tp
        # A class that is all right, or all wrong, is so in every draw, however few its images.
        is_mixed = min(tn, fp, fn, tp) > 0
        found.append(
            {
                "roc_auc": auc,
                "average_precision": average_precision,
                "accuracy": _estimate_share(tp + tn, len(truth)),
                "balanced_accuracy": estimate(weighted["balanced_accuracy"], is_mixed),
                "f1": estimate(weighted["f1"], is_mixed),
                "sensitivity": _estimate_share(tp, tp + fn),
                "specificity": _estimate_share(tn, tn + fp),
                "ppv": _estimate_share(tp, tp + fp),
                "npv": _estimate_share(tn, tn + fn),
                "brier": brier,
            }
        )
    return found


def _estimate_share(hits: int, n: int) -> Estimate:
    if n == 0:
        return Estimate(hits=hits, of=n)
    bounds = bound_share(hits, n)
    return Estimate(hits / n, bounds.low, bounds.high, hits, n)
