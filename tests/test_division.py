"""Images without splits, divided: shares, classes, groups and copies, and what cannot be divided."""

from itertools import combinations

import numpy as np
import pytest
from numpy.typing import ArrayLike

from pneumocli.core.data import SPLIT_NAMES, WHOLE, Dataset, Split
from pneumocli.core.division import divide_dataset, draw_subset
from pneumocli.core.errors import DataError
from pneumocli.core.synthetic import draw_dataset


def make_whole(normal: int, pneumonia: int, groups: ArrayLike | None = None) -> Dataset:
    """Noise, of which no two images are near duplicates, each with its row in its first pixels."""
    images = np.random.default_rng(1).integers(0, 256, (normal + pneumonia, 6, 6), np.uint8)
    images[:, 0, 0], images[:, 0, 1] = np.divmod(np.arange(len(images)), 256)
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1], [normal, pneumonia]))
    kept = None if groups is None else np.asarray(groups, np.int64)
    return Dataset("xrays", {WHOLE: Split(images, labels, kept)})


def list_rows(split: Split) -> list[int]:
    return [256 * int(high) + int(low) for high, low in split.images[:, 0, :2]]


def refuse(dataset: Dataset) -> str:
    with pytest.raises(DataError) as caught:
        divide_dataset(dataset, 0)
    line = str(caught.value)
    assert len(line.splitlines()) == 1
    assert line.startswith("xrays ")
    assert "train, val and test" in line
    return line


@pytest.mark.parametrize(("normal", "pneumonia"), [(10, 10), (100, 300), (37, 205)])
def test_every_image_is_in_one_split_of_its_share_and_both_classes_alike(normal: int, pneumonia: int) -> None:
    divided = divide_dataset(make_whole(normal, pneumonia), 0)
    assert divided.names == SPLIT_NAMES
    rows = [list_rows(split) for split in divided.splits.values()]
    assert sorted(np.concatenate(rows)) == list(range(normal + pneumonia))
    assert all(part == sorted(part) for part in rows)
    for name, share in zip(SPLIT_NAMES, (0.8, 0.1, 0.1), strict=True):
        for found, of in zip(divided.splits[name].class_counts(), (normal, pneumonia), strict=True):
            assert abs(found - share * of) <= 2


def test_labels_and_groups_go_with_their_images() -> None:
    whole = make_whole(60, 60, np.arange(120) // 2)
    for split in divide_dataset(whole, 0).splits.values():
        rows = list_rows(split)
        np.testing.assert_array_equal(split.labels, whole.pick(WHOLE).labels[rows])
        np.testing.assert_array_equal(split.groups, np.array(rows) // 2)


def test_seed_decides() -> None:
    digests = [divide_dataset(make_whole(50, 50), seed).digest() for seed in (0, 0, 1)]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize("seed", range(5))
def test_no_group_is_in_two_splits(seed: int) -> None:
    groups = np.random.default_rng(seed).integers(0, 60, 300)
    divided = divide_dataset(make_whole(100, 200, groups), seed)
    found = [set(groups[list_rows(split)]) for split in divided.splits.values()]
    assert not any(one & other for one, other in combinations(found, 2))
    assert [len(split) > 10 for split in divided.splits.values()] == [True, True, True]


@pytest.mark.parametrize("grouped", [False, True])
def test_copies_are_in_one_split(grouped: bool) -> None:
    whole = make_whole(100, 100, np.arange(200) // 2 if grouped else None).pick(WHOLE)
    source = np.arange(200) % 150  # the last fifty repeat the first
    copied = Dataset("xrays", {WHOLE: Split(whole.images[source], whole.labels, whole.groups)})
    found = [set(list_rows(split)) for split in divide_dataset(copied, 0).splits.values()]
    assert not any(one & other for one, other in combinations(found, 2))
    assert set.union(*found) == set(range(150))


def test_near_duplicates_are_in_one_split() -> None:
    whole = make_whole(100, 100).pick(WHOLE)
    near = whole.images.copy()
    near[:, 5, 5] ^= 1
    dataset = Dataset("xrays", {WHOLE: Split(np.concatenate([whole.images, near]), np.tile(whole.labels, 2))})
    found = [set(list_rows(split)) for split in divide_dataset(dataset, 0).splits.values()]
    assert not any(one & other for one, other in combinations(found, 2))
    assert set.union(*found) == set(range(200))


@pytest.mark.parametrize(("normal", "pneumonia"), [(9, 100), (100, 9), (1, 1)])
def test_too_few_images(normal: int, pneumonia: int) -> None:
    assert f"{normal} normal and {pneumonia} pneumonia images" in refuse(make_whole(normal, pneumonia))


def test_groups_that_leave_a_split_without_a_class() -> None:
    assert "no group is in two" in refuse(make_whole(50, 50, np.arange(100) // 50))
    whole = make_whole(50, 50).pick(WHOLE)
    groups = np.where(whole.labels == 0, 0, np.arange(100))
    assert "no group is in two" in refuse(
        Dataset("xrays", {WHOLE: Split(whole.images, whole.labels, groups)})
    )


def test_subset_keeps_the_groups_of_its_images(small_dataset: Dataset) -> None:
    train = small_dataset.train
    grouped = Split(train.images, train.labels, np.arange(len(train)) * 10)
    dataset = Dataset("x", {**small_dataset.splits, "train": grouped})
    subset = draw_subset(dataset, 12, seed=0).train
    rows = {image.tobytes(): row for row, image in enumerate(train.images)}
    assert subset.groups is not None
    assert subset.groups.tolist() == [10 * rows[image.tobytes()] for image in subset.images]
    whole = draw_subset(dataset, 1000, seed=0).train.groups
    assert whole is not None
    assert whole.tolist() == list(range(0, 10 * len(train), 10))


@pytest.mark.parametrize("images", [4, 5, 8, 11, 17, 20, 21, 22, 23, 24, 1000])
def test_subset_keeps_the_classes_shares(small_dataset: Dataset, images: int) -> None:
    train = small_dataset.train
    subset = draw_subset(small_dataset, images, seed=0)
    kept = min(images, len(train))
    assert len(subset.train) == kept
    for count, whole in zip(subset.train.class_counts(), train.class_counts(), strict=True):
        assert abs(count - kept * whole / len(train)) < 1
    rows = {image.tobytes(): row for row, image in enumerate(train.images)}
    chosen = [rows[image.tobytes()] for image in subset.train.images]
    assert chosen == sorted(set(chosen))
    np.testing.assert_array_equal(subset.train.labels, train.labels[chosen])
    for name in ("val", "test"):
        assert subset.splits[name].digest() == small_dataset.splits[name].digest()


def test_subset_follows_the_seed_alone(small_dataset: Dataset) -> None:
    digests = [draw_subset(small_dataset, 12, seed).digest() for seed in (0, 0, 1)]
    assert digests[0] == digests[1] != digests[2]
    assert small_dataset.digest() == draw_dataset(train=24, val=12, test=12).digest()


@pytest.mark.parametrize("images", [0, 1, 4, 19, 20, 21, 38, 39, 40])
def test_subset_of_any_size_has_both_classes_or_is_refused(images: int) -> None:
    labels = np.repeat([0, 1], [1, 39])
    split = Split(np.arange(40, dtype=np.uint8).repeat(4).reshape(40, 2, 2), labels)
    dataset = Dataset("x", {"train": split, "val": split, "test": split})
    try:
        subset = draw_subset(dataset, images, seed=0)
    except DataError as error:
        assert "class" in str(error)
    else:
        assert len(subset.train) == images
        assert min(subset.train.class_counts()) > 0
