"""Own image files to a data set: pixels, order, splits, groups, and what cannot be read."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from pictures import draw_files, name_files, sort_by_class, write_split
from PIL import Image

from pneumocli.core.collection import read_collection
from pneumocli.core.data import CLASS_NAMES, SPLIT_NAMES, Dataset
from pneumocli.core.errors import DataError
from pneumocli.core.images import read_image
from pneumocli.core.progress import Progress


def refuse(path: Path, pixels: int = 28) -> str:
    """The line that says why image files are refused."""
    with pytest.raises(DataError) as caught:
        read_collection(path, pixels)
    line = str(caught.value)
    assert len(line.splitlines()) == 1
    return line


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six images of each class."""
    draw_files(tmp_path / "xrays", name_files((6, 6)))
    return tmp_path / "xrays"


def test_a_folder_holds_the_pixels_of_the_npz_file(small_dataset: Dataset, tmp_path: Path) -> None:
    expected = {name: sort_by_class(split) for name, split in small_dataset.splits.items()}
    for name, split in expected.items():
        write_split(tmp_path / name, split)
    dataset = read_collection(tmp_path, small_dataset.pixels)
    assert dataset.names == SPLIT_NAMES
    assert (dataset.name, dataset.synthetic) == (tmp_path.name, False)
    for name, split in dataset.splits.items():
        np.testing.assert_array_equal(split.images, expected[name].images)
        np.testing.assert_array_equal(split.labels, expected[name].labels)
        assert (split.images.dtype, split.labels.dtype, split.groups) == (np.uint8, np.int64, None)
        assert split.images.flags.c_contiguous
    assert dataset.digest() == Dataset("other.npz", expected).digest()


def test_a_csv_holds_what_the_folder_does_in_whatever_order_its_rows_are(
    small_dataset: Dataset, tmp_path: Path
) -> None:
    rows = []
    for split in SPLIT_NAMES:
        names = write_split(tmp_path / split, small_dataset.splits[split])
        rows += [f"{split}/{name},{name.split('/')[0]},{split}" for name in names]
    shuffled = np.random.default_rng(0).permutation(rows)
    for number, order in enumerate((rows, rows[::-1], shuffled)):
        (tmp_path / f"{number}.csv").write_text("\n".join(["path,label,split", *order]))
    digests = {read_collection(tmp_path / f"{number}.csv", 28).digest() for number in range(3)}
    assert digests == {read_collection(tmp_path, 28).digest()}


def test_digest_does_not_depend_on_the_place(folder: Path, tmp_path: Path) -> None:
    (folder / "labels.csv").write_text("path,label\nnormal/001.png,0\npneumonia/001.png,1\n")
    digests = {path.name: read_collection(path, 28).digest() for path in (folder, folder / "labels.csv")}
    moved = Path(shutil.copytree(folder, tmp_path / "deep" / "down" / "xrays"))
    assert {
        path.name: read_collection(path, 28).digest() for path in (moved, moved / "labels.csv")
    } == digests


def test_12_bits_in_files_of_16_are_told(folder: Path) -> None:
    told: list[str] = []
    read_collection(folder, 28, notify=told.append)
    assert not [line for line in told if line.startswith("warning")]
    for name in ("normal/001.png", "pneumonia/003.png"):
        levels = np.random.default_rng(0).integers(0, 4096, (40, 40)).astype(np.uint16)
        Image.fromarray(levels).save(folder / name)
    read_collection(folder, 28, notify=told.append)
    (line,) = [line for line in told if line.startswith("warning")]
    assert "2 of 12 images are nearly black" in line


@pytest.mark.parametrize("pixels", [28, 40, 224])
def test_images_are_made_as_prediction_makes_them(pixels: int, tmp_path: Path) -> None:
    chests = Image.fromarray(np.random.default_rng(1).integers(0, 256, (90, 120, 3), np.uint8))
    for label in CLASS_NAMES:
        (tmp_path / label).mkdir()
        chests.resize((150, 100)).save(tmp_path / label / "a.jpg")
        chests.rotate(20).save(tmp_path / label / "b.png")
    told: list[str] = []
    whole = read_collection(tmp_path, pixels, notify=told.append).pick("all")
    assert whole.pixels == pixels
    paths = [tmp_path / label / name for label in CLASS_NAMES for name in ("a.jpg", "b.png")]
    np.testing.assert_array_equal(whole.images, [read_image(path, pixels).pixels for path in paths])
    assert any(f"{pixels} px" in line for line in told)


def test_images_without_splits_stay_together(folder: Path) -> None:
    dataset = read_collection(folder, 28)
    assert dataset.names == ("all",)
    assert dataset.pick("all").class_counts() == (6, 6)
    assert dataset.pixels == 28


def test_some_splits_only(tmp_path: Path) -> None:
    draw_files(tmp_path, [*name_files((2, 3), "train/"), *name_files((3, 2), "test/")])
    dataset = read_collection(tmp_path, 28)
    assert dataset.names == ("train", "test")
    assert dataset.test.class_counts() == (3, 2)
    with pytest.raises(DataError, match=r"has no val images \(it has: train, test\)"):
        _ = dataset.val


def write_groups(folder: Path, *groups: str, splits: tuple[str, ...] = ()) -> Path:
    names = name_files((len(groups) // 2, len(groups) // 2))
    draw_files(folder, names)
    rows = [f"{name},{name.split('/')[0]},{group}" for name, group in zip(names, groups, strict=True)]
    if splits:
        rows = [f"{row},{split}" for row, split in zip(rows, splits, strict=True)]
    header = "path,label,group,split" if splits else "path,label,group"
    (folder / "labels.csv").write_text("\n".join([header, *rows]))
    return folder / "labels.csv"


def test_groups_are_numbered_alike_in_all_splits(tmp_path: Path) -> None:
    splits = ("train", "train", "val", "train", "val", "val")
    path = write_groups(tmp_path, "p 10", "p 9", "é", "p 9", "é", "p 11", splits=splits)
    told: list[str] = []
    dataset = read_collection(path, 28, notify=told.append)
    assert dataset.train.groups is not None and dataset.val.groups is not None
    assert dataset.train.groups.dtype == np.int64
    assert dataset.train.groups.tolist() == [0, 2, 2]
    assert dataset.val.groups.tolist() == [3, 3, 1]
    assert not any("warning" in line for line in told)


def test_a_group_in_two_splits_is_warned_of(tmp_path: Path) -> None:
    splits = ("train", "val", "train", "val")
    told: list[str] = []
    read_collection(write_groups(tmp_path, "a", "a", "b", "c", splits=splits), 28, notify=told.append)
    (line,) = [line for line in told if "warning" in line]
    assert "1 of 3 groups" in line
    assert "the first: a, in train, val)" in line


def test_progress_counts_every_image(folder: Path) -> None:
    heard: list[Progress] = []
    read_collection(folder, 28, listen=heard.append)
    assert [(step.done, step.total) for step in heard] == [(number, 12) for number in range(1, 13)]
    assert heard[0].stage == "reading xrays"


@pytest.mark.parametrize("label", CLASS_NAMES)
def test_one_class_only(label: str, folder: Path) -> None:
    shutil.rmtree(folder / next(name for name in CLASS_NAMES if name != label))
    assert f"has only {label} images; both classes" in refuse(folder)


def test_one_class_only_in_a_split(tmp_path: Path) -> None:
    draw_files(tmp_path, [*name_files((2, 3), "train/"), *name_files((0, 2), "val/")])
    assert "has only pneumonia images in val" in refuse(tmp_path)


def test_images_that_cannot_be_read_are_counted_and_the_first_named(folder: Path) -> None:
    names = name_files((6, 6))
    for number in (1, 3, 8, 10):
        (folder / names[number]).write_bytes(b"no image")
    (folder / names[8]).unlink()
    (folder / names[8]).symlink_to("nowhere.png")
    line = refuse(folder)
    assert f"4 of 12 image files of {folder} cannot be read" in line
    assert [name in line for name in names] == [number in (1, 3, 8) for number in range(12)]
    assert "does not exist" in line and "is not an image" in line


@pytest.mark.parametrize("pixels", [0, -28])
def test_size_of_nothing(pixels: int, folder: Path) -> None:
    assert f"{pixels} px" in refuse(folder, pixels)


def test_size_beyond_the_memory(folder: Path) -> None:
    assert "smaller --size" in refuse(folder, 10**8)
