"""Terminals, pipes and old encodings: nothing is cut, and nothing stands there that cannot be read."""

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from rich.console import Console
from small import copy_run

from pneumocli.core.evaluation import Evaluation
from pneumocli.core.runs import Run
from pneumocli.report.figures import (
    tabulate_calibration,
    tabulate_estimates,
    tabulate_figures,
)
from pneumocli.report.tables import start_table

pytest_plugins = ["trained"]

CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def show_on_terminal(width: int, *words: object, **variables: str) -> str:
    """What a command writes on a terminal, results and talk."""
    child, screen = pty.fork()
    if child == 0:
        os.environ.pop("COLUMNS", None)
        os.environ.pop("NO_COLOR", None)
        os.environ.update(variables, TERM="xterm-256color")
        os.execv(sys.executable, [sys.executable, "-m", "pneumocli", *map(str, words)])
    fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    parts = []
    while True:
        try:
            part = os.read(screen, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        parts.append(part)
    _, status = os.waitpid(child, 0)
    os.close(screen)
    assert os.waitstatus_to_exitcode(status) == 0
    return b"".join(parts).decode().replace("\r\n", "\n")


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("width", [80, 120])
def test_on_a_terminal(width: int, evaluated: tuple[Run, Evaluation], tmp_path: Path) -> None:
    copy_run(evaluated[0], tmp_path, "cv-1")
    shown = show_on_terminal(width, "runs", tmp_path)
    assert CODES.search(shown)
    plain = CODES.sub("", shown)
    assert max(map(len, plain.splitlines())) <= width
    assert "…" not in plain
    bare = show_on_terminal(width, "runs", tmp_path, NO_COLOR="1")
    assert not CODES.search(bare)
    assert bare == plain


def test_in_a_pipe_and_in_ascii(evaluated: tuple[Run, Evaluation], tmp_path: Path) -> None:
    copy_run(evaluated[0], tmp_path, "Köln-☃")
    command = [sys.executable, "-m", "pneumocli", "runs", str(tmp_path)]
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
    for encoding in ("utf-8", "ascii"):
        done = subprocess.run(
            command, capture_output=True, env={**environment, "PYTHONIOENCODING": encoding}, check=True
        )
        shown = done.stdout.decode(encoding)
        assert "\x1b" not in shown + done.stderr.decode(encoding)
        if encoding == "utf-8":  # in ASCII a name becomes longer than it was when the table was laid out
            assert max(map(len, shown.splitlines())) <= 80
        assert ("Köln-☃" if encoding == "utf-8" else r"K\xf6ln-\u2603") in shown
        assert shown.isascii() is (encoding == "ascii")


def render(table: object, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    with console.capture() as drawn:
        console.print(table)
    return [line.rstrip() for line in drawn.get().splitlines()]


@pytest.mark.parametrize("width", [80, 120])
def test_titles_and_captions_are_not_broken_at_a_narrow_tables_width(width: int) -> None:
    table = start_table("a title that is a good deal wider than its table", ["", "n"])
    table.add_row("x", "1")
    table.caption = "words below that are wider than the table too, and go on to the screen's edge"
    lines = render(table, width)
    assert lines[0] == "a title that is a good deal wider than its table"
    assert lines[-2] == "words below that are wider than the table too, and go on to the screen's edge"
    assert max(map(len, lines)) <= width
    # The table is as it was, and can be drawn again.
    assert render(table, width) == lines


@pytest.mark.parametrize("width", [80, 120])
def test_tables_of_a_run_keep_every_figure(width: int, evaluated: tuple[Run, Evaluation]) -> None:
    figures = evaluated[1].figures
    tables = [
        *tabulate_figures(figures),
        tabulate_estimates(figures, "ensemble"),
        tabulate_calibration(figures, "ensemble"),
    ]
    for table in tables:
        lines = render(table, width)
        assert max(map(len, lines)) <= width
        assert "…" not in "".join(lines)
    text = "\n".join(render(tables[0], width))
    for name in ("roc_auc", "accuracy", "sensitivity"):
        assert f"{getattr(figures.models['ensemble'], name):.4f}" in text
