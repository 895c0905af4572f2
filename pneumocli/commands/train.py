"""`pneumocli train`: one model on the whole training split."""

from pathlib import Path
from typing import Any

from pneumocli.commands.options import (
    CacheLimit,
    Data,
    DryRun,
    Format,
    KeepCache,
    Name,
    OutputFormat,
    Quiet,
    Recipe,
    Repeat,
    Resume,
    Runs,
    Size,
    Weights,
    takes_settings,
)


@takes_settings(hidden=["repeats"])
def train(
    data: Data = None,
    size: Size = None,
    weights: Weights = None,
    recipe: Recipe = None,
    repeat: Repeat = None,
    runs: Runs = Path("runs"),
    name: Name = None,
    resume: Resume = None,
    cache: KeepCache = True,
    cache_limit: CacheLimit = 20.0,
    dry_run: DryRun = False,
    output_format: OutputFormat = Format.TABLE,
    quiet: Quiet = False,
    *,
    settings: dict[str, Any],
) -> None:
    """Train one model on the whole training split; the validation split fixes its threshold.

    With --early-stopping it also decides when to stop.

    A stopped run goes on from its last epoch with the same command, or with --resume RUN.
    """
    from pneumocli.commands.show import draw_training, show_forecast, show_training
    from pneumocli.commands.work import Asked, choose_stopped, open_work

    given = {**settings, "recipe": recipe, "size": size}
    stopped = choose_stopped(runs, resume, "train", name, given)
    if stopped is not None and stopped.is_complete:
        show_training(stopped, "val", output_format, quiet, data)
        return
    asked = Asked(
        "train",
        data,
        size,
        weights,
        recipe,
        settings,
        repeat,
        runs,
        name,
        cache,
        cache_limit,
        stopped=stopped,
    )
    with open_work(asked, quiet, dry_run) as work:
        if dry_run:
            show_forecast(work.forecast, output_format)
            return
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
    try:
        show_training(run, "val", output_format, quiet, work.named)
    finally:  # also where a pipe's reader wants no more than the first lines
        draw_training(run, "val", work.data.dataset, quiet)
