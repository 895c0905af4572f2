"""Scores: in the order of the rows, whatever the batches."""

import itertools
from collections.abc import Callable

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from pneumocli.core.calibration import squash_logits
from pneumocli.core.config import TrainConfig
from pneumocli.core.inference import (
    compute_member_scores,
    compute_outputs,
    count_filled,
    ready,
    run_batches,
)
from pneumocli.core.joining import join_classifier
from pneumocli.core.model import BackboneBuilder, build_parts
from pneumocli.core.progress import Progress


@pytest.fixture(scope="module")
def doubling() -> keras.Model:
    """Gives back twice what goes in, so that every output names its row."""
    number = keras.Input((1,))
    return keras.Model(number, keras.layers.Rescaling(2.0)(number))


@pytest.fixture(scope="module")
def classifier(tiny_backbone: BackboneBuilder) -> keras.Model:
    config = TrainConfig(image_size=32, head_units=16)
    return join_classifier(build_parts(28, config, None, backbone_builder=tiny_backbone))


@pytest.fixture(scope="module")
def images() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (11, 28, 28), dtype=np.uint8)


@pytest.mark.parametrize(
    ("count", "batch_size", "sizes"),
    [
        (0, 16, []),
        (1, 16, [1]),
        (16, 16, [16]),
        (24, 16, [12, 12]),
        (33, 16, [11, 11, 11]),
        (35, 16, [12, 12, 11]),
    ],
)
def test_batches_are_even_so_that_little_is_filled_up(
    doubling: keras.Model, count: int, batch_size: int, sizes: list[int]
) -> None:
    inputs = np.ones((40, 1), np.float32)
    batches = run_batches(ready(doubling), inputs, np.arange(count), batch_size)
    assert [len(batch) for batch in batches] == sizes


@pytest.mark.parametrize(
    ("count", "batch_size"), [(1, 32), (5, 32), (32, 32), (33, 32), (7, 3), (6, 3), (4, 1)]
)
def test_every_row_once_in_its_order(doubling: keras.Model, count: int, batch_size: int) -> None:
    inputs = np.arange(50, dtype=np.float32)[:, np.newaxis]
    rows = np.random.default_rng(count).permutation(50)[:count]
    outputs = compute_outputs(doubling, inputs, rows, batch_size=batch_size)
    assert outputs.dtype == np.float32
    np.testing.assert_array_equal(outputs[:, 0], 2 * rows)
    batches = list(run_batches(ready(doubling), inputs, rows, batch_size))
    assert max(len(batch) for batch in batches) <= batch_size
    np.testing.assert_array_equal(np.concatenate(batches), outputs)


def test_no_rows_give_no_scores(classifier: keras.Model, images: NDArray[np.uint8]) -> None:
    assert compute_member_scores(classifier, images[:0]).shape == (1, 0)


def test_repeated_rows_are_answered_each_time(doubling: keras.Model) -> None:
    inputs = np.arange(3, dtype=np.float32)[:, np.newaxis]
    outputs = compute_outputs(doubling, inputs, np.array([2, 0, 2, 2]), batch_size=3)
    assert outputs[:, 0].tolist() == [4, 0, 4, 4]


def test_listener_hears_how_many_rows_are_done(doubling: keras.Model) -> None:
    heard: list[Progress] = []
    inputs = np.zeros((9, 1), np.float32)
    compute_outputs(doubling, inputs, np.arange(7), batch_size=3, stage="scores on val", listen=heard.append)
    assert [(step.stage, step.done, step.total) for step in heard] == [
        ("scores on val", done, 7) for done in (3, 6, 7)
    ]


def test_score_of_an_image_does_not_depend_on_its_neighbours(
    classifier: keras.Model, images: NDArray[np.uint8]
) -> None:
    scores = compute_member_scores(classifier, images, batch_size=4)
    order = np.random.default_rng(1).permutation(len(images))
    np.testing.assert_array_equal(
        compute_member_scores(classifier, images[order], batch_size=4), scores[:, order]
    )


# Layers whose products are computed in another order where a batch holds one row.
WIDE: dict[str, Callable[[], tuple[tuple[int, ...], keras.layers.Layer]]] = {
    "dense": lambda: ((512,), keras.layers.Dense(64)),
    "convolution": lambda: ((2, 2, 512), keras.layers.Conv2D(512, 1)),
}


def build_wide(layer: str, rows: int) -> tuple[keras.Model, NDArray[np.float32]]:
    shape, weighted = WIDE[layer]()
    row = keras.Input(shape)
    inputs = np.random.default_rng(0).normal(size=(rows, *shape)).astype(np.float32)
    return keras.Model(row, weighted(row)), inputs


@pytest.mark.parametrize("layer", WIDE)
def test_row_alone_has_the_bytes_it_has_among_others(layer: str) -> None:
    model, inputs = build_wide(layer, rows=33)
    together = compute_outputs(model, inputs, np.arange(33))
    for batch_size in (1, 2, 3, 32):
        outputs = compute_outputs(model, inputs, np.arange(33), batch_size=batch_size)
        np.testing.assert_array_equal(outputs, together)
    for rows in ([0], [32], [5, 5]):
        np.testing.assert_array_equal(compute_outputs(model, inputs, np.array(rows)), together[rows])


@pytest.mark.parametrize("layer", WIDE)
def test_row_has_the_same_bytes_whatever_its_neighbours(layer: str) -> None:
    model, inputs = build_wide(layer, rows=64)
    # Of every batch of 32 each second row is exchanged.
    exchanged = np.where(np.arange(32) % 2, np.arange(32), 32 + np.arange(32))
    outputs = compute_outputs(model, inputs, np.arange(32))
    np.testing.assert_array_equal(compute_outputs(model, inputs, exchanged)[1::2], outputs[1::2])


def test_rows_and_their_places_leave_no_rest_that_goes_through_other_kernels() -> None:
    for rows in range(1, 200):
        filled = count_filled(rows)
        assert rows <= filled < rows + 8
        assert count_filled(filled) == filled
        for side, together in itertools.product(range(1, 17), (6, 8)):
            assert filled * side**2 % together not in (1, 2, 3)


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_score_of_an_image_does_not_depend_on_the_batch_size(
    classifier: keras.Model, images: NDArray[np.uint8], batch_size: int
) -> None:
    scores = compute_member_scores(classifier, images, batch_size=batch_size)
    np.testing.assert_allclose(scores, compute_member_scores(classifier, images, batch_size=11), rtol=1e-5)


def test_classifier_gives_one_row_of_probabilities(
    classifier: keras.Model, images: NDArray[np.uint8]
) -> None:
    scores = compute_member_scores(classifier, images)
    assert scores.shape == (1, 11)
    assert scores.dtype == np.float32
    logits = classifier.predict(images[..., np.newaxis], verbose=0)[:, 0].astype(np.float64)
    np.testing.assert_allclose(scores[0], 1 / (1 + np.exp(-logits)), rtol=1e-6)


def test_scoring_leaves_the_model_as_it_was(classifier: keras.Model, images: NDArray[np.uint8]) -> None:
    before = classifier.get_weights()
    compute_member_scores(classifier, images)
    assert not classifier.compiled
    assert all(np.array_equal(old, new) for old, new in zip(before, classifier.get_weights(), strict=True))


def test_logits_become_probabilities_without_overflow(recwarn: pytest.WarningsRecorder) -> None:
    logits = np.array([[-1e30, -200, -20, 0], [0.5, 20, 200, 1e30]], np.float32)
    scores = squash_logits(logits)
    assert scores.shape == (2, 4)
    assert scores.dtype == np.float32
    assert scores[0, 0] == 0
    assert scores[0, 3] == 0.5
    assert scores[1, 3] == 1
    assert (np.diff(scores.ravel()) >= 0).all()
    np.testing.assert_allclose(scores + squash_logits(-logits), 1, rtol=1e-6)
    assert not recwarn.list
