"""Answer for many small files, and say at what rate and in what memory; check that each was answered once.

python examples/load.py FOLDER                                  # 20,000 files, one process
python examples/load.py FOLDER --jobs 2 --broken 0.01           # two processes, 1 % of the files broken

The files and a small model (ResNet-50 at 32 px on drawn images, random weights) are made in FOLDER if they
are not there. Exit code 1 if an answer is missing, doubled or out of order, if a broken file was answered, or
if the memory of the processes together grew by more than 200 MB after the thousandth row.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from measuring import count_anonymous
from PIL import Image

from pneumocli.core.synthetic import draw_dataset

TRAIN = (
    "train --name small --data synthetic --weights none --recipe original --image-size 32 --subset 24 "
    "--head-epochs 1 --tune-epochs 1 --quiet"
)
DRAWN = 200  # different images; each is written many times
SETTLED = 1000  # rows after which memory is not to grow
GROWTH = 200e6  # bytes
MB = 1e6


@dataclass
class Watched:
    """Own memory of a command, looked at four times a second, in bytes: (rows so far, driver, workers)."""

    samples: list[tuple[int, int, list[int]]] = field(default_factory=list)
    rows: int = 0

    def watch(self, process: "subprocess.Popen[str]") -> None:
        while process.poll() is None:
            driver, *workers = list(count_anonymous(process.pid)) or [0]
            self.samples.append((self.rows, driver, workers))
            time.sleep(0.25)


def write_files(folder: Path, files: int, broken: float) -> tuple[list[str], set[str]]:
    """Write PNG files of 28 px, of which a share is cut off, and return all paths and the broken ones."""
    folder.mkdir(parents=True, exist_ok=True)
    chests = draw_dataset(seed=1, test=DRAWN, train=3, val=3).test.images
    contents = []
    for chest in chests:
        Image.fromarray(chest).save(folder / "one.png")
        contents.append((folder / "one.png").read_bytes())
    (folder / "one.png").unlink()
    bad = set(random.Random(0).sample(range(files), round(files * broken)))
    names = []
    for number in range(files):
        path = folder / f"{number:06}.png"
        content = contents[number % DRAWN]
        path.write_bytes(content[: len(content) // 2] if number in bad else content)
        names.append(str(path))
    return names, {names[number] for number in bad}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--broken", type=float, default=0.0, help="share of the files, 0 to 1")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--deterministic", action="store_true")
    asked = parser.parse_args()
    runs = asked.folder / "runs"
    command = [sys.executable, "-m", "pneumocli"]
    if not (runs / "small").is_dir():
        subprocess.run([*command, *TRAIN.split(), "--runs", runs], check=True, stdout=subprocess.DEVNULL)
    place = asked.folder / f"files_{asked.files}_{asked.broken}"
    names, bad = write_files(place, asked.files, asked.broken)
    (asked.folder / "list.txt").write_text("\n".join(names))
    words = ["predict", "--files-from", asked.folder / "list.txt", "--model", runs / "small", "--quiet"]
    words += ["--format", "jsonl", "--jobs", asked.jobs]
    words += ["--deterministic"] if asked.deterministic else []
    watched = Watched()
    started = time.perf_counter()
    process = subprocess.Popen(
        [*command, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    # Failures are on stderr too: it must not fill up.
    said: list[str] = []
    assert process.stdout is not None and process.stderr is not None
    talk = process.stderr
    threads = [
        threading.Thread(target=watched.watch, args=(process,)),
        threading.Thread(target=lambda: said.extend(talk)),
    ]
    for thread in threads:
        thread.start()
    answered: list[str] = []
    failed: set[str] = set()
    first = settling = 0.0
    begun = 0  # rows of the first second: of several processes a whole round comes at once
    for line in process.stdout:
        row = json.loads(line)
        now = time.perf_counter()
        first = first or now
        if now - first < 1:
            begun, settling = len(answered) + 1, now
        answered.append(row["path"])
        if row["error"] is not None:
            failed.add(row["path"])
        watched.rows += 1
    last = time.perf_counter()
    code = process.wait()
    for thread in threads:
        thread.join()
    faults = []
    if code != (4 if bad else 0):
        faults.append(f"exit code {code}: {''.join(said[-3:])}")
    if answered != names:
        missing, doubled = len(set(names) - set(answered)), len(answered) - len(set(answered))
        faults.append(f"{missing} missing, {doubled} doubled, or not in the order of the list")
    if failed != bad:
        faults.append(f"{len(failed ^ bad)} broken files answered, or good ones not")
    settled = [(driver, workers) for rows, driver, workers in watched.samples if rows >= SETTLED]
    together = [driver + sum(workers) for driver, workers in settled] or [0]
    growth = max(together) - together[0]
    if growth > GROWTH:
        faults.append(f"memory grew by {growth / MB:.0f} MB")
    result = {
        "files": len(names),
        "broken": len(bad),
        "jobs": asked.jobs,
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 1),
        "start_s": round(first - started, 1),
        "seconds": round(last - started, 1),
        "rate": round((len(answered) - begun) / max(1e-9, last - settling), 1),
        "driver_mb": round(max(driver for _, driver, _ in watched.samples) / MB),
        "worker_mb": round(max((max(workers, default=0) for *_, workers in watched.samples)) / MB),
        "together_mb": round(max(together) / MB),
        "growth_mb": round(growth / MB),
        "faults": faults,
    }
    print(json.dumps(result))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
