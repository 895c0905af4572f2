"""Which run is meant: by its folder, its name, or as the newest."""

import os
from pathlib import Path

from pneumocli.core.errors import RunError
from pneumocli.core.records import Kind, RunRecord
from pneumocli.core.runs import CONFIG, MODEL, Run, check_complete, is_held, open_run


def list_runs(runs_dir: Path) -> list[Run]:
    """Return the runs of a directory, oldest first; folders that are no runs are passed over."""
    runs = []
    for config in runs_dir.glob(f"*/{CONFIG}"):
        try:
            runs.append(open_run(config.parent))
        except RunError:
            continue
    return sorted(runs, key=lambda run: (run.record.created, run.name))


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


def find_unfinished(runs_dir: Path, record: RunRecord, name: str | None = None) -> Run | None:
    """Return the newest incomplete run that does the same work (of that name), to go on with."""
    runs = [run for run in list_runs(runs_dir) if name in (None, run.name)]
    same = [run for run in runs if not run.is_complete and run.record.same_work(record)]
    stopped = [run for run in same if not is_held(run)]
    return stopped[-1] if stopped else None
