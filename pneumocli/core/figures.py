"""The figures of a run's models on one split: what `metrics_<split>.json` holds."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pneumocli import DISCLAIMER
from pneumocli.core.errors import RunError
from pneumocli.core.files import write_json
from pneumocli.core.metrics import Metrics
from pneumocli.core.uncertainty import Estimate

ENSEMBLE_NAME = "ensemble"
POOLED_NAME = "pooled"


class Figures(BaseModel):
    """Figures of one or more models of a run, all on the same split.

    `models` is by name: "fold 1" and so on, "ensemble", "pooled" (all folds' held-out parts
    together), or the single model's run. `folds` has mean and standard deviation over the folds.
    `estimates` has the same models' figures with 95 % intervals, about the images that were scored.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    run: str
    split: str
    data: str = Field(description="name of the data set that was scored")
    data_digest: str = Field(description="SHA-256 of the scored split's pixels and labels")
    synthetic: bool
    models: Mapping[str, Metrics]
    best_single: str | None = Field(None, description="the fold with the highest out-of-fold AUC")
    folds: dict[str, dict[str, float]] | None = None
    estimates: Mapping[str, Mapping[str, Estimate]] | None = None
    disclaimer: str = DISCLAIMER

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON; what is not there is left out."""
        return self.model_dump(mode="json", exclude_none=True)


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
        return Figures.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise RunError(f"{path} is missing; the run folder has lost a part") from None
    except (OSError, ValueError, ValidationError, RecursionError) as error:
        raise RunError(f"{path} cannot be read ({type(error).__name__}); the run folder is damaged") from None


def choose_best(folds: Mapping[str, Metrics]) -> str:
    """Return the name of the fold with the highest AUC on the images it was not trained on."""
    return max(folds, key=lambda name: folds[name].roc_auc)
