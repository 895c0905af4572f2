"""What `predict` costs on many workers: a simulation of its rounds, with measured rates.

python examples/scale.py                                         # the table of scale.md
python examples/scale.py --images 20000 --workers 2 --rate 85.5  # seconds of one case

`predict` gives out rounds of 8 tasks a worker, 128 images a task, and writes a round's rows before the next
one begins (pneumocli/core/shards.py). A worker reads the files of its task from a file server that all
share, in turn, while it computes.
"""

import argparse
import heapq
from dataclasses import dataclass

SHARD, ROUND = 128, 8  # as in pneumocli/core/shards.py; a test compares them


@dataclass(frozen=True)
class Setting:
    """What was measured, or is assumed.

    Attributes:
        rate: images a second of a worker.
        start: seconds until a worker has Keras and the model.
        image_bytes: of a file.
        server: bytes a second of the file server, for all workers together.
        row: seconds that the first process takes for a row.
        task: seconds that a task costs beside its images.
    """

    rate: float
    start: float = 20.0
    image_bytes: float = 200e3
    server: float = 1.1e9
    row: float = 2.5e-5
    task: float = 0.01


def simulate(images: int, workers: int, setting: Setting) -> float:
    """Return the seconds from the start of the command to its last row."""
    clock = setting.start
    server_free = 0.0
    left = images
    while left:
        free = [clock] * workers  # when each worker is free; a heap, since all are equal
        of_round = min(left, ROUND * workers * SHARD)
        left -= of_round
        end = clock
        for first in range(0, of_round, SHARD):
            count = min(SHARD, of_round - first)
            begun = heapq.heappop(free)
            server_free = max(server_free, begun) + count * setting.image_bytes / setting.server
            done = max(begun + setting.task + count / setting.rate, server_free)
            heapq.heappush(free, done)
            end = max(end, done)
        clock = end + of_round * setting.row
    return clock


def show_time(seconds: float) -> str:
    """Return a time in the unit that it is best read in."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def tabulate(setting: Setting) -> str:
    """Return the table of scale.md: 10^5 and 10^7 images on 1, 8 and 64 workers."""
    lines = ["| images | workers | time | of n times as fast | read | network |", "|---|---|---|---|---|---|"]
    for images in (10**5, 10**7):
        alone = simulate(images, 1, setting)
        for workers in (1, 8, 64):
            seconds = simulate(images, workers, setting)
            read = images * setting.image_bytes
            share = alone / seconds / workers
            lines.append(
                f"| {images:,} | {workers} | {show_time(seconds)} | {share:.0%} | {read / 1e9:,.0f} GB | "
                f"{read / seconds / 1e6:.0f} MB/s |"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=int)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--rate", type=float, default=22.2, help="images a second of a worker")
    parser.add_argument("--start", type=float, default=Setting.start)
    parser.add_argument("--image-bytes", type=float, default=Setting.image_bytes)
    asked = parser.parse_args()
    setting = Setting(asked.rate, asked.start, asked.image_bytes)
    if asked.images is None:
        print(tabulate(setting))
    else:
        print(f"{simulate(asked.images, asked.workers, setting):.1f} s")


if __name__ == "__main__":
    main()
