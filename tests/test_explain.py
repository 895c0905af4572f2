"""Grad-CAM against what it must equal: autodifferentiation, CAM, small steps, and the logit itself."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from numpy.typing import NDArray
from small import TINY

from pneumocli.core.artefact import load_model, save_model
from pneumocli.core.data import CLASS_NAMES, Dataset
from pneumocli.core.errors import RunError
from pneumocli.core.evaluation import _describe_ensemble, load_run_model
from pneumocli.core.explain import differentiate_head, map_evidence, open_explainer, read_head
from pneumocli.core.inference import compute_member_scores, compute_outputs, take_logits
from pneumocli.core.joining import join_classifier, join_ensemble, split_classifier, split_members
from pneumocli.core.model import BackboneBuilder, Parts, build_parts, build_probe
from pneumocli.core.probe import Probe
from pneumocli.core.runs import Run

pytest_plugins = ["trained"]

NORMAL, PNEUMONIA = CLASS_NAMES
TOLERANCE = {"rtol": 1e-4, "atol": 1e-7}


@pytest.fixture(scope="module")
def images(small_dataset: Dataset) -> NDArray[np.uint8]:
    return small_dataset.test.images[:11]


@pytest.fixture(scope="module")
def ensemble(cv_run: Run) -> keras.Model:
    return load_run_model(cv_run)


@pytest.fixture(scope="module")
def members(cv_run: Run) -> list[keras.Model]:
    return [load_model(folder / "model.keras")[0] for folder in cv_run.member_paths()]


def explain(model: keras.Model, images: NDArray[np.uint8], label: str) -> NDArray[np.float32]:
    return map_evidence(open_explainer(model), images, [label] * len(images))


def compute_last_maps(parts: Parts, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The maps before the pooling, found by the name that the tests' network gives their layer."""
    inner = keras.Model(parts.tail.inputs, parts.tail.get_layer("last_out").output)
    return np.asarray(inner(parts.trunk(images[..., np.newaxis])))


def differentiate_by_backend(parts: Parts, maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """The gradient of each row's logit in every cell of the last maps, by tensorflow's tape."""
    tensorflow = pytest.importorskip("tensorflow")
    with tensorflow.GradientTape() as tape:
        cells = tensorflow.constant(maps)
        tape.watch(cells)
        logits = parts.head(parts.tail.get_layer("pool")(cells))
    return tape.gradient(logits, cells).numpy()


def build_linear(kernel: NDArray[np.float32], bias: float = 0.3) -> keras.Model:
    """Brightness of 4 x 4 cells in as many channels as weights; mean over the cells; one linear unit."""
    image = keras.Input((28, 28, 1), dtype="uint8", name="image")
    grey = keras.layers.Rescaling(1 / 255, dtype="float32")(image)
    trunk = keras.Model(image, keras.layers.AveragePooling2D(7)(grey), name="trunk")
    features = keras.Input((4, 4, 1))
    last = keras.layers.Conv2D(len(kernel), 1, activation="relu", name="last_out")(features)
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(last)
    vector = keras.Input((len(kernel),))
    logit = keras.layers.Dense(1, name="logit")
    head = keras.Model(vector, logit(vector), name="head")
    logit.set_weights([kernel[:, np.newaxis], np.array([bias], np.float32)])
    return join_classifier(Parts(trunk, keras.Model(features, pooled, name="tail"), head))


@pytest.mark.parametrize("label", CLASS_NAMES)
def test_is_cam_by_a_constant_for_pooling_and_one_linear_unit(label: str, images: NDArray[np.uint8]) -> None:
    """Zhou et al. 2016: the map of a class is the sum of the last maps, each times its weight."""
    kernel = np.float32([1.5, -2.0, 0.7, -0.1])
    model = build_linear(kernel)
    # Channels that are open at different levels of light.
    slopes, starts = np.float32([2, -3, 1, 1]), np.float32([-1, 1.5, 0, 0.1])
    last = split_classifier(model).tail.get_layer("last_out")
    last.set_weights([slopes.reshape(1, 1, 1, 4), starts])
    sign = 1 if label == PNEUMONIA else -1
    cam = compute_last_maps(split_classifier(model), images) @ (sign * kernel)
    assert (cam > 0).any() and (cam < 0).any()
    np.testing.assert_allclose(explain(model, images, label), np.maximum(0, cam) / 16, **TOLERANCE)


@pytest.mark.parametrize("label", CLASS_NAMES)
def test_is_what_differentiation_of_the_whole_network_gives(
    label: str, members: list[keras.Model], images: NDArray[np.uint8]
) -> None:
    """Equations 1 and 2 as they stand, the gradient taken in every cell, of the network's half of a logit."""
    for model in members:
        parts = split_classifier(model)
        maps = compute_last_maps(parts, images)
        gradient = differentiate_by_backend(parts, maps) * (1 if label == PNEUMONIA else -1)
        weights = gradient.mean(axis=(1, 2), keepdims=True)
        expected = np.maximum(0, (weights * maps).sum(axis=-1)) / 2
        np.testing.assert_allclose(explain(model, images, label), expected, **TOLERANCE)


def test_beside_a_probe_it_is_of_the_networks_half_of_the_logit(
    members: list[keras.Model], images: NDArray[np.uint8]
) -> None:
    parts = split_classifier(members[0])
    alone = explain(join_classifier(replace(parts, probe=None)), images, PNEUMONIA)
    another = build_probe(parts, Probe(np.ones(parts.trunk.output_shape[-1], np.float32), 0.5))
    for probe in (parts.probe, another):
        beside = explain(join_classifier(replace(parts, probe=probe)), images, PNEUMONIA)
        np.testing.assert_allclose(beside, alone / 2, **TOLERANCE)


def test_gradient_is_what_small_steps_find(members: list[keras.Model], images: NDArray[np.uint8]) -> None:
    parts = split_classifier(members[0])
    maps = compute_last_maps(parts, images)[:1].astype(np.float64)
    layers = read_head(parts.head)

    def compute_logit(cells: NDArray[np.float64]) -> float:
        values = cells.mean(axis=(1, 2))
        for layer in layers:
            values = values @ layer.kernel + layer.bias
            values = np.maximum(values, 0) if layer.is_rectified else values
        return float(values[0, 0])

    by_network = float(np.asarray(parts.head(maps.mean(axis=(1, 2)).astype(np.float32)))[0, 0])
    assert compute_logit(maps) == pytest.approx(by_network, rel=1e-5, abs=1e-6)
    gradient = differentiate_head(layers, maps.mean(axis=(1, 2)))[0] / (maps.shape[1] * maps.shape[2])
    assert np.abs(gradient).max() > 0
    for channel in range(maps.shape[3]):
        for row, column in ((0, 0), (maps.shape[1] - 1, 1)):
            step = np.zeros_like(maps)
            step[0, row, column, channel] = 1e-5
            slope = (compute_logit(maps + step) - compute_logit(maps - step)) / 2e-5
            assert slope == pytest.approx(gradient[channel], rel=1e-5, abs=1e-9)


def test_cells_of_both_labels_add_up_to_the_logit_where_there_are_no_biases(
    tiny_backbone: BackboneBuilder, images: NDArray[np.uint8]
) -> None:
    """So a cell's value is a share of the log-odds; the members differ, the ensemble has their mean."""
    several = [build_parts(28, TINY, None, fold=fold, backbone_builder=tiny_backbone) for fold in range(3)]
    model = join_ensemble(several)
    logits = compute_outputs(take_logits(model), images[..., np.newaxis], np.arange(len(images)))
    assert np.abs(logits).max() > 1e-3
    shares = explain(model, images, PNEUMONIA) - explain(model, images, NORMAL)
    assert np.ptp(logits, axis=1).min() > 0
    # Where members disagree about a cell, both labels' maps hold it, and their difference its mean.
    np.testing.assert_allclose(shares.sum(axis=(1, 2)), logits.mean(axis=1), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("label", CLASS_NAMES)
def test_ensemble_is_the_mean_of_its_members_as_they_are(
    label: str, ensemble: keras.Model, members: list[keras.Model], images: NDArray[np.uint8]
) -> None:
    alone = np.stack([explain(member, images, label) for member in members])
    assert np.ptp(alone, axis=0).max() > 0
    np.testing.assert_allclose(explain(ensemble, images, label), alone.mean(axis=0), **TOLERANCE)


def test_ensemble_file_gives_the_maps_of_its_run(
    cv_run: Run, ensemble: keras.Model, images: NDArray[np.uint8], tmp_path: Path
) -> None:
    save_model(ensemble, tmp_path / "moved.keras", _describe_ensemble(cv_run))
    loaded, card = load_model(tmp_path / "moved.keras")
    assert len(split_members(loaded)) == card.members == 3
    np.testing.assert_array_equal(
        explain(loaded, images, PNEUMONIA), explain(ensemble, images, PNEUMONIA), strict=True
    )


def test_trunk_is_run_once_for_all_members(ensemble: keras.Model) -> None:
    network = open_explainer(ensemble).network
    trunk = ensemble.get_layer("trunk")
    assert sum(layer is trunk for layer in network.layers) == 1
    assert network.output_shape[1] == 3
    assert sum(node.operation is trunk for nodes in network._nodes_by_depth.values() for node in nodes) == 1


def test_each_image_has_the_map_of_its_own_label(ensemble: keras.Model, images: NDArray[np.uint8]) -> None:
    explainer = open_explainer(ensemble)
    labels = [CLASS_NAMES[number % 2] for number in range(len(images))]
    mixed = map_evidence(explainer, images, labels)
    by_label = {label: map_evidence(explainer, images, [label] * len(images)) for label in CLASS_NAMES}
    assert mixed.shape == (11, *explainer.network.output_shape[2:4])
    assert mixed.dtype == np.float32
    assert (mixed >= 0).all()
    for number, label in enumerate(labels):
        np.testing.assert_array_equal(mixed[number], by_label[label][number])
        alone = map_evidence(explainer, images[number : number + 1], [label])
        np.testing.assert_allclose(alone[0], mixed[number], **TOLERANCE)


def test_no_images_no_maps(ensemble: keras.Model, images: NDArray[np.uint8]) -> None:
    explainer = open_explainer(ensemble)
    assert map_evidence(explainer, images[:0], []).shape == (0, *explainer.network.output_shape[2:4])


@pytest.mark.parametrize(("row", "column"), [(0, 3), (2, 1), (3, 0)])
def test_map_is_largest_where_a_network_that_looks_for_light_finds_it(row: int, column: int) -> None:
    model = build_linear(np.float32([2.0]))
    model.get_layer("tail").get_layer("last_out").set_weights([np.ones((1, 1, 1, 1)), np.zeros(1)])
    image = np.zeros((1, 28, 28), np.uint8)
    image[0, 7 * row : 7 * row + 7, 7 * column : 7 * column + 7] = 255
    expected = np.zeros((1, 4, 4))
    expected[0, row, column] = 2 / 16
    np.testing.assert_allclose(explain(model, image, PNEUMONIA), expected, rtol=1e-6)
    np.testing.assert_array_equal(explain(model, image, NORMAL), 0)


HEADS: dict[str, Callable[[], keras.layers.Layer]] = {
    "unknown": lambda: keras.layers.LayerNormalization(name="unknown"),
    "gelu": lambda: keras.layers.Dense(4, activation="gelu", name="gelu"),
}


@pytest.mark.parametrize("name", HEADS)
def test_head_of_another_kind_is_refused(name: str) -> None:
    vector = keras.Input((4,))
    head = keras.Model(vector, keras.layers.Dense(1)(HEADS[name]()(vector)))
    with pytest.raises(RunError, match=name) as caught:
        read_head(head)
    assert len(str(caught.value).splitlines()) == 1


def test_explaining_leaves_the_scores_as_they_were(ensemble: keras.Model, images: NDArray[np.uint8]) -> None:
    before = compute_member_scores(ensemble, images)
    explain(ensemble, images, PNEUMONIA)
    assert before.tobytes() == compute_member_scores(ensemble, images).tobytes()
