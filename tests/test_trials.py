"""Trials of settings: what is held out, what a trial measures, and the table made of them."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from pneumocli.core.synthetic import draw_dataset

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "examples"))  # as python does for a script that is run

import tabulate_trials  # noqa: E402
import try_recipe  # noqa: E402

TRIALS = ROOT / "examples" / "results" / "trials.jsonl"


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


def test_recipe_page_has_the_table_of_its_trials() -> None:
    trials = [json.loads(line) for line in TRIALS.read_text(encoding="utf-8").splitlines()]
    table = tabulate_trials.tabulate_trials(trials)
    assert len(table.splitlines()) == len(trials) + 2
    assert table in (ROOT / "examples" / "recipe.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_trial_adds_a_line(
    data_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "trials.jsonl"
    words = ["--name", "small", "--data", data_file, "--cache", tmp_path / "cache", "--output", output]
    words += ["image_size=32", "head_epochs=1", "tune_epochs=1", "views=1", "flip=true", "precision=float32"]
    monkeypatch.setattr(sys, "argv", ["try_recipe.py", *map(str, words)])
    try_recipe.main()
    (line,) = output.read_text(encoding="utf-8").splitlines()
    trial = json.loads(line)
    assert line == capsys.readouterr().out.strip()
    assert trial["name"] == "small"
    assert (trial["settings"]["views"], trial["settings"]["flip"]) == (1, True)
    figures = [trial[key] for key in tabulate_trials.COLUMNS.values()]
    assert all(0 <= figure <= 1 for figure in figures)
