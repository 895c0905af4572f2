"""What the user names becomes a data set, and which of its images a run is scored on."""

from pathlib import Path

import numpy as np
import pytest
from pictures import draw_files, name_files
from test_runs import DATA, make_run

from pneumocli.core.config import TrainConfig
from pneumocli.core.data import SPLIT_NAMES, Dataset
from pneumocli.core.division import divide_dataset
from pneumocli.core.errors import DataError, PneumoError, RunError
from pneumocli.core.inputs import DataInput, choose_scored, gather_data
from pneumocli.core.runs import Run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images without splits."""
    draw_files(tmp_path / "xrays", name_files((20, 30)))
    return tmp_path / "xrays"


def make_trained(tmp_path: Path, dataset: Dataset, seed: int = 0, **changes: int) -> Run:
    """A run that was trained on a data set."""
    data = DATA.model_copy(update={"name": dataset.name, "digest": dataset.digest()})
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
    assert found.identity.startswith("own images: 50 files")
    assert "train 40 (16 normal, 24 pneumonia)" in found.identity
    assert any("divided by seed 3" in line for line in told)


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
