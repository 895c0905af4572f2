"""Folds drawn several times: which models there are, what is averaged, and how such a run goes on."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commandline import SHORT, fail, list_runs_made, succeed
from small import RANDOM_WEIGHTS, TINY, copy_run, describe

from pneumocli.core import experiments
from pneumocli.core.atypical import ATYPICAL
from pneumocli.core.cache import Cache
from pneumocli.core.config import Precision
from pneumocli.core.data import Dataset
from pneumocli.core.decision import read_decision
from pneumocli.core.errors import SettingError
from pneumocli.core.evaluation import build_ensemble, evaluate_run
from pneumocli.core.experiments import cross_validate, train_single
from pneumocli.core.figures import read_figures
from pneumocli.core.fold import FoldTask
from pneumocli.core.folds import make_folds
from pneumocli.core.model import BackboneBuilder
from pneumocli.core.operating import choose_threshold
from pneumocli.core.plan import plan_run
from pneumocli.core.runs import Run, open_run
from pneumocli.core.scores import OUT_OF_FOLD, read_scores

pytest_plugins = ["trained"]

TWICE = TINY.model_copy(update={"repeats": 2, "head_epochs": 1})
CrossValidate = Callable[..., Run]


@pytest.fixture(scope="module")
def cross_validate_in_two(
    small_dataset: Dataset, tiny_backbone: BackboneBuilder, bank: Cache
) -> CrossValidate:
    def run(runs_dir: Path, repeats: int = 2, **options: Any) -> Run:
        config = TWICE.model_copy(update={"repeats": repeats})
        shared = {"runs_dir": runs_dir, "cache": bank, "backbone_builder": tiny_backbone, **options}
        return cross_validate(describe(small_dataset), RANDOM_WEIGHTS, config, 2, **shared)

    return run


@pytest.fixture(scope="module")
def repeated(cross_validate_in_two: CrossValidate, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return cross_validate_in_two(tmp_path_factory.mktemp("repeated"))


def test_there_is_a_model_for_every_fold_of_every_repeat(repeated: Run, small_dataset: Dataset) -> None:
    labels = small_dataset.train.labels
    parts = make_folds(labels, 2, TWICE.seed, repeats=2)
    assert [path.name for path in repeated.member_paths()] == ["fold_1", "fold_2", "fold_3", "fold_4"]
    for folder, (_, held_out) in zip(repeated.member_paths(), parts, strict=True):
        np.testing.assert_array_equal(read_scores(folder, OUT_OF_FOLD).index, held_out)


def test_first_repeat_is_the_cross_validation_without_repeats(
    repeated: Run, cross_validate_in_two: CrossValidate, tmp_path: Path
) -> None:
    once = cross_validate_in_two(tmp_path, repeats=1)
    for mine, theirs in zip(repeated.member_paths(), once.member_paths(), strict=False):
        file = "scores_out_of_fold.npz"
        assert (mine / file).read_bytes() == (theirs / file).read_bytes()
    assert (repeated.path / ATYPICAL).read_bytes() == (once.path / ATYPICAL).read_bytes()


def test_an_image_has_the_mean_of_what_the_models_that_had_not_seen_it_say(repeated: Run) -> None:
    pooled = read_scores(repeated.path, OUT_OF_FOLD)
    said: dict[int, list[float]] = {}
    for folder in repeated.member_paths():
        fold = read_scores(folder, OUT_OF_FOLD)
        for row, y_score in zip(fold.index.tolist(), fold.y_score.tolist(), strict=True):
            said.setdefault(row, []).append(y_score)
    assert {len(scores) for scores in said.values()} == {2}
    np.testing.assert_array_equal(pooled.y_score, np.float32([sum(said[row]) / 2 for row in pooled.index]))


def test_decision_is_fixed_on_the_means(repeated: Run) -> None:
    pooled, decision = read_scores(repeated.path, OUT_OF_FOLD), read_decision(repeated)
    assert decision.threshold == choose_threshold("youden", pooled.y_true, pooled.y_score)
    assert decision.images == len(pooled.index)
    models = read_figures(repeated.path, OUT_OF_FOLD).models
    assert list(models) == ["fold 1", "fold 2", "fold 3", "fold 4", "pooled"]


def test_ensemble_joins_the_models_of_all_repeats(
    repeated: Run, small_dataset: Dataset, tmp_path: Path
) -> None:
    run = copy_run(repeated, tmp_path)
    found = evaluate_run(run, small_dataset, "test")
    members = [found.y_score[f"fold {number}"] for number in range(1, 5)]
    mean = np.mean(members, axis=0, dtype=np.float64).astype(np.float32)
    np.testing.assert_array_equal(found.y_score["ensemble"], mean)
    build_ensemble(run)
    assert evaluate_run(run, small_dataset, "val").main == "ensemble"


def test_stopped_run_goes_on_in_its_second_repeat(
    repeated: Run, cross_validate_in_two: CrossValidate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_fold, trained = experiments.train_fold, []

    def stop(task: FoldTask, *given: Any) -> None:
        if task.fold == 4:
            raise KeyboardInterrupt
        train_fold(task, *given)

    def follow(task: FoldTask, *given: Any) -> None:
        trained.append(task.fold)
        train_fold(task, *given)

    monkeypatch.setattr(experiments, "train_fold", stop)
    with pytest.raises(KeyboardInterrupt):
        cross_validate_in_two(tmp_path, name="stopped")
    run = open_run(tmp_path / "stopped")
    assert run.finished_folds() == [1, 2, 3] and not run.is_complete
    monkeypatch.setattr(experiments, "train_fold", follow)
    cross_validate_in_two(tmp_path, resume=run)
    assert trained == [4] and run.is_complete
    file = "scores_out_of_fold.npz"
    assert (run.path / file).read_bytes() == (repeated.path / file).read_bytes()


def test_plan_has_the_folds_of_all_repeats(small_dataset: Dataset, tmp_path: Path) -> None:
    once, twice = (
        plan_run(
            small_dataset,
            TWICE.model_copy(update={"repeats": repeats}),
            Precision.FLOAT32,
            folds=2,
            cache=Cache(tmp_path),
        )
        for repeats in (1, 2)
    )
    assert [fold.fold for fold in twice.folds] == [1, 2, 3, 4]
    assert {step.title for step in twice.steps} == {"", *(f"fold {number} of 4" for number in range(1, 5))}
    assert twice.model_bytes == 2 * once.model_bytes
    assert 0 < twice.feature_bytes == once.feature_bytes  # one pass serves all


def test_command_repeats_and_says_so(data_file: Path, tmp_path: Path, tiny_commands: None) -> None:
    given = ("cv", "--folds", "2", "--repeats", "2", "--name", "twice", *SHORT, "--data", data_file)
    assert "fold 4" in succeed(*given).stdout
    (path,) = list_runs_made(tmp_path)
    figures = json.loads(succeed("evaluate", path, "--data", data_file, "--format", "json").stdout)
    assert list(figures["models"]) == ["fold 1", "fold 2", "fold 3", "fold 4", "ensemble"]
    succeed("report", path)
    assert "2 stratified folds, drawn 2 times" in (path / "report.html").read_text()
    (entry,) = json.loads(succeed("runs", path.parent, "--format", "json").stdout)["runs"]
    assert (entry["folds"], entry["finished"]) == (4, 4)


def test_a_fold_of_the_second_repeat_can_be_trained_alone(
    data_file: Path, tmp_path: Path, tiny_commands: None
) -> None:
    given = ("cv", "--folds", "2", "--repeats", "2", "--name", "shared", *SHORT, "--data", data_file)
    assert "lacks fold 1, fold 2, fold 4;" in succeed(*given, "--fold", "3").stderr
    assert "from 1 to 4" in fail(*given, "--fold", "5", exit_code=2)


def test_a_run_is_repeated_with_its_repeats(data_file: Path, tmp_path: Path, tiny_commands: None) -> None:
    data = ("--data", data_file)
    succeed("cv", "--folds", "2", "--repeats", "2", "--name", "twice", *SHORT, *data)
    for more in ((), ("--recipe", "original", "--image-size", "40")):
        said = succeed(
            "cv", "--config", tmp_path / "runs" / "twice", *more, *data, "--dry-run", "--format", "json"
        )
        assert [fold["fold"] for fold in json.loads(said.stdout)["folds"]] == [1, 2, 3, 4]
    line = fail("cv", "--resume", "twice", "--repeats", "3", exit_code=2)
    assert "has repeats 2" in line


@pytest.mark.parametrize(("folds", "repeats"), [(2, 51), (11, 10)])
def test_more_models_than_can_be_joined_are_refused(folds: int, repeats: int) -> None:
    labels = np.repeat([0, 1], 50)
    with pytest.raises(SettingError, match=f"are {folds * repeats} models; at most 100 can be joined"):
        make_folds(labels, folds, 0, repeats=repeats)
    assert len(make_folds(labels, 2, 0, repeats=50)) == 100


def test_a_single_model_of_settings_with_repeats_is_refused(
    small_dataset: Dataset, tiny_backbone: BackboneBuilder, tmp_path: Path
) -> None:
    with pytest.raises(SettingError, match="no folds to repeat"):
        train_single(
            describe(small_dataset),
            RANDOM_WEIGHTS,
            TWICE,
            runs_dir=tmp_path,
            cache=None,
            backbone_builder=tiny_backbone,
        )


def test_a_single_model_has_nothing_to_repeat(data_file: Path, tmp_path: Path) -> None:
    line = fail("train", "--repeats", "2", *SHORT, "--data", data_file, exit_code=2)
    assert line == "train makes one model, without folds to repeat; leave --repeats out, or take cv"
    assert list_runs_made(tmp_path) == []
