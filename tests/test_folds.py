"""The folds of a cross-validation."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pneumocli.core.errors import DataError
from pneumocli.core.folds import make_folds, name_lopsided


def draw_labels(normal: int, sick: int, seed: int = 0) -> NDArray[np.int64]:
    return np.random.default_rng(seed).permutation(np.repeat([0, 1], [normal, sick]))


@pytest.mark.parametrize("folds", [2, 3, 5])
@pytest.mark.parametrize("counts", [(5, 5), (7, 31), (40, 9), (101, 202)])
def test_folds_hold_out_every_row_once_and_keep_the_classes_shares(
    folds: int, counts: tuple[int, int]
) -> None:
    labels = draw_labels(*counts)
    made = make_folds(labels, folds, seed=0)
    assert len(made) == folds
    held_out = np.concatenate([rows for _, rows in made])
    assert sorted(held_out.tolist()) == list(range(len(labels)))
    for train, rows in made:
        assert not set(train) & set(rows)
        assert sorted([*train, *rows]) == list(range(len(labels)))
        assert (np.diff(train) > 0).all()
        assert (np.diff(rows) > 0).all()
        for label, count in enumerate(counts):
            assert abs((labels[rows] == label).sum() - count / folds) < 1


def test_folds_follow_the_seed_alone() -> None:
    labels = draw_labels(20, 40)
    first, again, other = (make_folds(labels, 3, seed) for seed in (0, 0, 1))
    for (train, held_out), (train_again, held_out_again) in zip(first, again, strict=True):
        np.testing.assert_array_equal(train, train_again)
        np.testing.assert_array_equal(held_out, held_out_again)
    assert any((mine != theirs).any() for (_, mine), (_, theirs) in zip(first, other, strict=True))


@pytest.mark.parametrize("groups", [None, np.arange(60) // 2], ids=["images", "groups"])
def test_folds_are_drawn_anew_in_each_repeat(groups: NDArray[np.int64] | None) -> None:
    labels = np.repeat([0, 1], [20, 40])
    made = make_folds(labels, 3, 0, groups, repeats=4)
    assert are_same_folds(made[:3], make_folds(labels, 3, 0, groups))
    divisions = [made[start : start + 3] for start in range(0, 12, 3)]
    for division in divisions:
        assert sorted(np.concatenate([rows for _, rows in division]).tolist()) == list(range(60))
    for first, second in combinations(divisions, 2):
        assert not are_same_folds(first, second)


def test_folds_of_few_large_groups_are_called_lopsided() -> None:
    labels = np.repeat([0, 1], [60, 60])
    # One patient has half of the normal images.
    groups = np.concatenate([np.zeros(30, np.int64), np.arange(1, 91)])
    told = name_lopsided(labels, make_folds(labels, 3, 0, groups))
    assert told is not None
    counts = [(labels[held_out] == 0).sum() for _, held_out in make_folds(labels, 3, 0, groups)]
    assert f"{min(counts)} to {max(counts)} normal images" in told and "pneumonia" not in told


@pytest.mark.parametrize("counts", [(3, 9), (4, 30), (500, 700)])
def test_folds_that_differ_by_an_image_are_not_lopsided(counts: tuple[int, int]) -> None:
    labels = draw_labels(*counts)
    assert name_lopsided(labels, make_folds(labels, 3, seed=0)) is None


@pytest.mark.parametrize("folds", [-1, 0, 1, 6, 100])
def test_folds_that_cannot_be_made(folds: int) -> None:
    with pytest.raises(DataError, match=rf"^{folds} folds .* at most 5"):
        make_folds(draw_labels(5, 30), folds, seed=0)


def draw_groups(
    labels: NDArray[np.int64], size: int, seed: int = 0, mixed: bool = False
) -> NDArray[np.int64]:
    """Groups of 1 to 2 * size - 1 images, anywhere in the rows; of one label each, or of both."""
    rng = np.random.default_rng(0)
    groups = np.empty(len(labels), np.int64)
    number = 0
    for rows in [np.arange(len(labels))] if mixed else [np.flatnonzero(labels == label) for label in (0, 1)]:
        rows = rng.permutation(rows)
        while len(rows):
            count = int(rng.integers(1, 2 * size))
            groups[rows[:count]] = number
            rows, number = rows[count:], number + 1
    return rng.permutation(number)[groups] * 3 + 100


@pytest.mark.parametrize("folds", [2, 3, 5])
@pytest.mark.parametrize("counts", [(120, 340), (1214, 3494)])
@pytest.mark.parametrize(("size", "mixed"), [(2, False), (2, True), (4, False)])
def test_a_group_is_in_one_fold_and_the_classes_shares_are_kept(
    folds: int, counts: tuple[int, int], size: int, mixed: bool
) -> None:
    labels = draw_labels(*counts)
    groups = draw_groups(labels, size, mixed=mixed)
    made = make_folds(labels, folds, seed=0, groups=groups)
    assert sorted(np.concatenate([rows for _, rows in made]).tolist()) == list(range(len(labels)))
    for train, rows in made:
        assert not set(groups[train]) & set(groups[rows])
        assert sorted([*train, *rows]) == list(range(len(labels)))
        assert (np.diff(train) > 0).all()
        assert (np.diff(rows) > 0).all()
        assert (labels[rows] == 0).mean() == pytest.approx(counts[0] / len(labels), abs=0.03)
        assert len(rows) == pytest.approx(len(labels) / folds, rel=0.06)


def are_same_folds(one: list[Any], other: list[Any]) -> bool:
    return all(
        np.array_equal(mine, theirs)
        for pair, other_pair in zip(one, other, strict=True)
        for mine, theirs in zip(pair, other_pair, strict=True)
    )


def test_folds_of_groups_follow_the_seed_and_who_is_together() -> None:
    labels = draw_labels(60, 120)
    groups = draw_groups(labels, 2)
    made = make_folds(labels, 3, 0, groups)
    assert are_same_folds(made, make_folds(labels, 3, 0, groups))
    assert not are_same_folds(made, make_folds(labels, 3, 1, groups))
    assert not are_same_folds(made, make_folds(labels, 3, 0))


def test_groups_of_one_image_each_change_nothing() -> None:
    labels = draw_labels(20, 40)
    groups = np.random.default_rng(0).permutation(60)
    assert are_same_folds(make_folds(labels, 3, 0, groups), make_folds(labels, 3, 0))


def test_a_few_copies_are_no_reason_for_a_warning_or_another_share() -> None:
    labels = draw_labels(50, 150)
    groups = np.arange(200)
    groups[[3, 77]] = 3
    for _, rows in make_folds(labels, 4, 0, groups):
        assert abs((labels[rows] == 0).sum() - 50 / 4) <= 1


@pytest.mark.parametrize("folds", [1, 4, 100])
def test_more_folds_than_groups_of_the_smaller_class(folds: int) -> None:
    labels = np.repeat([0, 1], [9, 30])
    groups = np.r_[np.repeat([0, 1, 2], 3), 3:33]
    with pytest.raises(DataError, match=rf"^{folds} folds .* at most 3, the number of groups .* smaller"):
        make_folds(labels, folds, 0, groups)
    assert len(make_folds(labels, 3, 0, groups)) == 3


@pytest.mark.parametrize(
    ("groups", "words"), [([0, 0, 0, 1, 2, 3], "in a single group"), ([0, 1, 2, 3, 4, 5], "a single one")]
)
def test_a_class_in_one_piece_leaves_no_folds(groups: list[int], words: str) -> None:
    labels = np.array([0, 0, 0, 1, 1, 1]) if words.startswith("in") else np.array([0, 1, 1, 1, 1, 1])
    with pytest.raises(DataError, match=rf"{words}, so that no folds .*3 are asked for.* pneumocli train$"):
        make_folds(labels, 3, 0, np.array(groups))


def test_groups_that_leave_a_fold_without_a_class() -> None:
    labels, groups = np.array([1, 0, 1, 0, 1]), np.array([3, 2, 6, 6, 6])
    refused = set()
    for seed in range(20):
        try:
            make_folds(labels, 2, seed, groups)
        except DataError as error:
            refused.add(str(error))
    assert refused
    for line in refused:
        assert len(line.splitlines()) == 1
        assert "2 folds with both classes" in line


@pytest.mark.parametrize("seed", range(200))
def test_folds_of_any_groups_have_both_classes_or_are_refused(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat([0, 1], rng.integers(2, 12, 2)))
    groups = rng.integers(0, rng.integers(2, 12), len(labels))
    folds = int(rng.integers(2, 5))
    try:
        made = make_folds(labels, folds, seed, groups)
    except DataError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert sorted(np.concatenate([rows for _, rows in made]).tolist()) == list(range(len(labels)))
        for train, rows in made:
            assert set(labels[train]) == set(labels[rows]) == {0, 1}
            assert not set(groups[train]) & set(groups[rows])
