"""Which of the frozen layers' outputs go into the cache."""

from dataclasses import dataclass

from pneumocli.core.config import Precision, TrainConfig

# Those that change how a view looks.
VIEW_SETTINGS = (
    "crop_area",
    "zoom_out",
    "crop_share",
    "flip",
    "brightness",
    "contrast",
    "rotation",
    "noise",
    "seed",
)


@dataclass(frozen=True)
class Kept:
    """Which outputs go into the cache; the others are computed whenever they are asked for."""

    maps: bool = True
    pooled: bool = True


def keep_plain(config: TrainConfig) -> Kept:
    """Return what is kept of the training images as they are."""
    # Where views are trained on, an image as it is goes through the trunk once a fold: to be scored, or for
    # the probe of the others. Kept, it would take twice the room of a view.
    return Kept(not config.views, not config.views)


def keep_view(config: TrainConfig, view: int) -> Kept:
    """Return what is kept of a view, counted from 0."""
    # The epochs take the views in turn, so that a late view may be of no use to a short phase.
    for_head = view < config.head_epochs
    for_tune = bool(config.tune_layers) and view < config.tune_epochs
    return Kept(for_head or for_tune, for_head)


def choose_rounding(precision: Precision, view: bool) -> Precision:
    """Return what the frozen layers' maps are rounded to: to half the bits for a view, which is never scored.

    Maps are nearly all that a run keeps: 7.6 GB a view of the 4,708 training images at 224 px in float32.
    bfloat16 has float32's range, so that no network's output overflows.
    """
    return Precision.BFLOAT16 if view and precision is Precision.FLOAT32 else precision
