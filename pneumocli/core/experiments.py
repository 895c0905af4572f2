"""Runs that train: one model on the whole training split, or one a fold."""

from pathlib import Path

import numpy as np

from pneumocli.core.atypical import fit_typical
from pneumocli.core.backend import count_gpus
from pneumocli.core.cache import Cache
from pneumocli.core.config import TrainConfig
from pneumocli.core.data import Dataset
from pneumocli.core.decision import fix_decision, write_decision
from pneumocli.core.division import draw_subset
from pneumocli.core.errors import RunError, SettingError
from pneumocli.core.figures import name_fold
from pneumocli.core.fold import FoldTask, prepare_run, train_fold, train_fold_elsewhere, train_fold_on_cluster
from pneumocli.core.folds import make_folds
from pneumocli.core.groups import digest_groups, group_images
from pneumocli.core.hardware import choose_jobs
from pneumocli.core.inputs import DataInput, WeightsInput
from pneumocli.core.model import BackboneBuilder, Parts, build_resnet50, count_bytes
from pneumocli.core.outcome import pool_folds, write_model, write_outcome
from pneumocli.core.parallel import run_side_by_side
from pneumocli.core.progress import Listener, Notice, ignore, keep_quiet
from pneumocli.core.provenance import describe_run
from pneumocli.core.records import RunRecord
from pneumocli.core.resume import (
    check_place,
    check_room,
    find_stopped,
    open_checkpoint,
    training,
    write_inputs,
)
from pneumocli.core.runs import Run, advise_resume, create_run
from pneumocli.core.scores import STOPPING, Scores, write_scores
from pneumocli.core.seen import write_seen
from pneumocli.core.sharing import check_folds, find_begun, join_run, training_fold
from pneumocli.core.stopping import check_stopping
from pneumocli.core.training import pool_maps, score_features, train_classifier
from pneumocli.core.workers import Workers


def train_single(
    data: DataInput,
    weights: WeightsInput,
    config: TrainConfig,
    *,
    runs_dir: Path,
    cache: Cache | None,
    name: str | None = None,
    resume: Run | None = None,
    backbone_builder: BackboneBuilder = build_resnet50,
    listen: Listener = ignore,
    notify: Notice = keep_quiet,
) -> Run:
    """Train one model on the whole training split and keep it as a run, scored on val.

    A stopped run of the same settings is gone on with, from its last finished epoch. The threshold and
    temperature are fixed on the validation images without a copy in train.

    Args:
        runs_dir: where the run folder is made.
        cache: where the frozen layers' outputs are kept; None computes them again when needed.
        name: the run's name; by default it counts up.
        resume: a run to go on with, `config` being its own; one that is complete stays as it is.

    Raises:
        PneumoError: a subset too small, weights of another network, a name that is taken, a class
            missing among the validation images without a copy in train, a directory without room, a run
            to go on with that was begun with other inputs.
    """
    if config.repeats > 1:
        raise SettingError("a single model has no folds to repeat; cross-validate, or set repeats to 1")
    dataset = _take_subset(data.dataset, config)
    check_stopping(dataset)
    record = describe_run("train", data, dataset, weights, config)
    stopped = find_stopped(runs_dir, record, name, resume, notify)
    if stopped is not None and stopped.is_complete:
        return stopped
    record = record if stopped is None else stopped.record
    check_place(runs_dir)
    material = prepare_run(
        dataset,
        record,
        weights.path,
        cache,
        backbone_builder,
        listen,
        lambda built: check_room(runs_dir, _count_needed(built, config, 1, 1)),
    )
    run = stopped or _begin_run(runs_dir, record, name, data, weights)
    with training(run):
        checkpoint = open_checkpoint(run, None, notify)
        trained = train_classifier(material, checkpoint=checkpoint, listen=listen)
        all_val = np.arange(len(dataset.val))
        stage = "scores on val"
        y_score = score_features(trained.parts, material.val.maps, all_val, stage=stage, listen=listen)
        scores = Scores(all_val, dataset.val.labels, y_score, dataset.val.groups)
        stopping = scores.take(material.stopping_rows)
        decision = fix_decision(config.rule, stopping, "val", dataset.name)
        stage = "likeness to train"
        pooled_maps = pool_maps(material.maps, material.rows(), stage=stage, listen=listen)
        typical = fit_typical(pooled_maps, group_images(dataset.train))
        write_model(run.path, trained, run, run.name, decision, typical)
        write_scores(run.path, STOPPING, stopping, dataset.name)
        write_seen(run.path, dataset)
        write_decision(run.path, decision)
        write_outcome(run, run.path, "val", dataset.val, run.name, scores, decision)
    return run


def cross_validate(
    data: DataInput,
    weights: WeightsInput,
    config: TrainConfig,
    folds: int,
    *,
    runs_dir: Path,
    cache: Cache | None,
    name: str | None = None,
    resume: Run | None = None,
    jobs: int | None = 1,
    fold: int | None = None,
    workers: Workers | None = None,
    backbone_builder: BackboneBuilder = build_resnet50,
    listen: Listener = ignore,
    notify: Notice = keep_quiet,
) -> Run:
    """Train a fresh model a fold, score each on its held-out part, and keep all as a run.

    A stopped run of the same settings is gone on with: its finished folds are not done again, and the one
    under way goes on from its last finished epoch.
    Near duplicates among the training images, and the groups that these have, stay in one fold.

    Args:
        folds: number of stratified folds of the training split; with `config.repeats` so many models each.
        runs_dir, cache, name, resume: as for `train_single`.
        jobs: folds trained side by side, each in a process of its own with its share of the cores;
            None takes as many as are fastest on this machine.
        fold: train this one alone, counted from 1, and leave the run to `complete_run`; other processes may
            train the others of the run of the same `name` meanwhile, which whoever is first makes.
        workers: of a cluster that folds are trained on, `jobs` of them at once; None is this machine. A fold
            whose worker dies goes on with another, from its last finished epoch.

    Raises:
        PneumoError: as for `train_single`, or the folds are too few or too many.
    """
    dataset = _take_subset(data.dataset, config)
    groups = group_images(dataset.train)
    parts = make_folds(dataset.train.labels, folds, config.seed, groups, repeats=config.repeats)
    record = describe_run("cv", data, dataset, weights, config, folds, groups)
    stopped = find_begun(runs_dir, record, name=name, resume=resume, fold=fold, notify=notify)
    if stopped is not None and stopped.is_complete:
        return stopped
    record = record if stopped is None else stopped.record
    finished = stopped.finished_folds() if stopped else []
    if finished:
        notify(f"finished before: {', '.join(map(name_fold, finished))}")
    if stopped is not None and fold in finished:
        return stopped
    check_place(runs_dir)
    left = len(parts) - len(finished) if fold is None else 1
    if workers is not None:
        jobs = workers.choose_jobs(jobs, left)
    elif jobs is None:
        jobs = choose_jobs(left, config.deterministic, count_gpus())
    jobs = max(1, min(jobs, left))
    material = None
    if left:
        material = prepare_run(
            dataset,
            record,
            weights.path,
            cache,
            backbone_builder,
            listen,
            lambda built: check_room(runs_dir, _count_needed(built, config, left, jobs)),
        )
    # Made only now: what cannot be trained leaves no run folder behind.
    if stopped is not None:
        run = stopped
    elif fold is not None and name is not None:
        run = join_run(runs_dir, record, name, data, weights, notify)
    else:
        run = _begin_run(runs_dir, record, name, data, weights)
    with training(run) if fold is None else training_fold(run, fold):
        tasks = [
            FoldTask(
                run=run,
                dataset=dataset,
                weights=weights.path,
                cache=cache,
                fold=number,
                checkpoint=open_checkpoint(run, number, notify),
                trained_rows=trained_rows,
                held_out=held_out,
                backbone_builder=backbone_builder,
            )
            for number, (trained_rows, held_out) in enumerate(parts, start=1)
            # Asked again: only now no other process can be training this run.
            if number not in run.finished_folds() and fold in (None, number)
        ]
        if workers is not None and tasks:
            for line in workers.do(train_fold_on_cluster, tasks, jobs, config.deterministic, notify):
                notify(line)
        elif min(jobs, len(tasks)) > 1:
            run_side_by_side(
                train_fold_elsewhere, tasks, jobs, config.deterministic, listen, gpus=count_gpus()
            )
        elif material is not None:
            for task in tasks:
                train_fold(task, material, listen)
        if fold is None:
            pool_folds(run, dataset, groups)
    return run


def complete_run(run: Run, data: DataInput) -> None:
    """Complete a cross-validation whose folds were trained one by one: what `cross_validate` does at its end.

    Args:
        data: the data set that the folds were trained on.

    Raises:
        RunError: folds are missing, a process is training one, or the data are others.
    """
    check_folds(run)
    dataset = _take_subset(data.dataset, run.record.settings)
    groups = group_images(dataset.train)
    kept = run.record.groups
    if not run.owns(data.dataset) or (kept is not None and kept.digest != digest_groups(groups)):
        raise RunError(
            f"{run.path} was begun with other images than those of {data.dataset.name}, or other groups of "
            f"them; complete it with: {advise_resume(run)} --data DATA"
        )
    with training(run):
        if not run.is_complete:
            pool_folds(run, dataset, groups)


def _begin_run(
    runs_dir: Path, record: RunRecord, name: str | None, data: DataInput, weights: WeightsInput
) -> Run:
    run = create_run(runs_dir, record, name)
    write_inputs(run, data.path, weights.path, data.groups_path)
    return run


def _count_needed(parts: Parts, config: TrainConfig, models: int, jobs: int) -> int:
    """Return the most bytes that a run takes on disk while it trains."""
    model = count_bytes(parts.trunk, parts.tail, parts.head)
    # A checkpoint holds the weights, Adam's two means and the best epoch's weights, and is there twice
    # while it is replaced.
    checkpoint = 2 * (4 if config.early_stopping else 3) * count_bytes(parts.tail, parts.head)
    return models * model + jobs * checkpoint


def _take_subset(dataset: Dataset, config: TrainConfig) -> Dataset:
    return dataset if config.subset is None else draw_subset(dataset, config.subset, config.seed)
