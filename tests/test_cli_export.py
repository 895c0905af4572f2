"""`pneumocli export`, and `predict` with its file: without Keras, tensorflow and scikit-learn."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from commandline import fail, run, succeed
from small import copy_run

from pneumocli import DISCLAIMER
from pneumocli.core.hashes import record_hash
from pneumocli.core.predictor import ONNX
from pneumocli.core.runs import MODEL, Run

pytest_plugins = ["trained"]

# A process in which the heavy libraries cannot be imported.
POISONED = """
import sys
for name in ("keras", "tensorflow", "sklearn", "scipy", "matplotlib", "onnx", "tf2onnx"):
    sys.modules[name] = None
from pneumocli.cli import main
main()
"""


def answer(*words: object) -> Any:
    return json.loads(succeed("predict", *words, "--format", "json").stdout)


def test_exports_and_answers_as_keras_does(train_copy: Run, xrays: list[Path]) -> None:
    before = answer(*xrays)
    assert before["engine"].startswith("keras ")
    result = succeed("export", train_copy.path, "--format", "json")
    content = json.loads(result.stdout)
    assert content["file"] == str(train_copy.path / ONNX)
    assert content["bytes"] == (train_copy.path / ONNX).stat().st_size
    assert (content["checked"]["images"], content["checked"]["data"]) == (256, "drawn images")
    assert content["checked"]["largest_difference"] < 1e-5
    assert "compared on: 256 drawn images" in result.stderr
    assert DISCLAIMER in result.stderr
    assert "Warning" not in result.stderr
    after = answer(*xrays)
    assert after["engine"].startswith("onnxruntime ")
    for name in before.keys() - {"engine", "predictions"}:
        assert after[name] == before[name]
    for one, other in zip(before["predictions"], after["predictions"], strict=True):
        assert other["engine"] == after["engine"]
        for name in ("probability", "score", "members", "distance"):
            assert other[name] == pytest.approx(one[name], rel=1e-3, abs=1e-5)
        for name in ("path", "label", "uncertain", "atypical", "model_sha256"):
            assert other[name] == one[name]
    assert answer(*xrays, "--engine", "keras")["predictions"] == before["predictions"]


def test_file_answers_alone_where_there_is_no_keras(exported: Run, xrays: list[Path], tmp_path: Path) -> None:
    alone = Path(shutil.copy(exported.path / ONNX, tmp_path / "kept.onnx"))
    rows = {}
    for model in (alone, exported.path):
        words = ["predict", *xrays[:2], "--model", model, "--format", "json"]
        done = subprocess.run(
            [sys.executable, "-c", POISONED, *map(str, words)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        rows[model] = json.loads(done.stdout)["predictions"]
    assert rows[alone] == rows[exported.path]
    assert len(rows[alone]) == 2
    table = subprocess.run(
        [sys.executable, "-c", POISONED, "predict", str(xrays[0]), "--model", str(alone)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "probability" in table.stdout


def test_without_keras_a_model_of_keras_is_a_line(exported: Run, xrays: list[Path]) -> None:
    words = ["predict", str(xrays[0]), "--model", str(exported.fold_path(1) / MODEL), "--quiet"]
    done = subprocess.run(
        [sys.executable, "-c", POISONED, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: Keras cannot be loaded")


def test_stale_file_is_told_and_not_used(exported: Run, xrays: list[Path], tmp_path: Path) -> None:
    copy = copy_run(exported, tmp_path / "runs")
    shutil.copy(copy.fold_path(1) / MODEL, copy.fold_path(2) / MODEL)
    record_hash(copy.fold_path(2) / MODEL)
    result = succeed("predict", xrays[0], "--format", "json")
    assert json.loads(result.stdout)["engine"].startswith("keras ")
    assert "not used:" in result.stderr
    assert "was made from other files" in fail("predict", xrays[0], "--engine", "onnx")


@pytest.mark.parametrize(
    ("words", "exit_code", "reason"),
    [
        (("--data", "missing.npz"), 1, "missing.npz"),
        (("--output", "model.keras"), 2, ".onnx"),
        (("missing",), 1, "missing"),
    ],
)
def test_what_cannot_be_exported(
    words: tuple[str, ...], exit_code: int, reason: str, train_copy: Run
) -> None:
    result = run("export", *words)
    assert result.exit_code == exit_code
    assert reason in result.output
    assert not (train_copy.path / ONNX).exists()
