"""The folds of a cross-validation, stratified; images that belong together stay in one."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pneumocli.core.data import CLASS_NAMES, NORMAL, PNEUMONIA
from pneumocli.core.errors import DataError, SettingError
from pneumocli.core.seeding import derive_seed

LOPSIDED = 2  # times as many images of a class in the largest fold as in the smallest
MOST_FOLDS = 100  # of all repeats: so many models one file can hold


def make_folds(
    labels: NDArray[np.int64],
    folds: int,
    seed: int,
    groups: NDArray[np.int64] | None = None,
    *,
    repeats: int = 1,
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Split rows into stratified folds, once or anew several times; every row is held out once each time.

    Args:
        labels: (N,), 0 or 1.
        groups: (N,), rows of the same number stay in the same fold; None if each is on its own.
        repeats: divisions. The first is drawn by the seed itself, the others by seeds that derive from it.

    Returns:
        For each fold the sorted rows to train on and the sorted rows held out, one division after another.

    Raises:
        SettingError: they are too many models together.
        DataError: fewer than 2 folds, more than there are groups with the smaller class, or a fold is
            left without a class because groups are few and large.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    numbers = np.arange(len(labels)) if groups is None else groups
    smallest = min(len(np.unique(numbers[labels == label])) for label in (NORMAL, PNEUMONIA))
    is_grouped = len(np.unique(numbers)) < len(labels)
    if not 2 <= folds <= smallest:
        what = "groups with an image" if is_grouped else "images"
        if smallest < 2:
            lone = "in a single group" if is_grouped else "a single one"
            raise DataError(
                f"the images of one class are {lone}, so that no folds can be made ({folds} are asked for); "
                "add images or name smaller groups, or train a single model: pneumocli train"
            )
        raise DataError(
            f"{folds} folds are asked for; there must be at least 2 and at most {smallest}, "
            f"the number of {what} of the smaller class"
        )
    if folds * repeats > MOST_FOLDS:
        raise SettingError(
            f"{folds} folds drawn {repeats} times are {folds * repeats} models; at most {MOST_FOLDS} can be "
            "joined"
        )
    kind = StratifiedGroupKFold if is_grouped else StratifiedKFold
    made: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    for repeat in range(repeats):
        drawn = seed if repeat == 0 else derive_seed(seed, "folds", repeat)
        splitter = kind(n_splits=folds, shuffle=True, random_state=drawn)
        made += splitter.split(labels, labels, numbers if is_grouped else None)
    # StratifiedGroupKFold evens out the shares and promises nothing: few large groups may spoil it.
    for fold, (_, held_out) in enumerate(made, start=1):
        counts = np.bincount(labels[held_out], minlength=2)
        if not counts.all():
            raise DataError(
                f"of these groups no {folds} folds with both classes could be made: fold {fold} would have "
                f"no {CLASS_NAMES[int(counts.argmin())]} images; take fewer folds or another seed"
            )
    return made


def name_lopsided(
    labels: NDArray[np.int64], parts: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]
) -> str | None:
    """Say how unlike in size folds are of which the largest holds out twice the smallest's images of a class.

    Few large groups cannot be divided evenly; figures of such folds, and their mean, mean little.

    Args:
        labels: (N,), 0 or 1.
        parts: as `make_folds` returns them.

    Returns:
        None where they are alike.
    """
    counts = np.array([np.bincount(labels[held_out], minlength=2) for _, held_out in parts])
    low, high = counts.min(axis=0), counts.max(axis=0)
    told = [
        f"{low[label]} to {high[label]} {CLASS_NAMES[label]}"
        for label in (NORMAL, PNEUMONIA)
        if high[label] >= LOPSIDED * low[label] and high[label] - low[label] > 1
    ]
    if not told:
        return None
    return f"folds hold out {' and '.join(told)} images, since many belong together"
