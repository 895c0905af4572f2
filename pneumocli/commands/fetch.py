"""`pneumocli fetch`: everything from the network, once."""

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
    from pneumocli.core.data import load_dataset
    from pneumocli.core.errors import DataError
    from pneumocli.core.fetch import (
        OFFICIAL_SIZES,
        SOURCES,
        SYNTHETIC,
        cache_directory,
        fetch_file,
        import_dataset,
        locate_data,
        locate_weights,
    )
    from pneumocli.core.synthetic import draw_dataset
    from pneumocli.report.live import show_progress
    from pneumocli.report.tables import tabulate_audit
    from pneumocli.report.terminal import open_stdout, print_json, say

    def notify(line: str) -> None:
        say(line, quiet)

    directory = directory or cache_directory()
    if size is not None and size not in SOURCES:
        raise DataError(f"there is no official file of {size} px; choose from: {OFFICIAL_SIZES}")
    with show_progress(quiet) as listen:
        if from_ is not None:
            path = import_dataset(from_, directory, size)
        elif size is not None:
            path = fetch_file(SOURCES[size], directory, listen, notify)
        else:
            path = locate_data(None, 28, directory, listen, notify)
    dataset = draw_dataset() if path == SYNTHETIC else load_dataset(path)
    audit = audit_dataset(dataset, None if path == SYNTHETIC else path)
    if output_format is Format.JSON:
        print_json({"schema_version": 1, "path": str(path), **audit.to_dict()})
    else:
        for table in tabulate_audit(audit):
            open_stdout().print(table)
    notify(f"data: {path}: {audit.identity.sentence}")
    with show_progress(quiet) as listen:
        weights = locate_weights(None, directory, listen, notify)
    notify(f"weights: {weights or 'none (random)'}")
