"""The figures of a run computed anew from its scores, by scikit-learn and not by pneumocli, and compared."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pneumocli.core.errors import RunError
from pneumocli.core.figures import POOLED_NAME
from pneumocli.core.scores import OUT_OF_FOLD

DECISION = "decision.json"
FIGURES = ("n", "tn", "fp", "fn", "tp", "accuracy", "f1", "sensitivity", "specificity", "roc_auc")
TOLERANCE = 1e-9
BINS, CLIP = 15, 1e-7  # of calibration: parts of 0 to 1; a probability of 0 or 1 has no logit

# y_true and y_score of one model, shapes (N,).
Model = tuple[NDArray[Any], NDArray[Any]]


def check_figures(figures: dict[str, Any], models: dict[str, Model], where: str) -> None:
    """Check every figure of a split against the scores: at 0.5, at the stored rule, and of calibration.

    Raises:
        RunError: the first one that differs, or a model without scores or without figures.
    """
    if set(figures["models"]) != set(models):
        raise RunError(f"{where}: figures of {sorted(figures['models'])}, scores of {sorted(models)}")
    main = list(models)[-1]
    for part in ("models", "at_rule"):
        for name, stored in (figures.get(part) or {}).items():
            if part == "models" and stored["threshold"] != 0.5:
                raise RunError(f"{where}, {name}: the threshold is {stored['threshold']}, not 0.5")
            found = compute_figures(*models[name], threshold=stored["threshold"])
            _compare(stored, found, f"{where}, {name}, {part} at {stored['threshold']:g}")
    calibration = figures.get("calibration")
    if calibration is not None:
        y_true, y_score = models[main]
        cooled = scale_scores(y_score, calibration["temperature"])
        _compare(calibration["before"], compute_calibration(y_true, y_score), f"{where}, {main}, before")
        _compare(calibration["after"], compute_calibration(y_true, cooled), f"{where}, {main}, after")


def compute_figures(y_true: ArrayLike, y_score: ArrayLike, threshold: float) -> dict[str, float]:
    """Return the figures of `metrics.Metrics` by scikit-learn; pneumonia where the score is at least that."""
    from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, recall_score, roc_auc_score

    truth, score = np.asarray(y_true), np.asarray(y_score, dtype=np.float64)
    called = score >= threshold
    counts = confusion_matrix(truth, called, labels=[0, 1]).ravel().tolist()
    values = (
        accuracy_score(truth, called),
        f1_score(truth, called, zero_division=0.0),
        recall_score(truth, called),
        recall_score(truth, called, pos_label=0),
        roc_auc_score(truth, score),
    )
    return dict(zip(FIGURES, (len(truth), *counts, *map(float, values)), strict=True))


def scale_scores(y_score: ArrayLike, temperature: float) -> NDArray[np.float64]:
    """Return the probabilities whose logits are those of `y_score` over the temperature."""
    from scipy.special import expit, logit

    clipped = np.clip(np.asarray(y_score, dtype=np.float64), CLIP, 1 - CLIP)
    return np.asarray(expit(logit(clipped) / temperature))


def compute_calibration(y_true: ArrayLike, y_score: ArrayLike) -> dict[str, float]:
    """Return Brier score, ECE and log loss, each the lower the better.

    ECE: over 15 equal bins of the probability of pneumonia, the mean distance, weighted by images, between
    the bin's mean probability and its share of pneumonia (Naeini et al. 2015, AAAI 29:2901).
    """
    from sklearn.metrics import brier_score_loss, log_loss

    truth, score = np.asarray(y_true, dtype=np.int64), np.asarray(y_score, dtype=np.float64)
    bins = np.digitize(score, np.linspace(0, 1, BINS + 1)[1:-1], right=True)
    distance = np.bincount(bins, weights=score - truth)
    return {
        "brier": float(brier_score_loss(truth, score)),
        "ece": float(np.abs(distance).sum() / len(truth)),
        "log_loss": float(log_loss(truth, np.clip(score, CLIP, 1 - CLIP))),
    }


def check_decision(
    decision: dict[str, Any], figures: dict[str, dict[str, Any]], models: dict[str, Model]
) -> None:
    """Check that threshold and temperature are those of `decision.json`, and that its own scores give them.

    Args:
        figures: of the splits, by name.
        models: y_true and y_score out of fold, by the models' names.

    Raises:
        RunError: something differs.
    """
    for split, stored in figures.items():
        parts = [stored.get("decision"), stored.get("calibration"), *(stored.get("at_rule") or {}).values()]
        for part in filter(None, parts):
            for name in ("rule", "threshold", "temperature"):
                if part.get(name, decision[name]) != decision[name]:
                    raise RunError(
                        f"{split}: {name} is {part[name]}, and {decision[name]} in {DECISION}; "
                        "score the run anew by its own rule: pneumocli evaluate"
                    )
    if decision["source"] == OUT_OF_FOLD:
        found = compute_figures(*models[POOLED_NAME], threshold=decision["threshold"])
        stored = {**decision, "n": decision["images"]}
        _compare(stored, {name: found[name] for name in ("n", "sensitivity", "specificity")}, DECISION)
        check_threshold(decision["rule"], found, *models[POOLED_NAME])
        check_temperature(decision["temperature"], *models[POOLED_NAME])


def check_threshold(rule: str, found: dict[str, float], y_true: ArrayLike, y_score: ArrayLike) -> None:
    """Check that no other threshold serves the rule better than the one that these figures are at.

    Raises:
        RunError: another one does.
    """
    from sklearn.metrics import roc_curve

    false_alarms, sensitivity, _ = roc_curve(y_true, y_score, drop_intermediate=False)
    positive = found["tp"] + found["fn"]
    ours, best = (
        float(np.max(_serve(rule, *rates, positive, found["n"] - positive)))
        for rates in ((found["sensitivity"], found["specificity"]), (sensitivity, 1 - false_alarms))
    )
    if ours < best - TOLERANCE:
        raise RunError(
            f"{DECISION}: the threshold is not that of {rule}, by which {ours} is reached for {best}"
        )


def _serve(
    rule: str, sensitivity: Any, specificity: Any, positive: float, negative: float
) -> NDArray[np.float64]:
    """Return how well the rule is served, higher is better; -1 where it is broken."""
    kind, _, least = rule.partition(":")
    if kind == "youden":
        return np.asarray(sensitivity + specificity - 1)
    if kind == "f1":
        tp, fp = positive * sensitivity, negative * (1 - specificity)
        return np.asarray(2 * tp / (tp + fp + positive))
    if kind == "sensitivity":
        return np.where(sensitivity >= float(least) - TOLERANCE, specificity, -1)
    if kind == "specificity":
        return np.where(specificity >= float(least) - TOLERANCE, sensitivity, -1)
    return np.zeros(1)  # a number serves itself


def check_temperature(temperature: float, y_true: ArrayLike, y_score: ArrayLike) -> None:
    """Check that no temperature near it has a lower log loss; 1 is also taken where none was to be found.

    Raises:
        RunError: one does.
    """
    if temperature == 1:
        return
    lower, here, higher = (
        compute_calibration(y_true, scale_scores(y_score, factor * temperature))["log_loss"]
        for factor in (0.98, 1, 1.02)
    )
    if here > min(lower, higher) + TOLERANCE:
        raise RunError(f"{DECISION}: temperature is {temperature}, and one near it has a lower log loss")


def _compare(stored: dict[str, Any], found: dict[str, float], where: str) -> None:
    for name, value in found.items():
        if not np.isclose(stored[name], value, rtol=TOLERANCE, atol=TOLERANCE):
            raise RunError(f"{where}: {name} is stored as {stored[name]}, and is {value} by the scores")
