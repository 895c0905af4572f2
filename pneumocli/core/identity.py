"""Which of the known data sets this is: by its file, or by its images whatever the file."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pneumocli.core.data import (
    CLASS_NAMES,
    NORMAL,
    PNEUMONIA,
    SEEN_NAMES,
    SPLIT_NAMES,
    Dataset,
    Split,
    hash_images,
)
from pneumocli.core.errors import DataError
from pneumocli.core.listing import is_collection
from pneumocli.core.official import OFFICIAL_SIZES, SOURCES, compute_md5

KAGGLE_MD5 = "f5b994ec7c2fe8bc81ae15cbab7c3df8"
KAGGLE_TRAIN_COUNTS = (388, 3494)

# The images of the official 28 px file, by split and label, whatever their order (see `digest_images`).
KNOWN_DIGESTS = {
    ("train", NORMAL): "d94572355e273474d7770a6ebf89f8a2d3c3ce834b71db52822f7e896b3f8442",
    ("train", PNEUMONIA): "d4419c74c2cdaff6fd072c1195abdfd9ec8d3a4380e8145e62e71dc5190b13c7",
    ("val", NORMAL): "93a593292424018cef9da5da32c24e7379bffbf446f657807431969c2de29323",
    ("val", PNEUMONIA): "5b58d73f80a42642bf14bc962dc1ece1b695fd8670c7933ecf87d31764ac5184",
    ("test", NORMAL): "5ac1047f6e5f32fb047432600dad4361628699503533dd94193ee83c9acbda4b",
    ("test", PNEUMONIA): "20e4b8f4615cebc966770f85b531a39c84c2e9787845dc5cb176865f78120a7c",
}

# How the sentences that a run keeps begin, or what they are: `read_kind` knows a data set by them.
OFFICIAL_SEEN = "the official training and validation images and labels at 28 px"
OWN_IMAGES = "own images: "


class Kind(StrEnum):
    """The data sets that can be told apart."""

    OFFICIAL = "official"
    REORDERED = "reordered"
    KAGGLE = "kaggle"
    SYNTHETIC = "synthetic"
    OWN = "own"
    OTHER = "other"


@dataclass(frozen=True)
class Identity:
    """Which data set it is, and the same in a sentence for a person."""

    kind: Kind
    sentence: str


def identify(dataset: Dataset, path: Path | None = None) -> Identity:
    """Say which data set it is: by the file's MD5 if there is a file, else by the images themselves.

    Own image files, of a folder or a CSV, are counted.

    Raises:
        DataError: the file is gone.
    """
    if dataset.synthetic:
        return _name_synthetic()
    if path is not None and is_collection(path):
        return _name_own(dataset, path, dataset.names)
    md5 = None if path is None else _hash_dataset_file(path)
    for size, source in SOURCES.items():
        if md5 == source.md5:
            return Identity(Kind.OFFICIAL, f"the official PneumoniaMNIST file at {size} px (by its MD5)")
    if md5 == KAGGLE_MD5:
        return _name_kaggle()
    return _identify_images(dataset)


def _name_own(dataset: Dataset, path: Path, names: Sequence[str]) -> Identity:
    counts = {name: dataset.splits[name].class_counts() for name in names}
    parts = [
        f"{name} {sum(count)} ({count[NORMAL]} normal, {count[PNEUMONIA]} pneumonia)"
        for name, count in counts.items()
    ]
    where = "in folder" if path.is_dir() else "named in"
    return Identity(Kind.OWN, f"{OWN_IMAGES}files {where} {dataset.name}: {', '.join(parts)}")


def identify_seen(dataset: Dataset, path: Path | None = None) -> Identity:
    """Say which data set train and val are of, by their images alone.

    This is what a run keeps: a file's MD5, and so a sentence made from it, follows the test images too.

    Args:
        path: where the data set was read from; only whether these are image files is taken from it.
    """
    if dataset.synthetic:
        return _name_synthetic()
    if path is not None and is_collection(path):
        return _name_own(dataset, path, [name for name in SEEN_NAMES if name in dataset.splits])
    other = Identity(Kind.OTHER, f"something of PneumoniaMNIST's form, {dataset.pixels} px")
    if dataset.pixels != 28:
        return other
    changed = _list_changed(dataset, SEEN_NAMES)
    if not changed:
        return Identity(Kind.OFFICIAL, OFFICIAL_SEEN)
    return _name_kaggle() if _has_lost_normals(dataset, changed) else other


def read_kind(sentence: str) -> Kind:
    """Return which data set a run's record names, from the sentence of `identify_seen` that it keeps."""
    for known in (Identity(Kind.OFFICIAL, OFFICIAL_SEEN), _name_kaggle(), _name_synthetic()):
        if sentence == known.sentence:
            return known.kind
    return Kind.OWN if sentence.startswith(OWN_IMAGES) else Kind.OTHER


def _identify_images(dataset: Dataset) -> Identity:
    pixels = dataset.pixels
    other = f"something else of PneumoniaMNIST's form, {pixels} px"
    if pixels not in SOURCES:
        return Identity(Kind.OTHER, f"{other}; the official files have {OFFICIAL_SIZES}")
    if pixels != 28:
        return Identity(
            Kind.OTHER,
            f"{other}; at this size only the official file's MD5 is known, and this is not it: "
            "whether the images are the same cannot be told",
        )
    there = [name for name in SPLIT_NAMES if name in dataset.splits]
    changed = _list_changed(dataset, there)
    if not changed and there == list(SPLIT_NAMES):
        return Identity(Kind.REORDERED, "the official file's images and labels at 28 px, in another order")
    if not changed and there:
        parts = " and ".join(there)
        return Identity(Kind.OTHER, f"of the official file at 28 px {parts} alone, images and labels")
    if _has_lost_normals(dataset, changed):
        return _name_kaggle()
    differing = ", ".join(f"{name} {CLASS_NAMES[label]}" for name, label in changed)
    return Identity(Kind.OTHER, f"{other}; it differs from the official file in: {differing}")


def _list_changed(dataset: Dataset, names: Sequence[str]) -> list[tuple[str, int]]:
    """Return the splits and labels whose images are not those of the official file at 28 px."""
    return [
        (name, label)
        for name, label in KNOWN_DIGESTS
        if name in names and not (name in dataset.splits and _holds_known(dataset.splits[name], name, label))
    ]


def _has_lost_normals(dataset: Dataset, changed: list[tuple[str, int]]) -> bool:
    return changed == [("train", NORMAL)] and dataset.train.class_counts() == KAGGLE_TRAIN_COUNTS


def _name_synthetic() -> Identity:
    return Identity(Kind.SYNTHETIC, "synthetic: drawn images, which say nothing about real X-rays")


def _name_kaggle() -> Identity:
    return Identity(
        Kind.KAGGLE,
        "the Kaggle copy of PneumoniaMNIST at 28 px: its training split has lost 826 of 1214 normal images; "
        "get the official file with: pneumocli fetch",
    )


def is_official_split(dataset: Dataset, name: str) -> bool:
    """Say whether a split holds PneumoniaMNIST's images, in whatever order and whatever the file.

    At 28 px the images themselves are known. At the other official sizes only the file is, by its MD5.

    Args:
        name: "train", "val" or "test"; any other is none of PneumoniaMNIST's.
    """
    if dataset.synthetic or dataset.pixels not in SOURCES or name not in SPLIT_NAMES:
        return False
    if dataset.is_official_file:
        return True
    split = dataset.splits[name]
    return dataset.pixels == 28 and all(_holds_known(split, name, label) for label in (NORMAL, PNEUMONIA))


def _holds_known(split: Split, name: str, label: int) -> bool:
    return digest_images(split.images[split.labels == label]) == KNOWN_DIGESTS[name, label]


def digest_images(images: NDArray[np.uint8]) -> str:
    """SHA-256 of the images' size and bytes, shape (N, H, H): equal for the same images in any order."""
    sha = hashlib.sha256(repr(images.shape).encode())
    sha.update(np.sort(hash_images(images)).tobytes())
    return sha.hexdigest()


def _hash_dataset_file(path: Path) -> str:
    try:
        return compute_md5(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); is it still there?") from None
