"""Small banks to fill, here and in other processes."""

import errno
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pneumocli.core.bank import fill_bank, name_bank, open_bank
from pneumocli.core.cache import Cache

Array = NDArray[Any]
KEY = {"images": "a", "view": 1}
HEADER = 128  # bytes before the data of a small .npy file


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


def refuse_write(*args: object, **settings: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def write_partial(cache: Cache, name: str, age: float) -> Path:
    path = cache.directory / name
    path.write_bytes(b"half")
    os.utime(path, (time.time() - age,) * 2)
    return path


FILL = """
import sys, time
from pathlib import Path
import numpy as np
from pneumocli.core.bank import claiming, fill_bank, open_bank
from pneumocli.core.cache import Cache

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
