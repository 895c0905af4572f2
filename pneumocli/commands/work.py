"""What the commands that train have in common: from their options to data, weights and progress."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pneumocli.core.cache import Cache
from pneumocli.core.config import DEFAULT_RECIPE, TrainConfig, choose_config
from pneumocli.core.division import draw_subset
from pneumocli.core.errors import SettingError
from pneumocli.core.fetch import NO_WEIGHTS, SYNTHETIC, check_here
from pneumocli.core.forecast import Forecast, foresee
from pneumocli.core.inputs import (
    DataInput,
    WeightsInput,
    add_groups,
    feature_cache,
    gather_data,
    gather_weights,
)
from pneumocli.core.plan import try_folds
from pneumocli.core.progress import Listener, Notice, ignore
from pneumocli.core.rates import keep_rates, rates_path
from pneumocli.core.records import Kind, RunRecord
from pneumocli.core.repeat import (
    check_same_data,
    check_same_groups,
    check_same_weights,
    read_record,
    repeat_settings,
    tell_differences,
)
from pneumocli.core.resume import open_stopped, read_inputs
from pneumocli.core.runs import Run, check_form
from pneumocli.core.sharing import check_fold
from pneumocli.core.workers import Backend, check_address
from pneumocli.report.live import show_progress, show_work
from pneumocli.report.plan import UNKNOWN_TIME
from pneumocli.report.terminal import say

DEFAULT_FOLDS, DEFAULT_SIZE = 3, 28


@dataclass(frozen=True)
class Asked:
    """What the options of a training command ask for; None is what was left out."""

    kind: Kind
    data: str | None
    size: int | None
    weights: str | None
    recipe: str | None
    settings: dict[str, Any]
    repeat: Path | None
    runs: Path
    name: str | None
    keep: bool
    cache_limit: float
    folds: int | None = None
    jobs: int | None = 1
    groups: Path | None = None
    stopped: Run | None = None
    fold: int | None = None


@dataclass(frozen=True)
class Work:
    """What a training command works with; a single model has 0 folds.

    Attributes:
        named: the data as the next command has to name them; None where it finds them without.
    """

    data: DataInput
    weights: WeightsInput
    config: TrainConfig
    cache: Cache | None
    folds: int
    forecast: Forecast
    listen: Listener
    notify: Notice
    named: str | None


def check_fold_options(
    fold: int | None,
    name: str | None,
    resume: Path | None,
    jobs: int | None,
    backend: Backend,
    address: str | None,
) -> None:
    """Check what goes with --fold and --backend.

    Raises:
        SettingError: the run is not named, or several folds are to be trained side by side.
    """
    if fold is not None and name is None and resume is None:
        raise SettingError("--fold needs the --name of the run, the same for all its folds")
    if fold is not None and (jobs is not None or backend is not Backend.LOCAL):
        raise SettingError("--fold trains one fold, here; leave --jobs and --backend out")
    check_address(backend, address)


def choose_stopped(
    runs_dir: Path,
    resume: Path | None,
    kind: Kind,
    name: str | None,
    asked: dict[str, Any],
    fold: int | None = None,
) -> Run | None:
    """Return the run that --resume names, if it was given.

    Args:
        asked: recipe, settings, size and folds as they were given; None is what was not.
        fold: the one that is to be trained; others may be under way.

    Raises:
        RunError: there is no such run of this kind, or a process is training it.
        SettingError: another value was given of what the run has of its own.
    """
    if resume is None:
        return None
    run = open_stopped(runs_dir, resume, kind, shared=fold is not None)
    own = {
        **run.record.settings.model_dump(),
        "folds": run.record.folds,
        "size": run.record.data.pixels,
        "name": run.name,
    }
    for option, value in {**asked, "name": name}.items():
        if value is not None and value != own[option]:
            raise SettingError(
                f"{run.path} has {option} {own[option]}, and --resume goes on with a run as it was begun; "
                f"leave --{option.replace('_', '-')} out, or --resume"
            )
    return run


@contextmanager
def open_work(asked: Asked, quiet: bool, dry_run: bool) -> Iterator[Work]:
    """Check the settings, find data and weights, load Keras, and show progress until the end of the block.

    A stopped run that is to go on has settings and folds of its own; its files are those it was begun with,
    unless others are named.

    What is measured of the work is kept for the next forecast, whether the block ends well or not.
    """

    def notify(line: str) -> None:
        say(line, quiet)

    if asked.stopped is not None and asked.repeat is not None:
        raise SettingError("--resume goes on with a run, --config repeats one; give one of them")
    record = None if asked.repeat is None else read_record(asked.repeat, asked.kind)
    config, folds = _choose_settings(asked, record)
    named = asked.data
    if asked.stopped is not None:
        named = named or read_inputs(asked.stopped).data
    with show_progress(quiet) as listen:
        data, weights = _gather(asked, record, config, dry_run, listen, notify)
    # Errors before Keras is loaded.
    if asked.name is not None:
        check_form(asked.name)
    if asked.fold is not None:
        check_fold(asked.fold, (folds or 0) * config.repeats)
    dataset = data.dataset
    _ = dataset.train, dataset.val
    if config.subset is not None:
        dataset = draw_subset(dataset, config.subset, config.seed)
    together = None if folds is None else try_folds(dataset, config, folds, notify)
    cache = feature_cache(asked.cache_limit) if asked.keep else None
    from pneumocli.core.backend import load_backend

    load_backend(config.deterministic)
    forecast, pace = foresee(
        data,
        dataset,
        weights,
        config,
        runs_dir=asked.runs,
        cache=cache,
        name=asked.name,
        folds=folds,
        groups=together,
        jobs=asked.jobs,
        fold=asked.fold,
        resume=asked.stopped,
    )
    if record is not None:
        whole = config.subset is None and record.settings.subset is None
        for line in tell_differences(record, data, weights, together if whole else None):
            notify(line)
    if dataset.pixels > config.resized:
        notify(
            f"images of {dataset.pixels} px are shrunk to {config.resized} px; "
            f"--image-size {dataset.pixels} would not shrink them"
        )
    if record is not None and record.precision != forecast.plan.precision:
        notify(f"other precision than in that run: {forecast.plan.precision}, not {record.precision}")
    if dry_run:
        yield Work(data, weights, config, cache, folds or 0, forecast, ignore, notify, named)
        return
    notify(f"expected: {UNKNOWN_TIME if forecast.time is None else f'{forecast.time}, by earlier runs here'}")
    try:
        with show_work(pace, quiet) as listen:
            yield Work(data, weights, config, cache, folds or 0, forecast, listen, notify, named)
    finally:
        keep_rates(rates_path(), pace.measured(), pace.memory())


def _choose_settings(asked: Asked, record: RunRecord | None) -> tuple[TrainConfig, int | None]:
    """Return the settings, and the number of folds, None for a single model."""
    if asked.stopped is not None:
        return asked.stopped.record.settings, asked.stopped.record.folds
    if record is None:
        config, folds = choose_config(asked.recipe or DEFAULT_RECIPE, **asked.settings), DEFAULT_FOLDS
    else:
        config, folds = (
            repeat_settings(record, asked.recipe, asked.settings),
            record.folds or DEFAULT_FOLDS,
        )
    if asked.kind == "train":
        if asked.settings["repeats"] not in (None, 1):
            raise SettingError(
                "train makes one model, without folds to repeat; leave --repeats out, or take cv"
            )
        return config.model_copy(update={"repeats": 1}), None
    return config, folds if asked.folds is None else asked.folds


def _gather(
    asked: Asked,
    record: RunRecord | None,
    config: TrainConfig,
    dry_run: bool,
    listen: Listener,
    notify: Notice,
) -> tuple[DataInput, WeightsInput]:
    """Find data and weights; of a run that is repeated, those that it had, unless others are named."""
    named, weights_named, size, groups = asked.data, asked.weights, asked.size, asked.groups
    if asked.stopped is not None:
        begun_with, begun = read_inputs(asked.stopped), asked.stopped.record
        named = named or (SYNTHETIC if begun.data.synthetic else begun_with.data)
        weights_named = weights_named or (NO_WEIGHTS if begun.weights.sha256 is None else begun_with.weights)
        groups = groups or (Path(begun_with.groups) if begun_with.groups else None)
        size = begun.data.pixels
    if record is not None:
        if named is None and record.data.synthetic:
            named = SYNTHETIC
        if weights_named is None and record.weights.sha256 is None:
            weights_named = NO_WEIGHTS
        size = size or record.data.pixels
    size = DEFAULT_SIZE if size is None else size
    if dry_run:
        check_here(named, weights_named, size)
    data = gather_data(named, size, seed=config.seed, listen=listen, notify=notify)
    name = "" if data.dataset.synthetic else f"{data.dataset.name}: "
    notify(f"data: {name}{data.identity}")
    # Own images without splits are divided by the seed: with another they are other data.
    if record is not None and asked.data is None and config.seed == record.settings.seed:
        check_same_data(record, data)
    if groups is not None:
        data = add_groups(data, groups)
    elif record is not None:
        check_same_groups(record)
    weights = gather_weights(weights_named, listen=listen, notify=notify)
    notify(f"weights: {weights.record.name}")
    if record is not None and asked.weights is None:
        check_same_weights(record, weights)
    return data, weights
