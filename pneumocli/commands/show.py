"""Figures on stdout, as a table or as JSON, and the words that go with every result on stderr."""

from collections.abc import Sequence

from pneumocli.commands.options import Format
from pneumocli.core.figures import Figures
from pneumocli.report.figures import (
    tabulate_calibration,
    tabulate_estimates,
    tabulate_figures,
    tabulate_predictive_values,
)
from pneumocli.report.terminal import open_stdout, print_json, warn_use


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
