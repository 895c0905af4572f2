"""What a data set holds: how many images of each class, and which of them repeat."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pneumocli.core.data import PNEUMONIA, Dataset, Split, hash_images
from pneumocli.core.identity import Identity, identify


@dataclass(frozen=True)
class SplitAudit:
    """Counts of one split.

    Attributes:
        images: all images, `normal` and `pneumonia` together.
        groups: groups of byte-equal images that stand in this split alone.
        surplus: images that repeat an earlier one of this split; so many fewer are distinct.
    """

    images: int
    normal: int
    pneumonia: int
    groups: int
    surplus: int


@dataclass(frozen=True)
class Audit:
    """Counts and exact duplicates of a data set.

    Attributes:
        pixels: side of the square images.
        splits: "train", "val" and "test", or those that are there.
        shared: distinct images that stand in both splits, under "train/val", "train/test", "val/test".
        groups: groups of byte-equal images in the whole data set.
        grouped_images: how many images belong to these groups.
        label_conflicts: groups whose images do not all have the same label.
    """

    identity: Identity
    pixels: int
    splits: Mapping[str, SplitAudit]
    shared: Mapping[str, int]
    groups: int
    grouped_images: int
    label_conflicts: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        return asdict(self)


def audit_dataset(dataset: Dataset, path: Path | None = None) -> Audit:
    """Count a data set's images, classes and exact duplicates.

    Args:
        path: the file or folder it was read from, if any; a file's MD5 helps to name it.

    Raises:
        DataError: the file is gone.
    """
    splits = [dataset.splits[name] for name in dataset.names]
    copies, positive = _count_copies(splits)
    total = copies.sum(axis=1)
    repeated = total > 1

    return Audit(
        identity=identify(dataset, path),
        pixels=dataset.pixels,
        splits={
            name: SplitAudit(
                len(split),
                *split.class_counts(),
                groups=int((repeated & (own == total)).sum()),
                surplus=int((own - 1).clip(min=0).sum()),
            )
            for name, split, own in zip(dataset.names, splits, copies.T, strict=True)
        },
        shared=_count_shared(dataset, copies),
        groups=int(repeated.sum()),
        grouped_images=int(total[repeated].sum()),
        label_conflicts=_count_conflicts(copies, positive),
    )


def list_faults(dataset: Dataset) -> list[str]:
    """Say which byte-equal images make figures wrong: a test image known from elsewhere, two labels for one.

    Copies in val are not named: training is not watched by these, and folds keep copies together.
    """
    copies, positive = _count_copies([dataset.splits[name] for name in dataset.names])
    faults = [
        f"{dataset.name}: images that stand in both {' and '.join(pair.split('/'))}, byte for byte: {count}, "
        "which makes test figures too good; leave them out of one"
        for pair, count in _count_shared(dataset, copies).items()
        if count and pair.endswith("/test")
    ]
    if conflicts := _count_conflicts(copies, positive):
        faults.append(
            f"{dataset.name}: images that stand there more than once, byte for byte, with differing labels: "
            f"{conflicts}; correct these"
        )
    return faults


def count_conflicts(dataset: Dataset, names: Sequence[str]) -> int:
    """Return how many distinct images of these splits, known by their bytes, stand there with both labels."""
    return _count_conflicts(*_count_copies([dataset.splits[name] for name in names]))


def _count_copies(splits: Sequence[Split]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return how often each distinct image stands in each split, (distinct, splits), and with pneumonia."""
    labels = np.concatenate([split.labels for split in splits])
    origin = np.repeat(np.arange(len(splits)), [len(split) for split in splits])
    digests = np.concatenate([hash_images(split.images) for split in splits])
    _, group = np.unique(digests, return_inverse=True)
    copies = np.zeros((group.max() + 1, len(splits)), dtype=np.int64)
    np.add.at(copies, (group, origin), 1)
    positive = np.bincount(group[labels == PNEUMONIA], minlength=len(copies))
    return copies, positive.astype(np.int64)


def _count_shared(dataset: Dataset, copies: NDArray[np.int64]) -> dict[str, int]:
    return {
        f"{dataset.names[one]}/{dataset.names[other]}": int(copies[:, [one, other]].all(axis=1).sum())
        for one, other in combinations(range(len(dataset.names)), 2)
    }


def _count_conflicts(copies: NDArray[np.int64], positive: NDArray[np.int64]) -> int:
    return int(((positive > 0) & (positive < copies.sum(axis=1))).sum())
