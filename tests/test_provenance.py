"""From what a run works on to its record."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small import RANDOM_WEIGHTS, TINY, describe

from pneumocli.core import provenance
from pneumocli.core.data import Dataset, Split
from pneumocli.core.groups import digest_groups
from pneumocli.core.inputs import DataInput, add_groups
from pneumocli.core.provenance import describe_run
from pneumocli.core.records import RunRecord


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "has_gpu", lambda: False)
    monkeypatch.setattr(provenance, "stamp_time", lambda: "2026-01-01T00:00:00.000000+00:00")


def describe_cv(data: DataInput, groups: list[int] | None = None) -> RunRecord:
    numbers = np.array(groups or np.arange(len(data.dataset.train)))
    return describe_run("cv", data, data.dataset, RANDOM_WEIGHTS, TINY, 3, numbers)


def replace_split(dataset: Dataset, name: str, split: Split) -> Dataset:
    return replace(dataset, splits={**dataset.splits, name: split})


@pytest.mark.parametrize("synthetic", [True, False])
def test_record_does_not_follow_the_test_split(small_dataset: Dataset, synthetic: bool) -> None:
    dataset = replace(small_dataset, synthetic=synthetic)
    noise = np.random.default_rng(0).integers(0, 256, (5, 28, 28), np.uint8)
    noisy = replace_split(dataset, "test", Split(noise, np.array([0, 1, 1, 0, 1])))
    assert describe_cv(describe(dataset)) == describe_cv(describe(noisy))


@pytest.mark.parametrize("name", ["train", "val"])
def test_record_follows_what_is_trained_on_and_stopped_by(small_dataset: Dataset, name: str) -> None:
    images = small_dataset.splits[name].images.copy()
    images[3, 4, 5] ^= 1
    other = replace_split(small_dataset, name, Split(images, small_dataset.splits[name].labels))
    assert not describe_cv(describe(small_dataset)).same_work(describe_cv(describe(other)))


def test_what_versions_say_of_the_same_data_makes_no_other_work(small_dataset: Dataset) -> None:
    record = describe_cv(describe(small_dataset))
    data = record.data.model_copy(update={"conflicts": None, "identity": "as an earlier version said it"})
    assert record.same_work(record.model_copy(update={"data": data}))


def test_images_with_both_labels_are_counted(small_dataset: Dataset) -> None:
    assert describe_cv(describe(small_dataset)).data.conflicts == 0
    images, labels = small_dataset.val.images.copy(), small_dataset.val.labels
    normal, pneumonia = (np.flatnonzero(small_dataset.train.labels == label)[0] for label in (0, 1))
    images[np.flatnonzero(labels == 1)[:2]] = small_dataset.train.images[normal]
    images[np.flatnonzero(labels == 1)[2]] = small_dataset.train.images[pneumonia]
    torn = replace_split(small_dataset, "val", Split(images, labels))
    assert describe_cv(describe(torn)).data.conflicts == 1


def test_groups_are_recorded_with_their_file_and_their_number(small_dataset: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "patients.csv"
    path.write_text("index,group\n3,a\n20,a\n")
    groups = [*range(20), 3, 21, 22, 3]
    found = describe_cv(add_groups(describe(small_dataset), path), groups).groups
    assert found is not None
    assert found.file is not None
    assert found.file.name == "patients.csv"
    assert (found.groups, found.images, found.digest) == (1, 3, digest_groups(np.array(groups)))
    assert (found.column, found.named_in) == (False, "patients.csv")


def test_groups_that_the_data_name_themselves_are_recorded_as_such(small_dataset: Dataset) -> None:
    train = replace(small_dataset.train, groups=np.arange(24) // 2)
    own = replace(small_dataset, splits={**small_dataset.splits, "train": train})
    found = describe_cv(describe(own), [row // 2 for row in range(24)]).groups
    assert found is not None
    assert (found.file, found.column, found.groups) == (None, True, 12)
    assert found.named_in == "the column `group` of the data"


def test_groups_without_a_file_and_a_model_without_folds(small_dataset: Dataset) -> None:
    data = describe(small_dataset)
    found = describe_cv(data).groups
    assert found is not None
    assert (found.file, found.groups, found.images) == (None, 0, 0)
    assert (found.column, found.named_in) == (False, None)
    assert describe_run("train", data, small_dataset, RANDOM_WEIGHTS, TINY).groups is None


def test_other_groups_are_other_work(small_dataset: Dataset) -> None:
    data = describe(small_dataset)
    one, other = (describe_cv(data, [*range(22), 22, last]) for last in (21, 22))
    assert one.groups is not None
    assert other.groups is not None
    assert (one.groups.groups, one.groups.images) == (other.groups.groups, other.groups.images)
    assert not one.same_work(other)


def test_near_duplicates_of_training_images_are_no_stopping_images(small_dataset: Dataset) -> None:
    images = small_dataset.val.images.copy()
    images[:2] = small_dataset.train.images[5:7]
    images[1, 10, 10] ^= 8
    copied = replace_split(small_dataset, "val", Split(images, small_dataset.val.labels))
    assert describe_cv(describe(copied)).data.stopping_images == len(images) - 2
    assert describe_cv(describe(small_dataset)).data.stopping_images == len(images)
