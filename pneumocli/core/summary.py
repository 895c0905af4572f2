"""What a run folder says of its run, gathered in one place; what is not there is named as a gap."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pneumocli.core.album import PICTURES, Picture, list_pictures
from pneumocli.core.decision import Decision, read_decision
from pneumocli.core.errors import RunError
from pneumocli.core.figures import Figures, name_fold, read_figures
from pneumocli.core.finding import find_run
from pneumocli.core.identity import Kind, read_kind
from pneumocli.core.medmnist import list_results
from pneumocli.core.metrics import Metrics
from pneumocli.core.reading import read_json
from pneumocli.core.runs import CONFIG, DECISION, EXTERNAL, HISTORY, Run, open_run
from pneumocli.core.scores import OUT_OF_FOLD, read_scores
from pneumocli.core.uncertainty import Estimate, estimate_figures

# The splits of the run's own data that it can be scored on, the one that says most first.
OWN_SPLITS = ("test", "val", OUT_OF_FOLD)
OTHER_SPLITS = ("test", "all", "val")


@dataclass(frozen=True)
class Scored:
    """One split of one data set, by the model that the run stands for.

    Attributes:
        figures: of all models, as they are kept.
        name: of the model that the run stands for: the ensemble, all folds pooled, or the single one.
        metrics: of that model at the threshold of the figures' decision; at 0.5 if there is none.
        estimates: the same with 95 % intervals, by figure; None if there are none.
    """

    figures: Figures
    name: str
    metrics: Metrics
    estimates: Mapping[str, Estimate] | None

    @property
    def models(self) -> Mapping[str, Metrics]:
        """All models at the same threshold as `metrics`."""
        return self.figures.at_rule or self.figures.models

    @property
    def moved(self) -> tuple[float, float] | None:
        """How far sensitivity and specificity are from those the rule was fixed at; None where it was."""
        decision = self.figures.decision
        if decision is None or self.figures.fixed_here:
            return None
        return (
            self.metrics.sensitivity - decision.sensitivity,
            self.metrics.specificity - decision.specificity,
        )


@dataclass(frozen=True)
class Course:
    """How one model's training went.

    Attributes:
        head_epochs, tune_epochs: how many were done.
        phase, epoch: of the epoch whose weights the model has.
        loss, val_loss, val_auc: there; None for what is not a number.
    """

    head_epochs: int
    tune_epochs: int
    phase: str
    epoch: int
    loss: float | None
    val_loss: float | None
    val_auc: float | None


@dataclass(frozen=True)
class Gap:
    """What is missing, as a sentence, and how to get it."""

    what: str
    how: str


@dataclass(frozen=True)
class Summary:
    """All that a report of a run needs.

    Attributes:
        kind: which data set train and val are of.
        is_medmnist: whether the data are known to be PneumoniaMNIST's, or a part of them.
        decision: the run's own; None if it is not fixed yet.
        scored: splits of the run's own data, the one that says most first.
        external: splits of other data.
        courses: by the model's name.
        size_bytes: of the model files together.
    """

    run: Run
    kind: Kind
    is_medmnist: bool
    decision: Decision | None
    scored: Mapping[str, Scored]
    external: tuple[Scored, ...]
    courses: Mapping[str, Course]
    pictures: tuple[Picture, ...]
    gaps: tuple[Gap, ...]
    size_bytes: int

    @property
    def best(self) -> Scored | None:
        """The split that says most of those scored: test, else val, else out-of-fold."""
        return next(iter(self.scored.values()), None)


def find_reported(runs_dir: Path, asked: Path | None = None) -> Run:
    """Return the run that is meant; one that is named need not be complete.

    Args:
        runs_dir: where runs are looked for by name, and the newest complete one if none is named.
        asked: a run folder, the name of one, or a directory of runs.

    Raises:
        RunError: there is none.
    """
    if asked is not None:
        for path in (asked, runs_dir / asked):
            if (path / CONFIG).is_file():
                return open_run(path)
    return find_run(runs_dir, asked)


def summarize_run(run: Run) -> Summary:
    """Gather what the run folder holds.

    The best split's 95 % intervals are computed from the kept scores if no command has kept them; all else
    is read.

    Raises:
        RunError: a file is there and damaged.
    """
    decision = read_decision(run) if (run.path / DECISION).is_file() else None
    gaps: list[Gap] = []
    scored = {
        split: _read_scored(run.path, split)
        for split in OWN_SPLITS
        if (run.path / f"metrics_{split}.json").is_file()
    }
    for split in list(scored)[:1]:
        scored[split] = _bound(run.path, scored[split], gaps)
    kind = read_kind(run.record.data.identity)
    external = tuple(_read_external(run))
    pictures, is_listed = list_pictures(run.path, list(scored))
    if not is_listed:
        gaps.append(Gap(f"{PICTURES} cannot be read.", "score the run again, which writes it anew"))
    return Summary(
        run=run,
        kind=kind,
        is_medmnist=kind in (Kind.OFFICIAL, Kind.KAGGLE)
        or any(list_results(run.path, split) for split in OWN_SPLITS[:2]),
        decision=decision,
        scored=scored,
        external=external,
        courses=_read_courses(run),
        pictures=pictures,
        gaps=(
            *_list_gaps(run, decision, scored, pictures),
            *_list_moved_rules(run, decision, external),
            *gaps,
        ),
        size_bytes=sum(path.stat().st_size for path in run.path.glob("**/*.keras")),
    )


def _read_scored(folder: Path, split: str) -> Scored:
    figures = read_figures(folder, split)
    name = list(figures.models)[-1]
    estimates = (figures.estimates_at_rule or figures.estimates or {}).get(name)
    return Scored(figures, name, (figures.at_rule or figures.models)[name], estimates)


def _bound(folder: Path, scored: Scored, gaps: list[Gap]) -> Scored:
    """Compute the intervals from the kept scores where no command has kept them."""
    if scored.estimates is not None:
        return scored
    try:
        scores = read_scores(folder, scored.figures.split)
        threshold = scored.metrics.threshold
        estimates = estimate_figures(scores.y_true, scores.y_score, threshold, scores.group)
    except (RunError, ValueError):
        split = scored.figures.split.replace("_", "-")
        gaps.append(
            Gap(
                f"The {split} figures have no intervals: the scores that they were computed from are not "
                "there, or damaged.",
                "train the run anew, or score it again",
            )
        )
        return scored
    return replace(scored, estimates=estimates)


def _read_external(run: Run) -> list[Scored]:
    folder = run.path / EXTERNAL
    if not folder.is_dir():
        return []
    return [
        _read_scored(place, split)
        for place in sorted(folder.iterdir())
        for split in OTHER_SPLITS
        if (place / f"metrics_{split}.json").is_file()
    ]


def _read_courses(run: Run) -> dict[str, Course]:
    """Return how training went, of the models whose history can be read."""
    names = [run.name]
    if run.record.folds is not None:
        names = [name_fold(fold) for fold in run.record.fold_numbers]
    found = {}
    for name, folder in zip(names, run.member_paths(), strict=True):
        try:
            epochs = read_json(folder / HISTORY)["epochs"]
            kept = [entry for entry in epochs if entry["kept"]][-1]
            found[name] = Course(
                head_epochs=sum(entry["phase"] == "head" for entry in epochs),
                tune_epochs=sum(entry["phase"] == "tune" and entry["epoch"] > 0 for entry in epochs),
                phase=str(kept["phase"]),
                epoch=int(kept["epoch"]),
                **{figure: _read_number(kept, figure) for figure in ("loss", "val_loss", "val_auc")},
            )
        except (OSError, ValueError, KeyError, IndexError, TypeError, RecursionError):
            continue
    return found


def _read_number(entry: Mapping[str, Any], name: str) -> float | None:
    value = entry.get(name)
    return None if value is None else float(value)


def _list_gaps(
    run: Run, decision: Decision | None, scored: Mapping[str, Scored], pictures: tuple[Picture, ...]
) -> Iterator[Gap]:
    again = f"pneumocli evaluate {shlex.quote(str(run.path))}"
    named = "with the --data that it was trained on, if that was named"
    if not run.is_complete:
        done = "Its training has not come to its end."
        if run.record.folds is not None:
            done = f"{len(run.finished_folds())} of {len(run.record.fold_numbers)} folds are trained."
        yield Gap(
            f"The run is not complete. {done}",
            f"give the command that began it again (pneumocli {run.record.kind} ...): it goes on from there",
        )
        return
    if decision is None:
        yield Gap(f"The run has lost {DECISION}: no threshold is known.", "train it anew")
    if "test" not in scored:
        yield Gap(
            "The run is not scored on test images: nothing here is about images that had no part in "
            "its making.",
            f"{again} ({named})",
        )
    elif decision is not None and not scored["test"].figures.stand_at(decision):
        yield Gap(
            f"The test figures stand at another rule than the run's own ({decision.rule}, from "
            f"{decision.threshold:.4f} on).",
            f"{again} ({named})",
        )
    if not any(picture.split in scored for picture in pictures):
        yield Gap("There are no pictures of what was scored.", f"{again} ({named})")


def _list_moved_rules(run: Run, decision: Decision | None, external: Sequence[Scored]) -> Iterator[Gap]:
    for scored in external:
        figures = scored.figures
        if decision is not None and not figures.stand_at(decision):
            yield Gap(
                f"The figures on {figures.data} ({figures.split}) stand at another rule than the run's own "
                f"({decision.rule}, from {decision.threshold:.4f} on).",
                f"pneumocli evaluate {shlex.quote(str(run.path))} with the --data that these are",
            )
