"""The data set in memory: its splits, read from an .npz file and checked."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pneumocli.core.archive import check_arrays
from pneumocli.core.errors import DataError, PneumoError
from pneumocli.core.reading import open_file

NORMAL, PNEUMONIA = 0, 1
CLASS_NAMES = ("normal", "pneumonia")
SPLIT_NAMES = ("train", "val", "test")
WHOLE = "all"  # every image, whatever its split
# What a run is made from. Nothing that it keeps may depend on the test split but the scores on it.
SEEN_NAMES = ("train", "val")


def _name_keys(split: str) -> tuple[str, str]:
    return f"{split}_images", f"{split}_labels"


KEYS = tuple(key for split in SPLIT_NAMES for key in _name_keys(split))


@dataclass(frozen=True)
class Split:
    """Images and their labels.

    Attributes:
        images: uint8 (N, H, H), grey levels 0 to 255.
        labels: int64 (N,), 0 = normal, 1 = pneumonia.
        groups: int64 (N,), images of the same number belong together, such as those of one patient;
            None if nothing is known of it.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    groups: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def pixels(self) -> int:
        """Side of the square images, in pixels."""
        return int(self.images.shape[1])

    def class_counts(self) -> tuple[int, int]:
        """Number of normal and of pneumonia images."""
        return int((self.labels == NORMAL).sum()), int((self.labels == PNEUMONIA).sum())

    def take(self, index: NDArray[np.integer]) -> "Split":
        """Return the rows of `index`, in its order."""
        groups = None if self.groups is None else self.groups[index]
        return Split(self.images[index], self.labels[index], groups)

    def digest(self) -> str:
        """SHA-256 of size, pixels and labels: equal only for the same images in the same order."""
        sha = hashlib.sha256(repr(self.images.shape).encode())
        sha.update(self.images.tobytes())
        sha.update(self.labels.astype("<i8").tobytes())
        return sha.hexdigest()


@dataclass(frozen=True)
class Dataset:
    """The splits of one data set.

    Attributes:
        name: the file's or folder's name, or "synthetic".
        splits: "train", "val" and "test"; of own image files those that are there, or "all" alone
            where they name none.
        synthetic: True for drawn images, which say nothing about real ones.
        is_official_file: True for what was read from one of MedMNIST's files, known by its MD5: images and
            order are theirs.
    """

    name: str
    splits: Mapping[str, Split]
    synthetic: bool = False
    is_official_file: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the splits that are there, in one order whatever that of `splits`."""
        return tuple(name for name in (*SPLIT_NAMES, WHOLE) if name in self.splits)

    @property
    def train(self) -> Split:
        return self.pick("train")

    @property
    def val(self) -> Split:
        return self.pick("val")

    @property
    def test(self) -> Split:
        return self.pick("test")

    @property
    def pixels(self) -> int:
        """Side of the square images, in pixels."""
        return self.splits[self.names[0]].pixels

    def pick(self, name: str) -> Split:
        """Return a split; "all" is every image, those of train before those of val and of test.

        Raises:
            DataError: there is no such split.
        """
        if name == WHOLE and WHOLE not in self.splits:
            return _join([self.splits[part] for part in self.names])
        if name not in self.splits:
            raise DataError(
                f"{self.name} has no {name} images (it has: {', '.join(self.names)}); training needs train "
                "and val, evaluate the split it scores: add them, or name other data with --data"
            )
        return self.splits[name]

    def digest(self, names: Sequence[str] = SPLIT_NAMES) -> str:
        """SHA-256 over the digests of some splits, those that are there: the content, whatever the file."""
        names = [name for name in self.names if name in names or name == WHOLE]
        return join_digests({name: self.splits[name].digest() for name in names})


def _join(parts: Sequence[Split]) -> Split:
    groups = [part.groups for part in parts if part.groups is not None]
    return Split(
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate(groups) if len(groups) == len(parts) else None,
    )


def join_digests(digests: Mapping[str, str]) -> str:
    """Return the digest of a data set from those of its splits, by name, in the order given."""
    parts = (f"{name}:{digest}" for name, digest in digests.items())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def load_dataset(path: Path) -> Dataset:
    """Read an .npz file of PneumoniaMNIST's form and check it.

    The file holds `{train,val,test}_{images,labels}`, or some of these splits: images uint8 (N, H, H), labels
    0 or 1 of shape (N, 1) or (N,), both classes in every split, one image size throughout.

    Raises:
        DataError: the file is missing, unreadable, or not of that form.
    """
    arrays = _read_arrays(path)
    splits = {
        name: _check_split(path, name, arrays[f"{name}_images"], arrays[f"{name}_labels"])
        for name in SPLIT_NAMES
        if f"{name}_images" in arrays
    }
    sizes = {name: split.pixels for name, split in splits.items()}
    if len(set(sizes.values())) > 1:
        raise DataError(f"{path}: the splits differ in image size: {sizes}; all must be the same")
    return Dataset(path.name, splits)


def _read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    if path.is_dir():
        raise DataError(f"{path} is a directory, not an .npz file; name the file in it")
    try:
        # Opened here, since numpy leaves a file open that turns out to be no archive.
        with open_file(path) as file:
            check_arrays(file)
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise DataError(f"{path} is a single array; --data takes an .npz file with {', '.join(KEYS)}")
            with archive:
                named = [name for name in SPLIT_NAMES if {*_name_keys(name)} & {*archive.files}]
                needed = [key for name in named or SPLIT_NAMES for key in _name_keys(name)]
                missing = [key for key in needed if key not in archive.files]
                if missing:
                    found = ", ".join(sorted(archive.files)[:12]) or "nothing"
                    raise DataError(
                        f"{path} is not of PneumoniaMNIST's form: it lacks {', '.join(missing)} (found: "
                        f"{found}); add them, or give image files by a folder or a CSV; the "
                        "official file comes with: pneumocli fetch"
                    )
                return {key: archive[key] for key in needed}
    except FileNotFoundError:
        raise DataError(
            f"{path} does not exist; get the data with: pneumocli fetch, or try: --data synthetic"
        ) from None
    except PneumoError:
        raise
    except Exception as error:  # numpy and zipfile promise no list of what a damaged file can raise
        if path.suffix.lower() != ".npz":
            raise DataError(
                f"{path} is no .npz file; --data takes one, a folder of image files, or a .csv that lists "
                "them"
            ) from None
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"{path} cannot be read as an .npz file ({reason}); "
            "it may be cut off or of another kind: get it anew with: pneumocli fetch"
        ) from None


def _check_split(path: Path, name: str, images: NDArray[Any], labels: NDArray[Any]) -> Split:
    if not isinstance(images, np.ndarray) or not isinstance(labels, np.ndarray):
        raise DataError(f"{path}: {name}_images or {name}_labels is not an array")
    if images.ndim != 3 or images.shape[1] != images.shape[2] or images.dtype != np.uint8:
        raise DataError(
            f"{path}: {name}_images must be uint8 of shape (N, H, H); "
            f"received {images.dtype} of shape {images.shape}"
        )
    if not len(images) or not images.shape[1]:
        raise DataError(f"{path}: {name}_images is empty; every split needs images of both classes")
    if not np.issubdtype(labels.dtype, np.integer) or labels.shape not in {(len(images),), (len(images), 1)}:
        raise DataError(
            f"{path}: {name}_labels must be whole numbers of shape ({len(images)}, 1), one an image; "
            f"received {labels.dtype} of shape {labels.shape}"
        )
    values = set(np.unique(labels).tolist())
    if not values <= {NORMAL, PNEUMONIA}:
        shown = ", ".join(map(str, sorted(values)[:5]))
        raise DataError(f"{path}: {name}_labels must be 0 (normal) or 1 (pneumonia); received {shown}")
    if len(values) < 2:
        raise DataError(
            f"{path}: {name} has only {CLASS_NAMES[values.pop()]} images; both classes are needed"
        )
    return Split(np.ascontiguousarray(images), labels.ravel().astype(np.int64))


def hash_images(images: NDArray[np.uint8]) -> NDArray[np.bytes_]:
    """Return one 16-byte digest an image, shape (N,): equal for byte-equal images."""
    digests = [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in images]
    # Object-free and without the S16 pitfall that trailing zero bytes are dropped on comparison.
    return np.array([digest.hex() for digest in digests], dtype="S32")
