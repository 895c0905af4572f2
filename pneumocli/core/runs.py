"""The run folder, the interface between the commands.

    runs/train-1/  config.json  history.json  model.keras  scores_val.npz  scores_stopping.npz
                   seen.npz  decision.json  metrics_val.json
    runs/cv-1/     config.json  fold_1/ ... fold_K/  scores_out_of_fold.npz  seen.npz  decision.json
                   atypical.npz  metrics_out_of_fold.json  and later  ensemble.keras
    fold_I/        history.json  model.keras  pooled_maps.npz  scores_out_of_fold.npz
                   metrics_out_of_fold.json

K is the number of all folds, those of one repeat behind those of the other; the run's out-of-fold score of an
image is the mean over the repeats.

Scoring a split adds scores_<split>.npz to each of them, and metrics_<split>.json and pictures such as
roc_<split>.png to the run; training adds learning_curves.png; pictures.json lists the pictures beside it. On
PneumoniaMNIST's own images there is also MedMNIST's result file (see `medmnist`). On other data than the
run's own, all of this lies in the same way below external/<data>/.

Whole or half: a fold's folder is filled under another name and moved into place when it is whole; a run is
complete when the file that is written last, its metrics, is there. Until then there may also be

    checkpoint.npz, checkpoint_fold_I.npz   where training stands (see `checkpoint`)
    .inputs.json                            which files it was started with (see `resume`)
    .lock                                   who is training it, held by that process
    .fold_I.lock                            who is training that fold alone (see `sharing`)
    .*.partial*                             what a killed process had half written
"""

import os
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from pneumocli.core.data import SEEN_NAMES, Dataset
from pneumocli.core.errors import RunError
from pneumocli.core.files import remove_partials, write_json
from pneumocli.core.locking import HeldError, describe_holder, holding_file, is_held_file
from pneumocli.core.reading import read_json
from pneumocli.core.records import RunRecord
from pneumocli.core.scores import OUT_OF_FOLD

CONFIG, HISTORY, DECISION = "config.json", "history.json", "decision.json"
MODEL, ENSEMBLE = "model.keras", "ensemble.keras"
CHECKPOINTS = "checkpoint*.npz"  # of a run's folds, or of its single model
LOCK, SCORING_LOCK, INPUTS = ".lock", ".scoring.lock", ".inputs.json"
SCORING_PATIENCE = 120.0  # seconds; writing scores and figures takes a few
ABANDONED_AFTER = 3600.0  # seconds after which a partial file belongs to nobody
EXTERNAL = "external"


@dataclass(frozen=True)
class Run:
    """A run folder and its record."""

    path: Path
    record: RunRecord

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def synthetic(self) -> bool:
        return self.record.data.synthetic

    @property
    def last_file(self) -> Path:
        """The file that is written last: it is there when the run is complete."""
        return self.path / f"metrics_{OUT_OF_FOLD if self.record.kind == 'cv' else 'val'}.json"

    @property
    def is_complete(self) -> bool:
        return self.last_file.is_file()

    def owns(self, dataset: Dataset) -> bool:
        """Return whether this is the data set that the run was trained on, by its images and labels."""
        return dataset.digest(SEEN_NAMES) == self.record.data.digest

    def results_path(self, dataset: Dataset) -> Path:
        """Return where scores and figures of a data set are kept: apart from the run's if it is another."""
        return self.path if self.owns(dataset) else self.path / EXTERNAL / dataset.name

    def fold_path(self, fold: int) -> Path:
        """Return the folder of a fold, counted from 1."""
        return self.path / f"fold_{fold}"

    def checkpoint_path(self, fold: int | None = None) -> Path:
        """Return where the standing of a fold, or of the single model, is kept while it trains."""
        return self.path / ("checkpoint.npz" if fold is None else f"checkpoint_fold_{fold}.npz")

    def fold_lock_path(self, fold: int) -> Path:
        """Return what a process holds while it trains one fold."""
        return self.path / f".fold_{fold}.lock"

    def held_folds(self) -> list[int]:
        """Return the folds, counted from 1, that a process is training alone."""
        return [fold for fold in self.record.fold_numbers if is_held_file(self.fold_lock_path(fold))]

    def member_paths(self) -> list[Path]:
        """Return the folders that hold a `model.keras`: the folds', or the run's own."""
        if self.record.folds is None:
            return [self.path]
        return [self.fold_path(fold) for fold in self.record.fold_numbers]

    def finished_folds(self) -> list[int]:
        """Return the folds, counted from 1, that are whole."""
        return [fold for fold in self.record.fold_numbers if self.fold_path(fold).is_dir()]


def check_form(name: str) -> None:
    """Check that a name is one that a run can have, here or anywhere.

    Raises:
        RunError: it is not one that a folder can have, leads elsewhere, or begins with a point.
    """
    if not name or Path(name).name != name or name.startswith("."):
        raise RunError(f"{name!r} cannot be a run's name; take letters, digits, - and _")


def check_name(runs_dir: Path, name: str) -> None:
    """Check that a run can have this name.

    Raises:
        RunError: it is taken, or not one that a folder can have.
    """
    check_form(name)
    if (runs_dir / name).exists():
        raise RunError(f"{runs_dir / name} is there already and is not overwritten; take another --name")


def create_run(runs_dir: Path, record: RunRecord, name: str | None = None) -> Run:
    """Make a new run folder; without a name it is `<kind>-<number>`, the first that is free.

    Raises:
        RunError: the name is taken, or not one that a folder can have.
    """
    prefix = f"synthetic-{record.kind}" if record.data.synthetic else record.kind
    number = 1
    if name is not None:
        check_name(runs_dir, name)
    while True:
        path = runs_dir / (name or f"{prefix}-{number}")
        try:
            path.mkdir(parents=True)
            break
        except FileExistsError:
            # Another command may take a name at the same moment; the next number is as good.
            if name is not None:
                check_name(runs_dir, name)
            number += 1
    try:
        write_json(path / CONFIG, record.model_dump(mode="json"))
    except BaseException:
        path.rmdir()
        raise
    return Run(path, record)


def open_run(path: Path) -> Run:
    """Read a run folder's record.

    Raises:
        RunError: the folder or its `config.json` is missing or not what a run writes.
    """
    config = path / CONFIG
    if not path.is_dir():
        raise RunError(f"{path} is not a run folder; train one with: pneumocli cv")
    try:
        _check_inside(path)
        return Run(path, RunRecord.model_validate(read_json(config)))
    except FileNotFoundError:
        raise RunError(
            f"{path} is not a run folder: it has no {CONFIG}; train one with: pneumocli cv"
        ) from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise RunError(
            f"{config} is not what pneumocli writes ({where + ': ' if where else ''}{first['msg']}); "
            "the run cannot be used"
        ) from None
    except OSError as error:
        raise RunError(f"{config} cannot be read ({error.strerror}); the run cannot be used") from None
    except ValueError as error:
        raise RunError(f"{config} is not what pneumocli writes ({error}); the run cannot be used") from None


def _check_inside(path: Path) -> None:
    """Check that no part of a run folder is a link to elsewhere: results would be written there.

    Raises:
        RunError: one is.
    """
    home = os.path.realpath(path)
    for directory, inner, files in os.walk(path):
        for name in (*inner, *files):
            part = os.path.join(directory, name)
            if os.path.islink(part) and os.path.commonpath([home, os.path.realpath(part)]) != home:
                raise RunError(f"{part} is a link that leads out of the run folder; put a copy in its place")


def discard_empty(run: Run, *, hopeless: bool = False) -> None:
    """Remove a run in which nothing was finished, so that it is not taken for a stopped one.

    Args:
        hopeless: what is under way would not be finished if it went on, so it does not count.
    """
    locks = {run.fold_lock_path(fold).name for fold in run.record.fold_numbers}
    under_way = set(run.path.glob(CHECKPOINTS)) | set(run.path.glob(".*.partial*")) if hopeless else set()
    found = {path.name for path in run.path.iterdir() if path not in under_way}
    if found <= {CONFIG, LOCK, INPUTS, *locks}:
        shutil.rmtree(run.path)


def check_complete(run: Run) -> None:
    """Check that a run has all its parts.

    Raises:
        RunError: it is not finished, or parts of it are missing.
    """
    if not run.is_complete:
        raise RunError(
            f"{run.path} is not complete ({run.last_file.name} is missing); "
            f"finish it with: {advise_resume(run)}"
        )
    for part in (run.path / DECISION, *(member / MODEL for member in run.member_paths())):
        if not part.is_file():
            raise RunError(f"{run.path} has lost {part}; train it anew: pneumocli {run.record.kind}")


def advise_resume(run: Run) -> str:
    """Return the command that goes on with a run."""
    return shlex.join(["pneumocli", run.record.kind, "--resume", str(run.path)])


@contextmanager
def holding(run: Run) -> Iterator[None]:
    """Keep a run to this process while it trains; the system lets go of it if the process is killed.

    Raises:
        RunError: another process holds it; the message says which.
    """
    try:
        with holding_file(run.path / LOCK):
            # No fold is begun by another while this is held.
            for fold in run.held_folds():
                raise HeldError(f"{describe_holder(run.fold_lock_path(fold))} (fold {fold})")
            remove_partials(run.path)
            yield
    except HeldError as error:
        raise RunError(f"{run.path} is being trained by {error}; wait for its end") from None


def is_held(run: Run) -> bool:
    """Return whether a process is training this run, or a fold of it."""
    return is_held_file(run.path / LOCK) or bool(run.held_folds())


@contextmanager
def scoring(run: Run) -> Iterator[None]:
    """Keep a run's results to this process while it writes scores and figures; others wait for its end.

    Raises:
        RunError: another process does not come to an end with it.
    """
    try:
        with holding_file(run.path / SCORING_LOCK, patience=SCORING_PATIENCE):
            remove_partials(run.path, older_than=ABANDONED_AFTER)
            remove_unfinished(run)
            yield
    except HeldError as error:
        raise RunError(f"scores of {run.path} are being written by {error}; wait for its end") from None


def remove_unfinished(run: Run) -> None:
    """Remove from a complete run what only an unfinished one needs."""
    for path in (run.path / INPUTS, *run.path.glob(CHECKPOINTS), *run.path.glob(".fold_*.lock")):
        path.unlink(missing_ok=True)
