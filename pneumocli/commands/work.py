"""What the commands that train have in common: options to inputs before, a run to tables after."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pneumocli.commands.options import Format
from pneumocli.commands.show import show_figures
from pneumocli.core.bank import Cache
from pneumocli.core.config import TrainConfig, choose_config
from pneumocli.core.data import SEEN_NAMES, Dataset, draw_subset, make_folds
from pneumocli.core.fetch import SYNTHETIC
from pneumocli.core.figures import read_figures
from pneumocli.core.groups import count_groups, group_images
from pneumocli.core.inputs import (
    DataInput,
    WeightsInput,
    add_groups,
    feature_cache,
    gather_data,
    gather_weights,
)
from pneumocli.core.progress import Listener, Notice
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
) -> Iterator[Work]:
    """Check the settings, find data and weights, load Keras, and show progress until the end of the block."""
    config = choose_config(recipe, **settings)

    def notify(line: str) -> None:
        say(line, quiet)

    with show_progress(quiet) as listen:
        data_input = gather_data(data, size, listen=listen, notify=notify)
        name = "" if data_input.dataset.synthetic else f"{data_input.dataset.name}: "
        notify(f"data: {name}{data_input.identity}")
        if groups is not None:
            data_input = add_groups(data_input, groups)
        weights_input = gather_weights(weights, listen=listen, notify=notify)
        notify(f"weights: {weights_input.record.name}")
        if folds is not None:
            _try_folds(data_input.dataset, config, folds, notify)
        from pneumocli.core.backend import load_backend

        load_backend(config.deterministic)
        cache = feature_cache(cache_limit) if keep else None
        yield Work(data_input, weights_input, config, cache, listen, notify)


def _try_folds(dataset: Dataset, config: TrainConfig, folds: int, notify: Notice) -> None:
    """Make the folds once before Keras is loaded: what cannot be divided is told at once."""
    if config.subset is not None:
        dataset = draw_subset(dataset, config.subset, config.seed)
    groups = group_images(dataset.train)
    make_folds(dataset.train.labels, folds, config.seed, groups)
    several, images = count_groups(groups)
    if several:
        notify(f"groups: {several} of more than one image ({images} images), each kept in one fold")


def show_training(run: Run, split: str, output_format: Format, quiet: bool) -> None:
    """Print a finished run's figures on stdout, and on stderr where it lies and what comes next."""
    figures = read_figures(run.path, split)
    show_figures(figures, output_format)
    say(f"run: {run.path}; score it on the test images with: pneumocli evaluate {run.path}", quiet)


def gather_split_data(run: Run, data: str | None, size: int | None, listen: Listener, quiet: bool) -> Dataset:
    """Find the images to score a run on; a run on drawn images is scored on drawn images.

    Says on stderr if their train and val are not those of the run, which knows nothing of its test split.
    """
    if data is None and run.synthetic:
        data = SYNTHETIC
    found = gather_data(
        data, size or run.record.data.pixels, listen=listen, notify=lambda line: say(line, quiet)
    )
    if found.dataset.digest(SEEN_NAMES) != run.record.data.digest:
        trained_on = run.record.data.name
        say(f"{found.dataset.name} is not the data set that {run.name} was trained on ({trained_on})", quiet)
    return found.dataset
