"""The bank: the same key gives the same bytes, a damaged one nothing, and all together keep their limit."""

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from pneumocli.core.bank import (
    ABANDONED_AFTER,
    Cache,
    clear_banks,
    fill_bank,
    list_banks,
    make_room,
    name_bank,
    open_bank,
)
from pneumocli.core.errors import PneumoError

Array = NDArray[Any]
KEY = {"images": "a", "view": 1}
HEADER = 128  # bytes before the data of a small .npy file


class Disk(NamedTuple):
    total: int
    used: int
    free: int


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "bank")


def draw_array(seed: int = 0, rows: int = 40) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(rows, 3, 5)).astype(np.float32)


def cut_up(array: Array, size: int = 16) -> Iterator[Array]:
    return (array[start : start + size] for start in range(0, len(array), size))


def fill(cache: Cache, key: dict[str, Any] = KEY, array: Array | None = None) -> Array:
    array = draw_array() if array is None else array
    return fill_bank(cache, key, array.shape, array.dtype, cut_up(array))


def open_whole(cache: Cache, key: dict[str, Any] = KEY) -> Array:
    kept = open_bank(cache, key)
    assert kept is not None
    return kept


def find_data(cache: Cache, key: dict[str, Any] = KEY) -> Path:
    return cache.directory / f"{name_bank(key)}.npy"


def find_note(cache: Cache, key: dict[str, Any] = KEY) -> Path:
    return cache.directory / f"{name_bank(key)}.json"


def list_files(cache: Cache) -> set[str]:
    return {path.name for path in cache.directory.iterdir()}


def replace_content(path: Path, content: bytes) -> None:
    # A new file, so that what is mapped from the old one stays as it is.
    path.unlink()
    path.write_bytes(content)


def refuse(call: Callable[[], object]) -> str:
    """The line that says why there is no room."""
    with pytest.raises(PneumoError) as caught:
        call()
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


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


# numpy leaves a file open that looks like an archive and is none.
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


def refuse_write(*args: object, **settings: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


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


def write_partial(cache: Cache, name: str, age: float) -> Path:
    path = cache.directory / name
    path.write_bytes(b"half")
    os.utime(path, (time.time() - age,) * 2)
    return path


def test_abandoned_partial_files_go_and_fresh_ones_of_others_stay(cache: Cache) -> None:
    cache.directory.mkdir(parents=True)
    abandoned = write_partial(cache, f".{name_bank(KEY)}.1.partial", ABANDONED_AFTER + 60)
    fresh = write_partial(cache, f".{name_bank(KEY)}.2.partial", ABANDONED_AFTER - 60)
    fill(cache)
    assert not abandoned.exists()
    assert fresh.read_bytes() == b"half"
    np.testing.assert_array_equal(open_whole(cache), draw_array())


def test_partial_file_of_a_stopped_process_of_the_same_number_is_overwritten(cache: Cache) -> None:
    cache.directory.mkdir(parents=True)
    write_partial(cache, f".{name_bank(KEY)}.{os.getpid()}.partial", 60)
    np.testing.assert_array_equal(fill(cache), draw_array())
    assert list_files(cache) == {find_data(cache).name, find_note(cache).name}


def test_data_without_a_note_does_not_stay_for_ever(tmp_path: Path) -> None:
    # So it lies there after a process that ended between the two files.
    cache = fill_three(tmp_path)
    find_note(cache, {"number": 0}).unlink()
    os.utime(find_data(cache, {"number": 0}), (1000, 1000))
    fill(cache, {"number": 3}, draw_array(3, rows=20))
    assert not find_data(cache, {"number": 0}).exists()


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


def test_cache_that_may_only_be_read_is_read(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse_time(*args: object, **settings: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    fill(cache)
    monkeypatch.setattr(os, "utime", refuse_time)
    np.testing.assert_array_equal(open_whole(cache), draw_array())


FILL = """
import sys, time
from pathlib import Path
import numpy as np
from pneumocli.core.bank import Cache, claiming, fill_bank, open_bank

cache, slow = Cache(Path(sys.argv[1]), limit=int(sys.argv[2])), sys.argv[4] == "slow"
key = {"a": int(sys.argv[3])}

def batches():
    print("filling", flush=True)
    for part in range(4):
        time.sleep(0.2 if slow else 0)
        yield np.full((5, 1000), part, np.float32)
    if slow:
        sys.stdin.readline()

with claiming(cache, key, lambda holder: print(f"waits for {holder}", flush=True)):
    bank = open_bank(cache, key)
    if bank is None:
        bank = fill_bank(cache, key, (20, 1000), np.float32, batches())
print(float(bank.sum()), flush=True)
"""


def start_filling(cache: Cache, number: int, speed: str) -> "subprocess.Popen[str]":
    pipe = subprocess.PIPE
    words = [sys.executable, "-c", FILL, str(cache.directory), str(cache.limit), str(number), speed]
    return subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def read_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_two_processes_that_need_one_bank_fill_it_once(cache: Cache) -> None:
    first = start_filling(cache, 1, "slow")
    assert read_line(first) == "filling"
    second = start_filling(cache, 1, "quick")
    assert read_line(second).startswith(f"waits for process {first.pid} ")
    assert first.communicate("\n")[0].split() == [str(5000.0 * 6)]
    assert second.communicate()[0].split() == [str(5000.0 * 6)]
    assert sorted(path.suffix for path in cache.directory.iterdir()) == [".json", ".npy"]


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
