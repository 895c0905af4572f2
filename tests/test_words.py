"""What a report says of a run's settings in sentences."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from written import write_run, write_scored

from pneumocli.core.config import RECIPES
from pneumocli.core.records import GroupsRecord
from pneumocli.core.runs import Run
from pneumocli.core.summary import Scored, Summary, summarize_run
from pneumocli.core.uncertainty import Estimate, bound_share
from pneumocli.report.caveats import list_limits
from pneumocli.report.checklist import list_items
from pneumocli.report.words import (
    describe_groups,
    describe_head,
    describe_input,
    describe_loss,
    describe_optimizer,
    describe_rule,
    describe_trained_on,
    find_far_moves,
    name_model,
)

ROBUST, ORIGINAL = RECIPES["robust"], RECIPES["original"]


def test_loss_and_optimizer_are_those_of_the_settings() -> None:
    assert describe_loss(ROBUST).startswith("cross-entropy")
    assert "with gamma 2" in describe_loss(ORIGINAL)
    assert describe_optimizer(ORIGINAL) == "Adam at 0.0001 for the head, then Adam at 1e-05"
    assert "then AdamW (weight decay 0.01) at 0.0001 falling as a cosine" in describe_optimizer(ROBUST)


def test_a_number_for_a_rule_was_given_and_not_fixed(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    write_scored(run)
    decision = summarize_run(run).decision
    assert decision is not None
    assert describe_rule(decision).startswith("rule youden, fixed on ")
    given = decision.model_copy(update={"rule": "0.4"})
    assert describe_rule(given).startswith("given as 0.4, and tried on ")


def test_a_probe_is_told_beside_the_head() -> None:
    assert describe_head(ORIGINAL) == "1024 hidden units, one logit"
    probed = ROBUST.model_copy(update={"probe": 0.003})
    assert describe_head(probed).startswith(
        "one logit, averaged with that of a logistic regression (C 0.003)"
    )


def test_images_trained_on_may_be_harder_than_they_are() -> None:
    assert describe_trained_on(ORIGINAL) == "trained on"
    assert describe_trained_on(ROBUST) == "trained on, augmented, with dropout"


@pytest.mark.parametrize(
    ("pixels", "center_crop", "words"),
    [
        (28, 1.0, " Then enlarged to 112 px."),
        (224, 1.0, " Then shrunk to 112 px."),
        (112, 1.0, ""),
        (28, 0.93, " Then enlarged to 120 px. Of these the network sees the middle 112."),
        (120, 0.93, " Of these the network sees the middle 112."),
    ],
)
def test_what_becomes_of_an_image_before_the_network(pixels: int, center_crop: float, words: str) -> None:
    settings = ROBUST.model_copy(update={"center_crop": center_crop})
    assert describe_input(pixels, settings) == words


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ({"file": None}, "The user named no groups"),
        ({"file": None, "column": True}, "The user named groups in the column `group` of the data; where"),
        ({"file": {"name": "a.csv", "sha256": "ab"}}, "The user named groups in a.csv (SHA-256 ab); where"),
    ],
)
def test_groups_are_those_that_the_user_named_and_near_duplicates(
    named: dict[str, Any], words: str, tmp_path: Path
) -> None:
    record = GroupsRecord(digest="e", groups=1, images=2, **named)
    summary = summarize_run(write_run(tmp_path, groups=record))
    told = describe_groups(summary)
    assert next(sentence for sentence in told if "user named" in sentence).startswith(words)
    (level,) = [item.says for item in list_items(summary) if "20" in item.claim]
    assert level.startswith(
        "Images; near duplicates" if record.named_in is None else "The groups that the user"
    )


def summarize_single(tmp_path: Path, early_stopping: bool, name: str = "single") -> Summary:
    settings = ORIGINAL.model_copy(update={"early_stopping": early_stopping})
    run = write_run(tmp_path, "train", name=name, settings=settings)
    write_scored(run)
    return summarize_run(run)


@pytest.mark.parametrize("early_stopping", [True, False])
def test_validation_images_say_when_training_stops_only_where_it_can(
    early_stopping: bool, tmp_path: Path
) -> None:
    summary = summarize_single(tmp_path, early_stopping)
    assert summary.decision is not None and summary.decision.source == "val"
    (limit,) = (limit for limit in list_limits(summary) if "Threshold and temperature" in limit)
    assert ("when training stops" in limit) is early_stopping


@pytest.mark.parametrize("conflicts", [None, 0, 3])
def test_images_with_both_labels_are_a_limit(conflicts: int | None, tmp_path: Path) -> None:
    limits = list_limits(summarize_run(write_run(tmp_path, conflicts=conflicts)))
    told = [limit[:4] for limit in limits if "differing labels" in limit]
    assert told == (["3 of"] if conflicts else [])


@pytest.mark.parametrize("name", ["ensemble", "pooled"])
def test_a_single_model_is_one_whatever_it_is_called(name: str, tmp_path: Path) -> None:
    summary = summarize_single(tmp_path, True, name)
    assert summary.best is not None
    assert name_model(summary.best) == "the model"


def move(scored: Scored, there: float, hits: int, of: int) -> Scored:
    """As if the rule had been fixed at a specificity, and `hits` of `of` were called right here."""
    assert scored.figures.decision is not None
    bounds = bound_share(hits, of)
    decision = scored.figures.decision.model_copy(
        update={"specificity": there, "sensitivity": scored.metrics.sensitivity}
    )
    return replace(
        scored,
        figures=scored.figures.model_copy(update={"decision": decision}),
        metrics=replace(scored.metrics, specificity=hits / of),
        estimates={"specificity": Estimate(hits / of, bounds.low, bounds.high, hits, of)},
    )


@pytest.mark.parametrize(
    ("there", "hits", "of", "is_far"),
    [(0.8, 13, 20, False), (0.8, 650, 1000, True), (0.8, 780, 1000, False), (0.98, 208, 234, True)],
)
def test_a_move_is_far_where_chance_does_not_explain_it(
    there: float, hits: int, of: int, is_far: bool, tmp_path: Path
) -> None:
    run = write_run(tmp_path)
    write_scored(run)
    summary = summarize_run(run)
    assert summary.best is not None
    moved = move(summary.best, there, hits, of)
    assert find_far_moves(moved) == ({"specificity": pytest.approx(hits / of - there)} if is_far else {})
    limits = list_limits(replace(summary, scored={"test": moved}))
    assert any("did not keep its specificity" in limit for limit in limits) is is_far


def test_what_the_temperature_makes_worse_is_named(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    write_scored(run)
    summary = summarize_run(run)
    assert summary.best is not None and summary.best.figures.calibration is not None
    for worse, words in (
        (("ece",), "worse by ECE."),
        (("brier", "log_loss"), "by Brier score and log loss."),
    ):
        calibration = replace(summary.best.figures.calibration, worse=worse)
        figures = summary.best.figures.model_copy(update={"calibration": calibration})
        limits = list_limits(replace(summary, scored={"test": replace(summary.best, figures=figures)}))
        (limit,) = (limit for limit in limits if "temperature" in limit)
        assert limit.endswith(words)


def test_the_checklist_says_the_same(tmp_path: Path) -> None:
    run: Run = write_run(tmp_path, name="one", settings=ROBUST)
    write_scored(run)
    summary = summarize_run(run)
    answers = {number: item.answer for item in list_items(summary) for number in item.claim}
    assert describe_optimizer(ROBUST) in answers["25"] and describe_loss(ROBUST) in answers["25"]
    assert "enlarged to 112 px" in answers["9"]
    data = run.record.data.model_copy(update={"pixels": 224})
    large = replace(summary, run=replace(run, record=run.record.model_copy(update={"data": data})))
    answers = {number: item.answer for item in list_items(large) for number in item.claim}
    assert "shrunk to 112 px" in answers["9"]
