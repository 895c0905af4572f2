"""Scores from images: batches through a model, logits to probabilities."""

import itertools
import math
from collections.abc import Iterator
from typing import Any, Protocol

import keras
import numpy as np
from numpy.typing import NDArray

from pneumocli.core.atypical import Typical
from pneumocli.core.backend import takes_xla
from pneumocli.core.calibration import squash_logits
from pneumocli.core.contract import ModelCard
from pneumocli.core.errors import RunError
from pneumocli.core.joining import compute_logit, split_classifier
from pneumocli.core.pooling import BANDS, attach_pooled
from pneumocli.core.progress import Listener, Progress, ignore
from pneumocli.core.scorer import Scored

BATCH_SIZE = 16  # as `count_filled` gives it, so that nothing is computed in vain


class Rows(Protocol):
    """Anything that gives a batch for an array of row numbers: an array, a memory map, a feature source."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: NDArray[np.int64], /) -> NDArray[Any]: ...


def ready(model: keras.Model) -> keras.Model:
    """Return a model over the same layers that predicts, compiled as `takes_xla` says.

    The given model is left as it was, so that nothing of this is saved with it.
    """
    wrapped = keras.Model(model.inputs, model.output)
    wrapped.compile(jit_compile=takes_xla())
    return wrapped


def count_filled(rows: int) -> int:
    """Return to how many rows a batch is filled up, so that all of them go through the same kernels.

    Matrix products take six rows at a time with AVX2 and eight with AVX512. A rest of one to three goes
    through kernels of its own, whose last digits differ; a rest of four does not. So the rest is to be none
    or four by both: 4, 12, 16, 24, 28 and so on. Then it is so for the places of maps, too, which are rows
    of a product as well, square numbers of them an image. Found with tensorflow 2.21.

    Args:
        rows: 0 or more.

    Returns:
        At least `rows` and at least 4, at most 7 more than `rows`.
    """
    return next(number for number in itertools.count(max(rows, 1)) if number % 12 in (0, 4))


def run_batches(
    model: keras.Model, inputs: Rows, rows: NDArray[np.int64], batch_size: int = BATCH_SIZE
) -> Iterator[NDArray[np.float32]]:
    """Yield the model's output for some rows of the inputs, batch by batch, in their order.

    The model has one output. Batches are as even as can be, and each is filled up with repeated rows, whose
    outputs are dropped, so that one shape is compiled; a row's output does not depend on its neighbours.
    """
    # 24 rows in batches of at most 16 are twice 12, and not 16 and 8 that are filled up to 16.
    batches = max(1, math.ceil(len(rows) / batch_size))
    batch_size = max(1, math.ceil(len(rows) / batches))
    filled = count_filled(batch_size)
    for start in range(0, len(rows), batch_size):
        batch = rows[start : start + batch_size]
        yield run_filled(model, inputs[np.resize(batch, filled)])[: len(batch)]


def run_filled(model: keras.Model, inputs: NDArray[Any]) -> NDArray[np.float32]:
    """Return the output of a model made by `ready` for one batch, float32."""
    return np.asarray(model.predict_on_batch(inputs)).astype(np.float32, copy=False)


def compute_outputs(
    model: keras.Model,
    inputs: Rows,
    rows: NDArray[np.int64],
    *,
    batch_size: int = BATCH_SIZE,
    stage: str = "scores",
    listen: Listener = ignore,
) -> NDArray[np.float32]:
    """Return the model's output for some rows of the inputs, float32 (len(rows), ...)."""
    parts: list[NDArray[np.float32]] = []
    done = 0
    for output in run_batches(ready(model), inputs, rows, batch_size):
        parts.append(output)
        done += len(output)
        listen(Progress(stage, done, len(rows)))
    if not parts:
        return np.empty((0, *model.output_shape[1:]), np.float32)
    return np.concatenate(parts)


def compute_member_scores(
    model: keras.Model,
    images: NDArray[np.uint8],
    *,
    batch_size: int = BATCH_SIZE,
    stage: str = "scores",
    listen: Listener = ignore,
) -> NDArray[np.float32]:
    """Return each member's probability of pneumonia, float32 (K, N); a single classifier is one member.

    Args:
        model: made by `join_classifier` or `join_ensemble`.
        images: uint8 (N, P, P), P being the size the model was built for.
    """
    outputs = compute_outputs(
        take_logits(model),
        images[..., np.newaxis],
        np.arange(len(images)),
        batch_size=batch_size,
        stage=stage,
        listen=listen,
    )
    return squash_logits(outputs.T)


def take_logits(model: keras.Model) -> keras.Model:
    """Return the model from raw pixels to its members' logits (B, K); a single classifier is one member.

    Args:
        model: made by `join_classifier` or `join_ensemble`.
    """
    is_ensemble = isinstance(model.output, dict)
    return keras.Model(model.inputs, model.output["member_logits"]) if is_ensemble else model


def take_answers(model: keras.Model, typical: Typical | None) -> keras.Model:
    """Return the model from raw pixels to its members' logits and the pooled trunk output, (B, K + F).

    One output for both, so that the trunk runs once and batches go through it as through any model.

    Args:
        model: made by `join_classifier` or `join_ensemble`.
        typical: what the pooled output is going to be measured by; the maps are pooled as for it.
    """
    image = keras.Input(model.input_shape[1:], dtype="uint8", name="image")
    maps = model.get_layer("trunk")(image)
    # Models of before bands were told apart have the mean over all places.
    bands = 1 if typical is not None and len(typical.mean) == maps.shape[-1] else BANDS
    if isinstance(model.output, dict):
        count = take_logits(model).output_shape[-1]
        members = [model.get_layer(f"member_{number}") for number in range(1, count + 1)]
        logits = keras.layers.Concatenate(dtype="float32")([member(maps) for member in members])
    else:
        logits = compute_logit(split_classifier(model), maps)
    return keras.Model(image, attach_pooled(logits, maps, bands))


def name_engine() -> str:
    """Return which Keras computes, on which backend."""
    return f"keras {keras.version()} on {keras.backend.backend()}"


class KerasScorer:
    """Scores images with a Keras model; see `scorer.Scorer`."""

    batch_size = BATCH_SIZE

    def __init__(self, model: keras.Model, card: ModelCard, typical: Typical | None = None) -> None:
        """Make a model ready to score.

        Args:
            model: made by `join_classifier` or `join_ensemble`.
            typical: what the training images' features are like; without it there are no distances.

        Raises:
            RunError: `typical` is of another model.
        """
        self.engine = name_engine()
        self._network = ready(take_answers(model, typical))
        self._members = card.members
        self._typical = typical
        width = self._network.output_shape[-1] - card.members
        if typical is not None and len(typical.mean) != width:
            raise RunError(
                f"{card.name} has {width} features an image, its training images {len(typical.mean)}: these "
                "are parts of two models; train it anew"
            )

    def score(self, images: NDArray[np.uint8], size: int) -> Scored:
        # One shape for all batches: the last is filled up with repeated images.
        filled = images[np.resize(np.arange(len(images)), count_filled(size)), ..., np.newaxis]
        outputs = run_filled(self._network, filled)
        logits, features = outputs[:, : self._members], outputs[:, self._members :]
        # Of all rows, as the network's: a distance's last digit, too, depends on how many are measured.
        distances = None if self._typical is None else self._typical.measure(features)[: len(images)]
        return Scored(logits[: len(images)], distances)
