"""`pneumocli cv`: stratified k-fold cross-validation, a fresh model a fold."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from pneumocli.commands.options import (
    Address,
    CacheLimit,
    Data,
    DryRun,
    Fold,
    Format,
    Groups,
    KeepCache,
    Name,
    On,
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
from pneumocli.core.workers import Backend


@takes_settings()
def cv(
    folds: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="Number of stratified folds, at least 2.",
            show_default="3; with --config, as in the run",
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Folds trained side by side; the cores are divided among them.",
            show_default="1; with --deterministic, what the cores allow",
        ),
    ] = None,
    fold: Fold = None,
    backend: On = Backend.LOCAL,
    address: Address = None,
    groups: Groups = None,
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
    """Cross-validate on the training split; the folds' models are an ensemble.

    Each fold's model is scored on the images it was not trained on. Images that are nearly the same, or
    that --groups keeps together, are in one fold. A stopped run goes on with the same command, or with
    --resume RUN: finished folds are not done again, and the one under way goes on from its last epoch.
    """
    from pneumocli.commands.show import draw_training, show_fold, show_forecast, show_training
    from pneumocli.commands.work import Asked, check_fold_options, choose_stopped, open_work
    from pneumocli.core.scores import OUT_OF_FOLD
    from pneumocli.core.workers import gathering

    check_fold_options(fold, name, resume, jobs, backend, address)
    given = {**settings, "recipe": recipe, "size": size, "folds": folds}
    stopped = choose_stopped(runs, resume, "cv", name, given, fold)
    if stopped is not None and stopped.is_complete:
        show_training(stopped, OUT_OF_FOLD, output_format, quiet, data)
        return
    asked = Asked(
        "cv",
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
        folds,
        jobs,
        groups,
        stopped,
        fold,
    )
    with open_work(asked, quiet, dry_run) as work:
        if dry_run:
            show_forecast(work.forecast, output_format)
            return
        from pneumocli.core.experiments import cross_validate

        on_cluster = backend is not Backend.LOCAL
        with gathering(backend, address) if on_cluster else nullcontext() as workers:
            run = cross_validate(
                work.data,
                work.weights,
                work.config,
                work.folds,
                runs_dir=runs,
                cache=work.cache,
                name=name,
                resume=stopped,
                jobs=jobs,
                fold=fold,
                workers=workers,
                listen=work.listen,
                notify=work.notify,
            )
    if fold is not None:
        show_fold(run, fold, output_format, quiet)
        return
    try:
        show_training(run, OUT_OF_FOLD, output_format, quiet, work.named)
    finally:  # also where a pipe's reader wants no more than the first lines
        draw_training(run, OUT_OF_FOLD, work.data.dataset, quiet)
