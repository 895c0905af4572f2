"""The run folder: names, which run is meant, what is gone on with, and folders that are no runs."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pneumocli.core import runs
from pneumocli.core.config import TrainConfig
from pneumocli.core.data import Dataset, Split
from pneumocli.core.errors import RunError
from pneumocli.core.files import filling
from pneumocli.core.finding import find_run, find_unfinished, list_runs
from pneumocli.core.records import (
    DataRecord,
    FileRecord,
    GroupsRecord,
    RunRecord,
    WeightsRecord,
    stamp_time,
)
from pneumocli.core.runs import (
    CONFIG,
    DECISION,
    MODEL,
    Run,
    check_complete,
    create_run,
    open_run,
)

DATA = DataRecord(
    name="small.npz",
    digest="0" * 64,
    identity="drawn for the tests",
    synthetic=False,
    pixels=28,
    train_images=24,
    stopping_images=12,
)
GROUPS = GroupsRecord(
    file=FileRecord(name="patients.csv", sha256="4" * 64), digest="5" * 64, groups=3, images=7
)
WEIGHTS = WeightsRecord(name="weights.h5", sha256="1" * 64)


def make_record(kind: str = "cv", **changes: Any) -> RunRecord:
    settings: dict[str, Any] = {
        "kind": kind,
        "created": stamp_time(),
        "folds": 2 if kind == "cv" else None,
        "settings": TrainConfig(),
        "data": DATA,
        "groups": GROUPS if kind == "cv" else None,
        "weights": WEIGHTS,
        "precision": "float32",
        "preparation": 1,
        "versions": {"pneumocli": "0.1.0"},
    }
    return RunRecord(**(settings | changes))


def finish(run: Run) -> Run:
    """Put a stand-in for every part that a complete run has."""
    for folder in run.member_paths():
        folder.mkdir(exist_ok=True)
        (folder / MODEL).write_bytes(b"model")
    (run.path / DECISION).write_text("{}")
    run.last_file.write_text("{}")
    return run


def make_run(runs_dir: Path, kind: str = "cv", name: str | None = None, **changes: Any) -> Run:
    return finish(create_run(runs_dir, make_record(kind, **changes), name))


def refuse(*arguments: Any) -> str:
    """The line that says why no run can be had."""
    with pytest.raises(RunError) as caught:
        find_run(*arguments)
    line = str(caught.value)
    assert len(line.splitlines()) == 1
    return line


def test_results_of_other_data_have_a_place_of_their_own(tmp_path: Path) -> None:
    own, other = (
        Dataset("xrays", {"val": Split(np.full((2, 3, 3), level, np.uint8), np.arange(2))})
        for level in (1, 2)
    )
    run = make_run(tmp_path, data=DATA.model_copy(update={"name": "xrays", "digest": own.digest()}))
    assert run.owns(own) and run.owns(replace(own, name="moved")) and not run.owns(other)
    assert run.results_path(replace(own, name="moved")) == run.path
    assert run.results_path(other) == run.path / "external" / "xrays"


def test_record_reads_back_what_was_written(tmp_path: Path) -> None:
    run = create_run(tmp_path, make_record(settings=TrainConfig(seed=3, subset=40)))
    assert open_run(run.path) == run


def test_names_count_up_by_kind(tmp_path: Path) -> None:
    kinds = ["cv", "train", "cv", "cv", "train"]
    names = [create_run(tmp_path, make_record(kind)).name for kind in kinds]
    assert names == ["cv-1", "train-1", "cv-2", "cv-3", "train-2"]


def test_drawn_images_are_marked_in_the_name(tmp_path: Path) -> None:
    drawn = DATA.model_copy(update={"synthetic": True})
    assert create_run(tmp_path, make_record(data=drawn)).name == "synthetic-cv-1"


def test_a_folder_that_is_there_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "cv-1").mkdir()
    (tmp_path / "cv-1" / "notes.txt").write_text("mine")
    (tmp_path / "cv-2").write_text("a file")
    assert create_run(tmp_path, make_record()).name == "cv-3"
    assert [path.name for path in (tmp_path / "cv-1").iterdir()] == ["notes.txt"]


def test_chosen_name(tmp_path: Path) -> None:
    assert create_run(tmp_path / "deep" / "runs", make_record(), "Tuesday 2").name == "Tuesday 2"


def test_taken_name_is_refused_and_its_run_untouched(tmp_path: Path) -> None:
    run = make_run(tmp_path, name="mine")
    before = (run.path / CONFIG).read_bytes()
    with pytest.raises(RunError, match=r"there already.*--name"):
        create_run(tmp_path, make_record(folds=5), "mine")
    assert (run.path / CONFIG).read_bytes() == before


@pytest.mark.parametrize("name", ["../x", ".x", "", ".", "..", "a/b", "/x", "x/"])
def test_bad_name_is_refused_and_nothing_made(name: str, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot be a run's name"):
        create_run(tmp_path / "runs", make_record(), name)
    assert not list(tmp_path.rglob(CONFIG))


def test_no_folder_stays_whose_config_could_not_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, content: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(runs, "write_json", fail)
    with pytest.raises(OSError, match="No space"):
        create_run(tmp_path / "runs", make_record())
    assert not list((tmp_path / "runs").iterdir())


def test_newest_run_is_meant_whatever_its_name(tmp_path: Path) -> None:
    make_run(tmp_path, name="z", created="2024-01-01T00:00:00.000000+00:00")
    make_run(tmp_path, name="a", created="2024-01-03T00:00:00.000000+00:00")
    make_run(tmp_path, name="m", created="2024-01-02T00:00:00.000000+00:00")
    assert [run.name for run in list_runs(tmp_path)] == ["z", "m", "a"]
    assert find_run(tmp_path).name == "a"


def test_later_runs_sort_behind(tmp_path: Path) -> None:
    names = [make_run(tmp_path).name for _ in range(12)]
    assert [run.name for run in list_runs(tmp_path)] == names


def test_incomplete_runs_are_passed_over(tmp_path: Path) -> None:
    complete = make_run(tmp_path)
    create_run(tmp_path, make_record())
    assert find_run(tmp_path) == complete


def test_only_incomplete_runs(tmp_path: Path) -> None:
    create_run(tmp_path, make_record())
    line = refuse(tmp_path)
    assert "no complete run" in line
    assert "unfinished: cv-1" in line


def test_no_runs_at_all(tmp_path: Path) -> None:
    for runs_dir in (tmp_path, tmp_path / "missing"):
        line = refuse(runs_dir)
        assert str(runs_dir) in line
        assert "pneumocli cv" in line


def test_run_by_folder_by_name_and_by_directory(tmp_path: Path) -> None:
    first, second = make_run(tmp_path), make_run(tmp_path)
    assert find_run(tmp_path, first.path) == first
    assert find_run(tmp_path, Path("cv-1")) == first
    assert find_run(Path("elsewhere"), tmp_path) == second
    assert find_run(tmp_path, None) == second


def test_path_with_a_slash_at_its_end(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    assert find_run(tmp_path, Path(f"{run.path}/")) == run


def test_kind_narrows_the_choice(tmp_path: Path) -> None:
    folds, single = make_run(tmp_path, "cv"), make_run(tmp_path, "train")
    assert find_run(tmp_path) == single
    assert find_run(tmp_path, None, "cv") == folds
    assert find_run(tmp_path, tmp_path, "cv") == folds
    assert find_run(Path("elsewhere"), tmp_path) == single


def test_single_model_where_folds_are_needed(tmp_path: Path) -> None:
    run = make_run(tmp_path, "train")
    assert str(run.path) in refuse(tmp_path, run.path, "cv")
    assert "no complete cross-validation" in refuse(tmp_path, tmp_path, "cv")


def test_other_folders(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for path in (empty, tmp_path / "missing"):
        line = refuse(tmp_path, path)
        assert f"{path} is not a run folder" in line


def test_file_instead_of_a_folder(tmp_path: Path) -> None:
    file = tmp_path / "model.keras"
    file.write_bytes(b"model")
    assert str(file) in refuse(tmp_path, file)


DAMAGED = {
    "empty": b"",
    "cut off": b'{"schema_version": 1, "kind": "cv"',
    "list": b"[]",
    "other": b'{"name": "mine"}',
    "binary": b"\xff\xfe\x00",
    "deep": b"[" * 100_000,
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED.keys())
def test_damaged_config(content: bytes, tmp_path: Path) -> None:
    good, damaged = make_run(tmp_path), make_run(tmp_path)
    (damaged.path / CONFIG).write_bytes(content)
    assert str(damaged.path / CONFIG) in refuse(tmp_path, damaged.path)
    assert find_run(tmp_path) == good


def test_config_that_is_a_folder_is_passed_over(tmp_path: Path) -> None:
    good = make_run(tmp_path)
    (tmp_path / "other" / CONFIG).mkdir(parents=True)
    assert find_run(tmp_path) == good


def test_config_of_a_later_version(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    content = json.loads((run.path / CONFIG).read_text())
    (run.path / CONFIG).write_text(json.dumps(content | {"schema_version": 2}))
    assert "schema_version" in refuse(tmp_path, run.path)


@pytest.mark.parametrize("kind", ["cv", "train"])
def test_lost_model_file(kind: str, tmp_path: Path) -> None:
    run = make_run(tmp_path, kind)
    lost = run.member_paths()[-1] / MODEL
    lost.unlink()
    line = refuse(tmp_path, run.path)
    assert str(lost) in line
    assert f"pneumocli {kind}" in line


@pytest.mark.parametrize("kind", ["cv", "train"])
def test_lost_decision(kind: str, tmp_path: Path) -> None:
    run = make_run(tmp_path, kind)
    (run.path / DECISION).unlink()
    line = refuse(tmp_path, run.path)
    assert str(run.path / DECISION) in line
    assert f"pneumocli {kind}" in line


@pytest.mark.parametrize("kind", ["cv", "train"])
def test_unfinished_run_says_how_to_finish_it(kind: str, tmp_path: Path) -> None:
    run = create_run(tmp_path, make_record(kind))
    with pytest.raises(RunError, match=rf"not complete .*pneumocli {kind}"):
        check_complete(run)


def test_finished_folds_are_the_folders_that_are_there(tmp_path: Path) -> None:
    run = create_run(tmp_path, make_record(folds=4))
    assert run.finished_folds() == []
    for fold in (1, 3):
        run.fold_path(fold).mkdir()
    assert run.finished_folds() == [1, 3]


def test_the_same_work_is_gone_on_with(tmp_path: Path) -> None:
    stopped = create_run(tmp_path, make_record())
    assert find_unfinished(tmp_path, make_record()) == stopped
    assert find_unfinished(tmp_path, make_record(), stopped.name) == stopped
    assert find_unfinished(tmp_path, make_record(), "another") is None


def test_the_newest_stopped_run_is_gone_on_with(tmp_path: Path) -> None:
    create_run(tmp_path, make_record())
    newest = create_run(tmp_path, make_record())
    make_run(tmp_path)
    assert find_unfinished(tmp_path, make_record()) == newest


OTHER_WORK = {
    "kind": {"kind": "train", "folds": None},
    "folds": {"folds": 3},
    "seed": {"settings": TrainConfig(seed=1)},
    "setting": {"settings": TrainConfig(batch_size=16)},
    "images": {"data": DATA.model_copy(update={"digest": "2" * 64})},
    "groups": {"groups": GROUPS.model_copy(update={"digest": "6" * 64})},
    "groups file": {
        "groups": GROUPS.model_copy(update={"file": FileRecord(name="patients.csv", sha256="7" * 64)})
    },
    "no groups file": {"groups": GROUPS.model_copy(update={"file": None})},
    "weights": {"weights": WeightsRecord(name="weights.h5", sha256="3" * 64)},
    "preparation": {"preparation": 2},
    "library": {"versions": {"pneumocli": "0.2.0"}},
}


@pytest.mark.parametrize("changes", OTHER_WORK.values(), ids=OTHER_WORK.keys())
def test_other_work_is_not_gone_on_with(changes: dict[str, Any], tmp_path: Path) -> None:
    create_run(tmp_path, make_record())
    assert find_unfinished(tmp_path, make_record(**changes)) is None


def test_finished_work_is_not_gone_on_with(tmp_path: Path) -> None:
    make_run(tmp_path)
    assert find_unfinished(tmp_path, make_record()) is None


def test_folder_takes_its_name_when_it_is_whole(tmp_path: Path) -> None:
    with filling(tmp_path / "fold_1") as partial:
        (partial / "a").write_text("a")
        assert not (tmp_path / "fold_1").exists()
    assert [path.name for path in tmp_path.rglob("*")] == ["fold_1", "a"]


def test_nothing_stays_of_a_folder_that_failed(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), filling(tmp_path / "fold_1") as partial:
        (partial / "a").write_text("a")
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())
