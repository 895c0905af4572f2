"""Small deterministic cross-validations by the command line in processes of their own, and their files."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

from commandline import SHORT

from pneumocli.core.album import PICTURES
from pneumocli.core.artefact import CARD
from pneumocli.core.hashes import HASHES
from pneumocli.core.runs import CONFIG, ENSEMBLE

TESTS = Path(__file__).parent
WORDS = ("--data", "synthetic", "--subset", "24", "--folds", "2", *SHORT, "--deterministic")


def describe_surroundings(folder: Path, **more: str) -> dict[str, str]:
    """The environment of a process that finds the tests' modules and keeps its files in a folder."""
    places = {"PNEUMOCLI_RUNS": str(folder / "runs"), "PNEUMOCLI_CACHE": str(folder / "cache")}
    path = os.pathsep.join([str(TESTS), *filter(None, sys.path)])
    return {**os.environ, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3", **places, **more}


def start(folder: Path, *words: object, **more: str) -> "subprocess.Popen[str]":
    folder.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, str(TESTS / "tinycli.py"), *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=describe_surroundings(folder, **more),
    )


def finish(process: "subprocess.Popen[str]") -> tuple[str, str]:
    """Wait for a command that must succeed, and return what it said on stdout and stderr."""
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    return out, err


def compare_runs(one: Path, other: Path, models: int = 2) -> None:
    """Check that a run has every file of another, byte for byte but for the times at which they were written.

    What is there of the test split and the ensemble's file may be more than the other has.
    """
    files, others = list_files(one), list_files(other)
    assert sum(path.name == "model.keras" for path in files) == models
    assert files <= others
    more = (ENSEMBLE, HASHES)
    assert all("_test" in path.name or path.name in more for path in others - files), others - files
    for path in sorted(files):
        if path.name != PICTURES:
            assert read_parts(one / path) == read_parts(other / path), path


def list_files(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}


def read_parts(path: Path) -> Any:
    """What a file of a run holds, but for the times at which it was written."""
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            parts = {name: archive.read(name) for name in archive.namelist() if name.endswith(".npz")}
            card = json.loads(archive.read(CARD)) | {"created": None}
        return card, parts, read_weights(path)
    if path.name == CONFIG:
        return json.loads(path.read_bytes()) | {"created": None}
    if path.name == HASHES:  # of whole model files, which have times in them
        return sorted(json.loads(path.read_bytes())["files"])
    return path.read_bytes()


def read_weights(path: Path) -> list[tuple[str, bytes]]:
    import keras

    model = keras.saving.load_model(path, compile=False)
    return [(weight.path, weight.numpy().tobytes()) for weight in model.weights]
