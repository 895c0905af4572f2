"""What all training on one data set shares: the frozen layers' outputs, computed once."""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from pneumocli.core.augment import ViewSource
from pneumocli.core.backend import has_gpu
from pneumocli.core.cache import Cache, check_limit
from pneumocli.core.config import Precision, TrainConfig
from pneumocli.core.data import Dataset
from pneumocli.core.features import STORED_AS, compute_features
from pneumocli.core.hardware import read_processor
from pneumocli.core.inference import Rows
from pneumocli.core.keeping import VIEW_SETTINGS, Kept, choose_rounding, keep_plain, keep_view
from pneumocli.core.model import (
    TRUNK_VERSION,
    BackboneBuilder,
    Parts,
    build_parts,
    build_resnet50,
    enter_views,
    name_cut,
)
from pneumocli.core.progress import Listener, ignore
from pneumocli.core.stopping import find_stopping


@dataclass(frozen=True)
class SplitFeatures:
    """What the frozen layers make of one split, row for row.

    Attributes:
        maps: (N, h, w, c), the trunk's output, which fine-tuning starts from.
        pooled: (N, C), the pretrained tail's output, all that the head phase needs.
    """

    maps: Rows
    pooled: Rows


@dataclass(frozen=True)
class Material:
    """All that the training of any number of classifiers shares.

    Attributes:
        config: the settings it was made with.
        pixels: side of the data set's images.
        weights: the pretrained weights' file, None for random ones.
        precision: of training, never "auto".
        labels: int64 (N,), of the training split.
        maps: the trunk's output for the training images as they are, from which held-out images
            are scored, and which a probe is fitted on.
        views: what is trained on: the images as they are, or their augmented views.
        val: features of the validation split.
        val_labels: int64, of the validation split.
        stopping_rows: rows of val that decide when to stop: those without a near duplicate in train.
    """

    config: TrainConfig
    pixels: int
    weights: Path | None
    precision: Precision
    labels: NDArray[np.int64]
    maps: Rows
    views: tuple[SplitFeatures, ...]
    val: SplitFeatures
    val_labels: NDArray[np.int64]
    stopping_rows: NDArray[np.int64]
    backbone_builder: BackboneBuilder

    def rows(self) -> NDArray[np.int64]:
        """Return the row numbers of the training split."""
        return np.arange(len(self.labels))


def prepare_material(
    dataset: Dataset,
    config: TrainConfig,
    weights: Path | None,
    *,
    cache: Cache | None,
    precision: Precision = Precision.FLOAT32,
    backbone_builder: BackboneBuilder = build_resnet50,
    check: Callable[[Parts], None] | None = None,
    listen: Listener = ignore,
) -> Material:
    """Run the frozen layers over train and val once; the test split is not touched.

    Scores are computed in float32 whatever the precision, so the images as they are go through
    the trunk in float32; augmented views, which are only trained on, in the precision of training,
    and their maps are rounded to 16 bits.

    Args:
        cache: where the outputs are kept; None computes them anew whenever they are needed.
        check: is given the parts before the work begins, and may refuse it.

    Raises:
        DataError: every validation image is a near duplicate of a training image.
        PneumoError: the cache has no room, or the weights are another network's.
    """
    stopping_rows = find_stopping(dataset)
    parts = build_parts(dataset.pixels, config, weights, backbone_builder=backbone_builder)
    if check is not None:
        check(parts)
    frozen = _describe_trunk(parts, dataset.pixels, config)
    if cache is not None:
        # Before the work: banks of one run that do not fit together would drive each other out.
        check_limit(cache, _count_bytes(parts, dataset, config, precision))

    def pass_once(
        name: str,
        images: NDArray[np.uint8],
        source: Rows,
        key: dict[str, Any],
        parts: Parts,
        used: Precision,
        kept: Kept,
    ) -> SplitFeatures:
        if dataset.synthetic:
            key["synthetic"] = True
        key = {**frozen, **key, "images": hashlib.sha256(images.tobytes()).hexdigest()}
        trunk = enter_views(parts.trunk) if "view" in key else parts.trunk
        maps = compute_features(
            trunk,
            source,
            cache=cache if kept.maps else None,
            key={**key, "output": "maps"},
            precision=used,
            stored_as=choose_rounding(used, "view" in key),
            stage=f"frozen layers, {name}",
            listen=listen,
        )
        pooled = compute_features(
            parts.tail,
            maps,
            cache=cache if kept.pooled else None,
            key={**key, "output": "pooled", "tail": _hash_weights(parts.tail)},
            precision=used,
            stage=f"pooled features, {name}",
            listen=listen,
        )
        return SplitFeatures(maps, pooled)

    def pass_split(name: str, kept: Kept) -> SplitFeatures:
        images = dataset.splits[name].images
        key = {"center_crop": config.center_crop}
        return pass_once(name, images, images[..., np.newaxis], key, parts, Precision.FLOAT32, kept)

    train, val = pass_split("train", keep_plain(config)), pass_split("val", Kept())
    views: tuple[SplitFeatures, ...] = (train,)
    if config.views:
        training_parts = parts
        if precision is not Precision.FLOAT32:
            training_parts = build_parts(
                dataset.pixels, config, weights, precision=precision, backbone_builder=backbone_builder
            )
        settings = config.model_dump(include=set(VIEW_SETTINGS))
        views = tuple(
            pass_once(
                f"view {view + 1} of {config.views}",
                dataset.train.images,
                ViewSource(dataset.train.images, config, view),
                {"view": view, **settings},
                training_parts,
                precision,
                keep_view(config, view),
            )
            for view in range(config.views)
        )
    return Material(
        config=config,
        pixels=dataset.pixels,
        weights=weights,
        precision=precision,
        labels=dataset.train.labels,
        maps=train.maps,
        views=views,
        val=val,
        val_labels=dataset.val.labels,
        stopping_rows=stopping_rows,
        backbone_builder=backbone_builder,
    )


def _count_bytes(parts: Parts, dataset: Dataset, config: TrainConfig, precision: Precision) -> int:
    """Return the bytes of all the features that a run keeps."""
    maps, pooled = (math.prod(part.output_shape[1:]) for part in (parts.trunk, parts.tail))

    def count(images: int, kept: Kept, used: Precision, view: bool = False) -> int:
        per_image = kept.maps * maps * np.dtype(STORED_AS[choose_rounding(used, view)]).itemsize
        return images * (per_image + kept.pooled * pooled * np.dtype(STORED_AS[used]).itemsize)

    train = len(dataset.train)
    views = (count(train, keep_view(config, view), precision, True) for view in range(config.views))
    plain = count(train, keep_plain(config), Precision.FLOAT32)
    return plain + count(len(dataset.val), Kept(), Precision.FLOAT32) + sum(views)


def _describe_trunk(parts: Parts, pixels: int, config: TrainConfig) -> dict[str, Any]:
    """Return what a trunk's output depends on beside the image."""
    processor = read_processor()
    return {
        "trunk": TRUNK_VERSION,
        "weights": _hash_weights(parts.trunk),
        "cut": name_cut(parts.trunk),
        "pixels": pixels,
        "image_size": config.image_size,
        "keras": keras.__version__,
        "backend": f"{keras.backend.backend()} {version(keras.backend.backend())}",
        "gpu": has_gpu(),
        "processor": processor.name,
        "instructions": hashlib.sha256(" ".join(sorted(processor.instructions)).encode()).hexdigest(),
    }


def _hash_weights(model: keras.Model) -> str:
    sha = hashlib.sha256()
    for array in model.get_weights():
        sha.update(array.tobytes())
    return sha.hexdigest()
