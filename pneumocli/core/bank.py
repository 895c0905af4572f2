"""Arrays on disk, named by all that they depend on, shared by runs, and bounded in size.

Each bank is two files: `<name>.npy`, which is mapped into memory and not read into it, and
`<name>.json` with its key and checksum, written last. What was used longest ago goes first.
"""

import hashlib
import json
import os
import shutil
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from pneumocli.core.errors import PneumoError
from pneumocli.core.files import flush_folder, write_json
from pneumocli.core.locking import HeldError, holding_file, is_held_file
from pneumocli.core.reading import read_json

CHUNK = 1 << 24  # bytes a step of the checksum
ROOM_PATIENCE = 120.0  # seconds; to reserve room takes a moment
ABANDONED_AFTER = 24 * 3600.0  # seconds after which a partial file belongs to nobody


@dataclass(frozen=True)
class Cache:
    """Where banks are kept, and how much they may take together.

    Attributes:
        directory: the banks' folder.
        limit: bytes.
    """

    directory: Path
    limit: int = 20 * 10**9


@dataclass(frozen=True)
class BankEntry:
    """One bank in the cache.

    Attributes:
        name: of its files, without ending.
        bytes: size on disk.
        used: seconds since the epoch, of its last use.
        key: what it depends on.
    """

    name: str
    bytes: int
    used: float
    key: Mapping[str, Any]


def name_bank(key: Mapping[str, Any]) -> str:
    """Return the name of the bank for a key of plain values: equal keys, equal names."""
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]


def open_bank(cache: Cache, key: Mapping[str, Any]) -> NDArray[Any] | None:
    """Return the bank of a key, mapped read-only, if it is there and whole; else None.

    A damaged bank is removed.
    """
    data, note = _paths(cache, name_bank(key))
    try:
        facts = read_json(note)
        kept = np.load(data, mmap_mode="r", allow_pickle=False)
        form = [list(kept.shape), str(kept.dtype)]
        whole = form == [facts["shape"], facts["dtype"]] and _sum_array(kept) == facts["crc32"]
    except FileNotFoundError:
        return None
    except Exception:  # numpy promises no list of what a damaged header can raise
        whole = False
    if not whole:
        _remove(cache, name_bank(key))
        return None
    with suppress(OSError):  # a cache that may only be read is read all the same
        os.utime(note)
    return kept


def fill_bank(
    cache: Cache,
    key: Mapping[str, Any],
    shape: tuple[int, ...],
    dtype: DTypeLike,
    batches: Iterable[NDArray[Any]],
) -> NDArray[Any]:
    """Write a bank batch by batch and return it, mapped read-only.

    Args:
        shape: of the whole array; the batches are its rows, in order.
        dtype: of the array on disk.

    Raises:
        PneumoError: it is larger than the cache may be, or the disk has no room.
    """
    name = name_bank(key)
    data, note = _paths(cache, name)
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    partial = data.with_name(f".{name}.{os.getpid()}.partial")
    try:
        with _dividing_room(cache):
            make_room(cache, size)
            start = np.lib.format.open_memmap(partial, mode="w+", dtype=dtype, shape=shape).offset
            _reserve(partial, cache)
        checksum, done = 0, 0
        # Written, not mapped: a fault for every new page would cost more than the copy.
        with partial.open("r+b") as file:
            file.seek(start)
            for batch in batches:
                if batch.shape[1:] != shape[1:]:
                    raise ValueError(f"a bank of rows of shape {shape[1:]} was given {batch.shape[1:]}")
                rows = np.ascontiguousarray(batch, dtype).data.cast("B")
                checksum = zlib.crc32(rows, checksum)
                file.write(rows)
                done += len(batch)
            if done != shape[0]:
                raise ValueError(f"a bank of {shape[0]} rows was given {done}")
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, data)
        flush_folder(cache.directory)
        # Opened before it is announced: from then on another process may remove it to make room.
        kept = np.load(data, mmap_mode="r", allow_pickle=False)
        facts = {
            "schema_version": 1,
            "shape": list(shape),
            "dtype": str(np.dtype(dtype)),
            "crc32": checksum,
            "bytes": size,
        }
        write_json(note, {**facts, "key": dict(key)})
    except BaseException:
        # Another process may have put the same bank there, whole: only what has no note goes.
        if not note.exists():
            data.unlink(missing_ok=True)
        raise
    finally:
        partial.unlink(missing_ok=True)
    return kept


@contextmanager
def claiming(cache: Cache, key: Mapping[str, Any], tell: Callable[[str], None]) -> Iterator[None]:
    """Keep a bank to this process while it is filled; another that needs the same one waits, and looks again.

    Args:
        tell: is told who fills it, if there is a wait.
    """
    cache.directory.mkdir(parents=True, exist_ok=True)
    with holding_file(_lock(cache, name_bank(key)), patience=-1, tell=tell):
        yield


def check_limit(cache: Cache, size: int) -> None:
    """Check that the cache may take `size` bytes, whatever is in it now.

    Raises:
        PneumoError: it may not.
    """
    if size > cache.limit:
        raise PneumoError(
            f"the features need {size / 1e9:.1f} GB, the cache may take {cache.limit / 1e9:.1f} GB; "
            "raise --cache-limit, use --no-cache, or train on a --subset or fewer --views"
        )


def make_room(cache: Cache, size: int) -> None:
    """Remove the banks used longest ago until `size` more bytes fit the cache's limit.

    Banks that other processes are filling count as if they were there.

    Raises:
        PneumoError: they never do, or the disk has no room for them.
    """
    check_limit(cache, size)
    cache.directory.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(cache)
    entries = sorted(list_banks(cache), key=lambda entry: entry.used)
    kept = sum(entry.bytes for entry in entries) + sum(_measure(path) for path in _list_partials(cache))
    for entry in entries:
        if kept + size <= cache.limit:
            break
        _remove(cache, entry.name)
        kept -= entry.bytes
    free = shutil.disk_usage(cache.directory).free
    if size > free:
        raise PneumoError(
            f"the features need {size / 1e9:.1f} GB, and {cache.directory} has {free / 1e9:.1f} GB free; "
            "set PNEUMOCLI_CACHE to a directory on another disk, or use --no-cache"
        )


def list_banks(cache: Cache) -> list[BankEntry]:
    """Return the whole banks of the cache."""
    entries = []
    for note in cache.directory.glob("*.json"):
        try:
            facts = read_json(note)
            entries.append(
                BankEntry(note.stem, int(facts["bytes"]), note.stat().st_mtime, dict(facts["key"]))
            )
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return entries


def clear_banks(cache: Cache) -> int:
    """Remove all banks and what killed processes have left, and return how many bytes that freed.

    What another process is filling stays, and is its own to finish.
    """
    entries = {entry.name: entry.bytes for entry in list_banks(cache)}
    # The notes first: without its note there is no bank.
    files = [path for pattern in ("*.json", "*.npy", ".*.partial") for path in cache.directory.glob(pattern)]
    freed = 0
    for path in files:
        name = path.name.lstrip(".").split(".")[0]
        if is_held_file(_lock(cache, name)):
            continue
        path.unlink(missing_ok=True)
        freed += entries.pop(name, 0)
    return freed


def _paths(cache: Cache, name: str) -> tuple[Path, Path]:
    return cache.directory / f"{name}.npy", cache.directory / f"{name}.json"


def _remove(cache: Cache, name: str) -> None:
    # The note first: without it there is no bank. Whoever has mapped the array keeps it.
    data, note = _paths(cache, name)
    note.unlink(missing_ok=True)
    data.unlink(missing_ok=True)


def _lock(cache: Cache, name: str) -> Path:
    return cache.directory / f".{name}.lock"


def _list_partials(cache: Cache) -> list[Path]:
    return list(cache.directory.glob(".*.partial"))


def _measure(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


@contextmanager
def _dividing_room(cache: Cache) -> Iterator[None]:
    """Let no other process count on the same room."""
    cache.directory.mkdir(parents=True, exist_ok=True)
    try:
        with holding_file(cache.directory / ".room.lock", patience=ROOM_PATIENCE):
            yield
    except HeldError as error:
        raise PneumoError(f"{cache.directory} is held by {error}; wait for its end") from None


def _remove_abandoned(cache: Cache) -> None:
    """Remove what a killed process has left: partial files, and data without a note."""
    for path in _list_partials(cache):
        # A process that ends otherwise takes its lock with it; the system has let go of this one.
        lock = _lock(cache, path.name.split(".")[1])
        if lock.exists() and not is_held_file(lock):
            path.unlink(missing_ok=True)
            lock.unlink(missing_ok=True)
    unnoted = (path for path in cache.directory.glob("*.npy") if not path.with_suffix(".json").exists())
    for path in (*_list_partials(cache), *unnoted):
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > ABANDONED_AFTER:
                path.unlink()


def _reserve(path: Path, cache: Cache) -> None:
    # Writing a mapped file on a full disk ends the process; reserved space cannot run out.
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    except OSError as error:
        raise PneumoError(
            f"{cache.directory} has no room for {path.stat().st_size / 1e9:.1f} GB of features "
            f"({error.strerror}); set PNEUMOCLI_CACHE to a directory on another disk, or use --no-cache"
        ) from None


def _sum_array(array: NDArray[Any]) -> int:
    flat = memoryview(array.reshape(-1).view(np.uint8))  # type: ignore[arg-type]
    checksum = 0
    for start in range(0, len(flat), CHUNK):
        checksum = zlib.crc32(flat[start : start + CHUNK], checksum)
    return checksum
