"""Drawn images that are soon learnt, the settings of a small training, and its figures by formula."""

from dataclasses import replace
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from pneumocli.core.config import TrainConfig
from pneumocli.core.data import Split
from pneumocli.core.inference import Rows
from pneumocli.core.material import Material
from pneumocli.core.training import Trained, score_features

CONFIG = TrainConfig(
    image_size=32,
    batch_size=16,
    head_units=16,
    head_epochs=4,
    head_learning_rate=1e-2,
    tune_layers=6,
    tune_epochs=3,
    tune_learning_rate=1e-3,
)
BRIEF = CONFIG.model_copy(update={"head_epochs": 1, "tune_epochs": 1})
VAL_COPIES = np.array([2, 7, 8])


def change(config: TrainConfig, **changes: object) -> TrainConfig:
    return config.model_copy(update=changes)


def adjust(material: Material, config: TrainConfig = CONFIG, **changes: object) -> Material:
    """The same features, trained on with other settings; those of the trunk must stay."""
    return replace(material, config=change(config, **changes))


def read_all(rows: Rows) -> NDArray[np.float32]:
    return rows[np.arange(len(rows))]


def draw_split(seed: int, count: int) -> Split:
    """Noise, brighter in pneumonia: soon learnt. One image in four is normal."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(count) % 4 != 0).astype(np.int64)
    levels = rng.normal(np.where(labels, 150, 100)[:, None, None], 30, (count, 28, 28))
    return Split(levels.clip(0, 255).astype(np.uint8), labels)


def list_changed(before: keras.Model, after: keras.Model) -> set[str]:
    pairs = zip(before.weights, after.get_weights(), strict=True)
    return {variable.path.split("/")[-2] for variable, new in pairs if not np.array_equal(variable, new)}


def find_kept(history: list[dict[str, Any]]) -> dict[str, Any]:
    return [entry for entry in history if entry["kept"]][-1]


def compute_stopping_loss(trained: Trained, material: Material, alpha: float) -> float:
    """The focal loss on the rows that decide when to stop, by its formula."""
    chosen = material.stopping_rows
    scores = score_features(trained.parts, material.val.maps, chosen).astype(np.float64)
    labels = material.val_labels[chosen]
    true_class = np.where(labels == 1, scores, 1 - scores)
    weight = np.where(labels == 1, alpha, 1 - alpha)
    return float(np.mean(-weight * (1 - true_class) ** material.config.focal_gamma * np.log(true_class)))
