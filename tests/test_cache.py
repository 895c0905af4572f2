"""The folder of banks: all together keep their limit, and nothing is left lying there for ever."""

import errno
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from banked import (
    HEADER,
    KEY,
    Array,
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
from pneumocli.core.cache import ABANDONED_AFTER, Cache, clear_banks, list_banks, locate_lock, make_room
from pneumocli.core.errors import PneumoError


class Disk(NamedTuple):
    total: int
    used: int
    free: int


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "bank")


def refuse(call: Callable[[], object]) -> str:
    """The line that says why there is no room."""
    with pytest.raises(PneumoError) as caught:
        call()
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_listing_passes_over_what_is_no_note(cache: Cache) -> None:
    fill(cache)
    for number, content in enumerate([b"", b"[]", b"null", b"\xff", b'{"bytes": "many", "key": {}}']):
        (cache.directory / f"{number}.json").write_bytes(content)
    (entry,) = list_banks(cache)
    assert entry.name == name_bank(KEY)
    assert entry.bytes == draw_array().nbytes
    assert entry.key == KEY
    assert abs(entry.used - time.time()) < 60


def size_of(banks: float) -> int:
    """Bytes of so many banks of ten rows."""
    return int(banks * draw_array(rows=10).nbytes)


def fill_three(directory: Path) -> Cache:
    """Three banks of ten rows, used in the order of their numbers, in a cache that holds three and a half."""
    cache = Cache(directory, limit=size_of(3.5))
    for number in range(3):
        fill(cache, {"number": number}, draw_array(number, rows=10))
        os.utime(find_note(cache, {"number": number}), (1000 + number, 1000 + number))
    return cache


def list_kept(cache: Cache) -> set[int]:
    return {entry.key["number"] for entry in list_banks(cache)}


def test_what_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    cache = fill_three(tmp_path)
    fill(cache, {"number": 3}, draw_array(3, rows=10))
    assert list_kept(cache) == {1, 2, 3}
    assert not find_data(cache, {"number": 0}).exists()
    fill(cache, {"number": 4}, draw_array(4, rows=20))
    assert list_kept(cache) == {3, 4}
    for number, rows in ((3, 10), (4, 20)):
        np.testing.assert_array_equal(open_whole(cache, {"number": number}), draw_array(number, rows))


def test_reading_a_bank_is_using_it(tmp_path: Path) -> None:
    cache = fill_three(tmp_path)
    open_whole(cache, {"number": 0})
    fill(cache, {"number": 3}, draw_array(3, rows=10))
    assert list_kept(cache) == {0, 2, 3}


def test_no_bank_goes_while_all_fit(tmp_path: Path) -> None:
    cache = fill_three(tmp_path)
    make_room(cache, size_of(0.5))
    assert list_kept(cache) == {0, 1, 2}
    make_room(cache, size_of(0.5) + 1)
    assert list_kept(cache) == {1, 2}


def test_a_smaller_limit_removes_what_no_longer_fits(tmp_path: Path) -> None:
    smaller = Cache(fill_three(tmp_path).directory, limit=size_of(2))
    fill(smaller, {"number": 3}, draw_array(3, rows=10))
    assert list_kept(smaller) == {2, 3}


def test_limit_holds_whatever_is_asked_for(tmp_path: Path) -> None:
    cache = Cache(tmp_path, limit=size_of(5))
    rng = np.random.default_rng(0)
    for step in range(60):
        number = int(rng.integers(12))
        array = draw_array(number, rows=3 * number + 1)
        kept = open_bank(cache, {"number": number})
        if kept is None:
            kept = fill(cache, {"number": number}, array)
        os.utime(find_note(cache, {"number": number}), (step, step))
        np.testing.assert_array_equal(kept, array)
        on_disk = sum(path.stat().st_size - HEADER for path in cache.directory.glob("*.npy"))
        assert on_disk == sum(entry.bytes for entry in list_banks(cache)) <= cache.limit


def test_bank_that_was_removed_can_be_read_to_its_end_by_who_has_it(tmp_path: Path) -> None:
    cache = fill_three(tmp_path)
    kept = open_whole(cache, {"number": 0})
    clear_banks(cache)
    np.testing.assert_array_equal(kept, draw_array(0, rows=10))


def refuse_to_compute() -> Iterator[Array]:
    raise AssertionError("computed although it cannot be kept")
    yield


def test_bank_larger_than_the_limit_is_refused_and_removes_nothing(tmp_path: Path) -> None:
    cache = fill_three(tmp_path)
    before = list_files(cache)
    line = refuse(lambda: fill_bank(cache, KEY, (40, 3, 5), np.float32, refuse_to_compute()))
    assert "--cache-limit" in line
    assert "--no-cache" in line
    assert list_files(cache) == before


def test_disk_without_room_is_said_before_anything_is_computed(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(cache, {"images": "b"})
    before = list_files(cache)
    free = draw_array().nbytes - 1
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Disk(10**12, 10**12 - free, free))
    line = refuse(lambda: fill_bank(cache, KEY, (40, 3, 5), np.float32, refuse_to_compute()))
    assert str(cache.directory) in line
    assert "PNEUMOCLI_CACHE" in line
    assert list_files(cache) == before


def test_space_that_cannot_be_reserved_is_said_before_anything_is_computed(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "posix_fallocate", refuse_write, raising=False)
    line = refuse(lambda: fill_bank(cache, KEY, (40, 3, 5), np.float32, refuse_to_compute()))
    assert str(cache.directory) in line
    assert os.strerror(errno.ENOSPC) in line
    assert list_files(cache) == set()


def test_abandoned_partial_files_go_and_fresh_ones_of_others_stay(cache: Cache) -> None:
    cache.directory.mkdir(parents=True)
    abandoned = write_partial(cache, f".{name_bank(KEY)}.1.partial", ABANDONED_AFTER + 60)
    fresh = write_partial(cache, f".{name_bank(KEY)}.2.partial", ABANDONED_AFTER - 60)
    fill(cache)
    assert not abandoned.exists()
    assert fresh.read_bytes() == b"half"
    np.testing.assert_array_equal(open_whole(cache), draw_array())


def test_data_without_a_note_does_not_stay_for_ever(tmp_path: Path) -> None:
    # So it lies there after a process that ended between the two files.
    cache = fill_three(tmp_path)
    find_note(cache, {"number": 0}).unlink()
    os.utime(find_data(cache, {"number": 0}), (1000, 1000))
    fill(cache, {"number": 3}, draw_array(3, rows=20))
    assert not find_data(cache, {"number": 0}).exists()


def test_data_without_a_note_count_as_if_they_were_a_bank(tmp_path: Path) -> None:
    cache = fill_three(tmp_path)
    find_note(cache, {"number": 2}).unlink()  # as between the two files of a bank that is being filled
    fill(cache, {"number": 3}, draw_array(3, rows=10))
    assert list_kept(cache) == {1, 3}
    assert find_data(cache, {"number": 2}).exists()


def test_data_whose_process_was_killed_before_the_note_go_at_once(tmp_path: Path) -> None:
    cache = fill_three(tmp_path)
    find_note(cache, {"number": 2}).unlink()
    locate_lock(cache, name_bank({"number": 2})).touch()  # and nobody holds it
    fill(cache, {"number": 3}, draw_array(3, rows=10))
    assert list_kept(cache) == {0, 1, 3}
    assert not find_data(cache, {"number": 2}).exists()
    assert not locate_lock(cache, name_bank({"number": 2})).exists()


def test_clearing_removes_all_banks_and_says_how_much_that_was(cache: Cache) -> None:
    for number in range(3):
        fill(cache, {"number": number})
    other = cache.directory / "notes.txt"
    other.write_text("not a bank")
    assert clear_banks(cache) == 3 * draw_array().nbytes
    assert list_files(cache) == {"notes.txt"}
    assert open_bank(cache, {"number": 0}) is None
    assert clear_banks(cache) == 0


def test_clearing_leaves_what_another_process_is_filling(cache: Cache) -> None:
    fill(cache, {"a": 2})
    other = start_filling(cache, 1, "slow")
    assert read_line(other) == "filling"
    assert clear_banks(cache) == draw_array().nbytes
    assert other.communicate("\n")[0].split() == [str(5000.0 * 6)]
    assert open_bank(cache, {"a": 2}) is None
    assert open_bank(cache, {"a": 1}) is not None


def test_clearing_removes_data_without_a_note(cache: Cache) -> None:
    fill(cache)
    find_note(cache).unlink()
    clear_banks(cache)
    assert list_files(cache) == set()


def test_two_processes_do_not_count_on_the_same_room(cache: Cache) -> None:
    """Room for one and a half: while one is being filled, the other drives out what is whole, and no more."""
    whole = start_filling(replace(cache, limit=240_000), 1, "quick")
    whole.communicate()
    first = start_filling(replace(cache, limit=240_000), 2, "slow")
    assert read_line(first) == "filling"
    assert len(list_banks(cache)) == 1
    second = start_filling(replace(cache, limit=240_000), 3, "quick")
    second.communicate()
    assert [entry.key["a"] for entry in list_banks(cache)] == [3]
    first.communicate("\n")
    assert sorted(entry.key["a"] for entry in list_banks(cache)) == [2, 3]


def test_partial_file_of_a_killed_process_gives_its_room_back_at_once(cache: Cache) -> None:
    killed = start_filling(cache, 1, "slow")
    assert read_line(killed) == "filling"
    killed.kill()
    killed.communicate()
    assert len(list(cache.directory.glob(".*.partial"))) == 1
    start_filling(cache, 2, "quick").communicate()
    assert sorted(path.suffix for path in cache.directory.iterdir()) == [".json", ".npy"]
