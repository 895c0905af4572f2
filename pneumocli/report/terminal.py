"""The two streams: results on stdout, talk on stderr."""

import json
import sys
from typing import Any

from rich.console import Console

from pneumocli import DISCLAIMER
from pneumocli.core.wording import show_plain

SYNTHETIC_NOTE = "synthetic data: drawn images; these figures say nothing about real X-rays"


def open_stdout() -> Console:
    """Return the console for results: colour and width of the terminal, plain text in a pipe."""
    return Console(file=sys.stdout, highlight=False, soft_wrap=False)


def open_stderr() -> Console:
    """Return the console for talk and progress."""
    return Console(file=sys.stderr, highlight=False, soft_wrap=True)


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
