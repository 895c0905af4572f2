"""Scored cross-validations written by hand, without models, and their figures by counting."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import kept
import numpy as np
import pytest
import results
from numpy.typing import NDArray
from small import RANDOM_WEIGHTS

from pneumocli import DISCLAIMER
from pneumocli.core.config import choose_config
from pneumocli.core.data import join_digests
from pneumocli.core.records import DataRecord, RunRecord
from pneumocli.core.scores import Scores, write_scores
from pneumocli.core.uncertainty import estimate_figures

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"


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


Models = dict[str, tuple[NDArray[Any], NDArray[Any]]]


def show_at(models: Models, threshold: float, end: str = "") -> dict[str, Any]:
    """The figures of models at one threshold, their spread and their intervals."""
    found = {name: count_figures(*model, threshold) for name, model in models.items()}
    folds = list(found.values())[:-1]
    spread = {
        name: {"mean": np.mean(values), "sd": np.std(values, ddof=1)}
        for name in ("roc_auc", "accuracy", "f1", "sensitivity", "specificity")
        for values in [[fold[name] for fold in folds]]
    }
    estimates = {
        name: {
            figure: asdict(each) for figure, each in estimate_figures(*model, threshold, resamples=20).items()
        }
        for name, model in models.items()
    }
    if end:
        return {end: found, f"folds_{end}": spread, f"estimates_{end}": estimates}
    return {"models": found, "folds": spread, "estimates": estimates}


def show_rule(models: Models, decision: dict[str, Any]) -> dict[str, Any]:
    """What stands beside the figures at 0.5 once there is a rule."""
    y_true, whole = list(models.values())[-1]
    before = count_calibration(y_true, whole)
    after = count_calibration(y_true, cool(whole, decision["temperature"]))
    return {
        "decision": decision,
        **show_at(models, decision["threshold"], "at_rule"),
        "calibration": {
            "temperature": decision["temperature"],
            "before": before,
            "after": after,
            "worse": [name for name in before if after[name] > before[name] + 1e-6],
        },
    }


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
    decision: dict[str, Any] = {}
    best = ""
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
            **show_at(models, 0.5),
            "disclaimer": DISCLAIMER,
        }
        if with_rule:
            if split == "out_of_fold":
                decision = {**decide(y_true, whole), "images": size}
                own = count_figures(y_true, whole, decision["threshold"])
                decision |= {name: own[name] for name in ("sensitivity", "specificity")}
                (path / "decision.json").write_text(json.dumps({"schema_version": 1, **decision}))
            metrics |= show_rule(models, decision)
            if split == "out_of_fold":
                best = max(list(models)[:-1], key=lambda name: metrics["models"][name]["roc_auc"])
            metrics["best_single"] = best
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


def read_rows(table: str) -> dict[str, list[str]]:
    lines = [line for line in table.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert {len(line) for line in cells} == {9}
    assert cells[0][0] == "model"
    return {line[0]: line[1:] for line in cells[2:]}


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
