"""The figures of a run computed anew from its scores, by scikit-learn and not by pneumocli, and compared."""

from statistics import fmean, stdev
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit
from scipy.stats import norm
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    brier_score_loss,
    confusion_matrix,
    f1_score,
    log_loss,
    recall_score,
    roc_auc_score,
    roc_curve,
)

from pneumocli.core.errors import RunError
from pneumocli.core.figures import POOLED_NAME
from pneumocli.core.scores import OUT_OF_FOLD

DECISION = "decision.json"
FIGURES = ("n", "tn", "fp", "fn", "tp", "accuracy", "f1", "sensitivity", "specificity", "roc_auc")
TOLERANCE = 1e-9
NO_CHANGE = 1e-6  # of a figure of calibration
TEMPERATURES = np.geomspace(0.05, 20, 241)  # among which one is looked for where none is said to be best
BINS, CLIP = 15, 1e-7  # of calibration: parts of 0 to 1; a probability of 0 or 1 has no logit

# y_true and y_score of one model, shapes (N,).
Model = tuple[NDArray[Any], NDArray[Any]]


def check_figures(figures: dict[str, Any], models: dict[str, Model], where: str) -> None:
    """Check the figures of a split against the scores: at 0.5, at the stored rule, and of calibration.

    With their spread over the folds and their intervals (see `check_estimates`).

    Raises:
        RunError: the first one that differs, or a model without scores or without figures.
    """
    if set(figures["models"]) != set(models):
        raise RunError(f"{where}: figures of {sorted(figures['models'])}, scores of {sorted(models)}")
    main = list(models)[-1]
    for part, intervals in (("models", "estimates"), ("at_rule", "estimates_at_rule")):
        estimates = figures.get(intervals) or {}
        for name, stored in (figures.get(part) or {}).items():
            if part == "models" and stored["threshold"] != 0.5:
                raise RunError(f"{where}, {name}: the threshold is {stored['threshold']}, not 0.5")
            found = compute_figures(*models[name], threshold=stored["threshold"])
            _compare(stored, found, f"{where}, {name}, {part} at {stored['threshold']:g}")
            if name in estimates:
                check_estimates(estimates[name], found, *models[name], f"{where}, {name}, {intervals}")
    for part, spread in (("models", "folds"), ("at_rule", "folds_at_rule")):
        rows = [row for name, row in (figures.get(part) or {}).items() if name.startswith("fold ")]
        for name, stored in (figures.get(spread) or {}).items():
            values = [row[name] for row in rows]
            _compare(stored, {"mean": fmean(values), "sd": stdev(values)}, f"{where}, {name}, {spread}")
    calibration = figures.get("calibration")
    if calibration is not None:
        y_true, y_score = models[main]
        cooled = scale_scores(y_score, calibration["temperature"])
        before, after = compute_calibration(y_true, y_score), compute_calibration(y_true, cooled)
        _compare(calibration["before"], before, f"{where}, {main}, before")
        _compare(calibration["after"], after, f"{where}, {main}, after")
        worse = [name for name in before if after[name] > before[name] + NO_CHANGE]
        if calibration["worse"] != worse:
            raise RunError(f"{where}: worse is {calibration['worse']}, and is {worse} by the scores")


def check_estimates(
    stored: dict[str, Any], found: dict[str, float], y_true: ArrayLike, y_score: ArrayLike, where: str
) -> None:
    """Check the values of a model's figures, and the intervals of shares of images and of the AUC.

    Those of Wilson and DeLong by their formulas. A bootstrap's hang on its draws: that they hold the value.

    Args:
        stored: by figure, as `uncertainty.Estimate`.
        found: of `compute_figures`.

    Raises:
        RunError: something differs.
    """
    tn, fp, fn, tp = (int(found[name]) for name in ("tn", "fp", "fn", "tp"))
    shares = {
        "accuracy": (tp + tn, len(np.asarray(y_true))),
        "sensitivity": (tp, tp + fn),
        "specificity": (tn, tn + fp),
        "ppv": (tp, tp + fp),
        "npv": (tn, tn + fn),
    }
    for name, (hits, of) in shares.items():
        if of == 0:
            continue
        low, high = bound_share(hits, of)
        _compare(
            stored[name],
            {"value": hits / of, "low": low, "high": high, "hits": hits, "of": of},
            f"{where}, {name}",
        )
    ranked = {"value": found["roc_auc"]}
    if 0 < found["roc_auc"] < 1:  # else it has none
        ranked |= dict(zip(("low", "high"), bound_auc(y_true, y_score), strict=True))
    _compare(stored["roc_auc"], ranked, f"{where}, roc_auc")
    drawn = {
        "f1": found["f1"],
        "balanced_accuracy": (found["sensitivity"] + found["specificity"]) / 2,
        "average_precision": float(average_precision_score(y_true, y_score)),
        "brier": float(brier_score_loss(y_true, np.asarray(y_score, dtype=np.float64))),
    }
    for name, value in drawn.items():
        _compare(stored[name], {"value": value}, f"{where}, {name}")
        low, high = stored[name].get("low"), stored[name].get("high")
        if low is not None and not low <= value <= high:
            raise RunError(f"{where}, {name}: {value} lies outside low {low} and high {high}")


def bound_share(hits: int, of: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval (Wilson 1927, Journal of the American Statistical Association 22:209)."""
    share, z = hits / of, norm.ppf(0.975)
    middle = (share + z**2 / (2 * of)) / (1 + z**2 / of)
    half = z / (1 + z**2 / of) * np.sqrt(share * (1 - share) / of + z**2 / (4 * of**2))
    return middle - half, middle + half


def bound_auc(y_true: ArrayLike, y_score: ArrayLike) -> tuple[float, float]:
    """Return DeLong's 95 % interval on the logit scale, by going through all pairs of images."""
    truth, score = np.asarray(y_true), np.asarray(y_score, dtype=np.float64)
    above = score[truth == 1][:, None] - score[truth == 0]
    pairs = (above > 0) + (above == 0) / 2
    auc = pairs.mean()
    error = np.sqrt(sum(np.var(pairs.mean(axis), ddof=1) / pairs.shape[1 - axis] for axis in (0, 1)))
    return tuple(
        float(expit(logit(auc) + sign * norm.ppf(0.975) * error / (auc * (1 - auc)))) for sign in (-1, 1)
    )


def compute_figures(y_true: ArrayLike, y_score: ArrayLike, threshold: float) -> dict[str, float]:
    """Return the figures of `metrics.Metrics` by scikit-learn; pneumonia where the score is at least that."""
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
    clipped = np.clip(np.asarray(y_score, dtype=np.float64), CLIP, 1 - CLIP)
    return np.asarray(expit(logit(clipped) / temperature))


def compute_calibration(y_true: ArrayLike, y_score: ArrayLike) -> dict[str, float]:
    """Return Brier score, ECE and log loss, each the lower the better.

    ECE: over 15 equal bins of the probability of pneumonia, the mean distance, weighted by images, between
    the bin's mean probability and its share of pneumonia (Naeini et al. 2015, AAAI 29:2901).
    """
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
        best_single, folds = stored.get("best_single"), figures.get(OUT_OF_FOLD, {}).get("models", {})
        if best_single is not None and folds:
            folds = {name: row["roc_auc"] for name, row in folds.items() if name.startswith("fold ")}
            if folds[best_single] < max(folds.values()):
                raise RunError(f"{split}: {best_single} is said to be the best single model, of {folds}")
    if decision["source"] == OUT_OF_FOLD:
        found = compute_figures(*models[POOLED_NAME], threshold=decision["threshold"])
        stored = {**decision, "n": decision["images"]}
        _compare(stored, {name: found[name] for name in ("n", "sensitivity", "specificity")}, DECISION)
        check_threshold(decision["rule"], decision["threshold"], found, *models[POOLED_NAME])
        check_temperature(decision["temperature"], *models[POOLED_NAME])


def check_threshold(
    rule: str, threshold: float, found: dict[str, float], y_true: ArrayLike, y_score: ArrayLike
) -> None:
    """Check that no other threshold serves the rule better than the one that these figures are at.

    Raises:
        RunError: another one does.
    """
    kind = rule.partition(":")[0]
    if kind not in ("youden", "f1", "sensitivity", "specificity"):
        if float(kind) != threshold:
            raise RunError(f"{DECISION}: the rule is {rule}, and the threshold {threshold}")
        return
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
    return np.where(specificity >= float(least) - TOLERANCE, sensitivity, -1)


def check_temperature(temperature: float, y_true: ArrayLike, y_score: ArrayLike) -> None:
    """Check that no temperature near it has a lower log loss; 1 is also taken where there is no lowest one.

    Raises:
        RunError: one does.
    """
    if temperature == 1:
        losses = [
            compute_calibration(y_true, scale_scores(y_score, other))["log_loss"] for other in TEMPERATURES
        ]
        best = float(TEMPERATURES[np.argmin(losses)])
        if min(losses) < min(losses[0], losses[-1]) - TOLERANCE and not 0.97 < best < 1.03:
            raise RunError(f"{DECISION}: temperature is 1, and one near {best:.2f} has the lowest log loss")
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
