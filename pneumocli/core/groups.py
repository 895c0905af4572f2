"""Which images belong together: near duplicates, and groups that a user names, such as patients.

Groups are numbers, int64 (N,), one an image; images of the same number stay in the same fold.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pneumocli.core.data import Split, hash_images
from pneumocli.core.errors import DataError
from pneumocli.core.rows import read_rows

NEAR_CORRELATION = 0.99
COLUMNS = ("index", "group")

# Larger images are compared at this size first, see `_shorten`.
COARSE_PIXELS = 28
# Bounds the memory: 512 rows against 5,000 others are 10 MB, 64 images of 224 px are 26 MB in float64.
ROWS_AT_ONCE, IMAGES_AT_ONCE = 512, 64
# More than the rounding of a float32 product of some 800 numbers, whose length is 1.
ROUNDING = 1e-4


def find_near_duplicates(images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Group images that are byte-equal or nearly so.

    Two images are near duplicates if the Pearson correlation of their pixels is above 0.99. Groups are
    the connected components: A and C are together if both are near B. A constant image has no
    correlation and is together with its byte-equal copies alone.

    Args:
        images: (N, P, P).

    Returns:
        Group numbers, int64 (N,), from 0 on in the order of their first images.
    """
    groups = number_groups(hash_images(images))
    for rows, others in _pair_near(images):
        groups = _connect(groups, rows, others)
    return number_groups(groups)


def find_originals(split: Split, other: Split) -> NDArray[np.int64]:
    """Return the rows of `split` whose images have neither a copy nor a near duplicate in `other`."""
    is_original = ~np.isin(hash_images(split.images), hash_images(other.images))
    for rows, _ in _pair_near(split.images, other.images):
        is_original[rows] = False
    return np.flatnonzero(is_original)


def group_images(split: Split) -> NDArray[np.int64]:
    """Return the split's groups, int64 (N,): the known ones joined with those of near duplicates."""
    near = find_near_duplicates(split.images)
    return near if split.groups is None else join_groups(split.groups, near)


def join_groups(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return groups that keep together whatever is together in one of two groupings of the same images.

    Args:
        first, second: (N,), any numbers.

    Returns:
        Group numbers, int64 (N,), from 0 on in the order of their first images.
    """
    _, example, number = np.unique(second, return_index=True, return_inverse=True)
    return number_groups(_connect(number_groups(first), np.arange(len(second)), example[number]))


def number_groups(groups: NDArray[np.generic]) -> NDArray[np.int64]:
    """Return the same groups, int64 (N,), numbered from 0 on in the order of their first images."""
    _, first, number = np.unique(groups, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first)).astype(np.int64)[number]


def count_groups(groups: NDArray[np.int64]) -> tuple[int, int]:
    """Return how many groups have more than one image, and how many images these have together."""
    _, sizes = np.unique(groups, return_counts=True)
    several = sizes[sizes > 1]
    return len(several), int(several.sum())


def digest_groups(groups: NDArray[np.int64]) -> str:
    """SHA-256 of which images are together, row by row, whatever the groups' numbers."""
    return hashlib.sha256(number_groups(groups).astype("<i8").tobytes()).hexdigest()


def read_groups(path: Path, n: int) -> NDArray[np.int64]:
    """Read a CSV file of groups: a header with the columns `index` and `group`, then a line an image.

    Args:
        path: as for `read_rows`; further columns are passed over.
        n: number of training images; `index` is a row of these, from 0 to n - 1.

    Returns:
        Group numbers, int64 (n,); an image that the file does not name is a group of its own.

    Raises:
        DataError: the file is missing, unreadable, or not of that form.
    """
    groups = np.arange(n)
    named: dict[int, int] = {}
    example: dict[str, int] = {}
    for line, row in read_rows(path, COLUMNS):
        place = f"{path}, line {line}"
        index = _read_index(place, row["index"], n)
        if index in named:
            raise DataError(f"{place} names image {index} again, after line {named[index]}; name it once")
        named[index] = line
        if not row["group"]:
            raise DataError(f"{place} names no group for image {index}; leave the line out, or name one")
        groups[index] = example.setdefault(row["group"], index)
    if not named:
        raise DataError(
            f"{path} names no image; give it a line `{','.join(COLUMNS)}` an image, or leave out --groups"
        )
    return groups


def _read_index(place: str, text: str, n: int) -> int:
    # Not all that int() takes is what a person means by a row, such as 1_0.
    if not (text.isascii() and text.isdigit()):
        raise DataError(f"{place} has the index {text[:40]!r}; it must be a whole number from 0 to {n - 1}")
    digits = text.lstrip("0") or "0"
    if len(digits) > len(str(n)) or int(digits) >= n:
        raise DataError(
            f"{place} has the index {text[:40]}; the training split has the rows 0 to {n - 1}, "
            "counted in the order of the data file"
        )
    return int(digits)


def _connect(
    groups: NDArray[np.int64], rows: NDArray[np.int64], others: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Join the groups of `rows` with those of `others`, pair by pair; groups are numbered from 0 on."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = int(groups.max()) + 1
    links = coo_array((np.ones(len(rows), np.int8), (groups[rows], groups[others])), shape=(count, count))
    _, component = connected_components(links, directed=False)
    return component.astype(np.int64)[groups]


def _pair_near(
    images: NDArray[np.uint8], others: NDArray[np.uint8] | None = None
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield the pairs whose correlation is above 0.99, as rows of `images` and rows of `others`.

    Args:
        images: (N, P, P).
        others: (M, P, P); None for `images` themselves, each pair once.
    """
    short = _shorten(images)
    other_short = short if others is None else _shorten(others)
    for start in range(0, len(images), ROWS_AT_ONCE):
        first = 0 if others is not None else start
        at_most = short[start : start + ROWS_AT_ONCE] @ other_short[first:].T
        rows, columns = np.nonzero(at_most > NEAR_CORRELATION - ROUNDING)
        rows, columns = rows + start, columns + first
        if others is None:
            once = rows < columns
            rows, columns = rows[once], columns[once]
        near = _are_near(images, images if others is None else others, rows, columns)
        if near.any():
            yield rows[near], columns[near]


def _shorten(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return one short vector an image, such that no two correlate more than their vectors' product.

    An image without its mean, at length 1, is an average over blocks, c, and the detail around it, d,
    which are orthogonal. A correlation is <c, c'> + <d, d'> and by Cauchy and Schwarz at most
    <c, c'> + |d| |d'|: the product of the vectors (c, |d|). Up to 28 px there is no detail, and the
    product is the correlation. A constant image has the vector 0.

    Returns:
        float32 (N, blocks + 1).
    """
    pixels = images.shape[1]
    blocks = min(pixels, COARSE_PIXELS)
    edges = np.arange(blocks) * pixels // blocks
    sides = np.diff(np.append(edges, pixels))
    areas = np.outer(sides, sides)
    short = np.zeros((len(images), blocks**2 + 1), np.float32)
    for start in range(0, len(images), IMAGES_AT_ONCE):
        grey = images[start : start + IMAGES_AT_ONCE].astype(np.float64)
        mean = grey.mean(axis=(1, 2), keepdims=True)
        sums = np.add.reduceat(np.add.reduceat(grey, edges, axis=1), edges, axis=2)
        # Each block's mean counts as often as it has pixels.
        coarse = ((sums / areas - mean) * np.sqrt(areas)).reshape(len(grey), -1)
        # Whole numbers until the division, so that it is exactly 0 for a constant image.
        squares = np.einsum("nij,nij->n", grey, grey)
        whole = (squares * pixels**2 - grey.sum(axis=(1, 2)) ** 2) / pixels**2
        detail = np.sqrt(np.maximum(whole - (coarse**2).sum(axis=1), 0))
        varies = whole > 0
        vectors = np.column_stack([coarse, detail])[varies]
        short[start : start + IMAGES_AT_ONCE][varies] = vectors / np.sqrt(whole[varies, np.newaxis])
    return short


def _are_near(
    images: NDArray[np.uint8],
    others: NDArray[np.uint8],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Return whether the correlation of each pair is above 0.99; `rows` ascend.

    All sums are whole numbers below 2^53 (up to 600 px), so float64 has them exactly, and the answer
    does not depend on the order in which a processor adds.
    """
    near = np.zeros(len(rows), np.bool_)
    n = images[0].size
    distinct, starts, counts = np.unique(rows, return_index=True, return_counts=True)
    for row, start, count in zip(distinct, starts, counts, strict=True):
        end = start + count
        x = images[row].ravel().astype(np.float64)
        for place in range(start, end, IMAGES_AT_ONCE):
            part = slice(place, min(place + IMAGES_AT_ONCE, end))
            y = others[columns[part]].reshape(-1, n).astype(np.float64)
            covariance = n * (y @ x) - y.sum(axis=1) * x.sum()
            spread = (n * (x @ x) - x.sum() ** 2) * (n * (y * y).sum(axis=1) - y.sum(axis=1) ** 2)
            near[part] = covariance > NEAR_CORRELATION * np.sqrt(spread)
    return near
