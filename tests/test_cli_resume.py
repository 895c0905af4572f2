"""Ctrl-C and `--resume`, on the command line."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from pneumocli.cli import app
from pneumocli.core.checkpoint import Checkpoint
from pneumocli.core.runs import CONFIG, INPUTS, Run, open_run

pytest_plugins = ["trained"]

TESTS = Path(__file__).parent
SMALL = [
    "--image-size",
    "32",
    "--head-units",
    "8",
    "--tune-layers",
    "6",
    "--precision",
    "float32",
    "--recipe",
    "original",
]


def invoke(*arguments: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, list(map(str, arguments)))
    return result.exit_code, result.stdout, result.stderr


def start(stage: str, *arguments: str) -> "subprocess.Popen[str]":
    path = os.pathsep.join([str(TESTS), *filter(None, sys.path)])
    return subprocess.Popen(
        [sys.executable, str(TESTS / "interruptible.py"), stage, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,
    )


def read_processor_seconds(pid: int) -> float:
    """Return how long a process has computed, in all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


STAGES = {
    "views": ("view 2", ["cv", "--folds", "2", "--views", "2", "--crop-area", "0.5"]),
    "head": ("head", ["cv", "--folds", "2", "--head-epochs", "999", "--head-patience", "999"]),
    "tune": ("tune", ["train", "--head-epochs", "1", "--tune-epochs", "999", "--tune-patience", "999"]),
    "scoring": ("held out", ["cv", "--folds", "2", "--head-epochs", "1", "--tune-epochs", "1"]),
    "two folds at once": (
        "head",
        ["cv", "--folds", "2", "--jobs", "2", "--head-epochs", "999", "--head-patience", "999"],
    ),
}


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="reads processor time from /proc")
@pytest.mark.parametrize("case", STAGES)
def test_ctrl_c_ends_at_once_with_one_line_that_says_how_to_go_on(case: str, tmp_path: Path) -> None:
    stage, words = STAGES[case]
    runs_dir = tmp_path / "runs"
    common = ["--data", "synthetic", "--weights", "none", "--runs", str(runs_dir), "--quiet", *SMALL]
    process = start(stage, *words, *common)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line == "now\n", process.communicate()[1]
    stopped, computed = time.monotonic(), -read_processor_seconds(process.pid)
    os.killpg(process.pid, signal.SIGINT)  # as the terminal does
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    seconds = time.monotonic() - stopped
    computed += read_processor_seconds(process.pid)
    _, err = process.communicate(timeout=120)
    print(f"{case}: ended {seconds:.2f} s after Ctrl-C, of which {computed:.2f} s on the processor")
    assert process.returncode == 130, err
    # Of the time on the clock, a machine that is busy with other work takes what it likes.
    assert computed < 2
    assert seconds < 60
    lines = [line for line in err.splitlines() if line.startswith("stopped")]
    assert err.splitlines()[-1:] == lines, err
    assert "Traceback" not in err
    if case == "views":
        assert "same command" in lines[0]
        assert not runs_dir.exists()
    else:
        (run,) = runs_dir.iterdir()
        assert lines[0].endswith(f"pneumocli {words[0]} --resume {run}")
        assert not list(run.glob(".lock")) and not list(run.rglob("*.partial*"))


@pytest.fixture
def unfinished(cv_run: Run, tmp_path: Path) -> Path:
    """A run folder in which fold 2 is still to be trained, and the pooling to be done."""
    folder = Path(shutil.copytree(cv_run.path, tmp_path / "runs" / cv_run.name))
    shutil.rmtree(folder / "fold_2")
    for name in ("metrics_out_of_fold.json", "decision.json", "scores_out_of_fold.npz"):
        (folder / name).unlink()
    return folder


@pytest.fixture
def small_data(data_file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data as a file: the tests' run was trained on drawn images of another number."""
    monkeypatch.setenv("PNEUMOCLI_WEIGHTS", "none")
    return data_file


def read_y_score(path: Path) -> bytes:
    with np.load(path) as kept:
        return bytes(kept["y_score"].tobytes())


def make_real(folder: Path, data: Path) -> None:
    """Let the record say that its images were read from a file, and keep where it lies."""
    record = json.loads((folder / CONFIG).read_text())
    record["data"]["synthetic"] = False
    (folder / CONFIG).write_text(json.dumps(record))
    inputs = {"data": str(data), "weights": None, "groups": None}
    (folder / INPUTS).write_text(json.dumps(inputs))


def test_resume_needs_no_other_option(
    unfinished: Path, small_data: Path, tiny_commands: None, cv_run: Run
) -> None:
    make_real(unfinished, small_data)
    code, _, err = invoke("cv", "--resume", unfinished, "--format", "json")
    assert code == 0, err
    assert "finished before: fold 1, fold 3" in err
    assert f"score it on the test images with: pneumocli evaluate {unfinished} --data {small_data}" in err
    run = open_run(unfinished)
    assert run.is_complete
    for part in ("scores_out_of_fold.npz", "fold_2/scores_out_of_fold.npz"):
        assert read_y_score(unfinished / part) == read_y_score(cv_run.path / part)
    assert not (unfinished / INPUTS).exists()
    assert [path.name for path in unfinished.parent.iterdir()] == [unfinished.name]


def test_resume_takes_a_name_and_a_complete_run_stays_as_it_is(
    unfinished: Path, small_data: Path, tiny_commands: None
) -> None:
    make_real(unfinished, small_data)
    runs = ["--runs", str(unfinished.parent)]
    assert invoke("cv", "--resume", unfinished.name, *runs, "-q")[0] == 0
    before = {path: path.stat().st_mtime_ns for path in unfinished.rglob("*")}
    code, out, err = invoke("cv", "--resume", unfinished.name, *runs)
    assert code == 0
    assert "fold 1" in out, err
    assert {path: path.stat().st_mtime_ns for path in unfinished.rglob("*")} == before


def test_resume_refuses_other_data(
    unfinished: Path,
    small_data: Path,
    data_arrays: dict[str, np.ndarray],
    tmp_path: Path,
    tiny_commands: None,
) -> None:
    make_real(unfinished, small_data)
    other = tmp_path / "other.npz"
    images = data_arrays["train_images"].copy()
    images[0, 0, 0] ^= 1
    np.savez(other, **{**data_arrays, "train_images": images})
    before = sorted(unfinished.rglob("*"))
    code, _, err = invoke("cv", "--resume", unfinished, "--data", other)
    assert code == 1
    line = err.splitlines()[-1]
    assert line.startswith("error: ") and "other.npz" in line and "was begun with" in line
    assert sorted(unfinished.rglob("*")) == before


def test_resume_refuses_other_settings_and_takes_the_same(unfinished: Path) -> None:
    code, _, err = invoke("cv", "--resume", unfinished, "--seed", "7")
    assert code == 2
    assert "has seed 0" in err and "--seed" in err
    code, _, err = invoke("cv", "--resume", unfinished, "--folds", "5")
    assert code == 2
    assert "has folds 3" in err
    code, _, err = invoke("cv", "--resume", unfinished, "--recipe", "robust")
    assert code == 2
    assert "has recipe original" in err and "--recipe" in err
    code, _, err = invoke("cv", "--resume", unfinished, "--size", "64")
    assert code == 2
    assert "has size 28" in err


def test_resume_of_the_other_kind_says_which_command_it_is(unfinished: Path) -> None:
    code, _, err = invoke("train", "--resume", unfinished)
    assert code == 1
    assert f"pneumocli cv --resume {unfinished}" in err


def test_resume_of_what_is_no_run(tmp_path: Path) -> None:
    code, _, err = invoke("cv", "--resume", tmp_path / "none")
    assert code == 1
    assert "is not a run folder" in err


def test_a_checkpoint_that_cannot_be_used_is_said_and_the_fold_starts_anew(
    unfinished: Path, small_data: Path, tiny_commands: None
) -> None:
    make_real(unfinished, small_data)
    path = open_run(unfinished).checkpoint_path(2)
    path.write_bytes(b"not an archive")
    code, _, err = invoke("cv", "--resume", unfinished)
    assert code == 0, err
    (line,) = [line for line in err.splitlines() if "starts anew" in line]
    assert str(path) in line and "damaged" in line and "fold 2" in line
    assert not Checkpoint(path, {}).path.exists()
