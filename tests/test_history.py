"""Epochs read back from `history.json`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pneumocli.core.errors import RunError
from pneumocli.core.history import read_history
from pneumocli.core.runs import HISTORY

EPOCHS: list[dict[str, Any]] = [
    {"phase": "head", "epoch": 1, "loss": 0.5, "auc": 0.6, "val_loss": 0.4, "val_auc": 0.7, "kept": False},
    {"phase": "head", "epoch": 2, "loss": 0.4, "auc": 0.7, "val_loss": 0.3, "val_auc": 0.8, "kept": True},
    {"phase": "tune", "epoch": 0, "val_loss": 0.3, "val_auc": 0.8, "kept": False},
    {"phase": "tune", "epoch": 1, "loss": 0.3, "auc": 0.8, "val_loss": 0.2, "val_auc": 0.9, "kept": True},
    {"phase": "tune", "epoch": 2, "loss": None, "auc": 0.9, "val_loss": None, "val_auc": 0.9, "kept": False},
]


def write(folder: Path, content: object) -> Path:
    (folder / HISTORY).write_text(json.dumps(content))
    return folder


def test_epochs_of_both_phases_on_one_axis(tmp_path: Path) -> None:
    found = read_history(write(tmp_path, {"data": "x", "epochs": EPOCHS}))
    assert found.phase == ("head", "head", "tune", "tune", "tune")
    assert found.epoch.tolist() == [1, 2, 0, 1, 2]
    assert found.place.tolist() == [1, 2, 2.5, 3, 4]
    assert found.head_epochs == 2
    assert (found.phase[found.kept], found.epoch[found.kept]) == ("tune", 1)
    for name in ("loss", "auc", "val_loss", "val_auc"):
        for value, entry in zip(getattr(found, name), EPOCHS, strict=True):
            assert np.isnan(value) if entry.get(name) is None else value == entry[name]


@pytest.mark.parametrize(
    "content",
    [
        {},
        [],
        {"epochs": []},
        {"epochs": [{}]},
        {"epochs": EPOCHS[:1]},
        {"epochs": [{**EPOCHS[1], "loss": "x"}]},
    ],
)
def test_what_is_no_history(content: object, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"history\.json cannot be read"):
        read_history(write(tmp_path, content))


def test_missing_history(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is missing"):
        read_history(tmp_path)
