"""Rows of the benchmark that time a model within this process."""

import time
from typing import Any

from measuring import BATCH, Bench, count_operations, fastest, measure_rate
from rows import Row, compare


def build_real_parts(bench: Bench, precision: str = "float32") -> Any:
    from pneumocli.core.config import Precision, TrainConfig
    from pneumocli.core.model import build_parts

    return build_parts(28, TrainConfig(), bench.weights, precision=Precision(precision))


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
        compare("training step an image, bfloat16 / float32", seconds["float32"], seconds["bfloat16"], floor)
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
    return [compare("ensemble of 3 / three models", one_by_one, together, floor)]


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
