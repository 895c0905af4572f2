"""The bank: the same key gives the same bytes, and a damaged one nothing."""

import errno
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from banked import (
    HEADER,
    KEY,
    Array,
    cut_up,
    draw_array,
    fill,
    find_data,
    find_note,
    list_files,
    open_whole,
    read_line,
    refuse_write,
    start_filling,
    write_partial,
)

from pneumocli.core.bank import fill_bank, name_bank, open_bank
from pneumocli.core.cache import Cache, clear_banks, list_banks
from pneumocli.core.errors import PneumoError


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "bank")


def replace_content(path: Path, content: bytes) -> None:
    # A new file, so that what is mapped from the old one stays as it is.
    path.unlink()
    path.write_bytes(content)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.uint16])
@pytest.mark.parametrize("size", [1, 7, 40, 100])
def test_bank_gives_back_the_bytes_that_went_in(cache: Cache, dtype: type, size: int) -> None:
    array = draw_array().astype(dtype) if dtype is not np.uint16 else draw_array().view(np.uint16)
    filled = fill_bank(cache, KEY, array.shape, dtype, cut_up(array, size))
    for kept in (filled, open_whole(cache), open_whole(cache)):
        assert (kept.shape, kept.dtype) == (array.shape, array.dtype)
        assert kept.tobytes() == array.tobytes()
    assert list_files(cache) == {find_data(cache).name, find_note(cache).name}


def test_bank_is_mapped_and_not_to_be_written(cache: Cache) -> None:
    for kept in (fill(cache), open_whole(cache)):
        assert isinstance(kept, np.memmap)
        with pytest.raises(ValueError, match="read-only"):
            kept[0] = 0


def test_nothing_is_kept_before_it_was_filled(cache: Cache) -> None:
    assert open_bank(cache, KEY) is None
    assert list_banks(cache) == []
    assert clear_banks(cache) == 0


@pytest.mark.parametrize(
    "key",
    [{"images": "b", "view": 1}, {"images": "a"}, {"images": "a", "view": 2}, {**KEY, "flip": True}, {}],
)
def test_another_key_is_another_bank(cache: Cache, key: dict[str, Any]) -> None:
    fill(cache)
    assert open_bank(cache, key) is None
    fill(cache, key, draw_array(1))
    np.testing.assert_array_equal(open_whole(cache, key), draw_array(1))
    np.testing.assert_array_equal(open_whole(cache), draw_array())


def test_order_of_the_key_is_of_no_account() -> None:
    assert name_bank({"a": 1, "b": [2, 3]}) == name_bank({"b": [2, 3], "a": 1})
    assert len({name_bank({"a": value}) for value in (1, "1", 1.5, None, True, [1])}) == 6


def test_a_key_filled_again_has_the_new_content(cache: Cache) -> None:
    first = fill(cache)
    fill(cache, array=draw_array(1, rows=8))
    np.testing.assert_array_equal(open_whole(cache), draw_array(1, rows=8))
    np.testing.assert_array_equal(first, draw_array())
    assert len(list_banks(cache)) == 1


def flip_byte(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


DATA_DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "first number": lambda content: flip_byte(content, HEADER),
    "number in the middle": lambda content: flip_byte(content, len(content) // 2),
    "last byte": lambda content: flip_byte(content, len(content) - 1),
    "numbers exchanged": lambda content: content[:HEADER] + content[HEADER:][::-1],
    "all zero": lambda content: content[:HEADER] + bytes(len(content) - HEADER),
    "cut off": lambda content: content[: len(content) // 2],
    "one byte short": lambda content: content[:-1],
    "only the header": lambda content: content[:HEADER],
    "half a header": lambda content: content[:20],
    "empty": lambda content: b"",
    "not an array": lambda content: b"something else" * 100,
    "an archive": lambda content: b"PK\x03\x04" + content,
    "pickled": lambda content: b"\x80\x04\x95" + content,
    "header broken": lambda content: content.replace(b"(40, 3, 5)", b"(40, 3, 5 "),
    "header is not text": lambda content: content[:20] + b"\xff" * 20 + content[40:],
    "other numbers": lambda content: content.replace(b"<f4", b"<i4"),
    "other order of bytes": lambda content: content.replace(b"<f4", b">f4"),
    "objects": lambda content: content.replace(b"<f4", b"|O8"),
    "other shape": lambda content: content.replace(b"(40, 3, 5)", b"(40, 5, 3)"),
    "fewer rows": lambda content: content.replace(b"(40, 3, 5)", b"(39, 3, 5)"),
    "more rows": lambda content: content.replace(b"(40, 3, 5)", b"(99, 3, 5)"),
    "columns first": lambda content: content.replace(b"False", b"True "),
    "huge": lambda content: content.replace(b"(40, 3, 5), }" + b" " * 9, b"(40, 3, 9999999999), }"),
}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("damage", DATA_DAMAGES)
def test_damaged_data_is_removed_and_can_be_filled_again(cache: Cache, damage: str) -> None:
    fill(cache)
    content = find_data(cache).read_bytes()
    damaged = DATA_DAMAGES[damage](content)
    assert damaged != content
    replace_content(find_data(cache), damaged)
    assert open_bank(cache, KEY) is None
    assert list_files(cache) == set()
    fill(cache)
    np.testing.assert_array_equal(open_whole(cache), draw_array())


@pytest.mark.parametrize("seed", range(4))
def test_damage_anywhere_never_gives_other_numbers(cache: Cache, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(25):
        fill(cache)
        path = (find_data, find_note)[int(rng.integers(2))](cache)
        content = bytearray(path.read_bytes())
        for place in rng.integers(len(content), size=2):
            content[place] = rng.integers(256)
        replace_content(path, bytes(content))
        kept = open_bank(cache, KEY)
        assert kept is None or (kept.dtype == np.float32 and np.array_equal(kept, draw_array()))


def change_note(**changes: Any) -> Callable[[bytes], bytes]:
    return lambda content: json.dumps({**json.loads(content), **changes}).encode()


def drop_fact(name: str) -> Callable[[bytes], bytes]:
    return lambda content: json.dumps(
        {fact: value for fact, value in json.loads(content).items() if fact != name}
    ).encode()


NOTE_DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "cut off": lambda content: content[: len(content) // 2],
    "rubbish": lambda content: b"{{{",
    "not text": lambda content: b"\xff\xfe\x00",
    "a list": lambda content: b"[1, 2]",
    "null": lambda content: b"null",
    "a number": lambda content: b"7",
    "no facts": lambda content: b"{}",
    "no shape": drop_fact("shape"),
    "no type": drop_fact("dtype"),
    "no checksum": drop_fact("crc32"),
    "other shape": change_note(shape=[3, 5, 40]),
    "shape in words": change_note(shape="(40, 3, 5)"),
    "other type": change_note(dtype="uint16"),
    "unknown type": change_note(dtype="bfloat16"),
    "other checksum": change_note(crc32=1),
    "checksum is null": change_note(crc32=None),
}


@pytest.mark.parametrize("damage", NOTE_DAMAGES)
def test_damaged_note_is_removed_with_its_bank(cache: Cache, damage: str) -> None:
    fill(cache)
    replace_content(find_note(cache), NOTE_DAMAGES[damage](find_note(cache).read_bytes()))
    assert open_bank(cache, KEY) is None
    assert list_files(cache) == set()
    fill(cache)
    np.testing.assert_array_equal(open_whole(cache), draw_array())


@pytest.mark.parametrize("find", [find_data, find_note])
def test_half_a_bank_is_no_bank(cache: Cache, find: Callable[[Cache], Path]) -> None:
    fill(cache)
    find(cache).unlink()
    assert open_bank(cache, KEY) is None
    fill(cache)
    np.testing.assert_array_equal(open_whole(cache), draw_array())


def test_note_of_another_bank_is_not_believed(cache: Cache) -> None:
    other = {"images": "b"}
    fill(cache)
    fill(cache, other, draw_array(1))
    replace_content(find_note(cache), find_note(cache, other).read_bytes())
    assert open_bank(cache, KEY) is None
    np.testing.assert_array_equal(open_whole(cache, other), draw_array(1))


@pytest.mark.parametrize("step", ["numpy.lib.format.open_memmap", "pneumocli.core.bank.write_json"])
def test_disk_that_fills_up_meanwhile_leaves_nothing(
    cache: Cache, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.setattr(step, refuse_write)
    with pytest.raises((PneumoError, OSError), match=os.strerror(errno.ENOSPC)):
        fill(cache)
    assert list_files(cache) == set()


@pytest.mark.parametrize("error", [ValueError("bad image"), KeyboardInterrupt(), MemoryError()])
@pytest.mark.parametrize("after", [0, 1])
def test_batches_that_fail_leave_nothing(cache: Cache, error: BaseException, after: int) -> None:
    def fail() -> Iterator[Array]:
        yield from list(cut_up(draw_array()))[:after]
        raise error

    fill(cache, {"images": "b"})
    before = list_files(cache)
    with pytest.raises(type(error)):
        fill_bank(cache, KEY, (40, 3, 5), np.float32, fail())
    assert list_files(cache) == before
    assert open_bank(cache, KEY) is None


@pytest.mark.parametrize("rows", [0, 39, 41])
def test_batches_of_too_few_or_too_many_rows_are_not_kept(cache: Cache, rows: int) -> None:
    with pytest.raises(ValueError, match=r"rows|shape|broadcast"):
        fill_bank(cache, KEY, (40, 3, 5), np.float32, cut_up(draw_array(rows=rows)))
    assert list_files(cache) == set()


def test_batches_of_another_form_are_not_kept(cache: Cache) -> None:
    for form in ((40, 5, 3), (40, 3, 4), (40, 15)):
        with pytest.raises(ValueError, match=r"rows|shape|broadcast"):
            fill_bank(cache, KEY, (40, 3, 5), np.float32, cut_up(np.zeros(form, np.float32)))
        assert list_files(cache) == set()


def test_bank_is_not_there_before_its_last_row(cache: Cache) -> None:
    def watch() -> Iterator[Array]:
        for batch in cut_up(draw_array()):
            assert open_bank(cache, KEY) is None
            assert list_banks(cache) == []
            yield batch

    np.testing.assert_array_equal(fill_bank(cache, KEY, (40, 3, 5), np.float32, watch()), draw_array())


def test_two_processes_that_fill_the_same_bank_do_not_disturb_each_other(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_by_other() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(os, "getpid", lambda: 1)
            np.testing.assert_array_equal(fill(cache), draw_array())

    def watch() -> Iterator[Array]:
        for number, batch in enumerate(cut_up(draw_array())):
            if number == 1:
                fill_by_other()
            yield batch

    for kept in (fill_bank(cache, KEY, (40, 3, 5), np.float32, watch()), open_whole(cache)):
        np.testing.assert_array_equal(kept, draw_array())
    assert list_files(cache) == {find_data(cache).name, find_note(cache).name}


def test_partial_file_of_a_stopped_process_of_the_same_number_is_overwritten(cache: Cache) -> None:
    cache.directory.mkdir(parents=True)
    write_partial(cache, f".{name_bank(KEY)}.{os.getpid()}.partial", 60)
    np.testing.assert_array_equal(fill(cache), draw_array())
    assert list_files(cache) == {find_data(cache).name, find_note(cache).name}


@pytest.mark.parametrize(
    "error", [PermissionError(errno.EACCES, "no"), OSError(errno.EIO, "no"), MemoryError()]
)
def test_bank_that_cannot_be_read_now_is_not_removed(
    cache: Cache, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(*args: object, **settings: object) -> None:
        raise error

    fill(cache)
    with monkeypatch.context() as patch:
        patch.setattr(np, "load", fail)
        assert open_bank(cache, KEY) is None
    np.testing.assert_array_equal(open_whole(cache), draw_array())


def test_cache_that_may_only_be_read_is_read(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse_time(*args: object, **settings: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    fill(cache)
    monkeypatch.setattr(os, "utime", refuse_time)
    np.testing.assert_array_equal(open_whole(cache), draw_array())


def test_two_processes_that_need_one_bank_fill_it_once(cache: Cache) -> None:
    first = start_filling(cache, 1, "slow")
    assert read_line(first) == "filling"
    second = start_filling(cache, 1, "quick")
    assert read_line(second).startswith(f"waits for process {first.pid} ")
    assert first.communicate("\n")[0].split() == [str(5000.0 * 6)]
    assert second.communicate()[0].split() == [str(5000.0 * 6)]
    assert sorted(path.suffix for path in cache.directory.iterdir()) == [".json", ".npy"]
