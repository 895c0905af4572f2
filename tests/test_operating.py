"""The threshold of a rule against every threshold there is, and at ties, plateaus and ends."""

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from pneumocli.core.errors import SettingError
from pneumocli.core.metrics import Metrics, compute_metrics
from pneumocli.core.operating import choose_threshold

RULES = ["youden", "f1", "sensitivity:0.9", "sensitivity:1", "specificity:0.8", "specificity:1"]


def draw_scores(seed: int, n: int = 60, decimals: int | None = None) -> tuple[NDArray, NDArray]:
    rng = np.random.default_rng(seed)
    y_true = np.r_[0, 1, rng.integers(0, 2, n - 2)]
    score = 1 / (1 + np.exp(-(rng.normal(size=n) + 1.5 * y_true)))
    return y_true, (score if decimals is None else np.round(score, decimals)).astype(np.float32)


def list_thresholds(y_score: NDArray) -> list[float]:
    """One threshold for every set of images that can be called."""
    levels = sorted({0.0, 1.0, *map(float, y_score)})
    return [0.0, *((low + high) / 2 for low, high in pairwise(levels)), 1.0]


def count_calls(y_true: NDArray, y_score: NDArray, threshold: float) -> tuple[int, int]:
    """True positives and true negatives, image by image."""
    pairs = [(label, float(score) >= threshold) for label, score in zip(y_true, y_score, strict=True)]
    return sum(label == 1 and called for label, called in pairs), sum(
        label == 0 and not called for label, called in pairs
    )


def serve(rule: str, metrics: Metrics) -> float:
    """How good a threshold is by the rule; the best threshold has the highest."""
    kind, _, value = rule.partition(":")
    if kind == "youden":
        return metrics.sensitivity + metrics.specificity - 1
    if kind == "f1":
        return metrics.f1
    # Kept to first; then the higher threshold for a sensitivity, the lower for a specificity.
    sign = 1 if kind == "sensitivity" else -1
    return sign * metrics.threshold if getattr(metrics, kind) >= float(value) else -np.inf


@pytest.mark.parametrize("decimals", [None, 1, 2])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seed", range(3))
def test_no_threshold_serves_the_rule_better(rule: str, seed: int, decimals: int | None) -> None:
    y_true, y_score = draw_scores(seed, n=30, decimals=decimals)
    chosen = choose_threshold(rule, y_true, y_score)
    assert 0 <= chosen <= 1
    all_of_them = [compute_metrics(y_true, y_score, threshold) for threshold in list_thresholds(y_score)]
    best = max(all_of_them, key=lambda metrics: serve(rule, metrics))
    found = compute_metrics(y_true, y_score, chosen)
    if rule in ("youden", "f1"):
        assert serve(rule, found) == pytest.approx(serve(rule, best), abs=1e-12)
        equal = [each for each in all_of_them if serve(rule, each) >= serve(rule, best) - 1e-12]
        assert (found.tp, found.tn) == (max(each.tp for each in equal), min(each.tn for each in equal))
    else:
        assert (found.tp, found.tn) == (best.tp, best.tn)


@pytest.mark.parametrize("rule", RULES)
def test_threshold_lies_half_way_between_neighbouring_scores(rule: str) -> None:
    y_true, y_score = draw_scores(1)
    chosen = choose_threshold(rule, y_true, y_score)
    levels = np.array(sorted({0.0, 1.0, *map(float, y_score)}))
    above = np.searchsorted(levels, chosen)
    assert chosen == pytest.approx((levels[above - 1] + levels[above]) / 2, abs=1e-15)
    assert chosen not in levels


def test_sensitivity_is_kept_and_no_higher_threshold_keeps_it() -> None:
    y_true, y_score = draw_scores(2, n=200)
    chosen = choose_threshold("sensitivity:0.95", y_true, y_score)
    positives = int(y_true.sum())
    assert count_calls(y_true, y_score, chosen)[0] / positives >= 0.95
    next_score = min(float(score) for score in y_score if score >= chosen)
    assert count_calls(y_true, y_score, np.nextafter(next_score, 1))[0] / positives < 0.95


def test_specificity_is_kept_and_no_lower_threshold_keeps_it() -> None:
    y_true, y_score = draw_scores(3, n=200)
    chosen = choose_threshold("specificity:0.95", y_true, y_score)
    negatives = int((y_true == 0).sum())
    assert count_calls(y_true, y_score, chosen)[1] / negatives >= 0.95
    last_score = max(float(score) for score in y_score if score < chosen)
    assert count_calls(y_true, y_score, last_score)[1] / negatives < 0.95


def test_share_that_is_just_reached_counts() -> None:
    y_true = np.r_[np.zeros(20, int), np.ones(20, int)]
    y_score = np.r_[np.arange(20), np.arange(20)] / 40 + 0.1
    assert compute_metrics(y_true, y_score, choose_threshold("sensitivity:0.95", y_true, y_score)).tp == 19
    assert compute_metrics(y_true, y_score, choose_threshold("specificity:0.95", y_true, y_score)).tn == 19


def test_neighbours_in_float32_are_told_apart() -> None:
    low = np.float32(0.7)
    high = np.nextafter(low, np.float32(1))
    y_true, y_score = np.array([0, 0, 1, 1]), np.array([low, low, high, high])
    for rule in ("youden", "f1", "sensitivity:1", "specificity:1"):
        chosen = choose_threshold(rule, y_true, y_score)
        assert float(low) < chosen < float(high)
        assert compute_metrics(y_true, y_score, chosen).accuracy == 1


def test_neighbours_in_float64_are_told_apart() -> None:
    low = np.float64(0.7)
    for step in range(4):  # half of the sums of neighbours round down, half up
        high = np.nextafter(low, 1)
        chosen = choose_threshold("youden", [0, 1], [low, high])
        assert low < chosen <= high, step
        low = high


@pytest.mark.parametrize("rule", ["youden", "f1", "sensitivity:1", "specificity:1"])
def test_perfect_scores_are_parted_in_the_middle_of_the_gap(rule: str) -> None:
    assert choose_threshold(rule, [0, 0, 1, 1], [0.125, 0.25, 0.5, 0.875]) == 0.375


def test_tied_scores_are_called_alike() -> None:
    y_true, y_score = [0, 1, 1, 0, 1], [0.25, 0.5, 0.5, 0.5, 0.75]
    assert choose_threshold("youden", y_true, y_score) == 0.375  # 1 + 1/2, against 1/3 + 1 above the ties
    assert choose_threshold("sensitivity:0.5", y_true, y_score) == 0.375
    assert choose_threshold("specificity:0.6", y_true, y_score) == 0.625


def test_of_equally_good_thresholds_the_lowest_is_taken() -> None:
    y_true, y_score = [0, 1, 0, 1], [0.125, 0.375, 0.625, 0.875]
    assert choose_threshold("youden", y_true, y_score) == 0.25  # as good at 0.75
    assert choose_threshold("youden", [0, 1], [0.5, 0.5]) == 0.25  # all called, or none


def test_ends_lie_half_way_to_0_and_1() -> None:
    y_true, y_score = [1, 0, 0, 1], [0.25, 0.5, 0.5, 0.75]
    assert choose_threshold("sensitivity:1", y_true, y_score) == 0.125
    assert choose_threshold("sensitivity:0", y_true, y_score) == 0.875
    assert choose_threshold("specificity:0", y_true, y_score) == 0.125
    assert choose_threshold("specificity:1", [0, 1], [0.75, 0.5]) == 0.875


def test_scores_of_0_and_1_stay_inside() -> None:
    assert choose_threshold("sensitivity:1", [1, 0], [0.0, 1.0]) == 0.0
    assert choose_threshold("specificity:1", [1, 0], [0.0, 1.0]) == 0.5  # out of reach: as high as it goes
    assert choose_threshold("sensitivity:0", [1, 0], [1.0, 0.0]) == 0.5
    assert choose_threshold("youden", [0, 1, 1], [0.0, 1.0, 1.0]) == 0.5


def test_number_is_the_threshold_itself() -> None:
    assert choose_threshold("0.3", [0, 1], [0.9, 0.1]) == 0.3


@pytest.mark.parametrize("rule", [*RULES, "0.5"])
@pytest.mark.parametrize("label", [0, 1])
def test_one_class_says_nothing_of_a_threshold(rule: str, label: int) -> None:
    with pytest.raises(ValueError, match="both classes"):
        choose_threshold(rule, [label] * 4, [0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize("y_score", [[0.1, 1.1], [0.1, float("nan")], [0.1]])
def test_what_is_no_score_is_refused(y_score: list[float]) -> None:
    with pytest.raises(ValueError, match="y_score"):
        choose_threshold("youden", [0, 1], y_score)


def test_no_such_rule() -> None:
    with pytest.raises(SettingError, match="'best'"):
        choose_threshold("best", [0, 1], [0.1, 0.9])


def test_order_of_the_images_is_of_no_account() -> None:
    y_true, y_score = draw_scores(4, decimals=2)
    order = np.random.default_rng(0).permutation(len(y_true))
    for rule in RULES:
        assert choose_threshold(rule, y_true[order], y_score[order]) == choose_threshold(
            rule, y_true, y_score
        )
