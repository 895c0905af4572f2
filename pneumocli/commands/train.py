"""`pneumocli train`: one model on the whole training split."""

from pathlib import Path
from typing import Any

from pneumocli.commands.options import (
    CacheLimit,
    Data,
    Format,
    KeepCache,
    Name,
    OutputFormat,
    Quiet,
    Recipe,
    Resume,
    Runs,
    Size,
    Weights,
    takes_settings,
)
from pneumocli.core.config import DEFAULT_RECIPE


@takes_settings
def train(
    data: Data = None,
    size: Size = 28,
    weights: Weights = None,
    recipe: Recipe = DEFAULT_RECIPE,
    runs: Runs = Path("runs"),
    name: Name = None,
    resume: Resume = None,
    cache: KeepCache = True,
    cache_limit: CacheLimit = 20.0,
    output_format: OutputFormat = Format.TABLE,
    quiet: Quiet = False,
    *,
    settings: dict[str, Any],
) -> None:
    """Train one model on the whole training split; the validation split says when to stop.

    A stopped run goes on from its last epoch with the same command, or with --resume RUN.
    """
    from pneumocli.commands.work import choose_stopped, open_work, show_training

    stopped = choose_stopped(runs, resume, "train", name, settings)
    if stopped is not None and stopped.is_complete:
        show_training(stopped, "val", output_format, quiet, data)
        return
    with open_work(data, size, weights, recipe, settings, cache, cache_limit, quiet, stopped=stopped) as work:
        from pneumocli.core.experiments import train_single

        run = train_single(
            work.data,
            work.weights,
            work.config,
            runs_dir=runs,
            cache=work.cache,
            name=name,
            resume=stopped,
            listen=work.listen,
            notify=work.notify,
        )
    show_training(run, "val", output_format, quiet, data)
