"""Pictures: they are drawn, nothing is cut off or taken for a formula, and the list says what they show."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from small import FOLDS, copy_run

from pneumocli import DISCLAIMER
from pneumocli.core.album import LEARNING_CURVES, PICTURES
from pneumocli.core.cases import find_errors
from pneumocli.core.data import Dataset, Split
from pneumocli.core.errors import RunError
from pneumocli.core.evaluation import Evaluation, evaluate_run
from pneumocli.core.history import History, read_history
from pneumocli.core.metrics import compute_metrics
from pneumocli.core.runs import HISTORY, Run
from pneumocli.core.scored import read_scored_split
from pneumocli.core.scores import OUT_OF_FOLD, Scores, read_scores
from pneumocli.core.uncertainty import bound_auc
from pneumocli.report import learning
from pneumocli.report.curves import plot_precision_recall, plot_roc
from pneumocli.report.gallery import plot_gallery
from pneumocli.report.learning import plot_learning
from pneumocli.report.matrices import plot_confusion
from pneumocli.report.pictures import (
    draw_learning,
    draw_scored_split,
    read_pictures,
)
from pneumocli.report.probabilities import plot_histogram, plot_reliability
from pneumocli.report.style import COLOURS

pytest_plugins = ["trained"]

LONG = "a-run-whose-name-goes-on-and-on-" * 4
NAMES = [LONG, "[red]x[/b] :smile:", "cost$^$ and $\\foo$", "a_b^c", "100 %", "_x", "Köln"]
KINDS = ["roc", "precision_recall", "confusion", "reliability", "histogram", "gallery"]

Draw = Callable[..., str]


def draw_scores(seed: int = 0, n: int = 60) -> Scores:
    rng = np.random.default_rng(seed)
    y_true = np.arange(n) % 2
    y_score = np.clip(0.3 * y_true + 0.7 * rng.random(n), 0, 1).astype(np.float32)
    return Scores(np.arange(n), y_true, y_score)


SCORES = draw_scores()
SPLIT = Split(np.random.default_rng(0).integers(0, 256, (60, 28, 28), np.uint8), SCORES.y_true)


def make_history(epochs: int = 3, tuned: int = 2) -> History:
    n = epochs + tuned
    values = np.linspace(0.9, 0.4, n)
    return History(
        ("head",) * epochs + ("tune",) * tuned,
        np.array([*range(1, epochs + 1), *range(1, tuned + 1)]),
        np.arange(1.0, n + 1),
        values,
        1 - values / 2,
        values + 0.05,
        0.95 - values / 2,
        n - 1,
    )


def draw_one(
    kind: str, path: Path, title: str = "cv-1", scores: Scores = SCORES, split: Split = SPLIT
) -> str:
    """Draw any picture with a title."""
    words = {"title": title, "images": "test images of x.npz"}
    if kind == "roc":
        return plot_roc(
            path, {title: scores}, threshold=0.6, rule="f1", folds=[draw_scores(1), scores], **words
        )
    if kind == "precision_recall":
        return plot_precision_recall(path, {title: scores}, threshold=0.6, rule="f1", **words)
    if kind == "confusion":
        found = [compute_metrics(scores.y_true, scores.y_score, threshold) for threshold in (0.5, 0.6)]
        return plot_confusion(path, found, rule="f1", **words)
    if kind == "reliability":
        return plot_reliability(path, scores, 0.4, **words)
    if kind == "histogram":
        return plot_histogram(path, scores, 0.6, 0.4, rule="f1", **words)
    if kind == "learning":
        return plot_learning(path, {title: make_history()}, early_stopping=False, **words)
    return plot_gallery(path, split, scores, 0.6, 0.4, **words)


def open_picture(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        picture.load()
        return np.asarray(picture.convert("RGB"))


def draws(picture: NDArray[np.uint8], colour: str) -> bool:
    wanted = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)])
    return bool((np.abs(picture.astype(int) - wanted).max(axis=-1) <= 2).sum() > 50)


@pytest.mark.parametrize("kind", [*KINDS, "learning"])
def test_picture_is_drawn_whole_with_a_sentence(kind: str, tmp_path: Path) -> None:
    told = draw_one(kind, tmp_path / "x.png")
    picture = open_picture(tmp_path / "x.png")
    height, width, _ = picture.shape
    assert 600 <= width <= 2000
    assert 600 <= height <= 2000
    assert [file.name for file in tmp_path.iterdir()] == ["x.png"]
    assert told.count(". ") == 0
    assert told.endswith(".")
    assert "cv-1, test images of x.npz" in told
    # The disclaimer stands at the foot of each picture: something is written in the middle of its end.
    foot = picture[-37:, width // 2 - 100 : width // 2 + 100]
    assert (foot < 150).any()


@pytest.mark.parametrize("kind", [*KINDS, "learning"])
def test_long_name_with_signs_fits_in(kind: str, tmp_path: Path) -> None:
    name = f"{NAMES[2]} {LONG}"
    told = draw_one(kind, tmp_path / "x.png", title=name)
    picture = open_picture(tmp_path / "x.png")
    assert (picture[:, [0, -1]] == 255).all()
    assert (picture[[0, -1]] == 255).all()
    assert name in told


@pytest.mark.parametrize("name", NAMES)
def test_names_are_not_taken_for_formulas(name: str, tmp_path: Path) -> None:
    draw_one("roc", tmp_path / "x.png", title=name)
    open_picture(tmp_path / "x.png")


def test_a_name_with_an_underscore_is_in_the_legend(tmp_path: Path) -> None:
    pictures = []
    for name in ("_x", "_y"):
        plot_roc(tmp_path / "x.png", {name: SCORES}, title="run", images="all")
        pictures.append(open_picture(tmp_path / "x.png"))
    assert (pictures[0] != pictures[1]).any()


def test_nothing_is_written_if_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(figure: Figure, path: Path, **options: object) -> None:
        path.write_bytes(b"half")
        raise OSError("no space left")

    draw_one("confusion", tmp_path / "x.png")
    before = (tmp_path / "x.png").read_bytes()
    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError, match="no space"):
        draw_one("confusion", tmp_path / "x.png")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"x.png": before}


# ROC and precision-recall


def test_each_model_has_its_curve(tmp_path: Path) -> None:
    models = {"fold 1": SCORES, "ensemble": draw_scores(2)}
    plot_roc(tmp_path / "x.png", models, title="cv-1", images="test")
    picture = open_picture(tmp_path / "x.png")
    assert draws(picture, COLOURS[0])
    assert draws(picture, COLOURS[1])
    assert not draws(picture, COLOURS[2])  # no folds, no band


def test_band_is_there_with_folds_alone(tmp_path: Path) -> None:
    folds = [draw_scores(seed) for seed in (1, 2, 3)]
    told = plot_roc(tmp_path / "x.png", {"pooled": SCORES}, title="cv-1", images="all", folds=folds)
    assert draws(open_picture(tmp_path / "x.png"), COLOURS[2])
    aucs = [compute_metrics(fold.y_true, fold.y_score).roc_auc for fold in folds]
    assert f"the mean of the 3 folds' curves AUC {np.mean(aucs):.4f} (SD {np.std(aucs, ddof=1):.4f})" in told
    assert "mean of the" not in plot_roc(tmp_path / "x.png", {"x": SCORES}, title="x", images="all")


def test_auc_has_delongs_interval(tmp_path: Path) -> None:
    told = plot_roc(tmp_path / "x.png", {"x": SCORES}, title="x", images="all", threshold=0.6)
    metrics, bounds = (
        compute_metrics(SCORES.y_true, SCORES.y_score, 0.6),
        bound_auc(SCORES.y_true, SCORES.y_score),
    )
    assert f"AUC {metrics.roc_auc:.4f} (95 %: {bounds.low:.4f} to {bounds.high:.4f})" in told
    assert f"sensitivity {metrics.sensitivity:.4f}, specificity {metrics.specificity:.4f}" in told


def test_single_image_of_a_class_has_no_interval(tmp_path: Path) -> None:
    scores = Scores(np.arange(4), np.array([0, 0, 0, 1]), np.float32([0.1, 0.2, 0.8, 0.7]))
    for kind in KINDS:
        assert "95 %" not in draw_one(kind, tmp_path / "x.png", scores=scores, split=SPLIT_OF_FOUR)


SPLIT_OF_FOUR = Split(SPLIT.images[:4], np.array([0, 0, 0, 1]))


def test_perfect_scores_are_drawn_with_the_corner_enlarged(tmp_path: Path) -> None:
    perfect = Scores(SCORES.index, SCORES.y_true, SCORES.y_true.astype(np.float32))
    told = {kind: draw_one(kind, tmp_path / f"{kind}.png", scores=perfect) for kind in KINDS}
    # No interval: nothing in these scores bounds a perfect AUC.
    assert "cv-1 AUC 1.0000, sensitivity 1.0000, specificity 1.0000" in told["roc"]
    # The frame of the inset stands where else there is nothing.
    assert (open_picture(tmp_path / "roc.png")[650:850, 400:850] < 100).all(axis=-1).any()


def test_marker_stands_at_the_threshold(tmp_path: Path) -> None:
    pictures = []
    for threshold in (0.3, 0.31, 0.6):
        plot_roc(tmp_path / "x.png", {"x": SCORES}, title="x", images="all", threshold=threshold)
        pictures.append(open_picture(tmp_path / "x.png"))
    # Above the axis label, which names the threshold, the curve with its marker.
    curves = [picture[: int(0.8 * len(picture))] for picture in pictures]
    assert (curves[0] != curves[2]).any()


def test_nothing_called_pneumonia_has_no_precision(tmp_path: Path) -> None:
    told = plot_precision_recall(tmp_path / "x.png", {"x": SCORES}, title="x", images="all", threshold=1.0)
    assert "nothing called pneumonia, recall 0.0000" in told


# Confusion matrices, probabilities


def test_confusion_tells_all_counts(tmp_path: Path) -> None:
    told = draw_one("confusion", tmp_path / "x.png")
    for threshold in (0.5, 0.6):
        called = SCORES.y_score >= threshold
        tn, fp = int((~called & (SCORES.y_true == 0)).sum()), int((called & (SCORES.y_true == 0)).sum())
        fn, tp = int((~called & (SCORES.y_true == 1)).sum()), int((called & (SCORES.y_true == 1)).sum())
        assert f"{tn} normal images are called normal and {fp} pneumonia" in told
        assert f"{tp} with pneumonia are called pneumonia and {fn} normal" in told


def test_confusion_at_one_threshold(tmp_path: Path) -> None:
    plot_confusion(
        tmp_path / "x.png", [compute_metrics(SCORES.y_true, SCORES.y_score)], title=LONG, images=LONG
    )
    picture = open_picture(tmp_path / "x.png")
    assert (picture[:, [0, -1]] == 255).all()


def test_histogram_tells_the_wrong_calls(tmp_path: Path) -> None:
    told = draw_one("histogram", tmp_path / "x.png")
    wrong = find_errors(SCORES.y_true, SCORES.y_score, 0.6)
    missed = int(SCORES.y_true[wrong].sum())
    assert f"{len(wrong) - missed} of 30 normal images are called pneumonia" in told
    assert f"{missed} of 30 pneumonia images are called normal" in told


# The gallery


def test_gallery_shows_the_images_themselves(tmp_path: Path) -> None:
    """Each image of one grey of its own, which must be in the picture, unsmoothed, if its image is."""
    images = np.repeat(np.arange(60, 120, dtype=np.uint8), 28 * 28).reshape(60, 28, 28)
    scores = Scores(SCORES.index, SCORES.y_true, SCORES.y_score)
    plot_gallery(tmp_path / "x.png", Split(images, SCORES.y_true), scores, 0.6, 1.0, title="x", images="all")
    picture = open_picture(tmp_path / "x.png")
    grey = picture[(picture == picture[..., :1]).all(axis=-1)][:, 0]
    shown = {row for row in range(60) if (grey == 60 + row).sum() > 20_000}
    distance = np.abs(SCORES.y_score - 0.6)
    nearest = set(np.argsort(distance, kind="stable")[:8].tolist())
    errors = find_errors(SCORES.y_true, SCORES.y_score, 0.6)
    worst = {int(errors[np.argmax(distance[errors])])}
    assert nearest | worst <= shown
    assert 8 < len(shown) <= 16


def test_gallery_of_few_images_without_errors(tmp_path: Path) -> None:
    y_true = np.array([0, 1, 1])
    scores = Scores(np.arange(3), y_true, np.float32([0.1, 0.8, 0.9]))
    told = plot_gallery(
        tmp_path / "x.png", Split(SPLIT.images[:3], y_true), scores, 0.5, 1.0, title="x", images="all"
    )
    assert told.startswith("Images of 0 of 0 errors")
    assert "of the 3 least certain ones" in told
    open_picture(tmp_path / "x.png")


@pytest.mark.parametrize("pixels", [8, 500])
def test_gallery_of_any_size(pixels: int, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (60, pixels, pixels), np.uint8)
    draw_one("gallery", tmp_path / "x.png", split=Split(images, SCORES.y_true))
    open_picture(tmp_path / "x.png")


def test_gallery_refuses_other_images(tmp_path: Path) -> None:
    for split in (Split(SPLIT.images, 1 - SPLIT.labels), Split(SPLIT.images[:30], SPLIT.labels[:30])):
        with pytest.raises(RunError, match="not of these images"):
            draw_one("gallery", tmp_path / "x.png", split=split)
    assert not list(tmp_path.iterdir())


# Learning curves


def test_learning_curves_say_what_is_kept(tmp_path: Path) -> None:
    histories = {"fold 1": make_history(), "fold 2": make_history(4, 0)}
    words = {"title": "cv-1", "images": "n = 40"}
    told = plot_learning(tmp_path / "x.png", histories, early_stopping=False, **words)
    assert "no early stopping" in told
    assert "fold 1 keeps epoch 2 of phase tune with a validation loss of 0.4500" in told
    assert "fold 2 keeps epoch 4 of phase head" in told
    assert draws(open_picture(tmp_path / "x.png"), COLOURS[0])
    assert "no early" not in plot_learning(tmp_path / "x.png", histories, early_stopping=True, **words)


def test_panels_without_a_fold_do_not_stretch_the_scale(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    figures: list[Figure] = []
    monkeypatch.setattr(learning, "save_figure", lambda figure, path: figures.append(figure))
    histories = {f"fold {fold}": make_history() for fold in range(1, 8)}
    plot_learning(tmp_path / "x.png", histories, title="x", images="x", early_stopping=True)
    shown = [axes for axes in figures[0].axes if axes.get_visible()]
    assert len(shown) == 14
    lowest = float(make_history().auc.min())
    assert all(lowest - 0.1 < axes.get_ylim()[0] < lowest for axes in shown if "AUC" in axes.get_ylabel())


@pytest.mark.parametrize("folds", [2, 6, 40])
def test_learning_curves_of_many_folds(folds: int, tmp_path: Path) -> None:
    histories = {f"fold {fold}": make_history(1, fold % 3) for fold in range(1, folds + 1)}
    plot_learning(tmp_path / "x.png", histories, title="cv-1", images="n = 9", early_stopping=True)
    height, width, _ = open_picture(tmp_path / "x.png").shape
    assert max(height, width) < 2500


# The set of a run


def test_set_of_a_scored_split(
    evaluated: tuple[Run, Evaluation], small_dataset: Dataset, tmp_path: Path
) -> None:
    run, evaluation = evaluated
    scored = read_scored_split(run, run.path, "test")
    assert (scored.main, scored.figures) == ("ensemble", evaluation.figures)
    assert list(scored.folds) == [f"fold {fold}" for fold in range(1, FOLDS + 1)]
    for name, row in evaluation.y_score.items():
        assert scored.scores[name].y_score.tolist() == row.tolist()

    drawn = draw_scored_split(tmp_path, scored, small_dataset.test)
    names = [f"{kind}_test.png" for kind in KINDS]
    assert [picture.file for picture in drawn] == names
    assert {path.name for path in tmp_path.iterdir()} == {*names, PICTURES}
    listed = json.loads((tmp_path / PICTURES).read_text())
    assert (listed["schema_version"], listed["disclaimer"]) == (1, DISCLAIMER)
    assert [set(picture) for picture in listed["pictures"]] == [{"file", "title", "split", "alt"}] * 6
    for picture in listed["pictures"]:
        assert picture["split"] == "test"
        assert run.name in picture["title"]
        assert "test images of synthetic" in picture["title"]
        assert "SYNTHETIC" in picture["alt"]
    ensemble = evaluation.figures.models["ensemble"].roc_auc
    assert f"ensemble AUC {ensemble:.4f}" in listed["pictures"][0]["alt"]
    assert f"{evaluation.figures.best_single} (best single) AUC" in listed["pictures"][0]["alt"]
    average = (evaluation.figures.estimates_at_rule or {})["ensemble"]["average_precision"]
    assert (
        f"average precision {average.value:.4f} (95 %: {average.low:.4f} to" in listed["pictures"][1]["alt"]
    )


def test_out_of_fold_pictures_show_the_training_images(cv_copy: Run, small_dataset: Dataset) -> None:
    scored = read_scored_split(cv_copy, cv_copy.path, OUT_OF_FOLD)
    assert scored.main == "pooled"
    for fold in range(1, FOLDS + 1):
        kept = read_scores(cv_copy.fold_path(fold), OUT_OF_FOLD)
        assert scored.folds[f"fold {fold}"].index.tolist() == kept.index.tolist()
    drawn = draw_scored_split(cv_copy.path, scored, small_dataset.train)
    assert f"the mean of the {FOLDS} folds' curves" in drawn[0].alt
    assert "best single" not in drawn[0].alt
    assert {picture.split for picture in drawn} == {OUT_OF_FOLD}


def test_single_model_has_no_band(train_run: Run, small_dataset: Dataset, tmp_path: Path) -> None:
    scored = read_scored_split(train_run, train_run.path, "val")
    assert scored.folds == {}
    drawn = draw_scored_split(tmp_path, scored, small_dataset.val)
    assert "the mean of" not in drawn[0].alt
    assert drawn[2].title.count(train_run.name) == 1


def test_list_keeps_other_splits_and_forgets_what_is_gone(train_copy: Run, small_dataset: Dataset) -> None:
    evaluate_run(train_copy, small_dataset, "test")
    draw_learning(train_copy)
    for split in ("val", "test", "val"):
        scored = read_scored_split(train_copy, train_copy.path, split)
        draw_scored_split(train_copy.path, scored, small_dataset.pick(split))
    files = [picture.file for picture in read_pictures(train_copy.path)]
    assert files == [LEARNING_CURVES, *(f"{kind}_{split}.png" for split in ("val", "test") for kind in KINDS)]
    (train_copy.path / "roc_val.png").unlink()
    draw_learning(train_copy)
    assert [picture.file for picture in read_pictures(train_copy.path)] == [
        file for file in files if file != "roc_val.png"
    ]


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b'{"schema_version": 2, "pictures": []}'])
def test_damaged_list_is_written_anew(content: bytes, train_copy: Run) -> None:
    (train_copy.path / PICTURES).write_bytes(content)
    assert read_pictures(train_copy.path) == []
    draw_learning(train_copy)
    assert [picture.file for picture in read_pictures(train_copy.path)] == [LEARNING_CURVES]


def test_learning_curves_of_a_cross_validation(cv_copy: Run) -> None:
    (picture,) = draw_learning(cv_copy)
    assert (picture.file, picture.split) == (LEARNING_CURVES, "train")
    for fold in range(1, FOLDS + 1):
        history = read_history(cv_copy.fold_path(fold))
        entries = json.loads((cv_copy.fold_path(fold) / HISTORY).read_text())["epochs"]
        last = [entry for entry in entries if entry["kept"]][-1]
        assert history.val_loss[history.kept] == last["val_loss"]
        assert f"fold {fold} keeps epoch {last['epoch']} of phase {last['phase']}" in picture.alt
    (cv_copy.fold_path(1) / HISTORY).unlink()
    with pytest.raises(RunError, match="is missing"):
        draw_learning(cv_copy)


def test_scores_of_another_scoring_are_refused(cv_run: Run, tmp_path: Path) -> None:
    run = copy_run(cv_run, tmp_path)
    other = read_scores(run.fold_path(1), OUT_OF_FOLD)
    (run.path / f"scores_{OUT_OF_FOLD}.npz").write_bytes(
        (run.fold_path(1) / f"scores_{OUT_OF_FOLD}.npz").read_bytes()
    )
    assert len(other.index) < 24
    with pytest.raises(RunError, match="not those of the figures"):
        read_scored_split(run, run.path, OUT_OF_FOLD)
