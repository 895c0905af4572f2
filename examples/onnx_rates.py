"""ONNX Runtime beside Keras, in one run: one image from a cold start, a folder, and how far answers differ.

    python examples/onnx_rates.py --model runs/cv-1 --images xrays/ [--times 5]

The run must have its ONNX file (`pneumocli export`). Each figure is the shortest of some runs, the two
engines by turns. Processor time is that of both cores together.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ENGINES = ("onnx", "keras")


def answer(model: Path, engine: str, paths: list[str]) -> tuple[float, float, list[dict[str, Any]]]:
    """Run `predict` as a process; return its seconds, its processor time in seconds, and its rows."""
    words = ["predict", *paths, "--model", str(model), "--engine", engine, "--format", "json", "--quiet"]
    before, started = os.times(), time.perf_counter()
    command = [sys.executable, "-m", "pneumocli", *words]
    done = subprocess.run(command, capture_output=True, text=True)
    seconds, after = time.perf_counter() - started, os.times()
    if done.returncode:
        sys.exit(done.stderr)
    worked = after.children_user + after.children_system - before.children_user - before.children_system
    return seconds, worked, json.loads(done.stdout)["predictions"]


def time_scoring(model: Path, images: Any, times: int) -> dict[str, tuple[float, float]]:
    """Return of each engine the images a second, and the processor time of an image, once it is opened."""
    from pneumocli.core.engine import open_predictor
    from pneumocli.core.finding import find_predictor

    found = find_predictor(Path("runs"), model)
    scorers = {"onnx": open_predictor(found, "onnx").scorer, "keras": open_predictor(found, "keras").scorer}
    best = dict.fromkeys(ENGINES, (float("inf"), float("inf")))
    for turn in range(times + 1):
        for engine, scorer in scorers.items():
            started, worked = time.perf_counter(), time.process_time()
            for start in range(0, len(images), scorer.batch_size):
                scorer.score(images[start : start + scorer.batch_size], scorer.batch_size)
            if turn:  # the first warms up
                taken = time.perf_counter() - started, time.process_time() - worked
                best[engine] = tuple(map(min, best[engine], taken))
    return {engine: (len(images) / wall, cpu / len(images)) for engine, (wall, cpu) in best.items()}


def compare(rows: dict[str, list[dict[str, Any]]], name: str, of: Callable[[Any, Any], float]) -> float:
    pairs = zip(rows["onnx"], rows["keras"], strict=True)
    return max(of(one[name], other[name]) for one, other in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="a run with its ONNX file")
    parser.add_argument("--images", type=Path, required=True, help="a folder of image files")
    parser.add_argument("--times", type=int, default=5, help="runs of each figure")
    parser.add_argument("--scored", type=int, default=64, help="images of the rate")
    arguments = parser.parse_args()
    import numpy as np

    paths = sorted(str(path) for path in arguments.images.rglob("*") if path.is_file())
    cold = dict.fromkeys(ENGINES, (float("inf"), float("inf")))
    for _ in range(arguments.times):
        for engine in ENGINES:
            seconds, worked, _rows = answer(arguments.model, engine, paths[:1])
            cold[engine] = tuple(map(min, cold[engine], (seconds, worked)))
    rows = {engine: answer(arguments.model, engine, paths)[2] for engine in ENGINES}
    from pneumocli.core.images import Picture, read_images

    pixels = json.loads((arguments.model / "config.json").read_text())["data"]["pixels"]
    read = [one.pixels for _, one in read_images(list(map(Path, paths)), pixels) if isinstance(one, Picture)]
    images = np.resize(np.stack(read), (arguments.scored, pixels, pixels))
    rates = time_scoring(arguments.model, images, arguments.times)
    print("| what | ONNX Runtime | Keras |\n|---|---|---|")
    for what, unit, place in (("from start to answer", "s", 0), ("processor time of it", "s", 1)):
        print(f"| one image, {what} | {cold['onnx'][place]:.2f} {unit} | {cold['keras'][place]:.2f} {unit} |")
    print(f"| images a second, opened | {rates['onnx'][0]:.1f} | {rates['keras'][0]:.1f} |")
    print(f"| processor time an image | {rates['onnx'][1]:.3f} s | {rates['keras'][1]:.3f} s |")
    largest = compare(rows, "probability", lambda one, other: abs(one - other))
    far = compare(rows, "distance", lambda one, other: abs((one or 0) - (other or 0)))
    same = compare(rows, "label", lambda one, other: float(one != other)) == 0
    print(f"| largest difference of {len(paths)} probabilities | {largest:.1e} | |")
    print(f"| largest difference of their distances | {far:.1e} | |")
    print(f"| labels | {'all the same' if same else 'NOT the same'} | |")


if __name__ == "__main__":
    main()
