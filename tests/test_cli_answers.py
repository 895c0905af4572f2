"""`pneumocli predict`: what may be named, what comes out where, and with which exit code."""

import csv
import hashlib
import io
import json
import os
import pty
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scans import MARK, mark_text, write_dicom
from typer.testing import CliRunner, Result

from pneumocli import DISCLAIMER
from pneumocli.cli import app
from pneumocli.core.data import Dataset
from pneumocli.core.evaluation import Evaluation
from pneumocli.core.figures import ENSEMBLE_NAME
from pneumocli.core.runs import MODEL, Run

pytest_plugins = ["trained"]


def predict(*arguments: object, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(app, ["predict", *map(str, arguments)], input=stdin)


def read_rows(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture
def xrays(small_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which one stands, with the test split as PNG files in its folder xrays."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "xrays").mkdir()
    for number, image in enumerate(small_dataset.test.images):
        Image.fromarray(image).save(tmp_path / "xrays" / f"{number:02d}.png")
    return tmp_path


@pytest.mark.usefixtures("cv_copy", "xrays")
def test_a_folder_gets_the_scores_of_evaluate(evaluated: tuple[Run, Evaluation]) -> None:
    result = predict("xrays", "--format", "jsonl", "--quiet")
    assert result.exit_code == 0
    rows = read_rows(result)
    assert [row["path"] for row in rows] == [f"xrays/{number:02d}.png" for number in range(12)]
    scores = np.float32([row["score"] for row in rows])
    assert scores.tobytes() == evaluated[1].y_score[ENSEMBLE_NAME].tobytes()


def test_formats_say_the_same(cv_copy: Run, xrays: Path) -> None:
    (xrays / "xrays" / "bad.png").write_bytes(b"bad")
    results = {name: predict("xrays", "--format", name) for name in ("json", "jsonl", "csv", "table")}
    assert {result.exit_code for result in results.values()} == {4}
    rows = read_rows(results["jsonl"])
    document = json.loads(results["json"].stdout)
    assert document["predictions"] == [row for row in rows if row["error"] is None]
    assert document["failures"] == [{"path": rows[-1]["path"], "reason": rows[-1]["error"], "atypical": None}]
    lines = list(csv.DictReader(io.StringIO(results["csv"].stdout)))
    assert [line["path"] for line in lines] == [row["path"] for row in rows]
    for line, row in zip(lines[:-1], rows[:-1], strict=True):
        assert float(line["probability"]) == row["probability"]
        assert [float(line[f"member_{number}"]) for number in (1, 2, 3)] == row["members"]
        assert f"{row['probability']:.4f}" in results["table"].stdout
    members = [(cv_copy.fold_path(fold) / MODEL).read_bytes() for fold in (1, 2, 3)]
    hashes = "".join(f"{hashlib.sha256(member).hexdigest()}\n" for member in members)
    for row in rows:
        assert row["model_sha256"] == hashlib.sha256(hashes.encode()).hexdigest()
        assert row["model"] == f"{cv_copy.name}, ensemble"
        assert row["disclaimer"] == DISCLAIMER
        assert row["calibrated_threshold"] == document["calibrated_threshold"]
    for result in results.values():
        assert DISCLAIMER in result.stderr
        assert "error: xrays/bad.png" in result.stderr
        assert "1 of 13 images could not be answered" in result.stderr


def test_a_model_file_is_known_by_its_hash(cv_copy: Run, xrays: Path) -> None:
    file = cv_copy.fold_path(1) / MODEL
    (row,) = read_rows(predict("xrays/00.png", "--model", file, "--format", "jsonl"))
    assert row["model_sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert (row["uncertain"], row["spread"], len(row["members"])) == (False, 0, 1)


@pytest.mark.usefixtures("train_copy")
def test_every_way_to_name_images(xrays: Path) -> None:
    expected = [f"xrays/{number:02d}.png" for number in (0, 1, 2)]
    rest = expected[1:]
    (xrays / "list.txt").write_text("\n".join(expected))
    content = (xrays / expected[0]).read_bytes()
    named = read_rows(predict(*expected, "--format", "jsonl"))
    assert [row["path"] for row in named] == expected
    for result in (
        predict("xrays/0[0-2].png", "--format", "jsonl"),
        predict("--files-from", "list.txt", "--format", "jsonl"),
        predict("--files-from", "-", "--format", "jsonl", stdin=(xrays / "list.txt").read_bytes()),
        predict(expected[0], "--files-from", "-", "--format", "jsonl", stdin="\n".join(rest).encode()),
    ):
        assert result.exit_code == 0
        assert read_rows(result) == named
    (row,) = read_rows(predict("-", "--format", "jsonl", stdin=content))
    assert row["path"] == "-"
    assert row["score"] == pytest.approx(named[0]["score"], abs=1e-6)


@pytest.mark.usefixtures("train_copy", "xrays")
@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("", 2),
        ("--files-from missing.txt", 1),
        ("--files-from empty.txt", 1),
        ("- -", 2),
        ("- --files-from -", 2),
        ("xrays/00.png --output xrays", 2),
        ("xrays/00.png --output answers.xlsx", 2),
        ("xrays/00.png --output -", 2),
        ("xrays/00.png --output /dev/null", 2),
        ("xrays/00.png --format xml", 2),
        ("nothing*.png", 1),
    ],
)
def test_wrong_calls_end_in_a_line(words: str, code: int, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    result = predict(*shlex.split(words), stdin=b"")
    assert result.exit_code == code
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    assert result.stderr


@pytest.mark.usefixtures("train_copy")
def test_output_file_is_what_standard_output_would_be(xrays: Path) -> None:
    for name in ("json", "jsonl", "csv"):
        shown = predict("xrays", "--format", name)
        result = predict("xrays", "--output", f"answers.{name}")
        assert (result.exit_code, result.stdout) == (0, "")
        assert (xrays / f"answers.{name}").read_text() == shown.stdout
    result = predict("xrays", "--output", "answers.txt")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "Probability of pneumonia" in (xrays / "answers.txt").read_text()
    predict("xrays", "--output", "table.json", "--format", "table")
    assert (xrays / "table.json").read_text() == (xrays / "answers.txt").read_text()


@pytest.mark.usefixtures("train_copy")
def test_a_call_that_fails_leaves_the_output_as_it_was(xrays: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (xrays / "answers.jsonl").write_text("old")

    def stop(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pneumocli.core.prediction.read_images", stop)
    result = predict("xrays", "--output", "answers.jsonl")
    assert result.exit_code == 130
    assert (xrays / "answers.jsonl").read_text() == "old"
    assert sorted(path.name for path in xrays.iterdir() if "partial" in path.name) == []


@pytest.mark.usefixtures("train_copy", "xrays")
def test_many_failures_are_counted_and_the_first_named() -> None:
    missing = [f"missing{number:02d}.png" for number in range(30)]
    result = predict(*missing, "xrays/00.png", "--quiet")
    assert result.exit_code == 4
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert errors == [f"error: {name} does not exist" for name in missing[:20]]
    assert "30 of 31 images could not be answered, the first 20 of them named above" in result.stderr
    assert predict(*missing).exit_code == 1


@pytest.mark.usefixtures("train_copy")
def test_paths_are_safe_on_the_terminal_and_as_they_are_in_json(xrays: Path) -> None:
    name = "xrays/\x1b[31ma\nb.png"
    os.rename(xrays / "xrays" / "00.png", xrays / name)
    (xrays / "xrays" / "\x1bbad.png").touch()
    result = predict("xrays")
    assert "\x1b" not in result.output
    assert r"a\nb.png" in result.stdout
    rows = read_rows(predict("xrays", "--format", "jsonl"))
    assert {name, "xrays/\x1bbad.png"} <= {row["path"] for row in rows}


@pytest.mark.usefixtures("train_copy")
def test_scans_among_images_and_no_text_of_theirs(xrays: Path, small_dataset: Dataset) -> None:
    import pydicom

    path = write_dicom(xrays / "xrays" / "IM0001", small_dataset.test.images[0])
    dataset = pydicom.dcmread(path)
    mark_text(dataset)
    dataset.save_as(path)
    dataset.NumberOfFrames = 7
    dataset.save_as(xrays / "xrays" / "IM0002")
    write_dicom(xrays / "xrays" / "DICOMDIR", None)
    (xrays / "xrays" / "notes.txt").write_text("notes")
    for name in ("table", "json", "jsonl", "csv"):
        result = predict("xrays", "--format", name)
        assert result.exit_code == 4
        assert MARK not in result.output
        assert "77777" not in result.output
        assert "1 of 14 images could not be answered" in result.stderr
    rows = {row["path"]: row for row in read_rows(predict("xrays", "--format", "jsonl"))}
    assert "7 frames" in rows["xrays/IM0002"]["error"]
    assert rows["xrays/IM0001"]["probability"] == rows["xrays/00.png"]["probability"]
    assert predict("xrays/notes.txt").exit_code == 1


def test_rows_reach_a_pipe_while_bars_are_on_the_terminal(train_copy: Run, xrays: Path) -> None:
    """Rich's bars put a file of their own in the place of standard output."""
    words = ("predict", "xrays", "--format", "jsonl")
    terminal, other = pty.openpty()
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pneumocli",
            *words,
            "--runs",
            train_copy.path.parent,
        ],
        stdout=subprocess.PIPE,
        stderr=other,
        check=True,
        env=os.environ | {"TERM": "xterm", "PYTHONPATH": str(Path(__file__).parent.parent)},
    )
    os.close(other)
    shown = os.read(terminal, 65536)
    os.close(terminal)
    assert len([json.loads(line) for line in done.stdout.splitlines()]) == 12
    assert b"100%" in shown or b"12/12" in shown
    assert b"probability" not in shown
