"""Folds side by side: the same files as one after the other, and what the other processes tell."""

import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from conftest import build_tiny_backbone
from small import RANDOM_WEIGHTS, TINY, describe

from pneumocli.core import parallel
from pneumocli.core.artefact import CARD
from pneumocli.core.cache import Cache
from pneumocli.core.config import Precision
from pneumocli.core.data import Dataset
from pneumocli.core.errors import PneumoError
from pneumocli.core.experiments import cross_validate
from pneumocli.core.hashes import HASHES
from pneumocli.core.model import BackboneBuilder
from pneumocli.core.parallel import run_side_by_side
from pneumocli.core.progress import Listener, Progress, ignore
from pneumocli.core.runs import CONFIG, MODEL, Run, open_run
from pneumocli.core.synthetic import draw_dataset

CONFIG_OF_RUN = TINY.model_copy(
    update={
        "head_epochs": 1,
        "views": 2,
        "crop_area": 0.5,
        "flip": True,
        "precision": Precision.BFLOAT16,
        "deterministic": True,
    }
)


# What other processes do: functions of this module, so that they are found there.


def count_up(number: int, listen: Listener) -> None:
    import tensorflow as tf

    keras.ops.ones(3)
    facts = {
        "process": os.getpid(),
        "inside": tf.config.threading.get_intra_op_parallelism_threads(),
        "between": tf.config.threading.get_inter_op_parallelism_threads(),
    }
    for done in range(4):
        listen(Progress(f"task {number}", done, 3, facts=facts))


def count_side_by_side(deterministic: bool) -> list[Progress]:
    heard: list[Progress] = []
    run_side_by_side(count_up, [1, 2, 3], 2, deterministic, heard.append)
    return heard


def list_threads(heard: list[Progress]) -> set[tuple[float, float]]:
    return {(step.facts["inside"], step.facts["between"]) for step in heard}


@pytest.fixture
def seven_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "count_cores", lambda: 7)


def test_every_task_is_done_in_another_process_and_heard_in_its_order(seven_cores: None) -> None:
    heard = count_side_by_side(deterministic=True)
    for number in (1, 2, 3):
        steps = [step for step in heard if step.stage == f"task {number}"]
        assert [(step.done, step.total) for step in steps] == [(done, 3) for done in range(4)]
        assert len({step.facts["process"] for step in steps}) == 1
    assert os.getpid() not in {step.facts["process"] for step in heard}
    assert list_threads(heard) == {(1, 1)}


def test_processes_share_the_cores_whatever_ran_before(seven_cores: None) -> None:
    # The test before has left this process with none whose single thread would be taken.
    assert list_threads(count_side_by_side(deterministic=False)) == {(3, 3)}


# Whole runs.


def train_one_after_the_other(runs: Path | None, listen: Listener) -> None:
    if runs is not None:
        dataset = draw_dataset(train=24, val=12, test=12)
        train_folds(dataset, build_tiny_backbone, runs, cache=None)


def train_folds(dataset: Dataset, backbone_builder: BackboneBuilder, runs: Path, **options: Any) -> Run:
    return cross_validate(
        describe(dataset),
        RANDOM_WEIGHTS,
        **{"config": CONFIG_OF_RUN, "folds": 2, **options},
        runs_dir=runs,
        name="run",
        backbone_builder=backbone_builder,
    )


@pytest.fixture(scope="module")
def one_after_the_other(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A cross-validation in a single process, which has one thread; not this one, which has several."""
    runs = tmp_path_factory.mktemp("one")
    run_side_by_side(train_one_after_the_other, [runs, None], 2, True, ignore)
    return open_run(runs / "run")


def read_file(path: Path) -> Any:
    """What a file of a run holds, without the time at which it was written."""
    match path.suffix:
        case ".keras":
            with zipfile.ZipFile(path) as archive:
                card = json.loads(archive.read(CARD)) | {"created": None}
            model = keras.saving.load_model(path, compile=False)
            return card, model.name, [(weight.path, weight.numpy().tobytes()) for weight in model.weights]
        case ".npz":
            with np.load(path) as arrays:
                return {name: arrays[name].tobytes() for name in arrays}
        case _:
            content = json.loads(path.read_bytes())
            if path.name == HASHES:  # of whole model files, which have times in them
                return sorted(content["files"])
            return content | {"created": None} if path.name == CONFIG else content


def list_files(run: Run) -> set[Path]:
    return {path.relative_to(run.path) for path in run.path.rglob("*") if path.is_file()}


def test_folds_side_by_side_leave_the_files_of_folds_one_after_the_other(
    one_after_the_other: Run, small_dataset: Dataset, tiny_backbone: BackboneBuilder, tmp_path: Path
) -> None:
    heard: list[Progress] = []
    run = train_folds(
        small_dataset,
        tiny_backbone,
        tmp_path / "runs",
        cache=Cache(tmp_path / "bank"),
        jobs=2,
        listen=heard.append,
    )
    files = list_files(run)
    assert files == list_files(one_after_the_other)
    assert sum(path.name == MODEL for path in files) == 2
    for path in files:
        assert read_file(run.path / path) == read_file(one_after_the_other.path / path), path
    check_heard(heard)


def check_heard(heard: list[Progress]) -> None:
    for fold in (1, 2):
        for stage in ("head", "tune", "held out"):
            steps = [step for step in heard if step.stage == f"fold {fold} of 2, {stage}"]
            assert steps[-1].done == steps[-1].total > 0
            assert [step.done for step in steps] == sorted(step.done for step in steps)


def test_no_more_processes_than_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    class Watched:
        def __init__(self, n_jobs: int, **settings: object) -> None:
            asked.append(n_jobs)

        def __call__(self, tasks: Iterator[object]) -> None:
            list(tasks)

    monkeypatch.setattr("joblib.Parallel", Watched)
    run_side_by_side(count_up, [1, 2, 3], 8, True, ignore)
    assert asked == [3]


def test_fold_that_diverges_is_said_in_words(
    small_dataset: Dataset, tiny_backbone: BackboneBuilder, tmp_path: Path
) -> None:
    diverging = CONFIG_OF_RUN.model_copy(update={"head_learning_rate": 1e30})
    with pytest.raises(PneumoError, match="learning rate") as caught:
        train_folds(small_dataset, tiny_backbone, tmp_path, config=diverging, cache=None, jobs=2)
    assert len(str(caught.value).splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def tick(folder: Path, listen: Listener) -> None:
    while True:
        (folder / str(os.getpid())).write_text(str(time.monotonic()))
        listen(Progress("ticks", 0, 1))
        time.sleep(0.05)


def tick_side_by_side(folder: Path) -> None:
    run_side_by_side(tick, [folder, folder], 2, True, ignore)


def test_work_ends_with_a_first_process_that_is_killed(tmp_path: Path) -> None:
    call = f"test_parallel.tick_side_by_side(pathlib.Path({str(tmp_path)!r}))"
    program = f"import pathlib, test_parallel; {call}"
    first_process = subprocess.Popen([sys.executable, "-c", program], cwd=Path(__file__).parent)
    wait_until(lambda: len(list(tmp_path.iterdir())) == 2)
    first_process.kill()
    first_process.wait()

    def read_clocks() -> list[str]:
        return [path.read_text() for path in sorted(tmp_path.iterdir())]

    def stands_still() -> bool:
        before = read_clocks()
        time.sleep(0.5)
        return read_clocks() == before

    wait_until(stands_still)


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
