"""The table of kept results and published figures, and the README's copy."""

import csv
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import results
from scored import (
    EXAMPLES,
    ROOT,
    change_json,
    cool,
    count_calibration,
    count_figures,
    keep,
    make_published,
    make_run,
    read_rows,
    read_rule,
    refuse,
)

from pneumocli import DISCLAIMER

pytest_plugins = ["kept_runs"]


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


def test_table_of_published_rows_alone_names_no_number_of_images(tmp_path: Path) -> None:
    make_published(tmp_path, "Theirs,28 px,0.9,0.8,,0.7,,test,A paper,yes")
    assert "On the test images." in results.make_table(tmp_path)


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


def test_runs_of_other_test_images_are_not_put_in_one_table(folder: Path) -> None:
    change_json(
        folder / "original-2" / "metrics_test.json", lambda metrics: metrics.update(data_digest="d" * 64)
    )
    line = refuse("--results", folder, "table")
    assert "original-2" in line
    assert "other test images" in line


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
