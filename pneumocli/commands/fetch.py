"""`pneumocli fetch`: everything from the network, once."""

import os
from pathlib import Path
from typing import Annotated

import typer

from pneumocli.commands.options import Format, OutputFormat, Quiet


def fetch(
    size: Annotated[
        int | None, typer.Option(help="Which official file: 28, 64, 128 or 224 px.", show_default="28")
    ] = None,
    from_: Annotated[
        Path | None, typer.Option("--from", help="Import this .npz file instead of downloading one.")
    ] = None,
    directory: Annotated[
        Path | None,
        typer.Option(
            "--dir",
            help="Where the files are kept; name it to the other commands by PNEUMOCLI_CACHE.",
            show_default="the cache",
        ),
    ] = None,
    output_format: OutputFormat = Format.TABLE,
    quiet: Quiet = False,
) -> None:
    """Download and check the data and the ImageNet weights, and say what is in the data.

    A file that PNEUMOCLI_DATA or PNEUMOCLI_WEIGHTS names is taken for what it is and not downloaded.
    After this no command needs a network.
    """
    from pneumocli.core.audit import audit_dataset
    from pneumocli.core.fetch import import_dataset, locate_data, locate_weights
    from pneumocli.core.inputs import fetch_data, read_data
    from pneumocli.core.official import cache_directory
    from pneumocli.report.live import show_progress
    from pneumocli.report.tables import tabulate_audit
    from pneumocli.report.terminal import open_stdout, print_json, say

    def notify(line: str) -> None:
        say(line, quiet)

    directory = directory or cache_directory()
    with show_progress(quiet) as listen:
        if from_ is not None:
            found = read_data(import_dataset(from_, directory, size))
        elif size is None and os.environ.get("PNEUMOCLI_DATA"):
            found = read_data(locate_data(None, 28, directory), seed=None, listen=listen, notify=notify)
        else:
            found = fetch_data(size or 28, directory, listen=listen, notify=notify)
    audit = audit_dataset(found.dataset, found.path)
    if output_format is Format.JSON:
        print_json({"schema_version": 1, "path": found.path and str(found.path), **audit.to_dict()})
    else:
        for table in tabulate_audit(audit):
            open_stdout().print(table)
    notify(f"data: {found.path or found.dataset.name}: {found.identity}")
    with show_progress(quiet) as listen:
        weights = locate_weights(None, directory, listen, notify)
    notify(f"weights: {weights or 'none (random)'}")
