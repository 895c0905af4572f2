"""Intervals against a second way to get each, and against how often they hold."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from pneumocli.core.resampling import (
    AT_ONCE,
    Interval,
    bound_values,
    compute_resampled,
    draw_resamples,
    weigh_figures,
)
from pneumocli.core.uncertainty import (
    Z,
    bound_auc,
    bound_share,
    compute_auc_covariance,
    estimate_at,
    estimate_figures,
)


def draw_scores(
    rng: np.random.Generator, normal: int, pneumonia: int, models: int = 1
) -> tuple[NDArray, ...]:
    y_true = np.r_[np.zeros(normal, int), np.ones(pneumonia, int)]
    case = rng.normal(size=len(y_true)) + 1.2 * y_true
    # Rounded, so that some are tied.
    return y_true, np.round(case + rng.normal(scale=0.7, size=(models, len(y_true))), 1)


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (10, 10), (5, 10), (380, 390), (1, 1), (233, 234)])
def test_share_solves_wilsons_equation(hits: int, n: int) -> None:
    interval = bound_share(hits, n)
    assert 0 <= interval.low <= hits / n <= interval.high <= 1
    for bound in (interval.low, interval.high):
        # The bounds are the shares that lie 1.96 of their own standard errors from what was seen.
        assert (hits / n - bound) ** 2 == pytest.approx(Z**2 * bound * (1 - bound) / n, abs=1e-9)


def test_share_of_nothing_is_unknown() -> None:
    assert math.isnan(bound_share(0, 0).low)
    assert math.isnan(bound_share(0, 0).high)


def count_pairs(y_true: NDArray, y_score: NDArray) -> NDArray:
    """For each pneumonia and each normal image 1, 1/2 or 0: right, tied or wrong order."""
    positive, negative = y_score[y_true == 1], y_score[y_true == 0]
    return (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)


def test_auc_covariance_is_delongs_by_counting_pairs() -> None:
    y_true, y_scores = draw_scores(np.random.default_rng(0), 23, 41, models=3)
    auc, covariance = compute_auc_covariance(y_true, y_scores)
    pairs = [count_pairs(y_true, row) for row in y_scores]
    assert auc == pytest.approx([pair.mean() for pair in pairs])
    by_image = [np.array([pair.mean(axis=axis) for pair in pairs]) for axis in (1, 0)]
    expected = sum(np.cov(part) / part.shape[1] for part in by_image)
    assert covariance == pytest.approx(expected)


def test_auc_covariance_does_not_depend_on_the_order_of_images() -> None:
    rng = np.random.default_rng(1)
    y_true, y_scores = draw_scores(rng, 20, 30, models=2)
    order = rng.permutation(50)
    for before, after in zip(
        compute_auc_covariance(y_true, y_scores),
        compute_auc_covariance(y_true[order], y_scores[:, order]),
        strict=True,
    ):
        assert after == pytest.approx(before)


def test_auc_interval_holds_the_truth_about_95_times_of_100() -> None:
    rng = np.random.default_rng(2)
    # Scores N(0, 1) and N(2, 1): the AUC is the normal distribution's 2 / sqrt(2).
    truth = 0.5 * (1 + math.erf(1.0))
    held = 0
    for _ in range(400):
        y_true, case = np.r_[np.zeros(60), np.ones(90)], rng.normal(size=150)
        interval = bound_auc(y_true, case + 2 * y_true)
        assert 0 < interval.low < interval.high < 1
        held += interval.low <= truth <= interval.high
    assert 0.92 <= held / 400 <= 0.98


def test_perfect_auc_has_no_width() -> None:
    interval = bound_auc([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9])
    assert interval == Interval(1.0, 1.0)
    assert not interval.says_something


def test_what_no_resample_changes_has_no_interval_and_shares_of_images_have() -> None:
    y_true = np.repeat([0, 1], 5)
    parted = estimate_figures(y_true, np.linspace(0, 1, 10), 0.5)
    constant = estimate_figures(y_true, np.full(10, 0.7), 0.5)
    for found in (parted, constant):
        for name in ("roc_auc", "average_precision", "balanced_accuracy", "f1"):
            assert found[name].value is not None
            assert (found[name].low, found[name].high) == (None, None), name
        for name in ("accuracy", "sensitivity", "specificity"):
            assert found[name].low < found[name].high
    # Scores that are right and not sure leave an error that differs from draw to draw.
    assert parted["brier"].low < parted["brier"].high


@pytest.mark.parametrize("wrong", ["normal", "pneumonia"])
def test_a_class_without_an_error_leaves_no_interval_to_what_counts_both(wrong: str) -> None:
    # Of the other class 5 images are all right: a share that draws of them cannot change.
    y_true = np.repeat([0, 1], [200, 5] if wrong == "normal" else [5, 200])
    y_score = np.where(y_true == 1, 0.9, 0.1)
    rows = np.flatnonzero(y_true == (wrong == "pneumonia"))[:30]
    y_score[rows] = 1 - y_score[rows]
    found = estimate_figures(y_true, y_score, resamples=200)
    for name in ("balanced_accuracy", "f1"):
        assert found[name].value is not None
        assert (found[name].low, found[name].high) == (None, None), name
    for name in ("accuracy", "average_precision", "brier"):
        assert found[name].low < found[name].high


def test_scores_that_are_none_are_refused_by_estimates() -> None:
    for y_true, y_score in (([0, 1], [0.2, float("nan")]), ([0, 1], [0.2, 3.0]), ([0, 2], [0.2, 0.3])):
        with pytest.raises(ValueError, match=r"y_true|y_score"):
            estimate_figures(y_true, y_score)
    assert estimate_figures([0.0, 1.0, 1.0], [0.2, 0.7, 0.4]) == estimate_figures([0, 1, 1], [0.2, 0.7, 0.4])


def test_several_thresholds_have_the_figures_of_each() -> None:
    y_true, y_score = draw_probabilities(9)
    thresholds = (0.5, 0.2, 0.8)
    found = estimate_at(y_true, y_score, thresholds, resamples=30)
    assert found == [estimate_figures(y_true, y_score, threshold, resamples=30) for threshold in thresholds]
    assert found[0]["sensitivity"] != found[1]["sensitivity"]


def test_draws_gone_through_some_at_a_time_are_those_of_one_go() -> None:
    y_true, y_score = draw_probabilities(10)
    resamples = 2 * AT_ONCE + 7
    drawn = draw_resamples(y_true, resamples, seed=5)
    rng = np.random.default_rng(5)
    for label in (0, 1):
        n = int((y_true == label).sum())
        assert (drawn[:, y_true == label] == rng.multinomial(n, np.full(n, 1 / n), resamples)).all()
    compute = weigh_figures(y_true, y_score)["average_precision"]
    assert (compute_resampled(compute, drawn) == compute(drawn.astype(np.int64))).all()


def test_resamples_of_many_images_fit_in_little_memory() -> None:
    import tracemalloc

    rng = np.random.default_rng(11)
    y_true = (rng.random(4000) < 0.7).astype(int)
    tracemalloc.start()
    try:
        estimate_figures(y_true, rng.random(4000), resamples=1000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # The draws themselves are 8 MB; as 8 bytes each with all copies at once it was 190.
    assert peak < 40e6


@pytest.mark.parametrize("y_true", [[0, 1, 1], [0, 0, 1], [1, 1]])
def test_auc_needs_two_images_of_each_class(y_true: list[int]) -> None:
    with pytest.raises(ValueError, match="two images of each class"):
        bound_auc(y_true, np.linspace(0, 1, len(y_true)))


def test_resamples_keep_each_class_and_come_from_the_seed() -> None:
    y_true = np.array([0, 1, 1, 0, 1, 1, 1])
    drawn = draw_resamples(y_true, 500, seed=3)
    assert drawn.shape == (500, 7)
    assert (drawn[:, y_true == 0].sum(axis=1) == 2).all()
    assert (drawn[:, y_true == 1].sum(axis=1) == 5).all()
    assert drawn.mean(axis=0) == pytest.approx(np.ones(7), abs=0.15)
    assert (drawn == draw_resamples(y_true, 500, seed=3)).all()
    assert (drawn != draw_resamples(y_true, 500, seed=4)).any()


def test_bootstrap_agrees_with_scipys() -> None:
    from scipy.stats import bootstrap

    rng = np.random.default_rng(4)
    values = rng.exponential(size=200)
    drawn = draw_resamples(np.zeros(200, int), 4000)
    ours = bound_values(drawn @ values / drawn.sum(axis=1))
    theirs = bootstrap((values,), np.mean, n_resamples=4000, method="percentile", rng=rng).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.01)


def draw_probabilities(seed: int) -> tuple[NDArray, NDArray]:
    y_true, y_scores = draw_scores(np.random.default_rng(seed), 37, 58)
    return y_true, 1 / (1 + np.exp(-y_scores[0]))


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.9])
def test_every_estimate_is_scikit_learns_figure(threshold: float) -> None:
    from sklearn import metrics

    y_true, y_score = draw_probabilities(5)
    y_pred = y_score >= threshold
    found = estimate_figures(y_true, y_score, threshold, resamples=50)
    expected = {
        "roc_auc": metrics.roc_auc_score(y_true, y_score),
        "average_precision": metrics.average_precision_score(y_true, y_score),
        "accuracy": metrics.accuracy_score(y_true, y_pred),
        "balanced_accuracy": metrics.balanced_accuracy_score(y_true, y_pred),
        "f1": metrics.f1_score(y_true, y_pred),
        "sensitivity": metrics.recall_score(y_true, y_pred),
        "specificity": metrics.recall_score(y_true, y_pred, pos_label=0),
        "ppv": metrics.precision_score(y_true, y_pred),
        "npv": metrics.precision_score(y_true, y_pred, pos_label=0),
        "brier": metrics.brier_score_loss(y_true, y_score),
    }
    assert {name: estimate.value for name, estimate in found.items()} == pytest.approx(expected)
    is_bounded = all(0 < found[name].hits < found[name].of for name in ("sensitivity", "specificity"))
    for name, estimate in found.items():
        if name in ("balanced_accuracy", "f1") and not is_bounded:
            assert estimate.low is estimate.high is None
            continue
        assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1, name
        if estimate.of is not None:
            assert estimate.hits / estimate.of == pytest.approx(estimate.value)


def test_bootstrap_weighs_images_as_drawing_them_anew_would() -> None:
    from sklearn import metrics

    y_true, y_score = draw_probabilities(6)
    drawn = draw_resamples(y_true, 200, seed=7)
    slow: dict[str, list[float]] = {name: [] for name in ("f1", "balanced_accuracy", "average_precision")}
    for weights in drawn:
        truth, score = np.repeat(y_true, weights), np.repeat(y_score, weights)
        slow["f1"].append(metrics.f1_score(truth, score >= 0.6))
        slow["balanced_accuracy"].append(metrics.balanced_accuracy_score(truth, score >= 0.6))
        slow["average_precision"].append(metrics.average_precision_score(truth, score))
    found = estimate_figures(y_true, y_score, 0.6, resamples=200, seed=7)
    for name, values in slow.items():
        bounds = np.quantile(values, [0.025, 0.975])
        assert (found[name].low, found[name].high) == pytest.approx(tuple(bounds)), name


def test_nothing_called_pneumonia_has_no_ppv() -> None:
    y_true, y_score = draw_probabilities(8)
    found = estimate_figures(y_true, y_score, 1.0, resamples=20)
    assert (found["ppv"].value, found["ppv"].low, found["ppv"].of) == (None, None, 0)
    assert found["f1"].value == 0


def test_one_image_of_a_class_leaves_only_the_aucs_interval_open() -> None:
    found = estimate_figures([0, 1, 1], [0.2, 0.4, 0.9], resamples=20)
    assert (found["roc_auc"].value, found["roc_auc"].low, found["roc_auc"].high) == (1.0, None, None)
    assert found["specificity"].low is not None
