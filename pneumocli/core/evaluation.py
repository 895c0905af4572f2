"""A trained run on a split: its members' scores, their mean, the figures of both, the artefact."""

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from pneumocli.core.artefact import ModelCard, load_model, save_model
from pneumocli.core.data import Dataset
from pneumocli.core.errors import DataError, RunError
from pneumocli.core.figures import ENSEMBLE_NAME, Figures, name_fold, read_figures, write_figures
from pneumocli.core.inference import compute_member_scores
from pneumocli.core.metrics import average_scores, compute_metrics
from pneumocli.core.model import join_ensemble, split_classifier
from pneumocli.core.progress import Listener, ignore
from pneumocli.core.records import stamp_time
from pneumocli.core.runs import ENSEMBLE, MODEL, Run, check_complete
from pneumocli.core.scores import OUT_OF_FOLD, Scores, write_scores
from pneumocli.core.uncertainty import estimate_figures


@dataclass(frozen=True)
class Evaluation:
    """A run's models on one split.

    Attributes:
        figures: of every model, by name.
        y_true: int64 (N,).
        y_score: float32 (N,) of every model, by the same names.
        main: the name of the model that the run stands for: the ensemble, or the single one.
    """

    figures: Figures
    y_true: NDArray[np.int64]
    y_score: dict[str, NDArray[np.float32]]
    main: str


def evaluate_run(
    run: Run, dataset: Dataset, split: str, *, model: keras.Model | None = None, listen: Listener = ignore
) -> Evaluation:
    """Score a split with a run's model or models, and keep scores and figures in the run folder.

    For a cross-validation the members are its folds' models, and the ensemble is the mean of their
    probabilities; the best single one is that with the highest out-of-fold AUC.

    Args:
        split: "val" or "test".
        model: the run's model, if it is loaded already.

    Raises:
        DataError: the images are of another size than those the run was trained on.
        RunError: parts of the run are missing.
    """
    if dataset.pixels != run.record.data.pixels:
        raise DataError(
            f"{run.path} was trained on images of {run.record.data.pixels} px; {dataset.name} has "
            f"{dataset.pixels} px: name a file of the run's size with --data"
        )
    scored_split = dataset.splits[split]
    images, labels = scored_split.images, scored_split.labels
    model = load_run_model(run) if model is None else model
    members = compute_member_scores(model, images, stage=f"scores on {split}", listen=listen)
    best = None
    if run.record.kind == "cv":
        y_score = {name_fold(fold): row for fold, row in enumerate(members, start=1)}
        y_score[ENSEMBLE_NAME] = average_scores(members)
        best = read_figures(run.path, OUT_OF_FOLD).best_single
        folders = [*run.member_paths(), run.path]
    else:
        y_score = {run.name: members[0]}
        folders = [run.path]
    scored = dataset.name
    if run.synthetic and not dataset.synthetic:
        scored += ", by a model trained on synthetic images"
    for folder, row in zip(folders, y_score.values(), strict=True):
        write_scores(folder, split, Scores(np.arange(len(labels)), labels, row), scored)
    figures = Figures(
        run=run.name,
        split=split,
        data=dataset.name,
        data_digest=scored_split.digest(),
        synthetic=dataset.synthetic or run.synthetic,
        models={name: compute_metrics(labels, row) for name, row in y_score.items()},
        best_single=best,
        estimates={name: estimate_figures(labels, row) for name, row in y_score.items()},
    )
    write_figures(run.path, figures)
    return Evaluation(figures, labels, y_score, main=list(y_score)[-1])


def load_run_model(run: Run) -> keras.Model:
    """Return the run's classifier, or the ensemble of its folds' classifiers.

    Raises:
        RunError: parts of the run are missing, or do not belong together.
    """
    check_complete(run)
    models = [load_model(folder / MODEL)[0] for folder in run.member_paths()]
    if run.record.kind == "train":
        return models[0]
    try:
        return join_ensemble([split_classifier(model) for model in models])
    except ValueError as error:
        raise RunError(f"{run.path}: {error}; train it anew: pneumocli cv") from None


def build_ensemble(run: Run) -> tuple[keras.Model, Path]:
    """Build a cross-validation's ensemble and write it as one model file into the run folder."""
    model = load_run_model(run)
    save_model(model, run.path / ENSEMBLE, _describe_ensemble(run))
    return model, run.path / ENSEMBLE


def load_predictor(found: Run | Path) -> tuple[keras.Model, ModelCard]:
    """Load the model that `runs.find_predictor` has found: raw pixels in, logits of its members out.

    Raises:
        RunError: it is damaged, or not a model of pneumocli.
    """
    if isinstance(found, Path):
        return load_model(found)
    if found.record.kind == "train":
        return load_model(found.path / MODEL)
    if (found.path / ENSEMBLE).is_file():
        return load_model(found.path / ENSEMBLE)
    return load_run_model(found), _describe_ensemble(found)


def _describe_ensemble(run: Run) -> ModelCard:
    record = run.record
    return ModelCard(
        name=f"{run.name}, ensemble",
        members=len(run.member_paths()),
        pixels=record.data.pixels,
        preparation=record.preparation,
        data=record.data,
        weights=record.weights,
        created=stamp_time(),
    )
