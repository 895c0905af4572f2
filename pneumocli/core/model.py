"""The network: ResNet-50 in a frozen trunk and a trainable tail, a head, and how they are joined.

    uint8 (B, P, P, 1) -> trunk -> feature map -> tail -> pooled (B, C) -> head -> logit (B, 1)

The trunk holds the preprocessing and every layer before the first one that trains, so that its
output can be computed once an image. A probe may stand beside tail and head, a linear layer on the means of
the feature map. Joined (`joining`), the parts are one saved model: raw pixels in, logit out.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from pneumocli.core.blocks import start_as_identity
from pneumocli.core.config import Precision, TrainConfig
from pneumocli.core.errors import PneumoError, WeightsError
from pneumocli.core.probe import Probe
from pneumocli.core.reading import open_file
from pneumocli.core.seeding import derive_seed
from pneumocli.core.weights import check_weights

# To be raised whenever the trunk gives other numbers for the same image and weights.
TRUNK_VERSION = 1

# What `resnet50.preprocess_input` subtracts: ImageNet's mean blue, green and red, of 0 to 255.
CAFFE_MEANS = (103.939, 116.779, 123.68)

BackboneBuilder = Callable[[int, Path | None], keras.Model]


@dataclass(frozen=True)
class Parts:
    """The parts of one classifier, each a Keras model.

    Attributes:
        trunk: uint8 (B, P, P, 1) to a feature map (B, h, w, c), in the precision it was built in;
            never trained.
        tail: the feature map to pooled features (B, C).
        head: pooled features to the logit (B, 1).
        probe: the feature map to a logit (B, 1) of its own; None without one.
    """

    trunk: keras.Model
    tail: keras.Model
    head: keras.Model
    probe: keras.Model | None = None


def build_resnet50(image_size: int, weights: Path | None) -> keras.Model:
    """Return ResNet-50 without its top, inputs (B, image_size, image_size, 3), caffe-scaled.

    Args:
        weights: a file in the form of Keras's own `..._notop.h5`; None for random weights.

    Raises:
        WeightsError: the file cannot be read, or belongs to another network.
    """
    shape = (image_size, image_size, 3)
    if weights is None:
        return keras.applications.ResNet50(include_top=False, weights=None, input_shape=shape)
    try:
        with open_file(weights) as file:
            check_weights(file)
        return keras.applications.ResNet50(include_top=False, weights=str(weights), input_shape=shape)
    except PneumoError:
        raise
    except Exception as error:  # Keras and h5py promise no list of what a wrong file can raise
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise WeightsError(
            f"{weights} does not hold the weights of ResNet-50 without its top ({reason}); "
            "give such a file, or --weights imagenet, or --weights none"
        ) from None


def build_parts(
    pixels: int,
    config: TrainConfig,
    weights: Path | None,
    *,
    fold: int = 0,
    precision: Precision = Precision.FLOAT32,
    backbone_builder: BackboneBuilder = build_resnet50,
) -> Parts:
    """Return fresh parts: the pretrained backbone, cut before its first trainable layer, and a new head.

    Args:
        pixels: side of the uint8 images that go in.
        weights: as for `build_resnet50`.
        fold: draws the head's first weights, together with the seed.
        precision: of the layers' arithmetic; their weights, the preprocessing and the logit are
            float32 in any case.
    """
    # Weights that are drawn, not loaded, come from Keras's global generator: the same in each fold.
    keras.utils.set_random_seed(derive_seed(config.seed, "backbone"))
    with computing_in(precision):
        return _assemble(pixels, config, backbone_builder(config.image_size, weights), fold)


def _assemble(pixels: int, config: TrainConfig, backbone: keras.Model, fold: int) -> Parts:
    layers = backbone.layers
    for position, layer in enumerate(layers):
        is_tuned = position >= len(layers) - config.tune_layers
        layer.trainable = is_tuned and not isinstance(layer, keras.layers.BatchNormalization)
    if config.identity_start:
        start_as_identity(layers)
    cut = layers[find_cut(backbone, config.tune_layers)].output
    trunk = _build_trunk(pixels, config, keras.Model(backbone.input, cut, name="frozen"))
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(backbone.output)
    tail = keras.Model(cut, pooled, name="tail")
    return Parts(trunk, tail, _build_head(pooled.shape[-1], config, fold))


@contextmanager
def computing_in(precision: Precision) -> Iterator[None]:
    """Build layers and models of this precision in the block; their weights are float32 in any case."""
    # Mixed, not pure: in bfloat16 weights, steps of 1e-5 would vanish.
    before = keras.config.dtype_policy()
    name = "float32" if precision is Precision.FLOAT32 else f"mixed_{precision}"
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def name_cut(trunk: keras.Model) -> str:
    """Return the name of the backbone's layer that a trunk ends with."""
    return str(trunk.get_layer("frozen").layers[-1].name)


def enter_views(trunk: keras.Model) -> keras.Model:
    """Return the trunk from behind enlargement and crop: float32 grey (B, S, S, 1) of 0 to 255 in."""
    return keras.Model(trunk.get_layer("three_channels").input[0], trunk.output)


def measure_seen(trunk: keras.Model) -> float:
    """Return the share of an image's side that the network sees, its middle."""
    crops = [layer for layer in trunk.layers if isinstance(layer, keras.layers.Cropping2D)]
    return float(crops[0].output.shape[1] / crops[0].input.shape[1]) if crops else 1.0


def copy_weights(source: Parts, target: Parts) -> None:
    """Set the target's tail and head to the source's weights."""
    target.tail.set_weights(source.tail.get_weights())
    target.head.set_weights(source.head.get_weights())


def count_bytes(*models: keras.Model) -> int:
    """Return how many bytes the weights of some models take."""
    return sum(array.nbytes for model in models for array in model.get_weights())


def find_cut(backbone: keras.Model, tune_layers: int) -> int:
    """Return the position of the last layer before which all is frozen and after which one tensor goes on.

    For ResNet-50 and 40 layers that is `conv4_block5_out`: the 40 begin inside the next residual
    block, whose shortcut still needs its input.
    """
    position = {id(layer): i for i, layer in enumerate(backbone.layers)}
    last_use = list(range(len(backbone.layers)))
    for i, layer in enumerate(backbone.layers):
        for node in layer._inbound_nodes:
            for source in node.parent_nodes:
                if id(source.operation) in position:
                    used = position[id(source.operation)]
                    last_use[used] = max(last_use[used], i)
    first_trainable = max(len(backbone.layers) - tune_layers, 1)
    return max(i for i in range(first_trainable) if all(use <= i for use in last_use[:i]))


def _build_trunk(pixels: int, config: TrainConfig, frozen: keras.Model) -> keras.Model:
    # float32 whatever the training's precision: caffe offsets round in bfloat16.
    image = keras.Input((pixels, pixels, 1), dtype="uint8", name="image")
    grey = keras.layers.Rescaling(1.0, dtype="float32", name="to_float")(image)
    # Keras takes Resizing for training-time augmentation, and hands its `training=True` on to all that comes
    # behind it: a joined model that is called, not asked to predict, would drop out units.
    side = config.resized
    enlarge = keras.layers.Resizing(side, side, "bilinear", dtype="float32", name="enlarge")
    grey = enlarge(grey, training=False)
    margin = (side - config.image_size) // 2
    if margin:
        grey = keras.layers.Cropping2D(margin, dtype="float32", name="middle")(grey)
    channels = keras.layers.Concatenate(dtype="float32", name="three_channels")([grey, grey, grey])
    offsets = [-mean for mean in CAFFE_MEANS]
    scaled = keras.layers.Rescaling(1.0, offset=offsets, dtype="float32", name="caffe_scaling")(channels)
    trunk = keras.Model(image, frozen(scaled), name="trunk")
    trunk.trainable = False
    return trunk


def _build_head(width: int, config: TrainConfig, fold: int) -> keras.Model:
    def draw(layer: str) -> keras.initializers.Initializer:
        return keras.initializers.GlorotUniform(derive_seed(config.seed, "head", fold, layer))

    pooled = seen = keras.Input((width,), name="pooled")
    if config.head_units:
        hidden = keras.layers.Dense(
            config.head_units, activation="relu", kernel_initializer=draw("hidden"), name="hidden"
        )
        seen = hidden(seen)
    if config.dropout:
        # Its seed is set anew every epoch: `seed_dropout`.
        seen = keras.layers.Dropout(config.dropout, seed=0, name="dropout")(seen)
    logit = keras.layers.Dense(1, kernel_initializer=draw("logit"), dtype="float32", name="logit")(seen)
    return keras.Model(pooled, logit, name="head")


def build_probe(parts: Parts, probe: Probe) -> keras.Model:
    """Return a probe of the trunk's means as a model: the feature map (B, h, w, c) in, logit (B, 1) out."""
    maps = keras.Input(parts.trunk.output_shape[1:], name="maps")
    means = keras.layers.GlobalAveragePooling2D(dtype="float32", name="means")(maps)
    layer = keras.layers.Dense(1, dtype="float32", name="probe_logit")
    built = keras.Model(maps, layer(means), name="probe")
    layer.set_weights([probe.kernel[:, np.newaxis], np.array([probe.bias], np.float32)])
    return built


def seed_dropout(head: keras.Model, seed: int) -> None:
    """Let the head's dropout, if it has any, draw from here on as the seed says."""
    for layer in head.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.seed_generator.state.assign([seed, 0])


def enter_pool(tail: keras.Model, name: str) -> keras.Model:
    """Return the tail up to its pooling: the feature map in, the backbone's last maps (B, h, w, C) out."""
    # A layer may stand in several graphs: the tail's own is the one that its output comes from.
    pool, node, _ = tail.outputs[0]._keras_history
    return keras.Model(tail.inputs, pool._inbound_nodes[node].input_tensors[0], name=name)
