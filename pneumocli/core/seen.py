"""Which images a run was made with, so that it can say how many of those it is scored on are among them."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pneumocli.core.archive import read_arrays
from pneumocli.core.data import SEEN_NAMES, Dataset, Split, hash_images
from pneumocli.core.errors import RunError
from pneumocli.core.files import replacing
from pneumocli.core.runs import Run

SEEN = "seen.npz"


def write_seen(folder: Path, dataset: Dataset) -> None:
    """Write `seen.npz`: for train and val the digests of their images, S32 (N,), sorted.

    Args:
        dataset: what was trained on, a subset where that was asked for.
    """
    digests = {name: np.sort(hash_images(dataset.splits[name].images)) for name in SEEN_NAMES}
    with replacing(folder / SEEN) as partial:
        np.savez(partial, allow_pickle=False, **digests)


def count_seen(run: Run, split: Split) -> int | None:
    """Return how many images of a split stand in the run's train or val, byte for byte.

    An image that was read from another file, or at another size, has other bytes and is not found.

    Returns:
        None where the run does not know, because an earlier version trained it.

    Raises:
        RunError: the run's file is damaged.
    """
    known = _read_seen(run.path)
    return None if known is None else int(np.isin(hash_images(split.images), known).sum())


def _read_seen(folder: Path) -> NDArray[np.bytes_] | None:
    path = folder / SEEN
    try:
        digests = list(read_arrays(path, SEEN_NAMES).values())
        if any(part.dtype != "S32" or part.ndim != 1 for part in digests):
            raise ValueError("arrays of other types or shapes")
        return np.concatenate(digests)
    except FileNotFoundError:
        return None
    except Exception as error:
        raise RunError(
            f"{path} cannot be read ({type(error).__name__}); the run folder is damaged: without that file "
            "the run can be scored, and images that it was made with are not counted"
        ) from None
