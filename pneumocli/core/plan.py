"""What a run is going to do, said before it is done: folds, phases, epochs, room on disk, and steps.

Nothing here needs Keras; the network is ResNet-50.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pneumocli.core.architecture import POOLED, Cut, count_weights, find_place
from pneumocli.core.cache import Cache
from pneumocli.core.config import Precision, TrainConfig
from pneumocli.core.data import Dataset
from pneumocli.core.figures import name_fold
from pneumocli.core.folds import make_folds, name_lopsided
from pneumocli.core.groups import count_groups, group_images
from pneumocli.core.keeping import keep_plain
from pneumocli.core.progress import Notice, keep_quiet
from pneumocli.core.records import Kind
from pneumocli.core.steps import Phase, Step, list_model_steps, list_phases, plan_banks
from pneumocli.core.stopping import check_stopping, find_stopping


@dataclass(frozen=True)
class PlannedFold:
    """One fold: how many images of each class are trained on and held out.

    Attributes:
        is_finished: a stopped run, or another command, has trained it.
        is_ours: trained by this run unless it is finished, and not by a command of its own.
    """

    fold: int
    train_normal: int
    train_pneumonia: int
    held_out_normal: int
    held_out_pneumonia: int
    is_finished: bool
    is_ours: bool


@dataclass(frozen=True)
class Plan:
    """What a run is going to do.

    Attributes:
        kind: "train" or "cv".
        config: its settings.
        precision: of training, never "auto".
        splits: images of each class by split, those that are trained on and those that decide when to
            stop; the test split has no part in it.
        folds: of a cross-validation.
        phases: of each model.
        cut: name of the layer that the frozen trunk ends with.
        feature_bytes: what all the kept features take on disk; 0 without a cache.
        kept_bytes: how many of these seem to be there already: features of the same images and settings,
            though perhaps of other weights.
        model_bytes: what the model files take on disk.
        room_bytes: the most that what is still to be trained takes in the run folder, with checkpoints.
        data_bytes: what the images take in memory.
        jobs: folds trained side by side.
        steps: in the order of one fold after the other.
    """

    kind: Kind
    config: TrainConfig
    precision: Precision
    splits: Mapping[str, tuple[int, int]]
    folds: tuple[PlannedFold, ...]
    phases: tuple[Phase, ...]
    cut: str
    feature_bytes: int
    kept_bytes: int
    model_bytes: int
    room_bytes: int
    data_bytes: int
    jobs: int
    steps: tuple[Step, ...]


def plan_run(
    dataset: Dataset,
    config: TrainConfig,
    precision: Precision,
    *,
    folds: int | None = None,
    groups: NDArray[np.int64] | None = None,
    finished: frozenset[int] = frozenset(),
    fold: int | None = None,
    cache: Cache | None = None,
    jobs: int = 1,
) -> Plan:
    """Say what a run is going to do.

    Args:
        dataset: what is trained on: all of it, or a subset.
        precision: of training, as it was chosen on the machine.
        folds: number of folds; None for a single model.
        groups: int64 (N,), training images of the same number stay in one fold; None finds them.
        finished: folds, from 1, that are finished.
        fold: the one that is trained alone; the others are left to commands of their own.
        cache: where features are kept; None if they are not.
        jobs: folds trained side by side.

    Raises:
        DataError: the data cannot be divided so, or the validation images cannot say when to stop.
    """
    # A single model's threshold is fixed on them too.
    stopping = dataset.val.labels[check_stopping(dataset) if folds is None else find_stopping(dataset)]
    cut = find_place(config.image_size, config.tune_layers)
    # Where views are trained on, the images as they are go through the trunk for this alone.
    through_trunk = cache is None or not keep_plain(config).maps
    banks = [] if cache is None else list(plan_banks(dataset, config, precision, cut, cache))
    train = dataset.train
    steps = [bank.step for bank in banks]
    planned: list[PlannedFold] = []
    if folds is None:
        steps += list_model_steps("model", len(train), config, precision, cut, cache is not None)
        ours = cut.tail_operations + (0 if cache else cut.trunk_operations)
        val = len(dataset.val)
        steps.append(Step("scores on val", "model", "scores", Precision.FLOAT32, val, val, ours))
        n, again = len(train), cut.trunk_operations if through_trunk else 0
        steps.append(Step("likeness to train", "model", "likeness", Precision.FLOAT32, n, n, again))
    else:
        groups = group_images(train) if groups is None else groups
        parts = make_folds(train.labels, folds, config.seed, groups, repeats=config.repeats)
        for number, (rows, held_out) in enumerate(parts, start=1):
            is_finished, is_ours = number in finished, fold in (None, number)
            planned.append(
                PlannedFold(
                    number,
                    *_count_classes(train.labels[rows]),
                    *_count_classes(train.labels[held_out]),
                    is_finished,
                    is_ours,
                )
            )
            if not is_ours:
                continue
            title = f"{name_fold(number)} of {len(parts)}"
            steps += list_model_steps(
                title, len(rows), config, precision, cut, cache is not None, is_finished
            )
            ours = cut.tail_operations + (cut.trunk_operations if through_trunk else 0)
            n = len(held_out)
            steps.append(
                Step(f"{title}, held out", title, "scores", Precision.FLOAT32, n, n, ours, is_finished)
            )
    left = sum(part.is_ours and not part.is_finished for part in planned) if planned else 1
    if not left:
        banks = []
    return Plan(
        kind="train" if folds is None else "cv",
        config=config,
        precision=precision,
        splits={"train": _count_classes(train.labels), "stopping": _count_classes(stopping)},
        folds=tuple(planned),
        phases=tuple(list_phases(config)),
        cut=cut.name,
        feature_bytes=sum(bank.bytes for bank in banks),
        kept_bytes=sum(bank.bytes for bank in banks if bank.step.is_kept),
        model_bytes=_count_model_bytes(config) * (len(planned) or 1),
        room_bytes=left * _count_model_bytes(config) + min(jobs, left) * _count_checkpoint_bytes(config, cut),
        data_bytes=sum(split.images.nbytes for split in dataset.splits.values()),
        jobs=jobs,
        steps=tuple(steps),
    )


def try_folds(
    dataset: Dataset, config: TrainConfig, folds: int, notify: Notice = keep_quiet
) -> NDArray[np.int64]:
    """Make the folds once before anything is loaded: what cannot be divided is told at once.

    Returns:
        The groups that stay in one fold, int64 (N,).

    Raises:
        DataError: the data cannot be divided so.
    """
    groups = group_images(dataset.train)
    parts = make_folds(dataset.train.labels, folds, config.seed, groups, repeats=config.repeats)
    several, images = count_groups(groups)
    if several:
        notify(f"groups: {several} of more than one image ({images} images), each kept in one fold")
    if lopsided := name_lopsided(dataset.train.labels, parts):
        notify(f"warning: {lopsided}: take fewer folds or another seed")
    return groups


def _count_model_bytes(config: TrainConfig) -> int:
    return 4 * (count_weights() + _count_head(config))


def _count_checkpoint_bytes(config: TrainConfig, cut: Cut) -> int:
    # The weights, Adam's two means and the best epoch's weights; twice there while it is replaced.
    return 2 * (4 if config.early_stopping else 3) * 4 * (cut.tail_weights + _count_head(config))


def _count_head(config: TrainConfig) -> int:
    # The logit's weights and bias, behind the hidden layer's where there is one.
    return (POOLED + 1) * config.head_units + (config.head_units or POOLED) + 1


def _count_classes(labels: NDArray[np.int64]) -> tuple[int, int]:
    return int((labels == 0).sum()), int((labels == 1).sum())
