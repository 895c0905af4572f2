"""oneDNN's kernels beside tensorflow's own, in one run: training steps and frozen layers, images a second.

    python examples/onednn_rates.py [--times 3]

Each figure is the fastest of some turns, the two by turns, each turn a process of its own; random images and
weights, which take as long as others. On processors with AVX512_VNNI both are oneDNN unless it is taken away.
"""

import argparse
import os
import subprocess
import sys
import time

IMAGES, WARMING, BATCH, ROUNDS = 96, 64, 32, 2
RECIPES = ("robust", "original")
WORK = {
    "training step": (False, "train"),
    "training step, one thread": (True, "train"),
    "frozen layers": (False, "trunk"),
}


def measure(recipe: str, part: str, deterministic: bool) -> float:
    """Return the most images a second of a few rounds, through the layers that train or the frozen ones."""
    from pneumocli.core.backend import load_backend

    load_backend(deterministic)
    import keras
    import numpy as np

    from pneumocli.core.config import choose_config
    from pneumocli.core.losses import build_focal_loss
    from pneumocli.core.model import build_parts

    config = choose_config(recipe)
    parts = build_parts(28, config, None, fold=1)
    rng = np.random.default_rng(0)
    entry = parts.tail.inputs if part == "train" else parts.trunk.inputs
    inputs = rng.uniform(0, 255 if part == "trunk" else 1, (IMAGES, *entry[0].shape[1:])).astype(np.float32)
    labels = np.arange(IMAGES) % 2
    if part == "train":
        model = keras.Model(parts.tail.inputs, parts.head(parts.tail.output))
        loss = build_focal_loss(labels, config.focal_gamma)
        model.compile(keras.optimizers.Adam(config.tune_learning_rate), loss, jit_compile=False)
        truth = labels.astype(np.float32)[:, np.newaxis]

    def work(count: int) -> None:
        if part == "train":
            model.fit(inputs[:count], truth[:count], BATCH, verbose=0)
        else:
            parts.trunk.predict(inputs[:count], BATCH, verbose=0)

    work(WARMING)
    seconds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        work(IMAGES)
        seconds.append(time.perf_counter() - started)
    return IMAGES / min(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=3, help="turns of each figure")
    parser.add_argument("--one", nargs=2, metavar=("RECIPE", "WORK"), help="one turn, its rate alone")
    arguments = parser.parse_args()
    if arguments.one:
        recipe, what = arguments.one
        deterministic, part = WORK[what]
        print(measure(recipe, part, deterministic))
        return
    print("| images a second | tensorflow's own | oneDNN | ratio |\n|---|---|---|---|", flush=True)
    for recipe in RECIPES:
        for what in WORK:
            rates = {"0": 0.0, "1": 0.0}
            for _ in range(arguments.times):
                for taken in rates:
                    command = [sys.executable, __file__, "--one", recipe, what]
                    environment = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": taken}
                    said = subprocess.check_output(command, env=environment, stderr=subprocess.DEVNULL)
                    rates[taken] = max(rates[taken], float(said))
            own, onednn = rates.values()
            print(f"| `{recipe}`, {what} | {own:.1f} | {onednn:.1f} | {onednn / own:.2f} |", flush=True)


if __name__ == "__main__":
    main()
