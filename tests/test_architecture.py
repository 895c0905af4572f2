"""ResNet-50 counted by hand against the one that Keras builds."""

import math

import keras
import pytest

from pneumocli.core.architecture import LAYERS, POOLED, count_weights, find_place
from pneumocli.core.model import build_resnet50, find_cut

SIZE = 75  # odd at every stage: rounding shows


@pytest.fixture(scope="module")
def backbone() -> keras.Model:
    return build_resnet50(SIZE, None)


def test_layers_weights_and_channels(backbone: keras.Model) -> None:
    assert len(backbone.layers) == LAYERS
    assert backbone.output_shape[-1] == POOLED
    assert backbone.count_params() == count_weights()


@pytest.mark.parametrize("tune_layers", [0, 1, 2, 3, 32, 33, 40, 94, 95, 100, 150, 168, 171, 174, 175, 999])
def test_the_cut_is_where_training_cuts(tune_layers: int, backbone: keras.Model) -> None:
    layer = backbone.layers[find_cut(backbone, tune_layers)]
    found = find_place(SIZE, tune_layers)
    if found.name != "input_layer":
        assert found.name == layer.name
    assert (found.side, found.side, found.channels) == layer.output.shape[1:]
    assert found.numbers == math.prod(layer.output.shape[1:])


def count_operations(layers: list[keras.layers.Layer]) -> int:
    """Two a weight of a kernel and place that it is laid on."""
    kernels = [layer for layer in layers if isinstance(layer, keras.layers.Conv2D)]
    return sum(2 * math.prod(layer.kernel.shape) * math.prod(layer.output.shape[1:3]) for layer in kernels)


@pytest.mark.parametrize("tune_layers", [0, 40, 94, 170])
def test_operations_before_and_behind_the_cut(tune_layers: int, backbone: keras.Model) -> None:
    cut = find_cut(backbone, tune_layers)
    found = find_place(SIZE, tune_layers)
    assert found.trunk_operations == count_operations(backbone.layers[: cut + 1])
    assert found.tail_operations == count_operations(backbone.layers[cut + 1 :])
