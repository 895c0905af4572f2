"""Going on with a run that was stopped: which one, with what, from where, and what a stop leaves."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from pneumocli.core.checkpoint import Checkpoint, CheckpointError, describe_work
from pneumocli.core.errors import DivergedError, PneumoError, RunError
from pneumocli.core.figures import name_fold
from pneumocli.core.files import find_existing, write_json
from pneumocli.core.finding import find_unfinished, list_runs
from pneumocli.core.progress import Notice
from pneumocli.core.reading import read_json
from pneumocli.core.records import Kind, RunRecord
from pneumocli.core.runs import (
    INPUTS,
    Run,
    advise_resume,
    check_name,
    discard_empty,
    holding,
    is_held,
    open_run,
    remove_unfinished,
)


class Inputs(BaseModel):
    """The files a run was started with, whole paths; kept in it until it is complete, and in no result."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str | None = Field(None, description="none for drawn images")
    weights: str | None = Field(None, description="none for random ones")
    groups: str | None = None


def write_inputs(run: Run, data: Path | None, weights: Path | None, groups: Path | None) -> None:
    """Keep in an unfinished run which files it was started with."""
    paths = {"data": data, "weights": weights, "groups": groups}
    named = {name: None if path is None else str(path.absolute()) for name, path in paths.items()}
    write_json(run.path / INPUTS, Inputs(**named).model_dump())


def read_inputs(run: Run) -> Inputs:
    """Return the files that a run was started with, as far as it knows them and they are still there."""
    try:
        kept = Inputs.model_validate(read_json(run.path / INPUTS))
    except (OSError, ValueError):
        return Inputs()
    there = {name: path for name, path in kept.model_dump().items() if path and os.path.exists(path)}
    return Inputs(**there)


def open_stopped(runs_dir: Path, asked: Path, kind: Kind, shared: bool = False) -> Run:
    """Return the run that `--resume` names: a folder, or the name of one in the directory of runs.

    Args:
        shared: other processes may be training other folds of it.

    Raises:
        RunError: it is no run, one of the other kind, or a process is training it.
    """
    run = open_run(asked if asked.is_dir() or not (runs_dir / asked).is_dir() else runs_dir / asked)
    if run.record.kind != kind:
        raise RunError(f"{run.path} was started by another command; go on with: {advise_resume(run)}")
    if not shared and is_held(run):
        with holding(run):  # raises, and says who holds it
            pass
    return run


def find_stopped(
    runs_dir: Path, record: RunRecord, name: str | None, resumed: Run | None, notify: Notice
) -> Run | None:
    """Return the stopped run to go on with: the one that was named, or one that did the same work.

    Args:
        record: of the work that is asked for.
        name: that a new run is to have.
        resumed: the run that is to go on, with its own settings.

    Raises:
        RunError: the named run was begun with other inputs, or the name of a new one cannot be had.
    """
    if resumed is not None:
        other = resumed.record.find_other_inputs(record)
        if other is not None:
            raise RunError(f"{resumed.path} was begun with {other}; name what it was begun with")
        return resumed
    stopped = find_unfinished(runs_dir, record, name)
    if stopped is not None:
        notify(f"{stopped.path} was stopped before its end; it is taken up again")
        return stopped
    if name is not None:
        check_name(runs_dir, name)
    for run in list_runs(runs_dir):
        same = run.record.model_copy(update={"versions": record.versions}).same_work(record)
        if same and not run.is_complete and not is_held(run):
            notify(
                f"{run.path} was stopped before its end, with other versions of the libraries; this is a run "
                f"of its own, that one goes on with: {advise_resume(run)}"
            )
    return None


def open_checkpoint(run: Run, fold: int | None, notify: Notice) -> Checkpoint:
    """Return the checkpoint of a fold, or of the single model.

    One that cannot be gone on with is removed, and that is said.

    Args:
        fold: counted from 1.
    """
    checkpoint = Checkpoint(run.checkpoint_path(fold), describe_work(run.record, fold or 0))
    title = run.name if fold is None else name_fold(fold)
    try:
        standing = checkpoint.read()
    except CheckpointError as error:
        checkpoint.remove()
        notify(f"{error}; {title} starts anew")
        return checkpoint
    if standing is not None:
        notify(f"{title} goes on after epoch {standing.epochs} of phase {standing.phase}")
    return checkpoint


@contextmanager
def training(run: Run) -> Iterator[None]:
    """Hold a run; if its training fails before anything is finished, leave no folder of it.

    What only an unfinished run needs is removed at the end. Ctrl-C says how to go on.
    """
    with holding(run):
        try:
            yield
            remove_unfinished(run)
        except PneumoError as error:
            # While it is held: nobody else has begun with it.
            with suppress(OSError):
                # Where one fold diverges, others side by side may have kept where they stand.
                discard_empty(run, hopeless=isinstance(error, DivergedError))
            raise
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"stopped; go on with: {advise_resume(run)}") from None


def check_place(runs_dir: Path) -> None:
    """Check before long work that runs can be made in a directory.

    Raises:
        RunError: it cannot be written to.
    """
    there = find_existing(runs_dir)
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise RunError(f"{there} cannot be written to; name another directory with --runs")


def check_room(runs_dir: Path, needed: int) -> None:
    """Check before long work that a directory has room for a run.

    Args:
        needed: bytes.

    Raises:
        RunError: it has not.
    """
    there = find_existing(runs_dir)
    free = shutil.disk_usage(there).free
    if free < needed:
        raise RunError(
            f"models and checkpoints need up to {needed / 1e9:.1f} GB, and {there} has {free / 1e9:.1f} GB "
            "free; name a directory on another disk with --runs"
        )
