"""What a command that trains is going to do on this machine, and how long it may take."""

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pneumocli import DISCLAIMER
from pneumocli.core.backend import count_gpus, has_gpu
from pneumocli.core.cache import Cache, check_limit
from pneumocli.core.config import TrainConfig
from pneumocli.core.data import Dataset
from pneumocli.core.files import find_existing
from pneumocli.core.groups import group_images
from pneumocli.core.hardware import choose_jobs
from pneumocli.core.inputs import DataInput, WeightsInput
from pneumocli.core.pace import Pace, TimeSpan
from pneumocli.core.plan import Plan, plan_run
from pneumocli.core.provenance import describe_run
from pneumocli.core.rates import name_memory, rates_path, read_rates
from pneumocli.core.records import DataRecord, Kind
from pneumocli.core.resume import check_place, check_room
from pneumocli.core.runs import Run
from pneumocli.core.sharing import find_begun


@dataclass(frozen=True)
class Forecast:
    """A plan on this machine.

    Attributes:
        data, weights: what the run's record is going to say of them.
        takes_up: the run that is gone on with, if there is one.
        cache, cache_limit, cache_free: where features are kept, the most that they may take, and the
            room on that disk, in bytes; None without a cache.
        runs, runs_free: where the run folder is made, and the room on that disk.
        memory: own memory of the process in an earlier run like this one, in bytes; None if not known.
        time: how long it may take; None if not known.
    """

    plan: Plan
    data: DataRecord
    weights: str
    takes_up: str | None
    cache: str | None
    cache_limit: int | None
    cache_free: int | None
    runs: str
    runs_free: int
    memory: int | None
    time: TimeSpan | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        facts = asdict(self)
        plan = facts.pop("plan")
        plan["config"] = self.plan.config.model_dump(mode="json")
        plan["precision"] = self.plan.precision.value
        del plan["steps"]
        return {
            "schema_version": 1,
            **plan,
            **facts,
            "data": self.data.model_dump(mode="json"),
            "disclaimer": DISCLAIMER,
        }


def foresee(
    data: DataInput,
    dataset: Dataset,
    weights: WeightsInput,
    config: TrainConfig,
    *,
    runs_dir: Path,
    cache: Cache | None,
    name: str | None = None,
    folds: int | None = None,
    groups: NDArray[np.int64] | None = None,
    jobs: int | None = 1,
    fold: int | None = None,
    resume: Run | None = None,
) -> tuple[Forecast, Pace]:
    """Say what is going to be done, and give what follows it; call after `load_backend`.

    Args:
        data: the data set as it was read.
        dataset: what is trained on: all of it, or a subset.
        runs_dir, cache, name, folds, jobs, fold, resume: as for `cross_validate`; without folds, as for
            `train_single`.
        groups: int64 (N,), training images of the same number stay in one fold; None finds them.

    Raises:
        PneumoError: it cannot be done: the name is taken, the features are more than the cache may hold,
            the precision is not one that this machine trains in, the runs' directory has no room, the data
            cannot be divided or cannot say when to stop, the run to go on with was begun with others.
    """
    gpu = has_gpu()
    if folds is not None and groups is None:
        groups = group_images(dataset.train)
    kind: Kind = "train" if folds is None else "cv"
    record = describe_run(kind, data, dataset, weights, config, folds, groups)
    begun = find_begun(runs_dir, record, name=name, resume=resume, fold=fold)
    finished = frozenset(begun.finished_folds()) if begun else frozenset()
    if folds is None or fold is not None:
        jobs = 1
    elif jobs is None:
        jobs = max(
            1, choose_jobs(len(record.fold_numbers) - len(finished), config.deterministic, count_gpus())
        )
    plan = plan_run(
        dataset,
        config,
        record.precision if begun is None else begun.record.precision,
        folds=folds,
        groups=groups,
        finished=finished,
        fold=fold,
        cache=cache,
        jobs=jobs,
    )
    if cache is not None:
        check_limit(cache, plan.feature_bytes)
    if begun is None or not begun.is_complete:
        check_place(runs_dir)
        check_room(runs_dir, plan.room_bytes)
    known = read_rates(rates_path())
    pace = Pace(plan, known, gpu)
    found = Forecast(
        plan=plan,
        data=record.data,
        weights=weights.record.name,
        takes_up=None if begun is None else str(begun.path),
        cache=None if cache is None else str(cache.directory),
        cache_limit=None if cache is None else cache.limit,
        cache_free=None if cache is None else _measure_free(cache.directory),
        runs=str(runs_dir),
        runs_free=_measure_free(runs_dir),
        memory=known.memory.get(name_memory(plan, gpu)),
        time=pace.left(0.0),
    )
    return found, pace


def _measure_free(place: Path) -> int:
    """Return the free bytes of the disk on which a folder is or will be."""
    return shutil.disk_usage(find_existing(place)).free
