"""`pneumocli doctor`: what there is on this machine, and the cache of features."""

from typing import Annotated

import typer

from pneumocli.commands.options import Format, OutputFormat


def doctor(
    clear_cache: Annotated[bool, typer.Option("--clear-cache", help="Remove all kept features.")] = False,
    output_format: OutputFormat = Format.TABLE,
) -> None:
    """Show versions, processor, devices, the data and weights found, room on disk, and the kept features."""
    from pneumocli.core.backend import list_devices
    from pneumocli.core.cache import clear_banks
    from pneumocli.core.examination import examine
    from pneumocli.core.inputs import feature_cache
    from pneumocli.report.tables import tabulate_examination
    from pneumocli.report.terminal import open_stdout, print_json, say

    cache = feature_cache()
    if clear_cache:
        say(f"removed {clear_banks(cache) / 1e9:.1f} GB of features")
    found = examine(cache, list_devices())
    if output_format is Format.JSON:
        print_json({"schema_version": 1, **found.to_dict()})
        return
    for table in tabulate_examination(found):
        open_stdout().print(table)
