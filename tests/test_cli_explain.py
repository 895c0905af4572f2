"""`predict --explain`: pictures beside the answers, which stay what they are without."""

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image
from small import TINY
from test_cli import fail, run, succeed

from pneumocli import DISCLAIMER
from pneumocli.core import evaluation, explain
from pneumocli.core.data import Dataset
from pneumocli.core.evaluation import load_predictor
from pneumocli.core.explain import map_evidence, open_explainer
from pneumocli.core.runs import Run
from pneumocli.report import explanations

pytest_plugins = ["trained"]


@pytest.fixture
def xrays(small_dataset: Dataset, tmp_path: Path) -> list[Path]:
    """Three images in folders of their own, two of them of one name."""
    paths = [tmp_path / "in" / name for name in ("1/a.png", "2/a.png", "2/b.png")]
    for path, image in zip(paths, small_dataset.test.images[:3], strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return paths


@pytest.fixture
def quick_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    def write(path: Path, *drawn: object, **words: object) -> None:
        path.write_bytes(b"picture")

    monkeypatch.setattr(explanations, "draw_overlay", write)


def predict(*words: object) -> list[dict[str, Any]]:
    content: dict[str, Any] = json.loads(succeed("predict", *words, "--format", "json").stdout)
    return content["predictions"]


def test_every_answer_has_its_picture_and_stays_what_it_was(
    cv_copy: Run, xrays: list[Path], tmp_path: Path, small_dataset: Dataset
) -> None:
    folder = tmp_path / "maps"
    result = succeed("predict", *xrays, "--explain", folder, "--format", "json")
    rows = json.loads(result.stdout)["predictions"]
    assert f"explanations: {folder}" in result.stderr
    places = [row.pop("explanation") for row in rows]
    assert places == [str(folder / name) for name in ("a.png", "a-2.png", "b.png")]
    plain = predict(*xrays)
    assert [row.pop("explanation") for row in plain] == [None] * 3
    assert rows == plain
    for place in places:
        with Image.open(place) as picture:
            assert picture.format == "PNG"
    index = json.loads((folder / "index.json").read_text())
    assert index["disclaimer"] == DISCLAIMER
    assert index["synthetic"] is True
    for kept, row, place in zip(index["pictures"], rows, places, strict=True):
        assert {key: kept[key] for key in ("path", "probability", "label")} == {
            key: row[key] for key in ("path", "probability", "label")
        }
        assert str(folder / kept["picture"]) == place
    model, _ = load_predictor(cv_copy)
    expected = map_evidence(
        open_explainer(model), small_dataset.test.images[:3], [row["label"] for row in rows]
    )
    with np.load(folder / index["maps"]) as maps:
        np.testing.assert_array_equal(maps["evidence"], expected)


def test_nothing_is_explained_that_nobody_asked_for(
    cv_copy: Run, xrays: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(model: keras.Model) -> None:
        raise AssertionError

    monkeypatch.setattr(explain, "open_explainer", refuse)
    assert all(row["explanation"] is None for row in predict(*xrays))


@pytest.mark.usefixtures("quick_pictures")
def test_image_that_cannot_be_answered_has_no_picture(
    cv_copy: Run, xrays: list[Path], tmp_path: Path
) -> None:
    bad = tmp_path / "notes.txt"
    bad.write_text("hello")
    words = (xrays[0], bad, xrays[2], "--explain", tmp_path / "maps", "--format", "json")
    result = run("predict", *words)
    assert result.exit_code == 4
    content = json.loads(result.stdout)
    assert [Path(row["explanation"]).name for row in content["predictions"]] == ["a.png", "b.png"]
    assert [set(failure) for failure in content["failures"]] == [{"path", "reason", "atypical"}]
    pictures = json.loads((tmp_path / "maps" / "index.json").read_text())["pictures"]
    assert [row["path"] for row in pictures] == [str(xrays[0]), str(xrays[2])]
    assert {row["seen"] for row in pictures} == {TINY.center_crop}


@pytest.mark.usefixtures("quick_pictures")
def test_pictures_are_written_as_the_answers_come(
    cv_copy: Run, xrays: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pneumocli.core import prediction
    from pneumocli.core.explain import explain_with
    from pneumocli.core.inference import KerasScorer

    monkeypatch.setattr(KerasScorer, "batch_size", 4)
    model, card = load_predictor(cv_copy)
    folder = tmp_path / "maps"
    kept = explanations.open_explanations(folder)

    def draw(image: Any, evidence: Any, seen: float, row: dict[str, object]) -> str:
        return explanations.add_explanation(
            kept, image, evidence, seen, row, called_from=0.5, model=card.name, synthetic=True
        )

    scorer = KerasScorer(model, card)
    answers = prediction.predict_files(scorer, card, xrays * 3, illustrate=explain_with(model, draw))
    for count, _ in enumerate(answers, start=1):
        assert len(list(folder.iterdir())) == count


@pytest.mark.parametrize("place", ["file", "inputs"])
def test_folder_that_will_not_do_is_told_before_the_work(
    place: str, cv_copy: Run, xrays: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(found: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(evaluation, "load_predictor", refuse)
    (tmp_path / "file").write_text("mine")
    named = {"file": tmp_path / "file", "inputs": xrays[2].parent}[place]
    before = xrays[2].read_bytes()
    assert str(named) in fail("predict", *xrays, "--explain", named)
    assert xrays[2].read_bytes() == before
    assert (tmp_path / "file").read_text() == "mine"
