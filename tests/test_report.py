"""Tables, pictures and progress: every number and word is there, and nothing is taken for markup."""

import io
import json
import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console, RenderableType
from test_runs import make_run

from pneumocli import DISCLAIMER
from pneumocli.core.audit import audit_dataset
from pneumocli.core.calibration import Calibration, Reliability
from pneumocli.core.data import Dataset
from pneumocli.core.decision import fix_decision
from pneumocli.core.figures import Figures, compute_figures
from pneumocli.core.metrics import FIGURES, Metrics, compute_metrics, summarize_folds
from pneumocli.core.progress import Progress
from pneumocli.core.scores import Scores
from pneumocli.core.uncertainty import estimate_figures
from pneumocli.report import live
from pneumocli.report.figures import (
    tabulate_calibration,
    tabulate_estimates,
    tabulate_figures,
    tabulate_predictive_values,
)
from pneumocli.report.live import show_progress
from pneumocli.report.tables import tabulate_audit, tabulate_predictions
from pneumocli.report.terminal import SYNTHETIC_NOTE, open_stdout, print_json, say, warn_use

LONG = "a-run-whose-name-goes-on-and-on-" * 4
MARKUP = "[red]x[/b] :smile:"


def make_metrics(seed: int, count: int = 4708) -> Metrics:
    rng = np.random.default_rng(seed)
    y_true = rng.integers(0, 2, count)
    return compute_metrics(y_true, np.clip(0.3 * y_true + 0.7 * rng.random(count), 0, 1))


def make_figures(
    models: dict[str, Metrics], run: str = "cv-1", best: str | None = None, synthetic: bool = False
) -> Figures:
    folds = [metrics for name, metrics in models.items() if name.startswith("fold")]
    return Figures(
        run=run,
        split="out_of_fold",
        data="pneumoniamnist.npz",
        data_digest="0" * 64,
        synthetic=synthetic,
        models=models,
        best_single=best,
        folds=summarize_folds(folds) if len(folds) > 1 else None,
    )


def make_ten_folds(run: str = "cv-1") -> Figures:
    models = {f"fold {fold}": make_metrics(fold) for fold in range(1, 11)}
    return make_figures({**models, "pooled": make_metrics(11)}, run)


def print_tables(
    tables: list[RenderableType], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    """What the tables look like at 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    for table in tables:
        open_stdout().print(table)
    return capsys.readouterr().out


def test_estimates_are_whole_at_80_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    y_true = rng.integers(0, 2, 4708)
    estimates = estimate_figures(y_true, np.clip(0.3 * y_true + 0.7 * rng.random(4708), 0, 1), resamples=50)
    figures = make_ten_folds().model_copy(update={"estimates": {"pooled": estimates}})
    text = print_tables([tabulate_estimates(figures, "pooled")], monkeypatch, capsys)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    for found in estimates.values():
        assert f"{found.value:.4f}" in text
        assert f"{found.low:.4f} to {found.high:.4f}" in text
        assert found.of is None or f"{found.hits}/{found.of}" in text


def draw_scores(seed: int, n: int = 624) -> Scores:
    """Scores of the same images, whatever the seed."""
    y_true = np.random.default_rng(n).integers(0, 2, n)
    score = 0.4 * y_true + 0.6 * np.random.default_rng(seed).random(n)
    return Scores(np.arange(n), y_true, score.astype(np.float32))


def make_decided(folder: Path, split: str, rule: str = "specificity:0.9", run: str = "cv-1") -> Figures:
    """Figures of three folds and what they make together, with a decision."""
    decision = fix_decision(rule, draw_scores(9, 4708), "out_of_fold", "pneumoniamnist.npz")
    scores = {f"fold {fold}": draw_scores(fold) for fold in (1, 2, 10)}
    scores["pooled" if split == "out_of_fold" else "ensemble"] = draw_scores(4)
    return compute_figures(
        make_run(folder, name=run),
        split,
        scores,
        decision,
        digest="e" * 64,
        best_single="fold 10",
        intervals=True,
        prevalence=0.07,
    )


def list_rows(text: str, name: str) -> list[list[str]]:
    """The figures of the lines that begin with a name."""
    lines = [line.strip() for line in text.splitlines()]
    return [line.removeprefix(name).split() for line in lines if re.match(rf"{re.escape(name)}  ", line)]


@pytest.mark.parametrize("split", ["test", "val", "out_of_fold"])
def test_models_stand_at_0_5_and_at_the_rule(
    split: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = make_decided(tmp_path, split)
    assert figures.decision is not None
    assert figures.at_rule is not None
    text = print_tables(tabulate_figures(figures), monkeypatch, capsys)
    check_complete(text, figures)
    check_complete(text, figures.model_copy(update={"models": figures.at_rule}))
    threshold = f"{figures.decision.threshold:.4f}"
    for name in ("fold 1", list(figures.models)[-1]):
        shown, at_rule, counted, counted_at_rule = list_rows(text, name)
        for row, counts, models in (
            (shown, counted, figures.models),
            (at_rule, counted_at_rule, figures.at_rule),
        ):
            assert row == [f"{getattr(models[name], figure):.4f}" for figure in FIGURES]
            assert counts[-4:] == [str(getattr(models[name], count)) for count in ("tn", "fp", "fn", "tp")]
        assert counted[1] == "0.5000"
        assert counted_at_rule[1] == threshold
    assert text.index("at 0.5 ") < text.index(f"at {threshold} ")
    words = " ".join(text.split())
    assert f"{threshold}: rule specificity:0.9, fixed on 4708 out-of-fold images" in words


@pytest.mark.parametrize("split", ["test", "val"])
def test_how_far_the_rule_moved(
    split: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = make_decided(tmp_path, split)
    decision, at_rule = figures.decision, figures.at_rule
    assert decision is not None
    assert at_rule is not None
    text = print_tables(tabulate_figures(figures, ["fold 10", "ensemble"]), monkeypatch, capsys)
    for name in ("fold 10", "ensemble"):
        (row,) = list_rows(text, f"{name}, moved")
        assert [float(figure) for figure in row] == pytest.approx(
            [
                at_rule[name].sensitivity - decision.sensitivity,
                at_rule[name].specificity - decision.specificity,
            ],
            abs=6e-5,
        )
        assert all(figure[0] in "+-" for figure in row)
    there = f"(sensitivity {decision.sensitivity:.4f}, specificity {decision.specificity:.4f})"
    assert there in " ".join(text.split())
    drift = list_rows(text, "ensemble - mean")
    assert len(drift) == (split == "val")
    if split == "val":
        members = [at_rule[name] for name in ("fold 1", "fold 2", "fold 10")]
        assert [float(figure) for figure in drift[0]] == pytest.approx(
            [
                at_rule["ensemble"].sensitivity - np.mean([fold.sensitivity for fold in members]),
                at_rule["ensemble"].specificity - np.mean([fold.specificity for fold in members]),
            ],
            abs=6e-5,
        )


def test_nothing_moved_where_the_rule_was_fixed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = make_decided(tmp_path, "out_of_fold")
    assert figures.fixed_here
    assert "moved" not in print_tables(tabulate_figures(figures), monkeypatch, capsys)


def test_rule_of_0_5_is_shown_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = print_tables(tabulate_figures(make_decided(tmp_path, "test", "0.5")), monkeypatch, capsys)
    assert len(list_rows(text, "ensemble")) == 2  # figures and counts
    assert "given as 0.5, and tried on" in " ".join(text.split())


def test_intervals_are_those_at_the_rule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = make_decided(tmp_path, "test")
    assert figures.decision is not None
    assert figures.estimates_at_rule is not None
    text = print_tables([tabulate_estimates(figures, "ensemble")], monkeypatch, capsys)
    assert f"ensemble at {figures.decision.threshold:.4f}, with 95 % intervals" in text
    for found in figures.estimates_at_rule["ensemble"].values():
        assert f"{found.value:.4f}   {found.low:.4f} to {found.high:.4f}" in text


def test_predictive_values_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = make_decided(tmp_path, "test", run=LONG[:60])
    assert figures.predictive_values is not None
    assert figures.predictive_values_at_rule is not None
    text = print_tables([tabulate_predictive_values(figures, ["fold 1", "ensemble"])], monkeypatch, capsys)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    assert "at a prevalence of 0.07" in " ".join(text.split())
    for name in ("fold 1", "ensemble"):
        rows = list_rows(text, name)
        for row, values in zip(
            rows, (figures.predictive_values, figures.predictive_values_at_rule), strict=True
        ):
            found = values[name]
            assert (
                row[-8:]
                == (
                    f"{found.ppv:.4f} {found.ppv_low:.4f} to {found.ppv_high:.4f} "
                    f"{found.npv:.4f} {found.npv_low:.4f} to {found.npv_high:.4f}"
                ).split()
            )
    assert "fold 2" not in text


@pytest.mark.parametrize("worse", [(), ("ece",), ("brier", "log_loss")])
def test_calibration_before_and_after(
    worse: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before, after = Reliability(0.1234, 0.0456, 0.3789), Reliability(0.1111, 0.0222, 0.3333)
    figures = make_decided(tmp_path, "test").model_copy(
        update={"calibration": Calibration(0.625, before, after, worse)}
    )
    text = print_tables([tabulate_calibration(figures, "ensemble")], monkeypatch, capsys)
    for name, row in (("Brier score", "brier"), ("ECE, 15 equal bins", "ece"), ("log loss", "log_loss")):
        assert list_rows(text, name) == [[f"{getattr(each, row):.4f}" for each in (before, after)]]
    words = " ".join(text.split())
    assert "the temperature 0.625, fitted on 4708 out-of-fold images" in words
    sentence = "On these images it makes the probabilities worse: "
    expected = {(): "", ("ece",): "ECE", ("brier", "log_loss"): "Brier score and log loss"}[worse]
    assert (sentence in words) is bool(worse)
    assert not worse or words.endswith(sentence + expected)


def test_rule_in_a_model_file_is_not_taken_for_markup(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tabulate_predictions(
        [{"path": "a.png", "probability": 0.5, "label": "normal"}], "x", False, rule="[/b]", source="val"
    )
    assert "rule [/b], fixed on" in " ".join(print_tables([table], monkeypatch, capsys).split())


def test_predictions_say_from_where_on_and_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"path": "a.png", "probability": 0.5, "label": "normal"}]
    decided = tabulate_predictions(rows, "x", False, called_from=0.61234, rule="f1", source="out_of_fold")
    words = " ".join(print_tables([decided], monkeypatch, capsys).split())
    assert "called pneumonia from 0.6123 on: rule f1, fixed on out-of-fold images" in words
    words = " ".join(print_tables([tabulate_predictions(rows, "x", False)], monkeypatch, capsys).split())
    assert "called pneumonia from 0.5000 on: no rule was fixed for this model" in words


def test_members_that_disagree_are_marked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"path": "a.png", "probability": 0.5, "label": "normal", "uncertain": False, "spread": 0.0}
    single = print_tables(
        [tabulate_predictions([{**row, "members": [0.5]}], "x", False)], monkeypatch, capsys
    )
    assert "spread" not in single
    rows = [
        {**row, "spread": 0.1234, "members": [0.5, 0.6234]},
        {**row, "path": "b.png", "uncertain": True, "members": [0.5, 0.5]},
    ]
    text = print_tables([tabulate_predictions(rows, "x", False)], monkeypatch, capsys)
    assert list_rows(text, "a.png") == [["0.5000", "0.1234", "normal"]]
    assert list_rows(text, "b.png") == [["0.5000", "0.0000", "?", "normal"]]
    assert "?: its members alone would not all call it so" in " ".join(text.split())
    text = print_tables([tabulate_predictions(rows[:1], "x", False)], monkeypatch, capsys)
    assert "?" not in text


def test_paths_cannot_move_the_cursor(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"path": "a\n\x1b[2Jb.png", "probability": 0.5, "label": "normal"}]
    text = print_tables([tabulate_predictions(rows, "x", False)], monkeypatch, capsys)
    assert "\x1b" not in text
    assert r"a\n\x1b[2Jb.png" in text


def join_lines(text: str) -> str:
    """The text without spaces and line ends, so that a folded name is found."""
    return "".join(text.split())


def check_complete(text: str, figures: Figures) -> None:
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    for metrics in figures.models.values():
        for figure in FIGURES:
            assert f"{getattr(metrics, figure):.4f}" in text
        for count in (metrics.n, metrics.tn, metrics.fp, metrics.fn, metrics.tp):
            assert str(count) in text.split()


def test_ten_folds_at_80_columns(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    figures = make_ten_folds()
    text = print_tables(tabulate_figures(figures), monkeypatch, capsys)
    check_complete(text, figures)
    for name in figures.models:
        assert sum(line.strip().startswith(f"{name} ") for line in text.splitlines()) == 2
    assert figures.folds is not None
    for figure in FIGURES:
        for value in figures.folds[figure].values():
            assert f"{value:.4f}" in text


@pytest.mark.parametrize("name", [LONG, "x" * 100, "many short words " * 6])
def test_long_names_at_80_columns(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = make_figures({name: make_metrics(0)}, run=name)
    text = print_tables(tabulate_figures(figures), monkeypatch, capsys)
    check_complete(text, figures)
    assert join_lines(text).count(join_lines(name)) >= 1


def test_each_line_of_figures_belongs_to_its_model(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = make_ten_folds()
    text = print_tables(tabulate_figures(figures, ["fold 3"]), monkeypatch, capsys)
    shown, counted = (line.split() for line in text.splitlines() if line.strip().startswith("fold 3"))
    metrics = figures.models["fold 3"]
    assert shown[2:] == [f"{getattr(metrics, figure):.4f}" for figure in FIGURES]
    assert counted[2:] == [
        str(metrics.n),
        "0.5000",
        *(str(count) for count in (metrics.tn, metrics.fp, metrics.fn, metrics.tp)),
    ]
    assert "fold 4" not in text


def test_names_are_not_taken_for_markup(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = make_figures({MARKUP: make_metrics(0)}, run=MARKUP)
    text = print_tables(tabulate_figures(figures), monkeypatch, capsys)
    assert join_lines(text).count(join_lines(MARKUP)) == 4


def test_best_single_model_is_named_beside_the_ensemble(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    models = {"fold 1": make_metrics(1), "fold 2": make_metrics(2), "ensemble": make_metrics(3)}
    figures = make_figures(models, best="fold 2")
    text = print_tables(tabulate_figures(figures, ["fold 2", "ensemble"]), monkeypatch, capsys)
    assert "fold 2 (best single)" in text
    assert "fold 1" not in text


@pytest.mark.parametrize("synthetic", [True, False])
def test_drawn_images_are_marked_in_the_title(
    synthetic: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = make_figures({"train-1": make_metrics(0)}, run="train-1", synthetic=synthetic)
    text = print_tables(tabulate_figures(figures), monkeypatch, capsys)
    assert ("SYNTHETIC" in text) is synthetic
    table = tabulate_predictions([], "train-1", synthetic)
    assert ("SYNTHETIC" in print_tables([table], monkeypatch, capsys)) is synthetic


def test_predictions_keep_the_whole_path(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = ["a.png", "/very/long/" + "folder/" * 20 + "xray.png", MARKUP, "b" * 200]
    rows = [{"path": path, "probability": 0.12345, "label": "pneumonia"} for path in paths]
    text = print_tables([tabulate_predictions(rows, "cv-1, ensemble", False)], monkeypatch, capsys)
    assert "…" not in text
    assert sum(line.split()[-2:] == ["0.1235", "pneumonia"] for line in text.splitlines()) == len(paths)
    first_column = join_lines(re.sub(r"0\.1235 +pneumonia", "", text))
    for path in paths:
        assert path[:30].replace(" ", "") in first_column
        assert path[-8:].replace(" ", "") in first_column


def test_audit_at_80_columns(
    small_dataset: Dataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    audit = audit_dataset(small_dataset)
    text = print_tables(tabulate_audit(audit), monkeypatch, capsys)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    for name, split in audit.splits.items():
        (line,) = (line.split() for line in text.splitlines() if line.split()[:1] == [name])
        assert line[1:] == [str(n) for n in (split.images, split.normal, split.pneumonia, split.surplus)]


def test_json_goes_to_stdout_and_talk_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    content = {"path": "ä [x]", "probability": 0.1 + 0.2, "none": None}
    print_json(content)
    line = f"{MARKUP} {'long ' * 60}end"
    say(line)
    warn_use(synthetic=True)
    captured = capsys.readouterr()
    assert json.loads(captured.out) == content
    assert captured.err.splitlines() == [line, SYNTHETIC_NOTE, DISCLAIMER]


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    say("line", quiet=True)
    with show_progress(quiet=True) as listen:
        listen(Progress("head", 5, 5))
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_one_line_at_the_end_of_a_stage(capsys: pytest.CaptureFixture[str]) -> None:
    with show_progress() as listen:
        for done in (1, 2, 3, 3):
            listen(Progress("fold 1 of 3, head", done, 3, facts={"epoch": 2, "loss": 0.25, "val_auc": 0.5}))
        listen(Progress(MARKUP, 10_000_000, 10_000_000, "bytes"))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    for part in ("fold 1 of 3, head", "3/3", "epoch 2", "loss 0.2500", "AUC 0.5000"):
        assert part in lines[0]
    assert lines[1].startswith(MARKUP)
    assert "10.0/10.0 MB" in lines[1]


def test_stages_that_run_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    with show_progress() as listen:
        for done in (1, 2):
            for fold in (1, 2):
                listen(Progress(f"fold {fold} of 2, head", done, 2))
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in lines] == ["fold 1 of 2", "fold 2 of 2"]


def test_lines_in_between_when_a_stage_takes_long(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 10.0, 40.0, 50.0, 100.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    listen = live._Lines(live.open_stderr())
    for done in (0, 10, 40, 50, 100):
        listen(Progress("frozen layers", done, 100))
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[2] for line in lines] == ["40/100", "100/100"]
    assert "60 s left" in lines[0]


def show_bars(stage: str, monkeypatch: pytest.MonkeyPatch, **facts: float) -> str:
    """What is drawn on a terminal of 80 columns."""
    terminal = io.StringIO()
    seconds = 0.0
    console = Console(
        file=terminal, force_terminal=True, width=80, color_system=None, get_time=lambda: seconds
    )
    monkeypatch.setattr(live, "open_stderr", lambda: console)
    with show_progress() as listen:
        for done in range(0, 63_555 + 1, 4237):
            listen(Progress(stage, done, 63_555, facts=facts))
            seconds += 60.0
    return terminal.getvalue()


def test_bars_on_a_terminal_keep_every_number(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = show_bars("fold 10 of 10, tune", monkeypatch, epoch=15, loss=0.12345, val_auc=0.98765)
    assert "…" not in drawn
    for part in ("fold 10 of 10, tune", "63555/63555", "epoch 15", "loss 0.1235", "AUC 0.9877"):
        assert part in drawn


def test_bars_take_no_name_for_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "[red]x[/b]" in show_bars("[red]x[/b]", monkeypatch)


def test_figures_of_one_split_keep_their_threshold(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = make_figures({"train-1": replace(make_metrics(0), threshold=0.125)})
    assert "0.125" in print_tables(tabulate_figures(figures), monkeypatch, capsys)
