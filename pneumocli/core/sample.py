"""Images to compare two engines on: real ones where there are any, else drawn ones."""

import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pneumocli.core.contract import ModelCard
from pneumocli.core.data import Dataset
from pneumocli.core.errors import DataError
from pneumocli.core.inputs import gather_data
from pneumocli.core.official import SOURCES, cache_directory, place_of, read_named
from pneumocli.core.progress import Listener, Notice, ignore, keep_quiet
from pneumocli.core.synthetic import draw_dataset

IMAGES = 256


@dataclass(frozen=True)
class Sample:
    """Images of a data set.

    Attributes:
        images: uint8 (N, P, P).
        data: which they are, such as "val images of pneumoniamnist.npz".
    """

    images: NDArray[np.uint8]
    data: str


def gather_sample(
    card: ModelCard, data: str | None = None, *, listen: Listener = ignore, notify: Notice = keep_quiet
) -> Sample:
    """Return 256 images, or as many as there are, evenly from the validation split if the data have one.

    Args:
        card: of the model that is to score them.
        data: as for `inputs.gather_data`; None for the official file or what PNEUMOCLI_DATA names, if it is
            at hand and of the model's size. Nothing is downloaded, and without it the images are drawn.

    Raises:
        DataError: `data` is missing, not of the right form, or of another size.
    """
    if data is not None:
        dataset = gather_data(data, card.pixels, seed=None, listen=listen, notify=notify).dataset
        if dataset.pixels != card.pixels and not dataset.synthetic:
            raise DataError(
                f"{dataset.name} has images of {dataset.pixels} px, {card.name} takes {card.pixels} px: name "
                "other --data"
            )
        return _draw(card) if dataset.synthetic else _take(dataset)
    if card.data.synthetic or not _is_at_hand(card.pixels):
        return _draw(card)
    try:
        dataset = gather_data(None, card.pixels, seed=None, listen=listen, notify=notify).dataset
    except DataError as error:
        notify(f"not used: {error}")
        return _draw(card)
    return _take(dataset) if dataset.pixels == card.pixels and not dataset.synthetic else _draw(card)


def _is_at_hand(pixels: int) -> bool:
    return read_named("PNEUMOCLI_DATA") is not None or (
        pixels in SOURCES and os.path.isfile(place_of(SOURCES[pixels], cache_directory()))
    )


def _take(dataset: Dataset) -> Sample:
    name = next(name for name in ("val", "test", *dataset.names) if name in dataset.splits)
    images = dataset.pick(name).images
    rows = np.unique(np.linspace(0, len(images) - 1, IMAGES).round().astype(np.int64))
    return Sample(images[rows], f"{name} images of {dataset.name}")


def _draw(card: ModelCard) -> Sample:
    return Sample(draw_dataset(train=3, val=IMAGES, test=3, pixels=card.pixels).val.images, "drawn images")
