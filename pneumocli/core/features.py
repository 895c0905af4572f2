"""Trunk outputs, computed once an image and view, and shared by epochs, phases and folds.

Nothing before the first trainable layer changes in training, so its output for an image is always
the same. It is kept in a bank, or, without a cache, computed again each time: the same bytes, later.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from pneumocli.core.bank import claiming, fill_bank, open_bank
from pneumocli.core.cache import Cache
from pneumocli.core.config import Precision
from pneumocli.core.inference import Rows, ready, run_batches
from pneumocli.core.progress import Listener, Progress, ignore

# How a bank holds numbers: numpy's file format has no word for bfloat16, so its bits are kept.
STORED_AS = {Precision.FLOAT32: np.float32, Precision.FLOAT16: np.float16, Precision.BFLOAT16: np.uint16}


def compute_features(
    model: keras.Model,
    inputs: Rows,
    *,
    cache: Cache | None,
    key: Mapping[str, Any],
    precision: Precision = Precision.FLOAT32,
    stored_as: Precision | None = None,
    stage: str,
    listen: Listener = ignore,
) -> Rows:
    """Return the model's output for every row of the inputs, float32 (N, ...), batch by batch.

    Args:
        model: a frozen part; its output is a function of the input row alone.
        cache: where outputs are kept; None computes them whenever they are asked for.
        key: everything that changes the output; the same key means the same bytes.
        precision: what the model computes in.
        stored_as: what its output is rounded to, with a cache and without; None: what it computes in.

    Raises:
        PneumoError: the cache has no room.
    """
    stored_as = stored_as or precision
    if cache is None:
        return _Computed(model, inputs, stored_as)
    key = {**key, "precision": precision.value}
    if stored_as is not precision:
        key["stored_as"] = stored_as.value
    bank = open_bank(cache, key)
    if bank is None:

        def wait(holder: str) -> None:
            listen(Progress(f"{stage}, awaited from {holder}", 0, len(inputs)))

        with claiming(cache, key, wait):
            bank = open_bank(cache, key)
            if bank is None:
                shape = (len(inputs), *model.output_shape[1:])
                batches = _compute_all(model, inputs, stored_as, stage, listen)
                return _Banked(fill_bank(cache, key, shape, STORED_AS[stored_as], batches))
    listen(Progress(f"{stage}, kept", len(inputs), len(inputs)))
    return _Banked(bank)


def _compute_all(
    model: keras.Model, inputs: Rows, stored_as: Precision, stage: str, listen: Listener
) -> Iterator[NDArray[Any]]:
    done = 0
    for output in run_batches(ready(model), inputs, np.arange(len(inputs))):
        yield _pack(output, stored_as)
        done += len(output)
        listen(Progress(stage, done, len(inputs)))


def _pack(output: NDArray[np.float32], stored_as: Precision) -> NDArray[Any]:
    if stored_as is Precision.BFLOAT16:
        return output.astype(ml_dtypes.bfloat16).view(np.uint16)
    return output.astype(STORED_AS[stored_as], copy=False)


def _unpack(packed: NDArray[Any]) -> NDArray[np.float32]:
    if packed.dtype == np.uint16:
        packed = packed.view(ml_dtypes.bfloat16)
    return packed.astype(np.float32, copy=False)


class _Banked:
    """Rows of a bank, read as float32."""

    def __init__(self, bank: NDArray[Any]) -> None:
        self._bank = bank

    def __len__(self) -> int:
        return len(self._bank)

    def __getitem__(self, rows: NDArray[np.int64], /) -> NDArray[np.float32]:
        return _unpack(self._bank[rows])


class _Computed:
    """Rows computed when they are asked for."""

    def __init__(self, model: keras.Model, inputs: Rows, stored_as: Precision) -> None:
        self._model = ready(model)
        self._stored_as = stored_as
        self._inputs = inputs
        self._one_at_a_time = threading.Lock()  # batches are fetched by several threads

    def __len__(self) -> int:
        return len(self._inputs)

    def __getitem__(self, rows: NDArray[np.int64], /) -> NDArray[np.float32]:
        with self._one_at_a_time:
            outputs = np.concatenate(list(run_batches(self._model, self._inputs, rows)))
        return _unpack(_pack(outputs, self._stored_as))


class FeatureBatches(keras.utils.PyDataset):
    """Batches of features and labels for `fit`, in an order that depends on the epoch's number alone.

    `fit` is called with `shuffle=False`: its own shuffle follows a generator whose state depends
    on everything that ran before.
    """

    def __init__(
        self,
        views: Sequence[Rows],
        rows: NDArray[np.int64],
        labels: NDArray[np.int64],
        batch_size: int,
        draw_generator: Callable[[int], np.random.Generator] | None = None,
    ) -> None:
        """Take batches of some rows of the features.

        Args:
            views: one or more sets of features (N, ...), which the epochs take in turn.
            rows: (M,) row numbers to go through.
            labels: (M,) labels of these rows, 0 or 1.
            batch_size: rows a batch; the last may be smaller.
            draw_generator: gives the generator that shuffles an epoch; None keeps the order.
        """
        # With one worker Keras lets tf.data fetch ahead, whose threads take cores from the network: single
        # epochs on 640 images (last 40 layers, 224 px, bfloat16, 2 cores) took 16 ms an image, with two
        # workers 9.5; a whole cross-validation gains a few percent.
        super().__init__(workers=2, max_queue_size=4)
        self._views = views
        self._rows = rows
        self._labels = labels.astype(np.float32)[:, np.newaxis]
        self._batch_size = batch_size
        self._draw_generator = draw_generator
        self.start_epoch(0)

    def start_epoch(self, epoch: int) -> None:
        """Take the view and the order of the epoch, counted from 0."""
        self._features = self._views[epoch % len(self._views)]
        self._order = np.arange(len(self._rows))
        if self._draw_generator is not None:
            self._order = self._draw_generator(epoch).permutation(len(self._rows))

    def __len__(self) -> int:
        return -(-len(self._rows) // self._batch_size)

    def __getitem__(self, batch: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        chosen = self._order[batch * self._batch_size : (batch + 1) * self._batch_size]
        return self._features[self._rows[chosen]], self._labels[chosen]
