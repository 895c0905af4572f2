"""`pneumocli runs`: what there is, how far it is, and what it is worth."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from commandline import run, succeed
from small import FOLDS, copy_run

from pneumocli.core.evaluation import Evaluation
from pneumocli.core.figures import read_figures
from pneumocli.core.files import write_json
from pneumocli.core.runs import CONFIG, DECISION, MODEL, Run, holding
from pneumocli.core.scores import OUT_OF_FOLD

pytest_plugins = ["trained"]


def list_entries(directory: Path) -> dict[str, Any]:
    content = json.loads(succeed("runs", directory, "--format", "json").stdout)
    assert content["schema_version"] == 1
    assert content["directory"] == str(directory)
    return {entry["name"]: entry for entry in content["runs"]}


def stop(run: Run, fold: int) -> None:
    """Leave a cross-validation as it is when it is stopped in a fold."""
    run.last_file.unlink()
    for later in range(fold, FOLDS + 1):
        run.fold_path(later).rename(run.path / f".fold_{later}.1.partial")


def test_states_and_folds(cv_run: Run, train_run: Run, tmp_path: Path) -> None:
    for name in ("whole", "stopped", "held", "lost", "odd"):
        copy_run(cv_run, tmp_path, name)
    copy_run(train_run, tmp_path, "single")
    (tmp_path / "no run").mkdir()
    stop(Run(tmp_path / "stopped", cv_run.record), 3)
    held = Run(tmp_path / "held", cv_run.record)
    stop(held, 2)
    (tmp_path / "lost" / "fold_2" / MODEL).unlink()
    (tmp_path / "odd" / CONFIG).write_text("{")
    with holding(held):
        found = list_entries(tmp_path)
    states = {name: (entry["state"], entry["finished"]) for name, entry in found.items()}
    assert states == {
        "whole": ("complete", FOLDS),
        "stopped": ("stopped", 2),
        "held": ("being trained", 1),
        "lost": ("damaged", FOLDS),
        "odd": ("damaged", None),
        "single": ("complete", None),
    }
    assert "fold_2" in found["lost"]["reason"]
    assert "config.json" in found["odd"]["reason"]
    assert list_entries(tmp_path)["held"]["state"] == "stopped"


@pytest.mark.parametrize("part", [DECISION, f"metrics_{OUT_OF_FOLD}.json"])
def test_a_part_that_cannot_be_read_is_damage(part: str, cv_copy: Run) -> None:
    (cv_copy.path / part).write_text("{}")
    (entry,) = list_entries(cv_copy.path.parent).values()
    assert entry["state"] == "damaged"
    assert part in entry["reason"]


def test_settings_and_figures(evaluated: tuple[Run, Evaluation], train_run: Run, tmp_path: Path) -> None:
    run, evaluation = evaluated
    copy_run(run, tmp_path, "cv")
    copy_run(train_run, tmp_path, "train")
    found = list_entries(tmp_path)
    record = run.record
    assert found["cv"]["kind"] == "cv"
    assert found["cv"]["recipe"] == record.settings.recipe
    assert found["cv"]["seed"] == record.settings.seed
    assert found["cv"]["data"] == record.data.name
    assert found["cv"]["created"] == record.created
    pooled = read_figures(run.path, OUT_OF_FOLD).models["pooled"]
    assert (found["cv"]["on"], found["cv"]["auc"]) == (OUT_OF_FOLD, pooled.roc_auc)
    ensemble = evaluation.figures.models["ensemble"]
    assert found["cv"]["test_auc"] == ensemble.roc_auc
    at_rule = evaluation.figures.at_rule
    assert at_rule is not None
    assert found["cv"]["test_accuracy"] == at_rule["ensemble"].accuracy
    assert found["train"]["on"] == "val"
    assert found["train"]["auc"] == next(iter(read_figures(train_run.path, "val").models.values())).roc_auc
    assert found["train"]["test_auc"] is None


def test_accuracy_at_another_rule_is_not_told_as_that_of_the_runs_own(
    evaluated: tuple[Run, Evaluation], tmp_path: Path
) -> None:
    run = copy_run(evaluated[0], tmp_path, "cv")
    path = run.path / "metrics_test.json"
    content = json.loads(path.read_text())
    content["decision"] |= {"rule": "sensitivity:1.0", "threshold": 0.01}
    path.write_text(json.dumps(content))
    found = list_entries(tmp_path)["cv"]
    assert found["test_accuracy"] is None
    assert found["test_auc"] == evaluated[1].figures.models["ensemble"].roc_auc


def test_oldest_first(cv_run: Run, tmp_path: Path) -> None:
    for name, year in (("b", 2024), ("a", 2026), ("c", 2025)):
        copy = copy_run(cv_run, tmp_path, name)
        record = copy.record.model_copy(update={"created": f"{year}-01-01T00:00:00+00:00"})
        write_json(copy.path / CONFIG, record.model_dump(mode="json"))
    assert list(list_entries(tmp_path)) == ["b", "c", "a"]


@pytest.mark.parametrize("columns", ["80", "120"])
def test_table_keeps_every_number_and_word(
    columns: str, evaluated: tuple[Run, Evaluation], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    run, evaluation = evaluated
    names = ("cv-1", "a-long-name-that-somebody-gave-to-a-run")
    for name in names:
        copy_run(run, tmp_path, name)
    shown = succeed("runs", tmp_path).stdout
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= int(columns)
    day = run.record.created[:4]
    for part in ("cv-1", "complete", f"{FOLDS}/{FOLDS}", "original", day):
        assert part in shown
    assert f"{evaluation.figures.models['ensemble'].roc_auc:.4f}" in shown
    assert "".join(shown.split()).count("a-long-name") == 2


def test_directory_by_environment_and_default(cv_copy: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PNEUMOCLI_RUNS", str(cv_copy.path.parent))
    assert cv_copy.name in succeed("runs").stdout
    monkeypatch.delenv("PNEUMOCLI_RUNS")
    monkeypatch.chdir(cv_copy.path.parent.parent)
    assert cv_copy.name in succeed("runs").stdout


def test_no_runs_are_no_error(tmp_path: Path) -> None:
    result = succeed("runs", tmp_path)
    assert result.stdout == ""
    assert "no runs" in result.stderr
    assert list_entries(tmp_path) == {}


def test_not_a_directory_of_runs(cv_copy: Run, tmp_path: Path) -> None:
    for place, reason in ((tmp_path / "missing", "not a directory"), (cv_copy.path, "is a run folder")):
        result = run("runs", place)
        assert result.exit_code == 1
        assert reason in result.stderr


def test_listing_changes_nothing(cv_copy: Run) -> None:
    stop(cv_copy, 2)
    before = sorted(os.walk(cv_copy.path.parent))
    succeed("runs", cv_copy.path.parent)
    assert sorted(os.walk(cv_copy.path.parent)) == before
