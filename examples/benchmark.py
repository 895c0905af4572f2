"""How fast, as ratios taken in one run on one machine, each beside the floor that arithmetic sets.

    python examples/benchmark.py --data pneumoniamnist.npz --weights weights.h5 [ROW ...]

Rows: cv scores again jobs views cache precision ensemble predict memory grow folds, all of them by
default; `scores`, `again` and `jobs` use what `cv` has left. `cv`, `jobs` and `views`
train on all images and take most of the time, `--images N` takes fewer. `cv` is the last line of `grow`.

The floor is the number of floating-point operations that cannot be avoided over the rate that a large
matrix product reaches on the same machine; it counts products only, no reading and no writing.
"""

import argparse
import functools
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from measuring import BATCH, FOLDS, HEAD_EPOCHS, TUNE_EPOCHS, Bench, count_operations, fastest, measure_rate

from pneumocli.core.backend import load_backend

VIEWS = ("--views", "4", "--crop-area", "0.25", "--flip", "--brightness", "0.3", "--contrast", "0.3")


@dataclass(frozen=True)
class Row:
    """One line of the table: what was compared, both sides in words, the ratio, the floor in words."""

    name: str
    ours: str
    theirs: str
    ratio: float
    floor: str = ""


@functools.cache  # once for all rows that compare with it
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
    ours = bench.cross_validate("--name", "benchmark", cache="cv")
    floor = describe_cv_floor(bench, 0)
    return [
        _compare("cv --folds 3, 15 + 5 epochs / by hand", plain, ours.seconds, floor),
        _compare_memory("its largest process, own memory", ours.memory),
        _compare_memory("its processes together, own memory", ours.memory_together),
    ]


def row_views(bench: Bench) -> list[Row]:
    plain = time_plain_recipe(bench)
    ours = bench.cross_validate(*VIEWS, cache="views")
    return [
        _compare("the same with 4 views / by hand", plain, ours.seconds, describe_cv_floor(bench, 4)),
        _compare_memory("its largest process, own memory", ours.memory),
    ]


def row_again(bench: Bench) -> list[Row]:
    """Start once more on the kept features with another head: seconds until its first epoch is over."""
    small = ("--head-units", "512", "--head-epochs", "1", "--tune-epochs", "0", "--seed", "0")
    seconds = bench.cross_validate(*small, cache="cv").find(", head")
    return [Row("cv on kept features, its first epoch over", f"{seconds:.1f} s", "15 s", 15 / seconds)]


def row_jobs(bench: Bench) -> list[Row]:
    few = ("--head-epochs", "15", "--tune-epochs", "1")
    seconds = {
        jobs: bench.cross_validate(*few, "--jobs", jobs, cache="cv").seconds for jobs in ("1", "2", "3")
    }
    return [
        _compare(f"cv on kept features, 15 + 1 epochs, --jobs {jobs} / 1", seconds["1"], seconds[jobs])
        for jobs in ("2", "3")
    ]


def row_scores(bench: Bench) -> list[Row]:
    """How far the arithmetic alone moves the AUC of the weights that the row `cv` has trained."""
    import numpy as np

    from pneumocli.core.artefact import load_model
    from pneumocli.core.data import load_dataset
    from pneumocli.core.finding import find_run
    from pneumocli.core.inference import compute_member_scores
    from pneumocli.core.joining import join_ensemble, split_classifier
    from pneumocli.core.metrics import average_scores, compute_metrics
    from pneumocli.core.runs import MODEL

    run = find_run(bench.runs, bench.runs / "benchmark")
    exact = [split_classifier(load_model(folder / MODEL)[0]) for folder in run.member_paths()]
    rounded = [build_real_parts(bench, "bfloat16") for _ in exact]
    for ours, theirs in zip(rounded, exact, strict=True):
        for name in ("trunk", "tail", "head"):
            getattr(ours, name).set_weights(getattr(theirs, name).get_weights())
    rows = []
    dataset = load_dataset(bench.data)
    for name in ("val", "test"):
        split = dataset.splits[name]
        scores = [
            average_scores(compute_member_scores(join_ensemble(parts), split.images))
            for parts in (rounded, exact)
        ]
        auc = [compute_metrics(split.labels, score).roc_auc for score in scores]
        moved = float(np.abs(scores[0] - scores[1]).max())
        what = f"AUC on {name}, same weights, bfloat16 / float32 (no score moves by more than {moved:.4f})"
        rows.append(Row(what, f"{auc[0]:.5f}", f"{auc[1]:.5f}", auc[0] / auc[1]))
    return rows


def row_memory(bench: Bench) -> list[Row]:
    """How the memory of `predict` grows with the files, by a model that is soon trained."""
    import numpy as np
    from PIL import Image

    small = ("--image-size", "64", "--subset", "64", "--head-epochs", "1", "--tune-epochs", "0")
    bench.run("train", "--recipe", "original", "--name", "small", *small, cache="small")
    rng = np.random.default_rng(0)
    timed = {}
    for files in (1000, 10_000):
        folder = bench.folder / f"memory{files}"
        folder.mkdir(exist_ok=True)
        for number in range(files):
            pixels = rng.integers(0, 256, (8, 8)).astype(np.uint8)
            Image.fromarray(pixels).resize((256, 256)).save(folder / f"{number}.jpeg")
        model = str(bench.runs / "small")
        timed[files] = bench.run("predict", str(folder), "--model", model, "--format", "json")
    few, many = (timed[files].memory for files in (1000, 10_000))
    return [Row("predict, own memory, 10,000 / 1,000 files", *map(_tell_memory, (many, few)), many / few)]


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
    from pneumocli.core.joining import join_classifier, join_ensemble

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

    from pneumocli.core.contract import ModelCard
    from pneumocli.core.images import PREPARATION_VERSION
    from pneumocli.core.inference import KerasScorer
    from pneumocli.core.joining import join_classifier
    from pneumocli.core.prediction import predict_files
    from pneumocli.core.records import DataRecord, WeightsRecord, stamp_time

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
    scorer = KerasScorer(model, card)
    ready_array = rng.integers(0, 256, (files, 28, 28, 1)).astype(np.uint8)
    paths = sorted(folder.iterdir())
    bare, ours = [], []
    model.predict(ready_array[:BATCH], batch_size=BATCH, verbose=0)
    for _ in range(2):
        started = time.perf_counter()
        model.predict(ready_array, batch_size=BATCH, verbose=0)
        bare.append(time.perf_counter() - started)
        started = time.perf_counter()
        assert sum(1 for _ in predict_files(scorer, card, paths)) == files
        ours.append(time.perf_counter() - started)
    floor = f"{count_operations(model) / measure_rate('float32') * 1000:.1f} ms an image"
    name = f"predict, {files} JPEG files of 1280 x 1024 / model.predict on an array"
    return [
        Row(name, f"{files / min(ours):.1f} /s", f"{files / min(bare):.1f} /s", min(bare) / min(ours), floor)
    ]


def row_grow(bench: Bench) -> list[Row]:
    """How the cost grows with the images."""
    rows = []
    for images in (500, 1000, 2000):
        seconds = bench.cross_validate(cache=f"grow{images}", images=images).seconds
        rows.append(Row(f"cv of {images} images, seconds an image", _tell(seconds), "", seconds / images))
    return rows


def row_folds(bench: Bench) -> list[Row]:
    """How the cost grows with the folds, on features that are kept."""
    rows = []
    few = ("--head-epochs", "3", "--tune-epochs", "1", "--subset", "960")
    few = ("--recipe", "original", "--no-early-stopping", *few)
    bench.run("train", *few, cache="folds")
    for folds in (1, 3, 5, 10):
        command = ("train",) if folds == 1 else ("cv", "--folds", str(folds))
        timed = bench.run(*command, *few, cache="folds")
        trained = 960 * max(folds - 1, 1)
        rows.append(
            Row(
                f"{folds} fold(s), {trained} images trained on, ms an image and epoch",
                f"{timed.seconds:.0f} s",
                "",
                1000 * timed.seconds / trained / 4,
            )
        )
    return rows


def _compare(name: str, theirs: float, ours: float, floor: str = "") -> Row:
    return Row(name, _tell(ours), _tell(theirs), theirs / ours, floor)


def _compare_memory(name: str, memory: int) -> Row:
    return Row(name, _tell_memory(memory), "4 GB", 4e9 / max(memory, 1))


def _tell_memory(size: int) -> str:
    return f"{size / 1e9:.2f} GB"


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
    "scores": row_scores,
    "again": row_again,
    "jobs": row_jobs,
    "views": row_views,
    "cache": row_cache,
    "precision": row_precision,
    "ensemble": row_ensemble,
    "predict": row_predict,
    "memory": row_memory,
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
    parser.add_argument("--folder", type=Path, help="where runs and caches are left, for rows that need them")
    arguments = parser.parse_args()
    load_backend()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(exist_ok=True)
        bench = Bench(arguments.data, arguments.weights, arguments.images, folder)
        print("| what | ours | theirs | ratio | floor |\n|---|---|---|---|---|", flush=True)
        for name in arguments.rows:
            for row in ROWS[name](bench):
                print(
                    f"| {row.name} | {row.ours} | {row.theirs} | {row.ratio:.2f} | {row.floor} |", flush=True
                )
                if arguments.output:
                    with arguments.output.open("a") as lines:
                        lines.write(json.dumps(asdict(row)) + "\n")


if __name__ == "__main__":
    main()
