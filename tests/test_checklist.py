"""What the guidelines ask: each of their items once, answered from the run or left to the user."""

from pathlib import Path

import pytest
from written import write_run, write_scored

from pneumocli.core.runs import EXTERNAL
from pneumocli.core.summary import Summary, summarize_run
from pneumocli.report.checklist import list_items
from pneumocli.report.item import USER, Item

# Tejani et al. 2024 has 44 items; Collins et al. 2024 has 27, with their parts 52.
CLAIM = [str(number) for number in range(1, 45)]
PARTS = {"3": "abc", "5": "ab", "6": "abc", "8": "abc", "9": "abc", "12": "abcdefg", "18": "abcdef"}
PARTS |= {"20": "abc", "23": "ab", "27": "abc"}
TRIPOD = [number + part for number in map(str, range(1, 28)) for part in PARTS.get(number, [""])]


@pytest.fixture
def summary(tmp_path: Path) -> Summary:
    run = write_run(tmp_path, name="one")
    write_scored(run)
    return summarize_run(run)


def find(summary: Summary, claim: str = "", tripod: str = "") -> Item:
    (item,) = [each for each in list_items(summary) if claim in each.claim or tripod in each.tripod]
    return item


def test_every_item_of_both_stands_there_once(summary: Summary) -> None:
    items = list_items(summary)
    assert len(TRIPOD) == 52
    assert sorted(number for item in items for number in item.claim) == sorted(CLAIM)
    assert sorted(number for item in items for number in item.tripod) == sorted(TRIPOD)
    assert all(item.asks and (item.claim or item.tripod) for item in items)
    assert len({item.asks for item in items}) == len(items)


def test_answers_are_of_this_run(summary: Summary, tmp_path: Path) -> None:
    assert "mean of the probabilities of 3 models" in find(summary, claim="27").answer
    assert summary.decision is not None
    assert f"{summary.decision.threshold:.4f}" in find(summary, tripod="15").answer
    assert summary.best is not None
    assert f"{summary.best.metrics.roc_auc:.4f}" in find(summary, claim="37").answer
    assert str(summary.best.metrics.fp) in find(summary, claim="39").answer
    single = summarize_run(write_run(tmp_path, "train", name="single"))
    assert find(single, claim="27").answer == "None: one model."
    assert "no test images" in find(single, claim="6").answer


def test_what_the_run_cannot_know_is_left_to_the_user(summary: Summary) -> None:
    for number in ("3", "13", "16", "18", "34", "36", "44"):
        assert find(summary, claim=number).answer.startswith(USER)
    for number in ("17", "18b", "19"):
        assert find(summary, tripod=number).answer.startswith(USER)


def test_external_data_are_named_where_there_are_any(summary: Summary) -> None:
    assert find(summary, claim="33").answer.startswith(USER)
    write_scored(summary.run, "all", summary.run.path / EXTERNAL / "hospital.csv")
    assert "hospital.csv (all)" in find(summarize_run(summary.run), claim="33").answer


def test_nothing_is_answered_of_a_run_without_figures(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    run.last_file.unlink()
    bare = summarize_run(run)
    for number in ("32", "33", "35", "36"):
        assert find(bare, claim=number).answer.startswith(USER)
