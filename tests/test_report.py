"""Tables, pictures and progress: every number and word is there, and nothing is taken for markup."""

import io
import json
import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console, RenderableType

from pneumocli import DISCLAIMER
from pneumocli.core.audit import audit_dataset
from pneumocli.core.data import Dataset
from pneumocli.core.figures import Figures
from pneumocli.core.metrics import FIGURES, Metrics, compute_metrics, summarize_folds
from pneumocli.core.progress import Progress
from pneumocli.core.uncertainty import estimate_figures
from pneumocli.report import live
from pneumocli.report.live import show_progress
from pneumocli.report.plots import plot_roc
from pneumocli.report.tables import (
    tabulate_audit,
    tabulate_estimates,
    tabulate_figures,
    tabulate_predictions,
)
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
        "0.500",
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


Y_TRUE = np.array([0, 1] * 30)
Y_SCORE = np.clip(np.linspace(0, 0.6, 60) + 0.3 * Y_TRUE, 0, 1).astype(np.float32)


def open_picture(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        picture.load()
        return np.asarray(picture.convert("RGB"))


def draws(picture: NDArray[np.uint8], colour: str) -> bool:
    wanted = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)])
    return bool((np.abs(picture.astype(int) - wanted).max(axis=-1) <= 2).sum() > 50)


def test_picture_of_two_models(tmp_path: Path) -> None:
    from pneumocli.report.plots import COLOURS

    path = tmp_path / "roc_test.png"
    plot_roc(path, Y_TRUE, {"fold 1": Y_SCORE, "ensemble": 1 - Y_SCORE}, title="cv-1, test")
    picture = open_picture(path)
    height, width, _ = picture.shape
    assert 500 <= width <= 2000
    assert 500 <= height <= 2000
    assert draws(picture, COLOURS[0])
    assert draws(picture, COLOURS[1])
    assert not draws(picture, COLOURS[2])
    assert [file.name for file in tmp_path.iterdir()] == ["roc_test.png"]


def test_picture_of_many_models(tmp_path: Path) -> None:
    path = tmp_path / "roc.png"
    plot_roc(path, Y_TRUE, {f"fold {fold}": Y_SCORE for fold in range(1, 11)}, title="cv-1")
    open_picture(path)


@pytest.mark.parametrize("name", ["cost$^$", "$\\foo$", "a_b^c", "100 %", MARKUP])
def test_names_are_not_taken_for_formulas(name: str, tmp_path: Path) -> None:
    path = tmp_path / "roc.png"
    plot_roc(path, Y_TRUE, {name: Y_SCORE}, title=name)
    open_picture(path)


def test_name_with_an_underscore_is_in_the_legend(tmp_path: Path) -> None:
    pictures = []
    for name in ("_x", "_y"):
        plot_roc(tmp_path / "roc.png", Y_TRUE, {name: Y_SCORE}, title="run")
        pictures.append(open_picture(tmp_path / "roc.png"))
    assert (pictures[0] != pictures[1]).any()


@pytest.mark.parametrize("title", ["SYNTHETIC synthetic-cv-10, test images of pneumoniamnist_224.npz", LONG])
def test_title_is_not_cut_off(title: str, tmp_path: Path) -> None:
    plot_roc(tmp_path / "roc.png", Y_TRUE, {"ensemble": Y_SCORE}, title=title)
    picture = open_picture(tmp_path / "roc.png")
    assert (picture[:, [0, -1]] == 255).all()
    assert (picture[[0, -1]] == 255).all()


def test_figures_of_one_split_keep_their_threshold(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = make_figures({"train-1": replace(make_metrics(0), threshold=0.125)})
    assert "0.125" in print_tables(tabulate_figures(figures), monkeypatch, capsys)
