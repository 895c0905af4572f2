"""Files that are whole or not there: written beside their place, flushed, then moved into it."""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pneumocli.core.reading import open_file


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path in the same directory; what is written there becomes `path` at the end.

    If the block fails, nothing is left and `path` is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays last: libraries choose a file's format by it.
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
        flush_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def filling(path: Path) -> Iterator[Path]:
    """Give a temporary folder that becomes `path` at the end of the block, and is removed if it fails.

    What a killed process has left of the same folder is removed: no two may fill it at once.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    for abandoned in path.parent.glob(f".{path.name}.*.partial"):
        shutil.rmtree(abandoned, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        flush_folder(partial)
        os.replace(partial, path)
        flush_folder(path.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def find_existing(place: Path) -> Path:
    """Return a place, or the nearest folder above it that is there: whose disk it is or will be on."""
    place = place.absolute()
    while not place.exists():
        place = place.parent
    return place


def flush_folder(path: Path) -> None:
    """Have a folder's entries, as they are now, outlast a loss of power."""
    # Only POSIX lets a folder be opened, and some network file systems refuse to flush one.
    with suppress(OSError):
        folder = os.open(path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def remove_partials(folder: Path, older_than: float = 0.0) -> None:
    """Remove what processes that were killed have left half written, in a folder and those in it.

    Args:
        older_than: seconds; more than any writing takes, where other processes may be writing.
    """
    for partial in list(folder.rglob(".*.partial*")):
        with suppress(FileNotFoundError):
            if time.time() - partial.stat().st_mtime < older_than:
                continue
            if partial.is_dir():
                shutil.rmtree(partial)
            else:
                partial.unlink()


def write_json(path: Path, content: Any) -> None:
    """Write `content` as indented JSON; not-a-number is refused, since JSON has no word for it."""
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal digits."""
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
