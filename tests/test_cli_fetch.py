"""`pneumocli fetch`: the official files and own ones."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from commandline import fail, list_runs_made, succeed
from pictures import draw_files, name_files

from pneumocli.core import fetch
from pneumocli.core.official import SOURCES

pytest_plugins = ["trained"]


def test_fetch_imports_a_file(data_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PNEUMOCLI_WEIGHTS", "none")
    result = succeed("fetch", "--from", data_file, "--format", "json")
    content = json.loads(result.stdout)
    assert Path(content["path"]).read_bytes() == data_file.read_bytes()
    assert {name: split["images"] for name, split in content["splits"].items()} == {
        "train": 24,
        "val": 12,
        "test": 12,
    }
    table = succeed("fetch", "--from", data_file).stdout
    for name in ("train", "val", "test"):
        assert name in table


def test_own_images_are_shown_by_fetch_and_doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "xrays"
    draw_files(folder, name_files((2, 3)))
    shutil.copy(folder / "normal/000.png", folder / "pneumonia/copy.png")
    monkeypatch.setenv("PNEUMOCLI_DATA", str(folder))
    monkeypatch.setenv("PNEUMOCLI_WEIGHTS", "none")
    content = json.loads(succeed("fetch", "--format", "json").stdout)
    assert (content["identity"]["kind"], content["groups"], content["label_conflicts"]) == ("own", 1, 1)
    assert (content["splits"]["all"]["images"], content["splits"]["all"]["surplus"]) == (6, 1)
    assert "own images: files in folder xrays: all 6" in succeed("fetch").stdout
    assert json.loads(succeed("doctor", "--format", "json").stdout)["data"] == str(folder)


def test_without_a_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    unreachable = replace(SOURCES[28], url="http://127.0.0.1:9/pneumoniamnist.npz")
    monkeypatch.setitem(SOURCES, 28, unreachable)
    monkeypatch.setattr(fetch, "RETRY_PAUSES", ())
    for command in (("fetch",), ("train", "--weights", "none"), ("cv", "--weights", "none")):
        line = fail(*command)
        for part in ("127.0.0.1", "fetch --from", "--data FILE", "PNEUMOCLI_DATA", "--data synthetic"):
            assert part in line
    assert not list_runs_made(tmp_path)
