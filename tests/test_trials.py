"""Trials of settings: what is held out, what a trial measures, and the table made of them."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import tabulate_trials
import try_crop
import try_disturbed
import try_recipe

from pneumocli.core.data import Dataset, Split
from pneumocli.core.runs import Run
from pneumocli.core.scores import OUT_OF_FOLD, read_scores
from pneumocli.core.synthetic import draw_dataset

ROOT = Path(__file__).parent.parent


pytest_plugins = ["trained"]

RESULTS = ROOT / "examples" / "results"
TRIALS = {"unlike": RESULTS / "trials.jsonl", "misleading": RESULTS / "misleading.jsonl"}
CROPS, SEEDS = RESULTS / "crops.jsonl", RESULTS / "side_by_side.jsonl"


def test_what_is_held_out_is_least_like_the_rest_of_its_class() -> None:
    train = draw_dataset().train
    held_out = try_recipe.hold_out_unlike(train)
    np.testing.assert_array_equal(held_out, try_recipe.hold_out_unlike(train))
    assert held_out.tolist() == sorted(set(held_out.tolist()))
    for label in (0, 1):
        rows = np.flatnonzero(train.labels == label)
        away = np.isin(rows, held_out)
        assert 1 / 3 <= away.mean() < 0.8
        looks = train.images[rows].reshape(len(rows), 7, 4, 7, 4).mean(axis=(2, 4)).reshape(len(rows), -1)
        distance = np.linalg.norm(looks - looks.mean(axis=0), axis=1)
        assert distance[away].mean() > distance[~away].mean()


def test_what_misleads_is_held_out_of_each_class() -> None:
    """A brightness that goes with the class in most images, and against it in a few: those are taken."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], [60, 90])
    is_against = rng.random(150) < 0.2
    brightness = np.where(labels ^ is_against, 160, 90)[:, None, None]
    images = np.clip(brightness + rng.normal(0, 20, (150, 28, 28)), 0, 255).astype(np.uint8)
    held_out = try_recipe.hold_out_misleading(Split(images, labels))
    assert np.bincount(labels[held_out]).tolist() == [20, 30]
    assert set(np.flatnonzero(is_against)) <= set(held_out.tolist())
    np.testing.assert_array_equal(held_out, np.unique(held_out))


@pytest.mark.parametrize("held_out", ["unlike", "misleading"])
def test_recipe_page_has_the_table_of_its_trials(held_out: str) -> None:
    lines = TRIALS[held_out].read_text(encoding="utf-8").splitlines()
    trials = [json.loads(line) for line in lines]
    assert {trial["held_out"] for trial in trials} == {held_out}
    table = tabulate_trials.tabulate_trials(trials)
    assert len(table.splitlines()) == len(trials) + 2
    assert table in (ROOT / "examples" / "recipe.md").read_text(encoding="utf-8")


def test_what_no_trial_measured_has_no_column() -> None:
    trials = [
        {"name": "one", "plain": 0.5, "seconds": 60},
        {"name": "other", "plain": 0.25, "val": 1.0, "seconds": 90},
    ]
    assert tabulate_trials.tabulate_trials(trials).splitlines() == [
        "| what was tried | held out | val | minutes |",
        "| --- | --- | --- | --- |",
        "| one | 0.5000 | - | 1.0 |",
        "| other | 0.2500 | 1.0000 | 1.5 |",
    ]


def test_recipe_page_has_the_table_of_its_crops() -> None:
    trials = [json.loads(line) for line in CROPS.read_text(encoding="utf-8").splitlines()]
    table = tabulate_trials.tabulate_crops(trials)
    assert len(table.splitlines()) == len({trial["center_crop"] for trial in trials}) + 2
    assert table in (ROOT / "examples" / "recipe.md").read_text(encoding="utf-8")


def test_recipe_page_has_the_table_of_its_seeds() -> None:
    trials = [json.loads(line) for line in SEEDS.read_text(encoding="utf-8").splitlines()]
    names = {trial["name"] for trial in trials}
    assert {(trial["name"], trial["seed"]) for trial in trials} == {
        (name, seed) for name in names for seed in range(3)
    }
    table = tabulate_trials.tabulate(trials)
    assert len(table.splitlines()) == len(names) + 2
    assert table in (ROOT / "examples" / "recipe.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["disturbed", "disturbed_fold_1"])
def test_recipe_page_has_the_tables_of_its_disturbed_images(name: str) -> None:
    text = (RESULTS / f"{name}.jsonl").read_text(encoding="utf-8")
    trials = [json.loads(line) for line in text.splitlines()]
    table = tabulate_trials.tabulate(trials)
    kinds, runs = ({trial[key] for trial in trials} for key in ("images", "run"))
    assert [line.count(" | ") for line in table.splitlines()] == [len(runs)] * (len(kinds) + 2)
    assert table in (ROOT / "examples" / "recipe.md").read_text(encoding="utf-8")


def test_a_row_is_the_mean_of_its_seeds() -> None:
    figures = dict.fromkeys(tabulate_trials.SEED_COLUMNS.values(), 0.5)
    trials = [{"name": name, "seed": seed, **figures} for name in ("one", "other") for seed in (0, 1)]
    trials[2]["unlike"] = 0.9
    *_, one, other = tabulate_trials.tabulate_seeds(trials).splitlines()
    assert one == f"| one |{' 0.5000 |' * len(figures)}"
    assert other == one.replace("one", "other").replace("0.5000", "0.7000", 4).replace("0.7000", "0.5000", 3)


def test_foreign_images_are_whole_where_none_is_shrunk() -> None:
    images = np.zeros((40, 28, 28), np.uint8)
    images[:, 3:5] = 255
    whole, shrunk = (
        try_recipe.make_foreign(images, smallest).mean(axis=2).argmax(axis=1) for smallest in (1.0, 0.7)
    )
    assert np.isin(whole, (3, 4)).all()
    assert (shrunk > 4).mean() > 0.5


def test_crops_are_judged_by_held_out_images_alone(cv_run: Run, small_dataset: Dataset) -> None:
    """At the share that the run itself scores, its own out-of-fold scores come out."""
    own = cv_run.record.settings.center_crop
    trials = {
        (trial.images, trial.center_crop): trial
        for trial in try_crop.try_crops(cv_run, small_dataset, [1.0, own])
    }
    assert list(trials) == [
        (kind, share) for kind in ("as they are", "in other light") for share in (1.0, own)
    ]
    rows = try_crop.draw_rows(small_dataset.train.labels)
    assert np.bincount(small_dataset.train.labels[rows]).tolist() == [len(rows) // 2] * 2
    kept = read_scores(cv_run.path, OUT_OF_FOLD).take(rows)
    found, expected = trials["as they are", own], try_crop.judge("", "", own, kept.y_true, kept.y_score)
    assert found.n == len(rows)
    for figure in ("roc_auc", "log_loss", "threshold"):
        assert getattr(found, figure) == pytest.approx(getattr(expected, figure), abs=1e-4)
    assert trials["as they are", 1.0].log_loss != pytest.approx(found.log_loss, abs=1e-4)


def test_disturbed_images_are_scored_by_the_models_that_have_not_seen_them(
    cv_run: Run, small_dataset: Dataset
) -> None:
    """As they are, the run's own out-of-fold scores come out; disturbed, others."""
    kept = read_scores(cv_run.path, OUT_OF_FOLD)
    folds = list(cv_run.record.fold_numbers)
    kinds = ("as they are", "turned", try_disturbed.FOREIGN)
    found = dict.fromkeys(kinds, np.zeros(0))
    for kind, rows, y_score in try_disturbed.score_disturbed(cv_run, small_dataset, kinds, folds):
        np.testing.assert_array_equal(rows, kept.index)
        found[kind] = y_score
    np.testing.assert_allclose(found["as they are"], kept.y_score, atol=1e-5)
    for kind in kinds[1:]:
        assert np.abs(found[kind] - kept.y_score).max() > 1e-3
    ((_, rows, _),) = try_disturbed.score_disturbed(cv_run, small_dataset, kinds[:1], [2])
    np.testing.assert_array_equal(rows, read_scores(cv_run.path / "fold_2", OUT_OF_FOLD).index)


def test_specificity_is_compared_where_nearly_all_pneumonia_is_found() -> None:
    y_true = np.repeat([0, 1], [50, 100])
    y_score = np.concatenate([np.linspace(0.01, 0.5, 50), np.linspace(0.3, 0.99, 100)])
    trial = try_disturbed.judge("a", "turned", [1], y_true, y_score)
    third_lowest = np.sort(y_score[50:])[3]  # three of a hundred may be missed
    assert trial.settled_specificity == pytest.approx((y_score[:50] < third_lowest).mean())
    assert (trial.sensitivity, trial.n) == ((y_score[50:] >= 0.5).mean(), 150)


@pytest.mark.slow
@pytest.mark.parametrize("held_out", ["unlike", "misleading"])
def test_a_trial_adds_a_line(
    held_out: str,
    data_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "trials.jsonl"
    words = ["--name", "small", "--data", data_file, "--cache", tmp_path / "cache", "--output", output]
    words += ["--held-out", held_out]
    words += ["image_size=32", "head_epochs=1", "tune_epochs=1", "views=1", "flip=true", "precision=float32"]
    monkeypatch.setattr(sys, "argv", ["try_recipe.py", *map(str, words)])
    try_recipe.main()
    (line,) = output.read_text(encoding="utf-8").splitlines()
    trial = json.loads(line)
    assert line == capsys.readouterr().out.strip()
    assert (trial["name"], trial["held_out"]) == ("small", held_out)
    assert (trial["settings"]["views"], trial["settings"]["flip"]) == (1, True)
    figures = [trial[key] for key in tabulate_trials.COLUMNS.values()]
    assert all(0 <= figure <= 1 for figure in figures)
