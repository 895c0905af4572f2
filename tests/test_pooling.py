"""Maps averaged over the upper and the lower half of a chest."""

import keras
import numpy as np
import pytest

from pneumocli.core.pooling import attach_pooled
from pneumocli.core.training import pool_maps


@pytest.mark.parametrize(("rows", "halves"), [(14, (7, 7)), (7, (3, 4)), (2, (1, 1)), (1, (1,))])
def test_maps_are_pooled_by_halves_and_keras_does_the_same(rows: int, halves: tuple[int, ...]) -> None:
    maps = np.random.default_rng(0).normal(size=(5, rows, 3, 4)).astype(np.float32)
    parts = np.split(maps, np.cumsum(halves)[:-1], axis=1)
    expected = np.concatenate([part.mean(axis=(1, 2)) for part in parts], axis=1)
    chosen = np.array([4, 0, 2])
    np.testing.assert_allclose(pool_maps(maps, chosen), expected[chosen], rtol=1e-5, atol=1e-6)
    given = keras.Input(maps.shape[1:])
    logits = keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(given))
    answers = keras.Model(given, attach_pooled(logits, given)).predict(maps, verbose=0)
    np.testing.assert_allclose(answers[:, 2:], expected, rtol=1e-5, atol=1e-6)


def test_halves_tell_a_chest_that_stands_on_its_head() -> None:
    maps = np.random.default_rng(0).normal(size=(1, 14, 14, 4)).astype(np.float32)
    upright, turned = (pool_maps(images, np.array([0])) for images in (maps, maps[:, ::-1, ::-1]))
    np.testing.assert_allclose(turned, np.roll(upright, 4, axis=1), rtol=1e-5, atol=1e-6)
    assert np.abs(turned - upright).max() > 0.01
