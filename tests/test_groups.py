"""Which images belong together: correlations by another way, chains, constant images, groups by file."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pneumocli.core import groups as module
from pneumocli.core.data import Split, load_dataset
from pneumocli.core.errors import DataError
from pneumocli.core.groups import (
    count_groups,
    digest_groups,
    find_near_duplicates,
    find_originals,
    group_images,
    join_groups,
    number_groups,
    read_groups,
)

Images = NDArray[np.uint8]
Groups = NDArray[np.int64]


def list_groups(groups: Groups) -> set[frozenset[int]]:
    """The groups of more than one image, as sets of rows."""
    found = (frozenset(np.flatnonzero(groups == number).tolist()) for number in np.unique(groups))
    return {rows for rows in found if len(rows) > 1}


def join_by_hand(n: int, pairs: Sequence[tuple[int, int]]) -> Groups:
    """Connected components, one relabelling a pair."""
    groups = np.arange(n)
    for one, other in pairs:
        groups[groups == groups[other]] = groups[one]
    return groups


def correlate_all(images: Images) -> NDArray[np.float64]:
    """The correlation of every pair; a constant image has none, which is 0 here."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.nan_to_num(np.corrcoef(images.reshape(len(images), -1).astype(np.float64)))


def group_by_hand(images: Images) -> Groups:
    near = correlate_all(images) > 0.99
    near |= (images[:, None] == images[None]).all(axis=(2, 3))
    return join_by_hand(len(images), list(zip(*np.nonzero(near), strict=True)))


def draw_images(seed: int, count: int, pixels: int) -> Images:
    """Smooth images with some detail, no two of them near."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 200, (count, 7, 7)).astype(np.uint8)
    smooth = np.kron(coarse, np.ones((pixels // 7, pixels // 7))).astype(np.uint8)
    return smooth + rng.integers(0, 30, (count, pixels, pixels)).astype(np.uint8)


def disturb(image: Images, level: float, seed: int) -> Images:
    noise = np.random.default_rng(seed).normal(0, level, image.shape)
    return (image + noise).round().clip(0, 255).astype(np.uint8)


def draw_with_duplicates(pixels: int, count: int = 40) -> Images:
    """Images of which many are others with more and more noise: correlations on both sides of 0.99."""
    images = draw_images(0, count, pixels)
    for row in range(count // 2):
        images[count - 1 - row] = disturb(images[row], row, seed=row)
    return images


@pytest.mark.parametrize("pixels", [7, 14, 28, 35, 56, 224])
@pytest.mark.parametrize("rows_at_once", [3, 512])
def test_groups_are_those_of_all_correlations(
    pixels: int, rows_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = draw_with_duplicates(pixels)
    correlations = correlate_all(images)[np.triu_indices(len(images), 1)]
    close = (correlations > 0.98) & (correlations < 1)
    assert (correlations[close] > 0.99).any(), "pairs above the bound"
    assert (correlations[close] < 0.99).any(), "and below"
    monkeypatch.setattr(module, "ROWS_AT_ONCE", rows_at_once)
    monkeypatch.setattr(module, "IMAGES_AT_ONCE", rows_at_once)
    found = find_near_duplicates(images)
    assert found.dtype == np.int64
    assert list_groups(found) == list_groups(group_by_hand(images)) != set()
    np.testing.assert_array_equal(found, number_groups(found))


@pytest.mark.parametrize("pixels", [28, 56, 50, 224])
@pytest.mark.parametrize("detail", [0, 3, 30, 120])
def test_no_pair_correlates_more_than_its_short_vectors_say(pixels: int, detail: int) -> None:
    rng = np.random.default_rng(1)
    images = rng.integers(0, 120, (30, 1, 1)) + rng.integers(0, 16, (30, pixels, pixels))
    images[:, : pixels // 3] += rng.integers(0, 60, (30, 1, 1))
    images = (images + rng.integers(0, detail + 1, images.shape)).clip(0, 255).astype(np.uint8)
    images[15:] = disturb(images[:15], 1, seed=0)
    short = module._shorten(images)
    at_most = short @ short.T
    correlations = correlate_all(images)
    assert (correlations <= at_most + 1e-5).all()
    assert short.shape[1] == 28**2 + 1
    if pixels == 28:
        np.testing.assert_allclose(at_most, correlations, rtol=0, atol=1e-5)


def test_near_duplicates_that_differ_in_detail_alone_are_told_apart_from_others() -> None:
    """Averages over blocks of 8 x 8 are equal, the images are not near."""
    rng = np.random.default_rng(2)
    signs = rng.choice([-1, 1], (2, 224, 112))
    detail = np.stack([signs, -signs], axis=-1).reshape(2, 224, 224)
    images = (128 + 40 * detail + rng.integers(0, 4, (1, 224, 224))).astype(np.uint8)
    assert abs(correlate_all(images)[0, 1]) < 0.1
    assert list_groups(find_near_duplicates(images)) == set()


@pytest.mark.parametrize("pixels", [28, 224])
def test_chain_is_one_group(pixels: int) -> None:
    """A is near B and B is near C; A and C are not near."""
    first, last = draw_images(3, 2, pixels).astype(np.float64)
    steps = np.linspace(0, 1, 30)[:, None, None]
    images = ((1 - steps) * first + steps * last).round().astype(np.uint8)
    correlations = correlate_all(images)
    assert (np.diagonal(correlations, 1) > 0.99).all()
    assert correlations[0, -1] < 0.5
    others = draw_images(4, 3, pixels)
    found = find_near_duplicates(np.concatenate([others[:1], images[::-1], others[1:]]))
    assert list_groups(found) == {frozenset(range(1, 31))}


def test_contrast_and_brightness_leave_a_near_duplicate_near() -> None:
    image = draw_images(5, 1, 28)[0]
    other = (image * 0.5 + 60).astype(np.uint8)
    assert list_groups(find_near_duplicates(np.stack([image, other]))) == {frozenset({0, 1})}
    assert list_groups(find_near_duplicates(np.stack([image, 255 - image]))) == set()


@pytest.mark.parametrize("pixels", [28, 224])
def test_constant_images_are_with_their_copies_alone(pixels: int) -> None:
    levels = np.array([0, 255, 100, 100, 7, 0], np.uint8)
    images = np.broadcast_to(levels[:, None, None], (6, pixels, pixels)).copy()
    almost = images[2:3].copy()
    almost[0, 3, 3] += 1
    spot = almost - 50
    found = find_near_duplicates(np.concatenate([images, almost, spot]))
    # The last two have one spot at the same place, so that their correlation is 1.
    assert list_groups(found) == {frozenset({0, 5}), frozenset({2, 3}), frozenset({6, 7})}


def test_images_of_one_group_each_and_of_a_single_group() -> None:
    images = draw_images(6, 5, 28)
    assert find_near_duplicates(images).tolist() == [0, 1, 2, 3, 4]
    assert find_near_duplicates(images[[0, 0, 0]]).tolist() == [0, 0, 0]
    assert find_near_duplicates(images[:1]).tolist() == [0]


def test_groups_do_not_follow_the_order_of_the_images() -> None:
    images = draw_with_duplicates(28)
    order = np.random.default_rng(7).permutation(len(images))
    straight = find_near_duplicates(images)[order]
    assert list_groups(find_near_duplicates(images[order])) == list_groups(straight)


def test_originals_have_neither_a_copy_nor_a_near_duplicate_in_the_other_split() -> None:
    images = draw_images(8, 9, 28)
    near, far = disturb(images[4], 1, seed=0), disturb(images[5], 40, seed=0)
    correlations = correlate_all(np.stack([images[4], near, images[5], far]))
    assert correlations[0, 1] > 0.99 > correlations[2, 3] > 0.5
    split = Split(np.concatenate([images, [near, far], images[:1]]), np.zeros(12, np.int64))
    other = Split(images[[0, 2, 4, 5]], np.ones(4, np.int64))
    assert find_originals(split, other).tolist() == [1, 3, 6, 7, 8, 10]
    assert find_originals(other, split).tolist() == []


def test_constant_image_is_original_unless_it_is_copied() -> None:
    images = draw_images(9, 2, 28)
    black, grey = np.zeros((1, 28, 28), np.uint8), np.full((1, 28, 28), 90, np.uint8)
    split = Split(np.concatenate([black, grey, images]), np.zeros(4, np.int64))
    other = Split(np.concatenate([grey, images[:1]]), np.zeros(2, np.int64))
    assert find_originals(split, other).tolist() == [0, 3]


@pytest.mark.parametrize("seed", range(5))
def test_joined_groups_are_the_components_of_both(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, 40, (2, 60)) * 7 - 20
    pairs = [
        (one, other)
        for one in range(60)
        for other in range(one)
        if first[one] == first[other] or second[one] == second[other]
    ]
    joined = join_groups(first, second)
    assert list_groups(joined) == list_groups(join_by_hand(60, pairs))
    np.testing.assert_array_equal(joined, join_groups(second, first))
    np.testing.assert_array_equal(joined, join_groups(joined, first))


def test_groups_are_numbered_in_the_order_of_their_first_images() -> None:
    assert number_groups(np.array([7, -2, 7, 5, -2, 0])).tolist() == [0, 1, 0, 2, 1, 3]
    assert number_groups(np.array(["b", "a", "b"])).tolist() == [0, 1, 0]
    assert number_groups(np.array([7])).dtype == np.int64


def test_digest_follows_who_is_together_and_not_the_numbers() -> None:
    assert digest_groups(np.array([3, 3, 1])) == digest_groups(np.array([0, 0, 9]))
    others = ([0, 1, 1], [0, 1, 0], [0, 0, 0], [0, 1, 2], [0, 0], [0, 0, 1, 2])
    assert len({digest_groups(np.array(groups)) for groups in (*others, [3, 3, 1])}) == 1 + len(others)


@pytest.mark.parametrize(
    ("groups", "counts"), [([4, 4, 1], (1, 2)), ([1, 2, 3], (0, 0)), ([1, 2, 1, 2, 2, 9], (2, 5))]
)
def test_groups_of_one_image_are_not_counted(groups: list[int], counts: tuple[int, int]) -> None:
    assert count_groups(np.array(groups)) == counts


def test_known_groups_are_joined_with_near_duplicates() -> None:
    images = draw_images(10, 6, 28)
    images[3] = disturb(images[0], 1, seed=0)
    labels = np.zeros(6, np.int64)
    assert list_groups(group_images(Split(images, labels))) == {frozenset({0, 3})}
    known = Split(images, labels, np.array([5, 5, 6, 7, 8, 8]))
    assert list_groups(group_images(known)) == {frozenset({0, 1, 3}), frozenset({4, 5})}


# The groups' file.


def write_text(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_images_that_are_not_named_are_groups_of_their_own(tmp_path: Path) -> None:
    path = write_text(tmp_path / "a.csv", "index,group\n4,Anna\n0,Ben\n2,Anna\n")
    found = read_groups(path, 6)
    assert list_groups(found) == {frozenset({2, 4})}
    assert len(np.unique(found)) == 5
    assert found.dtype == np.int64


SAME_FILES = {
    "CRLF": "index,group\r\n0,a\r\n1,b\r\n2,a\r\n",
    "byte order mark": b"\xef\xbb\xbfindex,group\n0,a\n1,b\n2,a\n",
    "byte order mark and CRLF": b"\xef\xbb\xbfindex,group\r\n0,a\r\n1,b\r\n2,a\r\n",
    "no line end at the end": "index,group\n0,a\n1,b\n2,a",
    "empty lines": "index,group\n\n0,a\n1,b\n\n2,a\n\n",
    "other order": "index,group\n2,a\n0,a\n1,b\n",
    "other columns' order": "group,index\na,0\nb,1\na,2\n",
    "further column": "index,note,group\n0,,a\n1,x,b\n2,,a\n",
    "quotes": '"index","group"\n"0","a"\n"1","b"\n"2","a"\n',
    "spaces": "index, group\n0, a\n 1,b \n2 ,a\n",
    "other names": "index,group\n0,Müller\n1,1\n2,Müller\n",
    "a comma in a name": 'index,group\n0,"Doe, John"\n1,"Doe, Jane"\n2,"Doe, John"\n',
    "leading zeros": "index,group\n000,a\n01,b\n0002,a\n",
    "group as a number": "index,group\n0,1\n1,2\n2,1\n",
    "upper case": "Index,GROUP\n0,a\n1,b\n2,a\n",
    "named as little as needed": "index,group\n0,a\n2,a\n",
}


@pytest.mark.parametrize("text", SAME_FILES.values(), ids=SAME_FILES.keys())
def test_ways_to_write_the_same_groups(text: str | bytes, tmp_path: Path) -> None:
    found = read_groups(write_text(tmp_path / "a.csv", text), 4)
    assert list_groups(found) == {frozenset({0, 2})}
    assert len(np.unique(found)) == 3


# The file, and what the line that refuses it says.
FAULTS = {
    "empty": ("", "names no image"),
    "only a byte order mark": (b"\xef\xbb\xbf", "names no image"),
    "no header": ("0,a\n1,a\n", "no column index and group"),
    "missing index": ("row,group\n0,a\n", "no column index"),
    "missing group": ("index,patient\n0,a\n", "no column group"),
    "column twice": ("index,group,group\n0,a,b\n", "column group more than once"),
    "semicolons": ("index;group\n0;a\n", "index;group"),
    "header alone": ("index,group\n", "names no image"),
    "header and empty lines": ("index,group\n\n\n", "names no image"),
    "out of range": ("index,group\n3,a\n4,a\n", "line 3 has the index 4; .* rows 0 to 3"),
    "far out of range": (f"index,group\n{'9' * 5000},a\n", "rows 0 to 3"),
    "negative": ("index,group\n-1,a\n", "'-1'"),
    "not a number": ("index,group\n0,a\nfirst,a\n", "line 3 has the index 'first'"),
    "fraction": ("index,group\n1.0,a\n", "'1.0'"),
    "underscore": ("index,group\n1_0,a\n", "'1_0'"),
    "other digits": ("index,group\n\u0661,a\n", "whole number"),
    "superscript": ("index,group\n\u00b2,a\n", "whole number"),
    "no index": ("index,group\n,a\n", "whole number"),
    "twice": ("index,group\n1,a\n0,a\n1,b\n", "line 4 names image 1 again, after line 2"),
    "twice, written otherwise": ("index,group\n1,a\n01,a\n", "image 1 again"),
    "no group": ("index,group\n1,\n", "no group for image 1"),
    "group of spaces": ("index,group\n1,  \n", "no group"),
    "cell missing": ("index,group\n1\n", "1 cells where the header has 2"),
    "cell too many": ("index,group\n1,Doe, John\n", "3 cells where the header has 2"),
    "quote left open": ('index,group\n1,"a\n2,a\n', "not CSV"),
    "text behind a quote": ('index,group\n1,"a"b\n', "not CSV"),
    "long cell": (f"index,group\n1,{'a' * 200_000}\n", "not CSV"),
    "UTF-16": ("index,group\n0,a\n".encode("utf-16"), "UTF-8"),
    "Latin-1": ("index,group\n0,Müller\n".encode("latin-1"), "UTF-8"),
    "picture": (b"\x89PNG\r\n\x1a\n\x00\x00", "UTF-8"),
    "archive": (b"PK\x03\x04" + bytes(100), "no column index"),
}


@pytest.mark.parametrize(("text", "words"), FAULTS.values(), ids=FAULTS.keys())
def test_fault_of_a_file_is_one_line_that_names_it(text: str | bytes, words: str, tmp_path: Path) -> None:
    path = write_text(tmp_path / "a.csv", text)
    with pytest.raises(DataError, match=words) as caught:
        read_groups(path, 4)
    line = str(caught.value)
    assert len(line.splitlines()) == 1
    assert len(line) < 250 + len(str(path))
    assert str(path) in line


def test_file_that_is_not_there_or_a_folder(tmp_path: Path) -> None:
    for path, words in ((tmp_path / "none.csv", "No such file"), (tmp_path, "cannot be read")):
        with pytest.raises(DataError, match=words) as caught:
            read_groups(path, 4)
        assert str(path) in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1


def test_real_data_has_no_near_duplicates_but_copies(real_data: Path) -> None:
    dataset = load_dataset(real_data)
    assert count_groups(find_near_duplicates(dataset.train.images)) == (18, 36)
    assert len(find_originals(dataset.val, dataset.train)) == 524 - 8
    assert len(find_originals(dataset.test, dataset.train)) == 624
    correlations = correlate_all(dataset.train.images)[np.triu_indices(len(dataset.train), 1)]
    assert (correlations > 0.99).sum() == (correlations > 0.98).sum() == 18
