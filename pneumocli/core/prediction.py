"""Answers for images: read as the data set was made, scored, called at the model's threshold."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pneumocli.core.atypical import judge_image
from pneumocli.core.calibration import apply_temperature, squash_logits
from pneumocli.core.contract import ModelCard
from pneumocli.core.errors import ImageError, NoImageError
from pneumocli.core.images import Picture, Source, read_images
from pneumocli.core.metrics import average_scores, call_labels
from pneumocli.core.preparation import check_preparation
from pneumocli.core.progress import Listener, Notice, Progress, ignore, keep_quiet
from pneumocli.core.scorer import Scorer
from pneumocli.core.wording import show_plain

NAMED_FAILURES = 20


@dataclass(frozen=True)
class Prediction:
    """The answer for one image.

    Attributes:
        path: as it was given.
        probability: calibrated, of pneumonia, 0 to 1.
        label: "normal" or "pneumonia", by the score and the model's threshold.
        uncertain: whether members alone, each at that threshold, would call the image differently.
        spread: the largest less the smallest of the members' probabilities; 0 for a single model.
        score: the probability uncalibrated; for an ensemble the mean of its members'.
        members: each member's probability, with the same temperature.
        atypical: why the image is unlike those trained on, in a few words; None if it is not.
        distance: of its features to those of the training images; None where the model keeps none of them.
        explanation: the picture of where the model looked; None if none was asked for.
    """

    path: str
    probability: float
    label: str
    uncertain: bool
    spread: float
    score: float
    members: list[float]
    atypical: str | None = None
    distance: float | None = None
    explanation: str | None = None

    def to_row(self) -> dict[str, object]:
        """Return the row of this image in a list of answers; the reason of a failure is None."""
        return {**asdict(self), "error": None}


@dataclass(frozen=True)
class Failure:
    """An image that could not be answered, and why, in one line that a terminal may show.

    Attributes:
        atypical: of an image that was refused for being so, as in a `Prediction`.
    """

    path: str
    reason: str
    atypical: str | None = None

    def to_row(self) -> dict[str, object]:
        """Return the row of this image in a list of answers, of which most are None."""
        row: dict[str, object] = dict.fromkeys(part.name for part in fields(Prediction))
        return {**row, "path": self.path, "atypical": self.atypical, "error": self.reason}


@dataclass
class Tally:
    """How many images were answered and how many not, and the first of these.

    Attributes:
        judged, atypical: how many could be looked at, answered or refused, and how many were unlike
            those trained on.
        named: at most 20 failures.
    """

    answered: int = 0
    failed: int = 0
    judged: int = 0
    atypical: int = 0
    named: list[Failure] = field(default_factory=list)

    def count(self, answers: Iterable[Prediction | Failure]) -> Iterator[Prediction | Failure]:
        """Pass answers on as they come, and count them."""
        for answer in answers:
            self.atypical += answer.atypical is not None
            self.judged += isinstance(answer, Prediction) or answer.atypical is not None
            if isinstance(answer, Prediction):
                self.answered += 1
            else:
                self.failed += 1
                self.named += [answer][: NAMED_FAILURES - len(self.named)]
            yield answer


# Draws explanations of images, uint8 (P, P) each, and returns their predictions with them.
Illustrate = Callable[[Sequence[NDArray[np.uint8]], Sequence[Prediction]], Iterable[Prediction]]


def predict_files(
    scorer: Scorer,
    card: ModelCard,
    sources: Sequence[Path | Source],
    *,
    strict: bool = False,
    illustrate: Illustrate | None = None,
    force: bool = False,
    listen: Listener = ignore,
    notify: Notice = keep_quiet,
    warn: Notice = keep_quiet,
) -> Iterator[Prediction | Failure]:
    """Answer for each image, in the order given; one that cannot be read stops none of the others.

    Files are read and shrunk by other threads while the network works, a few batches ahead of it,
    so that memory does not grow with their number. Files found in a folder that turn out to hold no
    image are passed over.

    Args:
        strict: an atypical image is a failure, with the same reason.
        illustrate: adds pictures to a batch's predictions; none are made without it.
        force: answer also where the model was trained with another way of reading images.
        notify: is told how many were passed over.
        warn: is told in a line what was gone on with because of `force`.

    Raises:
        RunError: the model was trained with another way of reading images.
    """
    check_preparation(card.name, card.preparation, force=force, notify=warn)
    size = min(scorer.batch_size, len(sources))
    done = passed_over = 0
    for batch in _batch(read_images(sources, card.pixels), size):
        named = [(source.name if isinstance(source, Source) else str(source)) for source, _ in batch]
        good = [(path, one) for path, (_, one) in zip(named, batch, strict=True) if isinstance(one, Picture)]
        pictures = [picture for _, picture in good]
        answers: Iterable[Prediction | Failure] = [
            _refuse_atypical(Prediction(path, **answer), strict)
            for (path, _), answer in zip(good, _answer(scorer, card, pictures, size), strict=True)
        ]
        if illustrate is not None:
            answers = _illustrate(illustrate, pictures, list(answers))
        answered = iter(answers)
        for path, (source, picture) in zip(named, batch, strict=True):
            if isinstance(picture, Picture):
                yield next(answered)
            elif isinstance(picture, NoImageError) and isinstance(source, Source) and source.found:
                passed_over += 1
            else:
                yield Failure(path, str(picture))
        done += len(batch)
        listen(Progress("images", done, len(sources)))
    if passed_over:
        notify(f"passed over {passed_over} DICOM files without an image")


def _answer(scorer: Scorer, card: ModelCard, pictures: list[Picture], size: int) -> list[dict[str, Any]]:
    """Return what a `Prediction` says of each picture, but for its path."""
    if not pictures:
        return []
    logits, measured = scorer.score(np.stack([picture.pixels for picture in pictures]), size)
    scores = squash_logits(logits.T)  # (members, images)
    mean = average_scores(scores)
    # Called before the temperature, as the threshold is: each member as if it were asked alone.
    called = call_labels(scores, card.threshold)
    members = apply_temperature(scores.T, card.temperature)
    columns = {
        "probability": apply_temperature(mean, card.temperature),
        "label": np.array(card.classes)[call_labels(mean, card.threshold)],
        "uncertain": called.min(axis=0) != called.max(axis=0),
        "spread": members.max(axis=1) - members.min(axis=1),
        "score": mean,
        "members": members,
    }
    distances = [None] * len(pictures) if measured is None else measured.tolist()
    reasons = [judge_image(*looked_at, card.atypical) for looked_at in zip(pictures, distances, strict=True)]
    lists = {name: column.tolist() for name, column in columns.items()}
    lists |= {"atypical": reasons, "distance": distances}
    return [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]


def _refuse_atypical(prediction: Prediction, strict: bool) -> Prediction | Failure:
    if not strict or prediction.atypical is None:
        return prediction
    reason = f"{show_plain(prediction.path)} is atypical: {prediction.atypical}"
    return Failure(prediction.path, reason, prediction.atypical)


def _illustrate(
    illustrate: Illustrate, pictures: list[Picture], answers: list[Prediction | Failure]
) -> Iterator[Prediction | Failure]:
    """Add pictures to predictions; of what is refused none is made, since it would tell the answer."""
    both = zip(pictures, answers, strict=True)
    shown = [(picture.pixels, answer) for picture, answer in both if isinstance(answer, Prediction)]
    drawn = iter(illustrate([image for image, _ in shown], [answer for _, answer in shown]))
    for answer in answers:
        yield next(drawn) if isinstance(answer, Prediction) else answer


def _batch(
    pictures: Iterator[tuple[Path | Source, Picture | ImageError]], size: int
) -> Iterator[list[tuple[Path | Source, Picture | ImageError]]]:
    while batch := list(islice(pictures, size)):
        yield batch
