"""What the commands that train have in common: options to inputs before, a run to tables after."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pneumocli.commands.options import Format, SplitName
from pneumocli.commands.show import show_figures
from pneumocli.core.bank import Cache
from pneumocli.core.config import TrainConfig, choose_config
from pneumocli.core.data import Dataset, draw_subset, make_folds
from pneumocli.core.errors import SettingError
from pneumocli.core.fetch import SYNTHETIC
from pneumocli.core.figures import read_figures
from pneumocli.core.groups import count_groups, group_images
from pneumocli.core.inputs import (
    DataInput,
    WeightsInput,
    add_groups,
    choose_scored,
    feature_cache,
    gather_data,
    gather_weights,
)
from pneumocli.core.progress import Listener, Notice
from pneumocli.core.records import Kind
from pneumocli.core.resume import open_stopped, read_inputs
from pneumocli.core.runs import Run
from pneumocli.report.live import show_progress
from pneumocli.report.terminal import say


@dataclass(frozen=True)
class Work:
    """What a training command works with."""

    data: DataInput
    weights: WeightsInput
    config: TrainConfig
    cache: Cache | None
    listen: Listener
    notify: Notice
    folds: int | None = None


def choose_stopped(
    runs_dir: Path, resume: Path | None, kind: Kind, name: str | None, asked: dict[str, Any]
) -> Run | None:
    """Return the run that --resume names, if it was given.

    Args:
        asked: settings and folds as they were given; None is what was not.

    Raises:
        RunError: there is no such run of this kind, or a process is training it.
        SettingError: another value was given of what the run has of its own.
    """
    if resume is None:
        return None
    run = open_stopped(runs_dir, resume, kind)
    own = {**run.record.settings.model_dump(), "folds": run.record.folds, "name": run.name}
    for option, value in {**asked, "name": name}.items():
        if value is not None and value != own[option]:
            raise SettingError(
                f"{run.path} has {option} {own[option]}, and --resume goes on with a run as it was begun; "
                f"leave --{option.replace('_', '-')} out, or --resume"
            )
    return run


@contextmanager
def open_work(
    data: str | None,
    size: int,
    weights: str | None,
    recipe: str,
    settings: dict[str, Any],
    keep: bool,
    cache_limit: float,
    quiet: bool,
    folds: int | None = None,
    groups: Path | None = None,
    stopped: Run | None = None,
) -> Iterator[Work]:
    """Check the settings, find data and weights, load Keras, and show progress until the end of the block.

    A stopped run that is to go on has settings and folds of its own; its files are those it was begun with,
    unless others are named.
    """
    if stopped is None:
        config = choose_config(recipe, **settings)
    else:
        config, folds, size = stopped.record.settings, stopped.record.folds, stopped.record.data.pixels
        begun_with = read_inputs(stopped)
        data = data or (SYNTHETIC if stopped.synthetic else begun_with.data)
        weights = weights or ("none" if stopped.record.weights.sha256 is None else begun_with.weights)
        groups = groups or (Path(begun_with.groups) if begun_with.groups else None)

    def notify(line: str) -> None:
        say(line, quiet)

    with show_progress(quiet) as listen:
        data_input = gather_data(data, size, seed=config.seed, listen=listen, notify=notify)
        name = "" if data_input.dataset.synthetic else f"{data_input.dataset.name}: "
        notify(f"data: {name}{data_input.identity}")
        if groups is not None:
            data_input = add_groups(data_input, groups)
        weights_input = gather_weights(weights, listen=listen, notify=notify)
        notify(f"weights: {weights_input.record.name}")
        # Errors before Keras is loaded.
        _ = data_input.dataset.train, data_input.dataset.val
        if folds is not None:
            _try_folds(data_input.dataset, config, folds, notify)
        from pneumocli.core.backend import load_backend

        load_backend(config.deterministic)
        cache = feature_cache(cache_limit) if keep else None
        yield Work(data_input, weights_input, config, cache, listen, notify, folds)


def _try_folds(dataset: Dataset, config: TrainConfig, folds: int, notify: Notice) -> None:
    """Make the folds once before Keras is loaded: what cannot be divided is told at once."""
    if config.subset is not None:
        dataset = draw_subset(dataset, config.subset, config.seed)
    groups = group_images(dataset.train)
    make_folds(dataset.train.labels, folds, config.seed, groups)
    several, images = count_groups(groups)
    if several:
        notify(f"groups: {several} of more than one image ({images} images), each kept in one fold")


def show_training(run: Run, split: str, output_format: Format, quiet: bool, data: str | None) -> None:
    """Print a finished run's figures on stdout, and on stderr where it lies and what comes next."""
    figures = read_figures(run.path, split)
    show_figures(figures, output_format)
    words = ["pneumocli", "evaluate", str(run.path)]
    # Drawn images are known by the run; what else was named must be named again.
    words += ["--data", data] if data is not None and not run.synthetic else []
    say(f"run: {run.path}; score it on the test images with: {shlex.join(words)}", quiet)


def gather_split_data(
    run: Run,
    data: str | None,
    size: int | None,
    split: SplitName | None,
    listen: Listener,
    quiet: bool,
) -> tuple[Dataset, str]:
    """Find the images to score a run on, and the split; a run on drawn images is scored on drawn images.

    Says on stderr what is scored, and whether train and val are those that the run was trained on; of its
    test split it knows nothing.
    """

    def notify(line: str) -> None:
        say(line, quiet)

    if data is None and run.synthetic:
        data = SYNTHETIC
    pixels = run.record.data.pixels if size is None else size
    found = gather_data(data, pixels, seed=None, listen=listen, notify=notify)
    dataset, chosen = choose_scored(found, run, None if split is None else split.value)
    if not run.owns(dataset):
        trained_on = run.record.data.name
        notify(
            f"{dataset.name} is not the data set that {run.name} was trained on ({trained_on}): "
            "external validation, which holds if they have no images or patients in common"
        )
    notify(f"scored on: {chosen} images of {dataset.name}")
    return dataset, chosen
