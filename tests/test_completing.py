"""What the shell is offered on Tab, by the protocol of each shell."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_start import HEAVY

# What the scripts that typer installs set and call; the last word is the one to be completed.
SHELLS = ("bash", "zsh", "fish")


def complete(shell: str, line: str, folder: Path, **variables: str) -> list[str]:
    words = line.split(" ")
    asked = {
        "_PNEUMOCLI_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
        "_TYPER_COMPLETE_ARGS": line,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        "_TYPER_COMPLETE_WORD_TO_COMPLETE": words[-1],
    }
    start = "from pneumocli.cli import app; app(prog_name='pneumocli')"
    environment = {name: value for name, value in os.environ.items() if name != "PNEUMOCLI_RUNS"}
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", start],
        env={**environment, **asked, **variables},
        cwd=folder,
        capture_output=True,
        text=True,
    )
    loaded = {row.rpartition("|")[2].strip().partition(".")[0] for row in done.stderr.splitlines()}
    assert not loaded & set(HEAVY), "completion loads what takes long"
    if shell == "zsh":
        # One argument list of _arguments, each item quoted.
        return [
            part
            for part in done.stdout.split('"')
            if part.strip() and "_arguments" not in part and part != "))"
        ]
    return [row.split("\t")[0] for row in done.stdout.split("\n") if row]


def make_runs(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / "config.json").write_text("{}")


@pytest.mark.parametrize("shell", SHELLS)
def test_runs_and_recipes_are_offered(shell: str, tmp_path: Path) -> None:
    make_runs(tmp_path / "runs", "cv-1", "cv-2", "train-1")
    offered = " ".join(complete(shell, "pneumocli evaluate cv", tmp_path))
    assert "cv-1" in offered
    assert "cv-2" in offered
    assert "train-1" not in offered
    assert "robust" in " ".join(complete(shell, "pneumocli cv --recipe ro", tmp_path))


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("evaluate ", ["cv-1", "train-1"]),
        ("evaluate --ensemble c", ["cv-1"]),
        ("ensemble t", ["train-1"]),
        ("compare cv-1 t", ["train-1"]),
        ("predict x.png --model c", ["cv-1"]),
        ("evaluate --runs other ", ["mine"]),
        ("evaluate oth", ["other/"]),
        ("evaluate runs/", ["runs/cv-1/", "runs/notes/", "runs/train-1/"]),
        ("predict x.png --model mod", ["model.keras", "model.onnx"]),
        ("report c", ["cv-1"]),
        ("evaluate nothing", []),
        ("train --recipe ", ["robust", "original"]),
        ("cv --recipe o", ["original"]),
        ("run", ["runs"]),
    ],
)
def test_bash(line: str, offered: list[str], tmp_path: Path) -> None:
    make_runs(tmp_path / "runs", "cv-1", "train-1")
    make_runs(tmp_path / "other", "mine")
    (tmp_path / "runs" / "notes").mkdir()
    for model in ("model.keras", "model.onnx"):
        (tmp_path / model).touch()
    assert complete("bash", f"pneumocli {line}", tmp_path) == offered


def test_directory_of_runs_by_environment(tmp_path: Path) -> None:
    make_runs(tmp_path / "elsewhere", "cv-9")
    where = {"PNEUMOCLI_RUNS": str(tmp_path / "elsewhere")}
    assert complete("bash", "pneumocli evaluate ", tmp_path, **where) == ["cv-9"]


@pytest.mark.parametrize("shell", SHELLS)
def test_script_for_the_shell(shell: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from pneumocli.cli import app; app(prog_name='pneumocli')"],
        env={**os.environ, "_PNEUMOCLI_COMPLETE": f"source_{shell}"},
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "pneumocli" in done.stdout
