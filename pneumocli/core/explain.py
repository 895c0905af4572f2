"""Where the model looked: Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391) on the backbone's last maps.

    a_c = mean over the cells of  d y / d A_c      eq. 1, a channel's weight
    L   = max(0, sum over c of  a_c A_c)           eq. 2, (h, w)

y is the logit of the label that was called: the model's own for pneumonia, its negative for normal, so
that a map always shows what spoke for the label. A (h, w, C) is what the backbone gives to the pooling.

Behind the pooling stand dense layers alone. The gradient is therefore the same in all cells, the head's
divided by h * w, and is written out here: it needs no backend's differentiation, which Keras does not
wrap, and costs two products an image. Before max(0, .) the cells of a map add up to y less the biases
that reach it: a cell's unit is log-odds. So members' maps have one unit, and the ensemble's map is their
plain mean, as its probability is the mean of theirs. Where a probe stands beside the network, y is the
mean of their two logits, and a map is of the network's half of it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from pneumocli.core.data import CLASS_NAMES
from pneumocli.core.errors import RunError
from pneumocli.core.inference import count_filled, ready, run_filled
from pneumocli.core.joining import split_members
from pneumocli.core.model import enter_pool, measure_seen
from pneumocli.core.prediction import Illustrate, Prediction

BATCH_SIZE = 12  # of the last maps, each member's (h, w, 2048), which are large

# Draws and keeps one picture, and returns its path: image uint8 (P, P), map float32 (h, w), the share of the
# image's side that the map is of, its middle, and the answer.
Draw = Callable[[NDArray[np.uint8], NDArray[np.float32], float, dict[str, object]], str]


@dataclass(frozen=True)
class DenseLayer:
    """A dense layer in numbers: kernel float64 (in, out), bias float64 (out,), and whether ReLU follows."""

    kernel: NDArray[np.float64]
    bias: NDArray[np.float64]
    is_rectified: bool


@dataclass(frozen=True)
class Explainer:
    """What maps are computed with.

    Attributes:
        network: uint8 (B, P, P, 1) to the last maps of the K members, float32 (B, K, h, w, C).
        heads: the dense layers of each member's head, first to last.
        share: of a head's logit in its member's: a half where there is a probe, else all.
        seen: share of an image's side that maps are of, its middle.
    """

    network: keras.Model
    heads: list[list[DenseLayer]]
    share: float
    seen: float


def open_explainer(model: keras.Model) -> Explainer:
    """Return what computes a model's maps; the trunk is run once for all members.

    Args:
        model: made by `join_classifier` or `join_ensemble`.

    Raises:
        RunError: a head holds other layers than dense ones with ReLU or none, and dropout.
    """
    members = split_members(model)
    trunk = members[0].trunk
    image = keras.Input(trunk.input_shape[1:], dtype="uint8", name="image")
    features = trunk(image)
    last = [enter_pool(parts.tail, f"maps_{number}")(features) for number, parts in enumerate(members)]
    network = keras.Model(image, keras.ops.stack(last, axis=1), name="last_maps")
    heads = [read_head(parts.head) for parts in members]
    share = 1.0 if members[0].probe is None else 0.5
    return Explainer(ready(network), heads, share, measure_seen(trunk))


def read_head(head: keras.Model) -> list[DenseLayer]:
    """Return the dense layers of a head, in their order.

    Raises:
        RunError: as for `open_explainer`.
    """
    layers = []
    for layer in head.layers:
        if isinstance(layer, keras.layers.Dense) and layer.activation in (
            keras.activations.relu,
            keras.activations.linear,
        ):
            kernel, bias = (np.asarray(part, np.float64) for part in layer.get_weights())
            layers.append(DenseLayer(kernel, bias, layer.activation is keras.activations.relu))
        elif not isinstance(layer, keras.layers.InputLayer | keras.layers.Dropout):
            raise RunError(
                f"the model's head has a layer {layer.name!r} ({type(layer).__name__}) that this version of "
                "pneumocli cannot explain; leave out --explain"
            )
    return layers


def differentiate_head(head: Sequence[DenseLayer], pooled: NDArray[Any]) -> NDArray[np.float64]:
    """Return the gradient of the logit with respect to the pooled features (N, C), float64 (N, C)."""
    values = pooled.astype(np.float64)
    is_open = []  # which units let a gradient through
    for layer in head:
        values = values @ layer.kernel + layer.bias
        is_open.append(values > 0 if layer.is_rectified else np.ones_like(values, bool))
        values = values * is_open[-1]
    gradient = np.ones_like(values)
    for layer, units in zip(reversed(head), reversed(is_open), strict=True):
        gradient = (gradient * units) @ layer.kernel.T
    return gradient


def map_evidence(
    explainer: Explainer, images: NDArray[np.uint8], labels: Sequence[str]
) -> NDArray[np.float32]:
    """Return the mean of the members' Grad-CAM maps for each image's label, float32 (N, h, w).

    Values are log-odds a cell, 0 or more, not scaled image by image: they can be compared.

    Args:
        images: uint8 (N, P, P), P being the size the model was built for.
        labels: "normal" or "pneumonia": what the map is to speak for.
    """
    parts = [
        _map_batch(explainer, images[start : start + BATCH_SIZE], labels[start : start + BATCH_SIZE])
        for start in range(0, len(images), BATCH_SIZE)
    ]
    return np.concatenate(parts) if parts else np.empty((0, *explainer.network.output_shape[2:4]), np.float32)


def _map_batch(explainer: Explainer, images: NDArray[np.uint8], labels: Sequence[str]) -> NDArray[np.float32]:
    # Two shapes at most, for which the network is made ready once each.
    fewest = count_filled(1)
    filled = fewest if len(images) <= fewest else BATCH_SIZE
    rows = np.resize(np.arange(len(images)), filled)
    maps = run_filled(explainer.network, images[rows, ..., np.newaxis])[: len(images)]
    signs = np.array([1.0 if label == CLASS_NAMES[1] else -1.0 for label in labels])
    cells = maps.shape[2] * maps.shape[3]
    total = np.zeros((len(images), *maps.shape[2:4]))
    for member, head in enumerate(explainer.heads):
        gradient = differentiate_head(head, maps[:, member].mean(axis=(1, 2)))
        weights = signs[:, np.newaxis] * explainer.share * gradient / cells
        total += np.maximum(0, np.einsum("nhwc,nc->nhw", maps[:, member], weights))
    return (total / len(explainer.heads)).astype(np.float32)


def explain_with(model: keras.Model, draw: Draw) -> Illustrate:
    """Return what gives `predict_files` a picture for each answer, drawn before the next one is.

    Raises:
        RunError: as for `open_explainer`.
    """
    explainer = open_explainer(model)

    def illustrate(
        images: Sequence[NDArray[np.uint8]], predictions: Sequence[Prediction]
    ) -> Iterator[Prediction]:
        if not predictions:
            return
        maps = map_evidence(explainer, np.stack(images), [answer.label for answer in predictions])
        for image, evidence, answer in zip(images, maps, predictions, strict=True):
            yield replace(answer, explanation=draw(image, evidence, explainer.seen, answer.to_row()))

    return illustrate
