"""Rows of the benchmark that time commands as a whole, the long ones beside the recipe written by hand."""

import functools

from measuring import BATCH, FOLDS, HEAD_EPOCHS, TUNE_EPOCHS, Bench, count_operations, fastest, measure_rate
from model_rows import build_real_parts
from rows import Row, compare, compare_memory, tell, tell_memory

VIEWS = ("--views", "4", "--crop-area", "0.25", "--flip", "--brightness", "0.3", "--contrast", "0.3")


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
        compare("cv --folds 3, 15 + 5 epochs / by hand", plain, ours.seconds, floor),
        compare_memory("its largest process, own memory", ours.memory),
        compare_memory("its processes together, own memory", ours.memory_together),
    ]


def row_views(bench: Bench) -> list[Row]:
    plain = time_plain_recipe(bench)
    ours = bench.cross_validate(*VIEWS, cache="views")
    return [
        compare("the same with 4 views / by hand", plain, ours.seconds, describe_cv_floor(bench, 4)),
        compare_memory("its largest process, own memory", ours.memory),
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
        compare(f"cv on kept features, 15 + 1 epochs, --jobs {jobs} / 1", seconds["1"], seconds[jobs])
        for jobs in ("2", "3")
    ]


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
    return [Row("predict, own memory, 10,000 / 1,000 files", *map(tell_memory, (many, few)), many / few)]


def row_cache(bench: Bench) -> list[Row]:
    few = ("--head-epochs", "3", "--tune-epochs", "1")
    images = min(bench.images, 320)
    uncached = bench.cross_validate(*few, "--no-cache", images=images)
    cached = bench.cross_validate(*few, cache="cached", images=images)
    return [compare("cv of 320 images, 3 + 1 epochs, cached / not", uncached.seconds, cached.seconds)]


def row_grow(bench: Bench) -> list[Row]:
    """How the cost grows with the images."""
    rows = []
    for images in (500, 1000, 2000):
        seconds = bench.cross_validate(cache=f"grow{images}", images=images).seconds
        rows.append(Row(f"cv of {images} images, seconds an image", tell(seconds), "", seconds / images))
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
