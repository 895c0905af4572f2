"""`pneumocli cv --fold` and the `ensemble` that completes its run."""

import json
from pathlib import Path

import pytest
from commandline import SHORT, fail, list_runs_made, succeed

from pneumocli.core.figures import read_figures
from pneumocli.core.runs import CONFIG, ENSEMBLE, INPUTS, open_run

pytest_plugins = ["trained"]

FOLD = ("cv", "--folds", "2", "--name", "shared", *SHORT)


def test_folds_one_by_one_and_the_ensemble_that_completes_them(
    data_file: Path, tmp_path: Path, tiny_commands: None
) -> None:
    first = succeed(*FOLD, "--fold", "2", "--data", data_file)
    assert "fold 2" in first.stdout and "fold 1" not in first.stdout
    (path,) = list_runs_made(tmp_path)
    assert (
        f"it lacks fold 1; when all folds are there, complete it with: pneumocli ensemble {path}"
        in first.stderr
    )
    run = open_run(path)
    assert run.finished_folds() == [2]
    # What lacks a fold is refused, and says which.
    assert "lacks fold 1;" in fail("ensemble", "shared", "--data", data_file)
    assert not run.is_complete
    # A fold that is there is not trained again.
    before = (run.fold_path(2) / "model.keras").stat().st_mtime_ns
    succeed(*FOLD, "--fold", "2", "--data", data_file)
    assert (run.fold_path(2) / "model.keras").stat().st_mtime_ns == before
    # The last one with --resume, which needs no options.
    succeed("cv", "--resume", path, "--fold", "1", "--quiet")
    assert not run.is_complete and (path / INPUTS).exists()
    figures = json.loads(succeed("ensemble", "shared", "--data", data_file, "--format", "json").stdout)
    assert list(figures["models"]) == ["fold 1", "fold 2", "ensemble"]
    assert run.is_complete and (path / ENSEMBLE).is_file()
    assert list(read_figures(path, "out_of_fold").models) == ["fold 1", "fold 2", "pooled"]
    assert not [hidden.name for hidden in path.iterdir() if hidden.name.startswith((".", "checkpoint"))]
    assert (path / "roc_out_of_fold.png").is_file() and (path / "learning_curves.png").is_file()


def test_the_ensemble_is_scored_on_the_data_of_its_folds(
    data_file: Path, tmp_path: Path, tiny_commands: None
) -> None:
    for fold in ("1", "2"):
        said = succeed(*FOLD, "--fold", fold, "--data", data_file).stderr
    command = said.rpartition("complete it with: pneumocli ")[2].split()
    figures = json.loads(succeed(*command, "--format", "json").stdout)
    assert (figures["split"], figures["data"]) == ("test", data_file.name)


def test_a_run_is_not_completed_with_other_data(
    data_file: Path, tmp_path: Path, tiny_commands: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for fold in ("1", "2"):
        succeed(*FOLD, "--fold", fold, "--data", data_file, "--quiet")
    (path,) = list_runs_made(tmp_path)
    (path / INPUTS).unlink()
    record = json.loads((path / CONFIG).read_text())
    record["data"]["digest"] = "0" * 64
    (path / CONFIG).write_text(json.dumps(record))
    monkeypatch.setenv("PNEUMOCLI_DATA", str(data_file))
    assert "was begun with other images" in fail("ensemble", path)
    assert not open_run(path).is_complete


def test_what_goes_with_a_fold(data_file: Path, tmp_path: Path) -> None:
    line = fail("cv", "--fold", "1", "--data", data_file, exit_code=2)
    assert line == "--fold needs the --name of the run, the same for all its folds"
    assert "--jobs" in fail(*FOLD, "--fold", "1", "--jobs", "2", "--data", data_file, exit_code=2)
    assert "from 1 to 2" in fail(*FOLD, "--fold", "3", "--data", data_file, exit_code=2)
    assert list_runs_made(tmp_path) == []
