"""`pneumocli ensemble`: the folds as one file."""

from pathlib import Path

from commandline import fail, succeed

from pneumocli.core.runs import ENSEMBLE, Run

pytest_plugins = ["trained"]


def test_ensemble_shows_all_members(cv_copy: Run, data_file: Path) -> None:
    text = succeed("ensemble", "--data", data_file).stdout
    for name in ("fold 1", "fold 2", "fold 3", "ensemble"):
        assert name in text
    assert (cv_copy.path / ENSEMBLE).is_file()


def test_evaluate_and_ensemble_show_the_same_figures(cv_copy: Run, data_file: Path) -> None:
    joined = succeed("ensemble", "--data", data_file, "--format", "json").stdout
    assert succeed("evaluate", "--data", data_file, "--format", "json").stdout == joined
    assert succeed("evaluate", cv_copy.name, "--data", data_file, "--format", "json").stdout == joined


def test_ensemble_of_a_single_model(train_copy: Run, data_file: Path) -> None:
    for arguments in (("ensemble", train_copy.path), ("evaluate", "--ensemble", train_copy.path)):
        assert "pneumocli cv" in fail(*arguments, "--data", data_file)
