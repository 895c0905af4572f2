"""Where the backbone is cut, and which of its layers train."""

import json
import re
from collections.abc import Iterable

import keras
import pytest
from networks import SMALL, change

from pneumocli.core.config import TrainConfig
from pneumocli.core.model import BackboneBuilder, build_parts, build_resnet50, find_cut, name_cut


@pytest.fixture(scope="module")
def resnet50() -> keras.Model:
    return build_resnet50(32, None)


def read_sources(backbone: keras.Model) -> list[set[int]]:
    """For each layer the positions of the layers it takes its input from, read from the saved form."""
    layers = backbone.get_config()["layers"]
    position = {layer["config"]["name"]: number for number, layer in enumerate(layers)}
    named = [
        re.findall(r'"keras_history": \["(\w+)"', json.dumps(layer["inbound_nodes"])) for layer in layers
    ]
    assert [layer.name for layer in backbone.layers] == list(position)
    return [{position[name] for name in names} for names in named]


def reach(sources: list[set[int]], without: int) -> set[int]:
    """The layers that the input reaches when one layer is taken out."""
    reached = {0} - {without}
    for layer, origin in enumerate(sources):
        if origin & reached and layer != without:
            reached.add(layer)
    return reached


def find_cuts_by_definition(backbone: keras.Model) -> list[int]:
    """The layers behind which everything hangs on them alone."""
    sources = read_sources(backbone)
    return [
        layer for layer in range(len(sources)) if not any(later > layer for later in reach(sources, layer))
    ]


def check_every_cut(backbone: keras.Model) -> None:
    cuts = find_cuts_by_definition(backbone)
    size = len(backbone.layers)
    for tune_layers in [*range(size + 2), 10 * size]:
        frozen = range(max(size - tune_layers, 1))
        assert find_cut(backbone, tune_layers) == max(set(cuts) & set(frozen)), tune_layers


def test_cut_is_the_last_one_before_the_layers_that_train(
    resnet50: keras.Model, tiny_backbone: BackboneBuilder
) -> None:
    check_every_cut(resnet50)
    check_every_cut(tiny_backbone(32, None))


@pytest.mark.parametrize(
    ("tune_layers", "name"),
    [
        (0, "conv5_block3_out"),
        (10, "conv5_block2_out"),
        (40, "conv4_block5_out"),
        (43, "conv4_block5_add"),
        (44, "conv4_block4_out"),
        (94, "conv3_block4_out"),
        (175, "input_layer"),
    ],
)
def test_cut_of_resnet50_by_name(resnet50: keras.Model, tune_layers: int, name: str) -> None:
    assert len(resnet50.layers) == 175
    assert re.sub(r"_\d+$", "", resnet50.layers[find_cut(resnet50, tune_layers)].name) == name


def list_trainable(layers: Iterable[keras.layers.Layer]) -> set[str]:
    return {layer.name for layer in layers if layer.trainable_weights}


@pytest.mark.parametrize("tune_layers", [0, 1, 2, 3, 5, 6, 7, 11, 12, 100])
def test_the_last_layers_train_but_batch_normalization_never(
    tiny_backbone: BackboneBuilder, tune_layers: int
) -> None:
    parts = build_parts(28, change(SMALL, tune_layers=tune_layers), None, backbone_builder=tiny_backbone)
    last = tiny_backbone(32, None).layers[-tune_layers:] if tune_layers else []
    expected = {layer.name for layer in last if layer.weights and not layer.name.endswith("bn")}
    assert not parts.trunk.trainable_weights
    assert list_trainable(parts.tail.layers) == expected
    assert len(parts.head.trainable_weights) == 4
    count = sum(len(part.weights) for part in (parts.trunk, parts.tail))
    assert count == len(tiny_backbone(32, None).weights)


def test_forty_layers_of_resnet50_train_without_their_normalization() -> None:
    parts = build_parts(28, TrainConfig(image_size=32), None)
    assert not parts.trunk.trainable_weights
    names = list_trainable(parts.tail.layers)
    assert names == {
        "conv4_block6_2_conv",
        "conv4_block6_3_conv",
        "conv5_block1_0_conv",
        *(f"conv5_block{block}_{number}_conv" for block in (1, 2, 3) for number in (1, 2, 3)),
    }
    assert parts.trunk.output_shape == (None, 2, 2, 1024)
    assert parts.tail.output_shape == (None, 2048)


@pytest.mark.parametrize(("tune_layers", "name"), [(3, "block_out"), (4, "block_add"), (6, "stem_pool")])
def test_trunk_knows_the_name_of_its_cut(tiny_backbone: BackboneBuilder, tune_layers: int, name: str) -> None:
    config = change(SMALL, tune_layers=tune_layers)
    assert name_cut(build_parts(28, config, None, backbone_builder=tiny_backbone).trunk) == name
