"""The validation images that training is watched by, and that a single model's threshold is fixed on."""

import numpy as np
from numpy.typing import NDArray

from pneumocli.core.data import CLASS_NAMES, Dataset
from pneumocli.core.errors import DataError
from pneumocli.core.groups import find_originals


def find_stopping(dataset: Dataset) -> NDArray[np.int64]:
    """Return their rows, int64 (M,): the validation images without a copy or a near duplicate in train.

    Raises:
        DataError: there are none.
    """
    rows = find_originals(dataset.val, dataset.train)
    if not len(rows):
        raise DataError(
            f"{dataset.name}: every validation image stands in train too, or one that is nearly the same, so "
            "training cannot be watched on images of its own; give other validation images"
        )
    return rows


def check_stopping(dataset: Dataset) -> NDArray[np.int64]:
    """Return their rows, int64 (M,), as `find_stopping` does, if a threshold can be fixed on them.

    Raises:
        DataError: there are none, or all are of one class.
    """
    rows = find_stopping(dataset)
    labels = np.unique(dataset.val.labels[rows])
    if len(labels) == 1:
        raise DataError(
            f"{dataset.name}: all validation images without a copy in train are {CLASS_NAMES[labels[0]]}; a "
            "threshold needs both classes: name data with other validation images, or use: pneumocli cv"
        )
    return rows
