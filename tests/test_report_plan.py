"""The table of what is going to be done."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from small import FOLDS, RANDOM_WEIGHTS, TINY, describe

from pneumocli.core.cache import Cache
from pneumocli.core.data import Dataset
from pneumocli.core.forecast import Forecast, foresee
from pneumocli.core.pace import TimeSpan
from pneumocli.report.plan import tabulate_forecast

pytest_plugins = ["trained"]


@pytest.fixture
def forecast(small_dataset: Dataset, tmp_path: Path) -> Forecast:
    found, _ = foresee(
        describe(small_dataset),
        small_dataset,
        RANDOM_WEIGHTS,
        TINY.model_copy(update={"dropout": 0.25}),
        runs_dir=tmp_path,
        cache=Cache(tmp_path / "bank"),
        folds=FOLDS,
    )
    return found


def render(found: Forecast, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    with console.capture() as drawn:
        for table in tabulate_forecast(found):
            console.print(table)
    shown = drawn.get()
    assert max(map(len, shown.splitlines())) <= width
    assert "…" not in shown
    return " ".join(shown.split())


@pytest.mark.parametrize("width", [80, 120])
def test_everything_is_said(width: int, forecast: Forecast) -> None:
    shown = render(forecast, width)
    for part in (
        "SYNTHETIC plan of cv; nothing is trained or written",
        "original --image-size 32",
        "--dropout 0.25",
        "float32 in training",
        "the head alone, 2 epochs",
        "the last 6 layers, 1 epoch",
        "not known yet; told after the first batches",
        "fold trained on normal pneumonia held out normal pneumonia",
    ):
        assert part in shown
    assert "too little room" not in shown


def test_time_memory_and_a_stopped_run(forecast: Forecast) -> None:
    known = replace(
        forecast, time=TimeSpan(600, 900), memory=2_500_000_000, takes_up="runs/cv-1", cache_free=1000
    )
    shown = render(known, 80)
    for part in ("10 to 15 min, by earlier runs here", "2.50 GB in an earlier run", "runs/cv-1, nothing"):
        assert part in shown
    assert "too little room" in shown
    without = replace(known, cache=None, cache_free=None, cache_limit=None)
    assert "not kept: computed again in each epoch" in render(without, 80)


def test_folds_that_are_finished_or_not_for_now_say_so_in_a_line(forecast: Forecast) -> None:
    first, second, third = (
        replace(fold, train_normal=809, train_pneumonia=2329, held_out_normal=405, held_out_pneumonia=1165)
        for fold in forecast.plan.folds
    )
    folds = (replace(first, is_finished=True), second, replace(third, is_ours=False))
    plan = replace(forecast.plan, folds=folds)
    shown = render(replace(forecast, plan=plan), 80)
    numbers = "3138 809 2329 1570 405 1165"
    for state in ("1, finished", "2", "3, not now"):
        assert f" {state} {numbers}" in shown
