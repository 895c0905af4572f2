"""Figures on stdout, as a table or as JSON, and the words that go with every result on stderr."""

from collections.abc import Sequence

from pneumocli.commands.options import Format
from pneumocli.core.figures import Figures
from pneumocli.report.tables import tabulate_estimates, tabulate_figures
from pneumocli.report.terminal import open_stdout, print_json, warn_use


def show_figures(figures: Figures, output_format: Format, names: Sequence[str] | None = None) -> None:
    """Print figures; a table shows the models of `names` only, JSON always all.

    Intervals are shown of the last model, the one that a run stands for.
    """
    if output_format is Format.JSON:
        print_json(figures.to_dict())
    else:
        console = open_stdout()
        for table in tabulate_figures(figures, names):
            console.print(table)
        if figures.estimates is not None:
            console.print(tabulate_estimates(figures, list(figures.estimates)[-1]))
    warn_use(figures.synthetic)
