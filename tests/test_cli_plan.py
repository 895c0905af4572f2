"""`--dry-run` and `--config` of the commands that train."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commandline import SHORT, fail, list_runs_made, run, succeed
from small import FOLDS

from pneumocli.core.config import RECIPES
from pneumocli.core.files import write_json
from pneumocli.core.rates import read_rates
from pneumocli.core.runs import CONFIG, Run, open_run

pytest_plugins = ["trained"]


def list_files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def foresee(command: str, *options: object) -> Any:
    content = json.loads(succeed(command, "--dry-run", "--format", "json", *options).stdout)
    assert content["schema_version"] == 1
    assert content["kind"] == command
    return content


def edit(config: Path, change: Any) -> None:
    content = json.loads(config.read_text())
    change(content)
    write_json(config, content)


# What is going to be done


@pytest.mark.parametrize("command", ["train", "cv"])
def test_a_dry_run_shows_the_plan_and_writes_nothing(command: str, data_file: Path, tmp_path: Path) -> None:
    before = list_files(tmp_path)
    shown = succeed(command, "--dry-run", "--data", data_file, *SHORT)
    for part in (
        "small.npz",
        "24 images",
        "the head alone, 1 epoch",
        "the last 6 layers",
        "float32",
        "GB on",
    ):
        assert part in shown.stdout
    assert ("held out" in shown.stdout) is (command == "cv")
    assert list_files(tmp_path) == before


def test_images_larger_than_the_network_s_input_are_told(data_file: Path, tmp_path: Path) -> None:
    with np.load(data_file) as arrays:
        large = {
            name: np.kron(array, np.ones((1, 2, 2), np.uint8)) if name.endswith("images") else array
            for name, array in arrays.items()
        }
    np.savez(tmp_path / "large.npz", **large)
    told = succeed("cv", "--dry-run", "--data", tmp_path / "large.npz", *SHORT).stderr
    assert "images of 56 px are shrunk to 32 px; --image-size 56 would not shrink them" in told
    assert "are shrunk" not in succeed("cv", "--dry-run", "--data", data_file, *SHORT).stderr


def test_a_dry_run_as_json(data_file: Path, tmp_path: Path) -> None:
    content = foresee("cv", "--data", data_file, *SHORT, "--folds", 4, "--views", 2, "--flip")
    assert [
        sum(fold[f"held_out_{name}"] for name in ("normal", "pneumonia")) for fold in content["folds"]
    ] == [6] * 4
    assert content["config"]["views"] == 2
    assert content["data"]["name"] == "small.npz"
    assert sum(content["splits"]["train"]) == 24
    assert content["feature_bytes"] > 0
    assert content["cache_free"] > 0
    assert content["time"] is None
    without = foresee("cv", "--data", data_file, *SHORT, "--no-cache")
    assert (without["feature_bytes"], without["cache"]) == (0, None)


def test_a_dry_run_downloads_nothing(data_file: Path) -> None:
    assert "pneumocli fetch" in fail("cv", "--dry-run", "--weights", "none")
    assert "pneumocli fetch" in fail("cv", "--dry-run", "--data", data_file)


def test_a_dry_run_says_what_would_stop_the_run(cv_copy: Run, data_file: Path) -> None:
    given = ("cv", "--dry-run", "--data", data_file, *SHORT)
    assert "is there already" in fail(*given, "--name", cv_copy.name)
    assert "cache may take" in fail(*given, "--cache-limit", "0")


@pytest.mark.usefixtures("tiny_commands")
def test_the_second_run_knows_how_long_it_takes(data_file: Path, tmp_path: Path) -> None:
    options = ("--data", data_file, *SHORT, "--batch-size", 2, "--head-epochs", 3, "--no-cache")
    first = succeed("train", *options)
    assert "expected: not known yet" in first.stderr
    kept = read_rates(tmp_path / "cache" / "rates.json")
    assert kept.steps
    second = succeed("train", *options, "--seed", 1)
    assert "expected: " in second.stderr
    assert json.loads((tmp_path / "cache" / "rates.json").read_text())["schema_version"] == 1


# A run once more


@pytest.fixture
def trained_run(cv_copy: Run) -> Run:
    """A run that says it was trained on the data file, whose images it was trained on."""

    def change(content: Any) -> None:
        content["data"].update(name="small.npz", synthetic=False)
        content["settings"].update(seed=3, dropout=0.25)

    edit(cv_copy.path / CONFIG, change)
    return open_run(cv_copy.path)


@pytest.mark.usefixtures("tiny_commands")
def test_a_run_is_repeated_from_its_config(
    trained_run: Run, data_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PNEUMOCLI_DATA", str(data_file))
    result = succeed("cv", "--config", trained_run.path / CONFIG, "--name", "second")
    assert "than in that run" not in result.stderr
    record, again = trained_run.record, open_run(tmp_path / "runs" / "second").record
    assert (again.settings, again.folds, again.weights) == (record.settings, record.folds, record.weights)
    assert again.data.digest == record.data.digest


def test_options_beside_a_config_win(trained_run: Run, data_file: Path) -> None:
    config = trained_run.path / CONFIG
    given = ("--config", config, "--data", data_file)
    found = foresee("cv", *given)
    assert (len(found["folds"]), found["config"]) == (
        FOLDS,
        trained_run.record.settings.model_dump(mode="json"),
    )
    found = foresee("cv", *given, "--dropout", 0.5, "--folds", 4, "--no-early-stopping")
    changed = trained_run.record.settings.model_copy(update={"dropout": 0.5, "early_stopping": False})
    assert (len(found["folds"]), found["config"]) == (4, changed.model_dump(mode="json"))
    found = foresee("cv", *given, "--recipe", "robust", "--head-epochs", 3)
    wanted = RECIPES["robust"].model_copy(update={"head_epochs": 3, "seed": 3})
    assert found["config"] == wanted.model_dump(mode="json")


def test_the_folder_stands_for_its_config(trained_run: Run, data_file: Path) -> None:
    assert foresee("cv", "--config", trained_run.path, "--data", data_file)["config"]["seed"] == 3


def test_a_run_on_drawn_images_is_repeated_on_drawn_images(
    data_file: Path, cv_copy: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PNEUMOCLI_DATA", str(data_file))
    # The tests' drawn images are fewer than those of the command.
    assert "is not what that run was trained on" in fail("cv", "--dry-run", "--config", cv_copy.path)
    found = foresee("cv", "--config", cv_copy.path, "--data", "synthetic")
    assert found["data"]["synthetic"]
    assert len(found["folds"]) == FOLDS


def test_other_data_and_weights_are_refused_unless_they_are_named(
    trained_run: Run, data_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ("cv", "--dry-run", "--config", trained_run.path / CONFIG)
    monkeypatch.setenv("PNEUMOCLI_DATA", "synthetic")
    assert "is not what that run was trained on, small.npz" in fail(*given)
    result = succeed(*given, "--data", "synthetic")
    assert "other data than in that run" in result.stderr
    edit(
        trained_run.path / CONFIG,
        lambda content: content["weights"].update(name="w.h5", sha256="0" * 64),
    )
    monkeypatch.setenv("PNEUMOCLI_WEIGHTS", "none")
    assert "is not what that run began with, w.h5" in fail(*given, "--data", data_file)
    assert (
        "other weights than in that run" in succeed(*given, "--data", data_file, "--weights", "none").stderr
    )


def test_groups_of_a_file_have_to_be_named(trained_run: Run, data_file: Path, tmp_path: Path) -> None:
    edit(
        trained_run.path / CONFIG,
        lambda content: content["groups"].update(file={"name": "patients.csv", "sha256": "0" * 64}),
    )
    given = ("cv", "--dry-run", "--config", trained_run.path, "--data", data_file)
    assert "patients.csv; name the file with --groups" in fail(*given)
    (tmp_path / "mine.csv").write_text("index,group\n1,a\n2,a\n")
    result = succeed(*given, "--groups", tmp_path / "mine.csv")
    assert "other groups than in that run: mine.csv, not patients.csv" in result.stderr


def test_other_versions_are_told(trained_run: Run, data_file: Path) -> None:
    edit(trained_run.path / CONFIG, lambda content: content["versions"].update(keras="1.0"))
    result = succeed("cv", "--dry-run", "--config", trained_run.path, "--data", data_file)
    assert "other versions than in that run: keras " in result.stderr
    assert "not 1.0" in result.stderr


FAULTS: dict[str, tuple[Any, int, str]] = {
    "empty": (lambda path: path.write_text(""), 1, "is damaged: it is not JSON"),
    "cut off": (lambda path: path.write_text(path.read_text()[:-40]), 1, "is damaged"),
    "not text": (lambda path: path.write_bytes(os.urandom(64) + b"\xff\xfe"), 1, "is damaged"),
    "a list": (lambda path: path.write_text("[]"), 1, "is not a run's config.json"),
    "figures": (
        lambda path: path.write_text('{"schema_version": 1, "run": "x"}'),
        1,
        "is not a run's config",
    ),
    "gone": (lambda path: path.unlink(), 1, "does not exist"),
    "unknown setting": (
        lambda path: edit(path, lambda content: content["settings"].update(magic=1)),
        2,
        "does not know: magic",
    ),
    "bad setting": (
        lambda path: edit(path, lambda content: content["settings"].update(dropout=7)),
        2,
        "setting dropout",
    ),
    "a part missing": (lambda path: edit(path, lambda content: content.pop("data")), 1, "data: "),
    "a part too many": (lambda path: edit(path, lambda content: content.update(more=1)), 1, "more: "),
}


@pytest.mark.parametrize(("spoil", "exit_code", "reason"), FAULTS.values(), ids=FAULTS.keys())
def test_a_config_that_cannot_be_used(
    spoil: Any, exit_code: int, reason: str, cv_copy: Run, data_file: Path, tmp_path: Path
) -> None:
    config = cv_copy.path / CONFIG
    spoil(config)
    line = fail("cv", "--config", config, "--data", data_file, exit_code=exit_code)
    assert reason in line
    assert str(config) in line


def test_a_config_of_the_other_kind(cv_copy: Run, train_copy: Run, tmp_path: Path) -> None:
    for command, other, made in (("train", "cv", cv_copy), ("cv", "train", train_copy)):
        line = fail(command, "--config", made.path / CONFIG)
        assert f"pneumocli {other} --config" in line
    assert len(list_runs_made(tmp_path)) == 2


def test_bad_settings_beside_a_config(cv_copy: Run) -> None:
    assert "dropout" in fail("cv", "--config", cv_copy.path, "--dropout", 2, exit_code=2)
    assert "no recipe" in fail("cv", "--config", cv_copy.path, "--recipe", "x", exit_code=2)
    assert run("cv", "--config", cv_copy.path, "--folds", "x").exit_code == 2
