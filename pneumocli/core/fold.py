"""One fold of a run: trained by this process, by one of its own, or by a worker of a cluster."""

import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pneumocli.core.atypical import write_pooled_maps
from pneumocli.core.cache import Cache
from pneumocli.core.checkpoint import Checkpoint
from pneumocli.core.data import Dataset
from pneumocli.core.errors import RunError
from pneumocli.core.figures import name_fold
from pneumocli.core.files import filling
from pneumocli.core.locking import HeldError, holding_file
from pneumocli.core.material import Material, prepare_material
from pneumocli.core.model import BackboneBuilder, Parts
from pneumocli.core.outcome import write_model, write_outcome
from pneumocli.core.progress import Listener, ignore
from pneumocli.core.records import RunRecord
from pneumocli.core.runs import CONFIG, Run
from pneumocli.core.scores import OUT_OF_FOLD, Scores
from pneumocli.core.training import score_and_pool, train_classifier

LOST_PATIENCE = 120.0  # seconds; a file server keeps the locks of a machine that is gone for up to 90


@dataclass(frozen=True)
class FoldTask:
    """All that a process of its own needs to train one fold."""

    run: Run
    dataset: Dataset
    weights: Path | None
    cache: Cache | None
    fold: int
    checkpoint: Checkpoint
    trained_rows: NDArray[np.int64]
    held_out: NDArray[np.int64]
    backbone_builder: BackboneBuilder


def train_fold_elsewhere(task: FoldTask, listen: Listener) -> None:
    """Train a fold in a process of its own: features come from the bank that the first process has filled."""
    material = prepare_run(
        task.dataset, task.run.record, task.weights, task.cache, task.backbone_builder, ignore
    )
    train_fold(task, material, listen)


def train_fold_on_cluster(task: FoldTask, listen: Listener) -> str:
    """Train a fold that may have been begun by a worker that is lost, and say where it was done."""
    run, host = task.run, socket.gethostname()
    if not (run.path / CONFIG).is_file():
        raise RunError(
            f"{host} does not see {run.path}; workers need a file system in common with the command"
        )
    # The one that was lost may be cut off and go on: it holds the fold, and a dead one does not.
    try:
        with holding_file(run.fold_lock_path(task.fold), patience=LOST_PATIENCE):
            if task.fold not in run.finished_folds():
                train_fold_elsewhere(task, listen)
    except HeldError as error:
        raise RunError(f"{run.path}: {name_fold(task.fold)} is being trained by {error}") from None
    return f"{name_fold(task.fold)} done on {host}"


def train_fold(task: FoldTask, material: Material, listen: Listener) -> None:
    """Train a fold, score its held-out images, and put its folder in place when it is whole."""
    run, fold = task.run, task.fold
    title = f"{name_fold(fold)} of {len(run.record.fold_numbers)}"
    trained = train_classifier(
        material, task.trained_rows, fold=fold, title=title, checkpoint=task.checkpoint, listen=listen
    )
    stage = f"{title}, held out"
    y_score, pooled_maps = score_and_pool(
        trained.parts, material.maps, task.held_out, stage=stage, listen=listen
    )
    with filling(run.fold_path(fold)) as folder:
        write_model(folder, trained, run, f"{run.name}, {name_fold(fold)}")
        write_pooled_maps(folder, task.held_out, pooled_maps)
        train, rows = task.dataset.train, task.held_out
        groups = None if train.groups is None else train.groups[rows]
        scores = Scores(rows, train.labels[rows], y_score, groups)
        write_outcome(run, folder, OUT_OF_FOLD, task.dataset.train, name_fold(fold), scores)
    task.checkpoint.remove()


def prepare_run(
    dataset: Dataset,
    record: RunRecord,
    weights: Path | None,
    cache: Cache | None,
    backbone_builder: BackboneBuilder,
    listen: Listener,
    check: Callable[[Parts], None] | None = None,
) -> Material:
    """Run the frozen layers as a run's record says; see `prepare_material`."""
    return prepare_material(
        dataset,
        record.settings,
        weights,
        cache=cache,
        precision=record.precision,
        backbone_builder=backbone_builder,
        check=check,
        listen=listen,
    )
