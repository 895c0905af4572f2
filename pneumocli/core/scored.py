"""A run's figures and scores on one split, read back from its folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pneumocli.core.decision import Decision
from pneumocli.core.errors import RunError
from pneumocli.core.figures import ENSEMBLE_NAME, POOLED_NAME, Figures, read_figures
from pneumocli.core.metrics import compute_metrics
from pneumocli.core.runs import Run
from pneumocli.core.scores import Scores, read_scores


@dataclass(frozen=True)
class ScoredSplit:
    """What a run's models answered on one split, and the figures of it.

    Attributes:
        figures: of every model, by name.
        decision: at whose threshold and temperature they are.
        scores: uncalibrated, by the same names; the last is of the model that the run stands for. Each
            fold's out-of-fold scores are of other images.
    """

    figures: Figures
    decision: Decision
    scores: Mapping[str, Scores]

    @property
    def main(self) -> str:
        """The name of the model that the run stands for: ensemble, pooled, or the single one's."""
        return list(self.scores)[-1]

    @property
    def main_scores(self) -> Scores:
        return self.scores[self.main]

    @property
    def folds(self) -> dict[str, Scores]:
        """The scores of the folds' models; empty for a single model."""
        # A single model may be called what the folds' ensemble is.
        if self.main not in (ENSEMBLE_NAME, POOLED_NAME) or len(self.scores) == 1:
            return {}
        return {name: part for name, part in self.scores.items() if name != self.main}


def read_scored_split(run: Run, place: Path, split: str) -> ScoredSplit:
    """Read the figures and scores of a split.

    Args:
        place: where they are kept, see `Run.results_path`.

    Raises:
        RunError: a part is missing or damaged, or figures and scores are not of the same scoring.
    """
    figures = read_figures(place, split)
    if figures.decision is None:
        raise RunError(f"{place}: the {split} figures have no decision; the run folder is damaged")
    folders = [run.path] if run.record.kind == "train" else [*run.member_paths(), run.path]
    if len(folders) != len(figures.models):
        raise RunError(f"{place}: the {split} figures are not of {run.name}; the run folder is damaged")
    scores = {
        name: read_scores(place / folder.relative_to(run.path), split)
        for name, folder in zip(figures.models, folders, strict=True)
    }
    main, part = list(scores.items())[-1]
    if compute_metrics(part.y_true, part.y_score) != figures.models[main]:
        raise RunError(f"{place}: the {split} scores are not those of the figures; the run folder is damaged")
    return ScoredSplit(figures, figures.decision, scores)
