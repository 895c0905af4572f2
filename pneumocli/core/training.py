"""Training one classifier: the head on frozen features, then the last layers, then a probe beside them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from pneumocli.core.calibration import squash_logits
from pneumocli.core.checkpoint import Checkpoint, Standing
from pneumocli.core.config import Precision, Schedule, TrainConfig
from pneumocli.core.errors import DivergedError
from pneumocli.core.features import FeatureBatches
from pneumocli.core.inference import BATCH_SIZE, Rows, compute_outputs
from pneumocli.core.joining import compute_logit, join_classifier
from pneumocli.core.losses import build_focal_loss
from pneumocli.core.material import Material
from pneumocli.core.model import (
    Parts,
    build_parts,
    build_probe,
    computing_in,
    copy_weights,
    seed_dropout,
)
from pneumocli.core.phase import fit_phase
from pneumocli.core.pooling import BANDS, attach_pooled, list_bands
from pneumocli.core.probe import fit_probe
from pneumocli.core.progress import Listener, Progress, ignore
from pneumocli.core.seeding import derive_generator, derive_seed


@dataclass(frozen=True)
class Trained:
    """One trained classifier.

    Attributes:
        parts: trunk, tail, head and perhaps probe in float32, with the weights of the best epoch.
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
    checkpoint: Checkpoint | None = None,
    listen: Listener = ignore,
) -> Trained:
    """Train one fresh classifier on some rows of the training split, or go on with one that was stopped.

    Args:
        rows: which training images it sees; None for all.
        fold: draws the head's first weights, the order of the images and dropout, together with the seed.
        title: names the model to the listener.
        checkpoint: where the standing after each epoch is kept; what it holds is gone on with, and it is
            the caller's to remove once the model is kept.

    Raises:
        CheckpointError: the checkpoint is damaged or of other work.
        DivergedError: as for `fit_phase`.
    """
    standing = None if checkpoint is None else checkpoint.read()
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

    history: list[dict[str, Any]] = []

    def fit(phase: str, model: keras.Model, train: Sequence[Rows], val: Rows, **limits: Any) -> None:
        nonlocal history
        stopping = material.stopping_rows
        batches = FeatureBatches(
            train,
            rows,
            material.labels[rows],
            config.batch_size,
            lambda epoch: derive_generator(config.seed, "order", fold, phase, epoch),
        )

        def start_epoch(epoch: int) -> None:
            batches.start_epoch(epoch)
            seed_dropout(learning.head, derive_seed(config.seed, "dropout", fold, phase, epoch))

        before = history

        def keep(reached: Standing) -> None:
            if checkpoint is not None:
                checkpoint.write(replace(reached, history=before + reached.history))

        history = before + fit_phase(
            model,
            phase,
            batches,
            FeatureBatches([val], stopping, material.val_labels[stopping], config.batch_size),
            loss=build_focal_loss(material.labels[rows], config.focal_gamma),
            early_stopping=config.early_stopping,
            standing=standing if standing is not None and standing.phase == phase else None,
            start_epoch=start_epoch,
            keep=None if checkpoint is None else keep,
            report=lambda done, total, facts: listen(
                Progress(f"{title}, {phase}", round(done * len(rows)), total * len(rows), facts=facts)
            ),
            **limits,
        )

    # Built in the precision of training: in float16 a model scales its loss by its own policy.
    with computing_in(precision):
        head = keras.Model(learning.head.inputs, learning.head.output)
        whole = keras.Model(learning.tail.inputs, learning.head(learning.tail.output))
    try:
        if standing is None or standing.phase == "head":
            fit(
                "head",
                head,
                [view.pooled for view in material.views],
                material.val.pooled,
                epochs=config.head_epochs,
                optimizer=keras.optimizers.Adam(config.head_learning_rate),
                patience=config.head_patience,
            )
        else:
            history = [entry for entry in standing.history if entry["phase"] == "head"]
        if config.tune_epochs and config.tune_layers:
            fit(
                "tune",
                whole,
                [view.maps for view in material.views],
                material.val.maps,
                epochs=config.tune_epochs,
                optimizer=_build_tune_optimizer(config, len(rows)),
                patience=config.tune_patience,
                competes_with_start=True,
            )
    except DivergedError:
        # To go on from here would come to the same end.
        if checkpoint is not None:
            checkpoint.remove()
        raise
    if learning is not parts:
        copy_weights(learning, parts)
    if config.probe:
        # On the images as they are: a linear layer cannot learn to look away from what a crop changes.
        means = pool_maps(material.maps, rows, bands=1, stage=f"{title}, probe", listen=listen)
        probe = fit_probe(means, material.labels[rows], config.probe)
        parts = replace(parts, probe=build_probe(parts, probe))
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
    maps_in = parts.tail.inputs[0]
    behind_cut = keras.Model(maps_in, compute_logit(parts, maps_in))
    return squash_logits(compute_outputs(behind_cut, maps, rows, stage=stage, listen=listen)[:, 0])


def score_and_pool(
    parts: Parts,
    maps: Rows,
    rows: NDArray[np.int64],
    *,
    stage: str = "scores",
    listen: Listener = ignore,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the scores as `score_features` does, and the same maps pooled as `pool_maps` does.

    Both come from one pass: where the maps are not kept they are computed once.
    """
    maps_in = parts.tail.inputs[0]
    answers = attach_pooled(compute_logit(parts, maps_in), maps_in)
    outputs = compute_outputs(keras.Model(maps_in, answers), maps, rows, stage=stage, listen=listen)
    return squash_logits(outputs[:, 0]), outputs[:, 1:]


def pool_maps(
    maps: Rows,
    rows: NDArray[np.int64],
    *,
    bands: int = BANDS,
    stage: str = "pooled maps",
    listen: Listener = ignore,
) -> NDArray[np.float32]:
    """Return some rows of the trunk's output (N, h, w, c) pooled: the means over the places of its bands.

    Returns:
        (M, bands * c), the upper bands' before the lower ones'; (M, c) where a map has one row.
    """
    done: list[NDArray[np.float32]] = []
    for start in range(0, len(rows), BATCH_SIZE):
        batch = np.asarray(maps[rows[start : start + BATCH_SIZE]], np.float32)
        parts = [batch[:, first:end] for first, end in list_bands(batch.shape[1], bands)]
        done.append(np.concatenate([part.mean(axis=(1, 2), dtype=np.float32) for part in parts], axis=1))
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
