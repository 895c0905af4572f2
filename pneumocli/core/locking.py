"""Locks between processes: one holds a file, the others are told which; a killed holder lets go of it."""

import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from pneumocli.core.errors import PneumoError
from pneumocli.core.reading import read_json
from pneumocli.core.records import stamp_time


class HeldError(PneumoError):
    """Another process holds a lock; the message says which, since when."""


@contextmanager
def holding_file(
    path: Path, *, patience: float = 0.0, tell: Callable[[str], None] | None = None
) -> Iterator[None]:
    """Hold a lock file to the end of the block. The system lets go of it if the process is killed.

    Args:
        path: the lock file, in a directory that is there; it is removed at the end.
        patience: seconds to wait for another holder; -1 is no limit.
        tell: is told who holds it, when there is a wait.

    Raises:
        HeldError: another process holds it and goes on doing so.
    """

    def sign(descriptor: int) -> None:
        words = {"pid": os.getpid(), "host": socket.gethostname(), "since": stamp_time()[:19] + "Z"}
        os.ftruncate(descriptor, 0)
        os.write(descriptor, json.dumps(words).encode())

    lock = FileLock(path, on_acquired=sign)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if not patience:
            raise HeldError(describe_holder(path)) from None
        if tell is not None:
            tell(describe_holder(path))
        try:
            lock.acquire(timeout=patience)
        except Timeout:
            raise HeldError(describe_holder(path)) from None
    try:
        yield
    finally:
        # Removed while it is held: whoever waits for this file finds it gone and makes it anew.
        path.unlink(missing_ok=True)
        lock.release()


def describe_holder(path: Path) -> str:
    """Return who holds a lock file: "process 123 on host, since ...", or "another process"."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        words = read_json(path)
        return f"process {words['pid']} on {words['host']}, since {words['since']}"
    return "another process"


def is_held_file(path: Path) -> bool:
    """Return whether another process, or another lock of this one, holds the file."""
    if not path.exists():
        return False
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False
