"""Training that goes on from any of its checkpoints ends as if it had never been stopped."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pneumocli.core.cache import Cache
from pneumocli.core.checkpoint import Checkpoint, Standing
from pneumocli.core.config import Precision, Schedule, TrainConfig
from pneumocli.core.data import Dataset
from pneumocli.core.errors import PneumoError
from pneumocli.core.material import Material, prepare_material
from pneumocli.core.model import BackboneBuilder, build_parts, seed_dropout
from pneumocli.core.training import Trained, train_classifier

CONFIG = TrainConfig(
    image_size=32,
    batch_size=8,
    head_units=16,
    dropout=0.4,
    head_epochs=4,
    head_learning_rate=1e-2,
    head_patience=2,
    tune_layers=6,
    tune_epochs=5,
    tune_learning_rate=2e-3,
    tune_patience=2,
    views=2,
    crop_area=0.5,
)


@pytest.fixture(scope="module")
def material(
    small_dataset: Dataset, tiny_backbone: BackboneBuilder, tmp_path_factory: pytest.TempPathFactory
) -> Material:
    cache = Cache(tmp_path_factory.mktemp("bank"))
    return prepare_material(small_dataset, CONFIG, None, cache=cache, backbone_builder=tiny_backbone)


def list_bytes(trained: Trained) -> list[bytes]:
    parts = (trained.parts.trunk, trained.parts.tail, trained.parts.head, trained.parts.probe)
    return [array.tobytes() for part in parts if part is not None for array in part.get_weights()]


def train_and_copy(material: Material, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Trained, int]:
    """Train undisturbed and keep a copy of every checkpoint, by its number."""
    checkpoint = Checkpoint(folder / "checkpoint.npz", {})
    write = Checkpoint.write
    copies = 0

    def write_and_copy(self: Checkpoint, standing: Standing) -> None:
        nonlocal copies
        write(self, standing)
        shutil.copy(self.path, folder / f"copy_{copies}.npz")
        copies += 1

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "write", write_and_copy)
        return train_classifier(material, checkpoint=checkpoint), copies


CASES: dict[str, dict[str, Any]] = {
    "float32": {},
    "patience ends both phases": {"head_epochs": 9, "tune_epochs": 9, "head_patience": 1, "tune_patience": 1},
    "start of tune is best": {"tune_learning_rate": 0.3},
    "cosine, no early stopping": {
        "early_stopping": False,
        "tune_schedule": Schedule.COSINE,
        "weight_decay": 0.01,
        "head_epochs": 2,
        "tune_epochs": 3,
    },
    "probe": {"probe": 0.05, "head_epochs": 1, "tune_epochs": 2},
    "bfloat16": {"precision": Precision.BFLOAT16, "head_epochs": 2, "tune_epochs": 2},
    "float16": {"precision": Precision.FLOAT16, "head_epochs": 2, "tune_epochs": 2},
}


@pytest.mark.parametrize("case", CASES)
def test_training_goes_on_from_every_checkpoint_to_the_same_weights(
    case: str, material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = CONFIG.model_copy(update=CASES[case])
    precision = config.precision if config.precision is not Precision.AUTO else Precision.FLOAT32
    changed = replace(material, config=config, precision=precision)
    undisturbed, copies = train_and_copy(changed, tmp_path, monkeypatch)
    epochs = sum(1 for entry in undisturbed.history if entry["epoch"])
    assert copies == epochs
    if case == "patience ends both phases":
        assert epochs < 18
    if case == "start of tune is best":
        assert [entry["epoch"] for entry in undisturbed.history if entry["kept"]][-1] == 0
    # All in the first case; elsewhere one at the beginning, and those on both sides of the phases' border.
    last_of_head = sum(1 for entry in undisturbed.history if entry["phase"] == "head") - 1
    numbers = range(copies) if case == "float32" else sorted({0, last_of_head, last_of_head + 1, copies - 1})
    for number in numbers:
        trained = train_classifier(changed, checkpoint=Checkpoint(tmp_path / f"copy_{number}.npz", {}))
        assert trained.history == undisturbed.history, f"from checkpoint {number}"
        assert list_bytes(trained) == list_bytes(undisturbed), f"from checkpoint {number}"


def test_a_checkpoint_changes_nothing(material: Material, tmp_path: Path) -> None:
    without = train_classifier(material)
    within = train_classifier(material, checkpoint=Checkpoint(tmp_path / "checkpoint.npz", {}))
    assert list_bytes(without) == list_bytes(within)


def test_dropout_draws_from_the_seed_alone(material: Material, tiny_backbone: BackboneBuilder) -> None:
    head = build_parts(28, CONFIG, None, backbone_builder=tiny_backbone).head
    pooled = np.ones((4, head.input_shape[1]), np.float32)

    def draw(seed: int) -> NDArray[np.float32]:
        seed_dropout(head, seed)
        return np.asarray(head(pooled, training=True))

    first, other = draw(1), draw(2)
    np.testing.assert_array_equal(draw(1), first)
    assert (first != other).any()


def test_training_that_diverges_leaves_no_checkpoint(material: Material, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"head_learning_rate": 1e30, "tune_epochs": 0})
    checkpoint = Checkpoint(tmp_path / "checkpoint.npz", {})
    with pytest.raises(PneumoError, match="learning rate"):
        train_classifier(replace(material, config=config), checkpoint=checkpoint)
    assert not list(tmp_path.iterdir())
