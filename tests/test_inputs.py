"""What the user names becomes a data set with its groups, and which of its images a run is scored on."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pictures import draw_files, name_files
from small import describe
from test_runs import DATA, make_run

from pneumocli.core.config import TrainConfig
from pneumocli.core.data import SEEN_NAMES, SPLIT_NAMES, Dataset, Split
from pneumocli.core.division import divide_dataset
from pneumocli.core.errors import DataError, PneumoError, RunError
from pneumocli.core.inputs import DataInput, add_groups, choose_scored, gather_data, read_data
from pneumocli.core.official import SOURCES, compute_md5
from pneumocli.core.runs import Run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images without splits."""
    draw_files(tmp_path / "xrays", name_files((20, 30)))
    return tmp_path / "xrays"


def make_trained(tmp_path: Path, dataset: Dataset, seed: int = 0, **changes: int) -> Run:
    """A run that was trained on a data set."""
    data = DATA.model_copy(update={"name": dataset.name, "digest": dataset.digest(SEEN_NAMES)})
    return make_run(tmp_path / "runs", data=data, settings=TrainConfig(seed=seed), **changes)


def refuse(error: type[PneumoError], found: DataInput, run: Run, split: str | None) -> str:
    with pytest.raises(error) as caught:
        choose_scored(found, run, split)
    line = str(caught.value)
    assert len(line.splitlines()) == 1
    return line


@pytest.mark.parametrize("form", ["folder", "csv"])
def test_images_without_splits_are_divided_by_the_seed(form: str, folder: Path) -> None:
    path = folder
    if form == "csv":
        path = folder / "labels.csv"
        rows = [f"{name},{name.partition('/')[0]}" for name in name_files((20, 30))]
        path.write_text("\n".join(["path,label", *rows]))
    told: list[str] = []
    found = gather_data(str(path), 28, seed=3, notify=told.append)
    whole = gather_data(str(path), 28, seed=None)
    assert whole.dataset.names == ("all",)
    assert found.dataset.names == SPLIT_NAMES
    assert found.dataset.digest() == divide_dataset(whole.dataset, 3).digest()
    assert [len(split) for split in found.dataset.splits.values()] == [40, 5, 5]
    assert found.path == path
    assert found.identity.startswith("own images: files")
    assert "train 40 (16 normal, 24 pneumonia)" in found.identity
    assert any("divided by seed 3" in line for line in told)


def test_a_training_image_among_those_of_test_is_told(small_dataset: Dataset, tmp_path: Path) -> None:
    arrays = {
        f"{name}_{part}": getattr(split, part)
        for name, split in small_dataset.splits.items()
        for part in ("images", "labels")
    }
    told: list[str] = []
    for copies, path in ((0, tmp_path / "good.npz"), (2, tmp_path / "leaky.npz")):
        arrays["test_images"] = arrays["test_images"].copy()
        arrays["test_images"][:copies] = arrays["train_images"][:copies]
        arrays["test_labels"][:copies] = arrays["train_labels"][:copies]
        np.savez(path, **arrays)
        read_data(path, notify=told.append)
    (line,) = told
    assert line.startswith("warning: leaky.npz") and "both train and test, byte for byte: 2," in line


def test_size_is_that_of_the_images(folder: Path) -> None:
    assert gather_data(str(folder), 48).dataset.pixels == 48


def test_named_splits_are_not_divided_again(tmp_path: Path) -> None:
    draw_files(tmp_path, [*name_files((2, 3), "train/"), *name_files((3, 2), "val/")])
    told: list[str] = []
    assert gather_data(str(tmp_path), 28, notify=told.append).dataset.names == ("train", "val")
    assert not any("divided" in line for line in told)


@pytest.mark.parametrize("name", ["data_file", "synthetic"])
def test_size_and_seed_are_of_no_account_elsewhere(name: str, request: pytest.FixtureRequest) -> None:
    data = str(request.getfixturevalue(name)) if name == "data_file" else name
    assert gather_data(data, 99, seed=1).dataset.digest() == gather_data(data, 28, seed=None).dataset.digest()


@pytest.mark.parametrize("seed", [0, 5])
def test_own_images_are_scored_as_they_were_divided_for_training(
    seed: int, folder: Path, tmp_path: Path
) -> None:
    trained = gather_data(str(folder), 28, seed=seed).dataset
    run = make_trained(tmp_path, trained, seed)
    found = gather_data(str(folder), 28, seed=None)
    for asked, expected in ((None, "test"), ("test", "test"), ("val", "val")):
        dataset, split = choose_scored(found, run, asked)
        assert split == expected
        np.testing.assert_array_equal(dataset.pick(split).images, trained.pick(expected).images)


def test_all_images_of_the_run_itself_are_refused(folder: Path, tmp_path: Path, data_file: Path) -> None:
    for path in (folder, data_file):
        run = make_trained(tmp_path, gather_data(str(path), 28).dataset)
        line = refuse(DataError, gather_data(str(path), 28, seed=None), run, "all")
        assert "(val, test)" in line and path.name in line


def test_own_data_without_a_test_split_are_not_scored_on_train(tmp_path: Path) -> None:
    draw_files(tmp_path / "xrays", [*name_files((2, 3), "train/"), *name_files((3, 2), "val/")])
    found = gather_data(str(tmp_path / "xrays"), 28)
    run = make_trained(tmp_path, found.dataset)
    assert "(val)" in refuse(DataError, found, run, None)
    assert choose_scored(found, run, "val")[1] == "val"


def test_other_images_without_splits_are_all_scored_in_the_order_of_their_names(
    folder: Path, tmp_path: Path, small_dataset: Dataset
) -> None:
    found = gather_data(str(folder), 28, seed=None)
    for asked in (None, "all"):
        dataset, split = choose_scored(found, make_trained(tmp_path, small_dataset), asked)
        assert (split, dataset.names) == ("all", ("all",))
        assert dataset.digest() == found.dataset.digest()
    assert "no val images" in refuse(DataError, found, make_trained(tmp_path, small_dataset), "val")


def test_images_that_have_changed_since_the_training_are_not_taken_for_others(
    folder: Path, tmp_path: Path
) -> None:
    run = make_trained(tmp_path, gather_data(str(folder), 28).dataset)
    draw_files(folder, ["normal/new.png"], seed=1)
    found = gather_data(str(folder), 28, seed=None)
    assert "--split all" in refuse(DataError, found, run, None)
    assert choose_scored(found, run, "all")[1] == "all"


def test_few_other_images_are_enough_to_be_scored(tmp_path: Path, small_dataset: Dataset) -> None:
    draw_files(tmp_path / "few", name_files((1, 2)))
    found = gather_data(str(tmp_path / "few"), 28, seed=None)
    assert choose_scored(found, make_trained(tmp_path, small_dataset), None)[1] == "all"
    with pytest.raises(DataError, match="too few to divide"):
        gather_data(str(tmp_path / "few"), 28)


def test_other_data_with_splits(tmp_path: Path, small_dataset: Dataset) -> None:
    draw_files(tmp_path / "other", [*name_files((2, 3), "train/"), *name_files((3, 2), "test/")])
    found = gather_data(str(tmp_path / "other"), 28)
    run = make_trained(tmp_path, small_dataset)
    assert choose_scored(found, run, None)[1] == "test"
    dataset, split = choose_scored(found, run, "all")
    assert (split, len(dataset.pick(split))) == ("all", 10)
    assert "no val images (it has: train, test)" in refuse(DataError, found, run, "val")


def test_run_of_another_preparation_is_not_scored_on_image_files(
    folder: Path, data_file: Path, tmp_path: Path, small_dataset: Dataset
) -> None:
    run = make_trained(tmp_path, small_dataset, preparation=0)
    assert "preparation 0" in refuse(RunError, gather_data(str(folder), 28, seed=None), run, None)
    assert choose_scored(gather_data(str(data_file), 28, seed=None), run, None)[1] == "test"


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


def test_groups_of_a_file_are_refused_for_image_files_whose_rows_nobody_knows(
    small_dataset: Dataset, tmp_path: Path
) -> None:
    path = tmp_path / "patients.csv"
    path.write_text("index,group\n3,a\n20,a\n")
    for own in (tmp_path, tmp_path / "xrays.csv"):
        with pytest.raises(DataError, match="CSV of the images") as caught:
            add_groups(replace(describe(small_dataset), path=own), path)
        assert str(own) in str(caught.value)
    file = replace(describe(small_dataset), path=tmp_path / "a.npz")
    assert list_together(add_groups(file, path)) == {(3, 20)}


def test_official_file_is_known_by_its_md5_and_no_other_is(
    data_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not read_data(data_file).dataset.is_official_file
    monkeypatch.setitem(SOURCES, 64, replace(SOURCES[64], md5=compute_md5(data_file)))
    assert read_data(data_file).dataset.is_official_file
    assert not read_data("synthetic").dataset.is_official_file


def test_row_that_the_training_split_does_not_have(small_dataset: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "patients.csv"
    path.write_text("index,group\n24,a\n")
    with pytest.raises(DataError, match="rows 0 to 23"):
        add_groups(describe(small_dataset), path)
