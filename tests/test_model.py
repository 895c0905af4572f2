"""The network: what goes in, where it is cut, what trains, and what a saved file gives back."""

from pathlib import Path

import keras
import numpy as np
import pytest
from networks import SMALL, build_bare, change, draw_images, list_modules, run_all, same_weights, shake
from numpy.typing import NDArray
from PIL import Image

from pneumocli.core.config import Precision, TrainConfig
from pneumocli.core.errors import WeightsError
from pneumocli.core.joining import join_classifier, split_classifier
from pneumocli.core.model import (
    BackboneBuilder,
    Parts,
    build_parts,
    build_resnet50,
    copy_weights,
    enter_views,
    measure_seen,
)


@pytest.fixture(scope="module")
def images() -> NDArray[np.uint8]:
    return draw_images()


def feed(images: NDArray[np.uint8], image_size: int, center_crop: float = 1.0) -> NDArray[np.float32]:
    config = TrainConfig(image_size=image_size, center_crop=center_crop, head_units=1, tune_layers=0)
    trunk = build_parts(images.shape[1], config, None, backbone_builder=build_bare).trunk
    return run_all(trunk, images)


@pytest.mark.parametrize(("pixels", "image_size"), [(28, 32), (28, 56), (28, 96), (64, 64), (64, 40)])
def test_network_is_fed_what_its_weights_were_trained_on(pixels: int, image_size: int) -> None:
    grey = np.random.default_rng(1).integers(0, 256, (3, pixels, pixels, 1), dtype=np.uint8)
    enlarged = keras.ops.convert_to_numpy(
        keras.ops.image.resize(grey.astype(np.float32), (image_size, image_size), "bilinear")
    )
    expected = keras.applications.resnet50.preprocess_input(np.repeat(enlarged, 3, axis=-1))
    np.testing.assert_array_equal(feed(grey, image_size), expected)


@pytest.mark.parametrize(
    ("pixels", "image_size", "center_crop", "side"),
    [(28, 112, 0.93, 120), (28, 224, 0.93, 240), (28, 56, 0.5, 112), (64, 32, 0.9, 36), (28, 32, 0.99, 32)],
)
def test_network_is_fed_the_middle_of_the_image(
    pixels: int, image_size: int, center_crop: float, side: int
) -> None:
    grey = np.random.default_rng(1).integers(0, 256, (3, pixels, pixels, 1), dtype=np.uint8)
    margin = (side - image_size) // 2
    whole = feed(grey, side)
    middle = whole[:, margin : margin + image_size, margin : margin + image_size]
    np.testing.assert_array_equal(feed(grey, image_size, center_crop), middle)


@pytest.mark.parametrize(("image_size", "center_crop", "seen"), [(112, 0.93, 112 / 120), (32, 1.0, 1.0)])
def test_model_tells_what_share_of_an_image_it_sees(image_size: int, center_crop: float, seen: float) -> None:
    config = TrainConfig(image_size=image_size, center_crop=center_crop, head_units=1, tune_layers=0)
    assert measure_seen(build_parts(28, config, None, backbone_builder=build_bare).trunk) == seen


def test_enlarging_is_bilinear() -> None:
    grey = np.random.default_rng(2).integers(0, 256, (1, 28, 28, 1), dtype=np.uint8)
    by_pillow = Image.fromarray(grey[0, :, :, 0].astype(np.float32)).resize(
        (84, 84), Image.Resampling.BILINEAR
    )
    blue = feed(grey, 84)[0, :, :, 0] + 103.939
    np.testing.assert_allclose(blue, np.asarray(by_pillow), atol=1e-3)


def test_pixels_are_neither_divided_nor_clipped() -> None:
    black, white = (feed(np.full((1, 28, 28, 1), level, np.uint8), 32) for level in (0, 255))
    np.testing.assert_allclose(white - black, 255, rtol=1e-6)
    np.testing.assert_allclose(black[0, 0, 0], [-103.939, -116.779, -123.68], rtol=1e-6)


@pytest.mark.parametrize("tune_layers", [0, 1, 4, 6, 12])
def test_whole_is_its_parts_one_after_the_other(
    tiny_backbone: BackboneBuilder, images: NDArray[np.uint8], tune_layers: int
) -> None:
    parts = build_parts(28, change(SMALL, tune_layers=tune_layers), None, backbone_builder=tiny_backbone)
    pooled = run_all(parts.tail, run_all(parts.trunk, images))
    assert pooled.shape == (len(images), 8)
    logits = run_all(join_classifier(parts), images)
    assert logits.shape == (len(images), 1)
    assert logits.std() > 0
    np.testing.assert_array_equal(logits, run_all(parts.head, pooled))


def test_cutting_does_not_change_the_backbone(
    tiny_backbone: BackboneBuilder, images: NDArray[np.uint8]
) -> None:
    whole = tiny_backbone(32, None)
    fed = feed(images, 32)
    pooled = run_all(whole, fed).mean((1, 2))
    for tune_layers in (0, 3, 4, 6, 12):
        parts = build_parts(28, change(SMALL, tune_layers=tune_layers), None, backbone_builder=tiny_backbone)
        ours = run_all(parts.tail, run_all(parts.trunk, images))
        np.testing.assert_allclose(ours, pooled, rtol=1e-5, atol=1e-6)


def test_saved_classifier_gives_the_same_logits_with_keras_alone(
    tiny_backbone: BackboneBuilder, images: NDArray[np.uint8], tmp_path: Path
) -> None:
    parts = build_parts(28, change(SMALL, dropout=0.5), None, backbone_builder=tiny_backbone)
    classifier = join_classifier(parts)
    logits = run_all(classifier, images)
    classifier.save(tmp_path / "a.keras")
    loaded = keras.saving.load_model(tmp_path / "a.keras", safe_mode=True)
    np.testing.assert_array_equal(run_all(loaded, images), logits)
    np.testing.assert_array_equal(loaded.predict(images[:, :, :, 0:1], verbose=0), logits)
    assert all(module.startswith("keras") for module in list_modules(tmp_path / "a.keras"))
    assert (loaded.input.dtype, loaded.input.shape) == ("uint8", (None, 28, 28, 1))
    again = split_classifier(loaded)
    np.testing.assert_array_equal(run_all(join_classifier(again), images), logits)


def test_parts_share_the_weights_of_the_whole(
    tiny_backbone: BackboneBuilder, images: NDArray[np.uint8]
) -> None:
    classifier = join_classifier(build_parts(28, SMALL, None, backbone_builder=tiny_backbone))
    before = run_all(classifier, images)
    shake(split_classifier(classifier).head, seed=0)
    assert (run_all(classifier, images) != before).any()


def test_model_of_other_making_cannot_be_split() -> None:
    with pytest.raises(ValueError, match="trunk"):
        split_classifier(build_bare(32, None))


def test_head_is_drawn_from_seed_and_fold(tiny_backbone: BackboneBuilder) -> None:
    def draw_head(seed: int, fold: int) -> bytes:
        config = change(SMALL, seed=seed, dropout=0.1)
        head = build_parts(28, config, None, fold=fold, backbone_builder=tiny_backbone).head
        hidden, _, logit, _ = head.get_weights()
        return bytes(hidden.tobytes() + logit.tobytes())

    drawn = {(seed, fold): draw_head(seed, fold) for seed in (0, 1) for fold in (0, 1, 2)}
    assert len(set(drawn.values())) == 6
    keras.utils.set_random_seed(99)
    assert draw_head(0, 1) == drawn[0, 1]


def test_head_has_one_hidden_layer_of_the_asked_width(tiny_backbone: BackboneBuilder) -> None:
    head = build_parts(28, change(SMALL, head_units=5), None, backbone_builder=tiny_backbone).head
    assert [array.shape for array in head.get_weights()] == [(8, 5), (5,), (5, 1), (1,)]
    pooled = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)
    hidden, bias, logit, offset = head.get_weights()
    expected = np.maximum(pooled @ hidden + bias, 0) @ logit + offset
    np.testing.assert_allclose(head.predict(pooled, verbose=0), expected, rtol=1e-4, atol=1e-5)


def test_head_without_hidden_units_is_one_linear_layer(tiny_backbone: BackboneBuilder) -> None:
    config = change(SMALL, head_units=0, dropout=0.5)
    head = build_parts(28, config, None, backbone_builder=tiny_backbone).head
    assert [array.shape for array in head.get_weights()] == [(8, 1), (1,)]
    pooled = np.random.default_rng(0).normal(size=(64, 8)).astype(np.float32)
    kernel, bias = head.get_weights()
    expected = pooled @ kernel + bias
    np.testing.assert_allclose(head.predict(pooled, verbose=0), expected, rtol=1e-4, atol=1e-5)
    dropped = keras.ops.convert_to_numpy(head(pooled, training=True))
    assert np.abs(dropped - expected).max() > 1e-3, "what the logit sees is dropped, hidden layer or not"


def test_dropout_acts_in_training_only(tiny_backbone: BackboneBuilder) -> None:
    config = change(SMALL, dropout=0.5)
    head = build_parts(28, config, None, backbone_builder=tiny_backbone).head
    pooled = np.ones((64, 8), np.float32)
    assert np.ptp(keras.ops.convert_to_numpy(head(pooled, training=False))) < 1e-6
    assert np.ptp(keras.ops.convert_to_numpy(head(pooled, training=True))) > 1e-3


def build_unseeded(image_size: int, weights: Path | None) -> keras.Model:
    """A backbone whose weights are drawn as those of Keras's own networks are."""
    image = keras.Input((image_size, image_size, 3))
    return keras.Model(image, keras.layers.Conv2D(4, 3)(keras.layers.Conv2D(4, 3)(image)))


def test_random_backbone_follows_the_seed_and_not_the_fold() -> None:
    def draw_backbone(seed: int, fold: int) -> Parts:
        config = change(SMALL, seed=seed, tune_layers=1)
        return build_parts(28, config, None, fold=fold, backbone_builder=build_unseeded)

    first, second, other = draw_backbone(0, fold=0), draw_backbone(0, fold=1), draw_backbone(1, fold=0)
    assert same_weights(first.trunk, second.trunk)
    assert same_weights(first.tail, second.tail)
    assert not same_weights(first.trunk, other.trunk)
    assert not same_weights(first.tail, other.tail)


@pytest.mark.parametrize("tune_layers", [0, 6, 12])
@pytest.mark.parametrize(("center_crop", "margin"), [(1.0, 0), (0.8, 4)])
def test_views_enter_behind_enlargement_and_crop(
    tiny_backbone: BackboneBuilder,
    images: NDArray[np.uint8],
    tune_layers: int,
    center_crop: float,
    margin: int,
) -> None:
    config = change(SMALL, tune_layers=tune_layers, center_crop=center_crop)
    trunk = build_parts(28, config, None, backbone_builder=tiny_backbone).trunk
    side = 32 + 2 * margin
    grey = keras.layers.Resizing(side, side, "bilinear")(images.astype(np.float32))
    seen = keras.ops.convert_to_numpy(grey)[:, margin : margin + 32, margin : margin + 32]
    from_views = run_all(enter_views(trunk), seen)
    np.testing.assert_array_equal(from_views, run_all(trunk, images))


def test_copied_weights_are_those_of_the_source_and_its_own(
    tiny_backbone: BackboneBuilder, images: NDArray[np.uint8]
) -> None:
    source, target = (
        build_parts(28, SMALL, None, fold=fold, backbone_builder=tiny_backbone) for fold in (1, 2)
    )
    shake(source.tail, seed=0)
    shake(source.head, seed=1)
    copy_weights(source, target)
    scores = run_all(join_classifier(source), images)
    np.testing.assert_array_equal(run_all(join_classifier(target), images), scores)
    shake(source.head, seed=2)
    np.testing.assert_array_equal(run_all(join_classifier(target), images), scores)


MIXED = [(Precision.BFLOAT16, "mixed_bfloat16"), (Precision.FLOAT16, "mixed_float16")]


@pytest.mark.parametrize(("precision", "policy"), MIXED)
def test_mixed_parts_have_float32_weights_preprocessing_and_logit(
    tiny_backbone: BackboneBuilder, images: NDArray[np.uint8], precision: Precision, policy: str
) -> None:
    whole = build_parts(28, SMALL, None, backbone_builder=tiny_backbone)
    mixed = build_parts(28, SMALL, None, precision=precision, backbone_builder=tiny_backbone)
    for ours, theirs in zip(
        (mixed.trunk, mixed.tail, mixed.head), (whole.trunk, whole.tail, whole.head), strict=True
    ):
        assert {weight.dtype for weight in ours.weights} == {"float32"}
        assert same_weights(ours, theirs)
    policies = {layer.name: layer.dtype_policy.name for layer in mixed.trunk.layers + mixed.head.layers}
    for name in ("to_float", "enlarge", "three_channels", "caffe_scaling", "logit"):
        assert policies[name] == "float32"
    weighted = [
        layer
        for part in (mixed.trunk.get_layer("frozen"), mixed.tail)
        for layer in part.layers
        if layer.weights
    ]
    assert {layer.dtype_policy.name for layer in weighted} == {policy}
    assert join_classifier(mixed).output.dtype == "float32"
    logits = run_all(join_classifier(mixed), images)
    expected = run_all(join_classifier(whole), images)
    assert (logits != expected).any()
    np.testing.assert_allclose(logits, expected, rtol=0, atol=0.02)


def test_mixed_precision_ends_with_the_parts(tiny_backbone: BackboneBuilder) -> None:
    def fail(image_size: int, weights: Path | None) -> keras.Model:
        raise WeightsError("no such file")

    with pytest.raises(WeightsError):
        build_parts(28, SMALL, None, precision=Precision.BFLOAT16, backbone_builder=fail)
    assert keras.config.dtype_policy().name == "float32"
    build_parts(28, SMALL, None, precision=Precision.BFLOAT16, backbone_builder=tiny_backbone)
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.parametrize(("precision", "policy"), MIXED)
def test_random_backbone_is_the_same_in_every_precision(precision: Precision, policy: str) -> None:
    config = change(SMALL, tune_layers=1)
    whole = build_parts(28, config, None, backbone_builder=build_unseeded)
    mixed = build_parts(28, config, None, precision=precision, backbone_builder=build_unseeded)
    assert same_weights(whole.trunk, mixed.trunk)
    assert same_weights(whole.tail, mixed.tail)


def write_wrong_weights(path: Path, tiny_backbone: BackboneBuilder) -> None:
    match path.name:
        case "random.h5":
            path.write_bytes(np.random.default_rng(0).bytes(5000))
        case "folder.h5":
            path.mkdir()
        case "other.weights.h5":
            tiny_backbone(32, None).save_weights(path)
        case "other.h5":
            tiny_backbone(32, None).save(path)
        case "cut.h5":
            tiny_backbone(32, None).save(path)
            path.write_bytes(path.read_bytes()[:3000])


@pytest.mark.parametrize(
    "name", ["random.h5", "other.h5", "other.weights.h5", "cut.h5", "missing.h5", "folder.h5"]
)
@pytest.mark.filterwarnings("ignore")
def test_weights_of_another_network_are_refused_in_one_line(
    tmp_path: Path, tiny_backbone: BackboneBuilder, name: str
) -> None:
    path = tmp_path / name
    write_wrong_weights(path, tiny_backbone)
    with pytest.raises(WeightsError) as caught:
        build_resnet50(32, path)
    line = str(caught.value)
    assert len(line.splitlines()) == 1
    assert str(path) in line
    assert "--weights" in line


@pytest.mark.slow
def test_real_weights_load_and_answer_in_caffe_scaling(real_weights: Path) -> None:
    config = TrainConfig(image_size=64, tune_layers=40, head_units=8)
    images = np.random.default_rng(0).integers(0, 256, (4, 28, 28, 1), dtype=np.uint8)
    maps = run_all(build_parts(28, config, real_weights).trunk, images)
    assert np.isfinite(maps).all()
    assert (maps >= 0).all()
    assert 0 < (maps > 0).mean() < 1
    again = build_parts(28, change(config, seed=5), real_weights).trunk
    np.testing.assert_array_equal(run_all(again, images), maps)
