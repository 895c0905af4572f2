"""The two streams: results on stdout, talk on stderr."""

import json
import os
import sys
from collections.abc import Iterable
from typing import Any, Literal, TextIO

from rich.console import Console
from rich.table import Table

from pneumocli import DISCLAIMER
from pneumocli.core.wording import show_plain

SYNTHETIC_NOTE = "synthetic data: drawn images; these figures say nothing about real X-rays"


def open_stdout() -> Console:
    """Return the console for results: colour and width of the terminal, plain text in a pipe."""
    return Console(file=sys.stdout, highlight=False, soft_wrap=False, color_system=_choose_colours())


def print_tables(tables: Iterable[Table], file: TextIO) -> None:
    """Write tables into a file as `open_stdout` writes them on standard output."""
    console = Console(file=file, highlight=False, soft_wrap=False, color_system=_choose_colours())
    for table in tables:
        console.print(table)


def open_stderr() -> Console:
    """Return the console for talk and progress."""
    return Console(file=sys.stderr, highlight=False, soft_wrap=True, color_system=_choose_colours())


def _choose_colours() -> Literal["auto"] | None:
    # With NO_COLOR Rich leaves out colours but writes bold and italic: here it is plain text.
    return None if os.environ.get("NO_COLOR") else "auto"


def say(line: str, quiet: bool = False) -> None:
    """Write a line of talk on stderr: a name in it may hold what Rich takes for markup, or escapes."""
    if not quiet:
        open_stderr().print(show_plain(line), markup=False, emoji=False)


def warn_use(synthetic: bool = False) -> None:
    """Say on stderr what no result may be used for."""
    if synthetic:
        say(SYNTHETIC_NOTE)
    say(DISCLAIMER)


def print_json(content: Any) -> None:
    """Write `content` on stdout as JSON."""
    sys.stdout.write(json.dumps(content, indent=2, allow_nan=False) + "\n")
