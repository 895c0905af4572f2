"""What a small training run starts from."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pneumocli.core.config import Precision, TrainConfig
from pneumocli.core.data import Dataset
from pneumocli.core.inputs import DataInput, WeightsInput
from pneumocli.core.records import WeightsRecord
from pneumocli.core.runs import Run, open_run

FOLDS = 3
TINY = TrainConfig(
    image_size=32,
    center_crop=0.8,  # 40 px are made of an image, and 4 cut off on each side
    head_units=8,
    head_epochs=2,
    head_learning_rate=1e-2,
    tune_layers=6,
    tune_epochs=1,
    tune_learning_rate=1e-3,
    probe=0.05,
    precision=Precision.FLOAT32,
)
RANDOM_WEIGHTS = WeightsInput(None, WeightsRecord(name="none (random)", sha256=None))


class WatchedRows:
    """Features that note which rows of them are read."""

    def __init__(self, rows: Any) -> None:
        self._rows = rows
        self.read: set[int] = set()

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        self.read |= set(rows.tolist())
        return self._rows[rows]


def describe(dataset: Dataset) -> DataInput:
    return DataInput(dataset, None, "drawn for the tests")


def copy_run(run: Run, runs_dir: Path, name: str | None = None) -> Run:
    return open_run(Path(shutil.copytree(run.path, runs_dir / (name or run.name))))
