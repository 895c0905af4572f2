"""The decision of a run: its threshold and its temperature, fixed once, on images that are not the test's."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pneumocli import DISCLAIMER
from pneumocli.core.calibration import fit_temperature
from pneumocli.core.errors import RunError
from pneumocli.core.files import write_json
from pneumocli.core.metrics import compute_metrics
from pneumocli.core.operating import choose_threshold
from pneumocli.core.reading import read_json
from pneumocli.core.runs import DECISION, Run
from pneumocli.core.scores import OUT_OF_FOLD, STOPPING, Scores, read_scores

Source = Literal["out_of_fold", "val"]


class Decision(BaseModel):
    """What `decision.json` holds: from which score on an image is called pneumonia, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    rule: str = Field(description="by which the threshold was chosen")
    threshold: float = Field(ge=0, le=1, description="on the scale of the uncalibrated scores")
    temperature: float = Field(gt=0, description="the logits of the scores are divided by it")
    source: Source = Field(
        description="the scores that both were fixed on: out_of_fold, the folds' held-out parts together, "
        "the mean of the repeats; val, the validation images without a copy in train, by which early "
        "stopping goes too where there is any"
    )
    data: str = Field(description="name of the data set that they are of")
    images: int = Field(ge=2, description="number of these scores")
    sensitivity: float = Field(ge=0, le=1, description="of these scores at the threshold")
    specificity: float = Field(ge=0, le=1, description="of these scores at the threshold")
    disclaimer: str = DISCLAIMER


def fix_decision(rule: str, scores: Scores, source: Source, data: str) -> Decision:
    """Choose the threshold and the temperature on known scores.

    Raises:
        SettingError: there is no such rule.
        ValueError: a class is missing among the scores.
    """
    threshold = choose_threshold(rule, scores.y_true, scores.y_score)
    metrics = compute_metrics(scores.y_true, scores.y_score, threshold)
    return Decision(
        rule=rule,
        threshold=threshold,
        temperature=fit_temperature(scores.y_true, scores.y_score),
        source=source,
        data=data,
        images=metrics.n,
        sensitivity=metrics.sensitivity,
        specificity=metrics.specificity,
    )


def write_decision(folder: Path, decision: Decision) -> None:
    """Write `decision.json`."""
    write_json(folder / DECISION, decision.model_dump(mode="json"))


def read_decision(run: Run) -> Decision:
    """Read a run's `decision.json`.

    Raises:
        RunError: the file is missing or damaged.
    """
    path = run.path / DECISION
    try:
        return Decision.model_validate(read_json(path))
    except FileNotFoundError:
        raise RunError(f"{path} is missing; the run folder has lost a part") from None
    except (OSError, ValueError, ValidationError) as error:
        raise RunError(f"{path} cannot be read ({type(error).__name__}); the run folder is damaged") from None


def decide_anew(run: Run, rule: str) -> Decision:
    """Return what another rule chooses on the scores that the run's own decision was fixed on.

    The temperature, which depends on no rule, stays.

    Raises:
        SettingError: there is no such rule.
        RunError: the decision or the scores are missing or damaged.
    """
    own = read_decision(run)
    kept = OUT_OF_FOLD if own.source == "out_of_fold" else STOPPING
    other = fix_decision(rule, read_scores(run.path, kept), own.source, own.data)
    return other.model_copy(update={"temperature": own.temperature})
