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
from learnable import (
    BRIEF,
    CONFIG,
    VAL_COPIES,
    adjust,
    change,
    compute_stopping_loss,
    find_kept,
    list_changed,
    read_all,
)
from numpy.typing import NDArray
from small import WatchedRows

from pneumocli.core.backend import load_backend
from pneumocli.core.cache import Cache
from pneumocli.core.config import Schedule, TrainConfig
from pneumocli.core.data import Dataset
from pneumocli.core.errors import PneumoError
from pneumocli.core.features import FeatureBatches
from pneumocli.core.files import write_json
from pneumocli.core.folds import make_folds
from pneumocli.core.inference import compute_member_scores
from pneumocli.core.material import Material, SplitFeatures, prepare_material
from pneumocli.core.model import BackboneBuilder, Parts, build_parts
from pneumocli.core.progress import Progress
from pneumocli.core.scores import Scores, pool_scores
from pneumocli.core.training import Trained, score_features, train_classifier

pytest_plugins = ["learnt"]


@pytest.fixture(scope="module")
def rows(material: Material) -> NDArray[np.int64]:
    """Rows with another share of normal images than the whole."""
    labels = material.labels
    chosen = np.flatnonzero((labels == 0) | (np.arange(len(labels)) % 3 == 0))
    assert (labels[chosen] == 0).mean() > 1.5 * (labels == 0).mean()
    return chosen


def poison(features: SplitFeatures, rows: NDArray[np.int64]) -> SplitFeatures:
    """Features that spoil whatever these rows take part in."""
    maps, pooled = read_all(features.maps), read_all(features.pooled)
    maps[rows] = pooled[rows] = np.nan
    return SplitFeatures(maps, pooled)


def poison_labels(labels: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    poisoned = labels.copy()
    poisoned[rows] = 10**6
    return poisoned


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
    held_out = np.setdiff1d(material.rows(), rows)
    poisoned = replace(
        material,
        views=(poison(material.views[0], held_out),),
        labels=poison_labels(material.labels, held_out),
        val=poison(material.val, VAL_COPIES),
        val_labels=poison_labels(material.val_labels, VAL_COPIES),
    )
    losses: list[Any] = []
    fits: list[dict[str, Any]] = []
    orders: list[list[int]] = []
    heard: list[Progress] = []
    row_of = {
        row.tobytes(): number
        for features in (material.views[0].pooled, material.views[0].maps)
        for number, row in enumerate(read_all(features))
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
        trained = train_classifier(poisoned, rows, fold=1, title="fold 1", listen=heard.append)
    before = build_parts(28, CONFIG, None, fold=1, backbone_builder=material.backbone_builder)
    return Watched(trained, before, losses, fits, orders, heard)


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
    normal_share = (material.labels[rows] == 0).mean()
    assert len(watched.losses) == 2
    for loss in watched.losses:
        assert loss.alpha == pytest.approx(normal_share)
        assert loss.gamma == CONFIG.focal_gamma


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
    alpha = float((material.labels[rows] == 0).mean())
    loss = compute_stopping_loss(watched.trained, material, alpha)
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
    from_features = score_features(watched.trained.parts, material.val.maps, np.arange(24))
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


@pytest.fixture(scope="module")
def misleading(material: Material) -> Material:
    """Val with its labels exchanged: whatever is learnt makes its loss higher."""
    return replace(material, val_labels=1 - material.val_labels)


def test_a_second_phase_that_makes_things_worse_is_not_kept(
    misleading: Material, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends: list[list[NDArray[np.float32]]] = []
    fit_model = keras.Model.fit

    def watch_fit(model: keras.Model, *args: Any, **settings: Any) -> Any:
        fit_model(model, *args, **settings)
        ends.append(model.get_weights())

    monkeypatch.setattr(keras.Model, "fit", watch_fit)
    patient = adjust(
        misleading, head_patience=1, tune_patience=2, head_epochs=9, tune_epochs=9, tune_learning_rate=0.01
    )
    trained = train_classifier(patient)
    phases = [entry["phase"] for entry in trained.history]
    assert phases == ["head"] * 2 + ["tune"] * 3, "patience ends both phases"
    kept = find_kept(trained.history)
    assert (kept["phase"], kept["epoch"]) == ("tune", 0)
    best_of_head, last_of_head = (entry["val_loss"] for entry in trained.history[:2])
    assert best_of_head < 0.999 * last_of_head
    assert kept["val_loss"] == pytest.approx(best_of_head, rel=1e-4)
    before = build_parts(28, patient.config, None, backbone_builder=misleading.backbone_builder)
    assert list_changed(before.tail, trained.parts.tail) == set()
    assert len(ends) == 2
    for head, both in zip(ends[0], trained.parts.head.get_weights(), strict=True):
        np.testing.assert_array_equal(both, head)
    alpha = float((misleading.labels == 0).mean())
    assert compute_stopping_loss(trained, misleading, alpha) == pytest.approx(kept["val_loss"], rel=1e-4)


def test_a_second_phase_without_a_finite_loss_is_not_kept(material: Material, tmp_path: Path) -> None:
    trained = train_classifier(adjust(material, head_epochs=1, tune_learning_rate=1e30))
    kept = find_kept(trained.history)
    assert (kept["phase"], kept["epoch"]) == ("tune", 0)
    check_sound(replace(trained, history=[]))
    write_json(tmp_path / "history.json", trained.history)


def watch_optimizers(
    material: Material, monkeypatch: pytest.MonkeyPatch, **changes: object
) -> list[keras.optimizers.Optimizer]:
    """Train with other settings and return each phase's optimizer, as it is at the end."""
    seen: list[keras.optimizers.Optimizer] = []
    compile_model = keras.Model.compile

    def watch(model: keras.Model, *args: Any, **options: Any) -> None:
        seen.append(options["optimizer"])
        compile_model(model, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(keras.Model, "compile", watch)
        train_classifier(adjust(material, BRIEF, **changes))
    return [optimizer for optimizer in seen if isinstance(optimizer, keras.optimizers.Optimizer)]


def test_a_cosine_falls_from_the_rate_to_nothing_over_the_whole_phase(
    material: Material, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {"tune_epochs": 4, "tune_schedule": Schedule.COSINE, "tune_learning_rate": 2e-3}
    head, tune = watch_optimizers(material, monkeypatch, **changes, early_stopping=False)
    assert float(head.learning_rate) == pytest.approx(BRIEF.head_learning_rate)
    steps = 4 * 3  # 48 images in batches of 16
    assert int(tune.iterations) == steps
    rates = [float(tune._learning_rate(step)) for step in range(steps + 1)]
    expected = [2e-3 * (1 + np.cos(np.pi * step / steps)) / 2 for step in range(steps + 1)]
    np.testing.assert_allclose(rates, expected, rtol=1e-5, atol=1e-9)


def test_weight_decay_is_taken_off_the_second_phase_alone(
    material: Material, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [each.weight_decay for each in watch_optimizers(material, monkeypatch)] == [None, None]
    decayed = watch_optimizers(material, monkeypatch, weight_decay=0.02)
    assert [each.weight_decay for each in decayed] == [None, 0.02]


@pytest.mark.parametrize(
    "changes",
    [{"head_learning_rate": 1e30, "tune_epochs": 0}, {"tune_learning_rate": 1e30, "early_stopping": False}],
)
def test_a_training_that_diverges_is_said_in_words(material: Material, changes: dict[str, Any]) -> None:
    with pytest.raises(PneumoError, match="learning rate"):
        train_classifier(adjust(material, BRIEF, **changes))


def test_without_early_stopping_all_epochs_run_and_the_last_is_kept(misleading: Material) -> None:
    endless = adjust(misleading, early_stopping=False, head_epochs=3, head_patience=1, tune_patience=1)
    trained = train_classifier(endless)
    last_of_head, last_of_tune = trained.history[2], trained.history[-1]
    assert [entry["phase"] for entry in trained.history if entry["epoch"]] == ["head"] * 3 + ["tune"] * 3
    assert last_of_head["kept"]
    assert last_of_tune["kept"]
    assert sum(entry["kept"] for entry in trained.history) == 2
    alpha = float((misleading.labels == 0).mean())
    loss = compute_stopping_loss(trained, misleading, alpha)
    assert loss == pytest.approx(last_of_tune["val_loss"], rel=1e-4)


@pytest.mark.parametrize("changes", [{"tune_epochs": 0}, {"tune_layers": 0}])
def test_second_phase_can_be_left_out(
    dataset: Dataset, tiny_backbone: BackboneBuilder, tmp_path: Path, changes: dict[str, int]
) -> None:
    config = change(BRIEF, **changes)
    material = prepare_material(dataset, config, None, cache=Cache(tmp_path), backbone_builder=tiny_backbone)
    trained = train_classifier(material)
    assert {entry["phase"] for entry in trained.history} == {"head"}
    before = build_parts(28, config, None, backbone_builder=tiny_backbone)
    assert list_changed(before.tail, trained.parts.tail) == set()


def test_held_out_scores_of_all_folds_cover_every_image_once(material: Material) -> None:
    labels = material.labels
    brief = adjust(material, BRIEF, tune_epochs=0)
    parts = []
    for fold, (train_rows, held_out) in enumerate(make_folds(labels, 2, seed=0), start=1):
        trained = train_classifier(brief, train_rows, fold=fold)
        scores = score_features(trained.parts, material.maps, held_out)
        parts.append(Scores(held_out, labels[held_out], scores))
    pooled = pool_scores(parts)
    assert pooled.index.tolist() == list(range(len(labels)))
    np.testing.assert_array_equal(pooled.y_true, labels)
    for part in parts:
        np.testing.assert_array_equal(pooled.y_score[part.index], part.y_score)


def test_epoch_of_a_fold_is_not_chosen_on_images_it_is_scored_on(material: Material) -> None:
    groups = np.arange(len(material.labels))
    groups[[9, 30, 31]] = 9
    brief = adjust(material, head_epochs=2, tune_epochs=2)
    for fold, (train_rows, held_out) in enumerate(make_folds(material.labels, 3, 0, groups), start=1):
        assert not set(train_rows) & set(held_out)
        maps = WatchedRows(material.maps)
        view, val = (
            SplitFeatures(WatchedRows(features.maps), WatchedRows(features.pooled))
            for features in (material.views[0], material.val)
        )
        trained = train_classifier(replace(brief, maps=maps, views=(view,), val=val), train_rows, fold=fold)
        assert any(entry["phase"] == "tune" for entry in trained.history)
        assert maps.read == set()
        for read in (view.maps, view.pooled):
            assert isinstance(read, WatchedRows)
            assert read.read == set(train_rows.tolist())
        for read in (val.maps, val.pooled):
            assert isinstance(read, WatchedRows)
            assert read.read == set(material.stopping_rows.tolist())
        score_features(trained.parts, maps, held_out)
        assert maps.read == set(held_out.tolist())


def test_epochs_take_the_views_in_turn(
    dataset: Dataset, tiny_backbone: BackboneBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = change(CONFIG, views=2, crop_area=0.5, flip=True, early_stopping=False, tune_epochs=4)
    viewed = prepare_material(dataset, config, None, cache=None, backbone_builder=tiny_backbone)
    known = {
        row.tobytes(): (phase, number)
        for number, view in enumerate(viewed.views)
        for phase, rows in (("head", view.pooled), ("tune", view.maps))
        for row in read_all(rows)
    }
    assert len(known) == 2 * 2 * 48
    seen: list[set[tuple[str, int]]] = []

    def pretend_to_fit(model: keras.Model, batches: FeatureBatches, **settings: Any) -> None:
        for epoch in range(settings["epochs"]):
            for callback in settings["callbacks"]:
                callback.on_epoch_begin(epoch, {})
            seen.append(
                {known[row.tobytes()] for number in range(len(batches)) for row in batches[number][0]}
            )
            for callback in settings["callbacks"]:
                callback.on_epoch_end(epoch, {"loss": 1.0, "auc": 0.5, "val_loss": 1.0, "val_auc": 0.5})

    monkeypatch.setattr(keras.Model, "fit", pretend_to_fit)
    train_classifier(viewed)
    assert seen == [{(phase, epoch % 2)} for phase in ("head", "tune") for epoch in range(4)]


REPEATED_RUN = """
import sys
from pathlib import Path

cache, tests, *folds = sys.argv[1:]
sys.path.insert(0, tests)

from pneumocli.core.backend import load_backend

load_backend(deterministic=True)

import conftest
import numpy as np

from pneumocli.core.cache import Cache
from pneumocli.core.config import TrainConfig
from pneumocli.core.folds import make_folds
from pneumocli.core.material import prepare_material
from pneumocli.core.synthetic import draw_dataset
from pneumocli.core.training import score_features, train_classifier

dataset = draw_dataset(train=32, val=8, test=3)
config = TrainConfig(
    image_size=32, batch_size=8, head_units=32, dropout=0.3, head_epochs=2, head_learning_rate=1e-2,
    tune_layers=7, tune_epochs=1, tune_learning_rate=1e-3, deterministic=True,
)
builder = conftest.build_tiny_backbone
material = prepare_material(dataset, config, None, cache=Cache(Path(cache)), backbone_builder=builder)
splits = make_folds(dataset.train.labels, 2, config.seed)
for fold in map(int, folds):
    rows, held_out = splits[fold - 1]
    trained = train_classifier(material, rows, fold=fold)
    scores = score_features(trained.parts, material.maps, held_out)
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
    material = prepare_material(few, config, None, cache=Cache(tmp_path))
    assert read_all(material.maps).shape == (8, 2, 2, 1024)
    trained = train_classifier(material)
    check_sound(trained)
    from_features = score_features(trained.parts, material.val.maps, np.arange(8))
    from_pixels = compute_member_scores(trained.join(), few.val.images)[0]
    np.testing.assert_allclose(from_pixels, from_features, rtol=1e-5)
