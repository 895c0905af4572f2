"""Arrays on disk, named by all that they depend on, and shared by runs.

Each bank is two files: `<name>.npy`, which is mapped into memory and not read into it, and
`<name>.json` with its key and checksum, written last.
"""

import hashlib
import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from pneumocli.core.cache import Cache, dividing_room, locate_bank, locate_lock, make_room, remove_bank
from pneumocli.core.errors import PneumoError
from pneumocli.core.files import flush_folder, write_json
from pneumocli.core.locking import holding_file
from pneumocli.core.reading import read_json

CHUNK = 1 << 24  # bytes a step of the checksum


def name_bank(key: Mapping[str, Any]) -> str:
    """Return the name of the bank for a key of plain values: equal keys, equal names."""
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]


def open_bank(cache: Cache, key: Mapping[str, Any]) -> NDArray[Any] | None:
    """Return the bank of a key, mapped read-only, if it is there, can be read and is whole; else None.

    A damaged bank is removed.
    """
    data, note = locate_bank(cache, name_bank(key))
    try:
        facts = read_json(note)
        kept = np.load(data, mmap_mode="r", allow_pickle=False)
        form = [list(kept.shape), str(kept.dtype)]
        whole = form == [facts["shape"], facts["dtype"]] and _sum_array(kept) == facts["crc32"]
    except (OSError, MemoryError):  # not there, or not to be read by this process now: that is no damage
        return None
    except Exception:  # numpy promises no list of what a damaged header can raise
        whole = False
    if not whole:
        remove_bank(cache, name_bank(key))
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
    data, note = locate_bank(cache, name)
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    partial = data.with_name(f".{name}.{os.getpid()}.partial")
    try:
        with dividing_room(cache):
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
    with holding_file(locate_lock(cache, name_bank(key)), patience=-1, tell=tell):
        yield


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
