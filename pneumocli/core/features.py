"""Trunk outputs, computed once an image and shared by epochs, phases and folds.

Nothing before the first trainable layer changes in training, so its output for an image is always
the same: it is computed once and kept in a file that is mapped into memory, not read into it.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from pneumocli.core.errors import PneumoError
from pneumocli.core.inference import Rows, ready, run_batches
from pneumocli.core.progress import Listener, Progress, ignore


def bank_features(
    model: keras.Model,
    inputs: Rows,
    *,
    directory: Path,
    key: Mapping[str, Any],
    stage: str,
    listen: Listener = ignore,
) -> NDArray[np.float32]:
    """Return the model's output for every row, from the bank if it is there, else computed and kept.

    Args:
        model: the frozen part; its output is a function of the input row alone.
        directory: where banks are kept.
        key: everything that changes the output; the same key means the same bytes.

    Returns:
        float32 (N, ...), mapped read-only.

    Raises:
        PneumoError: there is no room for the bank.
    """
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]
    path = directory / f"{name}.npy"
    shape = (len(inputs), *model.output_shape[1:])
    if path.is_file():
        kept = np.load(path, mmap_mode="r", allow_pickle=False)
        if kept.shape == shape:
            listen(Progress(stage, len(inputs), len(inputs)))
            return kept
    directory.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    try:
        _fill_bank(partial, shape, model, inputs, stage, listen)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _fill_bank(
    path: Path, shape: tuple[int, ...], model: keras.Model, inputs: Rows, stage: str, listen: Listener
) -> None:
    size = int(np.prod(shape)) * 4
    bank = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    try:
        # Writing a mapped file on a full disk kills the process; reserved space cannot run out.
        with path.open("r+b") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    except OSError as error:
        raise PneumoError(
            f"the features need {size / 1e9:.1f} GB in {path.parent}, which has no room ({error.strerror}); "
            "free some, or set PNEUMOCLI_CACHE to a directory on another disk"
        ) from None
    done = 0
    for output in run_batches(ready(model), inputs, np.arange(len(inputs))):
        bank[done : done + len(output)] = output
        done += len(output)
        listen(Progress(stage, done, len(inputs)))
    bank.flush()


class FeatureBatches(keras.utils.PyDataset):
    """Batches of features and labels for `fit`, in an order that depends on the epoch's number alone.

    `fit` is called with `shuffle=False`: its own shuffle follows a generator whose state depends
    on everything that ran before.
    """

    def __init__(
        self,
        features: Rows,
        rows: NDArray[np.int64],
        labels: NDArray[np.int64],
        batch_size: int,
        draw_generator: Callable[[int], np.random.Generator] | None = None,
    ) -> None:
        """Take batches of some rows of the features.

        Args:
            features: (N, ...), often a memory map, of which one batch at a time is read.
            rows: (M,) row numbers to go through.
            labels: (M,) labels of these rows, 0 or 1.
            batch_size: rows a batch; the last may be smaller.
            draw_generator: gives the generator that shuffles an epoch; None keeps the order.
        """
        super().__init__()
        self._features = features
        self._rows = rows
        self._labels = labels.astype(np.float32)[:, np.newaxis]
        self._batch_size = batch_size
        self._draw_generator = draw_generator
        self.start_epoch(0)

    def start_epoch(self, epoch: int) -> None:
        """Take the order of the epoch, counted from 0."""
        self._order = np.arange(len(self._rows))
        if self._draw_generator is not None:
            self._order = self._draw_generator(epoch).permutation(len(self._rows))

    def __len__(self) -> int:
        return -(-len(self._rows) // self._batch_size)

    def __getitem__(self, batch: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        chosen = self._order[batch * self._batch_size : (batch + 1) * self._batch_size]
        return self._features[self._rows[chosen]], self._labels[chosen]
