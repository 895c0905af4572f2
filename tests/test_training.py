"""Training on a small backbone: what changes, what never does, and which images have a say."""

import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from pneumocli.core.backend import load_backend
from pneumocli.core.config import TrainConfig
from pneumocli.core.data import Dataset, Split, make_folds
from pneumocli.core.errors import PneumoError
from pneumocli.core.features import FeatureBatches
from pneumocli.core.files import write_json
from pneumocli.core.inference import compute_member_scores
from pneumocli.core.model import BackboneBuilder, Parts, build_parts
from pneumocli.core.progress import Progress
from pneumocli.core.scores import Scores, pool_scores
from pneumocli.core.training import (
    Material,
    SplitFeatures,
    Trained,
    prepare_material,
    score_features,
    train_classifier,
)

CONFIG = TrainConfig(
    image_size=32,
    batch_size=16,
    head_units=16,
    head_epochs=4,
    head_learning_rate=1e-2,
    tune_layers=6,
    tune_epochs=3,
    tune_learning_rate=1e-3,
)
BRIEF = CONFIG.model_copy(update={"head_epochs": 1, "tune_epochs": 1})
VAL_COPIES = np.array([2, 7, 8])


def change(config: TrainConfig, **changes: object) -> TrainConfig:
    return config.model_copy(update=changes)


def draw_split(seed: int, count: int) -> Split:
    """Noise, brighter in pneumonia: soon learnt. One image in four is normal."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(count) % 4 != 0).astype(np.int64)
    levels = rng.normal(np.where(labels, 150, 100)[:, None, None], 30, (count, 28, 28))
    return Split(levels.clip(0, 255).astype(np.uint8), labels)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Three images of val are copies of images of train."""
    train, val = draw_split(0, 48), draw_split(1, 24)
    val.images[VAL_COPIES] = train.images[[9, 10, 12]]
    return Dataset("bright", {"train": train, "val": val, "test": draw_split(2, 12)})


@pytest.fixture(scope="module")
def material(
    dataset: Dataset, tiny_backbone: BackboneBuilder, tmp_path_factory: pytest.TempPathFactory
) -> Material:
    cache = tmp_path_factory.mktemp("bank")
    return prepare_material(dataset, CONFIG, None, cache=cache, backbone_builder=tiny_backbone)


@pytest.fixture(scope="module")
def rows(material: Material) -> NDArray[np.int64]:
    """Rows with another share of normal images than the whole."""
    labels = material.train.labels
    chosen = np.flatnonzero((labels == 0) | (np.arange(len(labels)) % 3 == 0))
    assert (labels[chosen] == 0).mean() > 1.5 * (labels == 0).mean()
    return chosen


def poison(features: SplitFeatures, rows: NDArray[np.int64]) -> SplitFeatures:
    """Features that spoil whatever these rows take part in."""
    maps, pooled, labels = np.array(features.maps), np.array(features.pooled), features.labels.copy()
    maps[rows] = pooled[rows] = np.nan
    labels[rows] = 10**6
    return SplitFeatures(maps, pooled, labels)


@dataclass
class Watched:
    """A training run, and what it asked of Keras on the way."""

    trained: Trained
    before: Parts
    losses: list[Any]
    fits: list[dict[str, Any]]
    orders: list[list[int]]
    heard: list[Progress]


@pytest.fixture(scope="module")
def watched(material: Material, rows: NDArray[np.int64]) -> Watched:
    """One fold, trained where the images that must have no say are poisoned."""
    held_out = np.setdiff1d(material.train.rows(), rows)
    poisoned = replace(material, train=poison(material.train, held_out), val=poison(material.val, VAL_COPIES))
    losses: list[Any] = []
    fits: list[dict[str, Any]] = []
    orders: list[list[int]] = []
    heard: list[Progress] = []
    row_of = {
        row.tobytes(): number
        for features in (material.train.pooled, material.train.maps)
        for number, row in enumerate(features)
    }
    compile_model, fit_model = keras.Model.compile, keras.Model.fit

    def watch_compile(model: keras.Model, *args: Any, **settings: Any) -> None:
        if "loss" in settings:
            losses.append(settings["loss"])
        compile_model(model, *args, **settings)

    def watch_fit(model: keras.Model, batches: FeatureBatches, **settings: Any) -> Any:
        def note_order(epoch: int, logs: object) -> None:
            seen = np.concatenate([batches[number][0] for number in range(len(batches))])
            orders.append([row_of[row.tobytes()] for row in seen])

        fits.append(settings)
        note = keras.callbacks.LambdaCallback(on_epoch_begin=note_order)
        return fit_model(model, batches, **{**settings, "callbacks": [*settings["callbacks"], note]})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.Model, "compile", watch_compile)
        patch.setattr(keras.Model, "fit", watch_fit)
        trained = train_classifier(poisoned, CONFIG, rows, fold=1, title="fold 1", listen=heard.append)
    before = build_parts(28, CONFIG, None, fold=1, backbone_builder=material.backbone_builder)
    return Watched(trained, before, losses, fits, orders, heard)


def list_changed(before: keras.Model, after: keras.Model) -> set[str]:
    pairs = zip(before.weights, after.get_weights(), strict=True)
    return {variable.path.split("/")[-2] for variable, new in pairs if not np.array_equal(variable, new)}


def find_kept(history: list[dict[str, Any]]) -> dict[str, Any]:
    return [entry for entry in history if entry["kept"]][-1]


def compute_stopping_loss(trained: Trained, material: Material, config: TrainConfig, alpha: float) -> float:
    """The focal loss on the rows that decide when to stop, by its formula."""
    chosen = material.stopping_rows
    scores = score_features(trained.parts, material.val.maps, chosen).astype(np.float64)
    labels = material.val.labels[chosen]
    true_class = np.where(labels == 1, scores, 1 - scores)
    weight = np.where(labels == 1, alpha, 1 - alpha)
    return float(np.mean(-weight * (1 - true_class) ** config.focal_gamma * np.log(true_class)))


def test_loss_falls_on_what_can_be_learnt(watched: Watched) -> None:
    history = watched.trained.history
    assert history[-1]["loss"] < 0.9 * history[0]["loss"]
    assert find_kept(history)["val_loss"] < 0.9 * history[0]["val_loss"]
    assert find_kept(history)["val_auc"] > 0.95


def test_history_has_one_entry_an_epoch(watched: Watched) -> None:
    entries = [(entry["phase"], entry["epoch"]) for entry in watched.trained.history]
    assert entries == [
        *(("head", epoch) for epoch in (1, 2, 3, 4)),
        *(("tune", epoch) for epoch in (0, 1, 2, 3)),
    ]
    figures = {"phase", "epoch", "kept", "loss", "auc", "val_loss", "val_auc"}
    assert all(set(entry) == figures for entry in watched.trained.history if entry["epoch"])


def test_second_phase_starts_where_the_first_ended(watched: Watched) -> None:
    history = watched.trained.history
    end_of_head = find_kept([entry for entry in history if entry["phase"] == "head"])
    start_of_tune = next(entry for entry in history if entry["phase"] == "tune")
    assert start_of_tune["val_loss"] == pytest.approx(end_of_head["val_loss"], rel=1e-4)


def test_only_the_layers_that_train_change(watched: Watched) -> None:
    after = watched.trained.parts
    assert list_changed(watched.before.trunk, after.trunk) == set()
    assert list_changed(watched.before.tail, after.tail) == {"last_conv"}
    assert list_changed(watched.before.head, after.head) == {"hidden", "logit"}


def test_normalization_keeps_its_statistics(watched: Watched) -> None:
    tail = watched.trained.parts.tail
    statistics = {variable.path: variable for variable in tail.weights if "moving" in variable.path}
    assert len(statistics) == 4
    for path, variable in statistics.items():
        assert np.unique(variable).tolist() == ([0.0] if "mean" in path else [1.0])


def test_classes_are_weighed_as_in_the_rows_trained_on(
    watched: Watched, material: Material, rows: NDArray[np.int64]
) -> None:
    normal_share = (material.train.labels[rows] == 0).mean()
    assert len(watched.losses) == 2
    for loss in watched.losses:
        assert loss.get_config()["alpha"] == pytest.approx(normal_share)
        assert loss.get_config()["apply_class_balancing"] is True
        assert loss.get_config()["gamma"] == CONFIG.focal_gamma


def test_classes_are_weighed_once(watched: Watched) -> None:
    assert len(watched.fits) == 2
    for settings in watched.fits:
        assert settings.get("class_weight") is None
        assert settings.get("sample_weight") is None


def test_keras_does_not_shuffle(watched: Watched) -> None:
    assert [settings["shuffle"] for settings in watched.fits] == [False, False]


def test_every_epoch_has_all_rows_of_the_fold_in_an_order_of_its_own(
    watched: Watched, rows: NDArray[np.int64]
) -> None:
    assert len(watched.orders) == CONFIG.head_epochs + CONFIG.tune_epochs
    assert all(sorted(order) == rows.tolist() for order in watched.orders)
    assert len({tuple(order) for order in watched.orders}) == len(watched.orders)


def test_best_epoch_is_the_one_returned(
    watched: Watched, material: Material, rows: NDArray[np.int64]
) -> None:
    history = watched.trained.history
    kept = find_kept(history)
    assert kept["val_loss"] == min(entry["val_loss"] for entry in history if entry["phase"] == "tune")
    alpha = float((material.train.labels[rows] == 0).mean())
    loss = compute_stopping_loss(watched.trained, material, CONFIG, alpha)
    assert loss == pytest.approx(kept["val_loss"], rel=1e-4)


def test_listener_hears_whole_numbers_that_rise_to_the_total(watched: Watched) -> None:
    for stage in ("fold 1, head", "fold 1, tune"):
        steps = [step for step in watched.heard if step.stage == stage]
        done = [step.done for step in steps]
        assert done == sorted(done)
        assert all(isinstance(count, int) for count in done)
        assert done[-1] == steps[-1].total
        assert len({step.total for step in steps}) == 1
        assert np.isfinite([list(step.facts.values())[-1] for step in steps]).all()


def test_joined_model_gives_the_scores_of_the_features(
    watched: Watched, material: Material, dataset: Dataset
) -> None:
    from_features = score_features(watched.trained.parts, material.val.maps, material.val.rows())
    from_pixels = compute_member_scores(watched.trained.join(), dataset.val.images)[0]
    np.testing.assert_array_equal(from_pixels, from_features)


def check_sound(trained: Trained) -> None:
    figures = [value for entry in trained.history for name, value in entry.items() if name != "phase"]
    assert np.isfinite(figures).all()
    for part in (trained.parts.tail, trained.parts.head):
        assert all(np.isfinite(array).all() for array in part.get_weights())


def test_fold_never_sees_its_held_out_rows(watched: Watched) -> None:
    check_sound(watched.trained)


def test_val_images_with_a_copy_in_train_do_not_decide_when_to_stop(
    watched: Watched, material: Material
) -> None:
    assert sorted({*range(24)} - {*material.stopping_rows.tolist()}) == VAL_COPIES.tolist()
    check_sound(watched.trained)


def test_val_of_copies_alone_is_refused_in_words(
    dataset: Dataset, tiny_backbone: BackboneBuilder, tmp_path: Path
) -> None:
    copied = Dataset("copied", {**dataset.splits, "val": dataset.train.take(np.arange(12))})
    with pytest.raises(PneumoError, match=r"val|copy|copies"):
        train_classifier(
            prepare_material(copied, BRIEF, None, cache=tmp_path, backbone_builder=tiny_backbone), BRIEF
        )


@pytest.fixture(scope="module")
def misleading(material: Material) -> Material:
    """Val with its labels exchanged: whatever is learnt makes its loss higher."""
    return replace(material, val=replace(material.val, labels=1 - material.val.labels))


def test_a_second_phase_that_makes_things_worse_is_not_kept(
    misleading: Material, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends: list[list[NDArray[np.float32]]] = []
    fit_model = keras.Model.fit

    def watch_fit(model: keras.Model, *args: Any, **settings: Any) -> Any:
        fit_model(model, *args, **settings)
        ends.append(model.get_weights())

    monkeypatch.setattr(keras.Model, "fit", watch_fit)
    config = change(
        CONFIG, head_patience=1, tune_patience=2, head_epochs=9, tune_epochs=9, tune_learning_rate=0.01
    )
    trained = train_classifier(misleading, config)
    phases = [entry["phase"] for entry in trained.history]
    assert phases == ["head"] * 2 + ["tune"] * 3, "patience ends both phases"
    kept = find_kept(trained.history)
    assert (kept["phase"], kept["epoch"]) == ("tune", 0)
    best_of_head, last_of_head = (entry["val_loss"] for entry in trained.history[:2])
    assert best_of_head < 0.999 * last_of_head
    assert kept["val_loss"] == pytest.approx(best_of_head, rel=1e-4)
    before = build_parts(28, config, None, backbone_builder=misleading.backbone_builder)
    assert list_changed(before.tail, trained.parts.tail) == set()
    assert len(ends) == 2
    for head, both in zip(ends[0], trained.parts.head.get_weights(), strict=True):
        np.testing.assert_array_equal(both, head)
    alpha = float((misleading.train.labels == 0).mean())
    assert compute_stopping_loss(trained, misleading, config, alpha) == pytest.approx(
        kept["val_loss"], rel=1e-4
    )


def test_a_second_phase_without_a_finite_loss_is_not_kept(material: Material, tmp_path: Path) -> None:
    trained = train_classifier(material, change(CONFIG, head_epochs=1, tune_learning_rate=1e30))
    kept = find_kept(trained.history)
    assert (kept["phase"], kept["epoch"]) == ("tune", 0)
    check_sound(replace(trained, history=[]))
    write_json(tmp_path / "history.json", trained.history)


def test_a_training_that_diverges_is_said_in_words(material: Material) -> None:
    with pytest.raises(PneumoError, match="learning rate"):
        train_classifier(material, change(BRIEF, head_learning_rate=1e30, tune_epochs=0))


def test_without_early_stopping_all_epochs_run_and_the_last_is_kept(misleading: Material) -> None:
    config = change(CONFIG, early_stopping=False, head_epochs=3, head_patience=1, tune_patience=1)
    trained = train_classifier(misleading, config)
    last_of_head, last_of_tune = trained.history[2], trained.history[-1]
    assert [entry["phase"] for entry in trained.history if entry["epoch"]] == ["head"] * 3 + ["tune"] * 3
    assert last_of_head["kept"]
    assert last_of_tune["kept"]
    assert sum(entry["kept"] for entry in trained.history) == 2
    alpha = float((misleading.train.labels == 0).mean())
    loss = compute_stopping_loss(trained, misleading, config, alpha)
    assert loss == pytest.approx(last_of_tune["val_loss"], rel=1e-4)


@pytest.mark.parametrize("changes", [{"tune_epochs": 0}, {"tune_layers": 0}])
def test_second_phase_can_be_left_out(
    dataset: Dataset, tiny_backbone: BackboneBuilder, tmp_path: Path, changes: dict[str, int]
) -> None:
    config = change(BRIEF, **changes)
    material = prepare_material(dataset, config, None, cache=tmp_path, backbone_builder=tiny_backbone)
    trained = train_classifier(material, config)
    assert {entry["phase"] for entry in trained.history} == {"head"}
    before = build_parts(28, config, None, backbone_builder=tiny_backbone)
    assert list_changed(before.tail, trained.parts.tail) == set()


def test_held_out_scores_of_all_folds_cover_every_image_once(material: Material) -> None:
    labels = material.train.labels
    config = change(BRIEF, tune_epochs=0)
    parts = []
    for fold, (train_rows, held_out) in enumerate(make_folds(labels, 2, seed=0), start=1):
        trained = train_classifier(material, config, train_rows, fold=fold)
        scores = score_features(trained.parts, material.train.maps, held_out)
        parts.append(Scores(held_out, labels[held_out], scores))
    pooled = pool_scores(parts)
    assert pooled.index.tolist() == list(range(len(labels)))
    np.testing.assert_array_equal(pooled.y_true, labels)
    for part in parts:
        np.testing.assert_array_equal(pooled.y_score[part.index], part.y_score)


class WithoutTest(dict[str, Split]):
    """Splits of which test may not be asked for."""

    def __getitem__(self, name: str) -> Split:
        assert name != "test", "the test split was touched"
        return super().__getitem__(name)

    def values(self) -> Any:
        raise AssertionError("all splits were asked for")

    items = values


def test_training_does_not_touch_the_test_split(
    dataset: Dataset, material: Material, tiny_backbone: BackboneBuilder, tmp_path: Path
) -> None:
    blind = Dataset("bright", WithoutTest(dataset.splits))
    ours = prepare_material(blind, CONFIG, None, cache=tmp_path, backbone_builder=tiny_backbone)
    np.testing.assert_array_equal(ours.train.maps, material.train.maps)
    np.testing.assert_array_equal(ours.val.pooled, material.val.pooled)
    np.testing.assert_array_equal(ours.stopping_rows, material.stopping_rows)


def test_features_are_those_of_the_images_row_by_row(dataset: Dataset, material: Material) -> None:
    parts = build_parts(28, CONFIG, None, backbone_builder=material.backbone_builder)
    for features, split in ((material.train, dataset.train), (material.val, dataset.val)):
        maps = parts.trunk.predict(split.images[..., np.newaxis], verbose=0)
        np.testing.assert_allclose(features.maps, maps, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(features.pooled, parts.tail.predict(maps, verbose=0), rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(features.labels, split.labels)


def test_features_of_another_cut_are_not_taken_from_the_bank(
    dataset: Dataset, tiny_backbone: BackboneBuilder, tmp_path: Path
) -> None:
    # Between these two cuts there is an activation alone: no weight and no shape tells them apart.
    for tune_layers in (3, 4):
        config = change(CONFIG, tune_layers=tune_layers)
        kept = prepare_material(dataset, config, None, cache=tmp_path, backbone_builder=tiny_backbone)
        trunk = build_parts(28, config, None, backbone_builder=tiny_backbone).trunk
        expected = trunk.predict(dataset.train.images[..., np.newaxis], verbose=0)
        np.testing.assert_allclose(kept.train.maps, expected, rtol=1e-5, atol=1e-5)


def test_features_are_computed_once_for_both_phases_and_all_folds(
    dataset: Dataset, material: Material, tiny_backbone: BackboneBuilder, tmp_path: Path
) -> None:
    for _ in range(2):
        prepare_material(dataset, CONFIG, None, cache=tmp_path, backbone_builder=tiny_backbone)
    assert len(list(tmp_path.glob("*.npy"))) == 4
    assert not list(tmp_path.glob("*.partial"))


REPEATED_RUN = """
import sys
from pathlib import Path

cache, tests, *folds = sys.argv[1:]
sys.path.insert(0, tests)

from pneumocli.core.backend import load_backend

load_backend(deterministic=True)

import conftest
import numpy as np

from pneumocli.core.config import TrainConfig
from pneumocli.core.data import make_folds
from pneumocli.core.synthetic import draw_dataset
from pneumocli.core.training import prepare_material, score_features, train_classifier

dataset = draw_dataset(train=32, val=8, test=3)
config = TrainConfig(
    image_size=32, batch_size=8, head_units=32, dropout=0.3, head_epochs=2, head_learning_rate=1e-2,
    tune_layers=7, tune_epochs=1, tune_learning_rate=1e-3, deterministic=True,
)
builder = conftest.build_tiny_backbone
material = prepare_material(dataset, config, None, cache=Path(cache), backbone_builder=builder)
splits = make_folds(dataset.train.labels, 2, config.seed)
for fold in map(int, folds):
    rows, held_out = splits[fold - 1]
    trained = train_classifier(material, config, rows, fold=fold)
    scores = score_features(trained.parts, material.train.maps, held_out)
    print(fold, scores.tobytes().hex(), trained.history)
"""


def start_repeated_run(cache: Path, *folds: int) -> "subprocess.Popen[str]":
    tests = Path(__file__).parent
    return subprocess.Popen(
        [sys.executable, "-c", REPEATED_RUN, str(cache), str(tests), *map(str, folds)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )


def test_deterministic_run_repeats_to_the_last_bit_whatever_ran_before(tmp_path: Path) -> None:
    runs = [start_repeated_run(tmp_path / "first", 1, 2), start_repeated_run(tmp_path / "second", 2)]
    (both, noise), (alone, _) = (run.communicate(timeout=300) for run in runs)
    assert [run.returncode for run in runs] == [0, 0], noise
    assert [line[0] for line in both.splitlines()] == ["1", "2"]
    assert both.splitlines()[1] == alone.splitlines()[0]
    assert noise == "", "nothing but our own words goes to the terminal"


def test_deterministic_run_is_refused_once_threads_have_worked() -> None:
    keras.ops.ones(3)
    with pytest.raises(PneumoError, match="process of its own") as caught:
        load_backend(deterministic=True)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.slow
def test_real_network_trains(dataset: Dataset, tmp_path: Path) -> None:
    few = Dataset("few", {name: split.take(np.arange(8)) for name, split in dataset.splits.items()})
    config = TrainConfig(image_size=32, batch_size=8, head_units=8, head_epochs=1, tune_epochs=1)
    material = prepare_material(few, config, None, cache=tmp_path)
    assert material.train.maps.shape == (8, 2, 2, 1024)
    trained = train_classifier(material, config)
    check_sound(trained)
    from_features = score_features(trained.parts, material.val.maps, material.val.rows())
    from_pixels = compute_member_scores(trained.join(), few.val.images)[0]
    np.testing.assert_allclose(from_pixels, from_features, rtol=1e-5)
