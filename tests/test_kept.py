"""Kept results: all that a check needs and no more, and every figure and decision computed anew."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import checking
import join_kept
import kept
import numpy as np
import pytest
import results
from numpy.typing import NDArray
from scored import (
    EXAMPLES,
    FOLDS,
    SIZES,
    change_arrays,
    change_json,
    count_figures,
    draw_scores,
    keep,
    make_record_text,
    make_run,
    read_rule,
    refuse,
    show_rule,
)

from pneumocli import DISCLAIMER
from pneumocli.core.config import RECIPES, choose_config
from pneumocli.core.metrics import compute_metrics
from pneumocli.core.operating import choose_threshold
from pneumocli.core.records import RunRecord

pytest_plugins = ["kept_runs"]


def test_all_that_is_needed_is_kept(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs", 5, tune_layers=80, early_stopping=False)
    said = tmp_path / "results"
    results.main(
        [
            "--results",
            str(said),
            "keep",
            str(run),
            "--as",
            "mine",
            "--seconds",
            "61.5",
            "--processor",
            "GPU X",
        ]
    )
    metrics = {f"metrics_{split}.json" for split in SIZES}
    names = {"about.json", "config.json", "decision.json", "scores.npz"} | metrics
    assert {path.name for path in said.iterdir()} == {"mine"}
    assert {path.name for path in (said / "mine").iterdir()} == names
    for name in {"config.json", "decision.json"} | metrics:
        assert json.loads((said / "mine" / name).read_text()) == json.loads((run / name).read_text())
    about = json.loads((said / "mine" / "about.json").read_text())
    config = json.loads((run / "config.json").read_text())
    command = "pneumocli cv --folds 3 --recipe original --tune-layers 80 --no-early-stopping"
    assert kept.read_kept(said / "mine").command == command
    assert (about["seed"], about["seconds"]) == (5, 61.5)
    assert (about["processor"], about["cores"] > 0) == ("GPU X", True)
    assert about["disclaimer"] == DISCLAIMER
    for name in ("versions", "weights", "data", "precision"):
        assert about[name] == config[name]


def test_a_run_of_an_earlier_version_is_kept_as_it_said_it(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs")
    change_json(run / "config.json", lambda config: config["data"].pop("conflicts"))
    folder = keep(run, tmp_path / "results", "mine")
    about, config = (json.loads((folder / name).read_text()) for name in ("about.json", "config.json"))
    assert about["data"] == config["data"] and "conflicts" not in config["data"]


def test_command_names_backend_and_size() -> None:
    record = RunRecord.model_validate_json(make_record_text(pixels=64, backend="jax"))
    assert kept.name_command(record) == (
        "KERAS_BACKEND=jax pneumocli cv --folds 3 --recipe original --size 64"
    )


def test_default_recipe_is_not_named() -> None:
    record = RunRecord.model_validate_json(make_record_text(28, "tensorflow"))
    record = record.model_copy(update={"settings": choose_config(seed=4, tune_epochs=3)})
    assert kept.name_command(record) == "pneumocli cv --folds 3 --tune-epochs 3"


def test_command_follows_a_recipe_that_has_changed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = RECIPES["original"].model_copy(update={"tune_epochs": 99, "flip": True, "views": 1})
    epochs = json.loads((folder / "original-1" / "config.json").read_text())["settings"]["tune_epochs"]
    monkeypatch.setitem(RECIPES, "original", changed)
    found = kept.read_kept(folder / "original-1").command
    assert found.startswith("pneumocli cv --folds 3 --recipe original ")
    assert f" --tune-epochs {epochs} " in found
    assert found.endswith(" --no-flip")


def test_kept_scores_are_those_of_the_run_and_of_its_folds(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs")
    with np.load(keep(run, tmp_path / "results", "mine") / "scores.npz", allow_pickle=False) as found:
        arrays = dict(found)
    for split in SIZES:
        with np.load(run / f"scores_{split}.npz") as whole:
            for part in ("index", "y_true", "y_score"):
                np.testing.assert_array_equal(arrays.pop(f"{split}_{part}"), whole[part])
        for number in range(1, FOLDS + 1):
            with np.load(run / f"fold_{number}" / f"scores_{split}.npz") as fold:
                if split == "out_of_fold":
                    rows = np.flatnonzero(arrays["out_of_fold_fold"] == number)
                    np.testing.assert_array_equal(rows, fold["index"])
                else:
                    np.testing.assert_array_equal(
                        arrays[f"{split}_member_scores"][number - 1], fold["y_score"]
                    )
    assert set(arrays) == {"out_of_fold_fold", "val_member_scores", "test_member_scores"}


def test_repeats_are_kept_with_the_scores_of_each(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs", repeats=2)
    mine = keep(run, tmp_path / "results", "mine")
    assert kept.read_kept(mine).command == "pneumocli cv --folds 3 --recipe original --repeats 2"
    with np.load(mine / "scores.npz", allow_pickle=False) as found:
        fold_of, scores = found["out_of_fold_fold"], found["out_of_fold_repeat_scores"]
        whole = found["out_of_fold_y_score"]
    assert fold_of.shape == scores.shape == (2, SIZES["out_of_fold"])
    for number in range(1, 2 * FOLDS + 1):
        with np.load(run / f"fold_{number}" / "scores_out_of_fold.npz") as fold:
            repeat = (number - 1) // FOLDS
            np.testing.assert_array_equal(np.flatnonzero(fold_of[repeat] == number), fold["index"])
            np.testing.assert_array_equal(scores[repeat][fold["index"]], fold["y_score"])
    np.testing.assert_array_equal(whole, scores.astype(np.float64).mean(axis=0).astype(np.float32))


def test_kept_runs_are_joined_by_the_mean_of_their_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(join_kept, "read_kept", lambda folder: None)
    y_true = np.array([0, 1, 0, 1, 1, 0])
    rng = np.random.default_rng(0)
    y_score = {split: rng.random((2, 6)).astype(np.float32) for split in ("out_of_fold", "test")}
    folders = [tmp_path / "one", tmp_path / "other"]
    for number, folder in enumerate(folders):
        folder.mkdir()
        arrays: dict[str, Any] = {}
        for split, rows in y_score.items():
            order = rng.permutation(6)  # runs need not have the images in one order
            arrays |= {f"{split}_index": order, f"{split}_y_true": y_true[order].astype(np.uint8)}
            arrays[f"{split}_y_score"] = rows[number][order]
        np.savez(folder / "scores.npz", **arrays)
    threshold, figures = join_kept.judge(folders)
    means = {
        split: rows.astype(np.float64).mean(axis=0).astype(np.float32) for split, rows in y_score.items()
    }
    assert threshold == choose_threshold("youden", y_true, means["out_of_fold"])
    assert figures["test at 0.5"] == compute_metrics(y_true, means["test"], 0.5)
    assert figures[f"out-of-fold at {threshold:.4g}"] == compute_metrics(
        y_true, means["out_of_fold"], threshold
    )


def test_kept_runs_of_other_images_are_not_joined(tmp_path: Path) -> None:
    folders = [keep(make_run(tmp_path / "runs", seed), tmp_path / "kept", f"run-{seed}") for seed in (0, 1)]
    with pytest.raises(kept.RunError, match="of other images"):
        join_kept.judge(folders)


def test_pooled_scores_that_are_not_the_repeats_mean_are_refused(tmp_path: Path) -> None:
    mine = keep(make_run(tmp_path / "runs", repeats=2), tmp_path / "results", "mine")
    with np.load(mine / "scores.npz", allow_pickle=False) as found:
        arrays = dict(found)
    arrays["out_of_fold_repeat_scores"] = arrays["out_of_fold_repeat_scores"][::-1] / 2
    np.savez(mine / "scores.npz", **arrays)
    with pytest.raises(kept.RunError, match="not the mean of the repeats'"):
        kept.read_kept(mine)


def test_no_path_of_the_machine_is_kept(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs")
    for name in ("config.json", "metrics_test.json"):
        text = (run / name).read_text().replace("pneumoniamnist.npz", f"{tmp_path}/data/pneumoniamnist.npz")
        (run / name).write_text(text.replace("weights.h5", "C:\\\\Users\\\\me\\\\weights.h5"))
    mine = keep(run, tmp_path / "results", "mine")
    for path in mine.glob("*.json"):
        assert str(tmp_path) not in path.read_text()
        assert "Users" not in path.read_text()
    about = json.loads((mine / "about.json").read_text())
    assert (about["data"]["name"], about["weights"]["name"]) == ("pneumoniamnist.npz", "weights.h5")
    with np.load(mine / "scores.npz", allow_pickle=False) as arrays:
        assert all(array.dtype.kind in "uif" for array in arrays.values())


def test_kept_run_of_the_real_size_is_small(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs", sizes={"out_of_fold": 4708, "val": 524, "test": 624})
    mine = keep(run, tmp_path / "results", "mine")
    assert sum(path.stat().st_size for path in mine.iterdir()) < 160_000


def test_all_kept_results_together_are_small() -> None:
    assert (
        sum(path.stat().st_size for path in (EXAMPLES / "results").rglob("*") if path.is_file()) < 2_000_000
    )


def drop(name: str) -> Callable[[Path], None]:
    return lambda run: (run / name).unlink()


def change_score(run: Path) -> None:
    with np.load(run / "fold_2" / "scores_test.npz") as found:
        arrays = dict(found)
    arrays["y_score"][3] = 0.123
    np.savez(run / "fold_2" / "scores_test.npz", **arrays)


def change_rows(run: Path) -> None:
    with np.load(run / "fold_2" / "scores_out_of_fold.npz") as found:
        arrays = dict(found)
    arrays["index"] = arrays["index"] + 1000
    np.savez(run / "fold_2" / "scores_out_of_fold.npz", **arrays)


def other_data(run: Path) -> None:
    change_json(run / "metrics_val.json", lambda metrics: metrics.update(data_digest="e" * 64))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (drop("metrics_val.json"), "--split val"),
        (drop("scores_test.npz"), "scores_test.npz is missing"),
        (drop("config.json"), "not a run folder"),
        (drop("fold_1/scores_val.npz"), "scores_val.npz is missing"),
        (change_score, "not the mean"),
        (change_rows, "of other images"),
        (other_data, "not of the data"),
        (lambda run: (run / "metrics_test.json").write_text("{"), "cannot be read"),
        (lambda run: (run / "metrics_test.json").write_text("[]"), "not what this script keeps"),
    ],
)
def test_damaged_run_is_not_kept(damage: Callable[[Path], None], reason: str, tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs")
    damage(run)
    line = refuse("--results", tmp_path / "results", "keep", run, "--as", "mine", "--seconds", "1")
    assert reason in line
    assert "partial" not in line
    assert not list((tmp_path / "results").glob("*"))


@pytest.mark.parametrize(
    ("changes", "name"), [({"synthetic": True}, "a"), ({"kind": "train"}, "a"), ({}, "../a")]
)
def test_what_is_not_kept(changes: dict[str, Any], name: str, tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs", **changes)
    refuse("--results", tmp_path / "results", "keep", run, "--as", name, "--seconds", "1")
    assert {path.name for path in tmp_path.iterdir()} <= {"runs", "results"}


def test_kept_run_is_not_overwritten(folder: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*.*") if path.is_file()}
    run = make_run(tmp_path / "runs", 9)
    assert "--as" in refuse("--results", folder, "keep", run, "--as", "original-0", "--seconds", "1")
    assert {path: path.read_bytes() for path in folder.rglob("*.*") if path.is_file()} == before


BLOCKS = [
    *(("test", ("models", "ensemble", name), 1e-4) for name in checking.FIGURES),
    *(("val", ("models", "fold 2", name), 1e-4) for name in ("roc_auc", "f1")),
    *(("out_of_fold", ("models", "pooled", name), 1e-4) for name in ("accuracy", "tp")),
    *(("test", ("at_rule", "ensemble", name), 1e-4) for name in checking.FIGURES),
    *(("test", ("calibration", "before", name), 1e-6) for name in ("brier", "ece", "log_loss")),
    *(("test", ("calibration", "after", name), 1e-6) for name in ("brier", "ece", "log_loss")),
    *(("val", (part, "f1", name), 1e-6) for part in ("folds", "folds_at_rule") for name in ("mean", "sd")),
    *(("test", ("estimates", "ensemble", name, "value"), 1e-6) for name in ("f1", "brier", "ppv", "roc_auc")),
    *(
        ("test", ("estimates_at_rule", "fold 2", name, "low"), 1e-6)
        for name in ("roc_auc", "sensitivity", "npv")
    ),
    *(("out_of_fold", ("estimates", "pooled", name, "low"), 1.0) for name in ("f1", "brier")),
    ("test", ("calibration", "temperature"), 0.1),
    ("test", ("decision", "threshold"), 0.01),
    ("test", ("at_rule", "fold 1", "threshold"), 0.01),
    ("test", ("models", "ensemble", "threshold"), 1e-9),
]


@pytest.mark.parametrize(("split", "keys", "more"), BLOCKS, ids=lambda value: str(value))
def test_figure_that_the_scores_do_not_give_is_refused(
    split: str, keys: tuple[str, ...], more: float, folder: Path
) -> None:
    def change(metrics: dict[str, Any]) -> None:
        for key in keys[:-1]:
            metrics = metrics[key]
        metrics[keys[-1]] += more

    change_json(folder / "original-0" / f"metrics_{split}.json", change)
    line = refuse("--results", folder, "table")
    assert "original-0" in line
    assert split in line
    assert keys[-1] in line


def test_decision_that_the_scores_do_not_give_is_refused(folder: Path) -> None:
    change_json(folder / "original-0" / "decision.json", lambda decision: decision.update(sensitivity=0.99))
    assert "decision.json: sensitivity" in refuse("--results", folder, "table")


def move_decision(kept_run: Path, **changes: Any) -> None:
    """As if another threshold or temperature had been chosen, everywhere and with its figures."""
    with np.load(kept_run / "scores.npz") as found:
        arrays = dict(found)
    decision = {**read_rule(kept_run), **changes}
    models = {split: kept.list_models(arrays, split) for split in SIZES}
    own = count_figures(*models["out_of_fold"]["pooled"], decision["threshold"])
    decision |= {name: own[name] for name in ("sensitivity", "specificity")}
    (kept_run / "decision.json").write_text(json.dumps(decision))

    def rewrite(metrics: dict[str, Any]) -> None:
        metrics |= show_rule(models[metrics["split"]], decision)

    for split in SIZES:
        change_json(kept_run / f"metrics_{split}.json", rewrite)


def test_threshold_that_the_rule_does_not_give_is_refused(folder: Path) -> None:
    move_decision(folder / "original-0", threshold=read_rule(folder / "original-0")["threshold"] + 0.1)
    assert "the threshold is not that of youden" in refuse("--results", folder, "table")


def test_temperature_of_none_is_refused_where_there_is_one(folder: Path) -> None:
    assert abs(read_rule(folder / "original-2")["temperature"] - 1) > 0.1
    move_decision(folder / "original-2", temperature=1.0)
    assert "temperature is 1" in refuse("--results", folder, "table")


def test_number_for_a_rule_is_its_threshold(folder: Path) -> None:
    move_decision(folder / "original-0", rule="0.9")
    assert "the rule is 0.9" in refuse("--results", folder, "table")


def test_what_the_temperature_makes_worse_is_checked(folder: Path) -> None:
    change_json(
        folder / "original-0" / "metrics_test.json",
        lambda metrics: metrics["calibration"].update(worse=["x"]),
    )
    assert "worse" in refuse("--results", folder, "table")


def test_best_single_model_is_checked(folder: Path) -> None:
    best = json.loads((folder / "original-0" / "metrics_test.json").read_text())["best_single"]
    other = next(name for name in ("fold 1", "fold 2") if name != best)
    change_json(
        folder / "original-0" / "metrics_test.json", lambda metrics: metrics.update(best_single=other)
    )
    assert "best single" in refuse("--results", folder, "table")


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_temperature_that_was_not_fitted_is_refused(factor: float, folder: Path) -> None:
    temperature = read_rule(folder / "original-0")["temperature"]
    move_decision(folder / "original-0", temperature=factor * temperature)
    assert "a lower log loss" in refuse("--results", folder, "table")


@pytest.mark.parametrize("rule", ["youden", "f1", "sensitivity:0.9", "specificity:0.9"])
def test_each_rules_threshold_is_known_from_others(rule: str) -> None:
    rng = np.random.default_rng(8)
    y_true = (np.arange(300) % 3 > 0).astype(np.int64)
    (y_score,) = draw_scores(rng, y_true, 1)
    right = choose_threshold(rule, y_true, y_score)
    checking.check_threshold(rule, right, checking.compute_figures(y_true, y_score, right), y_true, y_score)
    for wrong in (right - 0.1, right + 0.1):
        figures = checking.compute_figures(y_true, y_score, wrong)
        with pytest.raises(checking.RunError, match=rule):
            checking.check_threshold(rule, wrong, figures, y_true, y_score)


def test_run_scored_by_another_rule_is_refused(folder: Path) -> None:
    change_json(
        folder / "original-0" / "metrics_val.json", lambda metrics: metrics["decision"].update(rule="f1")
    )
    assert "pneumocli evaluate" in refuse("--results", folder, "table")


def exchange_truth(arrays: dict[str, NDArray[Any]]) -> None:
    arrays["test_y_true"][:2] = 1 - arrays["test_y_true"][:2]


def shift_score(arrays: dict[str, NDArray[Any]]) -> None:
    arrays["val_member_scores"][1, 2] += 1e-3


def repeat_row(arrays: dict[str, NDArray[Any]]) -> None:
    arrays["out_of_fold_index"][1] = arrays["out_of_fold_index"][0]


@pytest.mark.parametrize(
    "change", [exchange_truth, shift_score, repeat_row, lambda arrays: arrays.pop("val_index")]
)
def test_changed_scores_are_refused(change: Callable[[dict[str, NDArray[Any]]], None], folder: Path) -> None:
    change_arrays(folder / "original-0" / "scores.npz", change)
    assert "original-0" in refuse("--results", folder, "table")


@pytest.mark.parametrize("name", ["scores.npz", "config.json", "metrics_val.json"])
def test_lost_or_cut_off_file_is_refused(name: str, folder: Path) -> None:
    path = folder / "original-0" / name
    path.write_bytes(path.read_bytes()[:100])
    assert name in refuse("--results", folder, "table")
    path.unlink()
    assert name in refuse("--results", folder, "table")


def test_about_of_another_run_is_refused(folder: Path) -> None:
    shutil.copy(folder / "original-0" / "about.json", folder / "original-1" / "about.json")
    assert "about.json" in refuse("--results", folder, "table")


def test_what_a_killed_keep_left_is_passed_over(folder: Path) -> None:
    before = results.make_table(folder)
    shutil.copytree(folder / "original-1", folder / ".new.123.partial")
    assert results.make_table(folder) == before
