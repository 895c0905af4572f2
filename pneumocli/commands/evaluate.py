"""`pneumocli evaluate`: figures and ROC curve of a run on a split of its data, or on other data."""

from pathlib import Path
from typing import Annotated

import typer

from pneumocli.commands.options import Data, Format, OutputFormat, Quiet, Runs, ScoredSize, Split


def evaluate(
    run: Annotated[
        Path | None, typer.Argument(help="A run folder or its name.", show_default="the newest complete run")
    ] = None,
    ensemble: Annotated[
        Path | None,
        typer.Option(help="A cross-validation, or a directory of runs, which means its newest complete one."),
    ] = None,
    split: Split = None,
    data: Data = None,
    size: ScoredSize = None,
    runs: Runs = Path("runs"),
    output_format: OutputFormat = Format.TABLE,
    quiet: Quiet = False,
) -> None:
    """Score a run: for a cross-validation, its best single model beside the mean of its folds.

    The best single model is the fold with the highest AUC on the images it was not trained on. Other
    data than the run's are external validation: the same models and threshold, figures kept apart.
    """
    if run is not None and ensemble is not None:
        raise typer.BadParameter("give a run or --ensemble, not both")
    from pneumocli.commands.show import show_figures
    from pneumocli.core.runs import find_run
    from pneumocli.report.live import show_progress
    from pneumocli.report.plots import plot_roc
    from pneumocli.report.tables import name_source
    from pneumocli.report.terminal import say

    found = find_run(runs, run if ensemble is None else ensemble, None if ensemble is None else "cv")
    say(f"run: {found.path}", quiet)
    from pneumocli.commands.work import gather_split_data

    with show_progress(quiet) as listen:
        dataset, chosen = gather_split_data(found, data, size, split, listen, quiet)
        from pneumocli.core.backend import load_backend

        load_backend()
        from pneumocli.core.evaluation import evaluate_run

        evaluation = evaluate_run(found, dataset, chosen, listen=listen)
    figures = evaluation.figures
    names = [name for name in (figures.best_single, evaluation.main) if name is not None]
    picture = found.results_path(dataset) / f"roc_{chosen}.png"
    plot_roc(
        picture,
        evaluation.y_true,
        {name: evaluation.y_score[name] for name in names},
        title=f"{name_source(figures)}, {chosen} images of {figures.data}",
    )
    show_figures(figures, output_format, names)
    say(f"ROC curve: {picture}", quiet)
