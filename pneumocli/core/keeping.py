"""Which of the frozen layers' outputs go into the cache."""

from dataclasses import dataclass

from pneumocli.core.config import TrainConfig


@dataclass(frozen=True)
class Kept:
    """Which outputs go into the cache; the others are computed whenever they are asked for."""

    maps: bool = True
    pooled: bool = True


def keep_plain(config: TrainConfig) -> Kept:
    """Return what is kept of the training images as they are."""
    # Where views are trained on, an image as it is serves once: when its fold scores it.
    return Kept(not config.views, not config.views)


def keep_view(config: TrainConfig, view: int) -> Kept:
    """Return what is kept of a view, counted from 0."""
    # The epochs take the views in turn, so that a late view may be of no use to a short phase.
    for_head, for_tune = view < config.head_epochs, view < config.tune_epochs
    return Kept(for_head or for_tune, for_head)
