"""The report as one HTML file: whole, offline, and nothing of what users name is taken for markup."""

import base64
import hashlib
import io
import os
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from markup import Page
from PIL import Image
from written import HOSTILE, draw_picture, write_run, write_scored

from pneumocli import DISCLAIMER
from pneumocli.core.album import KNOWN_PICTURES, PNG_SIGNATURE
from pneumocli.core.config import TrainConfig
from pneumocli.core.decision import read_decision
from pneumocli.core.figures import read_figures
from pneumocli.core.prevalence import project_values
from pneumocli.core.runs import Run
from pneumocli.core.scores import OUT_OF_FOLD, Scores
from pneumocli.core.summary import summarize_run
from pneumocli.report.curves import plot_roc
from pneumocli.report.page import render_page, shrink_png, write_page
from pneumocli.report.terminal import SYNTHETIC_NOTE
from pneumocli.report.words import FAR

pytest_plugins = ["reported"]

EXAMPLES = Path(__file__).parent.parent / "examples" / "results"
ALLOWED = (
    "html head meta title style body header footer nav main section div p strong ul li a h1 h2 h3 "
    "table caption span thead tbody tr th td figure img figcaption"
)


def read_page(run: Run) -> Page:
    return Page(render_page(summarize_run(run)))


SIGN = "◆"  # of a marked row


def list_rows(page: Page, title: str) -> list[list[str]]:
    """The rows of the first table whose caption begins so, cell by cell."""
    start = next(
        number
        for number, element in enumerate(page.elements)
        if element.tag == "caption" and element.text.startswith(title)
    )
    rows: list[list[str]] = []
    for element in page.elements[start + 1 :]:
        if element.tag == "table":
            break
        if element.tag == "tr":
            rows.append([])
        elif element.tag in ("td", "th"):
            rows[-1].append(element.text)
    return rows


@pytest.mark.parametrize("kind", ["cv", "train"])
@pytest.mark.parametrize("state", ["scored", "not scored", "not complete", "synthetic"])
def test_every_report_is_well_formed(kind: str, state: str, tmp_path: Path) -> None:
    run = write_run(tmp_path, kind, synthetic=state == "synthetic")  # type: ignore[arg-type]
    if state in ("scored", "synthetic"):
        write_scored(run)
        draw_picture(run.path / "roc_test.png")
    if state == "not complete":
        run.last_file.unlink()
    check_page(read_page(run))


def check_page(page: Page) -> None:
    assert {element.tag for element in page.elements} <= set(ALLOWED.split())
    identifiers = [element.attributes["id"] for element in page.elements if "id" in element.attributes]
    assert len(set(identifiers)) == len(identifiers)
    for element in page.elements:
        for name, value in element.attributes.items():
            assert not name.startswith("on") and name != "style"
            if name == "aria-labelledby":
                assert value in identifiers
            if name == "href":
                assert value is not None and value.removeprefix("#") in identifiers
            if name == "src":
                assert value is not None and value.startswith("data:image/png;base64,")
    levels = [int(element.tag[1]) for element in page.elements if re.fullmatch("h[1-6]", element.tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert page.find("html")[0].attributes["lang"] == "en"
    assert page.find("title")[0].text.strip()
    for heading in page.find("th"):
        assert heading.attributes["scope"] == ("col" if "thead" in heading.ancestors else "row")
    assert len(page.find("caption")) == len(page.find("table")) > 3
    assert all(picture.attributes["alt"] for picture in page.find("img"))
    # Not for clinical use: before all figures, and after them.
    first, last = page.text.index(DISCLAIMER), page.text.rindex(DISCLAIMER)
    assert first < page.text.index("The answer") < page.text.index("What reporting guidelines ask") < last
    assert not re.search(r"diagnos|risk level|high.risk|low.risk", page.text, re.IGNORECASE)


def test_every_table_has_as_many_cells_in_each_row(scored_run: Run) -> None:
    page = read_page(scored_run)
    for caption in page.find("caption"):
        assert len({len(row) for row in list_rows(page, caption.text)}) == 1, caption.text


def test_nothing_comes_from_a_network(scored_run: Run) -> None:
    page = read_page(scored_run)
    source = page.source
    assert not re.search(r"(src|href|url|import|srcset)\s*[=(]\s*[\"']?\s*(https?:|//)", source)
    style = page.find("style")[0].text
    assert "url(" not in style and "@import" not in style
    (policy,) = [
        element.attributes["content"]
        for element in page.find("meta")
        if element.attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy is not None
    assert policy.split("; ") == [
        "default-src 'none'",
        "img-src data:",
        f"style-src 'sha256-{digest}'",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    # The policy holds for what comes after it.
    assert source.index("Content-Security-Policy") < source.index("<style")


def test_what_is_named_from_outside_is_text(hostile_run: Run) -> None:
    page = read_page(hostile_run)
    check_page(page)
    shown = HOSTILE.replace("\n", "\ufffd").replace("\u202e", "\ufffd")
    assert page.find("h1")[0].text == shown
    assert "49" not in page.find("h1")[0].text
    assert [picture.attributes["alt"] for picture in page.find("img")] == [shown]
    assert page.text.count(shown) > 12
    assert "\u202e" not in page.source


@pytest.mark.skipif(os.name != "posix", reason="names of bytes")
def test_a_name_that_is_no_text_can_be_written(tmp_path: Path) -> None:
    run = write_run(tmp_path, name=os.fsdecode(b"caf\xe9"))
    write_page(summarize_run(run), run.path / "report.html")
    page = Page((run.path / "report.html").read_text(encoding="utf-8"))
    assert page.find("h1")[0].text == "caf\ufffd"


def test_the_answer_comes_first_in_words_and_numbers(scored_run: Run) -> None:
    page = read_page(scored_run)
    figures, decision = read_figures(scored_run.path, "test"), read_decision(scored_run)
    assert figures.at_rule is not None and figures.estimates_at_rule is not None
    found = figures.at_rule["ensemble"]
    assert f"Of the {found.tp + found.fn} test images" in page.text
    assert f"called {found.tp} pneumonia" in page.text
    assert f"of the {found.tn + found.fp} that are labelled normal, {found.tn} were" in page.text
    assert f"{decision.threshold:.4f} on: rule youden, fixed on 120 out-of-fold images" in page.text
    estimate = figures.estimates_at_rule["ensemble"]["specificity"]
    row = next(row for row in list_rows(page, "60 test images") if row[0].startswith("specificity"))
    assert row == [
        "specificity",
        f"{estimate.value:.4f}",
        f"{estimate.low:.4f} to {estimate.high:.4f}",
        f"{found.tn} of {found.tn + found.fp}",
    ]
    moved = next(row for row in list_rows(page, "What moved") if row[0].startswith("specificity"))
    here, there = found.specificity, decision.specificity
    assert moved[1:] == [f"{there:.4f}", f"{here:.4f}", f"{here - there:+.4f}"]
    is_far = abs(here - there) > FAR and not estimate.low <= there <= estimate.high
    assert (SIGN in moved[0]) is is_far
    order = ["The answer", "Plots", "Gallery", "Calibration", "Folds", "Data", "Settings"]
    order += ["Versions, machine, seed, hashes", "Limits", "What reporting guidelines ask"]
    assert [heading.text for heading in page.find("h2")] == order


def test_predictive_values_stand_there_when_they_were_asked_for(scored_run: Run) -> None:
    assert "At a prevalence" not in read_page(scored_run).text
    write_scored(scored_run, prevalence=0.05)
    rows = list_rows(read_page(scored_run), "At a prevalence of 0.05")
    models = read_figures(scored_run.path, "test").at_rule
    assert models is not None
    found, missed = 0.05 * models["ensemble"].sensitivity, 0.95 * (1 - models["ensemble"].specificity)
    assert rows[1][:2] == ["PPV, right among called pneumonia", f"{found / (found + missed):.4f}"]
    values = project_values(models["ensemble"], 0.05)
    assert rows[1][2] == f"{values.ppv_low:.4f} to {values.ppv_high:.4f}"


def test_folds_have_mean_and_sd(scored_run: Run) -> None:
    page = read_page(scored_run)
    rows = {row[0]: row[1:] for row in list_rows(page, "At a threshold of 0.5")}
    folds = [[float(cell) for cell in row] for name, row in rows.items() if name.startswith("fold ")]
    assert len(folds) == 3
    for column, mean, sd in zip(
        zip(*folds, strict=True), rows["mean of folds"], rows["sd of folds"], strict=True
    ):
        centre = sum(column) / 3
        assert float(mean) == pytest.approx(centre, abs=1e-4)
        assert float(sd) == pytest.approx((sum((x - centre) ** 2 for x in column) / 2) ** 0.5, abs=1e-4)


def test_settings_that_differ_from_the_recipe_are_marked(scored_run: Run) -> None:
    page = read_page(scored_run)
    marked = {
        element.text.split()[0] if element.text.split() else ""
        for element in page.find("tr")
        if element.attributes.get("class") == "marked"
    }
    rows = {row[0].removesuffix(SIGN).strip(): row for row in list_rows(page, "All settings")}
    assert set(TrainConfig.model_fields) == set(rows) - {"setting"}
    assert rows["seed"][1:3] == ["7", "0"] and rows["dropout"][1:3] == ["0.25", "0.0"]
    assert "2 settings differ from recipe original" in page.text
    assert any(text.startswith("dropout") for text in marked)
    assert not any(text.startswith("batch_size") for text in marked)
    # By a sign too, for who does not see the colour, and in words for who does not see it.
    signs = page.find("span")
    assert all(sign.attributes["aria-label"] == "marked" for sign in signs if sign.text == SIGN)
    assert sum(sign.text == SIGN for sign in signs) == sum(
        element.attributes.get("class") == "marked" for element in page.find("tr")
    )


def test_pictures_are_inside_with_their_size(scored_run: Run) -> None:
    page = read_page(scored_run)
    assert len(page.find("img")) == 4
    for picture in page.find("img"):
        assert (picture.attributes["width"], picture.attributes["height"]) == ("30", "20")
        content = str(picture.attributes["src"]).removeprefix("data:image/png;base64,")
        with Image.open(io.BytesIO(base64.b64decode(content))) as shown:
            assert np.asarray(shown.convert("L")).tolist() == [[128] * 30] * 20


def test_plots_are_shrunk_and_look_the_same(tmp_path: Path) -> None:
    y_true, y_score = np.array([0, 1, 0, 1]), np.array([0.1, 0.9, 0.6, 0.5], np.float32)
    scores = Scores(np.arange(4), y_true, y_score)
    plot_roc(tmp_path / "roc.png", {"one": scores}, title="plot", images="4 images")
    content = (tmp_path / "roc.png").read_bytes()
    small = shrink_png(content)
    assert len(small) < 0.6 * len(content)
    before, after = (
        np.asarray(Image.open(io.BytesIO(each)).convert("RGB"), dtype=float) for each in (content, small)
    )
    assert np.abs(before - after).mean() < 0.1


@pytest.mark.parametrize("content", [b"", PNG_SIGNATURE, PNG_SIGNATURE + bytes(40), b"GIF89a"])
def test_a_damaged_picture_stays_as_it_is(content: bytes, tmp_path: Path, scored_run: Run) -> None:
    assert shrink_png(content) == content
    (scored_run.path / "roc_test.png").write_bytes(content)
    check_page(read_page(scored_run))


def test_a_report_with_all_pictures_is_small(scored_run: Run) -> None:
    y_true = np.arange(60) % 2
    scores = Scores(np.arange(60), y_true, (y_true * 0.5 + 0.2).astype(np.float32))
    for split in ("test", "out_of_fold"):
        for name in KNOWN_PICTURES:
            place = scored_run.path / f"{name}_{split}.png"
            plot_roc(place, {"a": scores}, title=name, images="images")
    assert len(read_page(scored_run).find("img")) == 13
    assert len(render_page(summarize_run(scored_run)).encode()) < 3e6


def test_synthetic_is_marked_loudly(tmp_path: Path) -> None:
    identity = "synthetic: drawn images, which say nothing about real X-rays"
    run = write_run(tmp_path, "train", name="drawn", synthetic=True, identity=identity)
    write_scored(run)
    page = read_page(run)
    assert page.find("h1")[0].text == "SYNTHETIC drawn"
    assert page.find("title")[0].text.startswith("SYNTHETIC ")
    assert page.text.lower().count(SYNTHETIC_NOTE.lower()) == 2
    assert "Kermany" not in page.text


def test_attribution_is_given_for_what_is_known_to_need_it(tmp_path: Path) -> None:
    ours = read_page(write_run(tmp_path, name="a")).text
    assert "Yang et al." in ours and "Kermany et al." in ours and "CC BY 4.0" in ours
    assert "children of one to five years" in ours
    own = read_page(write_run(tmp_path, name="b", data="x", identity="own images: 9 files in folder x")).text
    assert "Kermany" not in own and "CC BY" not in own and "children" not in own
    assert "the user must say" in own


def test_what_is_missing_is_said_on_the_page(tmp_path: Path) -> None:
    run = write_run(tmp_path, name="one")
    page = read_page(run)
    assert "What is missing" in page.text and f"pneumocli evaluate {run.path}" in page.text
    assert "Of the 80 out-of-fold images" in page.text
    assert "images that the rule was fixed on" in page.text
    run.last_file.unlink()
    assert "There are no figures yet." in read_page(run).text


def test_the_same_run_gives_the_same_page(scored_run: Run) -> None:
    assert render_page(summarize_run(scored_run)) == render_page(summarize_run(scored_run))


@pytest.mark.parametrize("name", ["original-0", "robust-0"])
def test_a_full_run_is_reported(name: str) -> None:
    from pneumocli.core.runs import open_run

    run = open_run(EXAMPLES / name)
    page = read_page(run)
    check_page(page)
    assert (
        f"of the 234 that are labelled normal, {read_figures(run.path, 'test').at_rule['ensemble'].tn}"
        in page.text
    )  # type: ignore[index]
    assert OUT_OF_FOLD not in page.text
