"""Fixtures: small drawn data, a small backbone, and an environment that is the same everywhere."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from pneumocli.core.data import Dataset
from pneumocli.core.synthetic import draw_dataset

if TYPE_CHECKING:
    import keras

KERAS_TESTS = {
    "test_architecture",
    "test_augment",
    "test_blocks",
    "test_cut",
    "test_ensemble",
    "test_explain",
    "test_features",
    "test_inference",
    "test_losses",
    "test_material",
    "test_model",
    "test_parallel",
    "test_phase",
    "test_probe",
    "test_training",
}
TERMINAL_SWITCHES = ("FORCE_COLOR", "CLICOLOR_FORCE", "PY_COLORS", "GITHUB_ACTIONS", "TERMINAL_WIDTH")
SETTINGS_AT_START = {name: value for name, value in os.environ.items() if name.startswith("PNEUMOCLI_")}


def pytest_configure() -> None:
    # Typer reads these when it is imported, before any fixture runs.
    for name in TERMINAL_SWITCHES:
        os.environ.pop(name, None)


def pytest_collectstart(collector: pytest.Collector) -> None:
    if isinstance(collector, pytest.Module) and collector.path.stem in KERAS_TESTS:
        from pneumocli.core.backend import load_backend

        load_backend()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests marked soak, whatever else is asked for, unless they are named with -m."""
    if "soak" not in config.option.markexpr:
        soaking = [item for item in items if item.get_closest_marker("soak")]
        items[:] = [item for item in items if item not in soaking]
        config.hook.pytest_deselected(items=soaking)


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("PNEUMOCLI_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PNEUMOCLI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PNEUMOCLI_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")


@pytest.fixture(scope="session")
def small_dataset() -> Dataset:
    return draw_dataset(train=24, val=12, test=12)


@pytest.fixture(scope="session")
def data_arrays(small_dataset: Dataset) -> dict[str, Any]:
    """The arrays of a data file, as the official one has them."""
    arrays: dict[str, Any] = {}
    for name, split in small_dataset.splits.items():
        arrays[f"{name}_images"] = split.images
        arrays[f"{name}_labels"] = split.labels.astype(np.uint8)[:, np.newaxis]
    return arrays


@pytest.fixture
def data_file(data_arrays: dict[str, Any], tmp_path: Path) -> Path:
    path = tmp_path / "small.npz"
    np.savez_compressed(path, **data_arrays)
    return path


def build_tiny_backbone(image_size: int, weights: Path | None) -> "keras.Model":
    """Return twelve layers with a residual block; the same weights at every call, `weights` is ignored."""
    import keras

    def convolve(tensor: "keras.KerasTensor", name: str, seed: int, strides: int = 1) -> "keras.KerasTensor":
        draw = keras.initializers.GlorotUniform(seed)
        return keras.layers.Conv2D(8, 3, strides, "same", kernel_initializer=draw, name=name)(tensor)

    def normalize(tensor: "keras.KerasTensor", name: str, scale: float = 1.0) -> "keras.KerasTensor":
        shrink = keras.initializers.Constant(scale)
        return keras.layers.BatchNormalization(gamma_initializer=shrink, name=name)(tensor)

    image = keras.Input((image_size, image_size, 3), name="input")
    stem = normalize(convolve(image, "stem_conv", seed=1, strides=2), "stem_bn", scale=0.02)
    stem = keras.layers.ReLU(name="stem_relu")(stem)
    stem = keras.layers.AveragePooling2D(2, name="stem_pool")(stem)
    block = normalize(convolve(stem, "block_conv", seed=2), "block_bn")
    block = keras.layers.Add(name="block_add")([stem, block])
    block = keras.layers.ReLU(name="block_out")(block)
    last = normalize(convolve(block, "last_conv", seed=3), "last_bn")
    return keras.Model(image, keras.layers.ReLU(name="last_out")(last), name="tiny")


@pytest.fixture(scope="session")
def tiny_backbone() -> "Callable[[int, Path | None], keras.Model]":
    return build_tiny_backbone


@pytest.fixture(scope="session")
def real_data() -> Path:
    return find_real_file("PNEUMOCLI_DATA")


@pytest.fixture(scope="session")
def real_weights() -> Path:
    return find_real_file("PNEUMOCLI_WEIGHTS")


def find_real_file(variable: str) -> Path:
    path = Path(SETTINGS_AT_START.get(variable, "")).expanduser().absolute()
    if not path.is_file():
        pytest.skip(f"{variable} did not name a file when the tests began")
    return path


@pytest.fixture
def xrays(small_dataset: Dataset, tmp_path: Path) -> list[Path]:
    folder = tmp_path / "xrays"
    folder.mkdir()
    paths = [folder / f"{number}.png" for number in range(len(small_dataset.test))]
    for path, image in zip(paths, small_dataset.test.images, strict=True):
        Image.fromarray(image).save(path)
    return paths
