"""Runs that train: one model on the whole training split, or one a fold."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pneumocli.core.artefact import ModelCard, save_model
from pneumocli.core.config import TrainConfig
from pneumocli.core.data import Dataset, Split, draw_subset, find_originals, make_folds
from pneumocli.core.errors import RunError
from pneumocli.core.figures import POOLED_NAME, Figures, choose_best, name_fold, write_figures
from pneumocli.core.files import write_json
from pneumocli.core.images import PREPARATION_VERSION
from pneumocli.core.inputs import DataInput, Notice, WeightsInput
from pneumocli.core.metrics import compute_metrics, summarize_folds
from pneumocli.core.model import BackboneBuilder, build_resnet50
from pneumocli.core.progress import Listener, ignore
from pneumocli.core.runs import (
    HISTORY,
    MODEL,
    DataRecord,
    Kind,
    Run,
    RunRecord,
    create_run,
    describe_versions,
    filling,
    find_unfinished,
    stamp_time,
)
from pneumocli.core.scores import OUT_OF_FOLD, Scores, pool_scores, read_scores, write_scores
from pneumocli.core.training import Trained, prepare_material, score_features, train_classifier


def train_single(
    data: DataInput,
    weights: WeightsInput,
    config: TrainConfig,
    *,
    runs_dir: Path,
    cache: Path,
    name: str | None = None,
    backbone_builder: BackboneBuilder = build_resnet50,
    listen: Listener = ignore,
    notify: Notice = lambda line: None,
) -> Run:
    """Train one model on the whole training split and keep it as a run, scored on val.

    Args:
        runs_dir: where the run folder is made.
        cache: where the frozen layers' outputs are kept.
        name: the run's name; by default it counts up.

    Raises:
        PneumoError: a subset too small, weights of another network, a name that is taken.
    """
    dataset = _take_subset(data.dataset, config)
    run = _begin_run("train", data, dataset, weights, config, None, runs_dir, name, notify)
    material = prepare_material(
        dataset, config, weights.path, cache=cache, backbone_builder=backbone_builder, listen=listen
    )
    trained = train_classifier(material, config, title=run.name, listen=listen)
    _write_model(run.path, trained, run, run.name)
    all_val = material.val.rows()
    scores = _score(
        dataset.val,
        all_val,
        score_features(trained.parts, material.val.maps, all_val, stage="scores on val", listen=listen),
    )
    _write_figures(run, run.path, "val", {run.name: scores})
    return run


def cross_validate(
    data: DataInput,
    weights: WeightsInput,
    config: TrainConfig,
    folds: int,
    *,
    runs_dir: Path,
    cache: Path,
    name: str | None = None,
    backbone_builder: BackboneBuilder = build_resnet50,
    listen: Listener = ignore,
    notify: Notice = lambda line: None,
) -> Run:
    """Train a fresh model a fold, score each on its held-out part, and keep all as a run.

    A stopped run of the same settings is gone on with: its finished folds are not done again.

    Args:
        folds: number of stratified folds of the training split.
        runs_dir, cache, name: as for `train_single`.

    Raises:
        PneumoError: as for `train_single`, or the folds are too few or too many.
    """
    dataset = _take_subset(data.dataset, config)
    parts = make_folds(dataset.train.labels, folds, config.seed)
    run = _begin_run("cv", data, dataset, weights, config, folds, runs_dir, name, notify)
    finished = run.finished_folds()
    if finished:
        notify(f"{run.path}: going on; finished before: {', '.join(map(name_fold, finished))}")
    if len(finished) < folds:
        material = prepare_material(
            dataset, config, weights.path, cache=cache, backbone_builder=backbone_builder, listen=listen
        )
    for fold, (trained_rows, held_out) in enumerate(parts, start=1):
        if fold in finished:
            continue
        title = f"{name_fold(fold)} of {folds}"
        trained = train_classifier(material, config, trained_rows, fold=fold, title=title, listen=listen)
        stage = f"{title}, held-out scores"
        y_score = score_features(trained.parts, material.train.maps, held_out, stage=stage, listen=listen)
        with filling(run.fold_path(fold)) as folder:
            _write_model(folder, trained, run, f"{run.name}, {name_fold(fold)}")
            scores = _score(dataset.train, held_out, y_score)
            _write_figures(run, folder, OUT_OF_FOLD, {name_fold(fold): scores})
    _pool_folds(run)
    return run


def _take_subset(dataset: Dataset, config: TrainConfig) -> Dataset:
    return dataset if config.subset is None else draw_subset(dataset, config.subset, config.seed)


def _begin_run(
    kind: Kind,
    data: DataInput,
    dataset: Dataset,
    weights: WeightsInput,
    config: TrainConfig,
    folds: int | None,
    runs_dir: Path,
    name: str | None,
    notify: Notice,
) -> Run:
    """Make a run folder, or find the stopped run that did the same work."""
    record = RunRecord(
        kind=kind,
        created=stamp_time(),
        folds=folds,
        settings=config,
        data=DataRecord(
            name=dataset.name,
            digest=data.dataset.digest(),
            identity=data.identity,
            synthetic=dataset.synthetic,
            pixels=dataset.pixels,
            train_images=len(dataset.train),
            stopping_images=len(find_originals(dataset.val, dataset.train)),
        ),
        weights=weights.record,
        preparation=PREPARATION_VERSION,
        versions=describe_versions(),
    )
    stopped = find_unfinished(runs_dir, record, name)
    if stopped is None:
        return create_run(runs_dir, record, name)
    notify(f"{stopped.path} was stopped before its end; it is taken up again")
    return stopped


def _write_model(folder: Path, trained: Trained, run: Run, name: str) -> None:
    record = run.record
    write_json(folder / HISTORY, {"data": record.data.name, "epochs": trained.history})
    card = ModelCard(
        name=name,
        members=1,
        pixels=record.data.pixels,
        preparation=record.preparation,
        data=record.data,
        weights=record.weights,
        created=stamp_time(),
    )
    save_model(trained.join(), folder / MODEL, card)


def _score(split: Split, index: NDArray[np.int64], y_score: NDArray[np.float32]) -> Scores:
    return Scores(index.astype(np.int64), split.labels[index], y_score)


def _write_figures(run: Run, folder: Path, split: str, models: dict[str, Scores]) -> None:
    """Write one model's scores and figures; the figures come last, since they tell that all is there."""
    data = run.record.data
    for scores in models.values():
        write_scores(folder, split, scores, data.name)
    metrics = {name: compute_metrics(scores.y_true, scores.y_score) for name, scores in models.items()}
    write_figures(
        folder,
        Figures(
            run=run.name,
            split=split,
            data=data.name,
            data_digest=data.digest,
            synthetic=data.synthetic,
            models=metrics,
        ),
    )


def _pool_folds(run: Run) -> None:
    """Write the out-of-fold scores of all folds as one, and the figures of each fold and of all."""
    data = run.record.data
    scores = [read_scores(folder, OUT_OF_FOLD) for folder in run.member_paths()]
    pooled = pool_scores(scores)
    if len(pooled.index) != data.train_images:
        raise RunError(
            f"{run.path}: {len(pooled.index)} of {data.train_images} training images were held out "
            "by a fold; the run folder is damaged"
        )
    write_scores(run.path, OUT_OF_FOLD, pooled, data.name)
    folds = {
        name_fold(fold): compute_metrics(part.y_true, part.y_score)
        for fold, part in enumerate(scores, start=1)
    }
    write_figures(
        run.path,
        Figures(
            run=run.name,
            split=OUT_OF_FOLD,
            data=data.name,
            data_digest=data.digest,
            synthetic=data.synthetic,
            models={**folds, POOLED_NAME: compute_metrics(pooled.y_true, pooled.y_score)},
            best_single=choose_best(folds),
            folds=summarize_folds(list(folds.values())),
        ),
    )
