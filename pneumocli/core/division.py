"""Own images that name no splits, divided into train, val and test; and a subset of those to train on."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pneumocli.core.data import CLASS_NAMES, NORMAL, PNEUMONIA, WHOLE, Dataset
from pneumocli.core.errors import DataError
from pneumocli.core.groups import group_images
from pneumocli.core.seeding import derive_generator, derive_seed

PARTS = 10  # one is test, one val, eight are train


def divide_dataset(dataset: Dataset, seed: int) -> Dataset:
    """Divide the one split "all" into train, val and test: 80, 10 and 10 %, both classes in each alike.

    Images of one group, and near duplicates, are never in two splits.

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
    units = group_images(whole)
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


def draw_subset(dataset: Dataset, images: int, seed: int) -> Dataset:
    """Return a stratified random subset of the training split; val and test stay whole.

    Args:
        images: how many training images to keep; all if there are no more than that.

    Raises:
        DataError: fewer than 2, which would lack a class.
    """
    train = dataset.train
    if images < 2:
        raise DataError(f"a subset of {images} training images would lack a class; take at least 2")
    if images >= len(train):
        return dataset
    # The shares are rounded so that they add up, and a class is never left out.
    normal = min(max(round(images * train.class_counts()[NORMAL] / len(train)), 1), images - 1)
    rng = derive_generator(seed, "subset")
    kept = [
        rng.permutation(np.flatnonzero(train.labels == label))[:count]
        for label, count in ((NORMAL, normal), (PNEUMONIA, images - normal))
    ]
    return replace(dataset, splits={**dataset.splits, "train": train.take(np.sort(np.concatenate(kept)))})
