"""Reading and checking the data set."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pneumocli.core.data import (
    KEYS,
    SEEN_NAMES,
    Dataset,
    Split,
    hash_images,
    load_dataset,
)
from pneumocli.core.errors import DataError, PneumoError

Array = NDArray[Any]
Arrays = dict[str, Any]


def refuse(path: Path) -> str:
    """The line that says why a data file is refused."""
    with pytest.raises(DataError) as caught:
        load_dataset(path)
    line = str(caught.value)
    assert len(line.splitlines()) == 1
    assert str(path) in line
    return line


def write_members(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def pack_array(array: Array, allow_pickle: bool = False) -> bytes:
    packed = io.BytesIO()
    np.lib.format.write_array(packed, array, allow_pickle=allow_pickle)
    return packed.getvalue()


def pack_members(arrays: Arrays) -> dict[str, bytes]:
    return {f"{key}.npy": pack_array(array) for key, array in arrays.items()}


def test_file_reads_back_what_was_written(data_file: Path, small_dataset: Dataset) -> None:
    dataset = load_dataset(data_file)
    assert dataset.name == "small.npz"
    assert not dataset.synthetic
    assert dataset.pixels == 28
    for name, split in dataset.splits.items():
        np.testing.assert_array_equal(split.images, small_dataset.splits[name].images)
        np.testing.assert_array_equal(split.labels, small_dataset.splits[name].labels)
        assert split.images.dtype == np.uint8
        assert split.labels.dtype == np.int64
        assert split.labels.shape == (len(split),)
        assert split.class_counts() == ((split.labels == 0).sum(), (split.labels == 1).sum())
    assert dataset.digest() == small_dataset.digest()


@pytest.mark.parametrize("change", [np.ravel, np.int32, np.int64, np.asfortranarray, np.asarray])
def test_labels_of_any_whole_number_type_in_a_row_or_a_column(
    data_arrays: Arrays, small_dataset: Dataset, tmp_path: Path, change: Callable[[Array], Array]
) -> None:
    labels = {key: change(array) for key, array in data_arrays.items() if key.endswith("labels")}
    np.savez(tmp_path / "a.npz", **{**data_arrays, **labels})
    assert load_dataset(tmp_path / "a.npz").digest() == small_dataset.digest()


def test_further_arrays_are_passed_over(data_arrays: Arrays, small_dataset: Dataset, tmp_path: Path) -> None:
    members = pack_members(data_arrays) | {
        "notes.npy": pack_array(np.array([{}]), allow_pickle=True),
        "README.txt": b"notes",
    }
    dataset = load_dataset(write_members(tmp_path / "a.npz", members))
    assert dataset.digest() == small_dataset.digest()


def test_missing_file(tmp_path: Path) -> None:
    assert "does not exist" in refuse(tmp_path / "none.npz")


def test_directory(tmp_path: Path) -> None:
    assert "directory" in refuse(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"P",
        b"PK\x03\x04",
        b"PK\x05\x06" + bytes(18),
        b"\x93NUMPY",
        b"image,label\n1,0\n",
        "Röntgen\r\nÄ\x00\n".encode("utf-16"),
        bytes(1000),
        b"\x80\x04\x95pickle?",
    ],
    ids=["empty", "letter", "zip-start", "empty-zip", "npy-start", "text", "utf-16", "zeros", "pickle"],
)
def test_file_of_another_kind(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.npz"
    path.write_bytes(content)
    refuse(path)


def test_single_array_under_the_name_of_an_archive(tmp_path: Path) -> None:
    path = tmp_path / "bad.npz"
    path.write_bytes(pack_array(np.zeros((3, 28, 28), np.uint8)))
    assert "single array" in refuse(path)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.5, 0.9, 0.999])
def test_file_cut_off(data_file: Path, share: float) -> None:
    content = data_file.read_bytes()
    data_file.write_bytes(content[: int(share * len(content))])
    assert "cut off" in refuse(data_file)


@pytest.mark.parametrize("seed", range(4))
def test_damage_anywhere_is_refused_or_harmless(data_file: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    whole = data_file.read_bytes()
    for _ in range(100):
        content = bytearray(whole)
        for place in rng.integers(len(content), size=3):
            content[place] = rng.integers(256)
        data_file.write_bytes(content)
        try:
            load_dataset(data_file)
        except DataError as error:
            assert len(str(error).splitlines()) == 1


def break_header(array: Array, old: bytes, new: bytes) -> bytes:
    packed = pack_array(array)
    assert old in packed
    return packed.replace(old, new.ljust(len(old)))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"(24, 28, 28)", b"(24, 28, 28 "),
        (b"(24, 28, 28)", b"(24, 28, -1)"),
        (b"(24, 28, 28)", b"9**9**9**9"),
        (b"(24, 28, 28), }" + b" " * 14, b"(99999999999999, 28, 28), }"),
        (b"(24, 28, 28), }" + b" " * 14, b"(999999999999999999, 28, 28),}"),
        (b"'|u1'", b"'|O8'"),
        (b"'|u1'", b"b'u1'"),
        (b"'shape'", b"b'shape"),
        (b"'descr'", b"0      "),
        (b"'fortran_order'", b"'other'"),
    ],
)
def test_damaged_header_of_an_array(data_arrays: Arrays, tmp_path: Path, old: bytes, new: bytes) -> None:
    members = pack_members(data_arrays)
    members["train_images.npy"] = break_header(data_arrays["train_images"], old, new)
    refuse(write_members(tmp_path / "bad.npz", members))


@pytest.mark.parametrize("content", [b"", b"hello", b"\x93NUMPY"])
def test_entry_that_is_no_array(data_arrays: Arrays, tmp_path: Path, content: bytes) -> None:
    refuse(write_members(tmp_path / "bad.npz", pack_members(data_arrays) | {"val_images.npy": content}))


def test_archive_under_a_password(data_file: Path) -> None:
    content = bytearray(data_file.read_bytes())
    for start, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = content.find(start)
        while place >= 0:
            content[place + flags] |= 1
            place = content.find(start, place + 4)
    data_file.write_bytes(content)
    refuse(data_file)


@pytest.mark.parametrize("key", KEYS)
def test_missing_key_is_named(data_arrays: Arrays, tmp_path: Path, key: str) -> None:
    path = tmp_path / "bad.npz"
    np.savez(path, **{name: array for name, array in data_arrays.items() if name != key})
    assert key in refuse(path)


@pytest.mark.parametrize("names", [("test",), ("train", "val"), ("val",)])
def test_some_of_the_splits_are_enough(
    names: tuple[str, ...], data_arrays: Arrays, data_file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "part.npz"
    np.savez(path, **{key: array for key, array in data_arrays.items() if key.startswith(names)})
    part, whole = load_dataset(path), load_dataset(data_file)
    assert tuple(part.splits) == part.names == names
    for name in names:
        assert part.splits[name].digest() == whole.splits[name].digest()


def test_archive_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "bad.npz"
    np.savez(path, x=np.arange(3))
    line = refuse(path)
    assert "not of PneumoniaMNIST's form" in line and "(found: x)" in line


@pytest.mark.parametrize("name", ["list.tsv", "images.zip", "book.xlsx", "notes"])
def test_other_kinds_of_files_are_told_what_is_taken(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text("path\tlabel\n")
    line = refuse(path)
    assert "is no .npz file" in line and ".csv" in line
    assert "pickle" not in line and "fetch" not in line


WRONG_ARRAYS: dict[str, tuple[str, Callable[[Array], Array]]] = {
    "float images": ("images", lambda a: a / np.float32(255)),
    "signed images": ("images", lambda a: a.astype(np.int8)),
    "wide images": ("images", lambda a: a.astype(np.int64)),
    "colour images": ("images", lambda a: np.repeat(a[..., None], 3, -1)),
    "flat images": ("images", lambda a: a.reshape(len(a), -1)),
    "oblong images": ("images", lambda a: a[:, :, :20]),
    "no pixels": ("images", lambda a: a[:, :0, :0]),
    "no images": ("images", lambda a: a[:0]),
    "fewer images": ("images", lambda a: a[:-1]),
    "one image": ("images", lambda a: a[0]),
    "other size": ("images", lambda a: a[:, :20, :20]),
    "text images": ("images", lambda a: a.astype("S3")),
    "fewer labels": ("labels", lambda a: a[:-1]),
    "no labels": ("labels", lambda a: a[:0]),
    "one-hot labels": ("labels", lambda a: np.hstack([1 - a, a])),
    "lying labels": ("labels", lambda a: a.T),
    "float labels": ("labels", lambda a: a.astype(np.float64)),
    "true labels": ("labels", lambda a: a.astype(bool)),
    "text labels": ("labels", lambda a: np.where(a == 1, "pneumonia", "normal")),
    "labels 1 and 2": ("labels", lambda a: a + 1),
    "negative labels": ("labels", lambda a: -a.astype(np.int64)),
    "label 255": ("labels", lambda a: a * 255),
    "only normal": ("labels", np.zeros_like),
    "only pneumonia": ("labels", np.ones_like),
}


@pytest.mark.parametrize("split", ["train", "val", "test"])
@pytest.mark.parametrize("case", WRONG_ARRAYS)
def test_wrong_array_is_named(data_arrays: Arrays, tmp_path: Path, split: str, case: str) -> None:
    part, change = WRONG_ARRAYS[case]
    key = f"{split}_{part}"
    path = tmp_path / "bad.npz"
    np.savez(path, **{**data_arrays, key: change(data_arrays[key])})
    assert split in refuse(path)


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("as_archive", [True, False])
def test_pickled_objects_are_refused_and_not_run(
    data_arrays: Arrays, tmp_path: Path, as_archive: bool
) -> None:
    sprung = tmp_path / "sprung"
    packed = pack_array(np.array([Trap(sprung)]), allow_pickle=True)
    np.load(io.BytesIO(packed), allow_pickle=True)
    assert sprung.exists(), "the trap works"
    sprung.unlink()
    path = tmp_path / "bad.npz"
    if as_archive:
        write_members(path, pack_members(data_arrays) | {"train_images.npy": packed})
    else:
        path.write_bytes(packed)
    refuse(path)
    assert not sprung.exists()


def test_digest_follows_every_pixel_label_and_place(small_dataset: Dataset) -> None:
    split = small_dataset.train
    pixel, label = split.images.copy(), split.labels.copy()
    pixel[3, 5, 7] ^= 1
    label[3] ^= 1
    swapped = np.r_[1, 0, 2 : len(split)]
    assert split.labels[0] != split.labels[1] or (split.images[0] != split.images[1]).any()
    changed = [
        Split(pixel, split.labels),
        Split(split.images, label),
        split.take(swapped),
        split.take(np.arange(len(split) - 1)),
        Split(split.images.reshape(len(split), 14, 56), split.labels),
    ]
    assert len({split.digest(), *(other.digest() for other in changed)}) == 1 + len(changed)
    assert split.take(np.arange(len(split))).digest() == split.digest()


def test_digest_does_not_follow_the_memory_layout(small_dataset: Dataset) -> None:
    split = small_dataset.train
    other = Split(np.asfortranarray(split.images), split.labels.astype(np.int8).astype(np.int64))
    assert other.digest() == split.digest()


def test_digest_of_a_data_set_tells_its_splits_apart(small_dataset: Dataset) -> None:
    splits = dict(small_dataset.splits)
    swapped = Dataset("x", {**splits, "val": splits["test"], "test": splits["val"]})
    renamed = Dataset("another name", splits)
    assert swapped.digest() != small_dataset.digest()
    assert renamed.digest() == small_dataset.digest()


def test_digest_of_what_a_run_sees_does_not_follow_the_test_split(small_dataset: Dataset) -> None:
    splits = dict(small_dataset.splits)
    seen = small_dataset.digest(SEEN_NAMES)
    assert Dataset("x", {**splits, "test": splits["val"]}).digest(SEEN_NAMES) == seen
    for name in SEEN_NAMES:
        assert Dataset("x", {**splits, name: splits["test"]}).digest(SEEN_NAMES) != seen
    assert seen != small_dataset.digest()


def test_rows_that_are_taken_keep_their_groups(small_dataset: Dataset) -> None:
    train = small_dataset.train
    assert train.groups is None
    assert train.take(np.array([3, 1])).groups is None
    grouped = Split(train.images, train.labels, np.arange(len(train)) * 10)
    taken = grouped.take(np.array([3, 1])).groups
    assert taken is not None
    assert taken.tolist() == [30, 10]
    assert grouped.digest() == train.digest()


def test_image_hashes_are_equal_only_for_equal_images() -> None:
    images = np.zeros((300, 4, 4), np.uint8)
    images.reshape(300, 16)[np.arange(255), np.arange(255) % 16] = np.arange(1, 256)
    found = hash_images(images)
    assert len(set(found.tolist())) == len({image.tobytes() for image in images}) == 256


def test_errors_are_the_kind_that_is_shown_as_one_line() -> None:
    assert issubclass(DataError, PneumoError)


def test_real_data_has_the_published_counts(real_data: Path) -> None:
    dataset = load_dataset(real_data)
    assert {name: split.class_counts() for name, split in dataset.splits.items()} == {
        "train": (1214, 3494),
        "val": (135, 389),
        "test": (234, 390),
    }


def test_subset_of_a_split_keeps_its_groups() -> None:
    split = Split(np.zeros((4, 2, 2), np.uint8), np.arange(4) % 2, np.array([7, 8, 8, 9]))
    taken = split.take(np.array([3, 0]))
    assert taken.groups is not None
    assert taken.groups.tolist() == [9, 7]
    assert Split(split.images, split.labels).take(np.array([1])).groups is None
    assert split.digest() == Split(split.images, split.labels).digest()


def test_all_images_of_a_dataset_stand_split_by_split(small_dataset: Dataset) -> None:
    turned = Dataset("turned", dict(reversed(small_dataset.splits.items())))
    for dataset in (small_dataset, turned):
        whole = dataset.pick("all")
        parts = [small_dataset.train, small_dataset.val, small_dataset.test]
        np.testing.assert_array_equal(whole.images, np.concatenate([part.images for part in parts]))
        np.testing.assert_array_equal(whole.labels, np.concatenate([part.labels for part in parts]))
        assert whole.groups is None
        assert dataset.digest() == small_dataset.digest()


def test_all_images_keep_their_groups_if_all_have_them() -> None:
    images, labels = np.zeros((2, 2, 2), np.uint8), np.arange(2)
    known = Split(images, labels, np.array([5, 6]))
    for other, expected in (
        (Split(images, labels, np.array([6, 7])), [5, 6, 6, 7]),
        (Split(images, labels), None),
    ):
        groups = Dataset("own", {"train": known, "test": other}).pick("all").groups
        assert (None if groups is None else groups.tolist()) == expected


@pytest.mark.parametrize("name", ["train", "val", "test"])
def test_split_that_is_not_there(name: str, small_dataset: Dataset) -> None:
    others = {other: split for other, split in small_dataset.splits.items() if other != name}
    lacking = Dataset("xrays", others)
    with pytest.raises(DataError, match=f"xrays has no {name} images") as caught:
        getattr(lacking, name)
    assert all(other in str(caught.value) for other in others)
    assert lacking.pixels == 28
    assert lacking.digest() != small_dataset.digest()
    with pytest.raises(DataError, match="it has: all"):
        Dataset("xrays", {"all": small_dataset.train}).pick(name)
