"""What a run is going to do on this machine."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from small import FOLDS, RANDOM_WEIGHTS, TINY, describe

from pneumocli.core.cache import Cache
from pneumocli.core.config import Precision
from pneumocli.core.data import Dataset
from pneumocli.core.errors import PneumoError, RunError
from pneumocli.core.forecast import Forecast, foresee
from pneumocli.core.pace import Pace
from pneumocli.core.rates import Rate, keep_rates, name_memory, name_work, rates_path
from pneumocli.core.runs import Run

pytest_plugins = ["trained"]


def look_ahead(dataset: Dataset, runs_dir: Path, **options: object) -> tuple[Forecast, Pace]:
    given: dict[str, Any] = {"folds": FOLDS, "cache": None, **options}
    return foresee(describe(dataset), dataset, RANDOM_WEIGHTS, TINY, runs_dir=runs_dir, **given)


def test_a_stopped_run_is_gone_on_with(cv_copy: Run, small_dataset: Dataset, tmp_path: Path) -> None:
    runs_dir = cv_copy.path.parent
    assert look_ahead(small_dataset, runs_dir)[0].takes_up is None
    cv_copy.last_file.unlink()
    cv_copy.fold_path(2).rename(tmp_path / "away")
    found, _ = look_ahead(small_dataset, runs_dir)
    assert found.takes_up == str(cv_copy.path)
    assert [fold.is_finished for fold in found.plan.folds] == [True, False, True]
    assert look_ahead(small_dataset, runs_dir, folds=FOLDS + 1)[0].takes_up is None


def test_the_run_that_is_named_is_gone_on_with_whatever_else_is_there(
    cv_copy: Run, small_dataset: Dataset, tmp_path: Path
) -> None:
    cv_copy.last_file.unlink()
    cv_copy.fold_path(2).rename(tmp_path / "away")
    found, _ = look_ahead(small_dataset, tmp_path / "elsewhere", resume=cv_copy, name=cv_copy.name)
    assert found.takes_up == str(cv_copy.path)
    assert [fold.is_finished for fold in found.plan.folds] == [True, False, True]


def test_a_fold_of_its_own_joins_the_run_of_its_name(
    cv_copy: Run, small_dataset: Dataset, tmp_path: Path
) -> None:
    found, _ = look_ahead(small_dataset, tmp_path / "empty", name="shared", fold=2)
    assert found.takes_up is None
    assert not any(fold.is_finished for fold in found.plan.folds)
    cv_copy.last_file.unlink()
    cv_copy.fold_path(2).rename(tmp_path / "away")
    found, _ = look_ahead(small_dataset, cv_copy.path.parent, name=cv_copy.name, fold=2)
    assert found.takes_up == str(cv_copy.path)
    assert [fold.is_finished for fold in found.plan.folds] == [True, False, True]
    for fold, name, words in (
        (FOLDS + 1, "shared", "--fold must be"),
        (1, "..", "cannot be a run's name"),
        (1, None, "needs the name"),
    ):
        with pytest.raises(PneumoError, match=words):
            look_ahead(small_dataset, tmp_path, name=name, fold=fold)


def test_time_and_memory_of_earlier_runs(small_dataset: Dataset, tmp_path: Path) -> None:
    first, pace = look_ahead(small_dataset, tmp_path)
    assert (first.time, first.memory) == (None, None)
    rates = {name_work(pace.plan, step, False): Rate(1.0, 10.0) for step in pace.plan.steps}
    keep_rates(rates_path(), rates, {name_memory(pace.plan, False): 123})
    found, _ = look_ahead(small_dataset, tmp_path)
    assert found.memory == 123
    whole = sum(1 + step.images / 10 for step in found.plan.steps)
    assert found.time is not None
    assert found.time.low < whole < found.time.high
    assert found.to_dict()["time"] == {"low": found.time.low, "high": found.time.high}


def test_room_that_is_there(small_dataset: Dataset, tmp_path: Path) -> None:
    found, _ = look_ahead(small_dataset, tmp_path / "not" / "yet", cache=Cache(tmp_path / "bank"))
    assert found.runs_free > 0
    assert found.cache_free is not None
    assert found.cache_limit == Cache(tmp_path).limit
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_done(
    cv_copy: Run, small_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RunError, match="is there already"):
        look_ahead(small_dataset, cv_copy.path.parent, name=cv_copy.name)
    with pytest.raises(PneumoError, match="cache may take"):
        look_ahead(small_dataset, tmp_path, cache=Cache(tmp_path / "bank", limit=1000))
    (tmp_path / "file").touch()
    with pytest.raises(PneumoError, match="cannot be written to"):
        look_ahead(small_dataset, tmp_path / "file" / "runs")
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=1000))
    with pytest.raises(PneumoError, match="models and checkpoints need"):
        look_ahead(small_dataset, tmp_path)
    monkeypatch.undo()
    float16 = TINY.model_copy(update={"precision": Precision.FLOAT16})
    with pytest.raises(PneumoError, match="float16 needs a GPU"):
        foresee(
            describe(small_dataset), small_dataset, RANDOM_WEIGHTS, float16, runs_dir=tmp_path, cache=None
        )


def test_a_single_model_has_no_folds(small_dataset: Dataset, tmp_path: Path) -> None:
    found, _ = look_ahead(small_dataset, tmp_path, folds=None)
    assert found.plan.kind == "train"
    assert found.plan.folds == ()
    stages = ["model, head", "model, tune", "model, probe", "scores on val", "likeness to train"]
    assert [step.stage for step in found.plan.steps] == stages
