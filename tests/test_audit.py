"""What a data set is: known files told apart, counts and duplicates counted a second way."""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from pneumocli.core import identity
from pneumocli.core.audit import audit_dataset, list_faults
from pneumocli.core.data import NORMAL, PNEUMONIA, SPLIT_NAMES, Dataset, Split, load_dataset
from pneumocli.core.errors import DataError
from pneumocli.core.identity import Kind, digest_images, identify, identify_seen, is_official_split, read_kind
from pneumocli.core.official import SOURCES

REAL = Path(os.environ.get("PNEUMOCLI_DATA") or "no such file")


def make_split(seed: int, normal: int, pneumonia: int, pixels: int = 28) -> Split:
    images = np.random.default_rng(seed).integers(0, 256, (normal + pneumonia, pixels, pixels), np.uint8)
    return Split(images, np.repeat([NORMAL, PNEUMONIA], [normal, pneumonia]))


def make_dataset(pixels: int = 28) -> Dataset:
    splits = {name: make_split(seed, 6, 9, pixels) for seed, name in enumerate(SPLIT_NAMES)}
    return Dataset("made.npz", splits)


def shuffle(split: Split) -> Split:
    return split.take(np.random.default_rng(9).permutation(len(split)))


def plant(dataset: Dataset, *copies: tuple[tuple[str, int], tuple[str, int]]) -> Dataset:
    """Copy images, each from (split, row) to (split, row); labels stay."""
    images = {name: dataset.splits[name].images.copy() for name in SPLIT_NAMES}
    for (from_split, from_row), (to_split, to_row) in copies:
        images[to_split][to_row] = images[from_split][from_row]
    splits = {name: Split(images[name], dataset.splits[name].labels) for name in SPLIT_NAMES}
    return replace(dataset, splits=splits)


def test_faults_are_test_images_known_from_elsewhere_and_two_labels_for_one() -> None:
    assert list_faults(make_dataset()) == []
    assert list_faults(plant(make_dataset(), (("train", 0), ("val", 0)))) == []
    (line,) = list_faults(plant(make_dataset(), (("train", 0), ("test", 0)), (("train", 1), ("test", 1))))
    assert "both train and test, byte for byte: 2," in line
    (line,) = list_faults(plant(make_dataset(), (("val", 7), ("test", 8))))
    assert "both val and test, byte for byte: 1," in line
    (line,) = list_faults(plant(make_dataset(), (("train", 0), ("train", 14))))
    assert "differing labels: 1;" in line


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """A small data set that stands for the official one: its digests are the known ones."""
    dataset = make_dataset()
    digests = {
        (name, label): digest_images(split.images[split.labels == label])
        for name, split in dataset.splits.items()
        for label in (NORMAL, PNEUMONIA)
    }
    assert digests.keys() == identity.KNOWN_DIGESTS.keys()
    monkeypatch.setattr(identity, "KNOWN_DIGESTS", digests)
    monkeypatch.setattr(identity, "KAGGLE_TRAIN_COUNTS", (2, 9))
    return dataset


def test_digest_ignores_the_order_and_nothing_else() -> None:
    images = make_split(1, 5, 5).images
    assert digest_images(images[::-1]) == digest_images(images)
    changed = images.copy()
    changed[3, 4, 5] ^= 1
    repeated = np.concatenate([images, images[:1]])
    assert len({digest_images(some) for some in (images, changed, repeated, images.reshape(10, 14, 56))}) == 4


def test_other_order_is_recognised(known: Dataset) -> None:
    mixed = replace(known, splits={name: shuffle(split) for name, split in known.splits.items()})
    assert identify(mixed).kind == Kind.REORDERED


def test_known_images_are_official_in_any_order_and_file(known: Dataset) -> None:
    for name, split in known.splits.items():
        mixed = replace(known, name="mine.npz", splits={**known.splits, name: shuffle(split)})
        assert is_official_split(mixed, name)
        assert not is_official_split(replace(mixed, synthetic=True), name)


@pytest.mark.parametrize("name", SPLIT_NAMES)
def test_other_images_and_labels_are_not_official(name: str, known: Dataset) -> None:
    split = known.splits[name]
    noise = make_split(77, *split.class_counts())
    fewer = split.take(np.arange(1, len(split)))
    for other in (noise, fewer, exchange_labels(split)):
        changed = replace(known, splits={**known.splits, name: other})
        assert not is_official_split(changed, name)
        # What happened to the other splits does not matter.
        assert all(is_official_split(changed, kept) for kept in SPLIT_NAMES if kept != name)


@pytest.mark.parametrize(("pixels", "official"), [(64, True), (32, False)])
def test_split_of_a_size_without_known_images_is_told_by_its_file_and_not_by_its_counts(
    pixels: int, official: bool
) -> None:
    counts = {"train": (3, 3), "val": (135, 389), "test": (234, 390)}
    dataset = Dataset("made.npz", {name: make_split(1, *counts[name], pixels) for name in SPLIT_NAMES})
    assert not any(is_official_split(dataset, name) for name in SPLIT_NAMES)
    by_its_md5 = replace(dataset, is_official_file=True)
    assert all(is_official_split(by_its_md5, name) == official for name in SPLIT_NAMES)


def exchange_labels(split: Split) -> Split:
    labels = split.labels.copy()
    labels[[0, -1]] = labels[[-1, 0]]
    return Split(split.images, labels)


def brighten_one(split: Split) -> Split:
    images = split.images.copy()
    images[0, 0, 0] ^= 1
    return Split(images, split.labels)


@pytest.mark.parametrize("change", [exchange_labels, brighten_one])
@pytest.mark.parametrize("name", SPLIT_NAMES)
def test_other_label_or_pixel_is_not_the_official_data(
    known: Dataset, name: str, change: Callable[[Split], Split]
) -> None:
    changed = replace(known, splits={**known.splits, name: change(known.splits[name])})
    identity = identify(changed)
    assert identity.kind == Kind.OTHER
    assert f"{name} normal" in identity.sentence
    assert all(f"{other} normal" not in identity.sentence for other in SPLIT_NAMES if other != name)


def test_image_moved_between_splits_is_noticed(known: Dataset) -> None:
    train, test = known.train, known.test
    swapped = {
        **known.splits,
        "train": Split(np.concatenate([test.images[:1], train.images[1:]]), train.labels),
        "test": Split(np.concatenate([train.images[:1], test.images[1:]]), test.labels),
    }
    assert identify(replace(known, splits=swapped)).kind == Kind.OTHER


def lose_normals(dataset: Dataset, kept: int) -> Dataset:
    train = dataset.train
    rows = np.concatenate([np.flatnonzero(train.labels == NORMAL)[:kept], np.flatnonzero(train.labels)])
    return replace(dataset, splits={**dataset.splits, "train": shuffle(train.take(rows))})


def test_kaggle_copy_is_recognised_by_its_images(known: Dataset) -> None:
    identity = identify(lose_normals(known, 2))
    assert identity.kind == Kind.KAGGLE
    assert "826" in identity.sentence


def test_other_number_of_lost_normals_is_not_the_kaggle_copy(known: Dataset) -> None:
    assert identify(lose_normals(known, 3)).kind == Kind.OTHER


def test_what_a_run_sees_is_recognised_by_its_images_whatever_the_test_split(known: Dataset) -> None:
    noise = replace(known, splits={**known.splits, "test": make_split(9, 6, 9)})
    assert identify(noise).kind == Kind.OTHER
    for dataset in (known, noise):
        assert identify_seen(dataset) == identify_seen(known)
        assert identify_seen(lose_normals(dataset, 2)).kind == Kind.KAGGLE
        assert identify_seen(lose_normals(dataset, 3)).kind == Kind.OTHER
    assert identify_seen(known).kind == Kind.OFFICIAL
    assert "training and validation images" in identify_seen(known).sentence


@pytest.mark.parametrize("name", ["train", "val"])
def test_what_a_run_sees_is_something_else_with_other_images(known: Dataset, name: str) -> None:
    other = replace(known, splits={**known.splits, name: make_split(9, 6, 9)})
    assert identify_seen(other).kind == Kind.OTHER


@pytest.mark.parametrize("pixels", [20, 64])
def test_what_a_run_sees_is_not_named_at_sizes_that_are_not_known(pixels: int) -> None:
    identity = identify_seen(make_dataset(pixels))
    assert identity.kind == Kind.OTHER
    assert f"{pixels} px" in identity.sentence
    assert identify_seen(replace(make_dataset(pixels), synthetic=True)).kind == Kind.SYNTHETIC


def test_file_is_recognised_by_its_md5(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, path = make_dataset(64), tmp_path / "any name.npz"
    path.write_bytes(b"any bytes")
    assert identify(dataset, path).kind == Kind.OTHER
    md5 = hashlib.md5(b"any bytes").hexdigest()
    monkeypatch.setitem(SOURCES, 64, replace(SOURCES[64], md5=md5))
    identity = identify(dataset, path)
    assert identity.kind == Kind.OFFICIAL
    assert "64 px" in identity.sentence


def test_kaggle_file_is_recognised_by_its_md5(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "archive.npz"
    path.write_bytes(b"any bytes")
    monkeypatch.setattr(identity, "KAGGLE_MD5", hashlib.md5(b"any bytes").hexdigest())
    assert identify(make_dataset(), path).kind == Kind.KAGGLE


@pytest.mark.parametrize(("pixels", "words"), [(64, "cannot be told"), (20, "28, 64, 128, 224")])
def test_sentence_admits_what_is_not_known(pixels: int, words: str) -> None:
    identity = identify(make_dataset(pixels))
    assert identity.kind == Kind.OTHER
    assert words in identity.sentence


def test_synthetic_is_called_synthetic() -> None:
    assert identify(replace(make_dataset(), synthetic=True)).kind == Kind.SYNTHETIC


def test_vanished_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.npz cannot be read") as caught:
        identify(make_dataset(), tmp_path / "gone.npz")
    assert "\n" not in str(caught.value)


def count_by_pairs(dataset: Dataset) -> dict[str, int]:
    """Compare every image with every other: a second way to every figure of the audit."""
    rows = [(name, row) for name in SPLIT_NAMES for row in range(len(dataset.splits[name]))]
    image = {(name, row): dataset.splits[name].images[row] for name, row in rows}
    label = {(name, row): dataset.splits[name].labels[row] for name, row in rows}
    groups: list[set[tuple[str, int]]] = []
    for one, other in combinations(rows, 2):
        if np.array_equal(image[one], image[other]):
            home = next((group for group in groups if one in group or other in group), None)
            if home is None:
                groups.append({one, other})
            else:
                home |= {one, other}
    found = {
        "groups": len(groups),
        "grouped_images": sum(map(len, groups)),
        "label_conflicts": sum(len({label[place] for place in group}) > 1 for group in groups),
    }
    for name in SPLIT_NAMES:
        inside = [[place for place in group if place[0] == name] for group in groups]
        found[f"{name} surplus"] = sum(max(len(places) - 1, 0) for places in inside)
        found[f"{name} groups"] = sum(
            len(places) == len(group) for places, group in zip(inside, groups, strict=True)
        )
    for pair in combinations(SPLIT_NAMES, 2):
        found["/".join(pair)] = sum({name for name, _ in group} >= set(pair) for group in groups)
    return found


def flatten_audit(dataset: Dataset) -> dict[str, int]:
    result = audit_dataset(dataset)
    found = {name: getattr(result, name) for name in ("groups", "grouped_images", "label_conflicts")}
    for name, split in result.splits.items():
        found |= {f"{name} surplus": split.surplus, f"{name} groups": split.groups}
    return found | dict(result.shared)


# Rows 0 to 5 are normal, 6 to 14 pneumonia.
PLANTED = {
    "none": [],
    "twice within train": [(("train", 0), ("train", 1))],
    "three times within test": [(("test", 7), ("test", 8)), (("test", 7), ("test", 9))],
    "train and val": [(("train", 7), ("val", 8)), (("train", 9), ("val", 9))],
    "twice in train, once in val": [(("train", 7), ("train", 8)), (("train", 7), ("val", 8))],
    "everywhere": [(("train", 7), ("val", 8)), (("train", 7), ("test", 8))],
    "conflict within val": [(("val", 0), ("val", 10))],
    "conflict across": [(("train", 0), ("test", 10)), (("train", 3), ("test", 3))],
}


@pytest.mark.parametrize("copies", PLANTED.values(), ids=PLANTED.keys())
def test_duplicates_are_those_of_comparing_all_pairs(
    copies: list[tuple[tuple[str, int], tuple[str, int]]],
) -> None:
    dataset = plant(make_dataset(8), *copies)
    assert flatten_audit(dataset) == count_by_pairs(dataset)


def test_figures_of_one_planted_case() -> None:
    copies = [(("train", 7), ("train", 8)), (("train", 7), ("val", 8)), (("test", 0), ("test", 14))]
    result = audit_dataset(plant(make_dataset(8), *copies))
    assert (result.groups, result.grouped_images, result.label_conflicts) == (2, 5, 1)
    assert (result.splits["train"].groups, result.splits["train"].surplus) == (0, 1)
    assert (result.splits["test"].groups, result.splits["test"].surplus) == (1, 1)
    assert result.shared == {"train/val": 1, "train/test": 0, "val/test": 0}
    assert (result.splits["val"].images, result.splits["val"].normal) == (15, 6)
    assert result.pixels == 8


def test_audit_is_json() -> None:
    result = audit_dataset(make_dataset(8))
    content = json.loads(json.dumps(result.to_dict()))
    assert content["identity"]["kind"] == "other"
    assert content["splits"]["train"] == {
        "images": 15,
        "normal": 6,
        "pneumonia": 9,
        "groups": 0,
        "surplus": 0,
    }


def test_the_sentence_that_a_run_keeps_tells_which_data_it_is(known: Dataset, tmp_path: Path) -> None:
    own = tmp_path / "the official training and validation images"
    own.mkdir()
    identities = [
        identify_seen(known),
        identify_seen(lose_normals(known, 2)),
        identify_seen(lose_normals(known, 3)),
        identify_seen(make_dataset(64)),
        identify_seen(replace(known, synthetic=True)),
        identify_seen(known, own),
    ]
    kinds = [Kind.OFFICIAL, Kind.KAGGLE, Kind.OTHER, Kind.OTHER, Kind.SYNTHETIC, Kind.OWN]
    assert [identity.kind for identity in identities] == kinds
    assert [read_kind(identity.sentence) for identity in identities] == kinds


@pytest.mark.parametrize("names", [("test",), ("train", "val")])
def test_a_part_of_the_official_file_is_told_from_others(names: tuple[str, ...], known: Dataset) -> None:
    part = replace(known, splits={name: known.splits[name] for name in names})
    identity = identify(part)
    assert identity.kind == Kind.OTHER
    assert f"of the official file at 28 px {' and '.join(names)} alone" in identity.sentence
    images = part.splits[names[0]].images.copy()
    images[0, 0, 0] ^= 1
    other = replace(part, splits={**part.splits, names[0]: replace(part.splits[names[0]], images=images)})
    assert identify(other).sentence.endswith(f"differs from the official file in: {names[0]} normal")


@pytest.mark.parametrize("name", ["xrays", "xrays.csv"])
def test_own_images_are_counted_and_not_compared_with_known_files(name: str, tmp_path: Path) -> None:
    path, where = tmp_path / name, "named in xrays.csv"
    if not path.suffix:
        path.mkdir()
        where = "in folder xrays"
    some = Dataset(name, {"train": make_split(1, 6, 9), "test": make_split(2, 3, 4)})
    identity = identify(some, path)
    assert identity.kind == Kind.OWN
    assert identity.sentence == (
        f"own images: files {where}: train 15 (6 normal, 9 pneumonia), test 7 (3 normal, 4 pneumonia)"
    )
    assert identify(Dataset(name, {"all": make_split(1, 6, 9)}), path).sentence.endswith(
        "all 15 (6 normal, 9 pneumonia)"
    )


def test_duplicates_among_some_splits_or_all_images() -> None:
    planted = plant(make_dataset(8), (("train", 7), ("train", 8)), (("train", 7), ("test", 8)))
    some = audit_dataset(Dataset("own", {"test": planted.test, "train": planted.train}))
    assert list(some.splits) == ["train", "test"]
    assert (some.splits["train"].surplus, some.splits["test"].surplus, some.shared) == (
        1,
        0,
        {"train/test": 1},
    )
    whole = audit_dataset(Dataset("own", {"all": planted.pick("all")}))
    assert (whole.groups, whole.grouped_images, whole.shared) == (1, 3, {})
    assert (whole.splits["all"].surplus, whole.splits["all"].images) == (2, 45)


@pytest.mark.skipif(not REAL.is_file(), reason="PNEUMOCLI_DATA names no file")
def test_real_data() -> None:
    dataset = load_dataset(REAL)
    result = audit_dataset(dataset, REAL)
    if result.identity.kind not in {Kind.OFFICIAL, Kind.REORDERED} or result.pixels != 28:
        pytest.skip("PNEUMOCLI_DATA is not the official data at 28 px")
    counts = {name: (split.images, split.normal, split.pneumonia) for name, split in result.splits.items()}
    assert counts == {"train": (4708, 1214, 3494), "val": (524, 135, 389), "test": (624, 234, 390)}
    assert all(is_official_split(dataset, name) for name in SPLIT_NAMES)
    assert (result.groups, result.grouped_images, result.label_conflicts) == (27, 56, 0)
    assert [split.groups for split in result.splits.values()] == [16, 0, 3]
    assert [split.surplus for split in result.splits.values()] == [18, 0, 3]
    assert result.shared == {"train/val": 8, "train/test": 0, "val/test": 0}
    shuffled = replace(dataset, splits={name: shuffle(split) for name, split in dataset.splits.items()})
    assert identify(shuffled).kind == Kind.REORDERED
    assert identify_seen(shuffled).kind == Kind.OFFICIAL
    assert identify(lose_normals(dataset, 388)).kind == Kind.KAGGLE
    assert identify(lose_normals(dataset, 389)).kind == Kind.OTHER
    assert identify(replace(dataset, splits={**dataset.splits, "val": dataset.test})).kind == Kind.OTHER
