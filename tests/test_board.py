"""The live view and the plain lines of a run, at the widths that people have."""

import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console
from small import TINY

from pneumocli.core.cache import Cache
from pneumocli.core.config import Precision
from pneumocli.core.data import Dataset
from pneumocli.core.pace import Pace
from pneumocli.core.plan import Plan, plan_run
from pneumocli.core.progress import Progress
from pneumocli.core.rates import Rates
from pneumocli.core.synthetic import draw_dataset
from pneumocli.report import board, live
from pneumocli.report.live import show_work

FACTS = {"epoch": 2.0, "loss": 0.12345, "val_auc": 0.98765}


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return draw_dataset(train=80, val=12, test=12)


def make_plan(
    dataset: Dataset, folds: int | None, cache: Path, finished: frozenset[int] = frozenset()
) -> Plan:
    return plan_run(dataset, TINY, Precision.FLOAT32, folds=folds, finished=finished, cache=Cache(cache))


def draw(shown: "board._Board", width: int, height: int = 40) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height, color_system=None)
    shown.console = console
    with console.capture() as drawn:
        console.print(shown)
    return [line.strip() for line in drawn.get().splitlines()]


def tell(plan: Plan, until: str | None = None) -> Iterator[Progress]:
    for step in plan.steps:
        if step.stage == until:
            return
        facts = FACTS if step.work in ("head", "tune") else {}
        for done in (step.images // 2, step.images):
            yield Progress(step.stage, done, step.images, facts=facts)


def make_board(plan: Plan) -> "board._Board":
    clock = iter(range(10**6))
    return board._Board(Pace(plan, Rates()), Console(file=io.StringIO()), lambda: float(next(clock)))


@pytest.mark.parametrize("width", [80, 120])
def test_every_number_of_a_run_is_whole(width: int, dataset: Dataset, tmp_path: Path) -> None:
    plan = make_plan(dataset, 10, tmp_path)
    shown = make_board(plan)
    for step in tell(plan, until="fold 10 of 10, held out"):
        shown.hear(step)
    shown.hear(Progress("fold 10 of 10, held out", 1, 2))
    lines = draw(shown, width)
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert "…" not in text
    rows = [line.split() for line in lines if line.startswith("fold ")]
    assert [" ".join(row[:2]) for row in rows] == [f"fold {fold}" for fold in range(1, 11)]
    for row in rows[:9]:
        assert row[2] == "done"
        assert row[-2:] == ["0.1235", "0.9877"]
    assert " ".join(rows[9][2:6]) == "held out 50 %"
    assert re.search(r"whole run .* \d+ % +\d:\d\d:\d\d gone, .* left$", text, flags=re.MULTILINE)


def test_what_is_waiting_done_before_and_under_way(dataset: Dataset, tmp_path: Path) -> None:
    plan = make_plan(dataset, 3, tmp_path, finished=frozenset({1}))
    shown = make_board(plan)
    assert "time left not known yet" in draw(shown, 80)[-1]
    for step in plan.steps:
        if not step.title:
            shown.hear(Progress(f"{step.stage}, kept", step.images, step.images))
    head = next(step for step in plan.steps if step.stage == "fold 2 of 3, head")
    shown.hear(Progress(head.stage, head.images // 4, head.images, facts={"epoch": 1.0, "loss": 0.5}))
    rows = {line[:13].strip(): line.split() for line in draw(shown, 80)}
    assert rows["frozen layers"][2] == "done"
    assert rows["fold 1"][2:4] == ["done", "before"]
    assert rows["fold 2"][2:5] == ["head", "1/2", "25"]
    assert rows["fold 3"][2] == "waiting"


def test_many_folds_fit_the_screen(dataset: Dataset, tmp_path: Path) -> None:
    plan = make_plan(dataset, 10, tmp_path)
    shown = make_board(plan)
    for step in tell(plan, until="fold 6 of 10, tune"):
        shown.hear(step)
    lines = draw(shown, 80, height=13)
    assert len(lines) <= 13
    text = "\n".join(lines)
    assert "fold 6" in text
    assert "more" in text


def test_a_single_model(dataset: Dataset, tmp_path: Path) -> None:
    plan = make_plan(dataset, None, tmp_path)
    shown = make_board(plan)
    for step in tell(plan):
        shown.hear(step)
    lines = draw(shown, 80)
    (row,) = (line.split() for line in lines if line.startswith("model"))
    assert row[:2] == ["model", "done"]
    assert lines[-1].endswith("all done")


def test_live_view_on_a_terminal(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_plan(dataset, 3, tmp_path)
    console = Console(file=io.StringIO(), force_terminal=True, width=80, color_system=None)
    monkeypatch.setattr(live, "open_stderr", lambda: console)
    with show_work(Pace(plan, Rates())) as listen:
        for step in tell(plan):
            listen(step)
    drawn = console.file.getvalue()  # type: ignore[attr-defined]
    assert "all done" in drawn
    assert "0.9877" in drawn


def test_plain_lines_where_there_is_no_terminal(
    dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plan = make_plan(dataset, 3, tmp_path)
    clock = iter(range(10**6))
    monkeypatch.setattr("time.monotonic", lambda: float(next(clock)))
    with show_work(Pace(plan, Rates())) as listen:
        for step in tell(plan):
            listen(step)
    lines = capsys.readouterr().err.splitlines()
    assert "\x1b" not in "".join(lines)
    assert lines[0].startswith("expected: ")
    assert [line.split("  ")[0] for line in lines[1:]] == [step.stage for step in plan.steps]
    assert all("whole run: " in line for line in lines[1:-1])
    assert "left" not in lines[-1]


def test_quiet_work_is_measured_all_the_same(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = make_plan(dataset, 3, tmp_path)
    pace = Pace(plan, Rates())
    with show_work(pace, quiet=True) as listen:
        for step in tell(plan):
            listen(step)
        listen(Progress("something else", 1, 2))
    assert capsys.readouterr().err == ""
    assert pace.left(0.0) is not None
