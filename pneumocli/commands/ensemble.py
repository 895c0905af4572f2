"""`pneumocli ensemble`: a cross-validation's folds as one model file."""

from pathlib import Path
from typing import Annotated

import typer

from pneumocli.commands.completing import complete_run
from pneumocli.commands.options import Data, Force, Format, OutputFormat, Quiet, Runs, ScoredSize, Split


def ensemble(
    run: Annotated[
        Path | None,
        typer.Argument(
            help="A cross-validation's folder or name.",
            show_default="the newest complete one",
            autocompletion=complete_run,
        ),
    ] = None,
    split: Split = None,
    data: Data = None,
    size: ScoredSize = None,
    runs: Runs = Path("runs"),
    force: Force = False,
    output_format: OutputFormat = Format.TABLE,
    quiet: Quiet = False,
) -> None:
    """Join the folds' models into one file that can be kept, moved and used without the run.

    The frozen trunk is in it once. Its figures are printed beside its members'. A named run whose folds were
    trained one by one, with cv --fold, is completed first: its rule and temperature are fixed.
    """
    from pneumocli.commands.scoring import check_named, complete_folds, gather_split_data
    from pneumocli.commands.show import draw_scored, draw_training, show_figures
    from pneumocli.core.finding import find_folds
    from pneumocli.core.resume import read_inputs
    from pneumocli.core.runs import check_complete
    from pneumocli.core.scores import OUT_OF_FOLD
    from pneumocli.report.live import show_progress
    from pneumocli.report.terminal import say

    found = find_folds(runs, run)
    say(f"run: {found.path}", quiet)
    with show_progress(quiet) as listen:
        from pneumocli.core.backend import load_backend

        load_backend()
        from pneumocli.core.evaluation import build_ensemble, evaluate_run

        if not found.is_complete:
            # What the folds were trained on is what they are scored on, unless other data are named.
            data = data or read_inputs(found).data
        check_named(found, data)  # before a model is built that could then not be scored
        if not found.is_complete:
            trained_on = complete_folds(found, listen, quiet)
            draw_training(found, OUT_OF_FOLD, trained_on, quiet)
        check_complete(found)
        model, path = build_ensemble(found, force=force, notify=say)
        say(f"model: {path} ({path.stat().st_size / 1e6:.0f} MB)", quiet)
        dataset, chosen = gather_split_data(found, data, size, split, force, listen, quiet)
        evaluation = evaluate_run(found, dataset, chosen, model=model, force=force, listen=listen, notify=say)
    try:
        show_figures(evaluation.figures, output_format)
    finally:  # also where a pipe's reader wants no more than the first lines
        draw_scored(found, found.results_path(dataset), chosen, dataset.pick(chosen), quiet)
