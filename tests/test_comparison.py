"""Differences of two models against a second way to get each, and the runs they come from."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from test_runs import make_run

from pneumocli.core.comparison import compare_runs, compare_scores
from pneumocli.core.decision import fix_decision, write_decision
from pneumocli.core.errors import RunError
from pneumocli.core.figures import Figures, write_figures
from pneumocli.core.metrics import compute_metrics
from pneumocli.core.resampling import draw_resamples
from pneumocli.core.runs import Run, open_run
from pneumocli.core.scores import Scores, write_scores
from pneumocli.report.figures import tabulate_comparison
from pneumocli.report.terminal import open_stdout


def draw_models(seed: int = 0, n: int = 80) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    y_true = np.arange(n) % 2
    case = rng.normal(size=n) + y_true
    return y_true, 1 / (1 + np.exp(-np.round(case + rng.normal(scale=0.5, size=(2, n)), 1)))


def test_figures_and_bounds_are_those_of_images_drawn_anew() -> None:
    y_true, (first, second) = draw_models()
    found = compare_scores(y_true, first, second, (0.4, 0.6), resamples=100, seed=5)
    ours, theirs = compute_metrics(y_true, first, 0.4), compute_metrics(y_true, second, 0.6)
    for figure in ("roc_auc", "accuracy", "f1", "sensitivity", "specificity"):
        assert found[figure].first == pytest.approx(getattr(ours, figure))
        assert found[figure].second == pytest.approx(getattr(theirs, figure))
    drawn = [np.repeat(np.arange(80), weights) for weights in draw_resamples(y_true, 100, seed=5)]
    slow = [
        compute_metrics(y_true[rows], second[rows], 0.6).f1
        - compute_metrics(y_true[rows], first[rows], 0.4).f1
        for rows in drawn
    ]
    assert (found["f1"].low, found["f1"].high) == pytest.approx(tuple(np.quantile(slow, [0.025, 0.975])))


def test_auc_difference_lies_where_its_bootstrap_says() -> None:
    y_true, (first, second) = draw_models(n=300)
    found = compare_scores(y_true, first, second)["roc_auc"]
    values = []
    for weights in draw_resamples(y_true, 1000, seed=1):
        rows = np.repeat(np.arange(300), weights)
        values.append(
            compute_metrics(y_true[rows], second[rows]).roc_auc
            - compute_metrics(y_true[rows], first[rows]).roc_auc
        )
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * np.std(values), rel=0.12)


def test_p_values_of_equal_models_are_uniform() -> None:
    p_values = []
    for seed in range(150):
        y_true, scores = draw_models(seed)
        p_values.append(compare_scores(y_true, *scores, resamples=2)["roc_auc"].p_value)
    assert 0.01 <= np.mean(np.array(p_values) < 0.05) <= 0.1
    assert np.mean(p_values) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(("better", "worse", "p"), [(0, 0, 1.0), (3, 3, 1.0), (5, 0, 2 / 32), (0, 6, 2 / 64)])
def test_mcnemar_counts_only_images_on_which_they_differ(better: int, worse: int, p: float) -> None:
    first, second = np.r_[np.zeros(20), np.ones(20)], np.r_[np.zeros(20), np.ones(20)]
    first[:better] = 1  # wrong where the second is right
    second[20 : 20 + worse] = 0
    y_true = np.r_[np.zeros(20, int), np.ones(20, int)]
    assert compare_scores(y_true, first, second, resamples=2)["accuracy"].p_value == pytest.approx(p)


def test_a_model_does_not_differ_from_itself() -> None:
    y_true, (first, _) = draw_models()
    for difference in compare_scores(y_true, first, first, resamples=20).values():
        assert (difference.low, difference.high) == (None, None)
        assert difference.p_value in (None, 1.0)


def test_too_few_images_to_tell_give_no_certainty() -> None:
    # One parts three of each class, the other has them the wrong way round: no variance, and not p 0.
    y_true = np.repeat([0, 1], 3)
    found = compare_scores(y_true, np.linspace(0, 1, 6), np.linspace(1, 0, 6), resamples=20)
    assert found["roc_auc"].second - found["roc_auc"].first == -1
    assert (found["roc_auc"].low, found["roc_auc"].high, found["roc_auc"].p_value) == (None, None, None)
    assert (found["sensitivity"].low, found["sensitivity"].high) == (None, None)
    assert found["accuracy"].p_value == pytest.approx(2 / 64)


def test_other_numbers_of_images_are_refused() -> None:
    y_true, (first, second) = draw_models()
    with pytest.raises(ValueError, match="received 80 and 79"):
        compare_scores(y_true, first, second[1:])


@pytest.mark.parametrize("score", [float("nan"), 3.0])
def test_what_is_no_probability_is_refused(score: float) -> None:
    y_true, (first, second) = draw_models()
    with pytest.raises(ValueError, match="probabilities from 0 to 1"):
        compare_scores(y_true, first, np.r_[score, second[1:]])


Score = Callable[..., Run]


@pytest.fixture
def score(tmp_path: Path) -> Score:
    """Make a run that has scored 80 test images."""

    def call(
        name: str,
        row: int,
        digest: str = "a" * 64,
        threshold: float = 0.5,
        n: int = 80,
        split: str = "test",
        external: str | None = None,
    ) -> Run:
        run = (
            make_run(tmp_path, "train", name) if not (tmp_path / name).exists() else open_run(tmp_path / name)
        )
        folder = run.path if external is None else run.path / "external" / external
        y_true, scores = draw_models(n=n)
        known = Scores(np.arange(n), y_true, scores[row].astype(np.float32))
        write_scores(folder, split, known, "file")
        write_decision(run.path, fix_decision(str(threshold), known, "val", "file"))
        metrics = compute_metrics(y_true, scores[row], 0.45)
        write_figures(
            folder,
            Figures(
                run=name,
                split=split,
                data="file",
                data_digest=digest,
                synthetic=False,
                models={name: metrics},
            ),
        )
        return run

    return call


def test_runs_are_compared_at_their_own_thresholds(score: Score) -> None:
    found = compare_runs(score("one", 0, threshold=0.3), score("two", 1), "test")
    y_true, (first, second) = draw_models()
    assert found.differences["accuracy"].first == pytest.approx(compute_metrics(y_true, first, 0.3).accuracy)
    assert found.differences["accuracy"].second == pytest.approx(compute_metrics(y_true, second).accuracy)
    assert (found.first, found.second, found.n) == ("one", "two", 80)
    assert (found.rules, found.thresholds) == (("0.3", "0.5"), (0.3, 0.5))
    assert json.loads(json.dumps(found.to_dict()))["differences"]["roc_auc"]["p_value"] is not None


def test_runs_that_scored_other_images_are_refused(score: Score) -> None:
    with pytest.raises(RunError, match="other test images"):
        compare_runs(score("one", 0), score("two", 1, digest="b" * 64), "test")


def test_single_image_of_a_class_is_too_few(score: Score) -> None:
    with pytest.raises(RunError, match="too few to compare"):
        compare_runs(score("one", 0, n=3), score("two", 1, n=3), "test")


def test_run_that_was_not_scored_is_told_how(score: Score, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"pneumocli evaluate .* --split test"):
        compare_runs(score("one", 0), make_run(tmp_path, "train", "two"), "test")


def test_how_to_score_names_the_images_as_far_as_it_can(score: Score, tmp_path: Path) -> None:
    named = tmp_path / "my images"
    named.mkdir()
    one, two = score("one", 0, external="my images"), make_run(tmp_path, "train", "two")
    with pytest.raises(RunError, match=r"--split test --data '.*/my images'$"):
        compare_runs(one, two, None, str(named))
    own = two.record.data.model_copy(update={"identity": "own images: 4 files in folder xrays"})
    two = replace(two, record=two.record.model_copy(update={"data": own}))
    with pytest.raises(RunError, match=r"--split test --data FILE$"):
        compare_runs(score("one", 0), two, "test")


def test_other_data_are_compared_by_their_name(score: Score) -> None:
    score("one", 0, digest="b" * 64, n=90)
    one = score("one", 0, external="file")
    two = score("two", 1, external="file")
    found = compare_runs(one, two, None, "file")
    assert (found.split, found.n) == ("test", 80)
    y_true, (first, second) = draw_models()
    assert found.differences["roc_auc"].first == pytest.approx(compute_metrics(y_true, first).roc_auc)
    assert found.differences["roc_auc"].second == pytest.approx(compute_metrics(y_true, second).roc_auc)
    assert compare_runs(one, two, None, "/elsewhere/file/").n == 80  # as `evaluate` was given it
    with pytest.raises(RunError, match=r"two has not been scored on test;.*--split test$"):
        compare_runs(one, two, None)


def test_a_runs_own_data_are_found_by_their_name_too(score: Score) -> None:
    # Every run of these tests was trained on small.npz.
    found = compare_runs(score("one", 0), score("two", 1, external="small.npz"), None, "small.npz")
    assert found.n == 80


def test_all_images_where_nothing_else_was_scored(score: Score) -> None:
    one, two = (score(name, row, external="x", split="all") for row, name in enumerate(("one", "two")))
    assert compare_runs(one, two, None, "x").split == "all"
    score("one", 0, external="x")
    with pytest.raises(RunError, match=r"two has not been scored on test of x;.*--split test --data FILE"):
        compare_runs(one, two, None, "x")
    assert compare_runs(one, two, "all", "x").split == "all"


def test_unknown_data_are_refused(score: Score) -> None:
    with pytest.raises(RunError, match="has not been scored on test of nothing"):
        compare_runs(score("one", 0), score("two", 1), None, "nothing")


def test_table_is_whole_at_80_columns(
    score: Score, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    found = replace(compare_runs(score("one", 0), score("two", 1), "test"), first="a-long-name " * 8)
    open_stdout().print(tabulate_comparison(found))
    text = capsys.readouterr().out
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    for difference in found.differences.values():
        assert f"{difference.low:+.4f} to {difference.high:+.4f}" in text
        assert difference.p_value is None or f"{difference.p_value:.2g}" in text
