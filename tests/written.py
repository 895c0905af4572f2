"""Run folders as the commands write them, from drawn scores: nothing is trained."""

from pathlib import Path
from typing import Any

import numpy as np

from pneumocli.core.config import TrainConfig
from pneumocli.core.decision import Source, fix_decision, write_decision
from pneumocli.core.figures import (
    ENSEMBLE_NAME,
    POOLED_NAME,
    choose_best,
    compute_figures,
    name_fold,
    write_figures,
)
from pneumocli.core.files import write_json
from pneumocli.core.identity import OFFICIAL_SEEN
from pneumocli.core.records import DataRecord, GroupsRecord, Kind, RunRecord, WeightsRecord
from pneumocli.core.runs import HISTORY, MODEL, Run, create_run
from pneumocli.core.scores import OUT_OF_FOLD, STOPPING, Scores, write_scores

FOLDS = 3
# What a name may hold to be taken for HTML, Markdown or a template, or to be shown as another.
HOSTILE = "\"><script>alert(1)<'&amp;|`x`{{ 7*7 }}${x}\n\u202e[a](javascript:b)"
EPOCHS: list[dict[str, Any]] = [
    {"phase": "head", "epoch": 1, "loss": 0.5, "auc": 0.7, "val_loss": 0.4, "val_auc": 0.8, "kept": True},
    {"phase": "head", "epoch": 2, "loss": 0.3, "auc": 0.8, "val_loss": 0.5, "val_auc": 0.7, "kept": False},
    {"phase": "tune", "epoch": 0, "val_loss": 0.4, "val_auc": 0.8, "kept": False},
    {"phase": "tune", "epoch": 1, "loss": 0.2, "auc": 0.9, "val_loss": 0.25, "val_auc": 0.95, "kept": True},
]


def draw_scores(n: int, seed: int, sharpness: float = 2.0) -> Scores:
    """Return scores of both classes that overlap."""
    rng = np.random.default_rng(seed)
    y_true = (np.arange(n) % 3 > 0).astype(np.int64)
    logits = sharpness * (y_true - 0.5) + rng.normal(size=n)
    return Scores(np.arange(n), y_true, (1 / (1 + np.exp(-logits))).astype(np.float32))


def write_run(runs_dir: Path, kind: Kind = "cv", name: str | None = None, **changes: Any) -> Run:
    """Return a complete run.

    Args:
        changes: `settings`, `weights`, `groups`, `data` (its name), else of the data's record.
    """
    settings = changes.pop("settings", TrainConfig(seed=7, dropout=0.25))
    weights = changes.pop("weights", WeightsRecord(name="weights.h5", sha256="f" * 64))
    groups = changes.pop("groups", GroupsRecord(file=None, digest="e" * 64, groups=4, images=9))
    data = {
        "name": changes.pop("data", "pneumoniamnist.npz"),
        "digest": "d" * 64,
        "identity": OFFICIAL_SEEN,
        "synthetic": False,
        "pixels": 28,
        "train_images": 120,
        "stopping_images": 40,
    }
    record = RunRecord(
        kind=kind,
        created="2026-01-02T03:04:05.000006+00:00",
        folds=FOLDS if kind == "cv" else None,
        settings=settings,
        data=DataRecord(**{**data, **changes}),
        groups=groups if kind == "cv" else None,
        weights=weights,
        precision="float32",
        preparation=1,
        versions={"pneumocli": "0.1.0", "python": "3.11.7", "system": "Linux", "keras": "3.15.1"},
    )
    run = create_run(runs_dir, record, name)
    split: str = OUT_OF_FOLD if kind == "cv" else "val"
    source: Source = "out_of_fold" if kind == "cv" else "val"
    scores = {run.name: draw_scores(42, seed=1)}
    kept = scores[run.name].take(np.arange(40))
    if kind == "cv":
        pooled = draw_scores(120, seed=1, sharpness=3)
        parts = {
            name_fold(fold + 1): pooled.take(np.arange(40 * fold, 40 * fold + 40)) for fold in range(FOLDS)
        }
        scores, kept = {**parts, POOLED_NAME: pooled}, pooled
    for folder in run.member_paths():
        folder.mkdir(exist_ok=True)
        write_json(folder / HISTORY, {"data": record.data.name, "epochs": EPOCHS})
        (folder / MODEL).write_bytes(b"in place of a model")
    decision = fix_decision(settings.rule, kept, source, record.data.name)
    figures = compute_figures(run, split, scores, decision, digest="c" * 64)
    if kind == "cv":
        best = choose_best({name: figures.models[name] for name in list(scores)[:-1]})
        figures = figures.model_copy(update={"best_single": best})
    else:
        write_scores(run.path, STOPPING, kept, record.data.name)
    write_scores(run.path, split, list(scores.values())[-1], record.data.name)
    write_decision(run.path, decision)
    write_figures(run.path, figures)
    return run


def write_scored(
    run: Run, split: str = "test", folder: Path | None = None, prevalence: float | None = None
) -> None:
    """Score a run on 60 images, as `evaluate` does."""
    from pneumocli.core.decision import read_decision

    names = [run.name] if run.record.folds is None else [*map(name_fold, range(1, FOLDS + 1)), ENSEMBLE_NAME]
    scores = {name: draw_scores(60, seed=number + 5, sharpness=1.5) for number, name in enumerate(names)}
    figures = compute_figures(
        run, split, scores, read_decision(run), digest="b" * 64, intervals=True, prevalence=prevalence
    )
    place = run.path if folder is None else folder
    if folder is not None:
        figures = figures.model_copy(update={"data": folder.name})
    write_scores(place, split, scores[names[-1]], figures.data)
    write_figures(place, figures)


def draw_picture(path: Path, width: int = 30, height: int = 20) -> None:
    """Write a small grey PNG."""
    from PIL import Image

    Image.new("L", (width, height), 128).save(path)
