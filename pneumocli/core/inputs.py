"""From what the user names to what a run works on: the data set, the weights, the cache."""

import math
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pneumocli.core.audit import identify
from pneumocli.core.bank import Cache
from pneumocli.core.data import Dataset, load_dataset
from pneumocli.core.errors import DataError, PneumoError
from pneumocli.core.fetch import (
    OFFICIAL_SIZES,
    SOURCES,
    cache_directory,
    fetch_file,
    locate_data,
    locate_weights,
    place_of,
)
from pneumocli.core.files import hash_file
from pneumocli.core.groups import join_groups, read_groups
from pneumocli.core.progress import Listener, Notice, ignore, keep_quiet
from pneumocli.core.records import FileRecord, WeightsRecord
from pneumocli.core.synthetic import draw_dataset


@dataclass(frozen=True)
class DataInput:
    """A data set, the file it was read from (none if it was drawn), and in a sentence which one it is.

    `groups_file` is the file that named groups of its training images, if one was given.
    """

    dataset: Dataset
    path: Path | None
    identity: str
    groups_file: FileRecord | None = None


@dataclass(frozen=True)
class WeightsInput:
    """A weights file, None for random weights, and how a run records it."""

    path: Path | None
    record: WeightsRecord


def gather_data(
    data: str | None, size: int, *, listen: Listener = ignore, notify: Notice = keep_quiet
) -> DataInput:
    """Find, read and name the data set; the official file is downloaded if there is no other.

    Args:
        data: a file's name, "synthetic", or None for PNEUMOCLI_DATA and then the official file.
        size: which official file, by the side of its images.

    Raises:
        DataError, DownloadError: there is none, or it is not of the right form.
    """
    return read_data(locate_data(data, size, cache_directory(), listen, notify))


def fetch_data(
    size: int, directory: Path, *, listen: Listener = ignore, notify: Notice = keep_quiet
) -> DataInput:
    """Return the official file's data, downloaded unless a readable file of its name is there.

    What was imported lies under that name too and is kept; a damaged file is replaced.

    Raises:
        DataError: there is no official file of that size.
        DownloadError: it could not be downloaded.
    """
    if size not in SOURCES:
        raise DataError(f"there is no official file of {size} px; choose from: {OFFICIAL_SIZES}")
    with suppress(DataError):
        return read_data(place_of(SOURCES[size], directory))
    return read_data(fetch_file(SOURCES[size], directory, listen, notify))


def read_data(source: Path | Literal["synthetic"]) -> DataInput:
    """Read a data set, or draw it, and name it.

    Raises:
        DataError: the file is not of the right form.
    """
    path = source if isinstance(source, Path) else None
    dataset = draw_dataset() if path is None else load_dataset(path)
    return DataInput(dataset, path, identify(dataset, path).sentence)


def add_groups(data: DataInput, path: Path) -> DataInput:
    """Return the data with the groups of a file joined to those that its training images have.

    Raises:
        DataError: the file is missing, or not of the right form.
    """
    train = data.dataset.train
    groups = read_groups(path, len(train))
    if train.groups is not None:
        groups = join_groups(train.groups, groups)
    splits = {**data.dataset.splits, "train": replace(train, groups=groups)}
    return replace(
        data,
        dataset=replace(data.dataset, splits=splits),
        groups_file=FileRecord(name=path.name, sha256=hash_file(path)),
    )


def gather_weights(
    weights: str | None, *, listen: Listener = ignore, notify: Notice = keep_quiet
) -> WeightsInput:
    """Find the pretrained weights; Keras's own are downloaded if no file is named.

    Args:
        weights: "imagenet", "none", a file's name, or None for PNEUMOCLI_WEIGHTS and then "imagenet".

    Raises:
        WeightsError, DownloadError: there are none.
    """
    path = locate_weights(weights, cache_directory(), listen, notify)
    if path is None:
        return WeightsInput(None, WeightsRecord(name="none (random)", sha256=None))
    return WeightsInput(path, WeightsRecord(name=path.name, sha256=hash_file(path)))


def feature_cache(limit: float = 20.0) -> Cache:
    """Return where the frozen layers' outputs are kept, at most `limit` GB of them; inf is no limit.

    Raises:
        PneumoError: the limit is not a number.
    """
    if math.isnan(limit):
        raise PneumoError("--cache-limit takes a number of GB, or inf for no limit; received nan")
    return Cache(cache_directory() / "features", round(limit * 1e9) if math.isfinite(limit) else sys.maxsize)
