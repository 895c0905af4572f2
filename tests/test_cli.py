"""The command line: options to configuration, results to stdout, errors to one line and an exit code."""

import json
import re
import shlex
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import keras
import numpy as np
import pytest
import typer.main
from pictures import draw_files, name_files
from PIL import Image
from pydantic.fields import FieldInfo
from small import copy_run
from typer.testing import CliRunner, Result

from pneumocli import DISCLAIMER
from pneumocli.cli import app
from pneumocli.core import experiments, fetch
from pneumocli.core.artefact import CARD, read_card
from pneumocli.core.calibration import apply_temperature
from pneumocli.core.config import DEFAULT_RECIPE, RECIPES, TrainConfig
from pneumocli.core.data import Dataset
from pneumocli.core.decision import read_decision
from pneumocli.core.errors import PneumoError
from pneumocli.core.figures import read_figures
from pneumocli.core.runs import CONFIG, DECISION, ENSEMBLE, EXTERNAL, MODEL, Run, open_run
from pneumocli.core.scores import OUT_OF_FOLD, read_scores
from pneumocli.core.synthetic import draw_dataset
from pneumocli.report.pictures import LEARNING_CURVES, PICTURES, read_pictures
from pneumocli.report.terminal import SYNTHETIC_NOTE

pytest_plugins = ["trained"]

COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
SMALL = shlex.split("--recipe original --weights none --image-size 32 --head-units 8 --tune-layers 6")
SHORT = (*SMALL, "--head-epochs", "1", "--tune-epochs", "1", "--precision", "float32")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def succeed(*arguments: object) -> Result:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result


def fail(*arguments: object, exit_code: int = 1) -> str:
    """The one line on stderr of a command that cannot work; nothing is on stdout."""
    result = run(*arguments, "--quiet")
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == exit_code, result.output
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    return line.removeprefix("error: ")


def list_runs_made(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "runs").iterdir()) if (tmp_path / "runs").exists() else []


# Help


@pytest.mark.parametrize("columns", ["80", "200"])
@pytest.mark.parametrize("name", COMMANDS)
def test_help_names_every_option(name: str, columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    text = succeed(name, "--help").stdout
    assert "…" not in text
    options = [option for parameter in COMMANDS[name].params for option in parameter.opts]
    for option in options:
        if option.startswith("--"):
            assert re.search(rf"(?<![\w-]){option}(?![\w-])", text), option


def test_help_names_every_command_and_what_the_tool_is_not_for() -> None:
    text = succeed("--help").stdout
    assert DISCLAIMER in text
    for name in ("fetch", "train", "cv", "evaluate", "ensemble", "predict", "compare"):
        assert re.search(rf"│ {name} ", text)


def test_no_command_shows_the_help() -> None:
    assert "Usage: " in run().output


# Options to configuration


class Recorder:
    """Takes the place of a function of the core, keeps what it is called with, and gives a run."""

    def __init__(self, given: Run) -> None:
        self.given = given
        self.arguments: tuple[Any, ...] = ()
        self.options: dict[str, Any] = {}
        self.backend: tuple[Any, ...] = ()

    def __call__(self, *arguments: Any, **options: Any) -> Run:
        self.arguments, self.options = arguments, options
        return self.given

    def load_backend(self, *arguments: Any) -> None:
        self.backend = arguments


@pytest.fixture
def recorded_cv(cv_run: Run, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder(cv_run)
    monkeypatch.setattr(experiments, "cross_validate", recorder)
    monkeypatch.setattr("pneumocli.core.backend.load_backend", recorder.load_backend)
    return recorder


@pytest.fixture
def recorded_train(train_run: Run, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder(train_run)
    monkeypatch.setattr(experiments, "train_single", recorder)
    monkeypatch.setattr("pneumocli.core.backend.load_backend", recorder.load_backend)
    return recorder


DEFAULTS = RECIPES[DEFAULT_RECIPE]


def choose_other(name: str, field: FieldInfo) -> Any:
    """A value of a setting that is not that of the default recipe."""
    kind, value = field.annotation, getattr(DEFAULTS, name)
    if get_origin(kind) in (Union, UnionType):
        (kind,) = (part for part in get_args(kind) if part is not NoneType)
    if kind is bool:
        return not value
    if kind is int:
        return (value or 40) + 1
    if kind is float:
        return 0.25 if value != 0.25 else 0.5
    if kind is str:
        return {"rule": "specificity:0.95"}[name]
    assert isinstance(kind, type), f"{name}: no other value is known for {kind}"
    return next(choice for choice in kind if choice != value)


SETTINGS = {name: field for name, field in TrainConfig.model_fields.items() if name != "recipe"}
OTHER = {name: choose_other(name, field) for name, field in SETTINGS.items()}


def write_options(settings: dict[str, Any]) -> list[str]:
    words: list[str] = []
    for name, value in settings.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            words += [f"--{flag}", str(value)]
    return words


def test_without_options_the_recipe_holds(recorded_train: Recorder, data_file: Path) -> None:
    succeed("train", "--data", data_file, "--weights", "none")
    assert recorded_train.arguments[2] == DEFAULTS


def test_every_setting_is_an_option_of_train(recorded_train: Recorder, data_file: Path) -> None:
    succeed("train", "--data", data_file, "--weights", "none", *write_options(OTHER))
    data, weights, config = recorded_train.arguments
    assert config == TrainConfig(recipe=DEFAULT_RECIPE, **OTHER)
    assert data.dataset.name == "small.npz"
    assert (weights.path, weights.record.sha256) == (None, None)


def test_every_setting_is_an_option_of_cv(recorded_cv: Recorder, data_file: Path) -> None:
    succeed("cv", "--data", data_file, "--weights", "none", "--folds", "7", *write_options(OTHER))
    _, _, config, folds = recorded_cv.arguments
    assert config == TrainConfig(recipe=DEFAULT_RECIPE, **OTHER)
    assert folds == 7


@pytest.mark.parametrize("name", SETTINGS)
def test_an_option_changes_its_setting_and_no_other(
    name: str, recorded_train: Recorder, data_file: Path
) -> None:
    changes = {name: OTHER[name]}
    succeed("train", "--data", data_file, "--weights", "none", *write_options(changes))
    assert recorded_train.arguments[2] == DEFAULTS.model_copy(update=changes)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_can_be_asked_for(name: str, recorded_train: Recorder, data_file: Path) -> None:
    succeed("train", "--data", data_file, "--weights", "none", "--recipe", name)
    assert recorded_train.arguments[2] == RECIPES[name]


def test_three_folds_by_default(recorded_cv: Recorder, data_file: Path) -> None:
    succeed("cv", "--data", data_file, "--weights", "none")
    assert recorded_cv.arguments[3] == 3


def test_groups_of_a_file_reach_the_folds(recorded_cv: Recorder, data_file: Path, tmp_path: Path) -> None:
    groups = tmp_path / "patients.csv"
    groups.write_text("index,group\n1,a\n2,a\n5,b\n7,a\n")
    result = succeed("cv", "--data", data_file, "--weights", "none", "--groups", groups)
    data = recorded_cv.arguments[0]
    found = data.dataset.train.groups
    assert found[1] == found[2] == found[7]
    assert len(set(found.tolist())) == 22
    assert data.groups_file.name == "patients.csv"
    assert "groups: 1 of more than one image (3 images)" in result.stderr
    result = succeed("cv", "--data", data_file, "--weights", "none")
    assert recorded_cv.arguments[0].groups_file is None
    assert "groups:" not in result.stderr


def test_where_and_how_options(recorded_cv: Recorder, data_file: Path, tmp_path: Path) -> None:
    succeed("cv", "--data", data_file, "--weights", "none")
    assert recorded_cv.options["runs_dir"] == tmp_path / "runs"
    assert recorded_cv.options["name"] is None
    assert recorded_cv.options["jobs"] is None
    assert recorded_cv.options["cache"].directory.is_relative_to(tmp_path / "cache")
    options = ("--runs", tmp_path / "mine", "--name", "x", "--jobs", "2", "--no-cache")
    succeed("cv", "--data", data_file, "--weights", "none", *options)
    assert recorded_cv.options["runs_dir"] == tmp_path / "mine"
    assert recorded_cv.options["name"] == "x"
    assert recorded_cv.options["jobs"] == 2
    assert recorded_cv.options["cache"] is None
    succeed("cv", "--data", data_file, "--weights", "none", "--cache-limit", "1.5")
    assert recorded_cv.options["cache"].limit == 1_500_000_000


def test_deterministic_runs_say_so_to_the_backend(recorded_train: Recorder, data_file: Path) -> None:
    succeed("train", "--data", data_file, "--weights", "none")
    assert recorded_train.backend == (False,)
    succeed("train", "--data", data_file, "--weights", "none", "--deterministic")
    assert recorded_train.backend == (True,)


def test_data_and_weights_by_environment(
    recorded_train: Recorder, data_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PNEUMOCLI_DATA", str(data_file))
    monkeypatch.setenv("PNEUMOCLI_WEIGHTS", "none")
    succeed("train")
    data, weights, _ = recorded_train.arguments
    assert data.path == data_file
    assert weights.path is None


def test_unlimited_cache_is_no_traceback(recorded_train: Recorder, data_file: Path) -> None:
    for limit in ("inf", "nan"):
        result = run("train", "--data", data_file, "--weights", "none", "--cache-limit", limit)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception


# The whole chain


@pytest.fixture
def xrays(small_dataset: Dataset, tmp_path: Path) -> list[Path]:
    folder = tmp_path / "xrays"
    folder.mkdir()
    paths = [folder / f"{number}.png" for number in range(len(small_dataset.test))]
    for path, image in zip(paths, small_dataset.test.images, strict=True):
        Image.fromarray(image).save(path)
    return paths


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


@pytest.mark.usefixtures("tiny_commands")
def test_train_on_drawn_images_is_marked(tmp_path: Path) -> None:
    result = succeed("train", "--data", "synthetic", "--subset", "40", *SHORT)
    assert "SYNTHETIC" in result.stdout
    assert SYNTHETIC_NOTE in result.stderr
    assert DISCLAIMER in result.stderr
    run_dir = tmp_path / "runs" / "synthetic-train-1"
    assert read_figures(run_dir, "val").synthetic
    assert {path.name for path in run_dir.iterdir() if path.suffix != ".png"} == {
        CONFIG,
        "history.json",
        MODEL,
        DECISION,
        "scores_val.npz",
        "scores_stopping.npz",
        "metrics_val.json",
        PICTURES,
    }
    assert list_pictures(run_dir) == {LEARNING_CURVES, *name_pictures("val")}


def name_pictures(split: str) -> list[str]:
    kinds = ("roc", "precision_recall", "confusion", "reliability", "histogram", "gallery")
    return [f"{kind}_{split}.png" for kind in kinds]


def list_pictures(folder: Path) -> set[str]:
    """The pictures in a folder, each of which is whole and is listed there."""
    names = {path.name for path in folder.glob("*.png")}
    assert {picture.file for picture in read_pictures(folder)} == names
    assert all(is_picture(folder / name) for name in names)
    return names


def is_picture(path: Path) -> bool:
    with Image.open(path) as picture:
        picture.load()
        return picture.format == "PNG" and min(picture.size) > 500


def test_evaluate_draws_the_pictures_of_folds(cv_copy: Run, data_file: Path) -> None:
    result = succeed("evaluate", cv_copy.path, "--data", data_file)
    assert list_pictures(cv_copy.path) == set(name_pictures("test"))
    assert f"pictures: {cv_copy.path}: {', '.join(name_pictures('test'))}; {PICTURES}" in result.stderr


def test_evaluate_says_how_sure_the_ensembles_figures_are(cv_copy: Run) -> None:
    estimates = read_scored(cv_copy)["estimates_at_rule"]["ensemble"]
    shown = succeed("evaluate", cv_copy.path, "--data", "synthetic").stdout
    assert f"ensemble at {read_decision(cv_copy).threshold:.4f}, with 95 % intervals" in shown
    for name in ("roc_auc", "sensitivity", "f1", "brier"):
        found = estimates[name]
        assert f"{found['value']:.4f}   {found['low']:.4f} to {found['high']:.4f}" in shown


def read_scored(run_folder: Run, *options: object) -> Any:
    words = ("evaluate", run_folder.path, "--data", "synthetic", "--format", "json", *options)
    return json.loads(succeed(*words).stdout)


def test_evaluate_at_another_rule_leaves_the_decision(cv_copy: Run) -> None:
    before = (cv_copy.path / DECISION).read_bytes()
    scored = read_scored(cv_copy, "--rule", "0.625")
    assert scored["decision"]["rule"] == "0.625"
    assert {metrics["threshold"] for metrics in scored["at_rule"].values()} == {0.625}
    shown = succeed("evaluate", cv_copy.path, "--data", "synthetic", "--rule", "0.625").stdout
    assert "rule 0.625, fixed on" in " ".join(shown.split())
    assert (cv_copy.path / DECISION).read_bytes() == before
    assert read_scored(cv_copy)["decision"] == json.loads(before)


def test_evaluate_at_a_prevalence(cv_copy: Run) -> None:
    scored = read_scored(cv_copy, "--prevalence", "0.02")
    assert scored["prevalence"] == 0.02
    for values, models in (("predictive_values", "models"), ("predictive_values_at_rule", "at_rule")):
        metrics = scored[models]["ensemble"]
        found, alarmed = metrics["sensitivity"] * 0.02, (1 - metrics["specificity"]) * 0.98
        if found + alarmed:
            assert scored[values]["ensemble"]["ppv"] == pytest.approx(found / (found + alarmed))
    shown = succeed("evaluate", cv_copy.path, "--data", "synthetic", "--prevalence", "0.02").stdout
    assert "at a prevalence of 0.02" in " ".join(shown.split())
    assert "prevalence" not in read_scored(cv_copy)


def test_no_such_rule_to_evaluate_at(cv_copy: Run) -> None:
    line = fail("evaluate", cv_copy.path, "--data", "synthetic", "--rule", "best", exit_code=2)
    assert "'best'" in line
    assert not list(cv_copy.path.rglob("*test*"))


@pytest.mark.parametrize("split", ["val", "test"])
def test_evaluate_says_how_the_rule_carries_over(split: str, cv_copy: Run) -> None:
    shown = succeed("evaluate", cv_copy.path, "--data", "synthetic", "--split", split).stdout
    assert "ensemble, moved" in shown
    assert ("ensemble - mean" in shown) is (split == "val")
    assert "ensemble, calibration" in shown


def test_predict_says_why_an_image_is_called_pneumonia(cv_copy: Run, xrays: list[Path]) -> None:
    succeed("ensemble", "--data", "synthetic")
    for model in (cv_copy.path, cv_copy.path / ENSEMBLE):
        words = " ".join(succeed("predict", xrays[0], "--model", model).stdout.split())
        decision = read_decision(cv_copy)
        on = float(apply_temperature(decision.threshold, decision.temperature))
        assert f"called pneumonia from {on:.4f} on: rule youden, fixed on out-of-fold images" in words
    words = " ".join(succeed("predict", xrays[0], "--model", cv_copy.fold_path(1)).stdout.split())
    assert "called pneumonia from 0.5000 on: no rule was fixed for this model" in words


def test_compare_two_runs_on_the_same_images(cv_copy: Run, train_copy: Run) -> None:
    names = (cv_copy.path, train_copy.path, "--data", "synthetic")
    unscored = run("compare", *names)
    assert unscored.exit_code == 1
    assert f"pneumocli evaluate {cv_copy.path} --split test" in unscored.stderr
    joined, single = read_scored(cv_copy), read_scored(train_copy)
    result = succeed("compare", *names, "--format", "json")
    found = json.loads(result.stdout)
    auc = found["differences"]["roc_auc"]
    assert auc["first"] == pytest.approx(joined["models"]["ensemble"]["roc_auc"])
    assert auc["second"] == pytest.approx(single["models"][train_copy.name]["roc_auc"])
    assert found["disclaimer"] == DISCLAIMER
    assert SYNTHETIC_NOTE in result.stderr
    assert f"A: {cv_copy.name}" in succeed("compare", *names).stdout


def test_evaluate_draws_the_pictures_of_a_single_model(train_copy: Run, data_file: Path) -> None:
    succeed("evaluate", train_copy.name, "--split", "val", "--data", data_file)
    assert list_pictures(train_copy.path) == set(name_pictures("val"))
    assert not list(train_copy.path.glob("*test*"))


@pytest.mark.parametrize("split", ["test", "val"])
def test_evaluate_shows_the_best_single_model_beside_the_ensemble(
    split: str, cv_copy: Run, data_file: Path
) -> None:
    text = succeed("evaluate", "--split", split, "--data", data_file).stdout
    figures = read_figures(cv_copy.path, split)
    best = read_figures(cv_copy.path, OUT_OF_FOLD).best_single
    assert best is not None
    assert f"{best} (best single)" in text
    for name in (best, "ensemble"):
        row = next(line for line in text.splitlines() if line.strip().startswith(name))
        assert f"{figures.models[name].roc_auc:.4f}" in row
    assert not any(name in text for name in figures.models if name not in (best, "ensemble"))


def test_ensemble_shows_all_members(cv_copy: Run, data_file: Path) -> None:
    text = succeed("ensemble", "--data", data_file).stdout
    for name in ("fold 1", "fold 2", "fold 3", "ensemble"):
        assert name in text
    assert (cv_copy.path / ENSEMBLE).is_file()


def test_evaluate_and_ensemble_show_the_same_figures(cv_copy: Run, data_file: Path) -> None:
    joined = succeed("ensemble", "--data", data_file, "--format", "json").stdout
    assert succeed("evaluate", "--data", data_file, "--format", "json").stdout == joined
    assert succeed("evaluate", cv_copy.name, "--data", data_file, "--format", "json").stdout == joined


def test_runs_are_found_by_option_and_by_environment(
    cv_copy: Run, data_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    cv_copy.path.parent.rename(elsewhere)
    fail("evaluate", "--data", data_file)
    succeed("evaluate", "--runs", elsewhere, "--data", data_file)
    monkeypatch.setenv("PNEUMOCLI_RUNS", str(elsewhere))
    succeed("evaluate", "--data", data_file)


def test_a_run_on_drawn_images_is_scored_on_drawn_images(cv_copy: Run) -> None:
    result = succeed("evaluate", "--format", "json")
    content = json.loads(result.stdout)
    assert (content["data"], content["synthetic"], content["run"]) == ("synthetic", True, cv_copy.name)
    assert SYNTHETIC_NOTE in result.stderr


def test_other_images_than_those_of_training_are_named(cv_copy: Run, tmp_path: Path) -> None:
    path = tmp_path / "other.npz"
    write_data(path, draw_dataset(seed=1, train=6, val=6, test=6))
    assert f"other.npz is not the data set that {cv_copy.name} was trained on" in (
        succeed("evaluate", "--data", path).stderr
    )


def test_predict_table(cv_copy: Run, xrays: list[Path]) -> None:
    result = succeed("predict", *xrays[:3])
    assert "SYNTHETIC" in result.stdout
    assert f"{cv_copy.name}, ensemble" in result.stdout
    for path in xrays[:3]:
        assert path.name in result.stdout
    assert DISCLAIMER in result.stderr


def test_predict_a_folder(cv_copy: Run, xrays: list[Path]) -> None:
    result = succeed("predict", xrays[0].parent, "--format", "json")
    paths = [row["path"] for row in json.loads(result.stdout)["predictions"]]
    assert paths == sorted(map(str, xrays))


@pytest.mark.parametrize("named", ["run", "name", "fold", "file"])
def test_predict_with_a_named_model(named: str, cv_copy: Run, xrays: list[Path], tmp_path: Path) -> None:
    kept = tmp_path / "kept.keras"
    shutil.copy(cv_copy.fold_path(2) / MODEL, kept)
    model = {"run": cv_copy.path, "name": cv_copy.name, "fold": cv_copy.fold_path(2), "file": kept}[named]
    content = json.loads(succeed("predict", xrays[0], "--model", model, "--format", "json").stdout)
    expected = "ensemble" if named in ("run", "name") else "fold 2"
    assert content["model"] == f"{cv_copy.name}, {expected}"
    assert len(content["predictions"][0]["members"]) == (3 if expected == "ensemble" else 1)


def test_predict_answers_good_images_among_bad_ones(cv_copy: Run, xrays: list[Path], tmp_path: Path) -> None:
    bad = tmp_path / "notes.txt"
    bad.write_text("hello")
    result = run("predict", xrays[0], bad, xrays[1], "--format", "json")
    assert result.exit_code == 4
    content = json.loads(result.stdout)
    assert len(content["predictions"]) == 2
    assert len(content["failures"]) == 1
    assert sum(line.startswith("error: ") for line in result.stderr.splitlines()) == 1
    assert str(bad) in result.stderr
    assert DISCLAIMER in result.stderr


def test_predict_answers_good_images_beside_an_empty_folder(
    cv_copy: Run, xrays: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    result = run("predict", xrays[0], tmp_path / "empty", "--format", "json")
    assert result.exit_code == 4
    assert len(json.loads(result.stdout)["predictions"]) == 1


def test_predict_without_a_good_image(cv_copy: Run, tmp_path: Path) -> None:
    bad = tmp_path / "notes.txt"
    bad.write_text("hello")
    for images in ([bad], [bad, tmp_path / "missing.png"], [tmp_path / "missing.png"]):
        result = run("predict", *images, "--quiet")
        assert result.exit_code == 1
        assert isinstance(result.exception, SystemExit)
        assert result.stdout == ""
        errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
        assert [str(image) in line for image, line in zip(images, errors, strict=True)] == [True] * len(
            images
        )


def test_predict_shows_no_warning_of_a_library(cv_copy: Run, xrays: list[Path], tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.jpg"
    with Image.open(xrays[0]) as image:
        image.save(damaged, exif=b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01")
    content = json.loads(succeed("predict", damaged, "--format", "json").stdout)
    assert len(content["predictions"]) == 1


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


def test_tables_of_long_names_are_not_cut(
    cv_run: Run, train_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    data = tmp_path / f"{'pneumonia' * 9}.npz"
    write_data(data, draw_dataset(train=6, val=6, test=6))
    for finished in (cv_run, train_run):
        name = "a-long-name-of-a-run" * 5
        copied = copy_run(finished, tmp_path / finished.record.kind, name)
        text = succeed("evaluate", copied.path, "--data", data).stdout
        assert "…" not in text
        assert name in "".join(text.split())
        for metrics in read_figures(copied.path / EXTERNAL / data.name, "test").models.values():
            if finished is train_run:
                assert f"{metrics.roc_auc:.4f}" in text


def test_fetch_imports_a_file(data_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PNEUMOCLI_WEIGHTS", "none")
    result = succeed("fetch", "--from", data_file, "--format", "json")
    content = json.loads(result.stdout)
    assert Path(content["path"]).read_bytes() == data_file.read_bytes()
    assert {name: split["images"] for name, split in content["splits"].items()} == {
        "train": 24,
        "val": 12,
        "test": 12,
    }
    table = succeed("fetch", "--from", data_file).stdout
    for name in ("train", "val", "test"):
        assert name in table


# Own image files


@pytest.mark.usefixtures("tiny_commands")
def test_own_images_from_training_to_figures(tmp_path: Path) -> None:
    folder, runs_dir = tmp_path / "xrays", tmp_path / "runs"
    draw_files(folder, [*name_files((20, 20)), "normal/.hidden.png"], pixels=50)
    (folder / "notes.txt").touch()
    result = succeed("cv", "--folds", "2", "--data", folder, "--size", "40", "--seed", "4", *SHORT)
    for words in ("passed over 2 ", "40 px", "divided by seed 4", "own images: 40 files in folder xrays"):
        assert words in result.stderr
    assert f"pneumocli evaluate {runs_dir / 'cv-1'} --data {folder}" in result.stderr
    record = open_run(runs_dir / "cv-1").record
    assert (record.data.name, record.data.pixels, record.data.train_images) == ("xrays", 40, 32)
    assert str(tmp_path) not in record.model_dump_json()

    result = succeed("evaluate", "--data", folder, "--format", "json")
    content = json.loads(result.stdout)
    assert (content["data"], content["split"], content["models"]["ensemble"]["n"]) == ("xrays", "test", 4)
    assert not (runs_dir / "cv-1" / EXTERNAL).exists()  # taken for the run's own
    assert "is not the data set" not in result.stderr
    assert is_picture(runs_dir / "cv-1" / "roc_test.png")
    assert "too good" in fail("evaluate", "--data", folder, "--split", "all")


def write_labels(folder: Path, *columns: str, label: str = "") -> Path:
    """A CSV beside images of its own; `columns` are further ones, each with its header first."""
    names = name_files((5, 7), "x/")
    draw_files(folder, names, pixels=60)
    lines = ["path,label", *(f"{name},{label or name.split('/')[1]}" for name in names)]
    for column in columns:
        header, *values = column.split()
        lines = [f"{lines[0]},{header}"] + [
            f"{line},{values[number % len(values)]}" for number, line in enumerate(lines[1:])
        ]
    path = folder / "labels.csv"
    path.write_text("\n".join(lines))
    return path


def test_external_validation(cv_copy: Run, train_copy: Run, data_file: Path, tmp_path: Path) -> None:
    own = succeed("evaluate", cv_copy.path, "--data", data_file, "--format", "json").stdout
    kept = {path: path.read_bytes() for path in cv_copy.path.rglob("*") if path.is_file()}
    labels = write_labels(tmp_path / "hospital")
    result = succeed("evaluate", cv_copy.path, "--data", labels, "--format", "json")
    content = json.loads(result.stdout)
    place = cv_copy.path / EXTERNAL / "labels.csv"
    assert (content["data"], content["split"], content["models"]["ensemble"]["n"]) == (
        "labels.csv",
        "all",
        12,
    )
    assert content == json.loads((place / "metrics_all.json").read_text())
    assert list_pictures(place) == set(name_pictures("all"))
    for words in ("external validation", "scored on: all images of labels.csv", "28 px"):
        assert words in result.stderr
    assert {path: path.read_bytes() for path in kept} == kept
    assert succeed("evaluate", cv_copy.path, "--data", data_file, "--format", "json").stdout == own

    succeed("evaluate", train_copy.path, "--data", labels)
    compared = succeed("compare", cv_copy.path, train_copy.path, "--data", "labels.csv", "--format", "json")
    found = json.loads(compared.stdout)
    assert (found["split"], found["data"], found["n"]) == ("all", "labels.csv", 12)

    draw_files(tmp_path / "hospital", ["x/normal/000.png"], seed=9)
    assert "other images of that name" in fail("evaluate", cv_copy.path, "--data", labels)


def test_external_validation_on_a_split(cv_copy: Run, tmp_path: Path) -> None:
    labels = write_labels(tmp_path, "split train test test")
    for options, split, n in (((), "test", 8), (("--split", "all"), "all", 12)):
        text = succeed("evaluate", "--data", labels, *options, "--format", "json").stdout
        content = json.loads(text)
        assert (content["split"], content["models"]["ensemble"]["n"]) == (split, n)
    assert "no val images (it has: train, test)" in fail("evaluate", "--data", labels, "--split", "val")


def test_own_images_are_shown_by_fetch_and_doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "xrays"
    draw_files(folder, name_files((2, 3)))
    shutil.copy(folder / "normal/000.png", folder / "pneumonia/copy.png")
    monkeypatch.setenv("PNEUMOCLI_DATA", str(folder))
    monkeypatch.setenv("PNEUMOCLI_WEIGHTS", "none")
    content = json.loads(succeed("fetch", "--format", "json").stdout)
    assert (content["identity"]["kind"], content["groups"], content["label_conflicts"]) == ("own", 1, 1)
    assert (content["splits"]["all"]["images"], content["splits"]["all"]["surplus"]) == (6, 1)
    assert "own images: 6 files in folder xrays" in succeed("fetch").stdout
    assert json.loads(succeed("doctor", "--format", "json").stdout)["data"] == str(folder)


OWN_FAULTS: dict[str, Callable[[Path], object]] = {
    "one class": lambda folder: draw_files(folder, name_files((0, 4))),
    "other class": lambda folder: draw_files(folder, ["normal/a.png", "covid/a.png"]),
    "no image": lambda folder: [write_labels(folder), (folder / "x/normal/000.png").write_text("hello")],
    "bad label": lambda folder: write_labels(folder, label="sick"),
    "bad split": lambda folder: write_labels(folder, "split dev"),
    "file lost": lambda folder: [write_labels(folder), (folder / "x/normal/000.png").unlink()],
}


@pytest.mark.usefixtures("tiny_commands")
@pytest.mark.parametrize("command", ["train", "cv", "evaluate"])
@pytest.mark.parametrize("spoil", OWN_FAULTS.values(), ids=OWN_FAULTS.keys())
def test_own_images_with_a_fault(
    command: str, spoil: Callable[[Path], object], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = tmp_path / "xrays"
    spoil(folder)
    data = folder / "labels.csv" if (folder / "labels.csv").exists() else folder
    if command == "evaluate":
        copied = request.getfixturevalue("cv_copy")
        assert str(data) in fail("evaluate", copied.path, "--data", data)
        assert not (copied.path / EXTERNAL).exists()
    else:
        assert str(data) in fail(command, "--data", data, *SHORT)
        assert not list_runs_made(tmp_path)


@pytest.mark.usefixtures("tiny_commands")
@pytest.mark.parametrize("command", ["train", "cv"])
def test_training_on_own_images_needs_train_and_val(command: str, tmp_path: Path) -> None:
    for lost, columns in (("val", "split train test"), ("train", "split val test"), ("few", "")):
        labels = write_labels(tmp_path / lost, *filter(None, [columns]))
        line = fail(command, "--data", labels, *SHORT)
        assert ("too few to divide" if lost == "few" else f"has no {lost} images") in line
    assert not list_runs_made(tmp_path)


# Errors


def write_data(path: Path, dataset: Dataset, **changes: Any) -> Path:
    arrays: dict[str, Any] = {}
    for name, split in dataset.splits.items():
        arrays[f"{name}_images"] = split.images
        arrays[f"{name}_labels"] = split.labels.astype(np.uint8)[:, np.newaxis]
    arrays |= changes
    np.savez_compressed(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


Spoil = Callable[[Path, Dataset], object]


def spoil_missing(path: Path, dataset: Dataset) -> None:
    """There is no file."""


def spoil_empty(path: Path, dataset: Dataset) -> None:
    path.write_bytes(b"")


def spoil_text(path: Path, dataset: Dataset) -> None:
    path.write_text("hello\n")


def spoil_cut_off(path: Path, dataset: Dataset) -> None:
    write_data(path, dataset)
    path.write_bytes(path.read_bytes()[:-2000])


def spoil_folder(path: Path, dataset: Dataset) -> None:
    path.mkdir()


BAD_DATA: dict[str, Spoil] = {
    "missing": spoil_missing,
    "empty": spoil_empty,
    "cut off": spoil_cut_off,
    "not npz": spoil_text,
    "folder": spoil_folder,
    "keys": lambda path, dataset: write_data(path, dataset, val_labels=None),
    "shape": lambda path, dataset: write_data(path, dataset, val_images=np.zeros((12, 28), np.uint8)),
    "type": lambda path, dataset: write_data(path, dataset, val_images=np.zeros((12, 28, 28))),
    "labels": lambda path, dataset: write_data(path, dataset, val_labels=np.arange(12)),
    "class": lambda path, dataset: write_data(path, dataset, val_labels=np.ones((12, 1), np.uint8)),
}


@pytest.mark.usefixtures("tiny_commands")
@pytest.mark.parametrize("command", ["train", "cv", "evaluate", "fetch"])
@pytest.mark.parametrize("spoil", BAD_DATA.values(), ids=BAD_DATA.keys())
def test_bad_data(
    command: str, spoil: Spoil, small_dataset: Dataset, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    path = tmp_path / "bad.npz"
    spoil(path, small_dataset)
    if command == "evaluate":
        before = sorted(request.getfixturevalue("cv_copy").path.rglob("*"))
        line = fail("evaluate", "--data", path)
        assert sorted((tmp_path / "runs" / "synthetic-cv-1").rglob("*")) == before
    elif command == "fetch":
        line = fail("fetch", "--from", path)
        assert not (tmp_path / "cache").exists()
    else:
        line = fail(command, "--data", path, "--weights", "none")
        assert not list_runs_made(tmp_path)
    assert str(path) in line


@pytest.mark.usefixtures("tiny_commands")
@pytest.mark.parametrize("folds", ["1", "0", "-3", "13"])
def test_bad_folds(folds: str, data_file: Path, tmp_path: Path) -> None:
    line = fail("cv", "--folds", folds, "--data", data_file, *SHORT)
    assert folds in line
    assert not list_runs_made(tmp_path)


BAD_SETTINGS = [
    ("--image-size", "8", 2),
    ("--dropout", "1", 2),
    ("--dropout", "nan", 2),
    ("--subset", "1", 2),
    ("--batch-size", "0", 2),
    ("--head-learning-rate", "0", 2),
    ("--seed", "-1", 2),
    ("--precision", "float8", 2),
    ("--rule", "sensitivity:95", 2),
    ("--recipe", "nonsense", 2),
    ("--size", "30", 1),
    ("--name", "../x", 1),
    ("--name", ".x", 1),
    ("--name", "", 1),
]


@pytest.mark.usefixtures("tiny_commands")
@pytest.mark.parametrize("command", ["train", "cv"])
@pytest.mark.parametrize(("option", "value", "exit_code"), BAD_SETTINGS)
def test_bad_setting(
    command: str, option: str, value: str, exit_code: int, data_file: Path, tmp_path: Path
) -> None:
    data = () if option == "--size" else ("--data", data_file)
    line = fail(command, *data, *SHORT, option, value, exit_code=exit_code)
    assert value in line
    assert not list_runs_made(tmp_path)


def test_weights_of_another_network(data_file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.weights.h5"
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save_weights(other)
    line = fail("train", "--data", data_file, *SHORT[2:], "--weights", other)
    assert str(other) in line
    assert not list_runs_made(tmp_path)


def test_missing_weights(data_file: Path, tmp_path: Path) -> None:
    line = fail("train", "--data", data_file, "--weights", tmp_path / "missing.h5")
    assert "missing.h5" in line
    assert not list_runs_made(tmp_path)


@pytest.mark.usefixtures("tiny_commands")
def test_taken_name(cv_copy: Run, data_file: Path) -> None:
    line = fail("train", "--data", data_file, "--name", cv_copy.name, *SHORT)
    assert "--name" in line
    assert not (cv_copy.path / MODEL).exists()


@pytest.mark.parametrize("text", [None, "", "index,patient\n0,a\n", "index,group\n24,a\n"])
def test_groups_file_that_cannot_be_used(text: str | None, data_file: Path, tmp_path: Path) -> None:
    groups = tmp_path / "patients.csv"
    if text is not None:
        groups.write_text(text)
    line = fail("cv", "--data", data_file, "--weights", "none", "--groups", groups)
    assert str(groups) in line
    assert not list_runs_made(tmp_path)


def test_more_folds_than_groups(data_file: Path, tmp_path: Path) -> None:
    groups = tmp_path / "patients.csv"
    groups.write_text("index,group\n" + "".join(f"{row},{row % 2}\n" for row in range(24)))
    line = fail("cv", "--data", data_file, "--weights", "none", "--groups", groups)
    assert "3 folds" in line
    assert "groups" in line
    assert not list_runs_made(tmp_path)


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
    assert lost.name in line
    assert not (cv_copy.path / ENSEMBLE).exists()


@pytest.mark.parametrize("content", [b"", b"hello", b"{}"])
def test_run_with_a_damaged_part(content: bytes, cv_copy: Run, data_file: Path) -> None:
    parts = (CONFIG, DECISION, cv_copy.last_file.name)
    for damaged in (*(cv_copy.path / name for name in parts), cv_copy.fold_path(1) / MODEL):
        whole = damaged.read_bytes()
        damaged.write_bytes(content)
        assert str(damaged) in fail("evaluate", cv_copy.path, "--data", data_file)
        damaged.write_bytes(whole)
    succeed("evaluate", cv_copy.path, "--data", data_file)


def test_ensemble_of_a_single_model(train_copy: Run, data_file: Path) -> None:
    for arguments in (("ensemble", train_copy.path), ("evaluate", "--ensemble", train_copy.path)):
        assert "pneumocli cv" in fail(*arguments, "--data", data_file)


def test_images_of_another_size(cv_copy: Run, tmp_path: Path) -> None:
    data = write_data(tmp_path / "large.npz", draw_dataset(train=6, val=6, test=6, pixels=64))
    line = fail("evaluate", "--data", data)
    assert "28 px" in line
    assert "64 px" in line


@pytest.mark.parametrize("content", [None, b"", b"hello"])
def test_model_file_of_somebody_else(content: bytes | None, xrays: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "foreign.keras"
    if content is None:
        keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(path)
    else:
        path.write_bytes(content)
    assert str(path) in fail("predict", xrays[0], "--model", path)


def test_model_of_another_preparation(train_copy: Run, xrays: list[Path]) -> None:
    path = train_copy.path / MODEL
    card = read_card(path)
    other = card.model_copy(update={"preparation": card.preparation + 1})
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (entries | {CARD: other.model_dump_json().encode()}).items():
            archive.writestr(name, content)
    assert "preparation" in fail("predict", xrays[0])


def test_without_a_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    unreachable = replace(fetch.SOURCES[28], url="http://127.0.0.1:9/pneumoniamnist.npz")
    monkeypatch.setitem(fetch.SOURCES, 28, unreachable)
    monkeypatch.setattr(fetch, "RETRY_PAUSES", ())
    for command in (("fetch",), ("train", "--weights", "none"), ("cv", "--weights", "none")):
        line = fail(*command)
        for part in ("127.0.0.1", "fetch --from", "--data FILE", "PNEUMOCLI_DATA", "--data synthetic"):
            assert part in line
    assert not list_runs_made(tmp_path)


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


@pytest.mark.usefixtures("tiny_commands")
def test_training_that_diverges(data_file: Path) -> None:
    line = fail("train", "--data", data_file, *SHORT, "--head-learning-rate", "1e38")
    assert "learning" in line
