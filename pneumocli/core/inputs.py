"""From what the user names to what a run works on: the data set and the pretrained weights."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pneumocli.core.audit import identify
from pneumocli.core.data import Dataset, load_dataset
from pneumocli.core.fetch import SYNTHETIC, cache_directory, locate_data, locate_weights
from pneumocli.core.files import hash_file
from pneumocli.core.progress import Listener, ignore
from pneumocli.core.runs import WeightsRecord
from pneumocli.core.synthetic import draw_dataset

Notice = Callable[[str], None]


@dataclass(frozen=True)
class DataInput:
    """A data set, and in a sentence which one it is."""

    dataset: Dataset
    identity: str


@dataclass(frozen=True)
class WeightsInput:
    """A weights file, None for random weights, and how a run records it."""

    path: Path | None
    record: WeightsRecord


def gather_data(
    data: str | None, size: int, *, listen: Listener = ignore, notify: Notice = lambda line: None
) -> DataInput:
    """Find, read and name the data set; the official file is downloaded if there is no other.

    Args:
        data: a file's name, "synthetic", or None for PNEUMOCLI_DATA and then the official file.
        size: which official file, by the side of its images.

    Raises:
        DataError, DownloadError: there is none, or it is not of the right form.
    """
    found = locate_data(data, size, cache_directory(), listen, notify)
    if found == SYNTHETIC:
        dataset = draw_dataset()
        return DataInput(dataset, identify(dataset).sentence)
    assert isinstance(found, Path)
    dataset = load_dataset(found)
    return DataInput(dataset, identify(dataset, found).sentence)


def gather_weights(
    weights: str | None, *, listen: Listener = ignore, notify: Notice = lambda line: None
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
