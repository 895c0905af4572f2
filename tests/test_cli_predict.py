"""`pneumocli predict`: answers for image files."""

import json
import os
import shutil
import zipfile
from pathlib import Path

import keras
import pytest
from commandline import fail, run, succeed
from PIL import Image
from typer.testing import CliRunner

from pneumocli import DISCLAIMER
from pneumocli.cli import app
from pneumocli.core.artefact import read_card
from pneumocli.core.calibration import apply_temperature
from pneumocli.core.contract import CARD
from pneumocli.core.decision import read_decision
from pneumocli.core.hashes import record_hash
from pneumocli.core.runs import ENSEMBLE, MODEL, Run

pytest_plugins = ["trained"]


def test_predict_says_why_an_image_is_called_pneumonia(cv_copy: Run, xrays: list[Path]) -> None:
    succeed("ensemble", "--data", "synthetic")
    for model in (cv_copy.path, cv_copy.path / ENSEMBLE):
        words = " ".join(succeed("predict", xrays[0], "--model", model).stdout.split())
        decision = read_decision(cv_copy)
        on = float(apply_temperature(decision.threshold, decision.temperature))
        assert f"called pneumonia from {on:.4f} on: rule youden, fixed on out-of-fold images" in words
    words = " ".join(succeed("predict", xrays[0], "--model", cv_copy.fold_path(1)).stdout.split())
    assert "called pneumonia from 0.5000 on: no rule was fixed for this model" in words


def test_predict_table(cv_copy: Run, xrays: list[Path]) -> None:
    result = succeed("predict", *xrays[:3])
    assert "SYNTHETIC" in result.stdout
    assert f"{cv_copy.name}, ensemble" in result.stdout
    for path in xrays[:3]:
        assert path.name in result.stdout
    assert DISCLAIMER in result.stderr


def test_predict_a_folder(cv_copy: Run, xrays: list[Path]) -> None:
    result = succeed("predict", xrays[0].parent, "--format", "json")
    paths = [row["path"] for row in json.loads(result.stdout)["predictions"]]
    assert paths == sorted(map(str, xrays))


@pytest.mark.parametrize("named", ["run", "name", "fold", "file"])
def test_predict_with_a_named_model(named: str, cv_copy: Run, xrays: list[Path], tmp_path: Path) -> None:
    kept = tmp_path / "kept.keras"
    shutil.copy(cv_copy.fold_path(2) / MODEL, kept)
    model = {"run": cv_copy.path, "name": cv_copy.name, "fold": cv_copy.fold_path(2), "file": kept}[named]
    content = json.loads(succeed("predict", xrays[0], "--model", model, "--format", "json").stdout)
    expected = "ensemble" if named in ("run", "name") else "fold 2"
    assert content["model"] == f"{cv_copy.name}, {expected}"
    assert len(content["predictions"][0]["members"]) == (3 if expected == "ensemble" else 1)


def test_predict_answers_good_images_among_bad_ones(cv_copy: Run, xrays: list[Path], tmp_path: Path) -> None:
    bad = tmp_path / "notes.txt"
    bad.write_text("hello")
    result = run("predict", xrays[0], bad, xrays[1], "--format", "json")
    assert result.exit_code == 4
    content = json.loads(result.stdout)
    assert len(content["predictions"]) == 2
    assert len(content["failures"]) == 1
    assert sum(line.startswith("error: ") for line in result.stderr.splitlines()) == 1
    assert str(bad) in result.stderr
    assert DISCLAIMER in result.stderr


def test_predict_answers_good_images_beside_an_empty_folder(
    cv_copy: Run, xrays: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    result = run("predict", xrays[0], tmp_path / "empty", "--format", "json")
    assert result.exit_code == 4
    assert len(json.loads(result.stdout)["predictions"]) == 1


def test_predict_without_a_good_image(cv_copy: Run, tmp_path: Path) -> None:
    bad = tmp_path / "notes.txt"
    bad.write_text("hello")
    for images in ([bad], [bad, tmp_path / "missing.png"], [tmp_path / "missing.png"]):
        result = run("predict", *images, "--quiet")
        assert result.exit_code == 1
        assert isinstance(result.exception, SystemExit)
        assert result.stdout == ""
        errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
        assert [str(image) in line for image, line in zip(images, errors, strict=True)] == [True] * len(
            images
        )


def test_predict_shows_no_warning_of_a_library(cv_copy: Run, xrays: list[Path], tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.jpg"
    with Image.open(xrays[0]) as image:
        image.save(damaged, exif=b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01")
    content = json.loads(succeed("predict", damaged, "--format", "json").stdout)
    assert len(content["predictions"]) == 1


@pytest.mark.parametrize("content", [None, b"", b"hello"])
def test_model_file_of_somebody_else(content: bytes | None, xrays: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "foreign.keras"
    if content is None:
        keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(path)
    else:
        path.write_bytes(content)
    assert str(path) in fail("predict", xrays[0], "--model", path)


def test_model_of_another_preparation(train_copy: Run, xrays: list[Path]) -> None:
    path = train_copy.path / MODEL
    card = read_card(path)
    other = card.model_copy(update={"preparation": card.preparation + 1})
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (entries | {CARD: other.model_dump_json().encode()}).items():
            archive.writestr(name, content)
    line = fail("predict", xrays[0])
    assert str(path) in line
    assert "not the file that its run wrote" in line
    record_hash(path)
    assert f"preparation {other.preparation}" in fail("predict", xrays[0])
    forced = succeed("predict", xrays[0], "--force", "--quiet")
    assert "warning: " in forced.stderr
    assert f"preparation {other.preparation}" in forced.stderr


def test_a_list_of_images_is_a_regular_file_or_comes_on_standard_input(
    train_copy: Run, xrays: list[Path], tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    assert "--files-from -" in fail("predict", "--files-from", tmp_path / "pipe.txt")
    assert "does not exist" in fail("predict", "--files-from", tmp_path / "gone.txt")
    words = ["predict", "--files-from", "-", "--format", "json", "--quiet"]
    result = CliRunner().invoke(app, words, input="\n".join(map(str, xrays[:2])))
    assert [row["path"] for row in json.loads(result.stdout)["predictions"]] == list(map(str, xrays[:2]))
