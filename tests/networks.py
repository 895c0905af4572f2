"""Small networks, and what is done to them and asked of them."""

import re
import zipfile
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from pneumocli.core.config import TrainConfig
from pneumocli.core.inference import Rows, compute_outputs

SMALL = TrainConfig(image_size=32, head_units=16, tune_layers=6)


def draw_images() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (7, 28, 28, 1), dtype=np.uint8)


def run_all(model: keras.Model, inputs: Rows) -> NDArray[np.float32]:
    return compute_outputs(model, inputs, np.arange(len(inputs)))


def change(config: TrainConfig, **changes: object) -> TrainConfig:
    return config.model_copy(update=changes)


def shake(model: keras.Model, seed: int) -> None:
    """Move every weight a little, as training does."""
    rng = np.random.default_rng(seed)
    model.set_weights([array + rng.uniform(0, 0.1, array.shape) for array in model.get_weights()])


def same_weights(one: keras.Model, other: keras.Model) -> bool:
    pairs = zip(one.get_weights(), other.get_weights(), strict=True)
    return all(np.array_equal(mine, theirs) for mine, theirs in pairs)


def build_bare(image_size: int, weights: Path | None) -> keras.Model:
    """A backbone that passes its input on, so that the trunk's output is what the network is fed."""
    image = keras.Input((image_size, image_size, 3))
    return keras.Model(image, keras.layers.Activation("linear")(image))


def list_modules(path: Path) -> set[str]:
    with zipfile.ZipFile(path) as archive:
        text = archive.read("config.json").decode()
    assert not re.findall(r'"registered_name": "(?!Functional")', text)
    return set(re.findall(r'"module": "([\w.]+)"', text))
