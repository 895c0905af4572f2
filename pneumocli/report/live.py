"""Progress on stderr: bars with the time left on a terminal, plain lines elsewhere."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from pneumocli.core.progress import Listener, ignore
from pneumocli.core.progress import Progress as Step
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
        rate = _tell_rate(task.fields["unit"], task.finished_speed or task.speed)
        return Text(f"{task.percentage:3.0f}% {rate}")


class _FactsColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(_tell(task.fields["facts"]))


class _Lines:
    """A line at the end of a stage, and now and then in between."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.started: dict[str, float] = {}
        self.told: dict[str, float] = {}

    def __call__(self, step: Step, only_end: bool = False) -> None:
        now = time.monotonic()
        started = self.started.setdefault(step.stage, now)
        told = self.told.setdefault(step.stage, now)
        if step.done < step.total and (only_end or now - told < SECONDS_BETWEEN_LINES):
            return
        if told == math.inf:
            return  # the end of this stage has been told
        elapsed = now - started
        speed = step.done / elapsed if elapsed > 0.5 else None
        parts = [step.stage, _count(step.done, step.total, step.unit, speed)]
        if step.done < step.total and speed:
            parts.append(f"{(step.total - step.done) / speed:.0f} s left")
        parts.append(_tell(step.facts))
        self.console.print("  ".join(part for part in parts if part), markup=False, emoji=False)
        self.told[step.stage] = math.inf if step.done >= step.total else now


def _count(done: float, total: float, unit: str, speed: float | None) -> str:
    if unit == "bytes":
        return f"{done / 1e6:.1f}/{total / 1e6:.1f} MB {_tell_rate(unit, speed)}".rstrip()
    return f"{done:.0f}/{total:.0f} {_tell_rate(unit, speed)}".rstrip()


def _tell_rate(unit: str, speed: float | None) -> str:
    if not speed:
        return ""
    return f"{speed / 1e6:.1f} MB/s" if unit == "bytes" else f"{speed:.0f}/s"


def _tell(facts: object) -> str:
    if not isinstance(facts, dict) or not facts:
        return ""
    words = []
    if "epoch" in facts:
        words.append(f"epoch {facts['epoch']:.0f}")
    for name, shown in (("loss", "loss"), ("val_auc", "AUC")):
        if name in facts:
            words.append(f"{shown} {facts[name]:.4f}")
    return " ".join(words)
