"""Answers for images by several processes: parts of the list side by side, rows in the order of the list."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TypeVar

from pneumocli.core.engine import Chosen, Engine, Opened, open_predictor
from pneumocli.core.errors import RunError
from pneumocli.core.images import Source
from pneumocli.core.prediction import Failure, Prediction, predict_files
from pneumocli.core.preparation import check_preparation
from pneumocli.core.progress import Listener, Notice, Progress, ignore, keep_quiet
from pneumocli.core.runs import Run, open_run
from pneumocli.core.workers import Workers

One = TypeVar("One")

BATCH = 32  # images: a multiple of every scorer's batch, so that batches are those of one process
SHARD = 4 * BATCH  # images of a task
ROUND = 8  # tasks a worker, whose answers are in memory before they are passed on


@dataclass(frozen=True)
class _Shard:
    """One task: a part of the list, and what answers for it.

    Attributes:
        place: of the run, or of the model file.
        engine, sha256: of what is to answer.
    """

    place: Path
    is_run: bool
    engine: Engine
    sha256: str
    sources: tuple[Source, ...]
    strict: bool
    force: bool = False


def predict_shards(
    found: Run | Path,
    chosen: Chosen,
    sources: Sequence[Source],
    workers: Workers,
    *,
    jobs: int | None = None,
    deterministic: bool = False,
    strict: bool = False,
    force: bool = False,
    listen: Listener = ignore,
    notify: Notice = keep_quiet,
    warn: Notice = keep_quiet,
) -> Iterator[Prediction | Failure]:
    """Answer for each image as `predict_files` does, by several processes that each keep the model.

    What is in memory at once does not grow with the number of images: tasks go out in rounds, of 1,024
    images a worker. A task whose worker dies is done again.

    Args:
        found: what `finding.find_predictor` has found.
        chosen: what of it answers.
        warn: is told in a line what was gone on with because of `force`.
        jobs: at most so many tasks at once; None is one a worker.

    Raises:
        PneumoError: as `predict_files`, or a worker has no such model.
    """
    # Here, where it can be told; the processes that answer do so quietly.
    card = chosen.card
    check_preparation(card.name, card.preparation, force=force, notify=warn)
    cut = _cut(sources)
    done = passed_over = 0
    at_once = workers.choose_jobs(jobs, len(cut))
    is_run = isinstance(found, Run)
    place = found.path if isinstance(found, Run) else found
    for tasks in _batch(cut, ROUND * at_once):
        shards = [
            _Shard(place, is_run, chosen.engine, chosen.model_sha256, part, strict, force) for part in tasks
        ]
        needs_keras = chosen.engine != "onnx"
        results = workers.do(_answer_shard, shards, at_once, deterministic, notify, needs_keras)
        for shard, answers in zip(shards, results, strict=True):
            yield from answers
            done += len(shard.sources)
            passed_over += len(shard.sources) - len(answers)
            listen(Progress("images", done, len(sources)))
    if passed_over:
        notify(f"passed over {passed_over} DICOM files without an image")


def _cut(sources: Sequence[Source]) -> list[tuple[Source, ...]]:
    """Return parts of whole batches; a short rest goes to the last, whose batches keep their full shape."""
    parts = list(_batch(sources, SHARD))
    if len(parts) > 1 and len(parts[-1]) < BATCH:
        parts[-2:] = [parts[-2] + parts[-1]]
    return parts


def _batch(items: Iterable[One], size: int) -> Iterator[tuple[One, ...]]:
    rest = iter(items)
    while batch := tuple(islice(rest, size)):
        yield batch


def _answer_shard(shard: _Shard, listen: Listener) -> list[Prediction | Failure]:
    opened = _load(shard.place, shard.is_run, shard.engine, shard.sha256, shard.force)
    card = opened.chosen.card
    answers = predict_files(
        opened.scorer, card, shard.sources, strict=shard.strict, force=shard.force, listen=listen
    )
    return list(answers)


@lru_cache(maxsize=1)
def _load(place: Path, is_run: bool, engine: Engine, sha256: str, force: bool) -> Opened:
    """Open the model that answers, once a process."""
    opened = open_predictor(open_run(place) if is_run else place, engine, force=force)
    if opened.chosen.model_sha256 != sha256:
        raise RunError(f"a worker finds another model in {place} than the command does; was it replaced?")
    return opened
