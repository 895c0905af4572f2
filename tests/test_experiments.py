"""Runs that train: what they leave, what their scores are of, and how a stopped one goes on."""

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pictures import draw_files, name_files, sort_by_class, write_split
from small import FOLDS, RANDOM_WEIGHTS, TINY, WatchedRows, describe

from pneumocli.core import experiments, fold, outcome
from pneumocli.core.artefact import load_model, read_card
from pneumocli.core.atypical import ATYPICAL, POOLED_MAPS
from pneumocli.core.cache import Cache
from pneumocli.core.config import TrainConfig
from pneumocli.core.data import SEEN_NAMES, Dataset, Split, hash_images
from pneumocli.core.decision import fix_decision, read_decision
from pneumocli.core.errors import DataError, PneumoError, WeightsError
from pneumocli.core.experiments import cross_validate, train_single
from pneumocli.core.figures import POOLED_NAME, Figures, name_fold, read_figures
from pneumocli.core.folds import make_folds
from pneumocli.core.groups import count_groups, find_originals, group_images
from pneumocli.core.hashes import HASHES
from pneumocli.core.inference import compute_member_scores
from pneumocli.core.inputs import gather_data
from pneumocli.core.material import Material, SplitFeatures
from pneumocli.core.metrics import FIGURES, compute_metrics
from pneumocli.core.model import BackboneBuilder
from pneumocli.core.progress import Progress
from pneumocli.core.runs import CONFIG, DECISION, HISTORY, INPUTS, MODEL, Run, open_run
from pneumocli.core.scores import OUT_OF_FOLD, STOPPING, read_scores
from pneumocli.core.seen import SEEN
from pneumocli.core.training import Trained

pytest_plugins = ["trained"]

# A single model is named by its run, which counts up: the figures are compared without the names.
Train = Callable[..., Run]


@pytest.fixture
def train(tiny_backbone: BackboneBuilder, bank: Cache, tmp_path: Path) -> Train:
    def run(dataset: Dataset, config: TrainConfig = TINY, folds: int | None = None, **options: Any) -> Run:
        shared = {"runs_dir": tmp_path / "runs", "cache": bank, "backbone_builder": tiny_backbone} | options
        if folds is None:
            return train_single(describe(dataset), RANDOM_WEIGHTS, config, **shared)
        return cross_validate(describe(dataset), RANDOM_WEIGHTS, config, folds, **shared)

    return run


def list_files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def replace_split(dataset: Dataset, name: str, split: Split) -> Dataset:
    return replace(dataset, splits={**dataset.splits, name: split})


def fill_with_noise(split: Split) -> Split:
    noise = np.random.default_rng(9).integers(0, 256, split.images.shape, dtype=np.uint8)
    return Split(noise, split.labels[::-1].copy())


def read_bytes(folder: Path, split: str) -> dict[str, bytes]:
    scores = read_scores(folder, split)
    return {name: getattr(scores, name).tobytes() for name in ("index", "y_true", "y_score")}


def score_rows(folder: Path, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    model, _ = load_model(folder / MODEL)
    return compute_member_scores(model, images)[0]


def test_cross_validation_leaves_every_file_and_no_other(cv_run: Run) -> None:
    scored = {"scores_out_of_fold.npz", "metrics_out_of_fold.json"}
    fold_files = {MODEL, HASHES, HISTORY, POOLED_MAPS, *scored}
    expected = {CONFIG, DECISION, ATYPICAL, SEEN, *scored}
    expected |= {f"fold_{fold}/{name}" for fold in range(1, FOLDS + 1) for name in fold_files}
    assert list_files(cv_run.path) == expected
    assert cv_run.is_complete


def test_training_leaves_every_file_and_no_other(train_run: Run) -> None:
    scored = {"scores_val.npz", "scores_stopping.npz", "metrics_val.json"}
    assert list_files(train_run.path) == {CONFIG, DECISION, MODEL, HASHES, HISTORY, SEEN, *scored}
    assert train_run.is_complete


def test_record_says_how_the_run_came_about(cv_run: Run, small_dataset: Dataset) -> None:
    record = open_run(cv_run.path).record
    assert (record.kind, record.folds) == ("cv", FOLDS)
    assert record.settings == TINY
    assert record.data.digest == small_dataset.digest(SEEN_NAMES)
    assert "synthetic" in record.data.identity
    assert record.groups is not None
    assert (record.groups.file, record.groups.groups, record.groups.images) == (None, 0, 0)
    assert (record.data.pixels, record.data.train_images) == (28, len(small_dataset.train))
    assert record.weights == RANDOM_WEIGHTS.record
    assert {"keras", "numpy", "python"} <= set(record.versions)


def test_each_training_image_is_held_out_once(cv_run: Run, small_dataset: Dataset) -> None:
    pooled = read_scores(cv_run.path, OUT_OF_FOLD)
    np.testing.assert_array_equal(pooled.index, np.arange(len(small_dataset.train)))
    np.testing.assert_array_equal(pooled.y_true, small_dataset.train.labels)
    assert ((pooled.y_score >= 0) & (pooled.y_score <= 1)).all()


def test_folds_are_those_of_the_seed(cv_run: Run, small_dataset: Dataset) -> None:
    parts = make_folds(small_dataset.train.labels, FOLDS, TINY.seed)
    for folder, (_, held_out) in zip(cv_run.member_paths(), parts, strict=True):
        np.testing.assert_array_equal(read_scores(folder, OUT_OF_FOLD).index, held_out)


def test_pooled_scores_are_the_folds_scores(cv_run: Run) -> None:
    pooled = read_scores(cv_run.path, OUT_OF_FOLD)
    by_row = dict(zip(pooled.index.tolist(), pooled.y_score.tolist(), strict=True))
    for folder in cv_run.member_paths():
        fold = read_scores(folder, OUT_OF_FOLD)
        assert [by_row[row] for row in fold.index.tolist()] == fold.y_score.tolist()


def test_fold_is_scored_by_its_saved_model_on_what_it_has_not_seen(
    cv_run: Run, small_dataset: Dataset
) -> None:
    for folder in cv_run.member_paths():
        stored = read_scores(folder, OUT_OF_FOLD)
        scores = score_rows(folder, small_dataset.train.images[stored.index])
        np.testing.assert_allclose(scores, stored.y_score, rtol=0, atol=1e-6)


def test_folds_models_differ(cv_run: Run, small_dataset: Dataset) -> None:
    scores = [score_rows(folder, small_dataset.val.images) for folder in cv_run.member_paths()]
    assert all((one != other).any() for one, other in pairwise(scores))


def test_single_model_is_scored_by_its_saved_model(train_run: Run, small_dataset: Dataset) -> None:
    stored = read_scores(train_run.path, "val")
    np.testing.assert_array_equal(stored.index, np.arange(len(small_dataset.val)))
    np.testing.assert_array_equal(stored.y_true, small_dataset.val.labels)
    scores = score_rows(train_run.path, small_dataset.val.images)
    np.testing.assert_allclose(scores, stored.y_score, rtol=0, atol=1e-6)


def test_figures_follow_from_the_stored_scores(cv_run: Run) -> None:
    figures = read_figures(cv_run.path, OUT_OF_FOLD)
    folders = {name_fold(fold): cv_run.fold_path(fold) for fold in range(1, FOLDS + 1)}
    assert list(figures.models) == [*folders, POOLED_NAME]
    for name, folder in {**folders, POOLED_NAME: cv_run.path}.items():
        scores = read_scores(folder, OUT_OF_FOLD)
        assert figures.models[name] == compute_metrics(scores.y_true, scores.y_score)
    assert figures.folds is not None
    for figure in FIGURES:
        values = [getattr(figures.models[name], figure) for name in folders]
        assert figures.folds[figure]["mean"] == pytest.approx(sum(values) / FOLDS)
        assert figures.folds[figure]["sd"] == pytest.approx(np.std(values, ddof=1))


def test_decision_of_folds_is_fixed_on_their_pooled_scores(cv_run: Run) -> None:
    pooled = read_scores(cv_run.path, OUT_OF_FOLD)
    decision = read_decision(cv_run)
    assert decision == fix_decision(TINY.rule, pooled, "out_of_fold", "synthetic")
    assert decision.images == len(pooled.index)
    figures = read_figures(cv_run.path, OUT_OF_FOLD)
    assert (figures.decision, figures.fixed_here) == (decision, True)
    assert figures.at_rule is not None
    assert figures.at_rule[POOLED_NAME].sensitivity == decision.sensitivity
    assert figures.at_rule[POOLED_NAME].specificity == decision.specificity


def test_decision_of_a_single_model_is_fixed_on_val(train_run: Run, small_dataset: Dataset) -> None:
    stopping = read_scores(train_run.path, STOPPING)
    decision = read_decision(train_run)
    assert decision == fix_decision(TINY.rule, stopping, "val", "synthetic")
    np.testing.assert_array_equal(stopping.index, find_originals(small_dataset.val, small_dataset.train))
    figures = read_figures(train_run.path, "val")
    assert (figures.decision, figures.fixed_here) == (decision, True)


def test_cards_hold_the_decision_of_a_single_model_and_none_of_a_fold(cv_run: Run, train_run: Run) -> None:
    decision, card = read_decision(train_run), read_card(train_run.path / MODEL)
    for name in ("rule", "threshold", "temperature", "source"):
        assert getattr(card, name) == getattr(decision, name)
    for folder in cv_run.member_paths():
        card = read_card(folder / MODEL)
        assert (card.rule, card.threshold, card.temperature, card.source) == (None, 0.5, 1.0, None)
        figures = read_figures(folder, OUT_OF_FOLD)
        assert (figures.decision, figures.at_rule) == (None, None)


def test_rule_that_is_asked_for_is_the_one_that_decides(train: Train, small_dataset: Dataset) -> None:
    short = {"head_epochs": 1, "tune_epochs": 0}
    config = TINY.model_copy(update={**short, "rule": "sensitivity:0.9"})
    single, folds = train(small_dataset, config), train(small_dataset, config, folds=2)
    for run in (single, folds):
        decision = read_decision(run)
        assert decision.rule == "sensitivity:0.9"
        assert decision.sensitivity >= 0.9
    fixed = train(small_dataset, TINY.model_copy(update={**short, "rule": "0.25"}))
    assert read_card(fixed.path / MODEL).threshold == 0.25


def test_decision_is_there_before_the_file_that_tells_that_all_is(
    train: Train, small_dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = outcome.write_figures

    def check(folder: Path, figures: Figures) -> None:
        if figures.decision is not None:
            assert (folder / DECISION).is_file()
            assert not (folder / f"metrics_{figures.split}.json").exists()
        whole(folder, figures)

    monkeypatch.setattr(outcome, "write_figures", check)
    config = TINY.model_copy(update={"head_epochs": 1, "tune_epochs": 0})
    for folds in (None, 2):
        assert train(small_dataset, config, folds=folds).is_complete


def test_fold_of_the_highest_out_of_fold_auc_is_the_best(cv_run: Run) -> None:
    figures = read_figures(cv_run.path, OUT_OF_FOLD)
    aucs = {name: metrics.roc_auc for name, metrics in figures.models.items() if name != POOLED_NAME}
    assert figures.best_single is not None
    assert aucs[figures.best_single] == max(aucs.values())


def test_drawn_images_are_marked_in_everything(cv_run: Run, train_run: Run) -> None:
    for run, split in ((cv_run, OUT_OF_FOLD), (train_run, "val")):
        assert run.name.startswith("synthetic-")
        assert json.loads((run.path / CONFIG).read_text())["data"]["synthetic"] is True
        for folder in {run.path, *run.member_paths()}:
            assert read_figures(folder, split).synthetic
            with np.load(folder / f"scores_{split}.npz") as scores:
                assert scores["data"].item() == "synthetic"
        for folder in run.member_paths():
            assert json.loads((folder / HISTORY).read_text())["data"] == "synthetic"
            card = read_card(folder / MODEL)
            assert card.data.synthetic
            assert "synthetic" in card.name


class StopInFold2:
    """A listener that is interrupted when the second fold begins to train."""

    def __call__(self, step: Progress) -> None:
        if step.stage.startswith("fold 2 of"):
            raise KeyboardInterrupt


def stamp_files(folder: Path) -> dict[str, int]:
    return {name: (folder / name).stat().st_mtime_ns for name in list_files(folder)}


def test_stopped_cross_validation_goes_on_to_the_same_scores(
    train: Train, small_dataset: Dataset, cv_run: Run, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(small_dataset, folds=FOLDS, listen=StopInFold2())
    (folder,) = (tmp_path / "runs").iterdir()
    stopped = open_run(folder)
    assert not stopped.is_complete
    assert stopped.finished_folds() == [1]
    assert {path.name for path in folder.iterdir()} == {CONFIG, INPUTS, "fold_1"}
    before = stamp_files(stopped.fold_path(1))

    lines: list[str] = []
    run = train(small_dataset, folds=FOLDS, notify=lines.append)
    assert run.path == folder
    assert any("finished before: fold 1" in line for line in lines)
    assert stamp_files(run.fold_path(1)) == before
    assert list_files(run.path) == list_files(cv_run.path)
    for mine, undisturbed in zip(
        [run.path, *run.member_paths()], [cv_run.path, *cv_run.member_paths()], strict=True
    ):
        assert read_bytes(mine, OUT_OF_FOLD) == read_bytes(undisturbed, OUT_OF_FOLD)
    assert read_figures(run.path, OUT_OF_FOLD) == read_figures(cv_run.path, OUT_OF_FOLD)
    assert (run.path / DECISION).read_bytes() == (cv_run.path / DECISION).read_bytes()


@pytest.mark.slow
def test_folds_side_by_side_give_the_same_scores(train: Train, small_dataset: Dataset, cv_run: Run) -> None:
    run = train(small_dataset, folds=FOLDS, jobs=2)
    assert list_files(run.path) == list_files(cv_run.path)
    mine, other = (read_scores(each.path, OUT_OF_FOLD) for each in (run, cv_run))
    np.testing.assert_array_equal(mine.index, other.index)
    np.testing.assert_allclose(mine.y_score, other.y_score, rtol=0, atol=1e-4)


def test_nothing_is_trained_when_only_the_pooling_is_left(
    cv_copy: Run, train: Train, small_dataset: Dataset
) -> None:
    before = (cv_copy.path / DECISION).read_bytes()
    for file in (cv_copy.last_file, cv_copy.path / DECISION):
        file.unlink()

    def refuse_to_train(step: Progress) -> None:
        raise AssertionError(step.stage)

    run = train(small_dataset, folds=FOLDS, listen=refuse_to_train)
    assert run == cv_copy
    assert run.is_complete
    assert (run.path / DECISION).read_bytes() == before


def plant_near_duplicates(dataset: Dataset) -> tuple[Dataset, set[int]]:
    """Three training images of one label become nearly the same, a chain of them; their rows."""
    images = dataset.train.images.copy()
    rows = np.flatnonzero(dataset.train.labels)[[0, 5, 11]]
    images[rows] = images[rows[0]]
    images[rows[1], 3, 3] ^= 16
    images[rows[2], 20, 3] ^= 16
    return replace_split(dataset, "train", Split(images, dataset.train.labels)), set(rows.tolist())


BRIEF = TINY.model_copy(update={"head_epochs": 1, "tune_epochs": 0})


def test_near_duplicates_are_held_out_together(train: Train, small_dataset: Dataset) -> None:
    dataset, together = plant_near_duplicates(small_dataset)
    run = train(dataset, BRIEF, folds=FOLDS)
    held_out = [set(read_scores(folder, OUT_OF_FOLD).index.tolist()) for folder in run.member_paths()]
    assert [together & rows for rows in held_out if together & rows] == [together]
    assert run.record.groups is not None
    assert (run.record.groups.groups, run.record.groups.images) == (1, 3)


def give_groups(dataset: Dataset, size: int) -> Dataset:
    train = dataset.train
    return replace_split(
        dataset, "train", Split(train.images, train.labels, np.arange(len(train)) // size * 7)
    )


def test_known_groups_are_held_out_together_also_in_a_subset(train: Train, small_dataset: Dataset) -> None:
    config = BRIEF.model_copy(update={"subset": 20})
    dataset = give_groups(small_dataset, 2)
    run = train(dataset, config, folds=2)
    subset = experiments.draw_subset(dataset, 20, TINY.seed).train
    groups = group_images(subset)
    first, second = (read_scores(folder, OUT_OF_FOLD).index for folder in run.member_paths())
    assert not set(groups[first]) & set(groups[second])
    assert run.record.groups is not None
    assert (run.record.groups.groups, run.record.groups.images) == count_groups(groups)
    assert run.record.groups.groups > 3


def test_stopped_run_is_not_gone_on_with_in_other_groups(train: Train, small_dataset: Dataset) -> None:
    paired, in_threes = give_groups(small_dataset, 2), give_groups(small_dataset, 3)
    with pytest.raises(KeyboardInterrupt):
        train(paired, BRIEF, folds=2, listen=StopInFold2())
    assert train(in_threes, BRIEF, folds=2).name == "synthetic-cv-2"
    assert train(small_dataset, BRIEF, folds=2).name == "synthetic-cv-3"
    assert train(paired, BRIEF, folds=2).name == "synthetic-cv-1"


def test_more_folds_than_groups_leave_nothing(train: Train, small_dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"5 folds .* groups"):
        train(give_groups(small_dataset, 6), folds=5)
    assert not (tmp_path / "runs").exists()


def test_no_fold_reads_in_training_what_it_is_scored_on(
    train: Train, small_dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare_material, train_classifier = fold.prepare_material, fold.train_classifier
    watched: list[WatchedRows] = []
    read_by_fold: list[set[int]] = []

    def watch(rows: Any) -> WatchedRows:
        watched.append(WatchedRows(rows))
        return watched[-1]

    def prepare_watched(*arguments: Any, **options: Any) -> Material:
        material = prepare_material(*arguments, **options)
        views = tuple(SplitFeatures(watch(view.maps), watch(view.pooled)) for view in material.views)
        return replace(material, maps=watch(material.maps), views=views)

    def train_and_note(*arguments: Any, **options: Any) -> Trained:
        for rows in watched:
            rows.read.clear()
        trained = train_classifier(*arguments, **options)
        read_by_fold.append(set().union(*(rows.read for rows in watched)))
        return trained

    monkeypatch.setattr(fold, "prepare_material", prepare_watched)
    monkeypatch.setattr(fold, "train_classifier", train_and_note)
    run = train(small_dataset, folds=FOLDS)
    assert len(read_by_fold) == FOLDS
    for folder, read in zip(run.member_paths(), read_by_fold, strict=True):
        held_out = set(read_scores(folder, OUT_OF_FOLD).index.tolist())
        assert held_out
        assert read == set(range(len(small_dataset.train))) - held_out


def strip(figures: Figures) -> dict[str, Any]:
    """The figures without what tells apart runs and data sets."""
    content = figures.to_dict()
    return {"models": list(content["models"].values()), "folds": content.get("folds")}


def test_test_images_play_no_part_in_training(
    train: Train, small_dataset: Dataset, cv_run: Run, train_run: Run
) -> None:
    noisy = replace_split(small_dataset, "test", fill_with_noise(small_dataset.test))
    single, folds = train(noisy), train(noisy, folds=FOLDS)
    for mine, other, split in ((single, train_run, "val"), (folds, cv_run, OUT_OF_FOLD)):
        assert mine.record.data == other.record.data
        assert read_bytes(mine.path, split) == read_bytes(other.path, split)
        assert strip(read_figures(mine.path, split)) == strip(read_figures(other.path, split))
        assert (mine.path / DECISION).read_bytes() == (other.path / DECISION).read_bytes()
        for one, another in zip(mine.member_paths(), other.member_paths(), strict=True):
            assert (one / HISTORY).read_bytes() == (another / HISTORY).read_bytes()


@pytest.fixture(scope="module")
def dataset_with_copies(small_dataset: Dataset) -> Dataset:
    """Images from a file, of which 3 of val also stand in train, and 24 of train are to be kept."""
    val = small_dataset.val
    images = val.images.copy()
    images[:3] = small_dataset.train.images[:3]
    labels = val.labels.copy()
    labels[:3] = small_dataset.train.labels[:3]
    changed = replace_split(small_dataset, "val", Split(images, labels))
    return replace(changed, name="small.npz", synthetic=False)


def test_copies_of_training_images_do_not_say_when_to_stop(
    train: Train, dataset_with_copies: Dataset
) -> None:
    val, shown = dataset_with_copies.val, dataset_with_copies.train
    copies = np.isin(hash_images(val.images), hash_images(shown.images))
    assert copies.sum() == 3
    config = TINY.model_copy(update={"head_epochs": 1, "tune_epochs": 0})
    run = train(dataset_with_copies, config)
    assert run.record.data.stopping_images == len(val) - 3
    assert len(read_scores(run.path, "val").index) == len(val)
    stopping = read_scores(run.path, STOPPING)
    np.testing.assert_array_equal(stopping.index, np.arange(3, len(val)))
    assert read_decision(run) == fix_decision("youden", stopping, "val", "small.npz")
    assert run.name == "train-1"
    assert not run.synthetic
    assert not read_figures(run.path, "val").synthetic
    assert not read_card(run.path / MODEL).data.synthetic


def test_validation_images_that_are_all_copies_are_refused(
    train: Train, small_dataset: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(DataError):
        train(replace_split(small_dataset, "val", small_dataset.train))
    assert not list_files(tmp_path / "runs")


@pytest.mark.parametrize("label", [0, 1])
def test_validation_images_of_one_class_decide_nothing(
    label: int, train: Train, small_dataset: Dataset, tmp_path: Path
) -> None:
    """The other class's images are all copies of training images."""
    val, shown = small_dataset.val, small_dataset.train
    images = val.images.copy()
    images[val.labels != label] = shown.images[: int((val.labels != label).sum())]
    changed = replace_split(small_dataset, "val", Split(images, val.labels))
    with pytest.raises(DataError, match=r"both classes.*pneumocli cv"):
        train(changed)
    assert not list_files(tmp_path / "runs")
    config = TINY.model_copy(update={"head_epochs": 1, "tune_epochs": 0})
    assert train(changed, config, folds=2).is_complete


def test_subset_is_what_is_trained_on(train: Train, small_dataset: Dataset) -> None:
    config = TINY.model_copy(update={"subset": 14, "head_epochs": 1, "tune_epochs": 0})
    run = train(small_dataset, config, folds=2)
    assert run.record.data.train_images == 14
    assert len(read_scores(run.path, OUT_OF_FOLD).index) == 14


@pytest.mark.parametrize("folds", [-1, 0, 1, 13])
def test_impossible_folds_leave_nothing(
    folds: int, train: Train, small_dataset: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="folds"):
        train(small_dataset, folds=folds)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("folds", [None, 2])
def test_weights_of_another_network_leave_nothing(
    folds: int | None, train: Train, small_dataset: Dataset, tmp_path: Path
) -> None:
    def refuse_weights(*arguments: Any) -> Any:
        raise WeightsError("not the weights of ResNet-50")

    with pytest.raises(WeightsError):
        train(small_dataset, folds=folds, backbone_builder=refuse_weights)
    assert not list_files(tmp_path / "runs")


def test_training_that_diverges_says_so(train: Train, small_dataset: Dataset) -> None:
    config = TINY.model_copy(update={"head_learning_rate": 1e38})
    with pytest.raises(PneumoError) as caught:
        train(small_dataset, config)
    assert len(str(caught.value).splitlines()) == 1


def test_taken_name_is_refused_before_training(cv_copy: Run, train: Train, small_dataset: Dataset) -> None:
    def refuse_to_train(step: Progress) -> None:
        raise AssertionError(step.stage)

    before = stamp_files(cv_copy.path)
    with pytest.raises(PneumoError, match="there already"):
        train(small_dataset, folds=FOLDS, name=cv_copy.name, listen=refuse_to_train)
    assert stamp_files(cv_copy.path) == before


@pytest.mark.parametrize("form", ["folder", "csv"])
def test_image_files_train_what_the_same_images_in_an_npz_file_do(
    form: str, train: Train, small_dataset: Dataset, tmp_path: Path
) -> None:
    sorted_splits = {name: sort_by_class(split) for name, split in small_dataset.splits.items()}
    rows = []
    for name, split in sorted_splits.items():
        files = write_split(tmp_path / "xrays" / name, split)
        rows += [f"{name}/{file},{file.partition('/')[0]},{name}" for file in files]
    path = tmp_path / "xrays"
    if form == "csv":
        path = path / "labels.csv"
        path.write_text("\n".join(["path,label,split", *rows[::-1]]))
    plain = train(replace(small_dataset, splits=sorted_splits), folds=2, name="npz", cache=None)
    own = train(gather_data(str(path), 28).dataset, folds=2, name="own", cache=None)
    for mine, other in zip([own.path, *own.member_paths()], [plain.path, *plain.member_paths()], strict=True):
        assert read_bytes(mine, OUT_OF_FOLD) == read_bytes(other, OUT_OF_FOLD)
    assert own.record.data.digest == plain.record.data.digest
    assert own.record.data.name == path.name


def test_large_image_files_without_splits_are_trained_on(train: Train, tmp_path: Path) -> None:
    draw_files(tmp_path / "xrays", name_files((12, 14)), pixels=250)
    data = gather_data(str(tmp_path / "xrays"), 224)
    run = train(data.dataset)
    assert (run.record.data.pixels, run.record.data.train_images) == (224, len(data.dataset.train))
    assert read_card(run.path / MODEL).pixels == 224
    np.testing.assert_array_equal(read_scores(run.path, "val").y_true, data.dataset.val.labels)


def test_test_images_are_not_needed(train: Train, small_dataset: Dataset) -> None:
    splits = {name: small_dataset.splits[name] for name in ("train", "val")}
    with_test, without = train(small_dataset), train(Dataset("own", splits))
    assert read_bytes(without.path, "val") == read_bytes(with_test.path, "val")


@pytest.mark.parametrize("lost", ["train", "val"])
def test_splits_that_training_needs(lost: str, train: Train, small_dataset: Dataset, tmp_path: Path) -> None:
    splits = {name: split for name, split in small_dataset.splits.items() if name != lost}
    for folds in (None, 2):
        with pytest.raises(DataError, match=f"own has no {lost} images"):
            train(Dataset("own", splits), folds=folds)
    assert not (tmp_path / "runs").exists()
