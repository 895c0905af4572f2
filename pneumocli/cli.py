"""The command line: the commands, and the one place where errors become a line and an exit code."""

import io
import os
import sys
import warnings
from typing import Any

import typer
from pydantic import ValidationError
from typer.core import TyperGroup

from pneumocli import DISCLAIMER, __version__
from pneumocli.commands.compare import compare
from pneumocli.commands.cv import cv
from pneumocli.commands.doctor import doctor
from pneumocli.commands.ensemble import ensemble
from pneumocli.commands.evaluate import evaluate
from pneumocli.commands.export import export
from pneumocli.commands.fetch import fetch
from pneumocli.commands.predict import predict
from pneumocli.commands.report import report
from pneumocli.commands.runs import runs
from pneumocli.commands.train import train
from pneumocli.core.errors import PneumoError, SettingError
from pneumocli.core.wording import show_plain

EPILOG = (
    f"{DISCLAIMER} Exit codes: 0 done; 1 something to mend, said in one line; 2 wrong usage; "
    "4 some images were answered and not all (predict); 130 stopped by Ctrl-C."
)
WRONG_USAGE = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells count


class _Commands(TyperGroup):
    """Turns what a user can mend into one line on stderr and exit code 1, and Ctrl-C into 130."""

    def invoke(self, ctx: Any) -> Any:
        try:
            with warnings.catch_warnings():
                # The libraries' warnings speak to programmers; what a user can mend is an error here.
                warnings.simplefilter("ignore")
                return super().invoke(ctx)
        except typer.BadParameter as error:
            if isinstance(error.__cause__, ValidationError):
                # Typer tells what was expected; what was received only its cause knows.
                received = error.__cause__.errors(include_url=False)[0]["input"]
                if repr(received) not in error.message:
                    error.message += f"; received {show_plain(repr(received))}"
            raise
        except PneumoError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(WRONG_USAGE if isinstance(error, SettingError) else 1) from None
        except KeyboardInterrupt as stop:
            line = str(stop) or "stopped; what is finished is kept, and the same command goes on from there"
            typer.echo(show_plain(line), err=True)
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            raise  # who reads the output wants no more of it
        except OSError as error:
            # A full disk, a missing permission: the system's words, and the file where it names one.
            place = f": {error.filename}" if error.filename else ""
            typer.echo(show_plain(f"error: {error.strerror or error}{place}"), err=True)
        raise typer.Exit(1)


app = typer.Typer(
    name="pneumocli",
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,
    help="Pneumonia on chest X-rays: ResNet-50, cross-validated and joined.",
    epilog=EPILOG,
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"pneumocli {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version."
    ),
) -> None:
    pass


for command in (fetch, train, cv, evaluate, ensemble, export, predict, compare, report, runs, doctor):
    app.command(epilog=EPILOG)(command)


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A name that the terminal's encoding cannot write is no reason to stop.
            stream.reconfigure(errors="backslashreplace")
    try:
        sys.exit(app())
    except SystemExit as end:
        if end.code == INTERRUPTED:
            # All is tidied up; tensorflow would take a second or more to let go of its threads.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(INTERRUPTED)
        raise
