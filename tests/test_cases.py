"""The images that are worth a look, found a second way."""

import numpy as np
import pytest
from numpy.typing import NDArray

from pneumocli.core.calibration import apply_temperature
from pneumocli.core.cases import find_errors, find_least_certain, find_worst_errors

THRESHOLD, TEMPERATURE = 0.55, 0.4


def draw(seed: int, n: int = 120) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    y_true = rng.integers(0, 2, n)
    return y_true, np.clip(0.3 * y_true + 0.7 * rng.random(n), 0, 1).astype(np.float32)


def measure(score: np.floating) -> float:
    probability, called_from = (
        1 / (1 + (1 / value - 1) ** (1 / TEMPERATURE)) for value in (float(score), THRESHOLD)
    )
    return abs(probability - called_from)


def test_errors_are_called_the_other_class() -> None:
    y_true, y_score = draw(0)
    wrong = [place for place in range(120) if (y_score[place] >= THRESHOLD) != y_true[place]]
    assert find_errors(y_true, y_score, THRESHOLD).tolist() == wrong


def test_worst_errors_are_the_farthest_of_each_kind() -> None:
    y_true, y_score = draw(0)
    found = find_worst_errors(y_true, y_score, THRESHOLD, TEMPERATURE)
    errors = sorted(find_errors(y_true, y_score, THRESHOLD), key=lambda place: -measure(y_score[place]))
    wanted = [place for label in (0, 1) for place in [e for e in errors if y_true[e] == label][:4]]
    assert len(wanted) == 8
    assert found.tolist() == sorted(wanted, key=lambda place: -measure(y_score[place]))


@pytest.mark.parametrize(
    ("missed", "alarms", "taken"), [(1, 20, (1, 7)), (20, 2, (6, 2)), (2, 3, (2, 3)), (0, 0, (0, 0))]
)
def test_few_of_one_kind_leave_room_for_the_other(missed: int, alarms: int, taken: tuple[int, int]) -> None:
    y_true = np.array([1] * missed + [0] * alarms + [1, 0])
    y_score = np.array([*np.linspace(0.1, 0.4, missed), *np.linspace(0.6, 0.9, alarms), 0.99, 0.01])
    found = find_worst_errors(y_true, y_score, 0.5, 1.0)
    assert (int((y_true[found] == 1).sum()), int((y_true[found] == 0).sum())) == taken
    assert set(found) <= set(range(missed + alarms))


def test_least_certain_are_the_nearest() -> None:
    _, y_score = draw(1)
    found = find_least_certain(y_score, THRESHOLD, TEMPERATURE)
    assert found.tolist() == sorted(range(120), key=lambda place: measure(y_score[place]))[:8]


def test_fewer_images_than_places() -> None:
    assert sorted(find_least_certain(np.array([0.2, 0.9, 0.5]), 0.5, 1.0)) == [0, 1, 2]


def test_equally_far_ones_keep_their_order() -> None:
    assert find_least_certain(np.full(20, 0.7), 0.5, 2.0).tolist() == list(range(8))
    y_true = np.array([0] * 20 + [1])
    y_score = np.array([0.7] * 20 + [0.9])
    assert find_worst_errors(y_true, y_score, 0.5, 2.0).tolist() == list(range(8))


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_threshold_at_an_end(threshold: float) -> None:
    y_true, y_score = draw(2)
    worst = find_worst_errors(y_true, y_score, threshold, TEMPERATURE)
    assert set(y_true[worst]) == {0 if threshold == 0 else 1}
    probability = apply_temperature(y_score, TEMPERATURE)
    assert probability[worst[0]] == (
        probability[y_true == 0].max() if threshold == 0 else probability[y_true == 1].min()
    )
