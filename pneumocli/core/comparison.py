"""Two models on the same images: would they differ on other images like these, too?

Models, not recipes: another seed of one recipe is another model, and may differ as much.
"""

import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pneumocli import DISCLAIMER
from pneumocli.core.clusters import count_clusters, count_smaller_class, number_clusters, sum_clusters
from pneumocli.core.data import WHOLE
from pneumocli.core.decision import read_decision
from pneumocli.core.errors import RunError
from pneumocli.core.figures import Figures, read_figures
from pneumocli.core.identity import Kind, read_kind
from pneumocli.core.listing import name_collection
from pneumocli.core.metrics import call_labels, check_scores
from pneumocli.core.resampling import (
    RESAMPLES,
    bound_values,
    compute_resampled,
    draw_resamples,
    weigh_figures,
)
from pneumocli.core.runs import EXTERNAL, Run
from pneumocli.core.scores import Scores, read_scores
from pneumocli.core.uncertainty import Z, compute_auc_covariance

NO_ERROR = 1e-9  # a standard error of zero, but for rounding


@dataclass(frozen=True)
class Difference:
    """One figure of two models.

    Attributes:
        first, second: the figure of each, 0 to 1.
        low, high: 95 % interval of second - first; None where it would have no width, as where both call all
            images alike.
        p_value: of no difference between these two models on images like these; None where only the interval
            is computed, or where a difference has no variance.
    """

    first: float
    second: float
    low: float | None
    high: float | None
    p_value: float | None = None


@dataclass(frozen=True)
class Comparison:
    """Two runs' models on the same split: for a cross-validation its ensemble.

    Attributes:
        first, second: the runs' names.
        rules, thresholds: of the first and of the second run, as its decision has them.
        n: number of images.
        groups: of these images, such as patients, that are taken as independent; None where each image is.
        synthetic: drawn images had a part in one of them.
        differences: by figure.
    """

    first: str
    second: str
    rules: tuple[str, str]
    thresholds: tuple[float, float]
    split: str
    data: str
    n: int
    groups: int | None
    synthetic: bool
    differences: Mapping[str, Difference]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        return {"schema_version": 1, **asdict(self), "disclaimer": DISCLAIMER}


def compare_runs(first: Run, second: Run, split: str | None, data: str | None = None) -> Comparison:
    """Compare what two runs' models have scored, each at the threshold of its own rule.

    Args:
        split: "test", "val" or "all"; None means test where the first run has scored it, else all.
        data: name of the data set that both have scored; None means each run's own.

    Raises:
        RunError: one has not been scored on the split, they have scored other images or groups of them, or
            fewer than two of a class; or a decision is missing.
    """
    if split is None:
        has_all = (_find_results(first, data) / f"metrics_{WHOLE}.json").is_file()
        has_test = (_find_results(first, data) / "metrics_test.json").is_file()
        split = WHOLE if has_all and not has_test else "test"
    (figures, scores), (other_figures, other_scores) = (
        _read_scored(run, split, data) for run in (first, second)
    )
    if figures.data_digest != other_figures.data_digest or not np.array_equal(
        scores.index, other_scores.index
    ):
        raise RunError(
            f"{first.path} and {second.path} have scored other {split} images ({figures.data}, "
            f"{other_figures.data}); score both on the same: pneumocli evaluate RUN --data FILE, and name it "
            "here with --data"
        )
    groups = _join_groups(scores, other_scores, f"{first.path} and {second.path}")
    if count_smaller_class(scores.y_true, groups) < 2:
        raise RunError(
            f"{figures.data}: {split} has a single image, or group of images, of a class, too few to compare "
            f"{first.path} and {second.path}; score both on more images"
        )
    ours, theirs = read_decision(first), read_decision(second)
    thresholds = (ours.threshold, theirs.threshold)
    return Comparison(
        first=first.name,
        second=second.name,
        rules=(ours.rule, theirs.rule),
        thresholds=thresholds,
        split=split,
        data=figures.data,
        n=len(scores.y_true),
        groups=count_clusters(groups),
        synthetic=figures.synthetic or other_figures.synthetic,
        differences=compare_scores(scores.y_true, scores.y_score, other_scores.y_score, thresholds, groups),
    )


def _join_groups(first: Scores, second: Scores, named: str) -> NDArray[np.int64] | None:
    """Return the groups of images that were scored by both; those of one, where the other knows none.

    Raises:
        RunError: both know groups, and not the same.
    """
    known = [scores.group for scores in (first, second) if scores.group is not None]
    numbered = [np.unique(group, return_inverse=True)[1] for group in known]
    # The same images, so that equal groups have equal numbers whatever they were called.
    if len(numbered) == 2 and (_count_from_first(numbered[0]) != _count_from_first(numbered[1])).any():
        raise RunError(f"{named} were scored with other groups of the same images; score both again")
    return known[0] if known else None


def _count_from_first(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the groups numbered by where the first image of each stands."""
    return np.unique(groups, return_index=True)[1][groups]


def _find_results(run: Run, data: str | None) -> Path:
    if data is None:
        return run.path
    # Results are kept under the data's name, of which a path is as good.
    name = name_collection(Path(data))
    external = run.path / EXTERNAL / name
    return run.path if name == run.record.data.name and not external.is_dir() else external


def _read_scored(run: Run, split: str, data: str | None) -> tuple[Figures, Scores]:
    place = _find_results(run, data)
    if not (place / f"metrics_{split}.json").is_file():
        of = "" if data is None else f" of {data}"
        raise RunError(
            f"{run.path} has not been scored on {split}{of}; first: pneumocli evaluate "
            f"{shlex.quote(str(run.path))} --split {split}{_advise_data(run, data)}"
        )
    return read_figures(place, split), read_scores(place, split)


def _advise_data(run: Run, data: str | None) -> str:
    """Return the option that names the images to score, as far as it is known; a run on own ones needs it."""
    if data is not None and Path(data).exists():
        return f" --data {shlex.quote(data)}"
    is_own = read_kind(run.record.data.identity) is Kind.OWN
    return " --data FILE" if data is not None or is_own else ""


def compare_scores(
    y_true: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    thresholds: tuple[float, float] = (0.5, 0.5),
    groups: NDArray[np.int64] | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Difference]:
    """Compare two models' scores of the same images, figure by figure, paired.

    AUC by DeLong et al. 1988 (Biometrics 44:837); accuracy by the exact test of McNemar 1947
    (Psychometrika 12:153) with a bootstrap interval; the rest by a paired stratified bootstrap. Where images
    belong together, AUC by Obuchowski 1997 (Biometrics 53:567), accuracy by changing the signs of groups'
    gains, which is McNemar's test of groups, and the bootstrap draws groups whole.

    Args:
        y_true: (N,), 0 or 1; at least two images of each class.
        first, second: (N,), 0 to 1, in the order of `y_true`.
        thresholds: of the first and of the second model.
        groups: int64 (N,), images of the same number belong together; None if each is on its own.
        resamples, seed: of the bootstrap.

    Raises:
        ValueError: as for `compute_metrics`, or there are fewer than two images, or groups, of a class.
    """
    (truth, ours_score), (_, theirs_score) = (check_scores(y_true, row) for row in (first, second))
    scores = [ours_score, theirs_score]
    drawn = draw_resamples(truth, resamples, seed, groups)
    once = np.ones((1, len(truth)), np.int64)
    ours, theirs = (
        weigh_figures(truth, row, threshold) for row, threshold in zip(scores, thresholds, strict=True)
    )
    found = {"roc_auc": _compare_auc(truth, np.stack(scores), groups)}
    for name in ours:
        values = [compute_resampled(figures[name], drawn, groups) for figures in (ours, theirs)]
        bounds = bound_values(values[1] - values[0])
        found[name] = Difference(
            float(ours[name](once)[0]),
            float(theirs[name](once)[0]),
            *bounds.told,
            _test_gains(truth, scores, thresholds, groups) if name == "accuracy" else None,
        )
    return found


def _compare_auc(
    truth: NDArray[np.int64], scores: NDArray[np.float64], groups: NDArray[np.int64] | None
) -> Difference:
    from scipy.stats import norm

    auc, covariance = compute_auc_covariance(truth, scores, groups)
    difference = float(auc[1] - auc[0])
    # Rounding may leave a variance of zero a little below it.
    error = float(np.sqrt(max(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1], 0)))
    found = float(auc[0]), float(auc[1])
    if error < NO_ERROR:
        return Difference(*found, None, None, None if abs(difference) > NO_ERROR else 1.0)
    p_value = float(2 * norm.sf(abs(difference) / error))
    return Difference(*found, difference - Z * error, difference + Z * error, p_value)


def _test_gains(
    truth: NDArray[np.int64],
    scores: list[NDArray[np.float64]],
    thresholds: tuple[float, float],
    groups: NDArray[np.int64] | None,
) -> float:
    """Return the exact two-sided p-value of no difference in right calls.

    What a group gains by the second model would be as likely a loss: over all signs of the groups' gains, the
    share of sums as far from zero as the one found (Fisher 1935, The Design of Experiments, on paired
    differences). Where each image is on its own this is McNemar's exact test.
    """
    from scipy.stats import binom

    ours, theirs = (
        (call_labels(row, threshold) == truth).astype(np.int64)
        for row, threshold in zip(scores, thresholds, strict=True)
    )
    clusters = number_clusters(groups)
    gains = theirs - ours if clusters is None else sum_clusters(theirs - ours, clusters)[0]
    found = abs(int(gains.sum()))
    # Of all sums the chances, from -reach to +reach: those of groups that gain alike are binomial.
    chances, reach = np.ones(1), 0
    counts = np.bincount(np.abs(gains).astype(int))
    for size in range(1, len(counts)):
        times = int(counts[size])
        part = np.zeros(2 * size * times + 1)
        part[:: 2 * size] = binom.pmf(np.arange(times + 1), times, 0.5)
        chances, reach = np.convolve(chances, part), reach + size * times
    sums = np.arange(-reach, reach + 1)
    return min(1.0, float(chances[np.abs(sums) >= found].sum()))
