"""The folder of pictures: names that are safe and different, folders that cannot be used, the index."""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pneumocli import DISCLAIMER
from pneumocli.core.errors import PneumoError
from pneumocli.report import explanations as module
from pneumocli.report.explanations import (
    INDEX,
    MAPS,
    Explanations,
    add_explanation,
    close_explanations,
    open_explanations,
)

IMAGE = np.zeros((28, 28), np.uint8)
MODEL: dict[str, Any] = {"model": "cv-1, ensemble", "synthetic": False}


@pytest.fixture(autouse=True)
def quick_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    def write(path: Path, *drawn: object, **words: object) -> None:
        path.write_bytes(b"picture")

    monkeypatch.setattr(module, "draw_overlay", write)


def add(explanations: Explanations, path: str, largest: float = 1.0) -> str:
    evidence = np.full((7, 7), largest, np.float32)
    row = {"path": path, "probability": 0.25, "label": "normal", "score": 0.3, "members": [0.25]}
    return add_explanation(explanations, IMAGE, evidence, 1.0, row, called_from=0.5, **MODEL)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("xrays/a.png", "a.png"),
        ("a.tar.jpeg", "a.tar.png"),
        ("-", "stdin.png"),
        ("two\nlines.png", "two_lines.png"),
        ("..", "image.png"),
        (".hidden.png", "hidden.png"),
        ("-rf.png", "rf.png"),
        ("a b;c$(d).png", "a_b_c_d.png"),
        ("back\\slash.png", "back_slash.png"),
        ("胸部.png", "胸部.png"),
        ("broken\udcff.png", "broken.png"),
    ],
)
def test_names_are_those_of_the_images_made_safe(path: str, name: str, tmp_path: Path) -> None:
    assert add(open_explanations(tmp_path), path) == str(tmp_path / name)
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_names_are_never_taken_twice(tmp_path: Path) -> None:
    explanations = open_explanations(tmp_path / "new")
    paths = ["x/a.png", "x/a-2.png", "y/a.png", "y/A.png", "z/a.jpg", "x/a.png", "a-2.tif"]
    names = [Path(add(explanations, path)).name for path in paths]
    assert names[:2] == ["a.png", "a-2.png"]
    assert len({name.casefold() for name in names}) == len(paths)
    assert {entry.name for entry in (tmp_path / "new").iterdir()} == set(names)


def test_long_names_fit_a_file_system(tmp_path: Path) -> None:
    explanations = open_explanations(tmp_path)
    names = [Path(add(explanations, letter * 200)).name for letter in ("a", "部", "a")]
    assert max(len(name.encode()) for name in names) < 150
    assert len(set(names)) == 3


def test_index_has_a_row_a_picture_and_the_maps_beside_it(tmp_path: Path) -> None:
    explanations = open_explanations(tmp_path / "deep" / "new")
    places = [add(explanations, "x/a.png", largest=0.5), add(explanations, "y/a.png", largest=0.25)]
    assert not (explanations.directory / INDEX).exists()
    close_explanations(explanations, **MODEL)
    content = json.loads((explanations.directory / INDEX).read_text())
    assert content["schema_version"] == 1
    assert content["disclaimer"] == DISCLAIMER
    assert content["model"] == MODEL["model"]
    assert content["pictures"] == [
        {
            "picture": Path(place).name,
            "path": path,
            "probability": 0.25,
            "label": "normal",
            "largest_evidence": largest,
            "seen": 1.0,
        }
        for place, path, largest in zip(places, ("x/a.png", "y/a.png"), (0.5, 0.25), strict=True)
    ]
    with np.load(explanations.directory / content["maps"]) as maps:
        assert maps["evidence"].shape == (2, 7, 7)
        assert maps["evidence"].dtype == np.float32
        assert maps["evidence"].max(axis=(1, 2)).tolist() == [0.5, 0.25]
        assert maps["picture"].tolist() == [Path(place).name for place in places]
    kept = {entry.name for entry in explanations.directory.iterdir()}
    assert kept == {INDEX, MAPS, *(Path(place).name for place in places)}


def test_album_of_no_pictures(tmp_path: Path) -> None:
    explanations = open_explanations(tmp_path)
    close_explanations(explanations, **MODEL)
    assert json.loads((tmp_path / INDEX).read_text())["pictures"] == []


def refuse(path: Path) -> str:
    with pytest.raises(PneumoError) as caught:
        open_explanations(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_folder_with_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"an X-ray")
    assert "empty folder" in refuse(tmp_path)
    assert [entry.read_bytes() for entry in tmp_path.iterdir()] == [b"an X-ray"]


@pytest.mark.parametrize("place", ["taken", "taken/inside"])
def test_file_in_the_folders_place_is_refused(place: str, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    assert "not a folder" in refuse(tmp_path / place)
    assert (tmp_path / "taken").read_text() == "mine"


def test_folder_that_cannot_be_written_to_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse_files(**options: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse_files)
    assert "Read-only file system" in refuse(tmp_path)


def test_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    refuse(tmp_path / ("a" * 300))
