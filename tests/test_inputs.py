"""From names to inputs: groups of a file joined to those that are known."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from small import describe

from pneumocli.core.data import Dataset, Split
from pneumocli.core.errors import DataError
from pneumocli.core.inputs import DataInput, add_groups


def give_groups(dataset: Dataset, groups: NDArray[np.int64] | None) -> DataInput:
    train = dataset.train
    splits = {**dataset.splits, "train": Split(train.images, train.labels, groups)}
    return describe(replace(dataset, splits=splits))


def list_together(data: DataInput) -> set[tuple[int, ...]]:
    groups = data.dataset.train.groups
    assert groups is not None
    found = (tuple(np.flatnonzero(groups == number).tolist()) for number in np.unique(groups))
    return {rows for rows in found if len(rows) > 1}


def test_groups_of_a_file_are_those_of_the_training_split(small_dataset: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "patients.csv"
    path.write_text("index,group\n3,a\n23,a\n5,b\n")
    data = add_groups(describe(small_dataset), path)
    assert list_together(data) == {(3, 23)}
    assert data.groups_file is not None
    assert data.groups_file.name == "patients.csv"
    assert data.groups_file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert data.dataset.digest() == small_dataset.digest()
    assert data.dataset.val.groups is None
    assert small_dataset.train.groups is None


def test_groups_of_a_file_are_joined_to_those_of_the_data(small_dataset: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "patients.csv"
    path.write_text("index,group\n3,a\n20,a\n")
    groups = np.arange(24)
    groups[[20, 21]] = groups[[0, 1]] = 99
    assert list_together(add_groups(give_groups(small_dataset, groups), path)) == {(0, 1, 3, 20, 21)}


def test_row_that_the_training_split_does_not_have(small_dataset: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "patients.csv"
    path.write_text("index,group\n24,a\n")
    with pytest.raises(DataError, match="rows 0 to 23"):
        add_groups(describe(small_dataset), path)
