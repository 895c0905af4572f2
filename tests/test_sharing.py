"""Folds by commands of their own: who makes the run, who holds what, what is refused."""

import threading
from pathlib import Path

import pytest
from small import RANDOM_WEIGHTS
from test_runs import DATA, make_record

from pneumocli.core import sharing
from pneumocli.core.config import TrainConfig
from pneumocli.core.errors import DivergedError, RunError, SettingError
from pneumocli.core.inputs import DataInput
from pneumocli.core.locking import holding_file
from pneumocli.core.progress import keep_quiet
from pneumocli.core.records import RunRecord
from pneumocli.core.resume import Inputs, read_inputs, training
from pneumocli.core.runs import LOCK, Run, create_run, holding, is_held
from pneumocli.core.sharing import check_fold, check_folds, find_shared, join_run, training_fold
from pneumocli.core.synthetic import draw_dataset


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return create_run(tmp_path, make_record(folds=3), "run")


def join(runs_dir: Path, record: RunRecord) -> Run:
    data = DataInput(draw_dataset(train=4, val=4, test=4), None, "drawn")
    return join_run(runs_dir, record, "run", data, RANDOM_WEIGHTS, keep_quiet)


def test_many_that_begin_at_once_have_one_run(tmp_path: Path) -> None:
    runs_dir = tmp_path / "runs"
    records = [make_record(folds=3) for _ in range(8)]
    joined: list[Run] = []
    threads = [
        threading.Thread(target=lambda record=record: joined.append(join(runs_dir, record)))
        for record in records
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(joined) == 8
    assert {run.path for run in joined} == {runs_dir / "run"}
    assert len({run.record.created for run in joined}) == 1
    assert [path.name for path in runs_dir.iterdir()] == ["run"]
    assert read_inputs(joined[0]) == Inputs()


def test_a_folder_that_a_killed_command_left_without_a_record_is_taken(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".config.123.partial.json").touch()
    assert join(tmp_path, make_record(folds=3)).record.folds == 3


def test_what_is_no_run_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "letter.txt").touch()
    with pytest.raises(RunError, match="is there already"):
        join(tmp_path, make_record(folds=3))
    with pytest.raises(RunError, match="cannot be a run's name"):
        join_run(tmp_path, make_record(), "a/b", None, RANDOM_WEIGHTS, keep_quiet)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["..", ".", "", ".hidden", "a/b"])
def test_a_name_that_leads_elsewhere_touches_nothing_there(name: str, tmp_path: Path) -> None:
    others = tmp_path / ".thing.1.partial.npz"  # what another process is writing
    others.touch()
    runs_dir = tmp_path / "runs"
    for call in (
        lambda: join_run(runs_dir, make_record(), name, None, RANDOM_WEIGHTS, keep_quiet),  # type: ignore[arg-type]
        lambda: find_shared(runs_dir, make_record(), name, keep_quiet),
    ):
        with pytest.raises(RunError, match="cannot be a run's name"):
            call()
    assert list(tmp_path.iterdir()) == [others]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"folds": 4}, "folds 3, not 4"),
        ({"settings": TrainConfig(seed=7)}, "seed 0, not 7"),
        ({"precision": "bfloat16"}, "precision"),
        ({"data": DATA.model_copy(update={"digest": "2" * 64, "name": "b.npz"})}, "b.npz"),
        ({"versions": {"pneumocli": "9"}}, "pneumocli 0.1.0, here 9"),
    ],
)
def test_other_work_under_the_same_name_is_refused(run: Run, changes: dict[str, object], words: str) -> None:
    with pytest.raises(RunError, match=words):
        find_shared(run.path.parent, make_record(**{"folds": 3, **changes}), "run", keep_quiet)


def test_another_system_is_told_and_taken(run: Run) -> None:
    told: list[str] = []
    record = make_record(folds=3, versions={"pneumocli": "0.1.0", "system": "Linux-9"})
    assert find_shared(run.path.parent, record, "run", told.append) == run
    assert len(told) == 1 and "another system" in told[0]
    assert find_shared(run.path.parent, record, "other", told.append) is None


def test_folds_are_held_one_by_one_and_the_run_by_nobody_else(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "PATIENCE", 0.1)
    with training_fold(run, 1), training_fold(run, 3):
        assert run.held_folds() == [1, 3]
        assert is_held(run)
        with (
            pytest.raises(RunError, match=r"fold 1 is being trained by process \d+ on "),
            training_fold(run, 1),
        ):
            pytest.fail("one fold, twice")
        with pytest.raises(RunError, match=r"being trained by process \d+ on .*\(fold 1\)"), holding(run):
            pytest.fail("the whole run beside a fold")
    assert not is_held(run)
    with holding(run), pytest.raises(RunError, match="fold 2 is being trained by"), training_fold(run, 2):
        pytest.fail("a fold beside the whole run")
    with training_fold(run, 2):
        pass


def test_a_fold_waits_for_one_who_holds_the_run_for_a_moment(run: Run) -> None:
    held = threading.Event()

    def hold() -> None:
        with holding_file(run.path / LOCK):
            held.set()
            threading.Event().wait(0.3)

    other = threading.Thread(target=hold)
    other.start()
    held.wait()
    with training_fold(run, 1):
        assert run.held_folds() == [1]
    other.join()


def diverge(run: Run, fold: int) -> None:
    with pytest.raises(DivergedError), training_fold(run, fold):
        run.checkpoint_path(fold).touch()
        raise DivergedError("not a number")


def test_a_fold_that_diverges_leaves_no_run_that_others_would_have_to_be_like(run: Run) -> None:
    with training_fold(run, 3):
        diverge(run, 1)
        assert run.path.is_dir()  # fold 3 is another's
    run.fold_path(2).mkdir()
    diverge(run, 1)
    assert run.path.is_dir()  # fold 2 is finished
    run.fold_path(2).rmdir()
    diverge(run, 1)
    assert not run.path.exists()


def test_ctrl_c_in_a_fold_says_how_to_go_on(run: Run) -> None:
    with pytest.raises(KeyboardInterrupt, match=r"--resume .*run --fold 2$"), training_fold(run, 2):
        raise KeyboardInterrupt
    assert not run.held_folds()


def test_missing_folds_are_named(run: Run) -> None:
    run.fold_path(2).mkdir()
    with training_fold(run, 3), pytest.raises(RunError, match=r"lacks fold 1, fold 3 \(being trained\);"):
        check_folds(run)
    run.fold_path(1).mkdir()
    run.fold_path(3).mkdir()
    check_folds(run)


def test_locks_of_killed_processes_go_with_the_end(run: Run) -> None:
    run.fold_lock_path(2).touch()
    with training(run):
        pass
    assert not run.fold_lock_path(2).exists()


@pytest.mark.parametrize("fold", [0, 4, -1])
def test_no_such_fold(fold: int) -> None:
    check_fold(3, 3)
    with pytest.raises(SettingError, match=f"from 1 to 3.*received {fold}"):
        check_fold(fold, 3)
