"""How sure each figure is: 95 % intervals, from `y_true` and `y_score` or from counts.

Shares of images (sensitivity, accuracy, ...) have Wilson's interval, the AUC DeLong's, and what is
neither (F1, average precision, ...) a stratified bootstrap's. All of them hold for other images drawn
as those scored were, each taken as independent of the rest: where several are of one patient they are
too narrow, unless that is known (`groups`), and another hospital's figures may lie outside.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pneumocli.core.clusters import count_smaller_class, measure_effect, number_clusters, sum_clusters
from pneumocli.core.metrics import call_labels, check_scores, compute_metrics
from pneumocli.core.resampling import (
    RESAMPLES,
    Interval,
    Weigh,
    bound_values,
    compute_resampled,
    draw_resamples,
    weigh_figures,
)

Z = 1.959963984540054  # the normal distribution's quantile at (1 + CONFIDENCE) / 2


def bound_share(hits: int, n: int, effect: float = 1.0) -> Interval:
    """Return the Wilson interval of `hits` among `n` images.

    Wilson 1927, Journal of the American Statistical Association 22:209, without continuity correction.

    Args:
        effect: of a design in which images belong together, see `clusters.measure_effect`: the images count
            as so many times fewer.
    """
    if n == 0:
        return Interval(float("nan"), float("nan"))
    share, counted = hits / n, n / effect
    middle = (share + Z**2 / (2 * counted)) / (1 + Z**2 / counted)
    half = Z * np.sqrt(share * (1 - share) / counted + (Z / (2 * counted)) ** 2) / (1 + Z**2 / counted)
    # At 0 and 1 the bound is the share itself, but for rounding.
    low, high = float(middle - half), float(middle + half)
    return Interval(0.0 if hits == 0 else low, 1.0 if hits == n else high)


def compute_auc_covariance(
    y_true: ArrayLike, y_scores: ArrayLike, groups: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the AUC of each of M models on the same images, and the covariance of these AUCs.

    DeLong et al. 1988, Biometrics 44:837, by midranks as in Sun and Xu 2014, IEEE Signal Processing
    Letters 21:1389. Where images belong together, that of Obuchowski 1997, Biometrics 53:567, which is
    DeLong's where each is on its own.

    Args:
        y_true: (N,), 0 or 1; at least two images of each class, in at least two groups.
        y_scores: (M, N), one row a model.
        groups: int64 (N,), images of the same number belong together; None if each is on its own.

    Returns:
        AUCs (M,) and covariance (M, M).

    Raises:
        ValueError: fewer than two images, or groups, of a class.
    """
    from scipy.stats import rankdata

    truth, scores = np.asarray(y_true).ravel(), np.atleast_2d(np.asarray(y_scores, dtype=np.float64))
    positive, negative = scores[:, truth == 1], scores[:, truth == 0]
    n_positive, n_negative = positive.shape[1], negative.shape[1]
    if count_smaller_class(truth, groups) < 2:
        raise ValueError(
            "an AUC's variance needs two images of each class, in two groups where they belong together; "
            f"received {n_negative} normal, {n_positive} pneumonia"
        )
    among_all = rankdata(np.concatenate([positive, negative], axis=1), axis=1)
    # Of each image: the share of the other class's images that it stands right to.
    positive_parts = (among_all[:, :n_positive] - rankdata(positive, axis=1)) / n_negative
    negative_parts = 1 - (among_all[:, n_positive:] - rankdata(negative, axis=1)) / n_positive
    auc = positive_parts.mean(axis=1)
    clusters = number_clusters(groups)
    if clusters is None:
        covariance = np.cov(positive_parts) / n_positive + np.cov(negative_parts) / n_negative
        return auc, np.atleast_2d(covariance)
    return auc, _sum_covariance(truth, positive_parts, negative_parts, clusters)


def _sum_covariance(
    truth: NDArray[np.int64],
    positive_parts: NDArray[np.float64],
    negative_parts: NDArray[np.float64],
    clusters: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return Obuchowski's covariance (M, M) of AUCs from each image's part, (M, images of a class)."""
    centred = np.zeros((len(positive_parts), len(truth)))
    centred[:, truth == 1] = positive_parts - positive_parts.mean(axis=1, keepdims=True)
    centred[:, truth == 0] = negative_parts - negative_parts.mean(axis=1, keepdims=True)
    sums, counts = [], []
    for label in (1, 0):
        sums.append(sum_clusters(centred * (truth == label), clusters) / (truth == label).sum())
        counts.append(len(np.unique(clusters[truth == label])))
    within = sum(n / (n - 1) * part @ part.T for n, part in zip(counts, sums, strict=True))
    n_clusters = int(clusters.max()) + 1
    between = n_clusters / (n_clusters - 1) * sums[0] @ sums[1].T
    return np.asarray(within + between + between.T)


def bound_auc(y_true: ArrayLike, y_score: ArrayLike, groups: NDArray[np.int64] | None = None) -> Interval:
    """Return the AUC's interval by DeLong or Obuchowski, taken on the logit scale so that it stays below 1.

    For a perfect AUC the variance is zero, and the interval has no width: it is (1, 1) and says nothing.
    """
    auc, covariance = compute_auc_covariance(y_true, y_score, groups)
    centre, variance = float(auc[0]), float(covariance[0, 0])
    if not 0 < centre < 1:
        return Interval(centre, centre)
    logit = np.log(centre / (1 - centre))
    half = Z * np.sqrt(max(variance, 0)) / (centre * (1 - centre))
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
    groups: NDArray[np.int64] | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Return the figures of one model's scores at one threshold, as `estimate_at` does at several."""
    return estimate_at(y_true, y_score, [threshold], groups, resamples=resamples, seed=seed)[0]


def estimate_at(
    y_true: ArrayLike,
    y_score: ArrayLike,
    thresholds: Sequence[float],
    groups: NDArray[np.int64] | None = None,
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
        groups: int64 (N,), images of the same number belong together, such as those of one patient; None if
            each is on its own.
        resamples, seed: of the bootstrap.

    Raises:
        ValueError: as for `compute_metrics`.
    """
    truth, score = check_scores(y_true, y_score)
    every = [compute_metrics(truth, score, threshold) for threshold in thresholds]
    drawn = draw_resamples(truth, resamples, seed, groups)
    numbers = np.arange(len(truth)) if groups is None else groups

    def estimate(compute: Weigh, is_bounded: bool = True) -> Estimate:
        value = float(compute(np.ones((1, len(truth)), np.int64))[0])
        if not is_bounded:
            return Estimate(value)
        return Estimate(value, *bound_values(compute_resampled(compute, drawn, groups)).told)

    auc = Estimate(every[0].roc_auc)
    # One group that has all images of a class is in every draw, and has nothing to differ from.
    smaller = count_smaller_class(truth, groups)
    has_several = smaller > 1 or groups is None
    if smaller > 1:
        auc = Estimate(every[0].roc_auc, *bound_auc(truth, score, groups).told)
    # What goes by no threshold, and costs most, is computed once.
    weighted = weigh_figures(truth, score)
    average_precision, brier = (
        estimate(weighted[name], has_several) for name in ("average_precision", "brier")
    )
    found = []
    for metrics, threshold in zip(every, thresholds, strict=True):
        weighted = weigh_figures(truth, score, threshold)
        # A class that is all right, or all wrong, is so in every draw, however few its images.
        is_mixed = has_several and min(metrics.tn, metrics.fp, metrics.fn, metrics.tp) > 0
        called = call_labels(score, threshold)
        is_right = called == truth
        shares = {
            name: _estimate_share(is_right[rows], numbers[rows])
            for name, rows in (
                ("accuracy", slice(None)),
                ("sensitivity", truth == 1),
                ("specificity", truth == 0),
                ("ppv", called == 1),
                ("npv", called == 0),
            )
        }
        found.append(
            {
                "roc_auc": auc,
                "average_precision": average_precision,
                "accuracy": shares.pop("accuracy"),
                "balanced_accuracy": estimate(weighted["balanced_accuracy"], is_mixed),
                "f1": estimate(weighted["f1"], is_mixed),
                **shares,
                "brier": brier,
            }
        )
    return found


def _estimate_share(is_right: NDArray[np.bool_], groups: NDArray[np.int64]) -> Estimate:
    hits, n = int(is_right.sum()), len(is_right)
    if n == 0:
        return Estimate(hits=hits, of=n)
    bounds = bound_share(hits, n, measure_effect(is_right, groups))
    return Estimate(hits / n, bounds.low, bounds.high, hits, n)
