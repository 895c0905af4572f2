"""What a training leaves in its run folder: the model, its scores and figures, and those of all folds."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pneumocli.core.artefact import save_model
from pneumocli.core.atypical import Typical, fit_typical, read_pooled_maps, write_typical
from pneumocli.core.contract import ModelCard
from pneumocli.core.data import Dataset, Split
from pneumocli.core.decision import Decision, fix_decision, write_decision
from pneumocli.core.errors import RunError
from pneumocli.core.figures import POOLED_NAME, choose_best, compute_figures, name_fold, write_figures
from pneumocli.core.files import write_json
from pneumocli.core.hashes import record_hash
from pneumocli.core.records import stamp_time
from pneumocli.core.runs import HISTORY, MODEL, Run
from pneumocli.core.scores import OUT_OF_FOLD, Scores, pool_scores, read_scores, write_scores
from pneumocli.core.seen import write_seen
from pneumocli.core.training import Trained


def write_model(
    folder: Path,
    trained: Trained,
    run: Run,
    name: str,
    decision: Decision | None = None,
    typical: Typical | None = None,
) -> None:
    """Write one trained model, its history and its hash.

    Args:
        folder: the run's, or the fold's while it is filled.
        decision, typical: of a single model; a fold of its own has none.
    """
    record = run.record
    write_json(
        folder / HISTORY,
        {"schema_version": 1, "data": record.data.name, "epochs": trained.history},
    )
    card = ModelCard(
        name=name,
        members=1,
        pixels=record.data.pixels,
        preparation=record.preparation,
        data=record.data,
        weights=record.weights,
        created=stamp_time(),
    )
    card = card if decision is None else card.decide(decision)
    save_model(trained.join(), folder / MODEL, card, typical)
    record_hash(folder / MODEL)


def write_outcome(
    run: Run,
    folder: Path,
    split: str,
    scored: Split,
    name: str,
    scores: Scores,
    decision: Decision | None = None,
) -> None:
    """Write one model's scores and figures; the figures come last, since they tell that all is there."""
    write_scores(folder, split, scores, run.record.data.name)
    write_figures(folder, compute_figures(run, split, {name: scores}, decision, digest=scored.digest()))


def pool_folds(run: Run, dataset: Dataset, groups: NDArray[np.int64]) -> None:
    """Write all folds' out-of-fold scores as one, the decision, and the figures of each fold and of all.

    Beside them what all training images' features are like, for the ensemble, and which images were seen.

    Args:
        dataset: what the folds were trained on.
        groups: int64, one a training image; images of the same number stayed in one fold.
    """
    data = run.record.data
    folds = {
        name_fold(fold): read_scores(folder, OUT_OF_FOLD)
        for fold, folder in enumerate(run.member_paths(), start=1)
    }
    pooled = pool_scores(list(folds.values()), run.record.settings.repeats)
    if len(pooled.index) != data.train_images:
        raise RunError(
            f"{run.path}: {len(pooled.index)} of {data.train_images} training images were held out "
            "by a fold; the run folder is damaged"
        )
    if dataset.train.groups is not None:
        pooled = replace(pooled, group=dataset.train.groups[pooled.index])
    # One repeat has every image once, and the frozen features are the same in all.
    typical = fit_typical(read_pooled_maps(run.member_paths()[: run.record.folds]), groups)
    if typical is not None:
        write_typical(run.path, typical)
    write_seen(run.path, dataset)
    decision = fix_decision(run.record.settings.rule, pooled, OUT_OF_FOLD, data.name)
    scores = {**folds, POOLED_NAME: pooled}
    figures = compute_figures(run, OUT_OF_FOLD, scores, decision, digest=dataset.train.digest())
    best = choose_best({name: figures.models[name] for name in folds})
    write_scores(run.path, OUT_OF_FOLD, pooled, data.name)
    write_decision(run.path, decision)
    write_figures(run.path, figures.model_copy(update={"best_single": best}))
