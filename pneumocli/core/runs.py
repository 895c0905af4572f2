"""The run folder, the interface between the commands.

    runs/train-1/  config.json  history.json  model.keras  scores_val.npz  scores_stopping.npz
                   decision.json  metrics_val.json
    runs/cv-1/     config.json  fold_1/ ... fold_K/  scores_out_of_fold.npz  decision.json  atypical.npz
                   metrics_out_of_fold.json  and later  ensemble.keras
    fold_I/        history.json  model.keras  pooled_maps.npz  scores_out_of_fold.npz
                   metrics_out_of_fold.json

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
from pneumocli.core.records import Kind, RunRecord
from pneumocli.core.scores import OUT_OF_FOLD

CONFIG, HISTORY, DECISION = "config.json", "history.json", "decision.json"
MODEL, ENSEMBLE = "model.keras", "ensemble.keras"
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
        folds = range(1, (self.record.folds or 0) + 1)
        return [fold for fold in folds if is_held_file(self.fold_lock_path(fold))]

    def member_paths(self) -> list[Path]:
        """Return the folders that hold a `model.keras`: the folds', or the run's own."""
        if self.record.folds is None:
            return [self.path]
        return [self.fold_path(fold) for fold in range(1, self.record.folds + 1)]

    def finished_folds(self) -> list[int]:
        """Return the folds, counted from 1, that are whole."""
        return [fold for fold in range(1, (self.record.folds or 0) + 1) if self.fold_path(fold).is_dir()]


def check_name(runs_dir: Path, name: str) -> None:
    """Check that a run can have this name.

    Raises:
        RunError: it is taken, or not one that a folder can have.
    """
    if not name or Path(name).name != name or name.startswith("."):
        raise RunError(f"{name!r} cannot be a run's name; take letters, digits, - and _")
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


def list_runs(runs_dir: Path) -> list[Run]:
    """Return the runs of a directory, oldest first; folders that are no runs are passed over."""
    runs = []
    for config in runs_dir.glob(f"*/{CONFIG}"):
        try:
            runs.append(open_run(config.parent))
        except RunError:
            continue
    return sorted(runs, key=lambda run: (run.record.created, run.name))


def discard_empty(run: Run) -> None:
    """Remove a run in which nothing was finished, so that it is not taken for a stopped one."""
    locks = {run.fold_lock_path(fold).name for fold in range(1, (run.record.folds or 0) + 1)}
    if {path.name for path in run.path.iterdir()} <= {CONFIG, LOCK, INPUTS, *locks}:
        shutil.rmtree(run.path)


def find_run(runs_dir: Path, asked: Path | None = None, kind: Kind | None = None) -> Run:
    """Return the complete run that is meant.

    Args:
        runs_dir: where runs are looked for by name.
        asked: a run folder, the name of one, or a directory of runs, which means its newest
            complete run; None means the newest complete run of `runs_dir`.
        kind: only runs of this kind are meant.

    Raises:
        RunError: there is none, it is of the other kind, or it is not complete.
    """
    if asked is not None and not asked.is_dir() and (runs_dir / asked).is_dir():
        asked = runs_dir / asked
    directory = runs_dir if asked is None else asked
    if asked is not None and kind is None and not (asked / CONFIG).exists():
        kind = "cv"
    if asked is not None and ((asked / CONFIG).exists() or not list(asked.glob(f"*/{CONFIG}"))):
        run = open_run(asked)
    else:
        runs = [run for run in list_runs(directory) if kind in (None, run.record.kind)]
        complete = [run for run in runs if run.is_complete]
        if not complete:
            what = {"cv": "cross-validation", "train": "single-model run", None: "run"}[kind]
            unfinished = f" (unfinished: {', '.join(run.name for run in runs)})" if runs else ""
            raise RunError(f"no complete {what} in {directory}{unfinished}; make one with: pneumocli cv")
        run = complete[-1]
    if kind not in (None, run.record.kind):
        raise RunError(
            f"{run.path} is a single model, not a cross-validation; an ensemble needs one: pneumocli cv"
        )
    check_complete(run)
    return run


def find_folds(runs_dir: Path, asked: Path | None = None) -> Run:
    """Return the cross-validation that is meant, as `find_run`; one that is named need not be complete."""
    place = asked if asked is None or asked.is_dir() else runs_dir / asked
    if place is not None and (place / CONFIG).is_file():
        run = open_run(place)
        if run.record.kind == "cv":
            return run
    return find_run(runs_dir, asked, "cv")


def find_predictor(runs_dir: Path, named: Path | None = None) -> Run | Path:
    """Return what answers for new images: a complete run, or a model file.

    Args:
        runs_dir: where the newest complete run is taken from if none is named.
        named: a run folder, a run's name, a directory of runs, one fold's folder, or a model file.

    Raises:
        RunError: there is no such run or file.
    """
    if named is not None and not named.is_dir() and not (runs_dir / named).is_dir():
        if not named.is_file():
            raise RunError(f"{named} does not exist; name a run folder or a .keras file of pneumocli")
        return named
    if named is not None and (named / MODEL).is_file() and not os.path.lexists(named / CONFIG):
        return named / MODEL
    return find_run(runs_dir, named)


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


def find_unfinished(runs_dir: Path, record: RunRecord, name: str | None = None) -> Run | None:
    """Return the newest incomplete run that does the same work (of that name), to go on with."""
    runs = [run for run in list_runs(runs_dir) if name in (None, run.name)]
    same = [run for run in runs if not run.is_complete and run.record.same_work(record)]
    stopped = [run for run in same if not is_held(run)]
    return stopped[-1] if stopped else None


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
    for path in (run.path / INPUTS, *run.path.glob("checkpoint*.npz"), *run.path.glob(".fold_*.lock")):
        path.unlink(missing_ok=True)
