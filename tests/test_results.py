"""Kept results: all that a check needs and no more, figures computed anew, the table, the README's copy."""

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from small import RANDOM_WEIGHTS

from pneumocli import DISCLAIMER
from pneumocli.core.config import RECIPES, choose_config
from pneumocli.core.data import join_digests
from pneumocli.core.metrics import compute_metrics
from pneumocli.core.operating import choose_threshold
from pneumocli.core.records import DataRecord, RunRecord
from pneumocli.core.scores import Scores, write_scores

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
sys.path.insert(0, str(EXAMPLES))  # as python does for a script that is run

import checking  # noqa: E402
import join_kept  # noqa: E402
import kept  # noqa: E402
import results  # noqa: E402

FOLDS = 3
SIZES = {"out_of_fold": 90, "val": 40, "test": 60}
DIGESTS = {"out_of_fold": "a" * 64, "val": "b" * 64, "test": "c" * 64}


def count_figures(y_true: NDArray[Any], y_score: NDArray[Any], threshold: float) -> dict[str, float]:
    """Every figure by counting, without scikit-learn."""
    called = y_score.astype(np.float64) >= threshold
    tn, fp = int((~called & (y_true == 0)).sum()), int((called & (y_true == 0)).sum())
    fn, tp = int((~called & (y_true == 1)).sum()), int((called & (y_true == 1)).sum())
    above = y_score[y_true == 1][:, None].astype(np.float64) - y_score[y_true == 0]
    return {
        "n": len(y_true),
        "threshold": threshold,
        **{"tn": tn, "fp": fp, "fn": fn, "tp": tp},
        "accuracy": (tp + tn) / len(y_true),
        "f1": 2 * tp / (2 * tp + fp + fn),
        "sensitivity": tp / (tp + fn),
        "specificity": tn / (tn + fp),
        "roc_auc": float((above > 0).mean() + (above == 0).mean() / 2),
    }


def count_calibration(y_true: NDArray[Any], y_score: NDArray[Any]) -> dict[str, float]:
    score = y_score.astype(np.float64)
    gaps = 0.0
    for low in np.arange(15) / 15:
        here = (score > low) & (score <= low + 1 / 15)
        if here.any():
            gaps += here.sum() * abs(score[here].mean() - y_true[here].mean())
    odds = np.where(y_true == 1, score, 1 - score)
    return {
        "brier": float(((score - y_true) ** 2).mean()),
        "ece": float(gaps / len(y_true)),
        "log_loss": float(-np.log(odds).mean()),
    }


def cool(y_score: NDArray[Any], temperature: float) -> NDArray[np.float64]:
    odds = (y_score.astype(np.float64) / (1 - y_score.astype(np.float64))) ** (1 / temperature)
    return odds / (1 + odds)


def decide(y_true: NDArray[Any], y_score: NDArray[Any]) -> dict[str, Any]:
    """Rule, threshold and temperature by trying them all."""

    def lose(temperature: float) -> float:
        return count_calibration(y_true, cool(y_score, temperature))["log_loss"]

    def index(threshold: float) -> float:
        called = y_score.astype(np.float64) >= threshold
        return float(called[y_true == 1].mean() - called[y_true == 0].mean())

    levels = np.sort(y_score.astype(np.float64))
    threshold = float(max((levels[1:] + levels[:-1]) / 2, key=index))
    temperature = float(min(np.geomspace(0.4, 4, 300), key=lose))
    return {"rule": "youden", "threshold": threshold, "temperature": temperature, "source": "out_of_fold"}


def read_rule(run: Path) -> dict[str, Any]:
    return dict(json.loads((run / "decision.json").read_text()))


def draw_scores(rng: np.random.Generator, y_true: NDArray[np.int64], rows: int) -> NDArray[np.float32]:
    logits = 2.0 * y_true - 0.5 + rng.normal(0, 1.5, (rows, len(y_true)))
    return (1 / (1 + np.exp(-logits))).astype(np.float32)


def make_run(
    runs: Path,
    seed: int = 0,
    *,
    with_rule: bool = True,
    sizes: dict[str, int] = SIZES,
    kind: str = "cv",
    synthetic: bool = False,
    backend: str = "tensorflow",
    **changes: Any,
) -> Path:
    """Write by hand what a scored cross-validation leaves, without its models."""
    path = runs / f"cv-{len(list(runs.glob('*'))) + 1}"
    path.mkdir(parents=True)
    rng = np.random.default_rng(100 + seed)
    data = DataRecord(
        name="pneumoniamnist.npz",
        digest=join_digests({"train": DIGESTS["out_of_fold"], "val": DIGESTS["val"]}),
        identity="the official file",
        synthetic=synthetic,
        pixels=28,
        train_images=sizes["out_of_fold"],
        stopping_images=sizes["val"],
    )
    record = RunRecord(
        kind=kind,  # type: ignore[arg-type]
        created="2026-01-01T00:00:00.000000+00:00",
        folds=FOLDS,
        settings=choose_config("original", seed=seed, **changes),
        data=data,
        weights=RANDOM_WEIGHTS.record.model_copy(update={"name": "weights.h5", "sha256": "ab" * 32}),
        precision="bfloat16",  # type: ignore[arg-type]
        preparation=1,
        versions={"pneumocli": "0.1.0", "backend": backend},
    )
    (path / "config.json").write_text(record.model_dump_json())
    decision = {}
    for split, size in sizes.items():
        y_true = (rng.permutation(size) % 8 < 5).astype(np.int64)
        members = FOLDS * record.settings.repeats
        rows = draw_scores(rng, y_true, members)
        if split == "out_of_fold":
            folds = [
                rng.permutation(size) % FOLDS + FOLDS * repeat for repeat in range(record.settings.repeats)
            ]
            held_out = np.array([rows[fold, np.arange(size)] for fold in folds], np.float64)
            main, whole = "pooled", held_out.mean(axis=0).astype(np.float32)
            parts = [
                np.flatnonzero(fold == number)
                for number in range(members)
                for fold in folds
                if number in fold
            ]
        else:
            main, whole = "ensemble", (rows.astype(np.float64).sum(axis=0) / members).astype(np.float32)
            parts = [np.arange(size)] * members
        models = {}
        for number, (row, part) in enumerate(zip(rows, parts, strict=True), start=1):
            write_scores(path / f"fold_{number}", split, Scores(part, y_true[part], row[part]), data.name)
            models[f"fold {number}"] = (y_true[part], row[part])
        write_scores(path, split, Scores(np.arange(size), y_true, whole), data.name)
        models[main] = (y_true, whole)
        metrics: dict[str, Any] = {
            "schema_version": 1,
            "run": path.name,
            "split": split,
            "data": data.name,
            "data_digest": DIGESTS[split],
            "synthetic": False,
            "models": {name: count_figures(*model, 0.5) for name, model in models.items()},
            "disclaimer": DISCLAIMER,
        }
        if with_rule:
            if split == "out_of_fold":
                decision = {**decide(y_true, whole), "images": size}
                own = count_figures(y_true, whole, decision["threshold"])
                decision |= {name: own[name] for name in ("sensitivity", "specificity")}
                (path / "decision.json").write_text(json.dumps({"schema_version": 1, **decision}))
            metrics["decision"] = decision
            metrics["at_rule"] = {
                name: count_figures(*model, decision["threshold"]) for name, model in models.items()
            }
            metrics["calibration"] = {
                "temperature": decision["temperature"],
                "before": count_calibration(y_true, whole),
                "after": count_calibration(y_true, cool(whole, decision["temperature"])),
            }
        (path / f"metrics_{split}.json").write_text(json.dumps(metrics))
    return path


HIDDEN = "Not shown,28 px,0.9,0.8,,0.7,,test,A paper,no"


def make_published(folder: Path, *rows: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    header = "model,input,auc,accuracy,f1,sensitivity,specificity,picked,source,shown"
    (folder / "published.csv").write_text("\n".join([header, *rows, ""]), encoding="utf-8")


def keep(path: Path, folder: Path, name: str, seconds: float | None = 60.0) -> Path:
    return kept.keep_run(path, folder / name, seconds, "A processor", 2)


def change_json(path: Path, change: Callable[[Any], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def change_arrays(path: Path, change: Callable[[dict[str, NDArray[Any]]], None]) -> None:
    with np.load(path) as found:
        arrays = dict(found)
    change(arrays)
    np.savez_compressed(path, **arrays)


def refuse(*words: str | Path) -> str:
    with pytest.raises(SystemExit) as caught:
        results.main([str(word) for word in words])
    line = str(caught.value)
    assert line.startswith("error: ")
    assert len(line.splitlines()) == 1
    return line


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of three seeds of one recipe, the same kept, and one published row."""
    made = tmp_path_factory.mktemp("made")
    for seed in range(3):
        keep(make_run(made / "runs", seed), made / "results", f"original-{seed}")
    make_published(made / "results", "Theirs,28 px,0.9,0.8,,0.7,,test,A paper,yes", HIDDEN)
    return made


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of the kept runs, to change."""
    return Path(shutil.copytree(made / "results", tmp_path / "results"))


def read_rows(table: str) -> dict[str, list[str]]:
    lines = [line for line in table.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert {len(line) for line in cells} == {9}
    assert cells[0][0] == "model"
    return {line[0]: line[1:] for line in cells[2:]}


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


def make_record_text(pixels: int, backend: str) -> str:
    settings = choose_config("original").model_dump(mode="json")
    data = {"name": "a.npz", "digest": "0", "identity": "", "synthetic": False, "pixels": pixels}
    data |= {"train_images": 9, "stopping_images": 9}
    record = {"kind": "cv", "created": "", "folds": 3, "settings": settings, "data": data, "preparation": 1}
    record |= {
        "weights": {"name": "w", "sha256": None},
        "precision": "float32",
        "versions": {"backend": backend},
    }
    return json.dumps(record)


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
    assert sum(path.stat().st_size for path in mine.iterdir()) < 80_000


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


def test_table_has_mean_and_sd_and_each_seed(made: Path) -> None:
    rows = read_rows(results.make_table(made / "results"))
    columns: list[list[float]] = []
    for seed in range(3):
        with np.load(made / "runs" / f"cv-{seed + 1}" / "scores_test.npz") as found:
            y_true, y_score = found["y_true"], found["y_score"]
        decision = read_rule(made / "runs" / f"cv-{seed + 1}")
        half, rule = (count_figures(y_true, y_score, at) for at in (0.5, decision["threshold"]))
        after = cool(y_score, decision["temperature"])
        figures = [half["roc_auc"], half["accuracy"]]
        figures += [rule[name] for name in ("accuracy", "f1", "sensitivity", "specificity")]
        figures += [count_calibration(y_true, score)["ece"] for score in (y_score, after)]
        columns.append(figures)
        row = rows[f"seed {seed}; youden on out-of-fold: {decision['threshold']:.3f}"]
        assert row[-1] == f"[original-{seed}](examples/results/original-{seed})"
        *shown, ece = row[:-1]
        assert [*shown, *ece.split(" / ")] == [f"{value:.4f}" for value in figures]
    *shown, ece, source = rows["**`pneumocli cv --folds 3 --recipe original`, 3 seeds**"]
    expected = [
        f"{mean:.4f} ± {sd:.4f}"
        for mean, sd in zip(np.mean(columns, axis=0), np.std(columns, axis=0, ddof=1), strict=True)
    ]
    assert [*shown, *ece.split(" / ")] == expected
    assert source == "here"
    assert rows["Theirs, 28 px †"] == ["0.9", "0.8", "-", "-", "0.7", "-", "-", "A paper"]
    assert len(rows) == 5


def test_table_says_how_runs_were_made_and_what_they_are_not_for(folder: Path) -> None:
    table = results.make_table(folder)
    assert DISCLAIMER in table
    assert "On the 60 test images." in table
    assert (
        "1 / 1 / 1 min on A processor, 2 cores, in bfloat16; weights weights.h5 (SHA-256 abababab...)"
        in table
    )


def test_settings_that_were_returned_to_after_a_look_at_test_are_marked(folder: Path, tmp_path: Path) -> None:
    keep(make_run(tmp_path / "runs", 3, dropout=0.25), folder, "dropped")
    for name in ("original-1", "dropped"):
        change_json(folder / name / "about.json", lambda about: about.update(picked="test"))
    rows = list(read_rows(results.make_table(folder)))
    assert "**`pneumocli cv --folds 3 --recipe original`, 3 seeds** †" in rows
    assert any(
        row.startswith("**`pneumocli cv --folds 3 --recipe original --dropout 0.25`** †, ") for row in rows
    )


def test_time_that_was_not_measured_is_a_dash(folder: Path, tmp_path: Path) -> None:
    keep(make_run(tmp_path / "runs", 4), folder, "original-4", seconds=None)
    keep(make_run(tmp_path / "runs", 3, dropout=0.25), folder, "dropped", seconds=None)
    table = results.make_table(folder)
    assert "1 / 1 / 1 / - min on A processor" in table
    assert "--dropout 0.25`: time not measured, on A processor" in table


def test_what_all_recipes_were_made_with_is_said_once(folder: Path, tmp_path: Path) -> None:
    keep(make_run(tmp_path / "runs", 3, dropout=0.25), folder, "dropped")
    for name in ("about.json", "config.json"):
        change_json(folder / "dropped" / name, lambda content: content["data"].update(name="theirs.npz"))
    table = results.make_table(folder)
    assert table.count("weights weights.h5") == 1
    assert "- All of them: weights weights.h5 (SHA-256 abababab...)." in table
    assert "in bfloat16; theirs.npz, " in table


def test_run_without_a_rule_has_dashes(tmp_path: Path) -> None:
    found = tmp_path / "results"
    keep(make_run(tmp_path / "runs", with_rule=False), found, "plain")
    make_published(found)
    rows = read_rows(results.make_table(found))
    assert list(rows) == ["**`pneumocli cv --folds 3 --recipe original`**, seed 0"]
    (row,) = rows.values()
    assert row[2:7] == ["-"] * 5
    assert float(row[0]) > 0.5


def test_one_run_without_a_rule_leaves_no_mean_at_the_rule(folder: Path, tmp_path: Path) -> None:
    keep(make_run(tmp_path / "runs", 7, with_rule=False), folder, "plain")
    row = next(iter(read_rows(results.make_table(folder)).values()))
    assert "±" in row[0]
    assert row[2:7] == ["-"] * 5


def test_recipes_are_not_averaged_together(folder: Path, tmp_path: Path) -> None:
    keep(make_run(tmp_path / "runs", 3, dropout=0.25), folder, "dropped")
    keep(make_run(tmp_path / "runs", 4), folder, "other-weights")
    for name in ("about.json", "config.json"):
        change_json(
            folder / "other-weights" / name, lambda content: content["weights"].update(sha256="cd" * 32)
        )
    bold = [name for name in read_rows(results.make_table(folder)) if name.startswith("**")]
    alone, dropped = (read_rule(folder / name)["threshold"] for name in ("other-weights", "dropped"))
    assert bold == [
        "**`pneumocli cv --folds 3 --recipe original`, 3 seeds**",
        f"**`pneumocli cv --folds 3 --recipe original`**, seed 4; youden on out-of-fold: {alone:.3f}",
        "**`pneumocli cv --folds 3 --recipe original --dropout 0.25`**, seed 3; "
        f"youden on out-of-fold: {dropped:.3f}",
    ]


def test_same_seed_twice_is_refused(folder: Path) -> None:
    shutil.copytree(folder / "original-1", folder / "again")
    line = refuse("--results", folder, "table")
    assert "again" in line
    assert "original-1" in line


BLOCKS = [
    *(("test", ("models", "ensemble", name), 1e-4) for name in checking.FIGURES),
    *(("val", ("models", "fold 2", name), 1e-4) for name in ("roc_auc", "f1")),
    *(("out_of_fold", ("models", "pooled", name), 1e-4) for name in ("accuracy", "tp")),
    *(("test", ("at_rule", "ensemble", name), 1e-4) for name in checking.FIGURES),
    *(("test", ("calibration", "before", name), 1e-6) for name in ("brier", "ece", "log_loss")),
    *(("test", ("calibration", "after", name), 1e-6) for name in ("brier", "ece", "log_loss")),
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

    change_json(folder / "original-1" / f"metrics_{split}.json", change)
    line = refuse("--results", folder, "table")
    assert "original-1" in line
    assert split in line
    assert keys[-1] in line


def test_decision_that_the_scores_do_not_give_is_refused(folder: Path) -> None:
    change_json(folder / "original-2" / "decision.json", lambda decision: decision.update(sensitivity=0.99))
    assert "decision.json: sensitivity" in refuse("--results", folder, "table")


def move_decision(kept_run: Path, **changes: float) -> None:
    """As if another threshold or temperature had been chosen, everywhere and with its figures."""
    with np.load(kept_run / "scores.npz") as found:
        arrays = dict(found)
    decision = {**read_rule(kept_run), **changes}
    models = {split: kept.list_models(arrays, split) for split in SIZES}
    own = count_figures(*models["out_of_fold"]["pooled"], decision["threshold"])
    decision |= {name: own[name] for name in ("sensitivity", "specificity")}
    (kept_run / "decision.json").write_text(json.dumps(decision))

    def rewrite(metrics: dict[str, Any]) -> None:
        y_true, y_score = list(models[metrics["split"]].values())[-1]
        metrics["decision"] = decision
        metrics["at_rule"] = {
            name: count_figures(*model, decision["threshold"])
            for name, model in models[metrics["split"]].items()
        }
        metrics["calibration"]["temperature"] = decision["temperature"]
        metrics["calibration"]["after"] = count_calibration(y_true, cool(y_score, decision["temperature"]))

    for split in SIZES:
        change_json(kept_run / f"metrics_{split}.json", rewrite)


def test_threshold_that_the_rule_does_not_give_is_refused(folder: Path) -> None:
    move_decision(folder / "original-2", threshold=read_rule(folder / "original-2")["threshold"] + 0.1)
    assert "the threshold is not that of youden" in refuse("--results", folder, "table")


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_temperature_that_was_not_fitted_is_refused(factor: float, folder: Path) -> None:
    temperature = read_rule(folder / "original-2")["temperature"]
    move_decision(folder / "original-2", temperature=factor * temperature)
    assert "a lower log loss" in refuse("--results", folder, "table")


@pytest.mark.parametrize("rule", ["youden", "f1", "sensitivity:0.9", "specificity:0.9"])
def test_each_rules_threshold_is_known_from_others(rule: str) -> None:
    rng = np.random.default_rng(8)
    y_true = (np.arange(300) % 3 > 0).astype(np.int64)
    (y_score,) = draw_scores(rng, y_true, 1)
    right = choose_threshold(rule, y_true, y_score)
    checking.check_threshold(rule, checking.compute_figures(y_true, y_score, right), y_true, y_score)
    for wrong in (right - 0.1, right + 0.1):
        figures = checking.compute_figures(y_true, y_score, wrong)
        with pytest.raises(checking.RunError, match=rule):
            checking.check_threshold(rule, figures, y_true, y_score)


def test_runs_of_other_test_images_are_not_put_in_one_table(folder: Path) -> None:
    change_json(
        folder / "original-2" / "metrics_test.json", lambda metrics: metrics.update(data_digest="d" * 64)
    )
    line = refuse("--results", folder, "table")
    assert "original-2" in line
    assert "other test images" in line


def test_run_scored_by_another_rule_is_refused(folder: Path) -> None:
    change_json(
        folder / "original-2" / "metrics_val.json", lambda metrics: metrics["decision"].update(rule="f1")
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


@pytest.mark.parametrize(
    "row",
    [
        "A,28 px,0.9,,,,,,A paper,yes",
        "A,28 px,0.9,,,,,best,A paper,yes",
        "A,28 px,0.9,,,,,test,,yes",
        "A,28 px,0.9,,,,,test,A paper,",
    ],
)
def test_published_row_without_protocol_or_source_is_refused(row: str, tmp_path: Path) -> None:
    make_published(tmp_path, row)
    assert "published.csv" in refuse("--results", tmp_path, "table")


def test_table_is_written_between_the_marks_alone(folder: Path, tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"above\n\n{results.BEGIN}\nold\n{results.END}\n\nbelow\n", encoding="utf-8")
    for _ in range(2):
        results.main(["--results", str(folder), "update", "--readme", str(readme)])
        text = readme.read_text(encoding="utf-8")
        table = results.make_table(folder)
        assert text == f"above\n\n{results.BEGIN}\n\n{table}\n\n{results.END}\n\nbelow\n"
        assert results.read_table(readme) == table


@pytest.mark.parametrize("text", ["none", results.BEGIN, f"{results.END} {results.BEGIN}", results.BEGIN * 2])
def test_file_without_the_marks_is_left_alone(text: str, folder: Path, tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(text)
    refuse("--results", folder, "update", "--readme", readme)
    assert readme.read_text() == text


def test_readme_has_the_table_that_the_script_prints() -> None:
    readme = ROOT / "README.md"
    if results.BEGIN not in readme.read_text(encoding="utf-8"):
        pytest.skip("the README has no place for the table")
    command = [sys.executable, str(EXAMPLES / "results.py"), "table"]
    printed = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    assert printed.returncode == 0, printed.stderr
    assert results.read_table(readme) == printed.stdout.strip()


PUBLISHED_TEXT = (EXAMPLES / "results" / "published.csv").read_text(encoding="utf-8")
PUBLISHED = list(csv.DictReader(PUBLISHED_TEXT.splitlines()))


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: f"{row['model']}, {row['input']}")
def test_published_figures_go_with_the_counts_of_the_test_images(row: dict[str, str]) -> None:
    value = {
        name: float(row[name])
        for name in ("auc", "accuracy", "f1", "sensitivity", "specificity")
        if row[name]
    }
    assert all(0.2 < figure < 1 for figure in value.values())
    assert value
    if {"accuracy", "sensitivity", "specificity"} <= set(value):
        tp, tn = 390 * value["sensitivity"], 234 * value["specificity"]
        assert value["accuracy"] == pytest.approx((tp + tn) / 624, abs=1e-3)
        if "f1" in value:
            assert value["f1"] == pytest.approx(2 * tp / (tp + 390 + 234 - tn), abs=1e-3)


def test_published_rows_that_were_picked_on_test_are_marked() -> None:
    picked = {row["source"] for row in PUBLISHED if row["picked"] == "test"}
    assert picked == {"Omid-Nejati/MedViTV2", "Horizon-42/ExplainableAI_Medical"}
    rows = [(row["model"], row["input"], row["source"]) for row in PUBLISHED]
    assert len(set(rows)) == len(rows) > 40
    assert "MedViT-T" not in {row["model"] for row in PUBLISHED}  # known from memory only
