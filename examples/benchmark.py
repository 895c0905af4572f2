"""How fast, as ratios taken in one run on one machine, each beside the floor that arithmetic sets.

    python examples/benchmark.py --data pneumoniamnist.npz --weights weights.h5 [ROW ...]

Rows: cv views jobs cache precision ensemble predict again grow folds, all of them by default; `cv`,
`views` and `grow` train on all images and take most of the time, `--images N` takes fewer. The floor
is the number of floating-point operations that cannot be avoided over the rate that a large matrix
product reaches on the same machine; it counts products only, no reading and no writing.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pneumocli.core.backend import load_backend

FOLDS, HEAD_EPOCHS, TUNE_EPOCHS, BATCH = 3, 15, 5, 32
VIEWS = ("--views", "4", "--crop-area", "0.25", "--flip", "--brightness", "0.3", "--contrast", "0.3")


@dataclass(frozen=True)
class Timed:
    """One command: seconds from start to end, its most anonymous memory in bytes, and what it said."""

    seconds: float
    memory: int
    talk: str


@dataclass(frozen=True)
class Row:
    """One line of the table: what was compared, both sides in words, the ratio, the floor in words."""

    name: str
    ours: str
    theirs: str
    ratio: float
    floor: str = ""


class Bench:
    """What all rows share: the files, the number of images, a folder for runs and caches."""

    def __init__(self, data: Path, weights: Path, images: int, folder: Path) -> None:
        self.data, self.weights, self.images, self.folder = data, weights, images, folder
        self.fold_rows = images * (FOLDS - 1) // FOLDS

    def run(self, *words: str, cache: str = "cache") -> Timed:
        """Run pneumocli with a cache of its own, and watch its memory (children counted in)."""
        environment = {
            **os.environ,
            "PNEUMOCLI_DATA": str(self.data),
            "PNEUMOCLI_WEIGHTS": str(self.weights),
            "PNEUMOCLI_CACHE": str(self.folder / cache),
            "PNEUMOCLI_RUNS": str(self.folder / "runs"),
        }
        started = time.perf_counter()
        command = [sys.executable, "-m", "pneumocli", *words]
        with tempfile.TemporaryFile("w+") as talk:
            process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=talk)
            most = [0]
            watcher = threading.Thread(target=_watch_memory, args=(process, most), daemon=True)
            watcher.start()
            code = process.wait()
            seconds = time.perf_counter() - started
            watcher.join()
            talk.seek(0)
            said = talk.read()
        if code:
            raise SystemExit(f"{' '.join(command)}: {said}")
        return Timed(seconds, most[0], said)

    def cross_validate(self, *words: str, cache: str = "cache", images: int | None = None) -> Timed:
        """Run the recipe "original", all its epochs, from an empty cache unless the cache's name is old."""
        return self.run(
            *("cv", "--folds", str(FOLDS), "--no-early-stopping", "--subset", str(images or self.images)),
            *words,
            cache=cache,
        )


def _watch_memory(process: "subprocess.Popen[bytes]", most: list[int]) -> None:
    while process.poll() is None:
        most[0] = max(most[0], _count_anonymous(process.pid))
        time.sleep(0.5)


def _count_anonymous(pid: int) -> int:
    """Return a process's own memory in bytes: mapped file pages are not counted."""
    total = 0
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Anonymous:"):
                total += int(line.split()[1]) * 1024
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            total += _count_anonymous(int(child))
    except (OSError, ValueError):
        pass
    return total


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


def time_plain_recipe(bench: Bench, sample: int = 256) -> float:
    """Return the seconds of the same cross-validation written by hand, projected from an epoch a phase.

    The whole network sees every image in every epoch; `compile` and `fit` are left as they are.
    """
    import keras
    import numpy as np

    with np.load(bench.data) as arrays:
        images, labels = arrays["train_images"][:sample], arrays["train_labels"][:sample].ravel()
    grey = keras.ops.image.resize(np.repeat(images[..., None], 3, -1).astype("float32"), (224, 224))
    pixels = keras.applications.resnet50.preprocess_input(np.array(grey))
    backbone = keras.applications.ResNet50(
        include_top=False, weights=str(bench.weights), input_shape=(224, 224, 3)
    )
    hidden = keras.layers.Dense(1024, activation="relu")(
        keras.layers.GlobalAveragePooling2D()(backbone.output)
    )
    model = keras.Model(backbone.input, keras.layers.Dense(1)(hidden))
    loss = keras.losses.BinaryFocalCrossentropy(from_logits=True)

    def time_epoch(trainable: int, learning_rate: float) -> float:
        for position, layer in enumerate(backbone.layers):
            tuned = position >= len(backbone.layers) - trainable
            layer.trainable = tuned and not isinstance(layer, keras.layers.BatchNormalization)
        model.compile(keras.optimizers.Adam(learning_rate), loss)
        return fastest(lambda: model.fit(pixels, labels, batch_size=BATCH, verbose=0)) / sample

    head, tune = time_epoch(0, 1e-4), time_epoch(40, 1e-5)
    score = fastest(lambda: model.predict(pixels, batch_size=BATCH, verbose=0)) / sample
    epochs = HEAD_EPOCHS * head + TUNE_EPOCHS * tune
    return FOLDS * (bench.fold_rows * epochs + 524 * (HEAD_EPOCHS + TUNE_EPOCHS) * score)


def build_real_parts(bench: Bench, precision: str = "float32") -> Any:
    from pneumocli.core.config import Precision, TrainConfig
    from pneumocli.core.model import build_parts

    return build_parts(28, TrainConfig(), bench.weights, precision=Precision(precision))


def describe_cv_floor(bench: Bench, views: int) -> str:
    """Return how long the products of a cross-validation take at the rate of a large matrix product."""
    parts = build_real_parts(bench)
    trunk, tail = count_operations(parts.trunk), count_operations(parts.tail)
    passes = (bench.images * (1 + views) + 524) * trunk + bench.images * max(views, 1) * tail
    scores = bench.images * tail + FOLDS * 524 * (TUNE_EPOCHS + 1) * tail
    # A step is the forward pass, and two products as large for the layers that train.
    steps = FOLDS * TUNE_EPOCHS * bench.fold_rows * tail * 3
    seconds = (passes + scores) / measure_rate("float32") + steps / measure_rate("bfloat16")
    return f"{seconds / 60:.1f} min"


def row_cv(bench: Bench) -> list[Row]:
    plain = time_plain_recipe(bench)
    ours = bench.cross_validate(cache="cv")
    floor = describe_cv_floor(bench, 0)
    return [
        _compare("cv --folds 3, 15 + 5 epochs / by hand", plain, ours.seconds, floor),
        Row("its own memory, most", f"{ours.memory / 1e9:.2f} GB", "4 GB", 4e9 / max(ours.memory, 1)),
    ]


def row_views(bench: Bench) -> list[Row]:
    plain = time_plain_recipe(bench)
    ours = bench.cross_validate(*VIEWS, cache="views")
    return [_compare("the same with 4 views / by hand", plain, ours.seconds, describe_cv_floor(bench, 4))]


def row_again(bench: Bench) -> list[Row]:
    """Start once more on the same features with other head options: seconds until the first epoch is done."""
    small = ("--subset", str(bench.images), "--head-units", "512", "--head-epochs", "1", "--tune-epochs", "0")
    bench.run("cv", "--folds", "3", *small, cache="cv")
    second = bench.run("train", *small, "--seed", "1", cache="cv")
    return [
        Row("a run on kept features, 1 head epoch", f"{second.seconds:.1f} s", "15 s", 15 / second.seconds)
    ]


def row_jobs(bench: Bench) -> list[Row]:
    few = ("--head-epochs", "2", "--tune-epochs", "1")
    images = min(bench.images, 960)
    bench.cross_validate(*few, cache="jobs", images=images)
    one, two = (
        bench.cross_validate(*few, "--jobs", jobs, cache="jobs", images=images) for jobs in ("1", "2")
    )
    return [_compare("folds on kept features, --jobs 2 / 1", one.seconds, two.seconds)]


def row_cache(bench: Bench) -> list[Row]:
    few = ("--head-epochs", "3", "--tune-epochs", "1")
    images = min(bench.images, 320)
    uncached = bench.cross_validate(*few, "--no-cache", images=images)
    cached = bench.cross_validate(*few, cache="cached", images=images)
    return [_compare("cv of 320 images, 3 + 1 epochs, cached / not", uncached.seconds, cached.seconds)]


def row_precision(bench: Bench) -> list[Row]:
    import keras
    import numpy as np

    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (BATCH, 1)).astype("float32")
    seconds, floors = {}, {}
    for precision in ("float32", "bfloat16"):
        parts = build_real_parts(bench, precision)
        maps = rng.random((BATCH, *parts.tail.input_shape[1:]), np.float32)
        model = keras.Model(parts.tail.inputs, parts.head(parts.tail.output))
        loss = keras.losses.BinaryFocalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(1e-5), loss, jit_compile=False)
        seconds[precision] = fastest(lambda m=model, x=maps: m.train_on_batch(x, labels), 8) / BATCH
        floors[precision] = 3 * count_operations(parts.tail) / measure_rate(precision)
    floor = " / ".join(f"{1000 * floors[name]:.1f} ms" for name in ("bfloat16", "float32"))
    return [
        _compare("training step an image, bfloat16 / float32", seconds["float32"], seconds["bfloat16"], floor)
    ]


def row_ensemble(bench: Bench) -> list[Row]:
    import numpy as np

    from pneumocli.core.inference import compute_member_scores, ready, take_logits
    from pneumocli.core.model import join_classifier, join_ensemble

    parts = [build_real_parts(bench) for _ in range(3)]
    images = np.random.default_rng(0).integers(0, 256, (BATCH, 28, 28, 1)).astype(np.uint8)
    singles = [ready(join_classifier(part)) for part in parts]
    joined = ready(take_logits(join_ensemble(parts)))
    trunk, tail = ready(parts[0].trunk), ready(parts[0].tail)
    maps = trunk.predict_on_batch(images)
    t_trunk = fastest(lambda: trunk.predict_on_batch(images), 5)
    t_tail = fastest(lambda: tail.predict_on_batch(maps), 5)
    one_by_one = fastest(lambda: [model.predict_on_batch(images) for model in singles], 5)
    together = fastest(lambda: joined.predict_on_batch(images), 5)
    assert compute_member_scores(join_ensemble(parts), images[..., 0]).shape == (3, BATCH)
    possible = 3 * (t_trunk + t_tail) / (t_trunk + 3 * t_tail)
    floor = f"T {1000 * t_trunk / BATCH:.1f} ms, t {1000 * t_tail / BATCH:.1f} ms: {possible:.2f} possible"
    return [_compare("ensemble of 3 / three models", one_by_one, together, floor)]


def row_predict(bench: Bench, files: int = 1000) -> list[Row]:
    import keras
    import numpy as np
    from PIL import Image

    from pneumocli.core.artefact import ModelCard
    from pneumocli.core.images import PREPARATION_VERSION
    from pneumocli.core.model import join_classifier
    from pneumocli.core.prediction import predict_files
    from pneumocli.core.runs import DataRecord, WeightsRecord, stamp_time

    folder = bench.folder / "files"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(files):
        pixels = keras.ops.image.resize(rng.integers(0, 256, (12, 12, 1)), (1024, 1280), "bilinear")
        Image.fromarray(np.asarray(pixels)[..., 0].astype(np.uint8)).save(folder / f"{number}.jpeg")
    data = DataRecord(
        name="random", digest="", identity="", synthetic=True, pixels=28, train_images=0, stopping_images=0
    )
    card = ModelCard(
        name="benchmark", members=1, pixels=28, preparation=PREPARATION_VERSION, data=data,
        weights=WeightsRecord(name="", sha256=None), created=stamp_time(),
    )  # fmt: skip
    model = join_classifier(build_real_parts(bench))
    model.compile(jit_compile=False)
    ready_array = rng.integers(0, 256, (files, 28, 28, 1)).astype(np.uint8)
    paths = sorted(folder.iterdir())
    bare, ours = [], []
    model.predict(ready_array[:BATCH], batch_size=BATCH, verbose=0)
    for _ in range(2):
        started = time.perf_counter()
        model.predict(ready_array, batch_size=BATCH, verbose=0)
        bare.append(time.perf_counter() - started)
        started = time.perf_counter()
        assert sum(1 for _ in predict_files(model, card, paths)) == files
        ours.append(time.perf_counter() - started)
    floor = f"{count_operations(model) / measure_rate('float32') * 1000:.1f} ms an image"
    name = f"predict, {files} JPEG files of 1280 x 1024 / model.predict on an array"
    return [
        Row(name, f"{files / min(ours):.1f} /s", f"{files / min(bare):.1f} /s", min(bare) / min(ours), floor)
    ]


def row_grow(bench: Bench) -> list[Row]:
    """How the cost grows with the images."""
    rows = []
    for images in (500, 1000, 2000, bench.images):
        timed = bench.cross_validate(cache=f"grow{images}", images=images)
        rows.append(
            Row(f"cv of {images} images", f"{timed.seconds / 60:.1f} min", "", timed.seconds / images)
        )
    return rows


def row_folds(bench: Bench) -> list[Row]:
    """How the cost grows with the folds, on features that are kept."""
    rows = []
    few = ("--head-epochs", "3", "--tune-epochs", "1", "--subset", "960")
    bench.run("train", *few, cache="folds")
    for folds in (1, 3, 5, 10):
        command = ("train",) if folds == 1 else ("cv", "--folds", str(folds))
        timed = bench.run(*command, "--no-early-stopping", *few, cache="folds")
        trained = 960 * max(folds - 1, 1)
        rows.append(
            Row(f"{folds} fold(s), {trained} images trained on", f"{timed.seconds:.0f} s", "", timed.seconds)
        )
    return rows


def _compare(name: str, theirs: float, ours: float, floor: str = "") -> Row:
    return Row(name, _tell(ours), _tell(theirs), theirs / ours, floor)


def _tell(seconds: float) -> str:
    return (
        f"{seconds / 60:.1f} min"
        if seconds > 100
        else f"{seconds:.1f} s"
        if seconds > 1
        else f"{1000 * seconds:.1f} ms"
    )


ROWS: dict[str, Callable[[Bench], list[Row]]] = {
    "cv": row_cv,
    "again": row_again,
    "views": row_views,
    "jobs": row_jobs,
    "cache": row_cache,
    "precision": row_precision,
    "ensemble": row_ensemble,
    "predict": row_predict,
    "grow": row_grow,
    "folds": row_folds,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", default=list(ROWS), metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--images", type=int, default=4708, help="training images of the long rows")
    parser.add_argument("--output", type=Path, help="write the rows as JSON lines as well")
    arguments = parser.parse_args()
    load_backend()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(arguments.data, arguments.weights, arguments.images, Path(folder))
        print("| what | ours | theirs | ratio | floor |\n|---|---|---|---|---|", flush=True)
        for name in arguments.rows:
            for row in ROWS[name](bench):
                print(
                    f"| {row.name} | {row.ours} | {row.theirs} | {row.ratio:.2f} | {row.floor} |", flush=True
                )
                if arguments.output:
                    with arguments.output.open("a") as lines:
                        lines.write(json.dumps(row.__dict__) + "\n")


if __name__ == "__main__":
    main()
