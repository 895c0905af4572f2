"""`pneumocli evaluate`: figures and pictures of a run, on its own images and on others."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from commandline import fail, list_pictures, name_pictures, read_scored, succeed, write_data, write_labels
from pictures import draw_files
from small import copy_run

from pneumocli.core.album import PICTURES
from pneumocli.core.data import Dataset
from pneumocli.core.decision import read_decision
from pneumocli.core.figures import read_figures
from pneumocli.core.runs import CONFIG, DECISION, EXTERNAL, MODEL, Run
from pneumocli.core.scores import OUT_OF_FOLD
from pneumocli.core.synthetic import draw_dataset
from pneumocli.report.figures import ESTIMATE_TITLES, NO_INTERVAL
from pneumocli.report.terminal import SYNTHETIC_NOTE

pytest_plugins = ["trained"]


def test_evaluate_draws_the_pictures_of_folds(cv_copy: Run, data_file: Path) -> None:
    result = succeed("evaluate", cv_copy.path, "--data", data_file)
    assert list_pictures(cv_copy.path) == set(name_pictures("test"))
    assert f"pictures: {cv_copy.path}: {', '.join(name_pictures('test'))}; {PICTURES}" in result.stderr


def test_pictures_are_drawn_for_who_reads_the_first_lines_alone(cv_copy: Run, data_file: Path) -> None:
    words = [sys.executable, "-m", "pneumocli", "evaluate", str(cv_copy.path), "--data", str(data_file)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        process.stdout.close()
    assert list_pictures(cv_copy.path) == set(name_pictures("test"))


def test_evaluate_says_how_sure_the_ensembles_figures_are(cv_copy: Run) -> None:
    estimates = read_scored(cv_copy)["estimates_at_rule"]["ensemble"]
    shown = succeed("evaluate", cv_copy.path, "--data", "synthetic").stdout
    assert f"ensemble at {read_decision(cv_copy).threshold:.4f}, with 95 % intervals" in shown
    for name, title in ESTIMATE_TITLES.items():
        found = estimates[name]
        if "value" in found:
            bounds = f"{found['low']:.4f} to {found['high']:.4f}" if "low" in found else "-"
            assert re.search(rf"{title} +{found['value']:.4f} +{bounds}\s", shown), name
    lacking = any("low" not in found for found in estimates.values())
    assert (NO_INTERVAL in " ".join(shown.split())) == lacking


def test_evaluate_at_another_rule_leaves_the_decision(cv_copy: Run) -> None:
    before = (cv_copy.path / DECISION).read_bytes()
    scored = read_scored(cv_copy, "--rule", "0.625")
    assert scored["decision"]["rule"] == "0.625"
    assert {metrics["threshold"] for metrics in scored["at_rule"].values()} == {0.625}
    shown = succeed("evaluate", cv_copy.path, "--data", "synthetic", "--rule", "0.625").stdout
    assert "0.6250: given as 0.625, and tried on" in " ".join(shown.split())
    assert (cv_copy.path / DECISION).read_bytes() == before
    assert read_scored(cv_copy)["decision"] == json.loads(before)


def test_evaluate_at_a_prevalence(cv_copy: Run) -> None:
    scored = read_scored(cv_copy, "--prevalence", "0.02")
    assert scored["prevalence"] == 0.02
    for values, models in (("predictive_values", "models"), ("predictive_values_at_rule", "at_rule")):
        metrics = scored[models]["ensemble"]
        found, alarmed = metrics["sensitivity"] * 0.02, (1 - metrics["specificity"]) * 0.98
        if found + alarmed:
            assert scored[values]["ensemble"]["ppv"] == pytest.approx(found / (found + alarmed))
    shown = succeed("evaluate", cv_copy.path, "--data", "synthetic", "--prevalence", "0.02").stdout
    assert "at a prevalence of 0.02" in " ".join(shown.split())
    assert "prevalence" not in read_scored(cv_copy)


def test_no_such_rule_to_evaluate_at(cv_copy: Run) -> None:
    line = fail("evaluate", cv_copy.path, "--data", "synthetic", "--rule", "best", exit_code=2)
    assert "'best'" in line
    assert not list(cv_copy.path.rglob("*test*"))


@pytest.mark.parametrize("split", ["val", "test"])
def test_evaluate_says_how_the_rule_carries_over(split: str, cv_copy: Run) -> None:
    shown = succeed("evaluate", cv_copy.path, "--data", "synthetic", "--split", split).stdout
    assert "ensemble, moved" in shown
    assert ("ensemble - mean" in shown) is (split == "val")
    assert "ensemble, calibration" in shown


def test_evaluate_draws_the_curve_of_a_single_model(train_copy: Run, data_file: Path) -> None:
    succeed("evaluate", train_copy.name, "--split", "val", "--data", data_file)
    assert list_pictures(train_copy.path) == set(name_pictures("val"))
    assert not list(train_copy.path.glob("*test*"))


@pytest.mark.parametrize("split", ["test", "val"])
def test_evaluate_shows_the_best_single_model_beside_the_ensemble(
    split: str, cv_copy: Run, data_file: Path
) -> None:
    text = succeed("evaluate", "--split", split, "--data", data_file).stdout
    figures = read_figures(cv_copy.path, split)
    best = read_figures(cv_copy.path, OUT_OF_FOLD).best_single
    assert best is not None
    assert f"{best} (best single)" in text
    for name in (best, "ensemble"):
        row = next(line for line in text.splitlines() if line.strip().startswith(name))
        assert f"{figures.models[name].roc_auc:.4f}" in row
    assert not any(name in text for name in figures.models if name not in (best, "ensemble"))


def test_runs_are_found_by_option_and_by_environment(
    cv_copy: Run, data_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    cv_copy.path.parent.rename(elsewhere)
    fail("evaluate", "--data", data_file)
    succeed("evaluate", "--runs", elsewhere, "--data", data_file)
    monkeypatch.setenv("PNEUMOCLI_RUNS", str(elsewhere))
    succeed("evaluate", "--data", data_file)


def test_a_run_on_drawn_images_is_scored_on_drawn_images(cv_copy: Run) -> None:
    result = succeed("evaluate", "--format", "json")
    content = json.loads(result.stdout)
    assert (content["data"], content["synthetic"], content["run"]) == ("synthetic", True, cv_copy.name)
    assert SYNTHETIC_NOTE in result.stderr


def test_other_images_than_those_of_training_are_named(cv_copy: Run, tmp_path: Path) -> None:
    path = tmp_path / "other.npz"
    write_data(path, draw_dataset(seed=1, train=6, val=6, test=6))
    assert f"other.npz is not the data set that {cv_copy.name} was trained on" in (
        succeed("evaluate", "--data", path).stderr
    )


def test_tables_of_long_names_are_not_cut(
    cv_run: Run, train_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    data = tmp_path / f"{'pneumonia' * 9}.npz"
    write_data(data, draw_dataset(train=6, val=6, test=6))
    for finished in (cv_run, train_run):
        name = "a-long-name-of-a-run" * 5
        copied = copy_run(finished, tmp_path / finished.record.kind, name)
        text = succeed("evaluate", copied.path, "--data", data).stdout
        assert "…" not in text
        assert name in "".join(text.split())
        for metrics in read_figures(copied.path / EXTERNAL / data.name, "test").models.values():
            if finished is train_run:
                assert f"{metrics.roc_auc:.4f}" in text


def test_external_validation(cv_copy: Run, train_copy: Run, data_file: Path, tmp_path: Path) -> None:
    own = succeed("evaluate", cv_copy.path, "--data", data_file, "--format", "json").stdout
    kept = {path: path.read_bytes() for path in cv_copy.path.rglob("*") if path.is_file()}
    labels = write_labels(tmp_path / "hospital")
    result = succeed("evaluate", cv_copy.path, "--data", labels, "--format", "json")
    content = json.loads(result.stdout)
    place = cv_copy.path / EXTERNAL / "labels.csv"
    assert (content["data"], content["split"], content["models"]["ensemble"]["n"]) == (
        "labels.csv",
        "all",
        12,
    )
    assert content == json.loads((place / "metrics_all.json").read_text())
    assert list_pictures(place) == set(name_pictures("all"))
    for words in ("external validation", "scored on: all images of labels.csv", "28 px"):
        assert words in result.stderr
    assert {path: path.read_bytes() for path in kept} == kept
    assert succeed("evaluate", cv_copy.path, "--data", data_file, "--format", "json").stdout == own

    succeed("evaluate", train_copy.path, "--data", labels)
    compared = succeed("compare", cv_copy.path, train_copy.path, "--data", "labels.csv", "--format", "json")
    found = json.loads(compared.stdout)
    assert (found["split"], found["data"], found["n"]) == ("all", "labels.csv", 12)

    draw_files(tmp_path / "hospital", ["x/normal/000.png"], seed=9)
    assert "figures of other images" in fail("evaluate", cv_copy.path, "--data", labels)


def test_external_validation_on_a_split(cv_copy: Run, tmp_path: Path) -> None:
    labels = write_labels(tmp_path, "split train test test")
    for options, split, n in (((), "test", 8), (("--split", "all"), "all", 12)):
        text = succeed("evaluate", "--data", labels, *options, "--format", "json").stdout
        content = json.loads(text)
        assert (content["split"], content["models"]["ensemble"]["n"]) == (split, n)
    assert "no val images (it has: train, test)" in fail("evaluate", "--data", labels, "--split", "val")


def test_images_that_the_run_was_made_with_are_told(
    cv_copy: Run, small_dataset: Dataset, tmp_path: Path
) -> None:
    train = small_dataset.train
    mixed = {**small_dataset.splits, "test": train.take(np.arange(9))}
    mixed["train"] = small_dataset.test  # other data than the run's
    data = write_data(tmp_path / "mixed.npz", replace(small_dataset, splits=mixed))
    result = succeed("evaluate", cv_copy.path, "--data", data)
    assert "warning: 9 of the 9 images to score stand among those that" in result.stderr
    assert "9 of these 9 images stand among those" in " ".join(result.stdout.split())
    assert read_figures(cv_copy.path / EXTERNAL / "mixed.npz", "test").seen == 9


def test_patients_that_the_data_name_are_what_intervals_take_as_independent(
    cv_copy: Run, train_copy: Run, tmp_path: Path
) -> None:
    labels = write_labels(tmp_path, "group a a b c c d")
    content = json.loads(succeed("evaluate", cv_copy.path, "--data", labels, "--format", "json").stdout)
    assert content["groups"] == 4
    apart = json.loads(
        succeed(
            "evaluate", cv_copy.path, "--data", write_labels(tmp_path / "apart"), "--format", "json"
        ).stdout
    )
    assert "groups" not in apart
    assert apart["models"] == content["models"]
    for known, other in zip(
        *(found["estimates"]["ensemble"].values() for found in (content, apart)), strict=True
    ):
        assert known.get("value") == other.get("value")
    known, other = (found["estimates"]["ensemble"]["accuracy"] for found in (content, apart))
    assert known["high"] - known["low"] > other["high"] - other["low"]
    shown = succeed("evaluate", train_copy.path, "--data", labels).stdout
    assert "4 groups of images, such as patients, taken as independent" in " ".join(shown.split())
    shown = succeed("compare", cv_copy.path, train_copy.path, "--data", labels).stdout
    assert "Obuchowski for AUC, exact McNemar of groups for accuracy, 4 groups of images" in " ".join(
        shown.split()
    )


@pytest.mark.parametrize("content", [b"", b"hello", b"{}"])
def test_run_with_a_damaged_part(content: bytes, cv_copy: Run, data_file: Path) -> None:
    parts = (CONFIG, DECISION, cv_copy.last_file.name)
    for damaged in (*(cv_copy.path / name for name in parts), cv_copy.fold_path(1) / MODEL):
        whole = damaged.read_bytes()
        damaged.write_bytes(content)
        assert str(damaged) in fail("evaluate", cv_copy.path, "--data", data_file)
        damaged.write_bytes(whole)
    succeed("evaluate", cv_copy.path, "--data", data_file)


def test_images_of_another_size(cv_copy: Run, tmp_path: Path) -> None:
    data = write_data(tmp_path / "large.npz", draw_dataset(train=6, val=6, test=6, pixels=64))
    line = fail("evaluate", "--data", data)
    assert "28 px" in line
    assert "64 px" in line
