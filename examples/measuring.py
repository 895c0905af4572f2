"""How the benchmark measures: commands as whole processes, the fastest of some runs, and the floor."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDS, HEAD_EPOCHS, TUNE_EPOCHS, BATCH = 3, 15, 5, 32


@dataclass(frozen=True)
class Timed:
    """One command as a whole.

    Attributes:
        seconds: from start to end.
        talk: what it said on stderr, each line with the seconds from the start.
        memory: the most anonymous memory of one of its processes, in bytes.
        memory_together: the most of all its processes at once, in bytes.
    """

    seconds: float
    talk: list[tuple[float, str]]
    memory: int
    memory_together: int

    def find(self, words: str) -> float:
        """Return the seconds until the first line with these words was said."""
        return next(seconds for seconds, line in self.talk if words in line)


class Bench:
    """What all rows share: the files, the number of images, a folder for runs and caches."""

    def __init__(self, data: Path, weights: Path, images: int, folder: Path) -> None:
        self.data, self.weights, self.images, self.folder = data, weights, images, folder
        self.runs = folder / "runs"
        self.fold_rows = images * (FOLDS - 1) // FOLDS

    def run(self, *words: str, cache: str = "cache") -> Timed:
        """Run pneumocli with a cache of its own, and watch its memory."""
        environment = {
            **os.environ,
            "PNEUMOCLI_DATA": str(self.data),
            "PNEUMOCLI_WEIGHTS": str(self.weights),
            "PNEUMOCLI_CACHE": str(self.folder / cache),
            "PNEUMOCLI_RUNS": str(self.runs),
        }
        command = [sys.executable, "-m", "pneumocli", *words]
        talk: list[tuple[float, str]] = []
        started = time.perf_counter()
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        assert process.stderr is not None
        with _WatchedMemory(process) as memory:
            for line in process.stderr:
                talk.append((time.perf_counter() - started, line))
            code = process.wait()
            seconds = time.perf_counter() - started
        if code:
            raise SystemExit(f"{' '.join(command)}: {''.join(line for _, line in talk)}")
        return Timed(seconds, talk, memory.largest, memory.together)

    def cross_validate(self, *words: str, cache: str = "cache", images: int | None = None) -> Timed:
        """Run the recipe "original", all its epochs, from an empty cache unless the cache's name is old."""
        return self.run(
            *(
                "cv",
                "--folds",
                str(FOLDS),
                "--recipe",
                "original",
                "--no-early-stopping",
                "--subset",
                str(images or self.images),
            ),
            *words,
            cache=cache,
        )


class _WatchedMemory:
    """The most that a process and those it starts have of their own, looked at twice a second."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self.largest = self.together = 0

    def __enter__(self) -> "_WatchedMemory":
        self._watcher.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._process.wait()
        self._watcher.join()

    def _watch(self) -> None:
        while self._process.poll() is None:
            each = list(count_anonymous(self._process.pid)) or [0]
            self.largest = max(self.largest, *each)
            self.together = max(self.together, sum(each))
            time.sleep(0.5)


def count_anonymous(pid: int) -> Iterator[int]:
    """Yield the own memory in bytes of a process and its children: mapped file pages are not counted."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Anonymous:"):
                yield int(line.split()[1]) * 1024
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in children.read_text().split():
                yield from count_anonymous(int(child))
    except (OSError, ValueError):
        return  # it has ended meanwhile


def fastest(work: Callable[[], Any], times: int = 3) -> float:
    """Return the seconds of the fastest of some runs, after one to warm up."""
    work()
    seconds = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def measure_rate(dtype: str) -> float:
    """Return the floating-point operations a second of a large matrix product."""
    import keras

    side = 2048
    one = keras.ops.cast(keras.random.normal((side, side)), dtype)
    return 2 * side**3 / fastest(lambda: float(keras.ops.matmul(one, one)[0, 0]), 5)


def count_operations(model: Any) -> int:
    """Return the floating-point operations of one image's products and convolutions."""
    total = 0
    for layer in model._flatten_layers():
        kernel = getattr(layer, "kernel", None)
        if kernel is not None:
            places = layer.output.shape[1:-1]
            per_place = 2
            for side in kernel.shape:
                per_place *= side
            total += per_place * int(_product(places))
    return total


def _product(sides: Any) -> int:
    result = 1
    for side in sides:
        result *= side
    return result
