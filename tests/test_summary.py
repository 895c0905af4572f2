"""What a run folder says of its run, and what it is missing."""

import shutil
from pathlib import Path

import pytest
from written import EPOCHS, draw_picture, write_run, write_scored

from pneumocli.core.decision import fix_decision, read_decision
from pneumocli.core.errors import RunError
from pneumocli.core.figures import read_figures, write_figures
from pneumocli.core.identity import Kind
from pneumocli.core.metrics import compute_metrics
from pneumocli.core.runs import DECISION, EXTERNAL, HISTORY
from pneumocli.core.scores import OUT_OF_FOLD, read_scores
from pneumocli.core.summary import find_reported, summarize_run
from pneumocli.core.uncertainty import bound_auc, bound_share
from pneumocli.report.results import tabulate_external


def say_gaps(run_gaps: object) -> str:
    return " ".join(f"{gap.what} {gap.how}" for gap in run_gaps)  # type: ignore[attr-defined]


def test_the_split_that_says_most_comes_first(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    assert list(summarize_run(run).scored) == [OUT_OF_FOLD]
    write_scored(run, "val")
    assert list(summarize_run(run).scored) == ["val", OUT_OF_FOLD]
    write_scored(run, "test")
    found = summarize_run(run)
    assert list(found.scored) == ["test", "val", OUT_OF_FOLD]
    assert found.best is found.scored["test"]
    assert found.best.name == "ensemble"


def test_figures_are_those_of_the_kept_scores_at_the_runs_rule(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    write_scored(run)
    best = summarize_run(run).best
    assert best is not None and best.moved is not None
    scores, decision = read_scores(run.path, "test"), read_decision(run)
    assert best.metrics == compute_metrics(scores.y_true, scores.y_score, decision.threshold)
    called = scores.y_score >= decision.threshold
    sensitivity = called[scores.y_true == 1].mean()
    assert best.moved[0] == pytest.approx(sensitivity - decision.sensitivity)
    assert best.moved[1] == pytest.approx((~called[scores.y_true == 0]).mean() - decision.specificity)


@pytest.mark.parametrize("kind", ["cv", "train"])
def test_intervals_that_no_command_has_kept_are_computed_from_the_scores(kind: str, tmp_path: Path) -> None:
    run = write_run(tmp_path, kind)  # type: ignore[arg-type]
    split = OUT_OF_FOLD if kind == "cv" else "val"
    assert read_figures(run.path, split).estimates is None
    best = summarize_run(run).best
    assert best is not None and best.estimates is not None
    scores, decision = read_scores(run.path, split), read_decision(run)
    found = (scores.y_score >= decision.threshold)[scores.y_true == 1]
    interval = bound_share(int(found.sum()), len(found))
    estimate = best.estimates["sensitivity"]
    assert (estimate.low, estimate.high) == (interval.low, interval.high)
    assert (estimate.hits, estimate.of) == (found.sum(), len(found))
    auc = bound_auc(scores.y_true, scores.y_score)
    assert (best.estimates["roc_auc"].low, best.estimates["roc_auc"].high) == (auc.low, auc.high)
    assert best.moved is None  # the rule was fixed on these very images


def test_lost_scores_are_a_gap_and_not_an_error(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    (run.path / f"scores_{OUT_OF_FOLD}.npz").unlink()
    found = summarize_run(run)
    assert found.best is not None and found.best.estimates is None
    assert "no intervals" in say_gaps(found.gaps)


def test_a_run_that_is_not_scored_says_how_to_score_it(tmp_path: Path) -> None:
    run = write_run(tmp_path, name="it's one")
    said = say_gaps(summarize_run(run).gaps)
    assert "not scored on test images" in said
    assert f"""pneumocli evaluate '{tmp_path}/it'"'"'s one'""" in said
    write_scored(run)
    draw_picture(run.path / "roc_test.png")
    assert summarize_run(run).gaps == ()


def test_an_incomplete_run_says_how_far_it_is(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    run.last_file.unlink()
    (run.path / DECISION).unlink()
    shutil.rmtree(run.path / "fold_3")
    found = summarize_run(run)
    (gap,) = found.gaps
    assert "not complete. 2 of 3 folds are trained" in gap.what
    assert "pneumocli cv" in gap.how
    assert found.best is None and found.decision is None
    assert list(found.courses) == ["fold 1", "fold 2"]


def test_figures_at_another_rule_are_told(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    write_scored(run)
    figures = read_figures(run.path, "test")
    other = fix_decision("0.9", read_scores(run.path, OUT_OF_FOLD), "out_of_fold", "x")
    write_figures(run.path, figures.model_copy(update={"decision": other}))
    assert "another rule than the run's own (youden" in say_gaps(summarize_run(run).gaps)


def test_figures_of_other_data_at_another_rule_are_told(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    folder = run.path / EXTERNAL / "hospital.csv"
    write_scored(run, "all", folder)
    assert "hospital.csv" not in say_gaps(summarize_run(run).gaps)
    figures = read_figures(folder, "all")
    other = fix_decision("0.9", read_scores(run.path, OUT_OF_FOLD), "out_of_fold", "x")
    write_figures(folder, figures.model_copy(update={"decision": other}))
    found = summarize_run(run)
    assert "The figures on hospital.csv (all) stand at another rule" in say_gaps(found.gaps)
    table = tabulate_external(found.external)
    assert table is not None
    assert [row.head for row in table.rows] == [
        f"hospital.csv, all, at {found.external[0].metrics.threshold:.4f}"
    ]


def test_a_damaged_file_is_an_error(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    (run.path / f"metrics_{OUT_OF_FOLD}.json").write_text("{")
    with pytest.raises(RunError, match="damaged"):
        summarize_run(run)


def test_other_data_are_kept_apart(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    folder = run.path / EXTERNAL / "hospital.csv"
    write_scored(run, "all", folder)
    found = summarize_run(run)
    assert list(found.scored) == [OUT_OF_FOLD]
    assert [scored.figures.data for scored in found.external] == ["hospital.csv"]


def test_the_course_of_training_is_that_of_the_history(tmp_path: Path) -> None:
    run = write_run(tmp_path, "train", name="one")
    (course,) = summarize_run(run).courses.values()
    assert (course.head_epochs, course.tune_epochs) == (2, 1)
    assert (course.phase, course.epoch, course.val_auc) == ("tune", 1, EPOCHS[-1]["val_auc"])


@pytest.mark.parametrize(
    "text", ["", "[]", '{"epochs": [{}]}', '{"epochs": []}', '{"epochs": 3}', "[" * 9999]
)
def test_a_history_that_cannot_be_read_is_left_out(text: str, tmp_path: Path) -> None:
    run = write_run(tmp_path)
    (run.path / "fold_2" / HISTORY).write_text(text)
    assert list(summarize_run(run).courses) == ["fold 1", "fold 3"]


def test_which_data_it_is(tmp_path: Path) -> None:
    known = summarize_run(write_run(tmp_path, name="a"))
    assert (known.kind, known.is_medmnist) == (Kind.OFFICIAL, True)
    own = write_run(tmp_path, name="b", identity="own images: 9 files in folder the official training")
    assert (summarize_run(own).kind, summarize_run(own).is_medmnist) == (Kind.OWN, False)
    larger = write_run(tmp_path, name="c", identity="something of PneumoniaMNIST's form, 64 px", pixels=64)
    assert not summarize_run(larger).is_medmnist
    # Written for PneumoniaMNIST's own images alone.
    (larger.path / "pneumoniamnist_64_test_[AUC]0.900_[ACC]0.900@c.csv").write_text("")
    assert summarize_run(larger).is_medmnist


def test_named_runs_need_not_be_complete_and_others_must(tmp_path: Path) -> None:
    run = write_run(tmp_path, name="half")
    run.last_file.unlink()
    assert find_reported(tmp_path, Path("half")).path == run.path
    assert find_reported(Path("elsewhere"), run.path).path == run.path
    with pytest.raises(RunError, match="unfinished: half"):
        find_reported(tmp_path)
    with pytest.raises(RunError, match="is not a run folder"):
        find_reported(tmp_path, Path("none"))
