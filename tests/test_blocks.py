"""How residual blocks begin that the weights file left untrained."""

from pathlib import Path

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from pneumocli.core.config import RECIPES, Precision, TrainConfig
from pneumocli.core.model import Parts, build_parts, build_resnet50

SIDE = 64
STAGES_4_AND_5, LAST_TWO_BLOCKS = 94, 20
NORMS = ("gamma", "beta", "moving_mean", "moving_variance")


def name_begun(*layers: str) -> set[str]:
    return {f"{layer}/{weight}" for layer in layers for weight in ("kernel", "bias")}


BEGUN = name_begun("conv5_block1_0_conv", *(f"conv5_block{block}_3_conv" for block in (1, 2, 3)))


def build_half_trained(image_size: int, weights: Path | None) -> keras.Model:
    """ResNet-50 as after `..._stages1to4`: its BatchNorms trained, but for those of stage 5, as measured."""
    backbone = keras.applications.ResNet50(
        include_top=False, weights=None, input_shape=(image_size, image_size, 3)
    )
    rng = np.random.default_rng(1)
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            width = layer.gamma.shape[0]
            layer.moving_mean.assign(rng.normal(0, 0.5, width))
            layer.moving_variance.assign(rng.uniform(0.5, 2, width))
            if not layer.name.startswith("conv5"):
                layer.gamma.assign(rng.uniform(0.5, 1.0, width))
                layer.beta.assign(rng.normal(0, 0.1, width))
    return backbone


def build(tune_layers: int, identity_start: bool = True, precision: Precision = Precision.FLOAT32) -> Parts:
    config = TrainConfig(
        image_size=SIDE, tune_layers=tune_layers, identity_start=identity_start, head_units=0, seed=3
    )
    return build_parts(28, config, None, precision=precision, backbone_builder=build_half_trained)


@pytest.fixture(scope="module")
def passing() -> Parts:
    return build(STAGES_4_AND_5)


@pytest.fixture(scope="module")
def drawn() -> Parts:
    return build(STAGES_4_AND_5, identity_start=False)


@pytest.fixture(scope="module")
def maps(passing: Parts) -> NDArray[np.float32]:
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28, 1)).astype(np.uint8)
    return np.asarray(passing.trunk.predict(images, verbose=0))


def show(parts: Parts, maps: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    """Return what the tail's layer of that name gives."""
    # A layer may stand in several graphs: the tail's own is the last it was called in.
    inner = parts.tail.get_layer(name)._inbound_nodes[-1].output_tensors[0]
    return np.asarray(keras.Model(parts.tail.inputs, inner).predict(maps, verbose=0))


def list_weights(parts: Parts) -> dict[str, NDArray[np.float32]]:
    return {
        f"{layer.name}/{weight.name}": keras.ops.convert_to_numpy(weight)
        for layer in (*parts.trunk.get_layer("frozen").layers, *parts.tail.layers)
        for weight in layer.weights
    }


def test_stage_5_begins_by_passing_on_stage_4(passing: Parts, maps: NDArray[np.float32]) -> None:
    before, after = show(passing, maps, "conv4_block6_out"), show(passing, maps, "conv5_block3_out")
    assert np.ptp(before) > 0.1
    # Its first block takes every second place; 2,048 channels are the 1,024 twice.
    every_second = before[:, ::2, ::2]
    scale = np.abs(before).max()
    np.testing.assert_allclose(after[..., :1024], every_second, atol=1e-4 * scale)
    np.testing.assert_allclose(after[..., 1024:], every_second, atol=1e-4 * scale)
    pooled = passing.tail.predict(maps, verbose=0)
    np.testing.assert_allclose(pooled[:, :1024], every_second.mean(axis=(1, 2)), atol=1e-4 * scale)


def list_changed(ours: Parts, theirs: Parts) -> set[str]:
    one, other = list_weights(ours), list_weights(theirs)
    assert one.keys() == other.keys()
    assert all(
        (a == b).all() for a, b in zip(ours.head.get_weights(), theirs.head.get_weights(), strict=True)
    )
    return {name for name in one if (one[name] != other[name]).any()}


def test_nothing_else_is_changed(passing: Parts, drawn: Parts) -> None:
    assert list_changed(passing, drawn) == BEGUN


def test_blocks_that_do_not_train_stay_as_they_are(drawn: Parts) -> None:
    begun = name_begun("conv5_block2_3_conv", "conv5_block3_3_conv")
    assert list_changed(build(LAST_TWO_BLOCKS), drawn) == begun


def test_blocks_that_begin_so_learn_in_every_layer() -> None:
    parts = build(STAGES_4_AND_5)
    model = keras.Model(parts.tail.inputs, parts.head(parts.tail.output))
    model.compile(keras.optimizers.Adam(1e-3), keras.losses.BinaryCrossentropy(from_logits=True))
    before = list_weights(parts)
    rng = np.random.default_rng(0)
    maps = np.abs(rng.normal(size=(8, *parts.tail.input_shape[1:]))).astype(np.float32)
    # The first step moves the last convolutions alone: before that, nothing of their branches is seen.
    model.fit(maps, np.arange(8) % 2, batch_size=4, epochs=1, verbose=0)
    after = list_weights(parts)
    still = {name for name in before if (before[name] == after[name]).all()}
    frozen = list_weights(Parts(parts.trunk, parts.trunk.get_layer("frozen"), parts.head))
    assert still == {name for name in before if name.endswith(NORMS)} | frozen.keys()


def test_precision_of_training_does_not_change_how_blocks_begin(passing: Parts) -> None:
    mixed = list_weights(build(STAGES_4_AND_5, precision=Precision.BFLOAT16))
    assert all((array == mixed[name]).all() for name, array in list_weights(passing).items())


def test_recipes_say_how_blocks_begin() -> None:
    assert RECIPES["robust"].identity_start and not RECIPES["original"].identity_start


@pytest.mark.slow
def test_real_weights_leave_stage_5_to_begin_so_and_no_other(real_weights: Path) -> None:
    config = TrainConfig(image_size=SIDE, tune_layers=STAGES_4_AND_5, identity_start=True)
    plain = config.model_copy(update={"identity_start": False})
    ours, theirs = (
        list_weights(build_parts(28, settings, real_weights, backbone_builder=build_resnet50))
        for settings in (config, plain)
    )
    changed = {name for name in ours if (ours[name] != theirs[name]).any()}
    assert changed == BEGUN
