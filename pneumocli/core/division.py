"""Own images that name no splits, divided into train, val and test."""

import numpy as np
from numpy.typing import NDArray

from pneumocli.core.data import CLASS_NAMES, WHOLE, Dataset, Split, hash_images
from pneumocli.core.errors import DataError
from pneumocli.core.seeding import derive_seed

PARTS = 10  # one is test, one val, eight are train


def divide_dataset(dataset: Dataset, seed: int) -> Dataset:
    """Divide the one split "all" into train, val and test: 80, 10 and 10 %, both classes in each alike.

    Images of one group, and byte-equal ones, are never in two splits.

    Raises:
        DataError: fewer than ten images of a class, or groups too large or too few.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    whole = dataset.splits[WHOLE]
    counts = whole.class_counts()
    advice = "add images, or name the splits: folders train, val and test, or a column split"
    if min(counts) < PARTS:
        raise DataError(
            f"{dataset.name} has {counts[0]} normal and {counts[1]} pneumonia images, too few to divide: "
            f"{PARTS} of each are needed; {advice}"
        )
    units = _find_units(whole)
    parts: list[NDArray[np.int64]] = []
    if len(np.unique(units)) >= PARTS:
        splitter = StratifiedGroupKFold(PARTS, shuffle=True, random_state=derive_seed(seed, "division"))
        parts = [part for _, part in splitter.split(whole.labels, whole.labels, units)]
    complete = [part for part in parts if len(np.unique(whole.labels[part])) == len(CLASS_NAMES)]
    if len(complete) <= 2:
        raise DataError(
            f"{dataset.name} cannot be divided so that each split has both classes and no group is in two; "
            f"{advice}"
        )
    test, val = complete[:2]
    train = np.setdiff1d(np.arange(len(whole)), np.concatenate([val, test]))
    splits = {"train": whole.take(train), "val": whole.take(val), "test": whole.take(test)}
    return Dataset(dataset.name, splits, dataset.synthetic)


def _find_units(images: Split) -> NDArray[np.int64]:
    """Number what must stay together: images of one group, and byte-equal ones; shape (N,)."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    copies = np.unique(hash_images(images.images), return_inverse=True)[1]
    if images.groups is None:
        return copies
    # Groups and distinct images are nodes, each image an edge between its two.
    groups = np.unique(images.groups, return_inverse=True)[1]
    nodes = int(groups.max() + copies.max()) + 2
    edges = coo_array((np.ones(len(groups)), (groups, groups.max() + 1 + copies)), shape=(nodes, nodes))
    return connected_components(edges, directed=False)[1][groups].astype(np.int64)
