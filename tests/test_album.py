"""Which pictures of a run folder are shown."""

import json
import os
from pathlib import Path

import pytest
from written import draw_picture

from pneumocli.core.album import PICTURES, list_pictures


def write_list(folder: Path, *files: str) -> None:
    entries = [{"file": file, "title": f"title of {file}", "split": "test", "alt": "alt"} for file in files]
    (folder / PICTURES).write_text(json.dumps({"schema_version": 1, "pictures": entries, "later": 1}))


def names(folder: Path, splits: tuple[str, ...] = ("test",)) -> list[str]:
    return [picture.path.name for picture in list_pictures(folder, splits)[0]]


def test_the_list_says_which_and_in_which_order(tmp_path: Path) -> None:
    for name in ("b.png", "a.png", "roc_test.png"):
        draw_picture(tmp_path / name)
    write_list(tmp_path, "b.png", "missing.png", "a.png")
    found, is_readable = list_pictures(tmp_path, ["test"])
    assert [(each.path.name, each.title, each.split, each.alt) for each in found] == [
        ("b.png", "title of b.png", "test", "alt"),
        ("a.png", "title of a.png", "test", "alt"),
    ]
    assert is_readable


def test_without_a_list_known_names_are_taken(tmp_path: Path) -> None:
    for name in ("learning_curves.png", "roc_test.png", "roc_val.png", "gallery_test.png", "other.png"):
        draw_picture(tmp_path / name)
    assert names(tmp_path) == ["roc_test.png", "gallery_test.png", "learning_curves.png"]
    assert names(tmp_path, ("test", "val"))[-2:] == ["roc_val.png", "learning_curves.png"]
    assert all(picture.alt for picture in list_pictures(tmp_path, ["test"])[0])


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pictures": 1}', '{"pictures": [{"file": 1}]}', "\x00"])
def test_a_list_that_cannot_be_read_is_told(text: str, tmp_path: Path) -> None:
    draw_picture(tmp_path / "roc_test.png")
    (tmp_path / PICTURES).write_text(text)
    found, is_readable = list_pictures(tmp_path, ["test"])
    assert [picture.path.name for picture in found] == ["roc_test.png"]
    assert not is_readable


def test_only_png_files_of_the_folder_itself_are_taken(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    (folder / "inner").mkdir(parents=True)
    for place in (tmp_path / "secret.png", folder / "inner" / "deep.png", folder / "good.png"):
        draw_picture(place)
    (folder / "text.png").write_text("no picture")
    (folder / "folder.png").mkdir()
    os.symlink(tmp_path / "secret.png", folder / "link.png")
    write_list(
        folder,
        "../secret.png",
        str(tmp_path / "secret.png"),
        "inner/deep.png",
        "text.png",
        "folder.png",
        "link.png",
        "nul\x00.png",
        "",
        ".",
        "x" * 5000,
        "good.png",
    )
    assert names(folder) == ["good.png"]
