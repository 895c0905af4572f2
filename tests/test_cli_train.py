"""`pneumocli train` and `cv`: options to configuration, and what cannot be trained."""

import shutil
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import keras
import pytest
from commandline import SHORT, fail, list_pictures, list_runs_made, name_pictures, run, succeed, write_labels
from pydantic.fields import FieldInfo

from pneumocli import DISCLAIMER
from pneumocli.core import experiments
from pneumocli.core.album import LEARNING_CURVES, PICTURES
from pneumocli.core.config import DEFAULT_RECIPE, RECIPES, TrainConfig
from pneumocli.core.figures import read_figures
from pneumocli.core.hashes import HASHES
from pneumocli.core.runs import CONFIG, DECISION, MODEL, Run
from pneumocli.core.seen import SEEN
from pneumocli.report.terminal import SYNTHETIC_NOTE

pytest_plugins = ["trained"]


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


def copy_apart(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a copy that pictures may be drawn into: other tests count the files of the run itself."""
    return Run(Path(shutil.copytree(run.path, tmp_path_factory.mktemp("given") / run.name)), run.record)


@pytest.fixture
def recorded_cv(
    cv_run: Run, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Recorder:
    recorder = Recorder(copy_apart(cv_run, tmp_path_factory))
    monkeypatch.setattr(experiments, "cross_validate", recorder)
    monkeypatch.setattr("pneumocli.core.backend.load_backend", recorder.load_backend)
    return recorder


@pytest.fixture
def recorded_train(
    train_run: Run, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Recorder:
    recorder = Recorder(copy_apart(train_run, tmp_path_factory))
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
        lowest = max((bound.ge for bound in field.metadata if hasattr(bound, "ge")), default=0)
        return next(other for other in (0.25, 0.5, 1.5) if other >= lowest and other != value)
    if kind is str:
        return {"rule": "specificity:0.95"}[name]
    assert isinstance(kind, type), f"{name}: no other value is known for {kind}"
    return next(choice for choice in kind if choice != value)


SETTINGS = {name: field for name, field in TrainConfig.model_fields.items() if name != "recipe"}
OTHER = {name: choose_other(name, field) for name, field in SETTINGS.items()}
# A single model has no folds to repeat.
OF_TRAIN = {name: value for name, value in OTHER.items() if name != "repeats"}


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
    succeed("train", "--data", data_file, "--weights", "none", *write_options(OF_TRAIN))
    data, weights, config = recorded_train.arguments
    assert config == TrainConfig(recipe=DEFAULT_RECIPE, **OF_TRAIN)
    assert data.dataset.name == "small.npz"
    assert (weights.path, weights.record.sha256) == (None, None)


def test_every_setting_is_an_option_of_cv(recorded_cv: Recorder, data_file: Path) -> None:
    succeed("cv", "--data", data_file, "--weights", "none", "--folds", "7", *write_options(OTHER))
    _, _, config, folds = recorded_cv.arguments
    assert config == TrainConfig(recipe=DEFAULT_RECIPE, **OTHER)
    assert folds == 7


@pytest.mark.parametrize("name", OF_TRAIN)
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
        HASHES,
        DECISION,
        SEEN,
        "scores_val.npz",
        "scores_stopping.npz",
        "metrics_val.json",
        PICTURES,
    }
    assert list_pictures(run_dir) == {LEARNING_CURVES, *name_pictures("val")}


@pytest.mark.usefixtures("tiny_commands")
@pytest.mark.parametrize("command", ["train", "cv"])
def test_training_on_own_images_needs_train_and_val(command: str, tmp_path: Path) -> None:
    for lost, columns in (("val", "split train test"), ("train", "split val test"), ("few", "")):
        labels = write_labels(tmp_path / lost, *filter(None, [columns]))
        line = fail(command, "--data", labels, *SHORT)
        assert ("too few to divide" if lost == "few" else f"has no {lost} images") in line
    assert not list_runs_made(tmp_path)


@pytest.mark.usefixtures("tiny_commands")
def test_too_many_folds(data_file: Path, tmp_path: Path) -> None:
    assert "13 folds are asked for" in fail("cv", "--folds", "13", "--data", data_file, *SHORT)
    assert not list_runs_made(tmp_path)


@pytest.mark.parametrize("folds", ["1", "0", "-3"])
def test_too_few_folds(folds: str, tmp_path: Path) -> None:
    result = run("cv", "--folds", folds)
    assert result.exit_code == 2
    assert f"received '{folds}'" in result.stderr
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


@pytest.mark.usefixtures("tiny_commands")
def test_training_that_diverges(data_file: Path) -> None:
    line = fail("train", "--data", data_file, *SHORT, "--head-learning-rate", "1e38")
    assert "learning" in line
