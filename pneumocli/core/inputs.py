"""From what the user names to what a run works on: the data set, the weights, the cache."""

import math
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pneumocli.core.audit import list_faults
from pneumocli.core.cache import Cache
from pneumocli.core.collection import read_collection
from pneumocli.core.data import WHOLE, Dataset, load_dataset
from pneumocli.core.division import divide_dataset
from pneumocli.core.errors import DataError, PneumoError
from pneumocli.core.fetch import fetch_file, locate_data, locate_weights
from pneumocli.core.files import hash_file
from pneumocli.core.groups import read_groups
from pneumocli.core.identity import Kind, identify
from pneumocli.core.listing import is_collection
from pneumocli.core.official import OFFICIAL_SIZES, SOURCES, cache_directory, place_of
from pneumocli.core.preparation import check_preparation
from pneumocli.core.progress import Listener, Notice, ignore, keep_quiet
from pneumocli.core.records import FileRecord, WeightsRecord
from pneumocli.core.runs import Run
from pneumocli.core.synthetic import draw_dataset


@dataclass(frozen=True)
class DataInput:
    """A data set, the file or folder it was read from, and in a sentence which one it is.

    Drawn images have no `path`. Own images that name no splits are divided by a seed, or are the one
    split "all". `groups_file` is the file that named groups of the training images, if one was given.
    """

    dataset: Dataset
    path: Path | None
    identity: str
    groups_file: FileRecord | None = None
    groups_path: Path | None = None


@dataclass(frozen=True)
class WeightsInput:
    """A weights file, None for random weights, and how a run records it."""

    path: Path | None
    record: WeightsRecord


def gather_data(
    data: str | None,
    size: int,
    *,
    seed: int | None = 0,
    listen: Listener = ignore,
    notify: Notice = keep_quiet,
) -> DataInput:
    """Find, read and name the data set; the official file is downloaded if there is no other.

    Args:
        data: an .npz file's name, a folder's or a CSV's of image files, "synthetic", or None for
            PNEUMOCLI_DATA and then the official file.
        size: which official file, by the side of its images; the side that image files are made into.
        seed: divides own images that name no splits into train, val and test; None leaves them as they
            are, the one split "all".

    Raises:
        DataError, DownloadError: there is none, or it is not of the right form.
    """
    source = locate_data(data, size, cache_directory(), listen, notify)
    return read_data(source, size, seed=seed, listen=listen, notify=notify)


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


def read_data(
    source: Path | Literal["synthetic"],
    size: int = 28,
    *,
    seed: int | None = 0,
    listen: Listener = ignore,
    notify: Notice = keep_quiet,
) -> DataInput:
    """Read a data set, or draw it, and name it.

    Args:
        size, seed: as for `gather_data`; of no account for .npz files and drawn images.

    Raises:
        DataError: the file or folder is not of the right form.
    """
    if not isinstance(source, Path):
        dataset = draw_dataset()
        return DataInput(dataset, None, identify(dataset).sentence)
    if not is_collection(source):
        dataset = load_dataset(source)
    else:
        dataset = read_collection(source, size, listen=listen, notify=notify)
        if WHOLE in dataset.splits and seed is not None:
            dataset = divide_dataset(dataset, seed)
            notify(f"{dataset.name} names no splits; divided by seed {seed}: 80 % train, 10 % val, 10 % test")
    identity = identify(dataset, source)
    if identity.kind not in (Kind.OFFICIAL, Kind.REORDERED):
        for fault in list_faults(dataset):
            notify(f"warning: {fault}")
    dataset = replace(dataset, is_official_file=identity.kind is Kind.OFFICIAL)
    return DataInput(dataset, source, identity.sentence)


def choose_scored(
    found: DataInput,
    run: Run,
    split: str | None,
    *,
    force: bool = False,
    notify: Notice = keep_quiet,
) -> tuple[Dataset, str]:
    """Return the data set to score a run on, and which split of it.

    Args:
        found: read without a seed.
        split: "val", "test" or "all"; None means test where the data has it, else all.
        force: score also where the run was trained with another way of reading image files; `notify` is
            told so.

    Returns:
        The run's own images divided as for its training; of other images that name no splits, all.

    Raises:
        DataError: there is no such split, or it holds, or may hold, images that the run was trained on.
        RunError: the run was trained with another way of reading image files.
    """
    dataset, record = found.dataset, run.record
    if found.path is not None and is_collection(found.path):
        check_preparation(str(run.path), record.preparation, force=force, notify=notify)
    if WHOLE in dataset.splits:
        with suppress(DataError):  # too few to have been divided
            divided = divide_dataset(dataset, record.settings.seed)
            dataset = divided if run.owns(divided) else dataset
    chosen = split or ("test" if "test" in dataset.splits else WHOLE)
    if split is None and chosen == WHOLE and dataset.name == record.data.name and not run.owns(dataset):
        raise DataError(
            f"{dataset.name} is not what {run.path} was trained on, though of the same name: some of its "
            "images may be among those trained on; if none is, score them with --split all"
        )
    if chosen == WHOLE and run.owns(dataset):
        others = [name for name in dataset.names if name != "train"]
        raise DataError(
            f"{run.path} was trained on images of {dataset.name}, so that figures on all of them would be "
            f"too good; name another split ({', '.join(others)}) with --split, or other --data"
        )
    if chosen != WHOLE:
        dataset.pick(chosen)
    return dataset, chosen


def add_groups(data: DataInput, path: Path) -> DataInput:
    """Return the data with the groups that a file names by rows of the training split.

    Raises:
        DataError: the file is missing, or not of the right form; or the data are image files, whose rows
            nobody knows: they are sorted, and perhaps divided, when they are read.
    """
    if data.path is not None and is_collection(data.path):
        raise DataError(
            f"{path} names groups by rows of an .npz file's training split, which {data.path} does not have; "
            "leave out --groups, and name them in a CSV of the images (path,label,group) as --data"
        )
    train = data.dataset.train
    splits = {**data.dataset.splits, "train": replace(train, groups=read_groups(path, len(train)))}
    return replace(
        data,
        dataset=replace(data.dataset, splits=splits),
        groups_file=FileRecord(name=path.name, sha256=hash_file(path)),
        groups_path=path,
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
