"""What a run is going to do, said before it is done: folds, phases, epochs, room on disk, and steps.

The steps carry the names by which training tells its listener where it stands, so that whoever listens
knows how much is still to come. Nothing here needs Keras; the network is ResNet-50.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pneumocli.core.architecture import POOLED, Cut, count_weights, find_place
from pneumocli.core.bank import Cache, list_banks
from pneumocli.core.config import Precision, TrainConfig
from pneumocli.core.data import Dataset, make_folds
from pneumocli.core.figures import name_fold
from pneumocli.core.groups import count_groups, find_originals, group_images
from pneumocli.core.keeping import Kept, choose_rounding, keep_plain, keep_view
from pneumocli.core.progress import Notice, keep_quiet
from pneumocli.core.records import Kind

Work = Literal["frozen layers", "pooled features", "head", "tune", "scores"]

BYTES = {Precision.FLOAT32: 4, Precision.BFLOAT16: 2, Precision.FLOAT16: 2}
# A training step goes through the tail once forwards and about twice backwards.
PASSES_OF_TRAINING = 3


@dataclass(frozen=True)
class Step:
    """A part of the work that its listener hears of by name.

    Attributes:
        stage: that name, as `Progress.stage` has it.
        title: which model it is of, such as "fold 1 of 3"; empty for what all models share.
        work: what is done; steps of the same work and precision take the same time an image.
        precision: of the arithmetic.
        images: units of the whole step; an image that is seen in two epochs counts twice.
        fewest: units if training stops as early as it can.
        operations: of one unit, in the network; 0 where they do not count.
        is_kept: the cache has the outputs already, or a stopped run its fold.
    """

    stage: str
    title: str
    work: Work
    precision: Precision
    images: int
    fewest: int
    operations: int
    is_kept: bool = False


@dataclass(frozen=True)
class PlannedFold:
    """One fold: how many images of each class are trained on and held out, and whether it is done."""

    fold: int
    train_normal: int
    train_pneumonia: int
    held_out_normal: int
    held_out_pneumonia: int
    is_finished: bool


@dataclass(frozen=True)
class Phase:
    """One phase of training: its epochs, at most or exactly, and how many layers of the backbone train."""

    name: Literal["head", "tune"]
    epochs: int
    may_stop_early: bool
    learning_rate: float
    layers: int


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
    data_bytes: int
    jobs: int
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class _Bank:
    """Features of one set of images: its step, its bytes, and whether the cache seems to have it."""

    step: Step
    bytes: int


def plan_run(
    dataset: Dataset,
    config: TrainConfig,
    precision: Precision,
    *,
    folds: int | None = None,
    groups: NDArray[np.int64] | None = None,
    finished: frozenset[int] = frozenset(),
    cache: Cache | None = None,
    jobs: int = 1,
) -> Plan:
    """Say what a run is going to do.

    Args:
        dataset: what is trained on: all of it, or a subset.
        precision: of training, as it was chosen on the machine.
        folds: number of folds; None for a single model.
        groups: int64 (N,), training images of the same number stay in one fold; None finds them.
        finished: folds, from 1, that a stopped run has finished.
        cache: where features are kept; None if they are not.
        jobs: folds trained side by side.

    Raises:
        DataError: the data cannot be divided so.
    """
    cut = find_place(config.image_size, config.tune_layers)
    banks = [] if cache is None else list(_list_banks(dataset, config, precision, cut, cache))
    train = dataset.train
    steps = [bank.step for bank in banks]
    planned: list[PlannedFold] = []
    if folds is None:
        steps += _plan_model("model", len(train), config, precision, cut, cache is not None)
        ours = cut.tail_operations + (0 if cache else cut.trunk_operations)
        val = len(dataset.val)
        steps.append(Step("scores on val", "model", "scores", Precision.FLOAT32, val, val, ours))
    else:
        groups = group_images(train) if groups is None else groups
        parts = make_folds(train.labels, folds, config.seed, groups)
        for fold, (rows, held_out) in enumerate(parts, start=1):
            is_finished = fold in finished
            planned.append(
                PlannedFold(
                    fold,
                    *_count_classes(train.labels[rows]),
                    *_count_classes(train.labels[held_out]),
                    is_finished,
                )
            )
            title = f"{name_fold(fold)} of {folds}"
            steps += _plan_model(title, len(rows), config, precision, cut, cache is not None, is_finished)
            # Where views are trained on, the images as they are go through the trunk for this alone.
            through_trunk = cache is None or not keep_plain(config).maps
            ours = cut.tail_operations + (cut.trunk_operations if through_trunk else 0)
            n = len(held_out)
            steps.append(
                Step(f"{title}, held out", title, "scores", Precision.FLOAT32, n, n, ours, is_finished)
            )
    if planned and all(fold.is_finished for fold in planned):
        banks = []
    stopping = dataset.val.labels[find_originals(dataset.val, dataset.train)]
    return Plan(
        kind="train" if folds is None else "cv",
        config=config,
        precision=precision,
        splits={"train": _count_classes(train.labels), "stopping": _count_classes(stopping)},
        folds=tuple(planned),
        phases=tuple(_list_phases(config)),
        cut=cut.name,
        feature_bytes=sum(bank.bytes for bank in banks),
        kept_bytes=sum(bank.bytes for bank in banks if bank.step.is_kept),
        model_bytes=_count_model_bytes(config) * (folds or 1),
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
    make_folds(dataset.train.labels, folds, config.seed, groups)
    several, images = count_groups(groups)
    if several:
        notify(f"groups: {several} of more than one image ({images} images), each kept in one fold")
    return groups


def _list_phases(config: TrainConfig) -> Iterator[Phase]:
    stops = config.early_stopping
    may_stop = stops and config.head_patience + 1 < config.head_epochs
    yield Phase("head", config.head_epochs, may_stop, config.head_learning_rate, 0)
    if config.tune_epochs and config.tune_layers:
        # The end of the head phase competes as epoch 0, so that the patience may end one epoch earlier.
        may_stop = stops and config.tune_patience < config.tune_epochs
        yield Phase("tune", config.tune_epochs, may_stop, config.tune_learning_rate, config.tune_layers)


def _plan_model(
    title: str,
    images: int,
    config: TrainConfig,
    precision: Precision,
    cut: Cut,
    keeps: bool,
    is_finished: bool = False,
) -> Iterator[Step]:
    again = 0 if keeps else cut.trunk_operations
    patience = {"head": config.head_patience + 1, "tune": config.tune_patience}
    operations = {
        "head": 0 if keeps else again + cut.tail_operations,
        "tune": again + PASSES_OF_TRAINING * cut.tail_operations,
    }
    for phase in _list_phases(config):
        fewest = patience[phase.name] if phase.may_stop_early else phase.epochs
        yield Step(
            f"{title}, {phase.name}",
            title,
            phase.name,
            precision,
            images * phase.epochs,
            images * fewest,
            operations[phase.name],
            is_finished,
        )


def _list_banks(
    dataset: Dataset, config: TrainConfig, precision: Precision, cut: Cut, cache: Cache
) -> Iterator[_Bank]:
    """Give the features that a run keeps, in the order in which they are computed."""
    there = [entry.key for entry in list_banks(cache)]
    shared = {"cut": cut.name, "pixels": dataset.pixels, "image_size": config.image_size}

    def give(
        name: str, images: NDArray[np.uint8], kept: Kept, used: Precision, **view: Any
    ) -> Iterator[_Bank]:
        sha = hashlib.sha256(images.tobytes()).hexdigest()
        rounding = choose_rounding(used, bool(view))
        for is_kept, work, output, stored_as, numbers, operations in (
            (kept.maps, "frozen layers", "maps", rounding, cut.numbers, cut.trunk_operations),
            (kept.pooled, "pooled features", "pooled", used, POOLED, cut.tail_operations),
        ):
            if not is_kept:
                continue
            wanted = {**shared, "images": sha, "output": output, **view}
            wanted |= {"precision": used.value, "stored_as": None if stored_as is used else stored_as.value}
            stage, n = f"{work}, {name}", len(images)
            step = Step(
                stage,
                "",
                work,  # type: ignore[arg-type]
                used,
                n,
                n,
                operations,
                any(_has(key, wanted) for key in there),
            )
            yield _Bank(step, n * numbers * BYTES[stored_as])

    train, val = dataset.train.images, dataset.val.images
    yield from give("train", train, keep_plain(config), Precision.FLOAT32)
    yield from give("val", val, Kept(), Precision.FLOAT32)
    for view in range(config.views):
        drawn = {
            name: getattr(config, name)
            for name in ("crop_area", "flip", "brightness", "contrast", "rotation", "noise", "seed")
        }
        name = f"view {view + 1} of {config.views}"
        yield from give(name, train, keep_view(config, view), precision, view=view, **drawn)


def _has(key: Any, wanted: Mapping[str, Any]) -> bool:
    # A view's images are the training images before they are changed: without "view" it is another bank.
    if ("view" in key) != ("view" in wanted):
        return False
    return all(key.get(name) == value for name, value in wanted.items())


def _count_model_bytes(config: TrainConfig) -> int:
    # The logit's weights and bias, behind the hidden layer's where there is one.
    head = (POOLED + 1) * config.head_units + (config.head_units or POOLED) + 1
    return 4 * (count_weights() + head)


def _count_classes(labels: NDArray[np.int64]) -> tuple[int, int]:
    return int((labels == 0).sum()), int((labels == 1).sum())
