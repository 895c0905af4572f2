"""The decision: what it is fixed on, what is written is read back, and what another rule leaves alone."""

import json
from pathlib import Path

import numpy as np
import pytest
from test_runs import make_run

from pneumocli import DISCLAIMER
from pneumocli.core.calibration import fit_temperature
from pneumocli.core.decision import (
    Decision,
    decide_anew,
    fix_decision,
    read_decision,
    write_decision,
)
from pneumocli.core.errors import RunError, SettingError
from pneumocli.core.metrics import compute_metrics
from pneumocli.core.operating import choose_threshold
from pneumocli.core.runs import DECISION, Run
from pneumocli.core.scores import OUT_OF_FOLD, STOPPING, Scores, write_scores


def draw_scores(seed: int = 0, n: int = 200) -> Scores:
    rng = np.random.default_rng(seed)
    y_true = np.arange(n) % 2
    logits = 3 * rng.normal(size=n) + 4 * y_true
    return Scores(np.arange(n), y_true, (1 / (1 + np.exp(-logits))).astype(np.float32))


@pytest.fixture(params=["cv", "train"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """A run that has kept the scores that its decision was fixed on, and others."""
    made = make_run(tmp_path, request.param)
    kept, source = (OUT_OF_FOLD, "out_of_fold") if request.param == "cv" else (STOPPING, "val")
    write_scores(made.path, kept, draw_scores(), "small.npz")
    for split in ("val", "test"):
        write_scores(made.path, split, draw_scores(seed=1), "small.npz")
    write_decision(made.path, fix_decision("youden", draw_scores(), source, "small.npz"))
    return made


@pytest.mark.parametrize("rule", ["youden", "f1", "sensitivity:0.99", "specificity:0.9", "0.25"])
def test_threshold_and_temperature_are_those_of_the_scores(rule: str) -> None:
    scores = draw_scores()
    decision = fix_decision(rule, scores, "out_of_fold", "small.npz")
    assert decision.threshold == choose_threshold(rule, scores.y_true, scores.y_score)
    assert decision.temperature == fit_temperature(scores.y_true, scores.y_score)
    there = compute_metrics(scores.y_true, scores.y_score, decision.threshold)
    assert (decision.sensitivity, decision.specificity) == (there.sensitivity, there.specificity)
    assert (decision.rule, decision.source, decision.images) == (rule, "out_of_fold", 200)


def test_decision_survives_its_file_to_the_last_bit(run: Run) -> None:
    decision = fix_decision("youden", draw_scores(seed=2), "val", "small.npz")
    write_decision(run.path, decision)
    assert read_decision(run) == decision
    content = json.loads((run.path / DECISION).read_text())
    assert content["threshold"] == decision.threshold
    assert content["disclaimer"] == DISCLAIMER


@pytest.mark.parametrize("rule", ["f1", "specificity:0.95", "0.5"])
def test_another_rule_is_fixed_on_the_kept_scores_and_not_kept(rule: str, run: Run) -> None:
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    own, other = read_decision(run), decide_anew(run, rule)
    assert other == fix_decision(rule, draw_scores(), own.source, "small.npz")
    assert other.temperature == own.temperature
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before


def test_the_runs_own_rule_gives_its_own_decision(run: Run) -> None:
    assert decide_anew(run, "youden") == read_decision(run)


def test_no_such_rule(run: Run) -> None:
    with pytest.raises(SettingError, match="'best'"):
        decide_anew(run, "best")


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_decides_nothing(label: int) -> None:
    scores = Scores(np.arange(4), np.full(4, label), np.float32([0.1, 0.2, 0.3, 0.4]))
    with pytest.raises(ValueError, match="both classes"):
        fix_decision("youden", scores, "val", "small.npz")


def refuse(run: Run) -> str:
    with pytest.raises(RunError) as caught:
        read_decision(run)
    line = str(caught.value)
    assert len(line.splitlines()) == 1
    assert str(run.path / DECISION) in line
    return line


def test_missing_decision(run: Run) -> None:
    (run.path / DECISION).unlink()
    assert "missing" in refuse(run)


WHOLE = fix_decision("youden", draw_scores(), "val", "small.npz").model_dump(mode="json")
DAMAGED = {
    "empty": b"",
    "cut off": json.dumps(WHOLE).encode()[:-20],
    "list": b"[]",
    "binary": b"\xff\xfe\x00",
    "deep": b"[" * 100_000,
    "a key less": json.dumps({key: value for key, value in WHOLE.items() if key != "threshold"}).encode(),
    "a key more": json.dumps(WHOLE | {"more": 1}).encode(),
    "later version": json.dumps(WHOLE | {"schema_version": 2}).encode(),
    "threshold out of range": json.dumps(WHOLE | {"threshold": 1.5}).encode(),
    "no temperature": json.dumps(WHOLE | {"temperature": 0}).encode(),
    "fixed on test": json.dumps(WHOLE | {"source": "test"}).encode(),
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED.keys())
def test_damaged_decision(content: bytes, run: Run) -> None:
    (run.path / DECISION).write_bytes(content)
    assert "damaged" in refuse(run)


def test_lost_scores_are_named(run: Run) -> None:
    kept = run.path / f"scores_{OUT_OF_FOLD if run.record.kind == 'cv' else STOPPING}.npz"
    kept.unlink()
    with pytest.raises(RunError, match=kept.name):
        decide_anew(run, "f1")


def test_decision_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Decision(**WHOLE).threshold = 0.1  # type: ignore[misc]
