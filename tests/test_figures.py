"""Figure files: what is written is read back, damage is told, the best fold is chosen."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pneumocli import DISCLAIMER
from pneumocli.core.errors import RunError
from pneumocli.core.figures import Figures, choose_best, name_fold, read_figures, write_figures
from pneumocli.core.metrics import Metrics, compute_metrics, summarize_folds

METRICS = compute_metrics([0, 1, 0, 1, 1], [0.1, 0.9, 0.6, 0.4, 0.7])


def make_figures(**changes: object) -> Figures:
    settings: dict[str, object] = {
        "run": "cv-1",
        "split": "test",
        "data": "small.npz",
        "data_digest": "0" * 64,
        "synthetic": True,
        "models": {"fold 1": METRICS, "fold 2": METRICS, "ensemble": METRICS},
        "best_single": "fold 2",
        "folds": summarize_folds([METRICS, METRICS]),
    }
    return Figures.model_validate(settings | changes)


def with_auc(roc_auc: float) -> Metrics:
    return replace(METRICS, roc_auc=roc_auc)


def refuse(folder: Path) -> str:
    with pytest.raises(RunError) as caught:
        read_figures(folder, "test")
    line = str(caught.value)
    assert len(line.splitlines()) == 1
    assert str(folder / "metrics_test.json") in line
    return line


@pytest.mark.parametrize(
    "changes", [{}, {"best_single": None, "folds": None, "models": {"train-1": METRICS}}]
)
def test_figures_read_back_what_was_written(changes: dict[str, object], tmp_path: Path) -> None:
    figures = make_figures(**changes)
    write_figures(tmp_path, figures)
    assert read_figures(tmp_path, "test") == figures


def test_file_is_plain_json_with_the_disclaimer(tmp_path: Path) -> None:
    figures = make_figures(best_single=None, folds=None)
    write_figures(tmp_path, figures)
    content = json.loads((tmp_path / "metrics_test.json").read_text(encoding="utf-8"))
    assert content == figures.to_dict()
    assert content["disclaimer"] == DISCLAIMER
    assert content["models"]["ensemble"] == METRICS.to_dict()
    assert "best_single" not in content
    assert "folds" not in content


def test_missing_file(tmp_path: Path) -> None:
    assert "missing" in refuse(tmp_path)


WHOLE = make_figures().to_dict()
DAMAGED = {
    "empty": b"",
    "cut off": json.dumps(WHOLE).encode()[:-20],
    "list": b"[]",
    "no keys": b"{}",
    "binary": b"\xff\xfe\x00",
    "deep": b"[" * 100_000,
    "a key less": json.dumps({key: value for key, value in WHOLE.items() if key != "models"}).encode(),
    "a key more": json.dumps(WHOLE | {"more": 1}).encode(),
    "later version": json.dumps(WHOLE | {"schema_version": 2}).encode(),
    "words for numbers": json.dumps(WHOLE | {"models": {"fold 1": {"n": "many"}}}).encode(),
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED.keys())
def test_damaged_file(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "metrics_test.json").write_bytes(content)
    assert "damaged" in refuse(tmp_path)


def test_nothing_stays_when_a_figure_is_no_number(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_figures(tmp_path, make_figures(models={"fold 1": with_auc(float("nan"))}))
    assert not list(tmp_path.iterdir())


def test_best_fold_is_that_of_the_highest_auc() -> None:
    folds = {name_fold(number): with_auc(auc) for number, auc in enumerate([0.7, 0.9, 0.8], start=1)}
    assert choose_best(folds) == "fold 2"


def test_of_equal_folds_the_first_is_the_best() -> None:
    folds = {name_fold(number): with_auc(0.9) for number in (1, 2, 3)}
    assert choose_best(folds) == "fold 1"
