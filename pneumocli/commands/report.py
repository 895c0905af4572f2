"""`pneumocli report`: a run as one HTML file and a model card."""

from pathlib import Path
from typing import Annotated

import typer

from pneumocli.commands.completing import complete_run
from pneumocli.commands.options import Quiet, Runs

SUFFIXES = (".html", ".htm")


def report(
    run: Annotated[
        Path | None,
        typer.Argument(
            help="A run folder or its name.",
            show_default="the newest complete run",
            autocompletion=complete_run,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The HTML file; the model card stands beside it, named alike with .md.",
            metavar="FILE",
            show_default="report.html and model_card.md in the run folder",
        ),
    ] = None,
    runs: Runs = Path("runs"),
    quiet: Quiet = False,
) -> None:
    """Write what is known of a run as one HTML file that opens anywhere, and as a model card.

    Figures with intervals, plots, data, settings, versions, limits, and what the guidelines CLAIM and
    TRIPOD+AI ask. A run that is not complete or not scored gets a report of what is missing. The paths
    of both files are printed.
    """
    if output is not None and (output.suffix.lower() not in SUFFIXES or output.is_dir()):
        raise typer.BadParameter(f"--output is a file named *.html; received {str(output)!r}")
    from pneumocli.core.summary import find_reported, summarize_run
    from pneumocli.report.card import CARD, write_card
    from pneumocli.report.page import REPORT, write_page
    from pneumocli.report.terminal import say, warn_use

    found = find_reported(runs, run)
    say(f"run: {found.path}", quiet)
    summary = summarize_run(found)
    for gap in summary.gaps:
        say(f"{gap.what} How to get it: {gap.how}", quiet)
    page = found.path / REPORT if output is None else output
    card = found.path / CARD if output is None else output.with_suffix(".md")
    write_page(summary, page)
    write_card(summary, card)
    typer.echo(page)
    typer.echo(card)
    warn_use(found.synthetic)
