"""Answers for image files: read as the data set was made, scored, called at the model's threshold."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from pneumocli.core.artefact import ModelCard
from pneumocli.core.calibration import apply_temperature
from pneumocli.core.errors import ImageError, RunError
from pneumocli.core.images import PREPARATION_VERSION, read_images
from pneumocli.core.inference import BATCH_SIZE, FEWEST, ready, run_filled, squash_logits, take_logits
from pneumocli.core.metrics import average_scores, call_labels
from pneumocli.core.progress import Listener, Progress, ignore


@dataclass(frozen=True)
class Prediction:
    """The answer for one image file.

    Attributes:
        path: as it was given.
        probability: calibrated, of pneumonia, 0 to 1.
        score: the same uncalibrated; for an ensemble the mean of its members'.
        label: "normal" or "pneumonia", by the score and the model's threshold.
        members: each member's probability, with the same temperature.
        explanation: the picture of where the model looked; None if none was asked for.
    """

    path: str
    probability: float
    score: float
    label: str
    members: list[float]
    explanation: str | None = None

    def to_dict(self) -> dict[str, object]:
        row = asdict(self)
        if self.explanation is None:
            del row["explanation"]
        return row


@dataclass(frozen=True)
class Failure:
    """An image file that could not be answered, and why, in one line."""

    path: str
    reason: str

    def to_dict(self) -> dict[str, object]:
        return asdict(self)


# Gives answers back with their pictures: images uint8 (P, P) as they went in, and their answers.
Illustrate = Callable[[Sequence[NDArray[np.uint8]], Sequence[Prediction]], Iterable[Prediction]]


def predict_files(
    model: keras.Model,
    card: ModelCard,
    paths: Sequence[Path],
    *,
    illustrate: Illustrate | None = None,
    listen: Listener = ignore,
) -> Iterator[Prediction | Failure]:
    """Answer for each image file, in the order given; one that cannot be read stops none of the others.

    Files are read and shrunk by other threads while the network works, a few batches ahead of it,
    so that memory does not grow with their number.

    Raises:
        RunError: the model was trained with another way of reading images.
    """
    if card.preparation != PREPARATION_VERSION:
        raise RunError(
            f"{card.name} was trained with preparation {card.preparation} of image files, this version of "
            f"pneumocli has {PREPARATION_VERSION}; train it anew, or use the pneumocli that trained it"
        )
    network = ready(take_logits(model))
    size = max(FEWEST, min(BATCH_SIZE, len(paths)))
    done = 0
    for batch in _batch(read_images(paths, card.pixels), size):
        good = [(path, image) for path, image in batch if not isinstance(image, ImageError)]
        images = [image for _, image in good]
        answers = _answer(network, card, images, size)
        predictions: Iterable[Prediction] = [
            Prediction(str(path), *answer) for (path, _), answer in zip(good, answers, strict=True)
        ]
        if illustrate is not None:
            predictions = illustrate(images, list(predictions))
        ready_ones = iter(predictions)
        for path, image in batch:
            yield Failure(str(path), str(image)) if isinstance(image, ImageError) else next(ready_ones)
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
