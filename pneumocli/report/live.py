"""Progress on stderr: a live view on a terminal, plain lines elsewhere.

Work without a plan has a bar a stage; training, which has one, a view of the whole run.
"""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from pneumocli.core.pace import Pace
from pneumocli.core.progress import Listener, ignore
from pneumocli.core.progress import Progress as Step
from pneumocli.report.board import show_board
from pneumocli.report.progress import count_done, tell_facts, tell_rate
from pneumocli.report.terminal import open_stderr

SECONDS_BETWEEN_LINES = 30.0


@contextmanager
def show_progress(quiet: bool = False) -> Iterator[Listener]:
    """Give a listener for long work; what it hears is shown until the end of the block."""
    console = open_stderr()
    if quiet:
        yield ignore
    elif console.is_terminal:
        with Progress(
            # Together 80 columns wide.
            TextColumn("{task.description}", markup=False, table_column=Column(max_width=23, no_wrap=True)),
            BarColumn(bar_width=4),
            _ShareColumn(table_column=Column(no_wrap=True)),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True, table_column=Column(no_wrap=True)),
            _FactsColumn(table_column=Column(no_wrap=True)),
            console=console,
        ) as bars:
            yield _Bars(bars)
    else:
        yield _Lines(console)


@contextmanager
def show_work(pace: Pace, quiet: bool = False) -> Iterator[Listener]:
    """Give a listener for a run that follows a plan; how far the whole run is, is shown until the end."""
    console = open_stderr()
    pace.begin(time.monotonic())
    if quiet:
        yield lambda step: pace.hear(step, time.monotonic())
    elif console.is_terminal:
        with show_board(pace, console) as listen:
            yield listen
    else:
        yield _Lines(console, pace)


class _Bars:
    """One bar a stage."""

    def __init__(self, bars: Progress) -> None:
        self.bars = bars
        self.tasks: dict[str, TaskID] = {}
        self.finished = _Lines(bars.console)

    def __call__(self, step: Step) -> None:
        if step.stage not in self.tasks:
            self.tasks[step.stage] = self.bars.add_task(
                step.stage, total=step.total, unit=step.unit, facts={}
            )
        task = self.tasks[step.stage]
        self.bars.update(task, completed=step.done, total=step.total, facts=step.facts)
        self.finished(step, only_end=True)
        if step.done >= step.total:
            # Many folds and views would run off the screen; what is done is a line above it.
            self.bars.update(task, visible=False)


class _ShareColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        rate = tell_rate(task.fields["unit"], task.finished_speed or task.speed)
        return Text(f"{task.percentage:3.0f}% {rate}")


class _FactsColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(tell_facts(task.fields["facts"]))


class _Lines:
    """A line at the end of a stage, and now and then in between."""

    def __init__(self, console: Console, pace: Pace | None = None) -> None:
        self.console = console
        self.pace = pace
        self.expected = pace is None or pace.left(0.0) is not None
        self.started: dict[str, float] = {}
        self.told: dict[str, float] = {}

    def __call__(self, step: Step, only_end: bool = False) -> None:
        now = time.monotonic()
        if self.pace is not None:
            self.pace.hear(step, now)
            left = self.pace.left(now)
            if not self.expected and left is not None:
                self.console.print(f"expected: {left}, by the first batches", markup=False)
                self.expected = True
        started = self.started.setdefault(step.stage, now)
        told = self.told.setdefault(step.stage, now)
        if step.done < step.total and (only_end or now - told < SECONDS_BETWEEN_LINES):
            return
        if told == math.inf:
            return  # the end of this stage has been told
        elapsed = now - started
        speed = step.done / elapsed if elapsed > 0.5 else None
        parts = [step.stage, count_done(step.done, step.total, step.unit, speed)]
        if step.done < step.total and speed and self.pace is None:
            parts.append(f"{(step.total - step.done) / speed:.0f} s left")
        parts.append(tell_facts(step.facts))
        left = None if self.pace is None else self.pace.left(now)
        if left is not None and left.high > 0:
            parts.append(f"whole run: {left} left")
        self.console.print("  ".join(part for part in parts if part), markup=False, emoji=False)
        self.told[step.stage] = math.inf if step.done >= step.total else now
