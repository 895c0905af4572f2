"""The command line as a whole: help, the chain of commands, streams, errors and exit codes."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.main
from commandline import SHORT, fail, list_pictures, list_runs_made, name_pictures, run, succeed

from pneumocli import DISCLAIMER
from pneumocli.cli import app
from pneumocli.core import experiments
from pneumocli.core.album import LEARNING_CURVES
from pneumocli.core.artefact import read_card
from pneumocli.core.calibration import apply_temperature
from pneumocli.core.decision import read_decision
from pneumocli.core.errors import PneumoError
from pneumocli.core.runs import CONFIG, DECISION, ENSEMBLE, MODEL, Run, open_run
from pneumocli.core.scores import OUT_OF_FOLD, read_scores
from pneumocli.report.terminal import SYNTHETIC_NOTE

pytest_plugins = ["trained"]


COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


@pytest.mark.parametrize("columns", ["80", "200"])
@pytest.mark.parametrize("name", COMMANDS)
def test_help_names_every_option(name: str, columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    text = succeed(name, "--help").stdout
    assert "…" not in text
    for parameter in COMMANDS[name].params:
        for option in parameter.opts:
            if option.startswith("--"):
                named = re.search(rf"(?<![\w-]){option}(?![\w-])", text) is not None
                assert named != getattr(parameter, "hidden", False), option


def test_train_hides_the_one_setting_that_it_refuses() -> None:
    hidden = [parameter.name for parameter in COMMANDS["train"].params if getattr(parameter, "hidden", False)]
    assert hidden == ["repeats"]


def test_help_names_every_command_and_what_the_tool_is_not_for() -> None:
    text = succeed("--help").stdout
    assert DISCLAIMER in text
    for name in ("fetch", "train", "cv", "evaluate", "ensemble", "predict", "compare"):
        assert re.search(rf"│ {name} ", text)


def test_no_command_shows_the_help() -> None:
    assert "Usage: " in run().output


@pytest.mark.usefixtures("tiny_commands")
def test_cross_validate_then_join_then_evaluate_then_predict(
    data_file: Path, xrays: list[Path], tmp_path: Path
) -> None:
    runs_dir = tmp_path / "runs"
    result = succeed("cv", "--folds", "2", "--data", data_file, *SHORT, "--format", "json")
    content = json.loads(result.stdout)
    assert content == json.loads((runs_dir / "cv-1" / "metrics_out_of_fold.json").read_text())
    assert list(content["models"]) == ["fold 1", "fold 2", "pooled"]
    assert set(content["folds"]) == {"roc_auc", "accuracy", "f1", "sensitivity", "specificity"}
    assert content["disclaimer"] == DISCLAIMER
    assert DISCLAIMER in result.stderr
    assert f"run: {runs_dir / 'cv-1'}" in result.stderr
    assert "small.npz" in result.stderr
    assert open_run(runs_dir / "cv-1").record.settings.head_epochs == 1

    result = succeed("ensemble", "--data", data_file, "--format", "json")
    joined = json.loads(result.stdout)
    assert list(joined["models"]) == ["fold 1", "fold 2", "ensemble"]
    assert str(runs_dir / "cv-1" / ENSEMBLE) in result.stderr
    assert DISCLAIMER in result.stderr
    assert read_card(runs_dir / "cv-1" / ENSEMBLE).members == 2
    drawn = {LEARNING_CURVES, *name_pictures(OUT_OF_FOLD), *name_pictures("test")}
    assert list_pictures(runs_dir / "cv-1") == drawn

    result = succeed("evaluate", "--ensemble", runs_dir, "--data", data_file, "--format", "json")
    scored = json.loads(result.stdout)
    assert scored == json.loads((runs_dir / "cv-1" / "metrics_test.json").read_text())
    assert scored == joined
    assert f"run: {runs_dir / 'cv-1'}" in result.stderr
    assert DISCLAIMER in result.stderr

    result = succeed("predict", *xrays, "--format", "json")
    answers = json.loads(result.stdout)
    assert answers["disclaimer"] == DISCLAIMER
    assert answers["model"] == "cv-1, ensemble"
    assert [row["path"] for row in answers["predictions"]] == [str(path) for path in xrays]
    scores = np.float32([row["score"] for row in answers["predictions"]])
    assert scores.tobytes() == read_scores(runs_dir / "cv-1", "test").y_score.tobytes()
    decision = read_decision(open_run(runs_dir / "cv-1"))
    assert scored["decision"] == content["decision"] == decision.model_dump()
    for name in ("rule", "threshold", "temperature", "source"):
        assert answers[name] == getattr(decision, name)
    probability = [row["probability"] for row in answers["predictions"]]
    assert probability == apply_temperature(scores, decision.temperature).tolist()
    assert DISCLAIMER in result.stderr


@pytest.mark.parametrize(
    "command",
    [("evaluate", "--data", "{data}"), ("ensemble", "--data", "{data}"), ("predict", "{image}")],
)
def test_nothing_but_json_on_stdout_and_results_only_when_quiet(
    command: tuple[str, ...], cv_copy: Run, data_file: Path, xrays: list[Path]
) -> None:
    arguments = [word.format(data=data_file, image=xrays[0]) for word in command]
    result = succeed(*arguments, "--format", "json", "--quiet")
    json.loads(result.stdout)
    assert result.stderr.splitlines() == [SYNTHETIC_NOTE, DISCLAIMER]


@pytest.mark.parametrize("command", ["evaluate", "ensemble", "predict"])
def test_no_trained_model_yet(command: str, tmp_path: Path) -> None:
    image = ("xray.png",) if command == "predict" else ()
    line = fail(command, *image)
    assert str(tmp_path / "runs") in line
    assert "pneumocli cv" in line
    assert not list_runs_made(tmp_path)


@pytest.mark.parametrize("command", ["evaluate", "ensemble", "predict"])
def test_run_that_is_not_there(command: str, tmp_path: Path) -> None:
    words = ("xray.png", "--model") if command == "predict" else ()
    assert "nothing-here" in fail(command, *words, tmp_path / "nothing-here")


def lose_config(run: Run) -> Path:
    return run.path / CONFIG


def lose_figures(run: Run) -> Path:
    return run.last_file


def lose_model(run: Run) -> Path:
    return run.fold_path(2) / MODEL


def lose_decision(run: Run) -> Path:
    return run.path / DECISION


@pytest.mark.parametrize("command", ["evaluate", "ensemble", "predict"])
@pytest.mark.parametrize("lose", [lose_config, lose_decision, lose_figures, lose_model])
def test_run_with_a_part_missing(
    command: str, lose: Callable[[Run], Path], cv_copy: Run, tmp_path: Path
) -> None:
    lost = lose(cv_copy)
    lost.unlink()
    words = ("xray.png", "--model") if command == "predict" else ()
    line = fail(command, *words, cv_copy.path)
    assert str(cv_copy.path) in line
    # `ensemble` makes the figures of a run whose folds are all there, and needs its images for that.
    makes_it = (command, lose) == ("ensemble", lose_figures)
    assert ("begun with other images" if makes_it else lost.name) in line
    assert not (cv_copy.path / ENSEMBLE).exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("--nonsense",),
        ("nonsense",),
        ("train", "--nonsense"),
        ("train", "--batch-size", "many"),
        ("train", "--precision", "float8"),
        ("cv", "--folds", "three"),
        ("cv", "--jobs", "0"),
        ("train", "--groups", "patients.csv"),
        ("evaluate", "--split", "train"),
        ("evaluate", "--format", "xml"),
        ("evaluate", "--prevalence", "1.5"),
        ("evaluate", "--prevalence", "nan"),
        ("evaluate", "--prevalence", "half"),
        ("evaluate", "cv-1", "--ensemble", "runs"),
        ("ensemble", "one", "two"),
        ("predict",),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], tmp_path: Path) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert not list_runs_made(tmp_path)


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--folds", "three", "valid integer"),
        ("--folds", "1", "greater than or equal to 2"),
        ("--jobs", "0", "greater than or equal to 1"),
        ("--cache-limit", "much", "valid number"),
        ("--format", "xml", "'table', 'json'"),
    ],
)
def test_wrong_usage_tells_what_was_received(option: str, value: str, expected: str) -> None:
    result = run("cv", option, value)
    assert result.exit_code == 2
    told = " ".join(result.stderr.replace("│", " ").split())
    assert f"Invalid value for '{option}'" in told
    assert expected in told
    assert told.count(repr(value)) == 1 if value == "xml" else f"; received '{value}'" in told


def raise_error(error: BaseException) -> Callable[..., Any]:
    def fail_at_once(*arguments: Any, **options: Any) -> Any:
        raise error

    return fail_at_once


def test_interruption(monkeypatch: pytest.MonkeyPatch, data_file: Path) -> None:
    monkeypatch.setattr(experiments, "train_single", raise_error(KeyboardInterrupt()))
    result = run("train", "--data", data_file, "--weights", "none", "--quiet")
    assert result.exit_code == 130
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1


def test_full_disk(monkeypatch: pytest.MonkeyPatch, data_file: Path) -> None:
    error = OSError(28, "No space left on device", "/somewhere/model.keras")
    monkeypatch.setattr(experiments, "train_single", raise_error(error))
    line = fail("train", "--data", data_file, "--weights", "none")
    assert "No space left on device" in line
    assert "/somewhere/model.keras" in line


def test_error_comes_last_after_the_talk(monkeypatch: pytest.MonkeyPatch, data_file: Path) -> None:
    monkeypatch.setattr(experiments, "train_single", raise_error(PneumoError("it is broken; mend it")))
    result = run("train", "--data", data_file, "--weights", "none")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == "error: it is broken; mend it"


def test_fault_of_the_program_is_not_hidden(monkeypatch: pytest.MonkeyPatch, data_file: Path) -> None:
    monkeypatch.setattr(experiments, "train_single", raise_error(ZeroDivisionError()))
    assert isinstance(run("train", "--data", data_file, "--weights", "none").exception, ZeroDivisionError)
