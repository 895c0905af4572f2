"""`pneumocli evaluate`: figures and pictures of a run on its own data or on others."""

from pathlib import Path
from typing import Annotated

import typer

from pneumocli.commands.completing import complete_run
from pneumocli.commands.options import Data, Force, Format, OutputFormat, Quiet, Runs, ScoredSize, Split


def evaluate(
    run: Annotated[
        Path | None,
        typer.Argument(
            help="A run folder or its name.",
            show_default="the newest complete run",
            autocompletion=complete_run,
        ),
    ] = None,
    ensemble: Annotated[
        Path | None,
        typer.Option(
            help="Like RUN, but a cross-validation; of a directory of runs the newest complete one.",
            autocompletion=complete_run,
        ),
    ] = None,
    split: Split = None,
    rule: Annotated[
        str | None,
        typer.Option(
            help="Another rule, for this scoring only; fixed on the same scores as the run's own.",
            show_default="the run's",
        ),
    ] = None,
    prevalence: Annotated[
        float | None,
        typer.Option(
            help="Share of pneumonia elsewhere, 0 to 1: PPV and NPV there.",
            metavar="SHARE",
            show_default=False,
        ),
    ] = None,
    data: Data = None,
    size: ScoredSize = None,
    runs: Runs = Path("runs"),
    force: Force = False,
    output_format: OutputFormat = Format.TABLE,
    quiet: Quiet = False,
) -> None:
    """Score a run: for a cross-validation, its best single model beside the mean of its folds.

    The best single model is the fold with the highest AUC on the images it was not trained on. Figures
    are given at 0.5 and at the threshold of the run's rule. Other data than the run's are external
    validation: the same models and threshold, figures kept apart.
    """
    if run is not None and ensemble is not None:
        raise typer.BadParameter("give a run or --ensemble, not both")
    if prevalence is not None and not 0 <= prevalence <= 1:
        raise typer.BadParameter(f"--prevalence is a share from 0 to 1; received {prevalence}")
    from pneumocli.commands.show import draw_scored, show_figures
    from pneumocli.core.finding import find_run
    from pneumocli.core.rule import parse_rule
    from pneumocli.report.live import show_progress
    from pneumocli.report.terminal import say

    if rule is not None:
        parse_rule(rule)  # an error before anything is loaded
    found = find_run(runs, run if ensemble is None else ensemble, None if ensemble is None else "cv")
    say(f"run: {found.path}", quiet)
    from pneumocli.commands.scoring import gather_split_data

    with show_progress(quiet) as listen:
        dataset, chosen = gather_split_data(found, data, size, split, force, listen, quiet)
        from pneumocli.core.backend import load_backend

        load_backend()
        from pneumocli.core.evaluation import evaluate_run

        evaluation = evaluate_run(
            found,
            dataset,
            chosen,
            rule=rule,
            prevalence=prevalence,
            force=force,
            listen=listen,
            notify=say,
        )
    figures = evaluation.figures
    names = [name for name in (figures.best_single, evaluation.main) if name is not None]
    try:
        show_figures(figures, output_format, names)
    finally:  # also where a pipe's reader wants no more than the first lines
        draw_scored(found, found.results_path(dataset), chosen, dataset.pick(chosen), quiet)
