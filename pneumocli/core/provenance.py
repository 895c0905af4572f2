"""From what a run works on to its record."""

import numpy as np
from numpy.typing import NDArray

from pneumocli.core.audit import count_conflicts
from pneumocli.core.backend import has_gpu
from pneumocli.core.config import TrainConfig
from pneumocli.core.data import SEEN_NAMES, Dataset
from pneumocli.core.groups import count_groups, digest_groups
from pneumocli.core.hardware import choose_precision
from pneumocli.core.identity import identify_seen
from pneumocli.core.images import PREPARATION_VERSION
from pneumocli.core.inputs import DataInput, WeightsInput
from pneumocli.core.records import DataRecord, GroupsRecord, Kind, RunRecord, describe_versions, stamp_time
from pneumocli.core.stopping import find_stopping


def describe_run(
    kind: Kind,
    data: DataInput,
    dataset: Dataset,
    weights: WeightsInput,
    config: TrainConfig,
    folds: int | None = None,
    groups: NDArray[np.int64] | None = None,
) -> RunRecord:
    """Return the record of a run that is about to be trained.

    Nothing in it depends on the test split.

    Args:
        data: the data set as it was read.
        dataset: what is trained on: all of it, or a subset.
        groups: int64, one a training image of `dataset`; images of the same number stay in one fold.
    """
    grouped = None
    if groups is not None:
        several, images = count_groups(groups)
        grouped = GroupsRecord(
            file=data.groups_file,
            # A file names groups of data that have none of their own: see `add_groups`.
            column=data.groups_file is None and data.dataset.train.groups is not None,
            digest=digest_groups(groups),
            groups=several,
            images=images,
        )
    return RunRecord(
        kind=kind,
        created=stamp_time(),
        folds=folds,
        settings=config,
        data=DataRecord(
            name=dataset.name,
            digest=data.dataset.digest(SEEN_NAMES),
            identity=identify_seen(data.dataset, data.path).sentence,
            synthetic=dataset.synthetic,
            pixels=dataset.pixels,
            train_images=len(dataset.train),
            stopping_images=len(find_stopping(dataset)),
            conflicts=count_conflicts(dataset, SEEN_NAMES),
        ),
        groups=grouped,
        weights=weights.record,
        precision=choose_precision(config.precision, has_gpu()),
        preparation=PREPARATION_VERSION,
        versions=describe_versions(),
    )
