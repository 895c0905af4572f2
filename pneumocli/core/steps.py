"""The steps of a run, by the names under which training tells its listener where it stands.

So whoever listens knows how much is still to come, and of what. Nothing here needs Keras; the network is
ResNet-50.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pneumocli.core.architecture import POOLED, Cut
from pneumocli.core.cache import Cache, list_banks
from pneumocli.core.config import Precision, TrainConfig
from pneumocli.core.data import Dataset
from pneumocli.core.keeping import VIEW_SETTINGS, Kept, choose_rounding, keep_plain, keep_view

Work = Literal["frozen layers", "pooled features", "head", "tune", "scores", "likeness"]

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
class Phase:
    """One phase of training: its epochs, at most or exactly, and how many layers of the backbone train."""

    name: Literal["head", "tune"]
    epochs: int
    may_stop_early: bool
    learning_rate: float
    layers: int


@dataclass(frozen=True)
class PlannedBank:
    """Features of one set of images: its step, its bytes, and whether the cache seems to have it."""

    step: Step
    bytes: int


def list_phases(config: TrainConfig) -> Iterator[Phase]:
    """Give the phases of each model."""
    stops = config.early_stopping
    may_stop = stops and config.head_patience + 1 < config.head_epochs
    yield Phase("head", config.head_epochs, may_stop, config.head_learning_rate, 0)
    if config.tune_epochs and config.tune_layers:
        # The end of the head phase competes as epoch 0, so that the patience may end one epoch earlier.
        may_stop = stops and config.tune_patience < config.tune_epochs
        yield Phase("tune", config.tune_epochs, may_stop, config.tune_learning_rate, config.tune_layers)


def list_model_steps(
    title: str,
    images: int,
    config: TrainConfig,
    precision: Precision,
    cut: Cut,
    keeps: bool,
    is_finished: bool = False,
) -> Iterator[Step]:
    """Give a step for each phase of one model, and for its probe.

    Args:
        title: names the model to the listener, as in `training.train_classifier`.
        images: how many it is trained on.
        keeps: whether the trunk's outputs are kept, or computed anew for each batch.
        is_finished: whether a stopped run has trained it already.
    """
    again = 0 if keeps else cut.trunk_operations
    patience = {"head": config.head_patience + 1, "tune": config.tune_patience}
    operations = {
        "head": 0 if keeps else again + cut.tail_operations,
        "tune": again + PASSES_OF_TRAINING * cut.tail_operations,
    }
    for phase in list_phases(config):
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
    if config.probe:
        # The same work as for the likeness: the maps of images as they are, pooled.
        again = 0 if keeps and keep_plain(config).maps else cut.trunk_operations
        stage, used = f"{title}, probe", Precision.FLOAT32
        yield Step(stage, title, "likeness", used, images, images, again, is_finished)


def plan_banks(
    dataset: Dataset, config: TrainConfig, precision: Precision, cut: Cut, cache: Cache
) -> Iterator[PlannedBank]:
    """Give the features that a run keeps, in the order in which they are computed."""
    there = [entry.key for entry in list_banks(cache)]
    shared = {"cut": cut.name, "pixels": dataset.pixels, "image_size": config.image_size}

    def give(
        name: str, images: NDArray[np.uint8], kept: Kept, used: Precision, **view: Any
    ) -> Iterator[PlannedBank]:
        shown = view or {"center_crop": config.center_crop}
        sha = hashlib.sha256(images.tobytes()).hexdigest()
        rounding = choose_rounding(used, bool(view))
        for is_kept, work, output, stored_as, numbers, operations in (
            (kept.maps, "frozen layers", "maps", rounding, cut.numbers, cut.trunk_operations),
            (kept.pooled, "pooled features", "pooled", used, POOLED, cut.tail_operations),
        ):
            if not is_kept:
                continue
            wanted = {**shared, "images": sha, "output": output, **shown}
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
            yield PlannedBank(step, n * numbers * BYTES[stored_as])

    train, val = dataset.train.images, dataset.val.images
    yield from give("train", train, keep_plain(config), Precision.FLOAT32)
    yield from give("val", val, Kept(), Precision.FLOAT32)
    for view in range(config.views):
        drawn = config.model_dump(include=set(VIEW_SETTINGS))
        name = f"view {view + 1} of {config.views}"
        yield from give(name, train, keep_view(config, view), precision, view=view, **drawn)


def _has(key: Any, wanted: Mapping[str, Any]) -> bool:
    # A view's images are the training images before they are changed: without "view" it is another bank.
    if ("view" in key) != ("view" in wanted):
        return False
    return all(key.get(name) == value for name, value in wanted.items())
