"""Going on with a stopped run: what is taken, what is refused, and what a failure leaves."""

import os
from pathlib import Path

import pytest
from test_runs import DATA, WEIGHTS, finish, make_record

from pneumocli.core import resume
from pneumocli.core.errors import DivergedError, PneumoError, RunError
from pneumocli.core.locking import holding_file
from pneumocli.core.resume import (
    Inputs,
    check_place,
    check_room,
    find_stopped,
    open_stopped,
    read_inputs,
    training,
    write_inputs,
)
from pneumocli.core.runs import CONFIG, LOCK, create_run, holding, scoring


def test_inputs_read_back_and_what_is_gone_is_left_out(tmp_path: Path) -> None:
    run = create_run(tmp_path, make_record())
    data = tmp_path / "data.npz"
    data.touch()
    write_inputs(run, data, tmp_path / "gone.h5", None)
    assert read_inputs(run) == Inputs(data=str(data))
    (run.path / ".inputs.json").write_text("[]")
    assert read_inputs(run) == Inputs()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data": DATA.model_copy(update={"digest": "2" * 64, "name": "b.npz"})}, "b.npz"),
        ({"weights": WEIGHTS.model_copy(update={"sha256": "3" * 64})}, "weights"),
        ({"preparation": 2}, "reading image files"),
    ],
)
def test_a_named_run_goes_on_with_its_own_inputs_alone(
    changes: dict[str, object], words: str, tmp_path: Path
) -> None:
    run = create_run(tmp_path, make_record())
    with pytest.raises(RunError, match=words):
        find_stopped(tmp_path, make_record(**changes), None, run, print)
    renamed = make_record(data=DATA.model_copy(update={"name": "same images.npz"}))
    assert find_stopped(tmp_path, renamed, None, run, print) == run


def test_a_run_of_other_versions_is_said_and_not_taken(tmp_path: Path) -> None:
    run = create_run(tmp_path, make_record())
    lines: list[str] = []
    record = make_record(versions={"pneumocli": "0.2.0"})
    assert find_stopped(tmp_path, record, None, None, lines.append) is None
    assert len(lines) == 1 and f"pneumocli cv --resume {run.path}" in lines[0]
    finish(run)
    assert find_stopped(tmp_path, record, None, None, lines.append) is None
    assert len(lines) == 1


def test_a_run_that_is_being_trained_is_left_alone(tmp_path: Path) -> None:
    run = create_run(tmp_path, make_record())
    with holding(run):
        with pytest.raises(RunError, match=rf"process {os.getpid()} on .*, since 2"):
            open_stopped(tmp_path, run.path, "cv")
        with pytest.raises(RunError, match="is being trained"), training(run):
            pytest.fail("two train it at once")
        assert {path.name for path in run.path.iterdir()} == {CONFIG, LOCK}


def test_a_failure_leaves_no_empty_run_and_keeps_what_is_finished(tmp_path: Path) -> None:
    empty, begun = create_run(tmp_path, make_record()), create_run(tmp_path, make_record())
    begun.checkpoint_path(1).touch()
    for run in (empty, begun):
        with pytest.raises(PneumoError), training(run):
            raise PneumoError("failed")
    assert [path.name for path in tmp_path.iterdir()] == [begun.name]


@pytest.mark.parametrize(
    ("failure", "stays"), [(DivergedError("not a number"), False), (PneumoError("the disk is full"), True)]
)
def test_what_is_under_way_is_kept_where_it_could_be_finished(
    failure: PneumoError, stays: bool, tmp_path: Path
) -> None:
    run = create_run(tmp_path, make_record())

    def fail() -> None:
        with training(run):
            # Folds side by side: another one's standing, and one that was ended while it wrote its own.
            run.checkpoint_path(2).touch()
            (run.path / ".checkpoint_fold_1.1.partial.npz").touch()
            raise failure

    with pytest.raises(PneumoError, match=str(failure)):
        fail()
    assert run.checkpoint_path(2).exists() == run.path.exists() == stays


def test_ctrl_c_says_how_to_go_on(tmp_path: Path) -> None:
    run = create_run(tmp_path, make_record(), "two words")
    with pytest.raises(KeyboardInterrupt, match=r"pneumocli cv --resume '.*two words'"), training(run):
        raise KeyboardInterrupt
    assert run.path.is_dir()


def test_what_only_an_unfinished_run_needs_goes_with_its_end(tmp_path: Path) -> None:
    run = create_run(tmp_path, make_record())
    (run.path / ".model.123.partial.keras").touch()
    with training(run):
        assert {path.name for path in run.path.iterdir()} == {CONFIG, LOCK}
        write_inputs(run, None, None, None)
        run.checkpoint_path(2).touch()
    assert {path.name for path in run.path.iterdir()} == {CONFIG}


def test_place_and_room_are_checked_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_place(tmp_path / "a" / "b")
    check_room(tmp_path / "a" / "b", 1000)
    assert not list(tmp_path.iterdir())
    with pytest.raises(RunError, match=r"need up to .* GB, and .* GB free"):
        check_room(tmp_path, 10**18)
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot be written to"):
        check_place(tmp_path / "file")
    monkeypatch.setattr(resume.os, "access", lambda path, mode: False)
    with pytest.raises(RunError, match="cannot be written to"):
        check_place(tmp_path)


def test_two_that_score_one_run_wait_for_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = finish(create_run(tmp_path, make_record()))
    run.checkpoint_path(1).touch()
    with scoring(run):
        assert not run.checkpoint_path(1).exists()
        monkeypatch.setattr("pneumocli.core.runs.SCORING_PATIENCE", 0.1)
        with pytest.raises(RunError, match=rf"process {os.getpid()} "), scoring(run):
            pytest.fail("two write at once")
    with scoring(run):
        pass
    with holding_file(run.path / LOCK), scoring(run):
        pass
