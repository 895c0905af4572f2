"""Temperature and calibration figures against a second way to get each."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit, logit
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss

from pneumocli.core.calibration import (
    apply_temperature,
    bin_scores,
    fit_temperature,
    measure_calibration,
    measure_reliability,
)


def draw_calibrated(seed: int, n: int = 4000, spread: float = 2.0) -> tuple[NDArray, NDArray]:
    """Truth drawn with the probability that is the score."""
    rng = np.random.default_rng(seed)
    y_score = expit(rng.normal(scale=spread, size=n))
    return (rng.random(n) < y_score).astype(int), y_score


def scale(y_score: NDArray, temperature: float) -> NDArray:
    """Scores that this temperature would mend."""
    return expit(logit(y_score) * temperature)


def count_error(y_true: NDArray, y_score: NDArray) -> float:
    """The expected calibration error, image by image."""
    in_bin: dict[int, list[tuple[float, int]]] = {}
    for score, label in zip(y_score.tolist(), y_true.tolist(), strict=True):
        number = next(number for number in range(15) if score <= (number + 1) / 15 or number == 14)
        in_bin.setdefault(number, []).append((score, label))
    total = 0.0
    for images in in_bin.values():
        scores, labels = zip(*images, strict=True)
        total += len(images) / len(y_true) * abs(sum(scores) / len(images) - sum(labels) / len(images))
    return total


def test_calibrated_scores_have_a_temperature_near_1() -> None:
    for seed in range(5):
        assert fit_temperature(*draw_calibrated(seed)) == pytest.approx(1, abs=0.08)


@pytest.mark.parametrize("temperature", [0.3, 0.5, 2.0, 6.0])
def test_known_scaling_is_found(temperature: float) -> None:
    y_true, y_score = draw_calibrated(0, spread=0.6)  # six times as far out nothing is clipped yet
    own = fit_temperature(y_true, y_score)
    found = fit_temperature(y_true, scale(y_score, temperature))
    # Exactly so many times the temperature of the same images as they were.
    assert found == pytest.approx(own * temperature, rel=1e-3)
    assert found == pytest.approx(temperature, rel=0.2)


def test_no_temperature_on_a_grid_has_a_lower_log_loss() -> None:
    y_true, y_score = draw_calibrated(1, n=300)
    y_score = scale(y_score, 0.4).astype(np.float32)
    least = log_loss(y_true, apply_temperature(y_score, fit_temperature(y_true, y_score)))
    for temperature in np.geomspace(0.06, 19, 400):
        assert least <= log_loss(y_true, expit(logit(y_score.astype(float)) / temperature)) + 1e-12


def test_temperature_is_that_of_a_logistic_regression_without_intercept() -> None:
    from sklearn.linear_model import LogisticRegression

    y_true, y_score = draw_calibrated(2, n=500)
    logits = logit(scale(y_score, 1.7))[:, np.newaxis]
    slope = LogisticRegression(C=1e12, fit_intercept=False, tol=1e-10).fit(logits, y_true).coef_[0, 0]
    assert fit_temperature(y_true, scale(y_score, 1.7)) == pytest.approx(1 / slope, rel=1e-4)


def test_perfect_scores_say_nothing_of_a_temperature() -> None:
    y_true = np.array([0, 0, 0, 1, 1, 1])
    assert fit_temperature(y_true, [0.1, 0.2, 0.4, 0.6, 0.7, 0.9]) == 1
    assert fit_temperature(y_true, y_true.astype(float)) == 1


def test_perfect_order_elsewhere_than_at_a_half_still_has_one() -> None:
    temperature = fit_temperature([0, 0, 1, 1], [0.3, 0.6, 0.7, 0.9])
    assert 0.05 < temperature < 20
    assert temperature != 1


def test_scores_against_the_truth_say_nothing_of_a_temperature() -> None:
    y_true, y_score = draw_calibrated(3)
    assert fit_temperature(1 - y_true, y_score) == 1


def test_scores_of_0_and_1_that_are_wrong_are_borne() -> None:
    temperature = fit_temperature([0, 1, 1, 0, 1], [0.0, 1.0, 0.0, 0.2, 0.8])
    assert math.isfinite(temperature)
    assert np.isfinite(apply_temperature([0.0, 1.0], temperature)).all()


def test_temperature_of_1_changes_nothing() -> None:
    y_score = draw_calibrated(4)[1]
    np.testing.assert_allclose(apply_temperature(y_score, 1), y_score, rtol=1e-12)


@pytest.mark.parametrize("temperature", [0.2, 0.7, 1.5, 8.0])
def test_temperature_divides_the_logit_and_keeps_the_order(temperature: float) -> None:
    y_score = np.sort(draw_calibrated(5)[1].astype(np.float32))
    calibrated = apply_temperature(y_score, temperature)
    np.testing.assert_allclose(calibrated, expit(logit(y_score.astype(float)) / temperature), rtol=1e-9)
    assert (np.diff(calibrated) >= 0).all()
    assert calibrated.dtype == np.float64
    # What is called pneumonia is the same on both scales.
    threshold = 0.37
    np.testing.assert_array_equal(
        y_score >= threshold, calibrated >= apply_temperature(threshold, temperature)
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("temperature", [1.0, 0.5, 3.0])
def test_figures_are_those_of_a_second_way(seed: int, temperature: float) -> None:
    y_true, y_score = draw_calibrated(seed, n=500)
    y_score = scale(y_score, temperature).astype(np.float32)
    found = measure_reliability(y_true, y_score)
    assert found.brier == pytest.approx(brier_score_loss(y_true, y_score))
    assert found.log_loss == pytest.approx(log_loss(y_true, y_score.astype(float)))
    assert found.ece == pytest.approx(count_error(y_true, y_score.astype(float)))


def test_bins_are_those_of_the_calibration_curve() -> None:
    y_true, y_score = draw_calibrated(6, n=200)
    bins = [part for part in bin_scores(y_true, y_score) if part.n]
    share, mean_score = calibration_curve(y_true, y_score, n_bins=15, strategy="uniform")
    assert [part.share for part in bins] == pytest.approx(share.tolist())
    assert [part.mean_score for part in bins] == pytest.approx(mean_score.tolist())


def test_bins_hold_every_image_once() -> None:
    y_score = np.r_[0.0, 1.0, np.arange(16) / 15, 0.5]
    y_true = np.r_[0, 1, np.arange(17) % 2]
    bins = bin_scores(y_true, y_score)
    assert len(bins) == 15
    assert sum(part.n for part in bins) == len(y_score)
    assert (bins[0].low, bins[-1].high) == (0, 1)
    for part in bins:
        expected = [
            score for score in y_score if part.low < score <= part.high or (score == 0 and part.low == 0)
        ]
        assert part.n == len(expected)
        if part.n:
            assert part.mean_score == pytest.approx(np.mean(expected))


def test_empty_bin_has_no_figures() -> None:
    part = bin_scores([0, 1], [0.01, 0.99])[7]
    assert (part.n, part.mean_score, part.share) == (0, None, None)


def test_calibrated_scores_have_a_small_error() -> None:
    assert measure_reliability(*draw_calibrated(7, n=20_000)).ece < 0.015


def test_temperature_mends_the_scores_that_it_was_fitted_on() -> None:
    y_true, y_score = draw_calibrated(8)
    off = scale(y_score, 0.4)
    found = measure_calibration(y_true, off, fit_temperature(y_true, off))
    assert found.worse == ()
    assert found.after.log_loss < found.before.log_loss
    assert found.after.ece < found.before.ece / 2
    assert found.before == measure_reliability(y_true, off)


def test_temperature_that_harms_is_told() -> None:
    y_true, y_score = draw_calibrated(9)
    found = measure_calibration(y_true, y_score, 0.3)
    assert found.worse == ("brier", "ece", "log_loss")
    for name in found.worse:
        assert getattr(found.after, name) > getattr(found.before, name)


def test_temperature_of_1_makes_nothing_worse() -> None:
    y_true, y_score = draw_calibrated(10)
    ends = np.where(y_true, 1.0, 0.0)
    for scores in (y_score, y_score.astype(np.float32), ends):
        assert measure_calibration(y_true, scores, 1.0).worse == ()


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_is_refused(label: int) -> None:
    for use in (fit_temperature, measure_reliability, bin_scores):
        with pytest.raises(ValueError, match="both classes"):
            use([label] * 3, [0.1, 0.2, 0.3])


@pytest.mark.parametrize(
    ("y_true", "y_score"),
    [
        ([0, 0, 1, 1], [0, 0.5, 0.5, 1]),
        ([0, 1, 1], [0.01, 0.5, 0.99]),
        ([0] * 50 + [1] * 50, [0.1] * 49 + [0.5] + [0.9] * 50),
    ],
)
def test_classes_parted_but_for_scores_of_a_half_say_nothing_of_a_temperature(
    y_true: list[int], y_score: list[float]
) -> None:
    assert fit_temperature(y_true, y_score) == 1
