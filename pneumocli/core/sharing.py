"""A run whose folds are trained by commands of their own, on one machine or on several with one file system.

Whichever comes first makes the run folder. Each holds its fold, `.fold_I.lock`, and takes it while it holds
the run for a moment, so that nobody who holds the whole run finds a fold begun behind its back. The locks are
those of the file system (flock): one that several machines share must pass them on between these, as NFS
version 4, Lustre with `flock` and GPFS do.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from pneumocli.core.errors import DivergedError, RunError, SettingError
from pneumocli.core.figures import name_fold
from pneumocli.core.files import remove_partials
from pneumocli.core.inputs import DataInput, WeightsInput
from pneumocli.core.locking import HeldError, holding_file
from pneumocli.core.progress import Notice, keep_quiet
from pneumocli.core.records import RunRecord
from pneumocli.core.resume import find_stopped, write_inputs
from pneumocli.core.runs import (
    CONFIG,
    LOCK,
    Run,
    advise_resume,
    check_form,
    create_run,
    discard_empty,
    open_run,
)

PARTS = {"kind", "folds", "precision"}
SYSTEM = "system"  # of the versions; it may differ between the machines of a cluster
PATIENCE = 30.0  # seconds; to make a run, or to begin a fold, takes a moment


def check_fold(fold: int, folds: int) -> None:
    """Check that there is such a fold, of those of all repeats.

    Raises:
        SettingError: there is not.
    """
    if not 1 <= fold <= folds:
        raise SettingError(f"--fold must be from 1 to {folds}, the number of folds; received {fold}")


def find_begun(
    runs_dir: Path,
    record: RunRecord,
    *,
    name: str | None = None,
    resume: Run | None = None,
    fold: int | None = None,
    notify: Notice = keep_quiet,
) -> Run | None:
    """Return the run that work goes on with, complete or not, or None if it is going to make its own.

    Args:
        record: of the work that is asked for.
        name: that a new run is to have.
        resume: the run that is to go on, with its own settings.
        fold: the one that is trained alone, from 1, in the run of this name, whoever has made it.

    Raises:
        SettingError: there is no such fold, or the name of its run is missing.
        RunError: the run was begun with other inputs, or the name of a new one cannot be had.
    """
    if fold is not None:
        check_fold(fold, len(record.fold_numbers))
    if fold is None or resume is not None:
        return find_stopped(runs_dir, record, name, resume, notify)
    if name is None:
        raise SettingError("a fold of its own needs the name of its run, the same for all folds")
    return find_shared(runs_dir, record, name, notify)


def find_shared(runs_dir: Path, record: RunRecord, name: str, notify: Notice) -> Run | None:
    """Return the run of this name if another command has made it already, for the same work.

    Raises:
        RunError: it is of other work, was begun with other versions of the libraries, or cannot have that
            name.
    """
    check_form(name)
    if not (runs_dir / name / CONFIG).is_file():
        return None
    run = open_run(runs_dir / name)
    _check_same(run, record, notify)
    return run


def join_run(
    runs_dir: Path, record: RunRecord, name: str, data: DataInput, weights: WeightsInput, notify: Notice
) -> Run:
    """Make the run of this name, or return the one that another command has made at the same time.

    Raises:
        RunError: as for `find_shared`, or something else has that name.
    """
    check_form(name)
    runs_dir.mkdir(parents=True, exist_ok=True)
    try:
        with holding_file(runs_dir / f".{name}.lock", patience=PATIENCE):
            shared = find_shared(runs_dir, record, name, notify)
            if shared is not None:
                return shared
            with suppress(OSError):  # one that was killed here has left a folder without a record
                remove_partials(runs_dir / name)
                (runs_dir / name).rmdir()
            run = create_run(runs_dir, record, name)
            write_inputs(run, data.path, weights.path, data.groups_path)
            return run
    except HeldError as error:
        raise RunError(f"{runs_dir / name} is being made by {error}; wait for its end") from None


def _check_same(run: Run, record: RunRecord, notify: Notice) -> None:
    """Refuse other work than a run's, and other libraries, whose results would differ in the last digits."""
    ours = run.record
    other = ours.find_other_inputs(record)
    if other is not None:
        raise RunError(f"{run.path} was begun with {other}; all folds of a run take the same")
    before, now = ({**of.settings.model_dump(), **of.model_dump(include=PARTS)} for of in (ours, record))
    differing = [f"{part} {before[part]}, not {now[part]}" for part in before if before[part] != now[part]]
    if differing:
        raise RunError(f"{run.path} was begun with {'; '.join(differing)}; all folds of a run take the same")
    versions = [
        f"{library} {version}, here {record.versions.get(library, 'none')}"
        for library, version in ours.versions.items()
        if version != record.versions.get(library) and library != SYSTEM
    ]
    if versions:
        raise RunError(f"{run.path} was begun with {'; '.join(versions)}; install the same for all folds")
    if ours.versions.get(SYSTEM) != record.versions.get(SYSTEM):
        notify(f"{run.path} was begun on another system: {ours.versions.get(SYSTEM)}")


@contextmanager
def training_fold(run: Run, fold: int) -> Iterator[None]:
    """Keep one fold of a run to this process; others may train the run's other folds meanwhile.

    If it diverges before any fold is finished and no other is being trained, no folder of the run is left.
    Ctrl-C says how to go on.

    Raises:
        RunError: another process trains this fold, or the whole run.
    """
    with ExitStack() as held:
        try:
            with holding_file(run.path / LOCK, patience=PATIENCE):
                held.enter_context(holding_file(run.fold_lock_path(fold), patience=1.0))
        except HeldError as error:
            raise RunError(
                f"{run.path}: {name_fold(fold)} is being trained by {error}; wait for its end"
            ) from None
        try:
            yield
        except DivergedError:
            held.close()
            with suppress(OSError, HeldError), holding_file(run.path / LOCK, patience=PATIENCE):
                if not run.held_folds():
                    discard_empty(run, hopeless=True)
            raise
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"stopped; go on with: {advise_resume(run)} --fold {fold}") from None


def check_folds(run: Run) -> None:
    """Check that all folds of a run are finished, so that it can be completed.

    Raises:
        RunError: some are not; the message names them.
    """
    finished, held = run.finished_folds(), run.held_folds()
    missing = [fold for fold in run.record.fold_numbers if fold not in finished]
    if missing:
        named = ", ".join(name_fold(fold) + " (being trained)" * (fold in held) for fold in missing)
        raise RunError(
            f"{run.path} lacks {named}; train each with: {advise_resume(run)} --fold I, "
            f"or all with: {advise_resume(run)}"
        )
