"""Answers for image files: read as the data set was made, scored, called at the model's threshold."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from pneumocli.core.artefact import ModelCard
from pneumocli.core.calibration import apply_temperature
from pneumocli.core.errors import ImageError
from pneumocli.core.images import read_images
from pneumocli.core.inference import BATCH_SIZE, FEWEST, ready, run_filled, squash_logits, take_logits
from pneumocli.core.metrics import average_scores, call_labels
from pneumocli.core.preparation import check_preparation
from pneumocli.core.progress import Listener, Notice, Progress, ignore, keep_quiet


@dataclass(frozen=True)
class Prediction:
    """The answer for one image file.

    Attributes:
        path: as it was given.
        probability: calibrated, of pneumonia, 0 to 1.
        score: the same uncalibrated; for an ensemble the mean of its members'.
        label: "normal" or "pneumonia", by the score and the model's threshold.
        members: each member's probability, with the same temperature.
    """

    path: str
    probability: float
    score: float
    label: str
    members: list[float]

    def to_dict(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True)
class Failure:
    """An image file that could not be answered, and why, in one line."""

    path: str
    reason: str

    def to_dict(self) -> dict[str, object]:
        return asdict(self)


def predict_files(
    model: keras.Model,
    card: ModelCard,
    paths: Sequence[Path],
    *,
    force: bool = False,
    listen: Listener = ignore,
    notify: Notice = keep_quiet,
) -> Iterator[Prediction | Failure]:
    """Answer for each image file, in the order given; one that cannot be read stops none of the others.

    Files are read and shrunk by other threads while the network works, a few batches ahead of it,
    so that memory does not grow with their number.

    Args:
        force: answer also where the model was trained with another way of reading images; `notify` is
            told so.

    Raises:
        RunError: the model was trained with another way of reading images.
    """
    check_preparation(card.name, card.preparation, force=force, notify=notify)
    network = ready(take_logits(model))
    size = max(FEWEST, min(BATCH_SIZE, len(paths)))
    done = 0
    for batch in _batch(read_images(paths, card.pixels), size):
        images = [image for _, image in batch if not isinstance(image, ImageError)]
        answers = iter(_answer(network, card, images, size))
        for path, image in batch:
            if isinstance(image, ImageError):
                yield Failure(str(path), str(image))
            else:
                yield Prediction(str(path), *next(answers))
        done += len(batch)
        listen(Progress("images", done, len(paths)))


def _answer(
    network: keras.Model, card: ModelCard, images: list[NDArray[np.uint8]], size: int
) -> list[tuple[float, float, str, list[float]]]:
    """Return probability, score, label and members' probabilities of each image."""
    if not images:
        return []
    # One shape for all batches: the last is filled up with repeated images.
    filled = np.stack(images)[np.resize(np.arange(len(images)), size), ..., np.newaxis]
    members = squash_logits(run_filled(network, filled)[: len(images)].T)
    scores = average_scores(members)
    return list(
        zip(
            apply_temperature(scores, card.temperature).tolist(),
            scores.tolist(),
            [card.classes[label] for label in call_labels(scores, card.threshold)],
            apply_temperature(members.T, card.temperature).tolist(),
            strict=True,
        )
    )


def _batch(
    images: Iterator[tuple[Path, NDArray[np.uint8] | ImageError]], size: int
) -> Iterator[list[tuple[Path, NDArray[np.uint8] | ImageError]]]:
    while batch := list(islice(images, size)):
        yield batch
