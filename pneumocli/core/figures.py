"""The figures of a run's models on one split: what `metrics_<split>.json` holds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pneumocli import DISCLAIMER
from pneumocli.core.calibration import Calibration, measure_calibration
from pneumocli.core.clusters import count_clusters, measure_effect
from pneumocli.core.data import Dataset
from pneumocli.core.decision import Decision
from pneumocli.core.errors import RunError
from pneumocli.core.files import write_json
from pneumocli.core.metrics import (
    Metrics,
    call_labels,
    compute_metrics,
    summarize_folds,
)
from pneumocli.core.prevalence import PredictiveValues, project_values
from pneumocli.core.reading import read_json
from pneumocli.core.runs import Run
from pneumocli.core.scores import Scores
from pneumocli.core.uncertainty import Estimate, estimate_at

ENSEMBLE_NAME = "ensemble"
POOLED_NAME = "pooled"


class Figures(BaseModel):
    """Figures of one or more models of a run, all on the same split.

    `models` is by name: "fold 1" and so on, "ensemble", "pooled" (all folds' held-out parts together, the
    mean of the repeats), or the single model's run; the last is the one that the run stands for. `folds`
    has mean and standard deviation over the folds, except on test. `estimates` has the same models' figures
    with 95 % intervals. `predictive_values` are those at `prevalence`.
    All of these are at the threshold 0.5; beside each stands the same at the decision's threshold.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    run: str
    split: str
    data: str = Field(description="name of the data set that was scored")
    data_digest: str = Field(description="SHA-256 of the scored split's pixels and labels")
    synthetic: bool
    seen: int | None = Field(
        None,
        description="how many of these images stand in the run's train or val, byte for byte; none where the "
        "run does not know, and for its own train and val",
    )
    models: Mapping[str, Metrics]
    best_single: str | None = Field(None, description="the fold with the highest out-of-fold AUC")
    folds: dict[str, dict[str, float]] | None = None
    estimates: Mapping[str, Mapping[str, Estimate]] | None = None
    groups: int | None = Field(
        None,
        description="groups of these images, such as patients, that intervals take as independent of each "
        "other; none where they take each image so",
    )
    prevalence: float | None = Field(None, description="share of pneumonia elsewhere, as it was asked for")
    predictive_values: Mapping[str, PredictiveValues] | None = None
    decision: Decision | None = Field(None, description="none for a fold of its own")
    fixed_here: bool = Field(False, description="the decision was fixed on the images of these figures")
    at_rule: Mapping[str, Metrics] | None = None
    folds_at_rule: dict[str, dict[str, float]] | None = None
    estimates_at_rule: Mapping[str, Mapping[str, Estimate]] | None = None
    predictive_values_at_rule: Mapping[str, PredictiveValues] | None = None
    calibration: Calibration | None = Field(None, description="of the model that the run stands for")

    def stand_at(self, decision: Decision) -> bool:
        """Return whether `at_rule` is at this rule and threshold, and not at others that were asked for."""
        used = self.decision
        return used is not None and (used.rule, used.threshold) == (decision.rule, decision.threshold)

    disclaimer: str = DISCLAIMER

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON; what is not there is left out."""
        return self.model_dump(mode="json", exclude_none=True)


def compute_figures(
    run: Run,
    split: str,
    scores: Mapping[str, Scores],
    decision: Decision | None,
    *,
    digest: str,
    dataset: Dataset | None = None,
    seen: int | None = None,
    best_single: str | None = None,
    intervals: bool = False,
    prevalence: float | None = None,
) -> Figures:
    """Compute the figures of a run's models at 0.5 and at the decision's threshold.

    Args:
        split: "out_of_fold", "val", "test" or "all".
        scores: by model name; the last is the one that the run stands for.
        decision: None leaves out what depends on it.
        digest: of the scored images and labels.
        dataset: what they are a split of, if they are not those of training.
        seen: how many of them the run was made with; see `seen.count_seen`.
        best_single: the fold with the highest out-of-fold AUC.
        intervals: whether to compute 95 % intervals.
        prevalence: share of pneumonia elsewhere, 0 to 1, for PPV and NPV there.

    Raises:
        ValueError: as for `compute_metrics`.
    """
    trained_on = run.record.data
    is_own = dataset is None or run.owns(dataset)
    thresholds = [0.5] if decision is None else [0.5, decision.threshold]
    each = [_compute_at(threshold, split, scores, prevalence) for threshold in thresholds]
    if intervals:
        by_name = {
            name: estimate_at(part.y_true, part.y_score, thresholds, part.group)
            for name, part in scores.items()
        }
        for number, values in enumerate(each):
            values["estimates"] = {name: estimates[number] for name, estimates in by_name.items()}
    found = each[0]
    if decision is not None:
        at_rule = each[1]
        found["at_rule"] = at_rule.pop("models")
        found |= {f"{name}_at_rule": values for name, values in at_rule.items()}
        main = list(scores.values())[-1]
        found["calibration"] = measure_calibration(main.y_true, main.y_score, decision.temperature)
    return Figures(
        run=run.name,
        split=split,
        data=trained_on.name if dataset is None else dataset.name,
        data_digest=digest,
        synthetic=run.synthetic or (dataset is not None and dataset.synthetic),
        seen=seen,
        groups=count_clusters(list(scores.values())[-1].group),
        best_single=best_single,
        prevalence=prevalence,
        decision=decision,
        fixed_here=decision is not None and split == decision.source and is_own,
        **found,
    )


def name_fold(fold: int) -> str:
    """Return a fold's name in tables and files; folds count from 1."""
    return f"fold {fold}"


def write_figures(folder: Path, figures: Figures) -> None:
    """Write `metrics_<split>.json`."""
    write_json(folder / f"metrics_{figures.split}.json", figures.to_dict())


def read_figures(folder: Path, split: str) -> Figures:
    """Read `metrics_<split>.json`.

    Raises:
        RunError: the file is missing or damaged.
    """
    path = folder / f"metrics_{split}.json"
    try:
        return Figures.model_validate(read_json(path))
    except FileNotFoundError:
        raise RunError(f"{path} is missing; the run folder has lost a part") from None
    except (OSError, ValueError, ValidationError) as error:
        raise RunError(f"{path} cannot be read ({type(error).__name__}); the run folder is damaged") from None


def choose_best(folds: Mapping[str, Metrics]) -> str:
    """Return the name of the fold with the highest AUC on the images it was not trained on."""
    return max(folds, key=lambda name: folds[name].roc_auc)


def _compute_at(
    threshold: float, split: str, scores: Mapping[str, Scores], prevalence: float | None
) -> dict[str, Any]:
    models = {name: compute_metrics(part.y_true, part.y_score, threshold) for name, part in scores.items()}
    found: dict[str, Any] = {"models": models}
    members = [metrics for name, metrics in models.items() if name not in (ENSEMBLE_NAME, POOLED_NAME)]
    if len(members) > 1 and split != "test":
        found["folds"] = summarize_folds(members)
    if prevalence is not None:
        found["predictive_values"] = {
            name: project_values(metrics, prevalence, _measure_effects(scores[name], threshold))
            for name, metrics in models.items()
        }
    return found


def _measure_effects(scores: Scores, threshold: float) -> tuple[float, float]:
    """Return the design effects of sensitivity and of specificity."""
    is_right = call_labels(scores.y_score, threshold) == scores.y_true
    sensitivity, specificity = (
        measure_effect(is_right[rows], None if scores.group is None else scores.group[rows])
        for rows in (scores.y_true == 1, scores.y_true == 0)
    )
    return sensitivity, specificity
