"""What is loaded when: help at once, settings and data checked before Keras."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pneumocli import DISCLAIMER, __version__

HEAVY = (
    "keras",
    "tensorflow",
    "jax",
    "sklearn",
    "scipy",
    "matplotlib",
    "numpy",
    "PIL",
    "pydicom",
    "pooch",
    "joblib",
    "jinja2",
)
COMMANDS = (
    "fetch",
    "train",
    "cv",
    "evaluate",
    "ensemble",
    "export",
    "predict",
    "compare",
    "report",
    "runs",
    "doctor",
)

WATCHED = """
import sys
from pneumocli.cli import app
for line in sys.argv[2].split(";"):
    try:
        app(line.split(), prog_name="pneumocli")
    except SystemExit:
        pass
loaded = {name.partition(".")[0] for name in sys.modules}
print("loaded:", *sorted(loaded & set(sys.argv[1].split(","))))
"""


def run_watched(*lines: str, heavy: tuple[str, ...] = HEAVY, folder: Path) -> tuple[str, list[str]]:
    """Run command lines in a fresh process; return what it printed and which heavy modules it loaded."""
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, ",".join(heavy), ";".join(lines)],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
    )
    *talk, last = done.stdout.splitlines()
    assert last.startswith("loaded:")
    return "\n".join(talk) + done.stderr, last.split()[1:]


def test_help_and_version_load_nothing_heavy(tmp_path: Path) -> None:
    lines = ["--help", "--version", *(f"{command} --help" for command in COMMANDS)]
    text, loaded = run_watched(*lines, folder=tmp_path)
    assert not loaded
    assert DISCLAIMER in text
    assert f"pneumocli {__version__}" in text
    for command in COMMANDS:
        assert f"Usage: pneumocli {command}" in text
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("train --data synthetic --weights none --image-size 8", "image_size"),
        ("cv --data synthetic --weights none --dropout 1", "dropout"),
        ("train --recipe nonsense", "recipe"),
        ("cv --rule best", "rule"),
        ("train --data missing.npz --weights none", "missing.npz"),
        ("cv --data synthetic --weights missing.h5", "missing.h5"),
        ("train --data . --weights none", "no image files"),
        ("train --data labels.csv --weights none", "labels.csv"),
        ("cv --data synthetic --weights none --folds 200", "folds"),
        ("cv --data synthetic --weights none --subset 40 --folds 20", "folds"),
        ("cv --data synthetic --weights none --groups missing.csv", "missing.csv"),
        ("cv --data synthetic --weights none --groups two.csv", "groups"),
        ("cv --config missing.json", "missing.json"),
        ("train --config two.csv", "not JSON"),
        ("runs two.csv", "not a directory"),
        ("evaluate", "no complete run"),
        ("evaluate --rule best", "no rule 'best'"),
        ("ensemble", "no complete cross-validation"),
        ("predict xray.png", "no complete run"),
        ("report", "no complete run"),
        ("export", "no complete run"),
        ("predict xray.png --model two.onnx", "not an ONNX file that pneumocli wrote"),
        ("predict xray.png --model two.onnx --engine keras", "name the run"),
        ("predict xray.png --model two.onnx --explain maps", "name the run"),
        ("predict xray.png --model two.csv --files-from missing.txt", "missing.txt"),
    ],
)
def test_what_cannot_work_is_told_before_keras_is_loaded(line: str, reason: str, tmp_path: Path) -> None:
    two = "".join(f"{row},{row % 2}\n" for row in range(360))
    (tmp_path / "two.csv").write_text(f"index,group\n{two}")
    (tmp_path / "two.onnx").write_text("two")
    text, loaded = run_watched(line, heavy=("keras", "tensorflow"), folder=tmp_path)
    assert "error: " in text
    assert reason in text
    assert not loaded


def test_module_is_the_command(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pneumocli", "--version"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert done.stdout == f"pneumocli {__version__}\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_full_output_is_an_error_and_not_a_traceback(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "pneumocli", "doctor", "--format", "json"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
