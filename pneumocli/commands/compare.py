"""`pneumocli compare`: two runs on the same images, paired."""

from pathlib import Path
from typing import Annotated

import typer

from pneumocli.commands.completing import complete_run
from pneumocli.commands.options import Format, OutputFormat, Runs, Split


def compare(
    first: Annotated[
        Path, typer.Argument(help="A run folder or its name.", metavar="RUN_A", autocompletion=complete_run)
    ],
    second: Annotated[
        Path, typer.Argument(help="Another one.", metavar="RUN_B", autocompletion=complete_run)
    ],
    split: Split = None,
    data: Annotated[
        str | None,
        typer.Option(help="Name of other data that both have scored.", show_default="the runs' own"),
    ] = None,
    runs: Runs = Path("runs"),
    output_format: OutputFormat = Format.TABLE,
) -> None:
    """Compare two runs that were scored on the same images, figure by figure.

    For a cross-validation its ensemble is compared. Both must have been scored by `evaluate`. It is
    asked whether these two models differ on images like these by more than chance; another seed of the same
    recipe is another model.
    """
    from pneumocli.core.comparison import compare_runs
    from pneumocli.core.finding import find_run
    from pneumocli.report.figures import tabulate_comparison
    from pneumocli.report.terminal import open_stdout, print_json, warn_use

    asked = None if split is None else split.value
    found = compare_runs(find_run(runs, first), find_run(runs, second), asked, data)
    if output_format is Format.JSON:
        print_json(found.to_dict())
    else:
        open_stdout().print(tabulate_comparison(found))
    warn_use(found.synthetic)
