"""What a command ends with: figures on stdout, as a table or as JSON, words on stderr, and pictures."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from pneumocli.commands.options import Format
from pneumocli.core.data import Dataset, Split
from pneumocli.core.division import draw_subset
from pneumocli.core.figures import Figures, name_fold, read_figures
from pneumocli.core.forecast import Forecast
from pneumocli.core.runs import Run
from pneumocli.core.scores import OUT_OF_FOLD
from pneumocli.report.figures import (
    tabulate_calibration,
    tabulate_estimates,
    tabulate_figures,
    tabulate_predictive_values,
)
from pneumocli.report.plan import tabulate_forecast
from pneumocli.report.terminal import open_stdout, print_json, say, warn_use


def show_figures(figures: Figures, output_format: Format, names: Sequence[str] | None = None) -> None:
    """Print figures; a table shows the models of `names` only, JSON always all.

    Intervals and calibration are shown of the last model, the one that a run stands for.
    """
    if output_format is Format.JSON:
        print_json(figures.to_dict())
    else:
        main = list(figures.models)[-1]
        tables = tabulate_figures(figures, names)
        if figures.estimates is not None:
            tables.append(tabulate_estimates(figures, main))
        if figures.prevalence is not None:
            tables.append(tabulate_predictive_values(figures, names or list(figures.models)))
        if figures.calibration is not None:
            tables.append(tabulate_calibration(figures, main))
        for table in tables:
            open_stdout().print(table)
    warn_use(figures.synthetic)


def show_forecast(forecast: Forecast, output_format: Format) -> None:
    """Print on stdout what would be done."""
    if output_format is Format.JSON:
        print_json(forecast.to_dict())
    else:
        for table in tabulate_forecast(forecast):
            open_stdout().print(table)
    warn_use(forecast.data.synthetic)


def show_training(run: Run, split: str, output_format: Format, quiet: bool, data: str | None) -> None:
    """Print a finished run's figures on stdout, and on stderr where it lies and what comes next."""
    figures = read_figures(run.path, split)
    show_figures(figures, output_format)
    words = ["pneumocli", "evaluate", str(run.path)]
    # Drawn images are known by the run; what else was named must be named again.
    words += ["--data", data] if data is not None and not run.synthetic else []
    say(f"run: {run.path}; score it on the test images with: {shlex.join(words)}", quiet)


def show_fold(run: Run, fold: int, output_format: Format, quiet: bool) -> None:
    """Print one fold's figures on stdout, and on stderr what the run still lacks and what completes it."""
    show_figures(read_figures(run.fold_path(fold), OUT_OF_FOLD), output_format)
    done = run.finished_folds()
    missing = [name_fold(other) for other in run.record.fold_numbers if other not in done]
    command = shlex.join(["pneumocli", "ensemble", str(run.path)])
    lacks = f"it lacks {', '.join(missing)}; " if missing else ""
    say(f"run: {run.path}; {lacks}when all folds are there, complete it with: {command}", quiet)


def draw_training(run: Run, split: str, dataset: Dataset, quiet: bool) -> None:
    """Draw a finished run's learning curves and the pictures of the split that it was scored on.

    Args:
        dataset: all that was named for training; the run's settings say how much of it was used.
    """
    from pneumocli.report.pictures import draw_learning

    settings = run.record.settings
    if settings.subset is not None:
        dataset = draw_subset(dataset, settings.subset, settings.seed)
    draw_learning(run)
    draw_scored(run, run.path, split, dataset.train if split == OUT_OF_FOLD else dataset.val, quiet)


def draw_scored(run: Run, place: Path, split: str, images: Split, quiet: bool) -> None:
    """Draw the pictures of a scored split beside its figures, and say on stderr where they are."""
    from pneumocli.core.album import PICTURES
    from pneumocli.core.scored import read_scored_split
    from pneumocli.report.pictures import draw_scored_split

    drawn = draw_scored_split(place, read_scored_split(run, place, split), images)
    say(f"pictures: {place}: {', '.join(picture.file for picture in drawn)}; {PICTURES} lists them", quiet)
