"""Writes that fail: the n-th thing that is written below a folder, whoever writes it.

The system's own audit events tell of every file that is opened for writing, every rename and every new
folder, also from inside Keras, numpy, zipfile and Pillow; `os.fsync`, which has no event, is wrapped.
"""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CODES = (errno.ENOSPC, errno.EIO, errno.EACCES)
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Faults:
    """Counts what is written below a folder, and lets the n-th of it fail; n = 0 lets all succeed."""

    def __init__(self, folder: Path, number: int) -> None:
        self.folder, self.number, self.count = str(folder), number, 0
        self.code = CODES[number % len(CODES)]

    def pass_one(self, place: object) -> None:
        if not isinstance(place, str | os.PathLike) or not os.fspath(place).startswith(self.folder):
            return
        self.count += 1
        # A full disk stays full, and a permission is not given back; a bad sector is one.
        fails = self.count == self.number if self.code == errno.EIO else self.count >= self.number
        if self.number and fails:
            raise OSError(self.code, os.strerror(self.code), os.fspath(place))


_armed: list[Faults] = []


def _listen(event: str, args: tuple[Any, ...]) -> None:
    if not _armed:
        return
    opened_for_writing = event == "open" and isinstance(args[2], int) and args[2] & WRITING
    if opened_for_writing or event == "os.mkdir":
        _armed[0].pass_one(args[0])
    elif event == "os.rename":
        _armed[0].pass_one(args[1])


sys.addaudithook(_listen)


@contextmanager
def failing(folder: Path, number: int) -> Iterator[Faults]:
    """Let the write of this number, from 1, fail in the block, and with some codes all after it."""
    faults = Faults(folder, number)
    flush = os.fsync

    def fsync(descriptor: int) -> None:
        faults.pass_one(os.readlink(f"/proc/self/fd/{descriptor}"))
        flush(descriptor)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        _armed.append(faults)
        try:
            yield faults
        finally:
            _armed.clear()
