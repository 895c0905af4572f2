"""Every JSON that the tool prints or writes says which form it has."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
import typer.main
from commandline import succeed

from pneumocli.cli import app
from pneumocli.core.artefact import CARD
from pneumocli.core.evaluation import Evaluation, build_ensemble
from pneumocli.core.rates import Rate, keep_rates
from pneumocli.core.runs import Run

pytest_plugins = ["trained"]

COMMANDS: Any = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def check(content: Any) -> None:
    assert isinstance(content, dict)
    assert isinstance(content["schema_version"], int)


def test_files_of_runs_and_of_the_cache(
    evaluated: tuple[Run, Evaluation], train_run: Run, bank: Any, tmp_path: Path
) -> None:
    keep_rates(tmp_path / "rates.json", {"x": Rate(0.0, 1.0)}, {})
    folders = (evaluated[0].path, train_run.path, bank.directory, tmp_path)
    files = [path for folder in folders for path in folder.rglob("*.json")]
    assert {"config.json", "history.json", "decision.json", "metrics_test.json", "rates.json"} <= {
        path.name for path in files
    }
    for path in files:
        check(json.loads(path.read_text()))


def test_card_of_a_model_file(cv_copy: Run) -> None:
    _, path = build_ensemble(cv_copy)
    with zipfile.ZipFile(path) as file:
        check(json.loads(file.read(CARD)))


def test_what_commands_print(
    evaluated: tuple[Run, Evaluation], data_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PNEUMOCLI_WEIGHTS", "none")
    run, _ = evaluated
    runs = run.path.parent
    lines: list[tuple[object, ...]] = [
        ("runs", runs),
        ("doctor",),
        ("fetch", "--from", data_file),
        ("cv", "--dry-run", "--data", data_file, "--weights", "none"),
        ("train", "--dry-run", "--data", data_file, "--weights", "none"),
        ("evaluate", run.path, "--data", data_file),
        ("compare", run.path, run.path),
    ]
    for line in lines:
        check(json.loads(succeed(*line, "--format", "json").stdout))


FIGURES = ("fetch", "train", "cv", "evaluate", "ensemble", "predict", "compare", "runs", "doctor")


@pytest.mark.parametrize("name", FIGURES)
def test_every_command_of_figures_prints_json_too(name: str) -> None:
    options = {option for parameter in COMMANDS[name].params for option in parameter.opts}
    assert "--format" in options
