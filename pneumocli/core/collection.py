"""Own image files as a data set.

They are read as prediction reads them, and stand in the order of their names: neither where a folder
lies nor in which order a CSV has its rows changes what is trained.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pneumocli.core.data import CLASS_NAMES, SPLIT_NAMES, WHOLE, Dataset, Split
from pneumocli.core.errors import DataError, ImageError
from pneumocli.core.images import describe_steps, read_images
from pneumocli.core.listing import SHOWN, ImageFile, list_files, name_collection
from pneumocli.core.progress import Listener, Notice, Progress, ignore, keep_quiet
from pneumocli.core.wording import show_plain

DARK = 32  # grey levels; 12 bits in a file of 16 end at 16


def read_collection(
    path: Path, pixels: int, *, listen: Listener = ignore, notify: Notice = keep_quiet
) -> Dataset:
    """Read the image files of a folder or a CSV into N * pixels * pixels bytes of memory.

    Args:
        path: see `listing.list_folder` and `listing.list_rows`.
        pixels: side of the squares that the images are made into.
        listen: hears how many images are read.
        notify: is told in a line what is passed over, and how the images are prepared.

    Returns:
        The splits that the data name, or all images as the one split "all" where they name none.

    Raises:
        DataError: nothing to read, a fault in the CSV or in the folders' names, images that cannot be
            read, or a split with images of one class only.
    """
    order = (*SPLIT_NAMES, WHOLE)
    # Split by split, so that each is a stretch of one array and nothing is copied.
    files = sorted(list_files(path, notify), key=lambda file: (order.index(file.split or WHOLE), file.name))
    names = [file.split or WHOLE for file in files]
    spans = {
        name: slice(names.index(name), names.index(name) + names.count(name))
        for name in order
        if name in names
    }
    labels = np.array([file.label for file in files], dtype=np.int64)
    for name, span in spans.items():
        _check_classes(path, name, labels[span])
    groups = _number_groups(path, files, notify)
    notify(f"images: {describe_steps(pixels)}")
    images = _read_all(path, [file.path for file in files], pixels, listen)
    _warn_of_dark(path, files, images, notify)
    return Dataset(
        name_collection(path),
        {
            name: Split(images[span], labels[span], None if groups is None else groups[span])
            for name, span in spans.items()
        },
    )


def _warn_of_dark(path: Path, files: Sequence[ImageFile], images: NDArray[np.uint8], notify: Notice) -> None:
    dark = np.flatnonzero(images.max(axis=(1, 2)) < DARK)
    if len(dark):
        first = ", ".join(show_plain(files[row].name) for row in dark[:SHOWN])
        notify(
            f"warning: {name_collection(path)}: {len(dark)} of {len(images)} images are nearly black (the "
            f"first: {first}), with no grey level above {DARK - 1} of 255, as 12 bits in a file of 16 are; "
            "scale them to the full range"
        )


def _check_classes(path: Path, split: str, labels: NDArray[np.int64]) -> None:
    found = np.unique(labels)
    if len(found) < 2:
        where = "" if split == WHOLE else f" in {split}"
        raise DataError(
            f"{path} has only {CLASS_NAMES[found[0]]} images{where}; both classes are needed, to learn and "
            "for an AUC: add the other"
        )


def _number_groups(path: Path, files: Sequence[ImageFile], notify: Notice) -> NDArray[np.int64] | None:
    groups = [file.group for file in files if file.group is not None]
    if not groups:
        return None
    splits: dict[str, list[str]] = {}
    for group, split in dict.fromkeys((file.group, file.split) for file in files):
        splits.setdefault(group or "", []).append(split or "")
    torn = [group for group, found in splits.items() if len(found) > 1]
    if torn:
        notify(
            f"warning: {name_collection(path)}: {len(torn)} of {len(splits)} groups have images in more than "
            f"one split, which makes figures too good (the first: {show_plain(torn[0])}, in "
            f"{', '.join(splits[torn[0]])}); keep each in one"
        )
    return np.unique(groups, return_inverse=True)[1].astype(np.int64)


def _read_all(path: Path, files: Sequence[Path], pixels: int, listen: Listener) -> NDArray[np.uint8]:
    """Return all images, uint8 (N, pixels, pixels)."""
    if pixels < 1:
        raise DataError(f"images of {pixels} px are asked for; --size takes their side, such as 28 or 224")
    try:
        images = np.empty((len(files), pixels, pixels), np.uint8)
    except (MemoryError, ValueError):
        raise DataError(
            f"{len(files)} images of {pixels} px take {len(files) * pixels**2 / 1e9:.0f} GB, more than there "
            "is; take a smaller --size"
        ) from None
    stage = f"reading {name_collection(path)}"
    failures = []
    for number, (_, image) in enumerate(read_images(files, pixels)):
        if isinstance(image, ImageError):
            failures.append(str(image))
        else:
            images[number] = image.pixels
        listen(Progress(stage, number + 1, len(files)))
    if failures:
        raise DataError(
            f"{len(failures)} of {len(files)} image files of {path} cannot be read, first: "
            f"{'; '.join(failures[:SHOWN])}; mend them or take them out"
        )
    return images
