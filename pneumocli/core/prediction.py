"""Answers for image files: read as the data set was made, scored, called at the model's threshold."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import keras
import numpy as np

from pneumocli.core.artefact import ModelCard
from pneumocli.core.atypical import Typical, judge_image
from pneumocli.core.calibration import apply_temperature
from pneumocli.core.errors import ImageError, RunError
from pneumocli.core.images import PREPARATION_VERSION, Picture, read_images
from pneumocli.core.inference import BATCH_SIZE, FEWEST, ready, run_filled, squash_logits, take_answers
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
        atypical: why the image is unlike those trained on, in a few words; None if it is not.
        distance: of its features to those of the training images; None where the model keeps none of them.
    """

    path: str
    probability: float
    score: float
    label: str
    members: list[float]
    atypical: str | None = None
    distance: float | None = None

    def to_dict(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True)
class Failure:
    """An image file that could not be answered, and why, in one line.

    Attributes:
        atypical: of an image that was refused for being so, as in a `Prediction`.
    """

    path: str
    reason: str
    atypical: str | None = None

    def to_dict(self) -> dict[str, object]:
        return asdict(self)


def predict_files(
    model: keras.Model,
    card: ModelCard,
    paths: Sequence[Path],
    *,
    typical: Typical | None = None,
    strict: bool = False,
    listen: Listener = ignore,
) -> Iterator[Prediction | Failure]:
    """Answer for each image file, in the order given; one that cannot be read stops none of the others.

    Files are read and shrunk by other threads while the network works, a few batches ahead of it,
    so that memory does not grow with their number.

    Args:
        typical: what the training images' features are like; with None only the images' looks are judged.
        strict: an atypical image is a failure, with the same reason.

    Raises:
        RunError: the model was trained with another way of reading images, or `typical` is of another model.
    """
    if card.preparation != PREPARATION_VERSION:
        raise RunError(
            f"{card.name} was trained with preparation {card.preparation} of image files, this version of "
            f"pneumocli has {PREPARATION_VERSION}; train it anew, or use the pneumocli that trained it"
        )
    network = ready(take_answers(model))
    width = network.output_shape[-1] - card.members
    if typical is not None and len(typical.mean) != width:
        raise RunError(
            f"{card.name} has {width} features an image, its training images {len(typical.mean)}: these are "
            "parts of two models; train it anew"
        )
    size = max(FEWEST, min(BATCH_SIZE, len(paths)))
    done = 0
    for batch in _batch(read_images(paths, card.pixels), size):
        pictures = [picture for _, picture in batch if not isinstance(picture, ImageError)]
        answers = iter(_answer(network, card, pictures, size, typical))
        for path, picture in batch:
            if isinstance(picture, ImageError):
                yield Failure(str(path), str(picture))
                continue
            prediction = Prediction(str(path), *next(answers))
            if strict and prediction.atypical is not None:
                yield Failure(str(path), f"{path} is atypical: {prediction.atypical}", prediction.atypical)
            else:
                yield prediction
        done += len(batch)
        listen(Progress("images", done, len(paths)))


def _answer(
    network: keras.Model, card: ModelCard, pictures: list[Picture], size: int, typical: Typical | None
) -> list[tuple[float, float, str, list[float], str | None, float | None]]:
    """Return what a `Prediction` holds of each picture, behind its path."""
    if not pictures:
        return []
    # One shape for all batches: the last is filled up with repeated images.
    images = np.stack([picture.pixels for picture in pictures])
    filled = images[np.resize(np.arange(len(images)), size), ..., np.newaxis]
    outputs = run_filled(network, filled)[: len(images)]
    members = squash_logits(outputs[:, : card.members].T)
    scores = average_scores(members)
    distances: list[float | None] = [None] * len(pictures)
    if typical is not None:
        distances = typical.measure(outputs[:, card.members :]).tolist()
    return list(
        zip(
            apply_temperature(scores, card.temperature).tolist(),
            scores.tolist(),
            [card.classes[label] for label in call_labels(scores, card.threshold)],
            apply_temperature(members.T, card.temperature).tolist(),
            [judge_image(*looked_at, typical) for looked_at in zip(pictures, distances, strict=True)],
            distances,
            strict=True,
        )
    )


def _batch(
    images: Iterator[tuple[Path, Picture | ImageError]], size: int
) -> Iterator[list[tuple[Path, Picture | ImageError]]]:
    while batch := list(islice(images, size)):
        yield batch
