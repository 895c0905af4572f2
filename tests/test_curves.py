"""Numbers behind the pictures, each found a second way."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from pneumocli.core.curves import average_roc, compute_precision_recall, count_scores, sample_roc
from pneumocli.core.metrics import call_labels, compute_roc

GRID = np.linspace(0, 1, 201)
Drawn = tuple[NDArray[np.int64], NDArray[np.float64]]


def draw(seed: int, n: int = 150, levels: int | None = None) -> Drawn:
    rng = np.random.default_rng(seed)
    y_true = np.arange(n) % 3 % 2
    y_score = np.clip(0.25 * y_true + 0.75 * rng.random(n), 0, 1)
    return y_true, y_score if levels is None else np.round(y_score * levels) / levels


FOLDS = [draw(0), draw(1, 90), draw(2, 60, levels=5)]


def find_rate(fpr: NDArray[np.float64], tpr: NDArray[np.float64], sample: float) -> float:
    """Fawcett's algorithm point by point, as he writes it: TPR_FOR_FPR."""
    place = 0
    while place < len(fpr) - 1 and fpr[place + 1] <= sample:
        place += 1
    if fpr[place] == sample or place == len(fpr) - 1:
        return float(tpr[place])
    slope = (tpr[place + 1] - tpr[place]) / (fpr[place + 1] - fpr[place])
    return float(tpr[place] + slope * (sample - fpr[place]))


@pytest.mark.parametrize("part", FOLDS)
def test_curve_is_sampled_as_fawcett_does(part: Drawn) -> None:
    fpr, tpr, _ = roc_curve(*part, drop_intermediate=False)
    assert sample_roc(*part, GRID) == pytest.approx([find_rate(fpr, tpr, sample) for sample in GRID])


def test_curve_is_sampled_at_its_own_points() -> None:
    # One of two normal images stands above both with pneumonia: upright at 0.5, then flat.
    sampled = sample_roc([0, 1, 1, 0], [0.9, 0.8, 0.7, 0.1], np.array([0, 0.25, 0.5, 1]))
    assert sampled.tolist() == [0, 0, 1, 1]


def test_mean_of_curves_is_that_of_each_column() -> None:
    found = average_roc(FOLDS)
    rows = [sample_roc(*part, GRID) for part in FOLDS]
    for column in range(len(GRID)):
        values = [row[column] for row in rows]
        mean = sum(values) / 3
        sd = (sum((value - mean) ** 2 for value in values) / 2) ** 0.5
        assert found.mean[column] == pytest.approx(mean)
        assert found.sd[column] == pytest.approx(sd)
        assert found.low[column] == pytest.approx(max(mean - sd, 0))
        assert found.high[column] == pytest.approx(min(mean + sd, 1))
    assert found.false_positive_rate.tolist() == GRID.tolist()
    assert (found.low[-1], found.mean[-1], found.high[-1]) == (1, 1, 1)


def test_area_below_the_mean_is_the_mean_of_the_areas() -> None:
    found = average_roc(FOLDS, samples=20001)
    areas = [roc_auc_score(*part) for part in FOLDS]
    assert auc(found.false_positive_rate, found.mean) == pytest.approx(np.mean(areas), abs=1e-3)


def test_same_curve_twice_has_no_band() -> None:
    found = average_roc([FOLDS[0], FOLDS[0]])
    assert (found.sd == 0).all()
    assert (found.low == found.high).all()


def test_one_curve_has_no_mean() -> None:
    with pytest.raises(ValueError, match="at least two; received 1"):
        average_roc(FOLDS[:1])


@pytest.mark.parametrize("part", FOLDS)
def test_precision_and_recall_counted_by_hand(part: Drawn) -> None:
    y_true, y_score = part
    curve = compute_precision_recall(y_true, y_score)
    assert (curve.recall[0], curve.precision[0]) == (0, 1)
    levels = np.unique(y_score)[::-1]
    area, before = 0.0, 0.0
    points = set()
    for level in levels:
        called = y_score >= level
        precision = float((y_true[called] == 1).mean())
        recall = float((called & (y_true == 1)).sum() / (y_true == 1).sum())
        area += (recall - before) * precision
        before = recall
        points.add((round(recall, 9), round(precision, 9)))
    drawn = {(round(r, 9), round(p, 9)) for r, p in zip(curve.recall[1:], curve.precision[1:], strict=True)}
    assert drawn <= points
    assert curve.average_precision == pytest.approx(area)
    assert curve.average_precision == pytest.approx(average_precision_score(y_true, y_score))
    steps = np.diff(curve.recall) * curve.precision[1:]
    assert steps.sum() == pytest.approx(area)  # what is drawn as steps
    assert (np.diff(curve.recall) >= 0).all()
    assert len(curve.recall) == len(precision_recall_curve(y_true, y_score)[0])


def test_roc_is_sklearns() -> None:
    for part in FOLDS:
        fpr, tpr, _ = roc_curve(*part)
        found = compute_roc(*part)
        assert found[0].tolist() == fpr.tolist()
        assert found[1].tolist() == tpr.tolist()


@pytest.mark.parametrize("threshold", [0.0, 0.4, 0.5, 1.0])
def test_scores_counted_one_by_one(threshold: float) -> None:
    y_true, y_score = draw(3, levels=10)
    found = count_scores(y_true, y_score, call_labels(y_score, threshold), bins=10)
    counts, wrong = np.zeros((2, 10), int), np.zeros((2, 10), int)
    for label, score in zip(y_true, y_score, strict=True):
        place = max(place for place in range(10) if found.edges[place] <= score)
        counts[label, place] += 1
        wrong[label, place] += (score >= threshold) != label
    assert found.counts.tolist() == counts.tolist()
    assert found.wrong.tolist() == wrong.tolist()
    assert found.counts.sum() == len(y_true)


def test_scores_of_0_and_1_are_counted() -> None:
    found = count_scores([0, 1], [0.0, 1.0], np.array([0, 1]))
    assert found.counts[0, 0] == 1
    assert found.counts[1, -1] == 1
