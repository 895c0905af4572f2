"""The model card: the template's headings, front matter that is YAML, and names that stay text."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt
from markup import Page
from written import HOSTILE, write_run

from pneumocli import DISCLAIMER
from pneumocli.core.figures import read_figures
from pneumocli.core.runs import Run
from pneumocli.core.summary import summarize_run
from pneumocli.report.card import escape_markdown, render_card

pytest_plugins = ["reported"]

# The headings of huggingface_hub's templates/modelcard_template.md, in its order.
HEADINGS = """
Model Details / Model Description / Model Sources / Uses / Direct Use / Downstream Use / Out-of-Scope Use
/ Bias, Risks, and Limitations / Recommendations / How to Get Started with the Model / Training Details
/ Training Data / Training Procedure / Preprocessing / Training Hyperparameters / Speeds, Sizes, Times
/ Evaluation / Testing Data, Factors & Metrics / Testing Data / Factors / Metrics / Results / Summary
/ Model Examination / Environmental Impact / Technical Specifications / Model Architecture and Objective
/ Compute Infrastructure / Hardware / Software / Citation / Glossary / More Information / Model Card Authors
/ Model Card Contact
"""
SHOWN = HOSTILE.replace("\n", "\ufffd").replace("\u202e", "\ufffd")


def render_html(text: str) -> Page:
    _, _, body = text.split("---\n", 2)
    return Page(MarkdownIt("commonmark").enable("table").render(body))


def read_front(text: str) -> dict[str, Any]:
    """The front matter: a key and a JSON value a line, which YAML reads alike."""
    assert text.startswith("---\n")
    lines = text.split("\n---\n")[0].removeprefix("---\n").split("\n")
    return {name: json.loads(value) for name, value in (line.split(": ", 1) for line in lines)}


def test_headings_are_those_of_the_template(scored_run: Run) -> None:
    page = render_html(render_card(summarize_run(scored_run)))
    found = [element.text for element in page.elements if re.fullmatch("h[1-6]", element.tag)]
    assert found[0] == "Model Card for one"
    assert found[1:] == [heading.strip() for heading in HEADINGS.replace("\n", " ").split(" / ")]
    assert DISCLAIMER in page.find("p")[0].text
    assert page.find("p")[-1].text == DISCLAIMER


def test_front_matter_has_the_figures(scored_run: Run) -> None:
    front = read_front(render_card(summarize_run(scored_run)))
    assert front["library_name"] == "keras"
    assert front["pipeline_tag"] == "image-classification"
    (index,) = front["model-index"]
    assert index["name"] == "one"
    result = index["results"][0]
    assert (result["dataset"]["name"], result["dataset"]["split"]) == ("pneumoniamnist.npz", "test")
    figures = read_figures(scored_run.path, "test")
    assert figures.at_rule is not None
    found = {metric["name"]: metric["value"] for metric in result["metrics"]}
    assert found["roc_auc"] == figures.at_rule["ensemble"].roc_auc
    assert found["specificity"] == figures.at_rule["ensemble"].specificity


def test_tables_are_tables(scored_run: Run) -> None:
    page = render_html(render_card(summarize_run(scored_run)))
    assert len(page.find("table")) >= 8
    assert "|" not in page.text


def test_a_table_ends_before_what_comes_next(scored_run: Run) -> None:
    lines = render_card(summarize_run(scored_run)).splitlines()
    heads = [row - 1 for row, line in enumerate(lines) if line.startswith("| ---")]
    assert len(heads) >= 8
    for row in heads:
        before, title, after = lines[row - 3 : row]
        assert title.endswith(":") and (before, after) == ("", "")


def test_names_are_text_and_not_markup(hostile_run: Run) -> None:
    text = render_card(summarize_run(hostile_run))
    page = render_html(text)
    allowed = "h1 h2 h3 h4 p strong ul li code pre table thead tbody tr th td"
    assert {element.tag for element in page.elements} <= set(allowed.split())
    assert page.find("h1")[0].text == f"Model Card for {SHOWN}"
    assert page.text.count(SHOWN) > 8
    assert read_front(text)["model-index"][0]["name"] == SHOWN
    assert len(page.find("table")) == len(render_html(text).find("table")) >= 8


def test_synthetic_is_marked(tmp_path: Path) -> None:
    text = render_card(summarize_run(write_run(tmp_path, "train", name="drawn", synthetic=True)))
    assert "# Model Card for SYNTHETIC drawn" in text
    assert "**SYNTHETIC data: " in text
    front = read_front(text)
    assert "synthetic-data" in front["tags"]
    assert front["model-index"][0]["results"][0]["dataset"]["name"].startswith("SYNTHETIC ")


def test_a_run_without_figures_has_a_card(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    run.last_file.unlink()
    text = render_card(summarize_run(run))
    assert read_front(text)["model-index"][0]["results"] == []
    assert "There are no figures yet." in text


@pytest.mark.parametrize(
    "name",
    ["a_b_c", "*x*", "<b>", "a|b", "[x](y)", "`x`", "# x", "&lt;", "\\*", "~~x~~", "![x](y)", "<http://x>"],
)
def test_escaped_text_is_shown_as_it_is(name: str) -> None:
    html = MarkdownIt("gfm-like", {"linkify": False}).render(f"name {escape_markdown(name)} end")
    page = Page(html)
    assert [element.tag for element in page.elements] == ["p"]
    assert page.text.strip() == f"name {name} end"
