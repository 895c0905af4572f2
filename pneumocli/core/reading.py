"""Opening what somebody else may have made: regular files only, JSON of bounded size and plain numbers."""

import errno
import io
import json
import math
import os
import stat
from io import BufferedReader
from pathlib import Path
from typing import Any, NoReturn, TextIO

LARGEST_JSON = 16_000_000  # bytes; what a run writes has some thousands
LARGEST_TEXT = 256_000_000  # bytes; a table of a million images has some 50 million


def open_file(path: str | Path) -> BufferedReader:
    """Open a regular file for reading; a pipe, a device or a socket is refused, never waited for.

    Raises:
        OSError: it cannot be opened, or is no regular file.
    """
    file = open(path, "rb", opener=_open_at_once)  # noqa: SIM115
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return file


def open_text(path: Path) -> TextIO:
    """Open a text file in UTF-8, with or without a byte order mark, its line ends as they are.

    Raises:
        OSError: as for `open_file`, or it is larger than `LARGEST_TEXT`.
    """
    file = open_file(path)
    if os.fstat(file.fileno()).st_size > LARGEST_TEXT:
        file.close()
        raise OSError(errno.EFBIG, f"larger than {LARGEST_TEXT / 1e6:g} MB", str(path))
    return io.TextIOWrapper(file, encoding="utf-8-sig", newline="")


def _open_at_once(path: str, flags: int) -> int:
    # Opening a pipe waits for whoever writes into it.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def read_json(path: Path) -> Any:
    """Return what a JSON file holds.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no JSON in UTF-8, too large, nested too deep, or has numbers that are none.
    """
    with open_file(path) as file:
        content = file.read(LARGEST_JSON + 1)
    return parse_json(content)


def parse_json(content: bytes) -> Any:
    """Return what JSON text holds; not-a-number and infinite numbers are refused, as `write_json` does.

    Raises:
        ValueError: as for `read_json`.
    """
    if len(content) > LARGEST_JSON:
        raise ValueError(f"larger than {LARGEST_JSON / 1e6:g} MB")
    try:
        return json.loads(content.decode("utf-8"), parse_constant=_refuse_number, parse_float=_read_float)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _refuse_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number")


def _read_float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is too large a number")
    return number
