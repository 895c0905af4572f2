"""Answers for image files: read as the data set was made, scored, called at the model's threshold."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import numpy as np

from pneumocli.core.artefact import ModelCard
from pneumocli.core.errors import ImageError, RunError
from pneumocli.core.images import PREPARATION_VERSION, read_image
from pneumocli.core.inference import compute_member_scores
from pneumocli.core.metrics import average_scores, call_labels
from pneumocli.core.progress import Listener, ignore


@dataclass(frozen=True)
class Prediction:
    """The answer for one image file.

    Attributes:
        path: as it was given.
        probability: of pneumonia, 0 to 1; for an ensemble the mean of its members'.
        label: "normal" or "pneumonia".
        members: each member's probability.
    """

    path: str
    probability: float
    label: str
    members: list[float]

    def to_dict(self) -> dict[str, object]:
        return asdict(self)


def predict_files(
    model: keras.Model, card: ModelCard, paths: Sequence[Path], *, listen: Listener = ignore
) -> tuple[list[Prediction], list[str]]:
    """Answer for each image that can be read, in the order given.

    Returns:
        The predictions, and a line for each image that could not be read.

    Raises:
        RunError: the model was trained with another way of reading images.
    """
    if card.preparation != PREPARATION_VERSION:
        raise RunError(
            f"{card.name} was trained with preparation {card.preparation} of image files, this version of "
            f"pneumocli has {PREPARATION_VERSION}; train it anew, or use the pneumocli that trained it"
        )
    images, read, failures = [], [], []
    for path in paths:
        try:
            images.append(read_image(path, card.pixels))
            read.append(path)
        except ImageError as error:
            failures.append(str(error))
    if not images:
        return [], failures
    members = compute_member_scores(model, np.stack(images), stage="images", listen=listen)
    probability = average_scores(members)
    labels = call_labels(probability, card.threshold)
    return [
        Prediction(str(path), float(score), card.classes[label], [float(member) for member in row])
        for path, score, label, row in zip(read, probability, labels, members.T, strict=True)
    ], failures
