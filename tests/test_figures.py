"""Figures and their files: what is computed, what is read back, that damage is told, the best fold."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_runs import DATA, make_run

from pneumocli import DISCLAIMER
from pneumocli.core.calibration import measure_calibration
from pneumocli.core.data import SEEN_NAMES, Dataset
from pneumocli.core.decision import Decision, fix_decision
from pneumocli.core.errors import RunError
from pneumocli.core.figures import (
    ENSEMBLE_NAME,
    POOLED_NAME,
    Figures,
    choose_best,
    compute_figures,
    name_fold,
    read_figures,
    write_figures,
)
from pneumocli.core.metrics import Metrics, compute_metrics, summarize_folds
from pneumocli.core.prevalence import project_values
from pneumocli.core.runs import Run
from pneumocli.core.scores import Scores
from pneumocli.core.uncertainty import estimate_figures

DIGEST = "d" * 64
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


FOLD_NAMES = ["fold 1", "fold 2"]


def draw_scores(seed: int, n: int = 40) -> Scores:
    rng = np.random.default_rng(seed)
    y_true = np.arange(n) % 2
    score = 1 / (1 + np.exp(-(rng.normal(size=n) + 1.5 * y_true)))
    return Scores(np.arange(n), y_true, score.astype(np.float32))


SCORED = {"fold 1": draw_scores(1), "fold 2": draw_scores(2), ENSEMBLE_NAME: draw_scores(3)}
DECISION = fix_decision("specificity:0.95", draw_scores(0), "out_of_fold", "small.npz")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return make_run(tmp_path)


@pytest.mark.parametrize("split", ["val", "test"])
def test_every_figure_is_there_at_0_5_and_at_the_rule(split: str, run: Run) -> None:
    figures = compute_figures(run, split, SCORED, DECISION, digest=DIGEST, intervals=True, prevalence=0.1)
    assert figures.at_rule is not None
    assert figures.estimates is not None
    assert figures.estimates_at_rule is not None
    assert figures.predictive_values is not None
    assert figures.predictive_values_at_rule is not None
    assert DECISION.threshold != 0.5
    for threshold, models, estimates, values in (
        (0.5, figures.models, figures.estimates, figures.predictive_values),
        (
            DECISION.threshold,
            figures.at_rule,
            figures.estimates_at_rule,
            figures.predictive_values_at_rule,
        ),
    ):
        assert list(models) == list(estimates) == list(values) == [*FOLD_NAMES, ENSEMBLE_NAME]
        for name, part in SCORED.items():
            metrics = compute_metrics(part.y_true, part.y_score, threshold)
            assert models[name] == metrics
            assert estimates[name] == estimate_figures(part.y_true, part.y_score, threshold)
            assert values[name] == project_values(metrics, 0.1)
    main = SCORED[ENSEMBLE_NAME]
    assert figures.calibration == measure_calibration(main.y_true, main.y_score, DECISION.temperature)
    assert (figures.decision, figures.prevalence, figures.fixed_here) == (DECISION, 0.1, False)


def test_folds_are_summarized_without_the_ensemble_and_not_on_test(run: Run) -> None:
    on_val = compute_figures(run, "val", SCORED, DECISION, digest=DIGEST)
    assert on_val.at_rule is not None
    for found, models in ((on_val.folds, on_val.models), (on_val.folds_at_rule, on_val.at_rule)):
        assert found == summarize_folds([models[name] for name in FOLD_NAMES])
    on_test = compute_figures(run, "test", SCORED, DECISION, digest=DIGEST)
    assert on_test.folds is None
    assert on_test.folds_at_rule is None


def test_lone_fold_has_figures_at_0_5_alone(run: Run) -> None:
    figures = compute_figures(run, "out_of_fold", {"fold 1": draw_scores(1)}, None, digest=DIGEST)
    for name in ("decision", "at_rule", "calibration", "folds", "folds_at_rule"):
        assert getattr(figures, name) is None, name
    assert not figures.fixed_here
    assert figures.models["fold 1"].threshold == 0.5


def decide_on(source: str) -> Decision:
    return DECISION.model_copy(update={"source": source})


def test_decision_is_of_these_images_if_split_and_data_are_its_own(run: Run, small_dataset: Dataset) -> None:
    def is_fixed_here(of: Run, split: str, scores: dict[str, Scores], source: str, **options: Any) -> bool:
        return compute_figures(of, split, scores, decide_on(source), digest=DIGEST, **options).fixed_here

    pooled = {**SCORED, POOLED_NAME: draw_scores(4)}
    del pooled[ENSEMBLE_NAME]
    assert is_fixed_here(run, "out_of_fold", pooled, "out_of_fold")
    one = {"train-1": draw_scores(1)}
    assert is_fixed_here(run, "val", one, "val")
    assert not is_fixed_here(run, "test", one, "val")
    assert not is_fixed_here(run, "val", one, "val", dataset=small_dataset)
    seen = DATA.model_copy(update={"digest": small_dataset.digest(SEEN_NAMES)})
    trained_on_it = replace(run, record=run.record.model_copy(update={"data": seen}))
    assert is_fixed_here(trained_on_it, "val", one, "val", dataset=small_dataset)


def test_other_images_are_named(run: Run, small_dataset: Dataset) -> None:
    figures = compute_figures(run, "test", SCORED, DECISION, digest=DIGEST, dataset=small_dataset)
    assert (figures.data, figures.data_digest) == ("synthetic", DIGEST)
    assert figures.synthetic
    figures = compute_figures(run, "test", SCORED, DECISION, digest=DIGEST)
    assert (figures.data, figures.data_digest, figures.synthetic) == (DATA.name, DIGEST, False)


def test_all_of_it_reads_back(run: Run, tmp_path: Path) -> None:
    figures = compute_figures(
        run, "val", SCORED, DECISION, digest=DIGEST, best_single="fold 2", intervals=True, prevalence=0.02
    )
    write_figures(tmp_path, figures)
    assert read_figures(tmp_path, "val") == figures
