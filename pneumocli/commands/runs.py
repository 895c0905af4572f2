"""`pneumocli runs`: what runs there are, how far they are, and their main figures."""

from pathlib import Path
from typing import Annotated

import typer

from pneumocli.commands.completing import complete_path
from pneumocli.commands.options import Format, OutputFormat


def runs(
    directory: Annotated[
        Path,
        typer.Argument(
            help="Where the run folders are.",
            metavar="DIR",
            envvar="PNEUMOCLI_RUNS",
            autocompletion=complete_path,
        ),
    ] = Path("runs"),
    output_format: OutputFormat = Format.TABLE,
) -> None:
    """List the runs of a directory: kind, state, folds, recipe, data, seed, time, and the main figures.

    A run is complete, stopped (the same command goes on with it), being trained, or damaged.
    """
    from pneumocli import DISCLAIMER
    from pneumocli.core.inventory import take_inventory
    from pneumocli.report.inventory import tabulate_inventory
    from pneumocli.report.terminal import open_stdout, print_json, say, warn_use

    found = take_inventory(directory)
    if output_format is Format.JSON:
        rows = [entry.to_dict() for entry in found]
        print_json({"schema_version": 1, "directory": str(directory), "runs": rows, "disclaimer": DISCLAIMER})
    elif found:
        for table in tabulate_inventory(found, directory):
            open_stdout().print(table)
    else:
        say(f"no runs in {directory}; make one with: pneumocli cv")
    warn_use(any(entry.synthetic for entry in found))
