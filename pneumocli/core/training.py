"""Training: the head on frozen features, then the last layers; one model, or one a fold."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from pneumocli.core.config import TrainConfig
from pneumocli.core.data import Dataset, Split, find_originals
from pneumocli.core.features import FeatureBatches, bank_features
from pneumocli.core.inference import Rows, compute_outputs, squash_logits
from pneumocli.core.losses import build_focal_loss
from pneumocli.core.model import BackboneBuilder, Parts, build_parts, build_resnet50, join_classifier
from pneumocli.core.progress import Listener, Progress, ignore
from pneumocli.core.seeding import derive_generator


@dataclass(frozen=True)
class SplitFeatures:
    """What the frozen layers make of one split, row for row.

    Attributes:
        maps: float32 (N, h, w, c), the trunk's output, which fine-tuning starts from.
        pooled: float32 (N, C), the pretrained tail's output, all that the head phase needs.
        labels: int64 (N,).
    """

    maps: NDArray[np.float32]
    pooled: NDArray[np.float32]
    labels: NDArray[np.int64]

    def rows(self) -> NDArray[np.int64]:
        """Return all row numbers."""
        return np.arange(len(self.labels))


@dataclass(frozen=True)
class Material:
    """All that the training of any number of classifiers shares.

    Attributes:
        pixels: side of the data set's images.
        weights: the pretrained weights' file, None for random ones.
        train, val: features of the two splits.
        stopping_rows: rows of val that decide when to stop: those without a copy in train.
    """

    pixels: int
    weights: Path | None
    train: SplitFeatures
    val: SplitFeatures
    stopping_rows: NDArray[np.int64]
    backbone_builder: BackboneBuilder


@dataclass(frozen=True)
class Trained:
    """One trained classifier.

    Attributes:
        parts: trunk, tail and head, with the weights of the best epoch.
        history: one entry an epoch: phase, epoch, loss, auc, val_loss, val_auc, kept. Epoch 0 of
            the phase "tune" is the end of the head phase; the model is that of the last kept epoch.
    """

    parts: Parts
    history: list[dict[str, Any]]

    def join(self) -> keras.Model:
        """Return the classifier as one model: raw uint8 pixels in, logit out."""
        return join_classifier(self.parts)


def prepare_material(
    dataset: Dataset,
    config: TrainConfig,
    weights: Path | None,
    *,
    cache: Path,
    backbone_builder: BackboneBuilder = build_resnet50,
    listen: Listener = ignore,
) -> Material:
    """Run the frozen layers over train and val once; the test split is not touched.

    Args:
        cache: directory in which the features are kept for the next run.
    """
    parts = build_parts(dataset.pixels, config, weights, backbone_builder=backbone_builder)
    frozen = {
        "pixels": dataset.pixels,
        "image_size": config.image_size,
        "trunk": _hash_weights(parts.trunk),
        "tail": _hash_weights(parts.tail),
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
    }

    def prepare(name: str, split: Split) -> SplitFeatures:
        key = {**frozen, "images": hashlib.sha256(split.images.tobytes()).hexdigest()}
        images = split.images[..., np.newaxis]
        maps = bank_features(
            parts.trunk,
            images,
            directory=cache,
            key={**key, "output": "maps"},
            stage=f"frozen layers, {name}",
            listen=listen,
        )
        pooled = bank_features(
            parts.tail,
            maps,
            directory=cache,
            key={**key, "output": "pooled"},
            stage=f"pooled features, {name}",
            listen=listen,
        )
        return SplitFeatures(maps, pooled, split.labels)

    return Material(
        pixels=dataset.pixels,
        weights=weights,
        train=prepare("train", dataset.train),
        val=prepare("val", dataset.val),
        stopping_rows=find_originals(dataset.val, dataset.train),
        backbone_builder=backbone_builder,
    )


def train_classifier(
    material: Material,
    config: TrainConfig,
    rows: NDArray[np.int64] | None = None,
    *,
    fold: int = 0,
    title: str = "model",
    listen: Listener = ignore,
) -> Trained:
    """Train one fresh classifier on some rows of the training split.

    Args:
        rows: which training images it sees; None for all.
        fold: draws the head's first weights and the order of the images, together with the seed.
        title: names the model to the listener.
    """
    rows = material.train.rows() if rows is None else rows
    parts = build_parts(
        material.pixels, config, material.weights, fold=fold, backbone_builder=material.backbone_builder
    )

    def fit(phase: str, model: keras.Model, train: Rows, val: Rows, **limits: Any) -> list[dict[str, Any]]:
        return _fit_phase(
            model,
            phase,
            FeatureBatches(
                train,
                rows,
                material.train.labels[rows],
                config.batch_size,
                lambda epoch: derive_generator(config.seed, "order", fold, phase, epoch),
            ),
            FeatureBatches(
                val, material.stopping_rows, material.val.labels[material.stopping_rows], config.batch_size
            ),
            loss=build_focal_loss(material.train.labels[rows], config.focal_gamma),
            early_stopping=config.early_stopping,
            report=lambda done, total, facts: listen(
                Progress(f"{title}, {phase}", round(done * len(rows)), total * len(rows), facts=facts)
            ),
            **limits,
        )

    history = fit(
        "head",
        keras.Model(parts.head.inputs, parts.head.output),
        material.train.pooled,
        material.val.pooled,
        epochs=config.head_epochs,
        learning_rate=config.head_learning_rate,
        patience=config.head_patience,
    )
    if config.tune_epochs and config.tune_layers:
        history += fit(
            "tune",
            keras.Model(parts.tail.inputs, parts.head(parts.tail.output)),
            material.train.maps,
            material.val.maps,
            epochs=config.tune_epochs,
            learning_rate=config.tune_learning_rate,
            patience=config.tune_patience,
            competes_with_start=True,
        )
    return Trained(parts, history)


def score_features(
    parts: Parts,
    maps: Rows,
    rows: NDArray[np.int64],
    *,
    stage: str = "scores",
    listen: Listener = ignore,
) -> NDArray[np.float32]:
    """Return the probability of pneumonia for some rows of the trunk's output (N, h, w, c).

    Returns:
        float32, one a row of `rows`.
    """
    behind_cut = keras.Model(parts.tail.inputs, parts.head(parts.tail.output))
    return squash_logits(compute_outputs(behind_cut, maps, rows, stage=stage, listen=listen)[:, 0])


def _fit_phase(
    model: keras.Model,
    phase: str,
    train: FeatureBatches,
    val: FeatureBatches,
    *,
    loss: keras.losses.Loss,
    epochs: int,
    learning_rate: float,
    patience: int,
    early_stopping: bool,
    report: Callable[[float, int, dict[str, float]], None],
    competes_with_start: bool = False,
) -> list[dict[str, Any]]:
    """Fit in place and return the history; the model is left with the weights of the kept epoch."""
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate),
        loss=loss,
        metrics=[keras.metrics.AUC(from_logits=True, name="auc")],
        jit_compile=False,  # XLA takes about twice the time on a CPU
    )
    history: list[dict[str, Any]] = []
    start_loss = None
    if competes_with_start and early_stopping:
        # A new EarlyStopping knows nothing of the phase before: without a baseline a phase that
        # only makes things worse would still be kept.
        start = model.evaluate(val, return_dict=True, verbose=0)
        start_loss = start["loss"]
        start_weights = model.get_weights()
        history.append(
            {"phase": phase, "epoch": 0, **{f"val_{name}": value for name, value in start.items()}}
        )

    figures: dict[str, float] = {}

    def finish_epoch(epoch: int, logs: dict[str, float]) -> None:
        figures.update(logs)
        history.append({"phase": phase, "epoch": epoch + 1, **logs})

    def finish_batch(batch: int, logs: dict[str, float]) -> None:
        facts = {"epoch": float(len(history) + 1 - (start_loss is not None)), **figures, "loss": logs["loss"]}
        report(facts["epoch"] - 1 + (batch + 1) / len(train), epochs, facts)

    callbacks: list[keras.callbacks.Callback] = [
        keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs: train.start_epoch(epoch),
            on_train_batch_end=finish_batch,
            on_epoch_end=finish_epoch,
        )
    ]
    if early_stopping:
        callbacks.append(
            keras.callbacks.EarlyStopping(
                "val_loss", patience=patience, baseline=start_loss, mode="min", restore_best_weights=True
            )
        )
    model.fit(train, validation_data=val, epochs=epochs, shuffle=False, verbose=0, callbacks=callbacks)
    report(epochs, epochs, figures)
    kept = len(history) - 1
    if early_stopping:
        kept = int(np.argmin([entry["val_loss"] for entry in history]))
        if start_loss is not None and kept == 0:
            model.set_weights(start_weights)
    for position, entry in enumerate(history):
        entry["kept"] = position == kept
    return history


def _hash_weights(model: keras.Model) -> str:
    sha = hashlib.sha256()
    for array in model.get_weights():
        sha.update(array.tobytes())
    return sha.hexdigest()
