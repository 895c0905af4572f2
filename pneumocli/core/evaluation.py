"""A trained run on a split: its members' scores, their mean, the figures of both, the artefact."""

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from pneumocli.core.artefact import load_model, load_typical, read_card, save_model
from pneumocli.core.atypical import Typical, read_typical
from pneumocli.core.contract import ModelCard
from pneumocli.core.data import Dataset
from pneumocli.core.decision import Decision, decide_anew, read_decision
from pneumocli.core.errors import DataError, RunError
from pneumocli.core.figures import (
    ENSEMBLE_NAME,
    Figures,
    compute_figures,
    name_fold,
    read_figures,
    write_figures,
)
from pneumocli.core.hashes import record_hash
from pneumocli.core.identity import is_official_split
from pneumocli.core.inference import compute_member_scores
from pneumocli.core.joining import join_ensemble, split_classifier
from pneumocli.core.medmnist import list_results, write_result
from pneumocli.core.metrics import average_scores
from pneumocli.core.predictor import list_model_files
from pneumocli.core.progress import Listener, Notice, ignore, keep_quiet
from pneumocli.core.records import stamp_time
from pneumocli.core.runs import ENSEMBLE, MODEL, Run, check_complete, scoring
from pneumocli.core.scores import OUT_OF_FOLD, Scores, write_scores
from pneumocli.core.seen import count_seen


@dataclass(frozen=True)
class Evaluation:
    """A run's models on one split.

    Attributes:
        figures: of every model, by name.
        decision: at whose threshold and temperature they are.
        y_true: int64 (N,).
        y_score: float32 (N,) of every model, by the same names; uncalibrated.
        main: the name of the model that the run stands for: the ensemble, or the single one.
    """

    figures: Figures
    decision: Decision
    y_true: NDArray[np.int64]
    y_score: dict[str, NDArray[np.float32]]
    main: str


def evaluate_run(
    run: Run,
    dataset: Dataset,
    split: str,
    *,
    model: keras.Model | None = None,
    rule: str | None = None,
    prevalence: float | None = None,
    force: bool = False,
    listen: Listener = ignore,
    notify: Notice = keep_quiet,
) -> Evaluation:
    """Score a split with a run's model or models, and keep scores and figures in the run folder.

    For a cross-validation the members are its folds' models, and the ensemble is the mean of their
    probabilities; the best single one is that with the highest out-of-fold AUC. On PneumoniaMNIST's
    own images the scores of the model that the run stands for are also written as MedMNIST's result file.

    On other data than the run's own this is external validation; see `Run.results_path`.

    Args:
        split: "val", "test" or "all".
        model: the run's model, if it is loaded already.
        rule: another rule than the run's, for these figures alone; it is fixed on the same scores.
        prevalence: share of pneumonia elsewhere, 0 to 1, for PPV and NPV there.
        force: take model files that are not those the run wrote, and replace figures of other images.
        notify: is told in a line what was taken because of `force`, and of images that the run was made with.

    Raises:
        DataError: there is no such split, or the images are of another size than those the run was
            trained on.
        RunError: parts of the run are missing, or other images stand under that name: those of other data
            of the same name, or the run's own data with another test split.
        SettingError: there is no such rule.
    """
    decision = read_decision(run) if rule is None else decide_anew(run, rule)
    if dataset.pixels != run.record.data.pixels:
        raise DataError(
            f"{run.path} was trained on images of {run.record.data.pixels} px; {dataset.name} has "
            f"{dataset.pixels} px: name a file of the run's size with --data"
        )
    scored_split = dataset.pick(split)
    images, labels, digest = scored_split.images, scored_split.labels, scored_split.digest()
    place = run.results_path(dataset)
    if not force:
        _check_name(place, split, digest)
    # Its own val is known to be watched by; copies of it in train are counted in its record.
    is_own = run.owns(dataset)
    seen = None if is_own and split == "val" else count_seen(run, scored_split)
    if seen and not is_own:  # of its own data this was told when they were read
        notify(
            f"warning: {seen} of the {len(labels)} images to score stand among those that {run.name} was "
            "trained or watched with, byte for byte; leave them out"
        )
    model = load_run_model(run, force=force, notify=notify) if model is None else model
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
    rows, groups = np.arange(len(labels)), scored_split.groups
    scores = {name: Scores(rows, labels, row, groups) for name, row in y_score.items()}
    figures = compute_figures(
        run,
        split,
        scores,
        decision,
        digest=digest,
        dataset=dataset,
        seen=seen,
        best_single=best,
        intervals=True,
        prevalence=prevalence,
    )
    main = list(y_score)[-1]
    with scoring(run):
        if not force:  # again: another process may have written since
            _check_name(place, split, digest)
        for folder, part in zip(folders, scores.values(), strict=True):
            write_scores(place / folder.relative_to(run.path), split, part, scored)
        write_figures(place, figures)
        if is_official_split(dataset, split) and not run.synthetic:
            write_result(place, run.name, dataset.pixels, split, labels, y_score[main])
        else:  # what an earlier evaluation left would speak of other images than the figures
            for path in list_results(place, split):
                path.unlink()
    return Evaluation(figures, decision, labels, y_score, main)


def _check_name(place: Path, split: str, digest: str) -> None:
    """Refuse to replace figures of other images that go by the same name."""
    try:
        kept = read_figures(place, split)
    except RunError:  # none are there, or they are damaged, which is mended by scoring again
        return
    if kept.data_digest != digest:
        raise RunError(
            f"{place} holds {split} figures of other images; name the data that these are of, give other "
            "data another name, or replace the figures with --force"
        )


def load_run_model(run: Run, *, force: bool = False, notify: Notice = keep_quiet) -> keras.Model:
    """Return the run's classifier, or the ensemble of its folds' classifiers.

    Args:
        force, notify: as for `artefact.load_model`.

    Raises:
        RunError: parts of the run are missing, are not those it wrote, or do not belong together.
    """
    check_complete(run)
    models = [load_model(folder / MODEL, force=force, notify=notify)[0] for folder in run.member_paths()]
    if run.record.kind == "train":
        return models[0]
    try:
        return join_ensemble([split_classifier(model) for model in models])
    except ValueError as error:
        raise RunError(f"{run.path}: {error}; train it anew: pneumocli cv") from None


def build_ensemble(run: Run, *, force: bool = False, notify: Notice = keep_quiet) -> tuple[keras.Model, Path]:
    """Build a cross-validation's ensemble and write it as one model file into the run folder.

    Args:
        force, notify: as for `load_run_model`.
    """
    model = load_run_model(run, force=force, notify=notify)
    with scoring(run):
        save_model(model, run.path / ENSEMBLE, _describe_ensemble(run), read_typical(run.path))
        record_hash(run.path / ENSEMBLE)
    return model, run.path / ENSEMBLE


def load_predictor(
    found: Run | Path, *, force: bool = False, notify: Notice = keep_quiet
) -> tuple[keras.Model, ModelCard]:
    """Load the model that `finding.find_predictor` has found: raw pixels in, logits of its members out.

    Args:
        force, notify: as for `artefact.load_model`.

    Raises:
        RunError: it is damaged, not a model of pneumocli, or not the one that its run wrote.
    """
    if isinstance(found, Run) and len(list_model_files(found)) > 1:
        return load_run_model(found, force=force, notify=notify), _describe_ensemble(found)
    return load_model(list_model_files(found)[0], force=force, notify=notify)


def read_predictor_card(found: Run | Path) -> ModelCard:
    """Read the card of the model that `load_predictor` loads, alone.

    Raises:
        RunError: as for `load_predictor`.
    """
    if isinstance(found, Run) and len(list_model_files(found)) > 1:
        return _describe_ensemble(found)
    return read_card(list_model_files(found)[0])


def load_predictor_typical(found: Run | Path) -> Typical | None:
    """Load what the training images' features are like, for the model that `load_predictor` loads.

    Returns:
        None for one fold's model, and for a model of too few images.

    Raises:
        RunError: it is damaged.
    """
    if isinstance(found, Run) and len(list_model_files(found)) > 1:
        return read_typical(found.path)
    return load_typical(list_model_files(found)[0])


def _describe_ensemble(run: Run) -> ModelCard:
    record = run.record
    card = ModelCard(
        name=f"{run.name}, ensemble",
        members=len(run.member_paths()),
        pixels=record.data.pixels,
        preparation=record.preparation,
        data=record.data,
        weights=record.weights,
        created=stamp_time(),
    )
    typical = read_typical(run.path)
    if typical is not None:
        card = card.model_copy(update={"atypical": typical.figures})
    return card.decide(read_decision(run))
