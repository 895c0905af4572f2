"""The drawn data set: repeatable, independent of its size, learnable but not trivial."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pneumocli.core.data import NORMAL, PNEUMONIA, SPLIT_NAMES, Dataset, Split, hash_images
from pneumocli.core.errors import DataError
from pneumocli.core.synthetic import draw_chest, draw_dataset


@pytest.fixture(scope="module")
def drawn() -> Dataset:
    return draw_dataset()


def flatten(split: Split) -> NDArray[np.float64]:
    return split.images.reshape(len(split), -1).astype(np.float64)


def score_pixels(dataset: Dataset) -> float:
    """AUC on test of a logistic regression on the raw pixels of train."""
    model = make_pipeline(
        StandardScaler(), LogisticRegression(C=0.01, class_weight="balanced", max_iter=2000)
    ).fit(flatten(dataset.train), dataset.train.labels)
    return roc_auc_score(dataset.test.labels, model.decision_function(flatten(dataset.test)))


def score_brightness(dataset: Dataset) -> float:
    """AUC of the mean grey level over all images, whichever class is the brighter one."""
    grey = np.concatenate([split.images.mean((1, 2)) for split in dataset.splits.values()])
    auc = roc_auc_score(np.concatenate([split.labels for split in dataset.splits.values()]), grey)
    return max(auc, 1 - auc)


def test_form_is_that_of_a_data_set_and_marked_synthetic(drawn: Dataset) -> None:
    assert drawn.synthetic
    assert drawn.name == "synthetic"
    assert tuple(drawn.splits) == SPLIT_NAMES
    for split, count in zip(drawn.splits.values(), (360, 90, 120), strict=True):
        assert split.images.shape == (count, 28, 28)
        assert split.images.dtype == np.uint8
        assert split.labels.shape == (count,)
        assert split.labels.dtype == np.int64


def test_same_seed_gives_the_same_bytes_and_another_seed_others(drawn: Dataset) -> None:
    assert draw_dataset(seed=0).digest() == drawn.digest()
    other = draw_dataset(seed=1)
    everything = [split.images for dataset in (drawn, other) for split in dataset.splits.values()]
    digests = hash_images(np.concatenate(everything))
    assert len(np.unique(digests)) == len(digests)


def test_larger_data_set_begins_with_the_smaller_one(drawn: Dataset) -> None:
    small = draw_dataset(train=40, val=7, test=11)
    for name in SPLIT_NAMES:
        part, whole = small.splits[name], drawn.splits[name]
        np.testing.assert_array_equal(part.images, whole.images[: len(part)])
        np.testing.assert_array_equal(part.labels, whole.labels[: len(part)])


@pytest.mark.parametrize("seed", range(4))
def test_class_shares_are_about_the_real_ones_in_mixed_order(seed: int) -> None:
    dataset = draw_dataset(seed, train=101, val=50, test=80)
    for name, share in (("train", 0.26), ("val", 0.26), ("test", 0.375)):
        split = dataset.splits[name]
        assert abs(split.class_counts()[NORMAL] - share * len(split)) <= 1
        assert len(np.unique(np.diff(np.flatnonzero(split.labels == NORMAL)))) > 2


@pytest.mark.parametrize("seed", range(20))
def test_smallest_splits_have_both_classes(seed: int) -> None:
    for split in draw_dataset(seed, train=3, val=3, test=3, pixels=16).splits.values():
        assert min(split.class_counts()) >= 1


@pytest.mark.parametrize("seed", range(3))
def test_classes_can_be_learnt_but_not_read_off(seed: int) -> None:
    dataset = draw_dataset(seed)
    assert 0.78 < score_pixels(dataset) < 0.97
    assert score_brightness(dataset) < 0.65


def test_exposure_varies_and_is_seldom_clipped(drawn: Dataset) -> None:
    assert drawn.train.images.mean((1, 2)).std() > 10
    assert np.isin(drawn.train.images, (0, 255)).mean() < 0.05


def test_lungs_are_darker_than_spine_and_belly(drawn: Dataset) -> None:
    mean = drawn.train.images[drawn.train.labels == NORMAL].mean(0)
    lungs = np.concatenate([mean[8:14, 6:10], mean[8:14, 18:22]]).mean()
    assert lungs + 50 < mean[8:14, 13:15].mean()
    assert lungs + 50 < mean[25:, 6:22].mean()


def test_opacities_brighten_the_lungs_and_leave_the_belly(drawn: Dataset) -> None:
    train = drawn.train
    sick, well = (train.images[train.labels == label].mean(0) for label in (PNEUMONIA, NORMAL))
    brighter = sick - well
    assert brighter[8:18, 4:10].mean() > 8
    assert abs(brighter[25:, 6:22].mean()) < 6


def test_same_chests_come_at_every_size(drawn: Dataset) -> None:
    counts = {"train": 12, "val": 3, "test": 3}
    large = draw_dataset(**counts, pixels=56)
    assert large.pixels == 56
    np.testing.assert_array_equal(large.train.labels, drawn.train.labels[:12])
    shrunk = large.train.images.reshape(12, 28, 2, 28, 2).mean((2, 4))
    for mine, theirs in zip(shrunk, drawn.train.images, strict=False):
        assert np.corrcoef(mine.ravel(), theirs.ravel())[0, 1] > 0.95


@pytest.mark.parametrize("pixels", [16, 29, 64, 224])
def test_any_size_can_be_drawn(pixels: int) -> None:
    image = draw_chest(np.random.default_rng(0), pneumonia=True, pixels=pixels)
    assert image.shape == (pixels, pixels)
    assert image.dtype == np.uint8
    assert image.std() > 20


@pytest.mark.parametrize("wrong", [{"train": 2}, {"val": 0}, {"test": -1}, {"pixels": 15}, {"seed": -1}])
def test_too_small_numbers_are_named(wrong: dict[str, int]) -> None:
    (name, value), *_ = wrong.items()
    with pytest.raises(DataError, match=rf"{name}.*received {value}"):
        draw_dataset(**wrong)
