"""What all training shares: the right numbers, computed once, and the same with and without a cache."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import keras
import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from pneumocli.core import material as module
from pneumocli.core.augment import ViewSource
from pneumocli.core.cache import Cache, list_banks
from pneumocli.core.config import Precision, TrainConfig
from pneumocli.core.data import Dataset, Split
from pneumocli.core.errors import PneumoError
from pneumocli.core.hardware import Processor
from pneumocli.core.inference import Rows
from pneumocli.core.material import Material, prepare_material
from pneumocli.core.model import CAFFE_MEANS, BackboneBuilder, build_parts, enter_views, name_cut
from pneumocli.core.progress import Progress

CONFIG = TrainConfig(image_size=32, batch_size=8, head_units=8, tune_layers=6)
VIEWED = TrainConfig(
    image_size=32,
    batch_size=8,
    head_units=8,
    tune_layers=6,
    views=2,
    crop_area=0.5,
    flip=True,
    brightness=0.2,
    contrast=0.2,
)


def change(config: TrainConfig, **changes: object) -> TrainConfig:
    return TrainConfig.model_validate(config.model_dump() | changes)


def read_all(rows: Rows) -> NDArray[np.float32]:
    return rows[np.arange(len(rows))]


def list_features(material: Material) -> list[NDArray[np.float32]]:
    """All that a Material holds, in one order."""
    pairs = [(features.maps, features.pooled) for features in (*material.views, material.val)]
    return [read_all(rows) for rows in (material.maps, *chain(*pairs))]


def assert_same_bytes(one: Material, other: Material) -> None:
    for mine, theirs in zip(list_features(one), list_features(other), strict=True):
        assert mine.dtype == theirs.dtype == np.float32
        np.testing.assert_array_equal(mine, theirs)


Prepare = Callable[..., Material]


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "bank")


@pytest.fixture
def prepare(small_dataset: Dataset, tiny_backbone: BackboneBuilder, cache: Cache) -> Prepare:
    def call(config: TrainConfig = CONFIG, dataset: Dataset = small_dataset, **options: Any) -> Material:
        chosen = {"cache": cache, "backbone_builder": tiny_backbone} | options
        return prepare_material(dataset, config, None, **chosen)

    return call


@pytest.fixture(scope="module")
def template(
    small_dataset: Dataset, tiny_backbone: BackboneBuilder, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Cache, Material]:
    cache = Cache(tmp_path_factory.mktemp("template"))
    for config in (CONFIG, VIEWED):
        material = prepare_material(small_dataset, config, None, cache=cache, backbone_builder=tiny_backbone)
    return cache, material


@pytest.fixture
def filled(cache: Cache, template: tuple[Cache, Material]) -> Material:
    """The cache holds already what VIEWED needs, and what CONFIG needs."""
    shutil.copytree(template[0].directory, cache.directory)
    return template[1]


class Counter:
    """How many rows went through any part of a network since it was asked last."""

    def __init__(self) -> None:
        self.rows = 0

    def take(self) -> int:
        rows, self.rows = self.rows, 0
        return rows


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> Counter:
    counter = Counter()
    for name in ("predict", "predict_on_batch"):
        monkeypatch.setattr(keras.Model, name, count_rows(counter, getattr(keras.Model, name)))
    return counter


# Every row goes through the trunk, and what comes out of it through the tail.
ROWS_OF_A_VIEW = 2 * 24
ROWS_OF_VAL = 2 * 12
ROWS_OF_BOTH_SPLITS = ROWS_OF_A_VIEW + ROWS_OF_VAL
# With views: the training images as they are serve once, so that they are not computed in advance.
ALL_ROWS = ROWS_OF_VAL + 2 * ROWS_OF_A_VIEW


def count_rows(counter: Counter, method: Callable[..., Any]) -> Callable[..., Any]:
    def counted(model: keras.Model, inputs: Any, *args: Any, **settings: Any) -> Any:
        counter.rows += len(inputs)
        return method(model, inputs, *args, **settings)

    return counted


# What it holds.


@pytest.mark.parametrize("tune_layers", [0, 6])
def test_features_are_those_of_the_images_row_by_row(
    prepare: Prepare, small_dataset: Dataset, tiny_backbone: BackboneBuilder, tune_layers: int
) -> None:
    config = change(CONFIG, tune_layers=tune_layers)
    material = prepare(config)
    parts = build_parts(28, config, None, backbone_builder=tiny_backbone)
    (train,) = material.views
    for features, split in ((train, small_dataset.train), (material.val, small_dataset.val)):
        maps = parts.trunk.predict(split.images[..., np.newaxis], verbose=0)
        pooled = parts.tail.predict(maps, verbose=0)
        np.testing.assert_allclose(read_all(features.maps), maps, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(read_all(features.pooled), pooled, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(read_all(material.maps), read_all(train.maps))
    np.testing.assert_array_equal(material.labels, small_dataset.train.labels)
    np.testing.assert_array_equal(material.val_labels, small_dataset.val.labels)
    assert material.rows().tolist() == list(range(len(small_dataset.train)))


def feed_backbone(
    views: NDArray[np.float32], backbone: keras.Model, cut: str
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Grey views through the whole backbone: what comes out at the cut, and its pooled end."""
    scaled = np.repeat(views, 3, axis=-1) - np.array(CAFFE_MEANS, np.float32)
    both = keras.Model(backbone.input, [backbone.get_layer(cut).output, backbone.output])
    maps, last = both.predict(scaled, verbose=0)
    return maps, last.mean(axis=(1, 2))


def test_views_features_are_those_of_the_views_row_by_row(
    prepare: Prepare, small_dataset: Dataset, tiny_backbone: BackboneBuilder
) -> None:
    material = prepare(VIEWED)
    assert len(material.views) == 2
    cut = name_cut(build_parts(28, VIEWED, None, backbone_builder=tiny_backbone).trunk)
    for number, features in enumerate(material.views):
        source = ViewSource(small_dataset.train.images, VIEWED, number)
        maps, pooled = feed_backbone(read_all(source), tiny_backbone(32, None), cut)
        np.testing.assert_allclose(read_all(features.maps), maps, rtol=2**-8, atol=1e-4)
        np.testing.assert_allclose(read_all(features.pooled), pooled, rtol=2**-8, atol=1e-3)
    one, other = (read_all(features.maps) for features in material.views)
    assert (one != other).any(axis=(1, 2, 3)).all()


def test_views_that_change_nothing_give_the_features_of_the_images(prepare: Prepare) -> None:
    material = prepare(change(CONFIG, views=1))
    (view,) = material.views
    np.testing.assert_allclose(read_all(view.maps), read_all(material.maps), rtol=2**-8, atol=1e-4)


@pytest.mark.parametrize("precision", [Precision.FLOAT32, Precision.BFLOAT16])
def test_what_is_scored_and_what_stops_training_is_never_augmented_nor_rounded(
    prepare: Prepare, precision: Precision
) -> None:
    plain, viewed = prepare(), prepare(VIEWED, precision=precision, cache=None)
    assert viewed.precision is precision
    np.testing.assert_array_equal(read_all(viewed.maps), read_all(plain.maps))
    np.testing.assert_array_equal(read_all(viewed.val.maps), read_all(plain.val.maps))
    np.testing.assert_array_equal(read_all(viewed.val.pooled), read_all(plain.val.pooled))
    for view in viewed.views:
        assert (read_all(view.maps) != read_all(plain.maps)).any(axis=(1, 2, 3)).all()


def test_precision_of_training_changes_no_feature_of_the_images_as_they_are(prepare: Prepare) -> None:
    assert_same_bytes(prepare(precision=Precision.BFLOAT16), prepare(cache=None))


def test_features_in_bfloat16_are_kept_to_the_last_bit(
    prepare: Prepare, small_dataset: Dataset, tiny_backbone: BackboneBuilder, cache: Cache
) -> None:
    prepare()
    whole = {entry.name for entry in list_banks(cache)}
    for _ in range(2):
        material = prepare(VIEWED, precision=Precision.BFLOAT16)
    halved = [path for path in cache.directory.glob("*.npy") if path.stem not in whole]
    assert [np.load(path, mmap_mode="r").dtype for path in halved] == [np.dtype(np.uint16)] * 4
    parts = build_parts(28, VIEWED, None, precision=Precision.BFLOAT16, backbone_builder=tiny_backbone)
    for number, features in enumerate(material.views):
        views = read_all(ViewSource(small_dataset.train.images, VIEWED, number))
        maps = np.asarray(enter_views(parts.trunk).predict_on_batch(views))
        pooled = np.asarray(parts.tail.predict_on_batch(maps.astype(np.float32)))
        for own, kept in ((maps, features.maps), (pooled, features.pooled)):
            assert own.dtype == ml_dtypes.bfloat16
            np.testing.assert_array_equal(read_all(kept), own.astype(np.float32))
            np.testing.assert_array_equal(
                read_all(kept).astype(ml_dtypes.bfloat16).view(np.uint16), own.view(np.uint16)
            )


def test_views_trained_on_in_float32_are_kept_in_half_the_bits(prepare: Prepare, cache: Cache) -> None:
    prepare(VIEWED)
    views = [entry for entry in list_banks(cache) if "view" in entry.key]
    kinds = {(entry.key["output"], entry.key.get("stored_as")) for entry in views}
    assert kinds == {("maps", "bfloat16"), ("pooled", None)}
    assert {entry.key["precision"] for entry in list_banks(cache)} == {"float32"}
    assert {entry.key.get("stored_as") for entry in list_banks(cache) if "view" not in entry.key} == {None}


def test_only_what_serves_more_than_once_is_kept(prepare: Prepare, cache: Cache) -> None:
    # Images as they are serve once, when their fold scores them; late views serve no short phase.
    prepare(change(VIEWED, views=4, head_epochs=1, tune_epochs=2))
    kept = [(entry.key["output"], entry.key.get("view")) for entry in list_banks(cache)]
    assert sorted(kept, key=str) == sorted(
        [("maps", None), ("pooled", None), ("maps", 0), ("pooled", 0), ("maps", 1)], key=str
    )


def test_without_layers_to_tune_late_views_serve_nothing(prepare: Prepare, cache: Cache) -> None:
    prepare(change(VIEWED, views=4, head_epochs=1, tune_epochs=2, tune_layers=0))
    assert {entry.key.get("view") for entry in list_banks(cache)} == {None, 0}


# With and without a cache.


@pytest.mark.parametrize("precision", [Precision.FLOAT32, Precision.BFLOAT16])
def test_cache_changes_no_byte(prepare: Prepare, cache: Cache, precision: Precision) -> None:
    filled, kept, computed = (prepare(VIEWED, precision=precision, cache=c) for c in (cache, cache, None))
    assert_same_bytes(filled, kept)
    assert_same_bytes(filled, computed)


def test_rows_in_any_order_are_the_same_bytes_without_a_cache(prepare: Prepare) -> None:
    kept, computed = prepare(VIEWED), prepare(VIEWED, cache=None)
    for rows in (np.array([23]), np.array([7, 3, 3, 20]), np.arange(24)[::-1]):
        pairs = [(kept.maps, computed.maps), (kept.views[1].pooled, computed.views[1].pooled)]
        for mine, theirs in pairs:
            np.testing.assert_array_equal(mine[rows], theirs[rows])


def test_without_a_cache_nothing_is_written_nor_computed_in_advance(
    prepare: Prepare, computed: Counter, tmp_path: Path
) -> None:
    material = prepare(VIEWED, cache=None)
    assert computed.take() == 0
    list_features(material)
    assert computed.take() > 0
    assert not list(tmp_path.iterdir())


def test_damaged_bank_changes_no_byte(prepare: Prepare, filled: Material, cache: Cache) -> None:
    for path in cache.directory.glob("*.npy"):
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.unlink()
        path.write_bytes(content)
    assert_same_bytes(prepare(VIEWED), filled)


# What is computed once.


def test_second_time_nothing_is_computed(prepare: Prepare, computed: Counter) -> None:
    prepare(VIEWED)
    assert computed.take() == ALL_ROWS
    again: list[Progress] = []
    prepare(VIEWED, listen=again.append)
    assert computed.take() == 0
    assert again
    assert all(step.stage.endswith(", kept") for step in again)


@pytest.mark.parametrize(
    "changes",
    [
        {"head_units": 64, "dropout": 0.3, "head_epochs": 3, "head_learning_rate": 1e-2, "head_patience": 2},
        {"tune_epochs": 7, "tune_learning_rate": 1e-3, "tune_patience": 2, "tune_layers": 5},
        {"tune_epochs": 0, "tune_layers": 7},
        {"batch_size": 5, "focal_gamma": 0.5, "early_stopping": False, "deterministic": True},
        {"views": 1},
    ],
)
def test_settings_that_do_not_touch_the_frozen_layers_share_their_output(
    prepare: Prepare, filled: Material, computed: Counter, changes: dict[str, Any]
) -> None:
    prepare(change(VIEWED, **changes))
    assert computed.take() == 0


@pytest.mark.parametrize(
    ("config", "precision"), [(CONFIG, Precision.BFLOAT16), (change(CONFIG, seed=1), Precision.FLOAT32)]
)
def test_images_as_they_are_share_their_output_with_all_views_and_precisions(
    prepare: Prepare, filled: Material, computed: Counter, config: TrainConfig, precision: Precision
) -> None:
    prepare(config, precision=precision)
    assert computed.take() == 0


def test_further_views_are_added_to_those_there_are(
    prepare: Prepare, filled: Material, computed: Counter
) -> None:
    more = prepare(change(VIEWED, views=3))
    assert computed.take() == ROWS_OF_A_VIEW
    assert_same_bytes(more, prepare(change(VIEWED, views=3), cache=None))


def test_weights_behind_the_cut_leave_the_maps_as_they_are(
    prepare: Prepare, filled: Material, computed: Counter, tiny_backbone: BackboneBuilder
) -> None:
    other = prepare(backbone_builder=Shaken(tiny_backbone, "last_conv"))
    assert computed.take() == ROWS_OF_BOTH_SPLITS / 2
    assert_same_bytes(other, prepare(cache=None, backbone_builder=Shaken(tiny_backbone, "last_conv")))


class Shaken:
    """Builds a backbone of which one layer has other weights."""

    def __init__(self, build: BackboneBuilder, layer: str) -> None:
        self._build = build
        self._layer = layer

    def __call__(self, image_size: int, weights: Path | None) -> keras.Model:
        backbone = self._build(image_size, weights)
        layer = backbone.get_layer(self._layer)
        layer.set_weights([array + 0.01 for array in layer.get_weights()])
        return backbone


# What makes another bank.


def alter_pixel(dataset: Dataset, name: str) -> Dataset:
    images = dataset.splits[name].images.copy()
    images[5, 14, 14] ^= 64
    return replace(dataset, splits={**dataset.splits, name: Split(images, dataset.splits[name].labels)})


def swap_rows(dataset: Dataset) -> Dataset:
    order = np.arange(len(dataset.train))[::-1]
    return replace(dataset, splits={**dataset.splits, "train": dataset.train.take(order)})


# The changed arguments, and the rows that are then computed.
INGREDIENTS: dict[str, Callable[[Dataset, BackboneBuilder], tuple[dict[str, Any], int]]] = {
    "image size": lambda dataset, tiny: ({"config": change(VIEWED, image_size=40)}, ALL_ROWS),
    "cut": lambda dataset, tiny: ({"config": change(VIEWED, tune_layers=3)}, ALL_ROWS),
    "weights": lambda dataset, tiny: ({"backbone_builder": Shaken(tiny, "stem_conv")}, ALL_ROWS),
    "statistics": lambda dataset, tiny: ({"backbone_builder": Shaken(tiny, "stem_bn")}, ALL_ROWS),
    "weights behind the cut": lambda dataset, tiny: (
        {"backbone_builder": Shaken(tiny, "last_conv")},
        ALL_ROWS // 2,
    ),
    "a pixel of train": lambda dataset, tiny: (
        {"dataset": alter_pixel(dataset, "train")},
        2 * ROWS_OF_A_VIEW,
    ),
    "a pixel of val": lambda dataset, tiny: (
        {"dataset": alter_pixel(dataset, "val")},
        ROWS_OF_VAL,
    ),
    "order of the images": lambda dataset, tiny: ({"dataset": swap_rows(dataset)}, 2 * ROWS_OF_A_VIEW),
    "seed": lambda dataset, tiny: ({"config": change(VIEWED, seed=1)}, 2 * ROWS_OF_A_VIEW),
    "crop": lambda dataset, tiny: ({"config": change(VIEWED, crop_area=0.4)}, 2 * ROWS_OF_A_VIEW),
    "middle": lambda dataset, tiny: ({"config": change(VIEWED, center_crop=0.6)}, ROWS_OF_VAL),
    "zoom out": lambda dataset, tiny: ({"config": change(VIEWED, zoom_out=1.2)}, 2 * ROWS_OF_A_VIEW),
    "share of crops": lambda dataset, tiny: ({"config": change(VIEWED, crop_share=0.5)}, 2 * ROWS_OF_A_VIEW),
    "flip": lambda dataset, tiny: ({"config": change(VIEWED, flip=False)}, 2 * ROWS_OF_A_VIEW),
    "brightness": lambda dataset, tiny: ({"config": change(VIEWED, brightness=0.0)}, 2 * ROWS_OF_A_VIEW),
    "contrast": lambda dataset, tiny: ({"config": change(VIEWED, contrast=0.0)}, 2 * ROWS_OF_A_VIEW),
    "precision": lambda dataset, tiny: ({"precision": Precision.BFLOAT16}, 2 * ROWS_OF_A_VIEW),
}


@pytest.mark.parametrize("ingredient", INGREDIENTS)
def test_all_that_changes_the_features_makes_other_banks(
    prepare: Prepare,
    filled: Material,
    computed: Counter,
    small_dataset: Dataset,
    tiny_backbone: BackboneBuilder,
    ingredient: str,
) -> None:
    options, rows = INGREDIENTS[ingredient](small_dataset, tiny_backbone)
    changed = prepare(**{"config": VIEWED, **options})
    assert computed.take() == rows
    pairs = zip(list_features(filled), list_features(changed), strict=True)
    assert any(mine.shape != theirs.shape or (mine != theirs).any() for mine, theirs in pairs)


def test_cuts_before_and_behind_an_activation_have_banks_of_their_own(
    prepare: Prepare, small_dataset: Dataset, tiny_backbone: BackboneBuilder
) -> None:
    # Between these two cuts there is an activation alone: no weight and no shape tells them apart.
    for tune_layers in (3, 4):
        config = change(CONFIG, tune_layers=tune_layers)
        trunk = build_parts(28, config, None, backbone_builder=tiny_backbone).trunk
        expected = trunk.predict(small_dataset.train.images[..., np.newaxis], verbose=0)
        np.testing.assert_allclose(read_all(prepare(config).maps), expected, rtol=1e-5, atol=1e-5)


MACHINES = {
    "processor": (module, "read_processor", lambda: Processor("another", "", frozenset({"avx2"}))),
    "Keras": (keras, "__version__", "0.0.0"),
    "backend's version": (module, "version", lambda package: "0.0.0"),
    "our own trunk": (module, "TRUNK_VERSION", -1),
    "device": (keras.distribution, "list_devices", lambda kind=None: ["gpu:0"]),
}


@pytest.mark.parametrize("machine", MACHINES)
def test_what_another_machine_or_version_computed_is_not_taken(
    prepare: Prepare,
    filled: Material,
    computed: Counter,
    monkeypatch: pytest.MonkeyPatch,
    machine: str,
) -> None:
    monkeypatch.setattr(*MACHINES[machine])
    prepare()
    assert computed.take() == ROWS_OF_BOTH_SPLITS


# What it refuses, and what it leaves alone.


def test_val_of_copies_alone_is_refused_in_words(prepare: Prepare, small_dataset: Dataset) -> None:
    splits = {**small_dataset.splits, "val": small_dataset.train.take(np.arange(12))}
    with pytest.raises(PneumoError, match=r"val|copy|copies") as caught:
        prepare(dataset=Dataset("copied", splits))
    assert len(str(caught.value).splitlines()) == 1


def test_rows_that_decide_when_to_stop_have_no_copy_in_train(
    prepare: Prepare, small_dataset: Dataset
) -> None:
    images = small_dataset.val.images.copy()
    images[[2, 7]] = small_dataset.train.images[[3, 20]]
    splits = {**small_dataset.splits, "val": Split(images, small_dataset.val.labels)}
    material = prepare(dataset=Dataset("some copied", splits), cache=None)
    assert material.stopping_rows.tolist() == [row for row in range(12) if row not in (2, 7)]


def test_rows_that_decide_when_to_stop_have_no_near_duplicate_in_train(
    prepare: Prepare, small_dataset: Dataset
) -> None:
    images = small_dataset.val.images.copy()
    images[[2, 7]] = small_dataset.train.images[[3, 20]]
    images[7] += images[7] < 250
    images[7, 5, 5] ^= 3
    splits = {**small_dataset.splits, "val": Split(images, small_dataset.val.labels)}
    assert np.corrcoef(images[7].ravel(), small_dataset.train.images[20].ravel())[0, 1] > 0.99
    material = prepare(dataset=Dataset("some nearly copied", splits), cache=None)
    assert material.stopping_rows.tolist() == [row for row in range(12) if row not in (2, 7)]


class WithoutTest(dict[str, Split]):
    """Splits of which test may not be asked for."""

    def __getitem__(self, name: str) -> Split:
        assert name != "test", "the test split was touched"
        return super().__getitem__(name)

    def values(self) -> Any:
        raise AssertionError("all splits were asked for")

    items = values


def test_test_split_is_not_touched(prepare: Prepare, filled: Material, small_dataset: Dataset) -> None:
    blind = Dataset("blind", WithoutTest(small_dataset.splits))
    assert_same_bytes(prepare(VIEWED, blind, cache=None), filled)


def test_cache_without_room_is_said_in_one_line(prepare: Prepare, tmp_path: Path) -> None:
    with pytest.raises(PneumoError, match="--cache-limit") as caught:
        prepare(cache=Cache(tmp_path / "small", limit=1000))
    assert len(str(caught.value).splitlines()) == 1
    assert not list((tmp_path / "small").glob("*"))


@pytest.mark.parametrize("precision", [Precision.FLOAT32, Precision.BFLOAT16])
def test_run_whose_banks_do_not_fit_together_is_refused_before_the_work(
    prepare: Prepare, computed: Counter, tmp_path: Path, precision: Precision
) -> None:
    # One driven out by the next would be gone for the next run, its room still held by this one.
    exact = Cache(tmp_path / "exact", limit=10**9)
    material = prepare(VIEWED, cache=exact, precision=precision)
    needed = sum(entry.bytes for entry in list_banks(exact))
    assert needed > read_all(material.maps).nbytes
    computed.take()
    with pytest.raises(PneumoError, match="--views"):
        prepare(VIEWED, cache=Cache(tmp_path / "small", limit=needed - 1), precision=precision)
    assert computed.take() == 0
    assert not (tmp_path / "small").exists()
    fitting = Cache(tmp_path / "fitting", limit=needed)
    assert_same_bytes(prepare(VIEWED, cache=fitting, precision=precision), material)
    assert len(list_banks(fitting)) == len(list_banks(exact))


def test_stopped_work_goes_on_where_it_was(prepare: Prepare, filled: Material, computed: Counter) -> None:
    def stop(step: Progress) -> None:
        if step.stage.startswith("frozen layers, view 2"):
            raise KeyboardInterrupt

    reseeded = change(VIEWED, seed=5)
    with pytest.raises(KeyboardInterrupt):
        prepare(reseeded, listen=stop)
    computed.take()
    prepare(reseeded)
    assert computed.take() == ROWS_OF_A_VIEW


# What comes of it: scores, on one thread, where training repeats to the last bit.

SCORING = """
import sys
from pathlib import Path

cache, tests = map(Path, sys.argv[1:])
sys.path.insert(0, str(tests))

from pneumocli.core.backend import load_backend

load_backend(deterministic=True)

import conftest
import numpy as np

from pneumocli.core.cache import Cache
from pneumocli.core.config import Precision, TrainConfig
from pneumocli.core.material import prepare_material
from pneumocli.core.synthetic import draw_dataset
from pneumocli.core.training import score_features, train_classifier

dataset = draw_dataset(train=20, val=6, test=3)
config = TrainConfig(
    image_size=32, batch_size=8, head_units=16, head_epochs=2, head_learning_rate=1e-2, tune_layers=7,
    tune_epochs=2, tune_learning_rate=1e-3, views=2, crop_area=0.5, flip=True, brightness=0.2, contrast=0.2,
)
for place in (Cache(cache), None):
    material = prepare_material(
        dataset, config, None, cache=place, precision=Precision.BFLOAT16,
        backbone_builder=conftest.build_tiny_backbone,
    )
    trained = train_classifier(material, np.arange(4, 20), fold=1)
    for rows in (material.maps, material.val.maps):
        print(score_features(trained.parts, rows, np.arange(len(rows))).tobytes().hex(), trained.history)
"""


def test_cache_changes_no_bit_of_a_score(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCORING, str(tmp_path), str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 4
    assert lines[:2] == lines[2:]
    assert lines[0] != lines[1]
