"""The folder of the kept features: what is in it, how much room that takes, and what goes first.

A bank is two files there, `<name>.npy` and its note `<name>.json`; without its note there is none.
"""

import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pneumocli.core.errors import PneumoError
from pneumocli.core.locking import HeldError, holding_file, is_held_file
from pneumocli.core.reading import read_json

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


def locate_bank(cache: Cache, name: str) -> tuple[Path, Path]:
    """Return where a bank's array is and where its note, by the bank's name."""
    return cache.directory / f"{name}.npy", cache.directory / f"{name}.json"


def locate_lock(cache: Cache, name: str) -> Path:
    """Return the file that a process holds while it fills a bank."""
    return cache.directory / f".{name}.lock"


def remove_bank(cache: Cache, name: str) -> None:
    """Remove a bank, if it is there; whoever has mapped its array keeps it."""
    data, note = locate_bank(cache, name)
    note.unlink(missing_ok=True)  # first: without it there is no bank
    data.unlink(missing_ok=True)


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
    kept = sum(entry.bytes for entry in entries) + sum(_measure(path) for path in _list_unfinished(cache))
    for entry in entries:
        if kept + size <= cache.limit:
            break
        remove_bank(cache, entry.name)
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
        name = _name_bank_of(path)
        if is_held_file(locate_lock(cache, name)):
            continue
        path.unlink(missing_ok=True)
        freed += entries.pop(name, 0)
    return freed


@contextmanager
def dividing_room(cache: Cache) -> Iterator[None]:
    """Let no other process count on the same room.

    Raises:
        PneumoError: another one has been counting for too long.
    """
    cache.directory.mkdir(parents=True, exist_ok=True)
    try:
        with holding_file(cache.directory / ".room.lock", patience=ROOM_PATIENCE):
            yield
    except HeldError as error:
        raise PneumoError(f"{cache.directory} is held by {error}; wait for its end") from None


def _list_unfinished(cache: Cache) -> list[Path]:
    """Return what belongs to no whole bank: partial files, and data without a note."""
    unnoted = (path for path in cache.directory.glob("*.npy") if not path.with_suffix(".json").exists())
    return [*cache.directory.glob(".*.partial"), *unnoted]


def _name_bank_of(path: Path) -> str:
    return path.name.lstrip(".").split(".")[0]


def _measure(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _remove_abandoned(cache: Cache) -> None:
    """Remove what a killed process has left unfinished."""
    unfinished = _list_unfinished(cache)
    locks = {locate_lock(cache, _name_bank_of(path)) for path in unfinished}
    # A process that ends otherwise takes its lock with it; of these the system has let go.
    ended = {lock for lock in locks if lock.exists() and not is_held_file(lock)}
    for path in unfinished:
        with suppress(FileNotFoundError):
            is_old = time.time() - path.stat().st_mtime > ABANDONED_AFTER
            if is_old or locate_lock(cache, _name_bank_of(path)) in ended:
                path.unlink()
    for lock in ended:
        lock.unlink(missing_ok=True)
