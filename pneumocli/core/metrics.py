"""Figures from `y_true` and `y_score`. A score is the probability of pneumonia, 0 to 1."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FIGURES = ("roc_auc", "accuracy", "f1", "sensitivity", "specificity")


@dataclass(frozen=True)
class Metrics:
    """How well scores tell pneumonia from normal on `n` images; all figures are 0 to 1.

    Attributes:
        n: number of images.
        threshold: an image is called pneumonia where its score is at least this.
        tn, fp, fn, tp: the confusion matrix, pneumonia being positive.
        accuracy: (tp + tn) / n.
        f1: 2 tp / (2 tp + fp + fn).
        sensitivity: tp / (tp + fn), the share of pneumonia found.
        specificity: tn / (tn + fp), the share of normal left alone.
        roc_auc: area under the ROC curve; it needs no threshold.
    """

    n: int
    threshold: float
    tn: int
    fp: int
    fn: int
    tp: int
    accuracy: float
    f1: float
    sensitivity: float
    specificity: float
    roc_auc: float

    def to_dict(self) -> dict[str, float]:
        return asdict(self)


def compute_metrics(y_true: ArrayLike, y_score: ArrayLike, threshold: float = 0.5) -> Metrics:
    """Compute the figures of one set of scores.

    Args:
        y_true: (N,), 0 = normal, 1 = pneumonia; both must occur.
        y_score: (N,), 0 to 1.
        threshold: called pneumonia where `y_score >= threshold`.

    Raises:
        ValueError: lengths differ, a class is missing, or a score is not a number from 0 to 1.
    """
    from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, recall_score, roc_auc_score

    truth, score = check_scores(y_true, y_score)
    called = call_labels(score, threshold)
    tn, fp, fn, tp = (int(count) for count in confusion_matrix(truth, called, labels=[0, 1]).ravel())
    return Metrics(
        n=len(truth),
        threshold=float(threshold),
        tn=tn,
        fp=fp,
        fn=fn,
        tp=tp,
        accuracy=float(accuracy_score(truth, called)),
        f1=float(f1_score(truth, called, zero_division=0.0)),
        sensitivity=float(recall_score(truth, called, pos_label=1)),
        specificity=float(recall_score(truth, called, pos_label=0)),
        roc_auc=float(roc_auc_score(truth, score)),
    )


def call_labels(y_score: ArrayLike, threshold: float = 0.5) -> NDArray[np.int64]:
    """Return 1 (pneumonia) where the score is at least the threshold, else 0; shape as given."""
    # In float64 whatever comes in, so that a score at the threshold is called the same everywhere.
    return (np.asarray(y_score, dtype=np.float64) >= threshold).astype(np.int64)


def average_scores(member_scores: ArrayLike) -> NDArray[np.float32]:
    """Return the ensemble's score: the mean of its members' probabilities.

    Args:
        member_scores: (K, N), one row a member.
    """
    return np.mean(np.asarray(member_scores, dtype=np.float64), axis=0).astype(np.float32)


def compute_roc(y_true: ArrayLike, y_score: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the false and true positive rates of the ROC curve, each from 0 to 1."""
    from sklearn.metrics import roc_curve

    truth, score = check_scores(y_true, y_score)
    false_positive_rate, true_positive_rate, _ = roc_curve(truth, score)
    return false_positive_rate, true_positive_rate


def summarize_folds(folds: Sequence[Metrics]) -> dict[str, dict[str, float]]:
    """Return mean and standard deviation (n - 1) over the folds, figure by figure.

    The standard deviation tells how folds differ; it is not a confidence interval.
    """
    values = {name: [getattr(fold, name) for fold in folds] for name in FIGURES}
    return {
        name: {"mean": float(np.mean(row)), "sd": float(np.std(row, ddof=1))} for name, row in values.items()
    }


def check_scores(y_true: ArrayLike, y_score: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return truth and scores as flat arrays, (N,) each.

    Raises:
        ValueError: as for `compute_metrics`.
    """
    truth = np.asarray(y_true).ravel()
    score = np.asarray(y_score, dtype=np.float64).ravel()
    if truth.shape != score.shape:
        raise ValueError(f"y_true and y_score must be of one length; received {len(truth)} and {len(score)}")
    if set(np.unique(truth).tolist()) != {0, 1}:
        raise ValueError(f"y_true must hold both classes, 0 and 1; received {np.unique(truth).tolist()}")
    if not ((score >= 0) & (score <= 1)).all():
        raise ValueError("y_score must be probabilities from 0 to 1")
    return truth.astype(np.int64), score
