"""The figures, each found in a second way."""

import math
import statistics
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from pneumocli.core.metrics import (
    FIGURES,
    Metrics,
    average_scores,
    call_labels,
    compute_metrics,
    compute_roc,
    summarize_folds,
)


def draw_scores(seed: int, n: int = 60, levels: int = 12) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Labels and scores of few levels, so that there are ties."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([[0, 1], rng.integers(0, 2, n - 2)])
    return labels, rng.integers(0, levels + 1, n) / levels


def count_pairs(labels: NDArray[np.int64], scores: NDArray[np.float64]) -> float:
    """AUC as the share of (pneumonia, normal) pairs in the right order, ties counting half."""
    sick, well = scores[labels == 1], scores[labels == 0]
    return float(np.mean([(one > other) + 0.5 * (one == other) for one in sick for other in well]))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("levels", [1, 12, 10**6])
def test_auc_is_the_share_of_pairs_in_order(seed: int, levels: int) -> None:
    labels, scores = draw_scores(seed, levels=levels)
    assert compute_metrics(labels, scores).roc_auc == pytest.approx(count_pairs(labels, scores), abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_auc_follows_the_order_of_scores_alone(seed: int) -> None:
    labels, scores = draw_scores(seed)
    auc = compute_metrics(labels, scores).roc_auc
    assert compute_metrics(labels, scores**3).roc_auc == pytest.approx(auc)
    assert compute_metrics(labels, 1 - scores).roc_auc == pytest.approx(1 - auc)
    assert compute_metrics(1 - labels, scores).roc_auc == pytest.approx(1 - auc)


def test_figures_of_a_confusion_matrix_counted_by_hand() -> None:
    #        tn   tn   tn   fp   fn   tp   tp   tp   tp   tp
    truth = [0, 0, 0, 0, 1, 1, 1, 1, 1, 1]
    score = [0.0, 0.1, 0.49, 0.9, 0.2, 0.5, 0.6, 0.7, 0.8, 1.0]
    metrics = compute_metrics(truth, score)
    assert (metrics.tn, metrics.fp, metrics.fn, metrics.tp) == (3, 1, 1, 5)
    assert metrics.n == 10
    assert metrics.accuracy == pytest.approx(8 / 10)
    assert metrics.f1 == pytest.approx(10 / 12)
    assert metrics.sensitivity == pytest.approx(5 / 6)
    assert metrics.specificity == pytest.approx(3 / 4)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("threshold", [0.0, 0.25, 0.5, 1.0])
def test_counts_agree_with_counting_row_by_row(seed: int, threshold: float) -> None:
    labels, scores = draw_scores(seed)
    cells = {(truth, called): 0 for truth in (0, 1) for called in (0, 1)}
    for truth, score in zip(labels.tolist(), scores.tolist(), strict=True):
        cells[truth, int(score >= threshold)] += 1
    metrics = compute_metrics(labels, scores, threshold)
    assert (metrics.tn, metrics.fp, metrics.fn, metrics.tp) == tuple(cells.values())
    assert metrics.threshold == threshold


def test_score_at_the_threshold_is_called_pneumonia() -> None:
    assert call_labels([0.5, np.nextafter(0.5, 0)]).tolist() == [1, 0]
    metrics = compute_metrics([1, 0], [0.5, np.nextafter(0.5, 0)])
    assert (metrics.tp, metrics.tn) == (1, 1)


@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_labels_and_figures_agree_at_the_threshold(threshold: float) -> None:
    scores = np.array([threshold, np.nextafter(threshold, 0), np.nextafter(threshold, 1)], np.float32)
    scores = np.concatenate([scores, scores])
    metrics = compute_metrics([0, 0, 0, 1, 1, 1], scores, threshold)
    assert metrics.tp + metrics.fp == call_labels(scores, threshold).sum()


@pytest.mark.parametrize("constant", [0.0, 0.5, 1.0])
def test_constant_score_tells_nothing(constant: float) -> None:
    metrics = compute_metrics([0, 1, 1], [constant] * 3)
    assert metrics.roc_auc == 0.5
    assert metrics.sensitivity + metrics.specificity == 1


def test_nothing_called_pneumonia_gives_zero_not_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    metrics = compute_metrics([0, 1], [0.1, 0.2])
    assert (metrics.f1, metrics.sensitivity, metrics.specificity) == (0, 0, 1)
    assert not recwarn.list


def test_rows_and_columns_are_the_same() -> None:
    labels, scores = draw_scores(0)
    assert compute_metrics(labels[:, None], scores[:, None]) == compute_metrics(labels, scores)


@pytest.mark.parametrize(
    ("truth", "score"),
    [
        ([1, 1], [0.2, 0.4]),
        ([0, 0], [0.2, 0.4]),
        ([], []),
        ([0, 1, 2], [0.1, 0.2, 0.3]),
        ([0, -1], [0.1, 0.2]),
        ([0, 1, 0.5], [0.1, 0.2, 0.3]),
        ([0, 1, math.nan], [0.1, 0.2, 0.3]),
        ([0, 1], [0.1, math.nan]),
        ([0, 1], [0.1, math.inf]),
        ([0, 1], [0.1, 1.001]),
        ([0, 1], [-0.001, 0.5]),
        ([0, 1, 1], [0.1, 0.2]),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")
def test_what_has_no_figures_is_refused(truth: list[float], score: list[float]) -> None:
    with pytest.raises(ValueError, match=r"y_true|y_score"):
        compute_metrics(truth, score)
    with pytest.raises(ValueError, match=r"y_true|y_score"):
        compute_roc(truth, score)


@pytest.mark.parametrize("seed", range(3))
def test_area_under_the_curve_drawn_is_the_auc(seed: int) -> None:
    labels, scores = draw_scores(seed)
    false_positive_rate, true_positive_rate = compute_roc(labels, scores)
    assert (false_positive_rate[0], true_positive_rate[0]) == (0, 0)
    assert (false_positive_rate[-1], true_positive_rate[-1]) == (1, 1)
    assert (np.diff(false_positive_rate) >= 0).all()
    assert (np.diff(true_positive_rate) >= 0).all()
    area = np.trapezoid(true_positive_rate, false_positive_rate)
    assert area == pytest.approx(compute_metrics(labels, scores).roc_auc)


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.8])
def test_curve_passes_through_the_point_of_every_threshold(threshold: float) -> None:
    labels, scores = draw_scores(1)
    metrics = compute_metrics(labels, scores, threshold)
    point = np.array([1 - metrics.specificity, metrics.sensitivity])
    curve = np.stack(compute_roc(labels, scores), axis=1)
    detours = [
        np.linalg.norm(point - start) + np.linalg.norm(end - point) - np.linalg.norm(end - start)
        for start, end in pairwise(curve)
    ]
    assert min(detours) == pytest.approx(0, abs=1e-9)


def test_ensemble_score_is_the_mean_image_by_image() -> None:
    rows = np.random.default_rng(0).random((4, 9), dtype=np.float32)
    expected = [statistics.fmean(column) for column in rows.T.tolist()]
    np.testing.assert_allclose(average_scores(rows), expected, rtol=1e-7)
    assert average_scores(rows).dtype == np.float32
    np.testing.assert_array_equal(average_scores(list(rows)), average_scores(rows))
    np.testing.assert_array_equal(average_scores(rows[:1]), rows[0])


def test_ensemble_score_does_not_depend_on_the_order_of_members() -> None:
    rows = np.random.default_rng(1).random((5, 200), dtype=np.float32)
    np.testing.assert_array_equal(average_scores(rows), average_scores(rows[::-1]))


def test_summary_is_mean_and_sample_deviation() -> None:
    folds = [compute_metrics(*draw_scores(seed)) for seed in range(4)]
    summary = summarize_folds(folds)
    assert tuple(summary) == FIGURES
    for name, entry in summary.items():
        values = [getattr(fold, name) for fold in folds]
        assert entry["mean"] == pytest.approx(statistics.mean(values), abs=1e-12)
        assert entry["sd"] == pytest.approx(statistics.stdev(values), abs=1e-12)


def test_figures_as_a_dictionary_are_plain_numbers() -> None:
    metrics = compute_metrics(*draw_scores(0))
    content = metrics.to_dict()
    assert Metrics(**content) == metrics  # type: ignore[arg-type]
    assert {type(value) for value in content.values()} == {int, float}
