"""Every write of a run fails once: one error, nothing half there, and a retry that succeeds."""

import json
import os
import resource
import shutil
import sys
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faults import failing
from small import FOLDS, RANDOM_WEIGHTS, TINY, describe

from pneumocli.core import evaluation, experiments, fold
from pneumocli.core.bank import claiming, fill_bank, open_bank
from pneumocli.core.cache import Cache
from pneumocli.core.checkpoint import Checkpoint, Standing
from pneumocli.core.data import Dataset
from pneumocli.core.errors import PneumoError
from pneumocli.core.evaluation import build_ensemble, evaluate_run, load_run_model
from pneumocli.core.experiments import cross_validate
from pneumocli.core.figures import compute_figures
from pneumocli.core.model import BackboneBuilder
from pneumocli.core.runs import Run, open_run
from pneumocli.core.scores import Scores
from pneumocli.core.training import Trained, train_classifier
from pneumocli.report.curves import plot_roc
from pneumocli.report.probabilities import plot_reliability

pytest_plugins = ["trained"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="names open files by /proc"),
]


def check_whole(folder: Path) -> None:
    """Every file that has its name can be read to its end, and nothing half written is left."""
    for path in folder.rglob("*"):
        assert ".partial" not in path.name, path
        if path.suffix == ".json":
            json.loads(path.read_bytes())
        elif path.suffix in (".npz", ".keras"):
            assert zipfile.ZipFile(path).testzip() is None
        elif path.suffix == ".png":
            assert path.read_bytes().endswith(b"IEND\xaeB`\x82")


def fail_every_write(
    folder: Path, prepare: Callable[[], None], work: Callable[[], None], check: Callable[[], None]
) -> int:
    """Let each write of `work` fail in turn, and try again; return how many there are.

    Args:
        folder: below which writes fail.
        prepare: puts the folder into the state before the work.
        check: raises unless the work is done and right.
    """
    number = 1
    while True:
        prepare()
        before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        with failing(folder, number) as faults:
            try:
                work()
                failed = False
            except (OSError, PneumoError) as error:
                failed = True
                assert len(str(error).splitlines()) == 1
        check_whole(folder)
        after = {path: path.read_bytes() for path in before if path.is_file()}
        replaced = {path for path in before if after.get(path) != before[path]}
        assert all(path.is_file() for path in replaced), "what was there is as it was, or whole and new"
        if faults.count < number:
            return number - 1
        # What fails without an error, such as the flush of a folder, must have done no harm.
        if failed:
            work()
        check()
        number += 1


@pytest.fixture
def quick_training(
    monkeypatch: pytest.MonkeyPatch, small_dataset: Dataset, tiny_backbone: BackboneBuilder, bank: Cache
) -> None:
    """Training that is done once; then it only writes what it would write."""
    made: list[Any] = []
    prepare, train = fold.prepare_run, train_classifier

    def prepare_once(*arguments: Any) -> Any:
        if not made:
            made.append(prepare(*arguments))
            made.append(train(made[0]))
        return made[0]

    def train_quickly(*arguments: Any, checkpoint: Checkpoint, **options: Any) -> Trained:
        checkpoint.read()
        for epochs in (1, 2):
            checkpoint.write(Standing("head", epochs, False, [], [np.ones(9)], [np.ones(9)], None))
        trained: Trained = made[1]
        return trained

    for module in (experiments, fold):  # the first process prepares, the fold trains
        monkeypatch.setattr(module, "prepare_run", prepare_once)
    monkeypatch.setattr(fold, "train_classifier", train_quickly)


@pytest.mark.soak
def test_a_cross_validation_survives_each_write_that_fails(
    quick_training: None, small_dataset: Dataset, tiny_backbone: BackboneBuilder, tmp_path: Path
) -> None:
    runs_dir = tmp_path / "failing"

    def prepare() -> None:
        shutil.rmtree(runs_dir, ignore_errors=True)
        runs_dir.mkdir()

    def work() -> None:
        cross_validate(
            describe(small_dataset),
            RANDOM_WEIGHTS,
            TINY,
            2,
            runs_dir=runs_dir,
            cache=None,
            backbone_builder=tiny_backbone,
        )

    def list_names() -> list[str]:
        complete = [path for path in runs_dir.iterdir() if open_run(path).is_complete]
        assert len(complete) == 1
        return sorted(str(path.relative_to(complete[0])) for path in complete[0].rglob("*"))

    prepare()
    work()
    expected = list_names()

    def check() -> None:
        assert list_names() == expected
        assert len(list(runs_dir.iterdir())) == 1, "the retry goes on with the run that failed"

    assert fail_every_write(runs_dir, prepare, work, check) > 40


@pytest.mark.soak
def test_scoring_survives_each_write_that_fails(cv_run: Run, small_dataset: Dataset, tmp_path: Path) -> None:
    folder = tmp_path / "failing"
    model = load_run_model(cv_run)

    def prepare() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(cv_run.path, folder / "run")

    def work() -> None:
        run = open_run(folder / "run")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(evaluation, "load_run_model", lambda run, **options: model)
            # The bootstrap takes most of the time and writes nothing.
            quick = partial(compute_figures, intervals=False)
            patch.setattr(
                evaluation, "compute_figures", lambda *args, intervals, **rest: quick(*args, **rest)
            )
            build_ensemble(run)
            evaluate_run(run, small_dataset, "test", model=model)

    def check() -> None:
        names = {path.name for path in (folder / "run").iterdir()}
        assert {"ensemble.keras", "scores_test.npz", "metrics_test.json"} < names
        assert all(
            (folder / "run" / f"fold_{fold}/scores_test.npz").is_file() for fold in range(1, FOLDS + 1)
        )
        assert not [name for name in names if name.startswith(".")]

    assert fail_every_write(folder, prepare, work, check) > 25


def test_a_picture_survives_each_write_that_fails(tmp_path: Path) -> None:
    folder = tmp_path / "failing"
    folder.mkdir()
    y_true, y_score = np.array([0, 1, 0, 1]), np.array([0.1, 0.9, 0.6, 0.4], np.float32)
    scores = Scores(np.arange(4), y_true, y_score)
    pictures = [folder / "roc.png", folder / "reliability.png"]

    def prepare() -> None:
        for path in pictures:
            path.unlink(missing_ok=True)

    def work() -> None:
        plot_roc(pictures[0], {"a": scores}, title="a", images="images")
        plot_reliability(pictures[1], scores, 1.0, title="a", images="images")

    def check() -> None:
        assert sorted(folder.iterdir()) == sorted(pictures)

    assert fail_every_write(folder, prepare, work, check) >= 6


def test_a_bank_survives_each_write_that_fails(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "failing")
    rows = np.arange(60, dtype=np.float32).reshape(20, 3)

    def prepare() -> None:
        shutil.rmtree(cache.directory, ignore_errors=True)

    def work() -> None:
        with claiming(cache, {"a": 1}, print):
            fill_bank(cache, {"a": 1}, rows.shape, rows.dtype, [rows[:8], rows[8:]])

    def check() -> None:
        np.testing.assert_array_equal(open_bank(cache, {"a": 1}), rows)
        assert sorted(path.suffix for path in cache.directory.iterdir()) == [".json", ".npy"]

    assert fail_every_write(cache.directory, prepare, work, check) > 8


@pytest.mark.skipif(sys.platform != "linux", reason="a limit on the size of files")
@pytest.mark.parametrize("limit", [100, 2_000, 10_000, 30_000])
def test_files_that_break_off_while_they_are_written(
    limit: int, cv_run: Run, small_dataset: Dataset, tmp_path: Path
) -> None:
    """As on a disk that fills up; here the system refuses every byte beyond the limit, also to C code."""
    run = open_run(Path(shutil.copytree(cv_run.path, tmp_path / "run")))
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    checkpoint = Checkpoint(run.checkpoint_path(), {})
    standing = Standing("head", 1, False, [], [np.ones(9_000)], [np.ones(9)], None)
    model = load_run_model(run)
    scored = evaluate_run(
        open_run(Path(shutil.copytree(run.path, tmp_path / "other"))), small_dataset, "test"
    )
    scores = Scores(np.arange(len(scored.y_true)), scored.y_true, scored.y_score[scored.main])
    writers: dict[str, Callable[[], Any]] = {
        "checkpoint": lambda: checkpoint.write(standing),
        "ensemble": lambda: build_ensemble(run),
        "scores": lambda: evaluate_run(run, small_dataset, "test", model=model),
        "picture": lambda: plot_roc(run.path / "roc.png", {"a": scores}, title="a", images="images"),
    }
    failed = []
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for name, write in writers.items():
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
            write()
        except (OSError, PneumoError) as error:
            failed.append(name)
            assert len(str(error).splitlines()) == 1
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {"checkpoint", "ensemble", "picture"} <= set(failed)
    check_whole(run.path)
    assert {path: path.read_bytes() for path in before} == before
    for write in writers.values():
        write()
    check_whole(run.path)
