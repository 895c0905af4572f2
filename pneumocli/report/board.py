"""The live view of a run: a line for the frozen layers and one a model, and below how far the whole is."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pneumocli.core.pace import Pace
from pneumocli.core.progress import Listener, Progress
from pneumocli.core.steps import Step
from pneumocli.report.progress import tell_clock

SHARED = "frozen layers"
LINES_AROUND = 8  # of the view beside those of the models, and some of the shell
# As wide as what will stand in them, so that nothing moves: 80 columns together.
COLUMNS = {"": 13, "phase": 13, "epoch": 5, "done": 5, "images/s": 8, "loss": 6, "AUC on val": 10}


@contextmanager
def show_board(
    pace: Pace, console: Console, clock: Callable[[], float] = time.monotonic
) -> Iterator[Listener]:
    """Give a listener for a run that follows a plan, whose state is shown until the end of the block."""
    board = _Board(pace, console, clock)
    with Live(board, console=console, refresh_per_second=4):
        yield board.hear


class _Board:
    def __init__(self, pace: Pace, console: Console, clock: Callable[[], float]) -> None:
        self.pace = pace
        self.console = console
        self.clock = clock
        self.began = clock()
        pace.begin(self.began)
        self.latest: dict[str, Progress] = {}
        self.lock = threading.Lock()  # the view is drawn by a thread of its own

    def hear(self, step: Progress) -> None:
        with self.lock:
            self.pace.hear(step, self.clock())
            stage = step.stage.removesuffix(", kept")
            # The last word on a phase has no epoch: what was told before still holds.
            before = self.latest[stage].facts if stage in self.latest else {}
            self.latest[stage] = replace(step, facts={**before, **step.facts})

    def __rich__(self) -> RenderableType:
        with self.lock:
            return Group(self._draw_models(), self._draw_whole())

    def _draw_models(self) -> Table:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
        for position, (column, width) in enumerate(COLUMNS.items()):
            justify: Literal["left", "right"] = "left" if position < 2 else "right"
            table.add_column(column, justify=justify, no_wrap=True, min_width=width)
        steps: dict[str, list[Step]] = {}
        for step in self.pace.plan.steps:
            steps.setdefault(step.title or SHARED, []).append(step)
        rows = [self._describe(title, own) for title, own in steps.items()]
        room = max(3, self.console.height - LINES_AROUND)
        hidden = [row for row in rows if row[1] in ("done", "waiting")]
        passed_over = 0
        # Of many folds those that are done or not begun are the first to be left out.
        while len(rows) > room and hidden:
            rows.remove(hidden.pop(0 if hidden[0][1] == "done" else -1))
            passed_over += 1
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        if passed_over:
            table.add_row(f"{passed_over} more", "done or waiting")
        return table

    def _describe(self, title: str, steps: list[Step]) -> tuple[str, ...]:
        shown = title.partition(" of ")[0]
        begun = [step for step in steps if step.stage in self.latest]
        if all(step.is_kept for step in steps) and not begun:
            return (shown, "done before", "", "", "", "", "")
        if not begun:
            return (shown, "waiting", "", "", "", "", "")
        step = begun[-1]
        heard = self.latest[step.stage]
        facts: dict[str, float] = {}
        for own in begun:
            facts |= self.latest[own.stage].facts
        is_done = step is steps[-1] and heard.done >= heard.total
        phase = "done" if is_done else step.stage.rpartition(", ")[2]
        epochs: dict[str, int] = {phase.name: phase.epochs for phase in self.pace.plan.phases}
        epoch = f"{heard.facts['epoch']:.0f}/{epochs[step.work]}" if "epoch" in heard.facts else ""
        speed = self.pace.speed(step.stage)
        return (
            shown,
            phase,
            epoch,
            "" if is_done else f"{100 * heard.done / max(1, heard.total):.0f} %",
            "" if speed is None else f"{speed:.0f}",
            *(f"{facts[name]:.4f}" if name in facts else "" for name in ("loss", "val_auc")),
        )

    def _draw_whole(self) -> RenderableType:
        now = self.clock()
        share, left = self.pace.share(now), self.pace.left(now)
        if left is None:
            words = "time left not known yet"
        elif left.high <= 0:
            words = "all done"
        else:
            words = f"{left} left"
        line = Table.grid(padding=(0, 1))
        line.add_row(
            Text("whole run"),
            ProgressBar(total=1.0, completed=share or 0.0, width=20),
            Text(f"{100 * (share or 0.0):3.0f} %" if share is not None else "  ? %"),
            Text(f"{tell_clock(now - self.began)} gone,"),
            Text(words),
        )
        return line
