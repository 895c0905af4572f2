"""Calibration: whether of the images scored 0.8, four in five have pneumonia, and one number to mend it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pneumocli.core.metrics import check_scores

CLIP = 1e-7  # a probability of 0 or 1 has no logit
BINS = 15
TEMPERATURES = (0.05, 20.0)
LEAST_GAIN = 1e-9  # of log loss, in nats, by which a temperature is better than none that could be told
ROUNDING = 1e-6  # clipping and rounding change less of a figure


@dataclass(frozen=True)
class Bin:
    """The images whose score is in one part of 0 to 1.

    Attributes:
        low, high: the part, `high` belonging to it; 0 belongs to the first.
        n: number of images.
        mean_score: of them; None if there are none.
        share: of them that have pneumonia; None if there are none.
    """

    low: float
    high: float
    n: int
    mean_score: float | None
    share: float | None


@dataclass(frozen=True)
class Reliability:
    """How far probabilities are from the truth; of all three lower is better.

    Attributes:
        brier: the mean squared difference of score and truth, 0 to 1 (Brier 1950, Monthly Weather
            Review 78:1).
        ece: expected calibration error, 0 to 1: the mean over the images of the difference of mean score
            and share of pneumonia in their bin (Naeini et al. 2015, AAAI 29:2901), in 15 equal bins of
            the probability of pneumonia. Chance alone makes it more than 0, the more the fewer the images.
        log_loss: mean negative log likelihood, in nats, of probabilities clipped to 1e-7.
    """

    brier: float
    ece: float
    log_loss: float


@dataclass(frozen=True)
class Calibration:
    """What a temperature does to the probabilities of one set of images.

    Attributes:
        temperature: the scores' logits are divided by it.
        before, after: without and with it.
        worse: the figures that it makes worse on these images.
    """

    temperature: float
    before: Reliability
    after: Reliability
    worse: tuple[str, ...]


def fit_temperature(y_true: ArrayLike, y_score: ArrayLike) -> float:
    """Return the temperature with which the scores' log loss is least.

    Guo et al. 2017, arXiv:1706.04599, section 4.2. Over 1/T the log loss is convex, so that one search
    finds its minimum. Where it has none from 0.05 to 20, because the scores part the classes
    perfectly at 0.5 (those of 0.5 itself aside) or have nothing to do with them, they say nothing of a
    temperature: it is 1.

    Args:
        y_true: (N,), 0 or 1; both must occur.
        y_score: (N,), 0 to 1.

    Raises:
        ValueError: as for `compute_metrics`.
    """
    from scipy.optimize import minimize_scalar

    truth, score = check_scores(y_true, y_score)
    against = (1 - 2 * truth) * _take_logit(score)  # the logit of the wrong answer

    def measure(log_temperature: float) -> float:
        return float(np.logaddexp(0, against / np.exp(log_temperature)).mean())

    ends = np.log(TEMPERATURES)
    found = float(minimize_scalar(measure, bounds=ends, method="bounded", options={"xatol": 1e-9}).x)
    # On a slope the search ends beside an end, on a plateau anywhere: neither is a minimum.
    return float(np.exp(found)) if measure(found) < min(map(measure, ends)) - LEAST_GAIN else 1.0


def apply_temperature(y_score: ArrayLike, temperature: float) -> NDArray[np.float64]:
    """Return the calibrated probability, 1 / (1 + exp(-logit(p) / T)), float64 of the scores' shape.

    For an ensemble the score is the mean of its members' probabilities. The order of the scores stays,
    so that an image is called the same by its score and the threshold as by both calibrated, but where the
    result is rounded: scores within 1e-7 of 0 or 1 become one, and so do, at a temperature near the lowest
    that is fitted, scores further from them (0.05: from 0.863 on). Calls are made by scores as they are.

    Args:
        y_score: 0 to 1; clipped to 1e-7 from both ends.
        temperature: above 0; above 1 it draws towards 0.5, below 1 away from it.
    """
    return _squash(_take_logit(np.asarray(y_score, dtype=np.float64)) / temperature)


def squash_logits(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return probabilities of pneumonia, float32 of the logits' shape: 1 / (1 + exp(-logit))."""
    return _squash(logits.astype(np.float64)).astype(np.float32)


def measure_calibration(y_true: ArrayLike, y_score: ArrayLike, temperature: float) -> Calibration:
    """Measure the probabilities of one set of images as they are, and with a temperature.

    Raises:
        ValueError: as for `compute_metrics`.
    """
    before = measure_reliability(y_true, y_score)
    after = measure_reliability(y_true, apply_temperature(y_score, temperature))
    worse = tuple(
        name
        for name in ("brier", "ece", "log_loss")
        if getattr(after, name) > getattr(before, name) + ROUNDING
    )
    return Calibration(temperature, before, after, worse)


def measure_reliability(y_true: ArrayLike, y_score: ArrayLike) -> Reliability:
    """Measure how far probabilities are from the truth.

    Raises:
        ValueError: as for `compute_metrics`.
    """
    truth, score = check_scores(y_true, y_score)
    gaps = [
        part.n * abs(part.mean_score - part.share)
        for part in bin_scores(truth, score)
        if part.mean_score is not None and part.share is not None
    ]
    return Reliability(
        brier=float(np.mean((score - truth) ** 2)),
        ece=float(sum(gaps) / len(truth)),
        log_loss=float(np.logaddexp(0, (1 - 2 * truth) * _take_logit(score)).mean()),
    )


def bin_scores(y_true: ArrayLike, y_score: ArrayLike, bins: int = BINS) -> list[Bin]:
    """Return the images by their score, in equal parts of 0 to 1: what a reliability plot shows.

    Raises:
        ValueError: as for `compute_metrics`.
    """
    truth, score = check_scores(y_true, y_score)
    edges = np.linspace(0, 1, bins + 1)
    place = np.searchsorted(edges[1:-1], score)
    found = []
    for number in range(bins):
        is_here = place == number
        n = int(is_here.sum())
        found.append(
            Bin(
                low=float(edges[number]),
                high=float(edges[number + 1]),
                n=n,
                mean_score=float(score[is_here].mean()) if n else None,
                share=float(truth[is_here].mean()) if n else None,
            )
        )
    return found


def _squash(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    # numpy alone: scipy takes longer to import than an image to answer.
    with np.errstate(over="ignore"):  # to infinity, and the quotient to 0
        return np.asarray(1 / (1 + np.exp(-logits)))


def _take_logit(score: NDArray[np.float64]) -> NDArray[np.float64]:
    clipped = np.clip(score, CLIP, 1 - CLIP)
    return np.log(clipped) - np.log1p(-clipped)
