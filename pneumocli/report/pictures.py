"""The pictures of a run folder: which there are, and the list of them with a sentence on each."""

from collections.abc import Sequence
from pathlib import Path

from pneumocli.core.album import LEARNING_CURVES, PICTURES, Entry, PictureList
from pneumocli.core.data import Split
from pneumocli.core.figures import POOLED_NAME, name_fold
from pneumocli.core.files import write_json
from pneumocli.core.history import read_history
from pneumocli.core.reading import read_json
from pneumocli.core.runs import Run
from pneumocli.core.scored import ScoredSplit
from pneumocli.report.curves import plot_precision_recall, plot_roc
from pneumocli.report.figures import name_source
from pneumocli.report.gallery import plot_gallery
from pneumocli.report.learning import plot_learning
from pneumocli.report.matrices import plot_confusion
from pneumocli.report.probabilities import plot_histogram, plot_reliability
from pneumocli.report.words import describe_trained_on


def draw_scored_split(place: Path, scored: ScoredSplit, split: Split) -> list[Entry]:
    """Draw all pictures of one split and list them; those of another scoring of it are replaced.

    Args:
        place: the folder that they are written to.
        split: the images that were scored.

    Raises:
        RunError: the scores are not of these images.
    """
    figures, decision, main = scored.figures, scored.decision, scored.main
    scores, threshold, rule, temperature = (
        scored.main_scores,
        decision.threshold,
        decision.rule,
        decision.temperature,
    )
    source, images = name_source(figures), f"{figures.split.replace('_', '-')} images of {figures.data}"
    of_all, of_main = source, f"{source}, {main}"
    if main == figures.run:  # a single model, which has the run's name
        of_main = of_all
    models = {main: scores}
    # A fold's out-of-fold scores are of its own part of the images, which no other curve is of.
    if figures.best_single is not None and main != POOLED_NAME:
        models[figures.best_single] = scored.scores[figures.best_single]
    shown = {
        f"{name} (best single)" if name == figures.best_single else name: models[name] for name in models
    }
    estimates = figures.estimates_at_rule or {}
    matrices = [figures.models[main]]
    if figures.at_rule is not None:
        matrices = [*matrices, figures.at_rule[main]] if threshold != 0.5 else [figures.at_rule[main]]

    def name_file(kind: str) -> Path:
        return place / f"{kind}_{figures.split}.png"

    told = {
        ("roc", "ROC curves", of_all): plot_roc(
            name_file("roc"),
            shown,
            title=of_all,
            images=images,
            threshold=threshold,
            rule=rule,
            folds=list(scored.folds.values()),
        ),
        ("precision_recall", "Precision-recall curves", of_all): plot_precision_recall(
            name_file("precision_recall"),
            shown,
            title=of_all,
            images=images,
            threshold=threshold,
            rule=rule,
            average_precision={
                label: estimates[name]["average_precision"]
                for label, name in zip(shown, models, strict=True)
                if name in estimates
            },
        ),
        ("confusion", "Confusion matrix", of_main): plot_confusion(
            name_file("confusion"), matrices, title=of_main, images=images, rule=rule
        ),
        ("reliability", "Reliability", of_main): plot_reliability(
            name_file("reliability"), scores, temperature, title=of_main, images=images
        ),
        ("histogram", "Probabilities by class", of_main): plot_histogram(
            name_file("histogram"), scores, threshold, temperature, title=of_main, images=images, rule=rule
        ),
        ("gallery", "Worst errors and least certain images", of_main): plot_gallery(
            name_file("gallery"), split, scores, threshold, temperature, title=of_main, images=images
        ),
    }
    drawn = [
        Entry(file=name_file(kind).name, title=f"{word}: {title}, {images}", split=figures.split, alt=alt)
        for (kind, word, title), alt in told.items()
    ]
    list_pictures(place, drawn)
    return drawn


def draw_learning(run: Run) -> list[Entry]:
    """Draw a run's learning curves and list them.

    Raises:
        RunError: a model's history is missing or damaged.
    """
    record = run.record
    names = [run.name] if record.folds is None else [name_fold(fold) for fold in record.fold_numbers]
    histories = {name: read_history(folder) for name, folder in zip(names, run.member_paths(), strict=True)}
    title = f"SYNTHETIC {run.name}" if run.synthetic else run.name
    title += f", {record.data.name}"
    images = f"n = {record.data.train_images} train"
    if record.folds is not None:
        images += f", one of {record.folds} folds held out"
    images += f"; {record.data.stopping_images} validation, without a copy in train"
    alt = plot_learning(
        run.path / LEARNING_CURVES,
        histories,
        title=title,
        images=images,
        early_stopping=record.settings.early_stopping,
        trained_on=describe_trained_on(record.settings),
    )
    drawn = [Entry(file=LEARNING_CURVES, title=f"Learning curves: {title}", split="train", alt=alt)]
    list_pictures(run.path, drawn)
    return drawn


def list_pictures(place: Path, drawn: Sequence[Entry]) -> None:
    """Write `pictures.json` anew: these pictures in place of those of the same files, the others kept."""
    listed = {picture.file: picture for picture in read_pictures(place)}
    listed |= {picture.file: picture for picture in drawn}
    kept = [picture for picture in listed.values() if (place / picture.file).is_file()]
    write_json(place / PICTURES, PictureList(pictures=kept).model_dump(mode="json"))


def read_pictures(place: Path) -> list[Entry]:
    """Return the pictures that a folder's `pictures.json` lists; none if it is missing or damaged.

    Nothing but pictures hangs on it, and the next scoring writes it anew.
    """
    try:
        return PictureList.model_validate(read_json(place / PICTURES)).pictures
    except (OSError, ValueError):
        return []
