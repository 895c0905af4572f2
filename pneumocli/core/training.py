"""Training one classifier: the head on frozen features, then the last layers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from pneumocli.core.calibration import squash_logits
from pneumocli.core.config import Precision, Schedule, TrainConfig
from pneumocli.core.errors import PneumoError
from pneumocli.core.features import FeatureBatches
from pneumocli.core.inference import BATCH_SIZE, Rows, compute_outputs
from pneumocli.core.losses import build_focal_loss
from pneumocli.core.material import Material
from pneumocli.core.model import (
    Parts,
    attach_pooled,
    build_parts,
    computing_in,
    copy_weights,
    join_classifier,
)
from pneumocli.core.progress import Listener, Progress, ignore
from pneumocli.core.seeding import derive_generator


@dataclass(frozen=True)
class Trained:
    """One trained classifier.

    Attributes:
        parts: trunk, tail and head in float32, with the weights of the best epoch.
        history: one entry an epoch: phase, epoch, loss, auc, val_loss, val_auc, kept; a figure that
            is not a number is None. Epoch 0 of the phase "tune" is the end of the head phase; the
            model is that of the last kept epoch.
    """

    parts: Parts
    history: list[dict[str, Any]]

    def join(self) -> keras.Model:
        """Return the classifier as one model: raw uint8 pixels in, logit out."""
        return join_classifier(self.parts)


def train_classifier(
    material: Material,
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

    Raises:
        PneumoError: the loss became not a number in the first phase.
    """
    rows = material.rows() if rows is None else rows
    config, precision = material.config, material.precision
    builder = material.backbone_builder
    parts = build_parts(material.pixels, config, material.weights, fold=fold, backbone_builder=builder)
    learning = parts
    if precision is not Precision.FLOAT32:
        learning = build_parts(
            material.pixels,
            config,
            material.weights,
            fold=fold,
            precision=precision,
            backbone_builder=builder,
        )

    def fit(
        phase: str, model: keras.Model, train: Sequence[Rows], val: Rows, **limits: Any
    ) -> list[dict[str, Any]]:
        stopping = material.stopping_rows
        return _fit_phase(
            model,
            phase,
            FeatureBatches(
                train,
                rows,
                material.labels[rows],
                config.batch_size,
                lambda epoch: derive_generator(config.seed, "order", fold, phase, epoch),
            ),
            FeatureBatches([val], stopping, material.val_labels[stopping], config.batch_size),
            loss=build_focal_loss(material.labels[rows], config.focal_gamma),
            early_stopping=config.early_stopping,
            report=lambda done, total, facts: listen(
                Progress(f"{title}, {phase}", round(done * len(rows)), total * len(rows), facts=facts)
            ),
            **limits,
        )

    # Built in the precision of training: in float16 a model scales its loss by its own policy.
    with computing_in(precision):
        head = keras.Model(learning.head.inputs, learning.head.output)
        whole = keras.Model(learning.tail.inputs, learning.head(learning.tail.output))
    history = fit(
        "head",
        head,
        [view.pooled for view in material.views],
        material.val.pooled,
        epochs=config.head_epochs,
        optimizer=keras.optimizers.Adam(config.head_learning_rate),
        patience=config.head_patience,
    )
    if config.tune_epochs and config.tune_layers:
        history += fit(
            "tune",
            whole,
            [view.maps for view in material.views],
            material.val.maps,
            epochs=config.tune_epochs,
            optimizer=_build_tune_optimizer(config, len(rows)),
            patience=config.tune_patience,
            competes_with_start=True,
        )
    if learning is not parts:
        copy_weights(learning, parts)
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


def score_and_pool(
    parts: Parts,
    maps: Rows,
    rows: NDArray[np.int64],
    *,
    stage: str = "scores",
    listen: Listener = ignore,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the scores as `score_features` does, and the mean (M, c) over the places of the same maps.

    Both come from one pass: where the maps are not kept they are computed once.
    """
    answers = attach_pooled(parts.head(parts.tail.output), parts.tail.inputs[0])
    outputs = compute_outputs(keras.Model(parts.tail.inputs, answers), maps, rows, stage=stage, listen=listen)
    return squash_logits(outputs[:, 0]), outputs[:, 1:]


def pool_maps(
    maps: Rows, rows: NDArray[np.int64], *, stage: str = "pooled maps", listen: Listener = ignore
) -> NDArray[np.float32]:
    """Return the mean (M, c) over the places of some rows of the trunk's output (N, h, w, c)."""
    done: list[NDArray[np.float32]] = []
    for start in range(0, len(rows), BATCH_SIZE):
        batch = maps[rows[start : start + BATCH_SIZE]]
        done.append(np.asarray(batch, np.float32).mean(axis=(1, 2), dtype=np.float32))
        listen(Progress(stage, min(start + BATCH_SIZE, len(rows)), len(rows)))
    return np.concatenate(done)


def _build_tune_optimizer(config: TrainConfig, images: int) -> keras.optimizers.Optimizer:
    rate: float | keras.optimizers.schedules.LearningRateSchedule = config.tune_learning_rate
    if config.tune_schedule is Schedule.COSINE:
        # Loshchilov and Hutter 2016, arXiv:1608.03983, eq. 5, one cycle that ends at 0.
        steps = config.tune_epochs * -(-images // config.batch_size)
        rate = keras.optimizers.schedules.CosineDecay(config.tune_learning_rate, steps)
    # Decoupled from the gradient (Loshchilov and Hutter 2017, arXiv:1711.05101), so it is AdamW.
    return keras.optimizers.Adam(rate, weight_decay=config.weight_decay or None)


def _fit_phase(
    model: keras.Model,
    phase: str,
    train: FeatureBatches,
    val: FeatureBatches,
    *,
    loss: keras.losses.Loss,
    epochs: int,
    optimizer: keras.optimizers.Optimizer,
    patience: int,
    early_stopping: bool,
    report: Callable[[float, int, dict[str, float]], None],
    competes_with_start: bool = False,
) -> list[dict[str, Any]]:
    """Fit in place and return the history; the model is left with the weights of the kept epoch."""
    model.compile(
        optimizer=optimizer,
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
        # What is not a number is no improvement on anything.
        losses = [entry["val_loss"] if np.isfinite(entry["val_loss"]) else np.inf for entry in history]
        kept = int(np.argmin(losses))
        if start_loss is not None and kept == 0:
            model.set_weights(start_weights)
    if not np.isfinite(history[kept]["val_loss"]):
        raise PneumoError(
            f"the loss became not a number in phase {phase}; "
            f"take a smaller learning rate: --{phase}-learning-rate"
        )
    return [
        {
            **{name: value if _is_told(value) else None for name, value in entry.items()},
            "kept": position == kept,
        }
        for position, entry in enumerate(history)
    ]


def _is_told(value: Any) -> bool:
    return isinstance(value, str) or bool(np.isfinite(value))
