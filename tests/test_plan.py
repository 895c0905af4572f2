"""What a run is going to do, against what it does."""

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from small import FOLDS, TINY

from pneumocli.core.cache import Cache, list_banks
from pneumocli.core.config import RECIPES, Precision, TrainConfig
from pneumocli.core.data import Dataset
from pneumocli.core.errors import DataError
from pneumocli.core.folds import make_folds
from pneumocli.core.groups import group_images
from pneumocli.core.material import prepare_material
from pneumocli.core.plan import Plan, plan_run
from pneumocli.core.progress import Progress
from pneumocli.core.training import score_features, train_classifier

VIEWS = TINY.model_copy(update={"views": 2, "flip": True, "head_epochs": 1})


def train_by_hand(dataset: Dataset, config: TrainConfig, cache: Cache | None) -> list[Progress]:
    """One fold of a cross-validation with ResNet-50, and what it tells."""
    heard: list[Progress] = []
    material = prepare_material(dataset, config, None, cache=cache, listen=heard.append)
    groups = group_images(dataset.train)
    rows, held_out = make_folds(dataset.train.labels, FOLDS, config.seed, groups)[0]
    title = f"fold 1 of {FOLDS}"
    trained = train_classifier(material, rows, fold=1, title=title, listen=heard.append)
    stage = f"{title}, held out"
    score_features(trained.parts, material.maps, held_out, stage=stage, listen=heard.append)
    return heard


def plan(dataset: Dataset, config: TrainConfig, cache: Cache | None, **options: object) -> Plan:
    return plan_run(dataset, config, Precision.FLOAT32, folds=FOLDS, cache=cache, **options)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("config", [TINY, VIEWS], ids=["plain", "views"])
def test_steps_and_bytes_are_those_of_the_work(
    config: TrainConfig, small_dataset: Dataset, tmp_path: Path
) -> None:
    cache = Cache(tmp_path)
    found = plan(small_dataset, config, cache)
    assert found.kept_bytes == 0
    heard = train_by_hand(small_dataset, config, cache)
    totals = {step.stage: step.total for step in heard}
    ours = {step.stage: step.images for step in found.steps if step.title in ("", f"fold 1 of {FOLDS}")}
    assert list(totals) == list(ours)  # in this order too
    assert totals == ours
    assert found.feature_bytes == sum(bank.bytes for bank in list_banks(cache))
    # The same plan once more: all of it is there now.
    again = plan(small_dataset, config, cache)
    assert again.kept_bytes == again.feature_bytes == found.feature_bytes
    assert {step.stage for step in again.steps if step.is_kept} == {
        step.stage for step in again.steps if not step.title
    }


@pytest.fixture(scope="module")
def filled(small_dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Cache:
    """The features of VIEWS, by ResNet-50."""
    cache = Cache(tmp_path_factory.mktemp("bank"))
    prepare_material(small_dataset, VIEWS, None, cache=cache)
    return cache


def test_features_that_are_there_are_seen(small_dataset: Dataset, filled: Cache) -> None:
    found = plan(small_dataset, VIEWS, filled)
    assert found.feature_bytes == found.kept_bytes == sum(bank.bytes for bank in list_banks(filled))
    assert {step.stage for step in found.steps if step.is_kept} == {
        step.stage for step in found.steps if not step.title
    }


@pytest.mark.parametrize(
    ("change", "still_kept"),
    [
        ({"image_size": 64}, []),
        ({"tune_layers": 40}, []),
        ({"seed": 1, "views": 1, "flip": True}, ["val"]),
        ({"center_crop": 0.6}, ["view 1 of 2"]),
    ],
)
def test_features_of_other_settings_are_not_taken_for_kept(
    change: dict[str, float], still_kept: list[str], small_dataset: Dataset, filled: Cache
) -> None:
    other = plan(small_dataset, VIEWS.model_copy(update=change), filled)
    kept = [step.stage for step in other.steps if step.is_kept]
    assert list(dict.fromkeys(stage.rpartition(", ")[2] for stage in kept)) == still_kept


def test_without_a_cache_the_frozen_layers_are_part_of_every_epoch(small_dataset: Dataset) -> None:
    kept = plan(small_dataset, TINY, Cache(Path("nowhere")))
    computed = plan(small_dataset, TINY, None)
    assert computed.feature_bytes == 0
    assert all(step.title for step in computed.steps)
    by_stage = {step.stage: step for step in kept.steps}
    for step in computed.steps:
        assert step.operations > by_stage[step.stage].operations


def test_folds_are_those_of_the_run(small_dataset: Dataset) -> None:
    found = plan(small_dataset, TINY, None, finished=frozenset({2}))
    groups = group_images(small_dataset.train)
    labels = small_dataset.train.labels
    for fold, (rows, held_out) in zip(found.folds, make_folds(labels, FOLDS, TINY.seed, groups), strict=True):
        assert fold.train_normal + fold.train_pneumonia == len(rows)
        assert (fold.held_out_normal, fold.held_out_pneumonia) == tuple(np.bincount(labels[held_out]))
        assert fold.is_finished is (fold.fold == 2)
    assert {step.title for step in found.steps if step.is_kept} == {f"fold 2 of {FOLDS}"}


def test_a_fold_of_its_own_is_all_that_is_planned(small_dataset: Dataset, tmp_path: Path) -> None:
    given = {"folds": FOLDS, "fold": 2, "cache": Cache(tmp_path)}
    found = plan_run(small_dataset, TINY, Precision.FLOAT32, finished=frozenset({1}), **given)
    assert [(fold.is_finished, fold.is_ours) for fold in found.folds] == [
        (True, False),
        (False, True),
        (False, False),
    ]
    assert {step.title for step in found.steps} == {"", f"fold 2 of {FOLDS}"}
    alone = plan_run(small_dataset, TINY, Precision.FLOAT32, folds=FOLDS, cache=Cache(tmp_path))
    assert found.room_bytes < alone.room_bytes
    # Its features serve nobody once it is finished.
    done = plan_run(small_dataset, TINY, Precision.FLOAT32, finished=frozenset({2}), **given)
    assert (done.feature_bytes, done.room_bytes) == (0, 0)


def test_where_views_are_trained_on_train_looks_at_the_images_as_they_are(
    small_dataset: Dataset, tmp_path: Path
) -> None:
    for views, through_trunk in ((0, False), (2, True)):
        config = TINY.model_copy(update={"views": views})
        found = plan_run(small_dataset, config, Precision.FLOAT32, cache=Cache(tmp_path))
        last = found.steps[-1]
        assert (last.stage, last.images) == ("likeness to train", len(small_dataset.train))
        assert bool(last.operations) is through_trunk


def test_a_probe_is_a_step_of_each_model(small_dataset: Dataset, tmp_path: Path) -> None:
    config = TINY.model_copy(update={"probe": 0.01})
    fold_titles = [f"fold {fold} of {FOLDS}" for fold in range(1, FOLDS + 1)]
    for folds, titles in ((None, ["model"]), (FOLDS, fold_titles)):
        found = plan_run(small_dataset, config, Precision.FLOAT32, folds=folds, cache=Cache(tmp_path))
        named = [step for step in found.steps if step.stage.endswith(", probe")]
        assert [step.title for step in named] == titles
        trained = [step.images for step in found.steps if step.stage.endswith(", tune")]
        assert [step.images * config.tune_epochs for step in named] == trained
        # The maps are kept: nothing goes through the network for it.
        assert not any(step.operations for step in named)


def test_validation_images_that_cannot_say_when_to_stop(small_dataset: Dataset) -> None:
    train, val = small_dataset.train, small_dataset.val
    normal = val.labels == 0
    of_one_class = replace(val, images=val.images[normal], labels=val.labels[normal])
    for split, folds, words in (
        (replace(val, images=train.images[:6], labels=train.labels[:6]), FOLDS, "stands in train too"),
        (of_one_class, None, "are normal; a threshold needs both classes"),
    ):
        dataset = replace(small_dataset, splits={"train": train, "val": split})
        with pytest.raises(DataError, match=words):
            plan_run(dataset, TINY, Precision.FLOAT32, folds=folds)
    plan_run(dataset, TINY, Precision.FLOAT32, folds=FOLDS)  # whose threshold comes from elsewhere


def test_epochs_may_be_fewer_where_training_may_stop(small_dataset: Dataset) -> None:
    for recipe, fewest in (("original", (6, 3)), ("robust", (2, 12))):
        found = plan_run(small_dataset, RECIPES[recipe], Precision.BFLOAT16, cache=None)
        n = len(small_dataset.train)
        head, tune, *_ = found.steps
        assert (head.fewest // n, tune.fewest // n) == fewest
        assert [phase.epochs for phase in found.phases] == [
            RECIPES[recipe].head_epochs,
            RECIPES[recipe].tune_epochs,
        ]
        assert [phase.may_stop_early for phase in found.phases] == [RECIPES[recipe].early_stopping] * 2


def test_known_sizes_of_the_recipes(small_dataset: Dataset, tmp_path: Path) -> None:
    # 4,708 training and 524 validation images: the README's 4.2 GB and 11.6 GB.
    images = np.zeros((4708, 28, 28), np.uint8)
    labels = np.tile([0, 1], 2354)
    splits = {
        "train": replace(small_dataset.train, images=images, labels=labels),
        "val": replace(small_dataset.val, images=images[:524].copy(), labels=labels[:524]),
    }
    splits["val"].images[:, 0, 0] = np.arange(524) % 251 + 1  # no copies of train
    splits["val"].images[:, 0, 1] = np.arange(524) // 251 + 1
    dataset = replace(small_dataset, splits=splits)
    cache = Cache(tmp_path)
    for recipe, size, precision in (
        ("original", 4.2e9, Precision.BFLOAT16),
        ("robust", 11.63e9, Precision.BFLOAT16),
        ("robust", 11.63e9, Precision.FLOAT32),  # views are kept in 16 bits all the same
    ):
        found = plan_run(dataset, RECIPES[recipe], precision, cache=cache)
        assert found.feature_bytes == pytest.approx(size, rel=0.02)


@pytest.mark.parametrize("head_units", [TINY.head_units, 0])
def test_model_files_are_as_large_as_said(small_dataset: Dataset, tmp_path: Path, head_units: int) -> None:
    from pneumocli.core.joining import join_classifier
    from pneumocli.core.model import build_parts

    config = TINY.model_copy(update={"head_units": head_units})
    model = join_classifier(build_parts(28, config, None))
    model.save(tmp_path / "model.keras")
    found = plan_run(small_dataset, config, Precision.FLOAT32, cache=None)
    assert found.model_bytes == pytest.approx((tmp_path / "model.keras").stat().st_size, rel=0.02)
    assert isinstance(model, keras.Model)
