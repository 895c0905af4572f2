"""What runs a directory holds: how far each is, and its main figures."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pneumocli.core.decision import read_decision
from pneumocli.core.errors import RunError
from pneumocli.core.figures import read_figures
from pneumocli.core.runs import CONFIG, Run, check_complete, is_held, open_run
from pneumocli.core.scores import OUT_OF_FOLD

State = Literal["complete", "stopped", "being trained", "damaged"]


@dataclass(frozen=True)
class RunEntry:
    """One run of a directory.

    Attributes:
        reason: what is wrong with a damaged one.
        folds, finished: how many there are to be, and how many are whole; None for a single model.
        created: UTC, ISO 8601.
        auc, on: AUC on the images that no fold's model was trained on, or of a single model on val;
            and which of the two, "out_of_fold" or "val".
        test_auc, test_accuracy: of the ensemble or the single model, where the test images were scored;
            the accuracy is at the threshold of the run's rule, None where they were last scored at another.
    """

    name: str
    state: State
    reason: str | None = None
    kind: str | None = None
    folds: int | None = None
    finished: int | None = None
    recipe: str | None = None
    data: str | None = None
    synthetic: bool = False
    seed: int | None = None
    created: str | None = None
    on: str | None = None
    auc: float | None = None
    test_auc: float | None = None
    test_accuracy: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        return asdict(self)


def take_inventory(directory: Path) -> list[RunEntry]:
    """Return the runs of a directory, oldest first, damaged ones that tell no time before them.

    Raises:
        RunError: it is not a directory.
    """
    if not directory.is_dir():
        raise RunError(
            f"{directory} is not a directory; name one with run folders, or make a run: pneumocli cv"
        )
    if (directory / CONFIG).is_file():
        raise RunError(
            f"{directory} is a run folder; name the directory it is in: {directory.absolute().parent}"
        )
    entries = [_describe(config.parent) for config in directory.glob(f"*/{CONFIG}")]
    return sorted(entries, key=lambda entry: (entry.created or "", entry.name))


def _describe(path: Path) -> RunEntry:
    try:
        run = open_run(path)
    except RunError as error:
        return RunEntry(path.name, "damaged", reason=str(error))
    record = run.record
    known: dict[str, Any] = {
        "kind": record.kind,
        "folds": None if record.folds is None else len(record.fold_numbers),
        "finished": None if record.folds is None else len(run.finished_folds()),
        "recipe": record.settings.recipe,
        "data": record.data.name,
        "synthetic": record.data.synthetic,
        "seed": record.settings.seed,
        "created": record.created,
    }
    try:
        state, figures = _judge(run)
    except RunError as error:
        return RunEntry(run.name, "damaged", reason=str(error), **known)
    return RunEntry(run.name, state, **known, **figures)


def _judge(run: Run) -> tuple[State, dict[str, Any]]:
    if not run.is_complete:
        return "being trained" if is_held(run) else "stopped", {}
    check_complete(run)
    decision = read_decision(run)
    on = OUT_OF_FOLD if run.record.kind == "cv" else "val"
    figures = {"on": on, "auc": list(read_figures(run.path, on).models.values())[-1].roc_auc}
    if (run.path / "metrics_test.json").is_file():
        test = read_figures(run.path, "test")
        # The last model is the one that the run stands for.
        figures["test_auc"] = list(test.models.values())[-1].roc_auc
        # Not where the test images were last scored at another rule.
        if test.at_rule is not None and test.stand_at(decision):
            figures["test_accuracy"] = list(test.at_rule.values())[-1].accuracy
    return "complete", figures
