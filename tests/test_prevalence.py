"""PPV and NPV elsewhere against patients counted one by one, and their intervals against draws."""

import numpy as np
import pytest

from pneumocli.core.metrics import Metrics, compute_metrics
from pneumocli.core.prevalence import PredictiveValues, project_values
from pneumocli.core.uncertainty import Z


def count_calls(tn: int, fp: int, fn: int, tp: int) -> Metrics:
    y_true = np.repeat([0, 0, 1, 1], [tn, fp, fn, tp])
    return compute_metrics(y_true, np.repeat([0.1, 0.9, 0.1, 0.9], [tn, fp, fn, tp]))


@pytest.mark.parametrize("prevalence", [0.01, 0.2, 0.5, 0.97])
def test_values_are_those_of_patients_counted_one_by_one(prevalence: float) -> None:
    patients = 1_000_000
    ill = round(patients * prevalence)
    found, alarmed = 0.9 * ill, 0.25 * (patients - ill)
    values = project_values(count_calls(tn=75, fp=25, fn=10, tp=90), prevalence)
    assert values.ppv == pytest.approx(found / (found + alarmed))
    assert values.npv == pytest.approx(0.75 * (patients - ill) / (patients - found - alarmed))


def test_values_at_the_images_own_share_are_theirs() -> None:
    metrics = count_calls(tn=2, fp=1, fn=1, tp=4)
    values = project_values(metrics, 5 / 8)
    assert values.ppv == pytest.approx(4 / 5)
    assert values.npv == pytest.approx(2 / 3)


def test_values_of_nobody_are_unknown() -> None:
    assert project_values(count_calls(tn=4, fp=0, fn=5, tp=0), 0.3) == PredictiveValues(
        None, pytest.approx(0.7)
    )
    assert project_values(count_calls(tn=0, fp=4, fn=0, tp=5), 0.3) == PredictiveValues(
        pytest.approx(0.3), None
    )
    metrics = count_calls(tn=8, fp=2, fn=1, tp=9)
    assert project_values(metrics, 0.0) == PredictiveValues(0.0, 1.0)
    assert project_values(metrics, 1.0) == PredictiveValues(1.0, 0.0)


@pytest.mark.parametrize("empty", ["tn", "fp", "fn", "tp"])
def test_a_class_that_is_all_right_or_all_wrong_bounds_nothing(empty: str) -> None:
    values = project_values(count_calls(**{"tn": 8, "fp": 2, "fn": 1, "tp": 9, empty: 0}), 0.1)
    assert (values.ppv_low, values.ppv_high, values.npv_low, values.npv_high) == (None,) * 4


def test_bounds_lie_two_errors_away_by_numerical_derivatives() -> None:
    normal, pneumonia, prevalence = 234, 390, 0.05
    metrics = count_calls(tn=208, fp=26, fn=5, tp=385)
    values = project_values(metrics, prevalence)

    def take_logits(sensitivity: float, specificity: float) -> np.ndarray:
        right = sensitivity * prevalence / ((1 - specificity) * (1 - prevalence))
        return np.log([right, specificity * (1 - prevalence) / ((1 - sensitivity) * prevalence)])

    at, step = (metrics.sensitivity, metrics.specificity), 1e-6
    slopes = [
        (take_logits(at[0] + step, at[1]) - take_logits(*at)) / step,
        (take_logits(at[0], at[1] + step) - take_logits(*at)) / step,
    ]
    variances = [at[0] * (1 - at[0]) / pneumonia, at[1] * (1 - at[1]) / normal]
    errors = np.sqrt(sum(slope**2 * variance for slope, variance in zip(slopes, variances, strict=True)))
    bounds = [1 / (1 + np.exp(-(take_logits(*at) + sign * Z * errors))) for sign in (-1, 1)]
    assert bounds[0] == pytest.approx([values.ppv_low, values.npv_low], rel=1e-5)
    assert bounds[1] == pytest.approx([values.ppv_high, values.npv_high], rel=1e-5)


def test_intervals_hold_the_truth_about_95_times_of_100() -> None:
    rng = np.random.default_rng(0)
    ppv = 0.9 * 0.1 / (0.9 * 0.1 + 0.2 * 0.9)
    npv = 0.8 * 0.9 / (0.8 * 0.9 + 0.1 * 0.1)
    held = np.zeros(2)
    for _ in range(600):
        tp, tn = rng.binomial(150, 0.9), rng.binomial(120, 0.8)
        found = project_values(count_calls(tn=tn, fp=120 - tn, fn=150 - tp, tp=tp), 0.1)
        assert None not in (found.ppv_low, found.ppv_high, found.npv_low, found.npv_high)
        held += [found.ppv_low <= ppv <= found.ppv_high, found.npv_low <= npv <= found.npv_high]
    assert (np.abs(held / 600 - 0.95) <= 0.03).all()
