"""Data that users bring, good and bad, through every command that reads them."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from commandline import SHORT, fail, is_picture, list_runs_made, succeed, write_data, write_labels
from pictures import draw_files, name_files

from pneumocli.core.data import Dataset
from pneumocli.core.runs import EXTERNAL, open_run

pytest_plugins = ["trained"]


@pytest.mark.usefixtures("tiny_commands")
def test_own_images_from_training_to_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, runs_dir = tmp_path / "xrays", tmp_path / "runs"
    draw_files(folder, [*name_files((20, 20)), "normal/.hidden.png"], pixels=50)
    (folder / "notes.txt").touch()
    result = succeed("cv", "--folds", "2", "--data", folder, "--size", "40", "--seed", "4", *SHORT)
    for words in (
        "passed over 2 ",
        "40 px",
        "divided by seed 4",
        "own images: files in folder xrays: train 32",
    ):
        assert words in result.stderr
    assert f"pneumocli evaluate {runs_dir / 'cv-1'} --data {folder}" in result.stderr
    record = open_run(runs_dir / "cv-1").record
    assert (record.data.name, record.data.pixels, record.data.train_images) == ("xrays", 40, 32)
    assert str(tmp_path) not in record.model_dump_json()

    result = succeed("evaluate", "--data", folder, "--format", "json")
    content = json.loads(result.stdout)
    assert (content["data"], content["split"], content["models"]["ensemble"]["n"]) == ("xrays", "test", 4)
    assert not (runs_dir / "cv-1" / EXTERNAL).exists()  # taken for the run's own
    assert "is not the data set" not in result.stderr
    assert is_picture(runs_dir / "cv-1" / "roc_test.png")
    assert "too good" in fail("evaluate", "--data", folder, "--split", "all")

    # Without a name the official images are not taken for them, nor fetched.
    monkeypatch.delenv("PNEUMOCLI_DATA", raising=False)
    assert "trained on own images, xrays; name those to score with --data" in fail("evaluate")
    monkeypatch.setenv("PNEUMOCLI_DATA", str(folder))
    assert json.loads(succeed("evaluate", "--format", "json").stdout) == content


OWN_FAULTS: dict[str, Callable[[Path], object]] = {
    "one class": lambda folder: draw_files(folder, name_files((0, 4))),
    "other class": lambda folder: draw_files(folder, ["normal/a.png", "covid/a.png"]),
    "no image": lambda folder: [write_labels(folder), (folder / "x/normal/000.png").write_text("hello")],
    "bad label": lambda folder: write_labels(folder, label="sick"),
    "bad split": lambda folder: write_labels(folder, "split dev"),
    "file lost": lambda folder: [write_labels(folder), (folder / "x/normal/000.png").unlink()],
}


@pytest.mark.usefixtures("tiny_commands")
@pytest.mark.parametrize("command", ["train", "cv", "evaluate"])
@pytest.mark.parametrize("spoil", OWN_FAULTS.values(), ids=OWN_FAULTS.keys())
def test_own_images_with_a_fault(
    command: str, spoil: Callable[[Path], object], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = tmp_path / "xrays"
    spoil(folder)
    data = folder / "labels.csv" if (folder / "labels.csv").exists() else folder
    if command == "evaluate":
        copied = request.getfixturevalue("cv_copy")
        assert str(data) in fail("evaluate", copied.path, "--data", data)
        assert not (copied.path / EXTERNAL).exists()
    else:
        assert str(data) in fail(command, "--data", data, *SHORT)
        assert not list_runs_made(tmp_path)


Spoil = Callable[[Path, Dataset], object]


def spoil_missing(path: Path, dataset: Dataset) -> None:
    """There is no file."""


def spoil_empty(path: Path, dataset: Dataset) -> None:
    path.write_bytes(b"")


def spoil_text(path: Path, dataset: Dataset) -> None:
    path.write_text("hello\n")


def spoil_cut_off(path: Path, dataset: Dataset) -> None:
    write_data(path, dataset)
    path.write_bytes(path.read_bytes()[:-2000])


def spoil_folder(path: Path, dataset: Dataset) -> None:
    path.mkdir()


BAD_DATA: dict[str, Spoil] = {
    "missing": spoil_missing,
    "empty": spoil_empty,
    "cut off": spoil_cut_off,
    "not npz": spoil_text,
    "folder": spoil_folder,
    "keys": lambda path, dataset: write_data(path, dataset, val_labels=None),
    "shape": lambda path, dataset: write_data(path, dataset, val_images=np.zeros((12, 28), np.uint8)),
    "type": lambda path, dataset: write_data(path, dataset, val_images=np.zeros((12, 28, 28))),
    "labels": lambda path, dataset: write_data(path, dataset, val_labels=np.arange(12)),
    "class": lambda path, dataset: write_data(path, dataset, val_labels=np.ones((12, 1), np.uint8)),
}


@pytest.mark.usefixtures("tiny_commands")
@pytest.mark.parametrize("command", ["train", "cv", "evaluate", "fetch"])
@pytest.mark.parametrize("spoil", BAD_DATA.values(), ids=BAD_DATA.keys())
def test_bad_data(
    command: str, spoil: Spoil, small_dataset: Dataset, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    path = tmp_path / "bad.npz"
    spoil(path, small_dataset)
    if command == "evaluate":
        before = sorted(request.getfixturevalue("cv_copy").path.rglob("*"))
        line = fail("evaluate", "--data", path)
        assert sorted((tmp_path / "runs" / "synthetic-cv-1").rglob("*")) == before
    elif command == "fetch":
        line = fail("fetch", "--from", path)
        assert not (tmp_path / "cache").exists()
    else:
        line = fail(command, "--data", path, "--weights", "none")
        assert not list_runs_made(tmp_path)
    assert str(path) in line
