"""The examples do what they say, on drawn images."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"

SMALL = ("--folds", "2", "--image-size", "32", "--subset", "24", "--head-epochs", "1", "--tune-epochs", "1")


def run_example(tmp_path: Path, *command: str | Path, **variables: str) -> str:
    scripts = Path(sys.executable).parent
    environment = {
        **os.environ,
        "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
        "PNEUMOCLI_CACHE": str(tmp_path / "cache"),
        "PNEUMOCLI_RUNS": str(tmp_path / "runs"),
        **variables,
    }
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_drawn_chests_are_written_as_images(tmp_path: Path) -> None:
    run_example(tmp_path, sys.executable, EXAMPLES / "draw_chest.py", "chests", "5")
    names = sorted(path.name for path in (tmp_path / "chests").iterdir())
    assert len(names) == 5
    assert {name.split("_")[2] for name in names} == {"normal.png", "pneumonia.png"}


def test_operations_are_two_a_weight_and_place() -> None:
    import keras
    from measuring import count_operations

    image = keras.Input((8, 8, 3))
    maps = keras.layers.Conv2D(5, 3, strides=2, padding="same")(image)
    inner = keras.Model(image, keras.layers.Flatten()(keras.layers.BatchNormalization()(maps)))
    model = keras.Model(image, keras.layers.Dense(7)(inner(image)))
    assert count_operations(model) == 2 * (4 * 4 * 3 * 3 * 3 * 5) + 2 * (4 * 4 * 5 * 7)


def test_memory_of_a_command_and_of_what_it_starts_is_seen() -> None:
    from measuring import _WatchedMemory

    hold = "held = bytearray(b'x') * {size}; import sys, time; {more}; time.sleep(3)"
    child = hold.format(size=150_000_000, more="0")
    more = f"import subprocess; subprocess.run([sys.executable, '-c', {child!r}])"
    command = [sys.executable, "-c", hold.format(size=50_000_000, more=more)]
    process = subprocess.Popen(command, text=True)
    with _WatchedMemory(process) as memory:
        process.wait()
    assert 150e6 < memory.largest < 200e6
    assert 200e6 < memory.together < 300e6


@pytest.mark.slow
def test_core_without_the_command_line(tmp_path: Path) -> None:
    said = run_example(tmp_path, sys.executable, EXAMPLES / "from_python.py", "runs", "32")
    names = [line.split(":")[0] for line in said.splitlines()]
    assert names == ["fold 1", "fold 2", "ensemble"]
    assert (tmp_path / "runs" / "synthetic-cv-1" / "metrics_test.json").is_file()


@pytest.mark.slow
def test_full_run(tmp_path: Path) -> None:
    run_example(tmp_path, sys.executable, EXAMPLES / "draw_chest.py", "chests", "2")
    said = run_example(
        tmp_path,
        *("sh", EXAMPLES / "full_run.sh", *SMALL),
        PNEUMOCLI_DATA="synthetic",
        PNEUMOCLI_WEIGHTS="none",
        XRAYS=str(tmp_path / "chests"),
    )
    for title in (
        "drawn images",
        "out-of-fold, 24 images",
        "val, 90 images",
        "test, 120 images",
        "Probability",
    ):
        assert title in said
    left = {path.name for path in (tmp_path / "runs" / "synthetic-cv-1").iterdir()}
    assert {"ensemble.keras", "roc_val.png", "roc_test.png", "scores_test.npz"} <= left


def test_walkthrough_names_commands_and_pictures_that_are_there() -> None:
    import typer.main
    import walkthrough

    from pneumocli.cli import app

    group = typer.main.get_command(app)
    page = walkthrough.PAGE.read_text(encoding="utf-8")
    commands = walkthrough.list_commands(page)
    ours = [command.split() for command in commands if command.startswith("pneumocli ")]
    assert len(ours) >= 9
    for words in ours:
        options = {name for parameter in group.commands[words[1]].params for name in parameter.opts}
        end = words.index("|") if "|" in words else len(words)
        assert {word for word in words[2:end] if word.startswith("--")} <= options, words
    for name in walkthrough.PICTURE.findall(page):
        assert name in walkthrough.SOURCES
        assert (EXAMPLES / "walkthrough" / name).is_file()


def test_walkthrough_page_has_what_its_commands_say_in_place_of_what_stood_there(tmp_path: Path) -> None:
    import walkthrough

    page = "before\n```console\n$ echo one\nold\n$ pwd; false\n```\nafter\n"
    variables = {"PNEUMOCLI_DATA": "/data/x.npz", "PNEUMOCLI_WEIGHTS": "/data/w.h5"}
    written = walkthrough.write_page(page, tmp_path, {**os.environ, **variables})
    said = "$ echo one\none\n$ pwd; false\n~/walkthrough\n(exit code 1)\n"
    assert written == f"before\n```console\n{said}```\nafter\n"


def test_walkthrough_lays_out_scans_that_can_be_read(tmp_path: Path) -> None:
    import walkthrough

    from pneumocli.core.images import read_image

    run_example(tmp_path, sys.executable, EXAMPLES / "draw_chest.py", "chests", "6")
    walkthrough.lay_out(tmp_path, tmp_path / "chests")
    names = {path.name for path in (tmp_path / "mine").iterdir()}
    assert {"scan_2", "scan_5", "xray_1.png", "holiday.jpg", "notes.txt"} <= names
    assert read_image(tmp_path / "mine" / "scan_2", 28).looks.colour == 0


def test_simulated_answers_take_what_can_be_reckoned() -> None:
    import scale

    from pneumocli.core import shards

    assert (scale.SHARD, scale.ROUND) == (shards.SHARD, shards.ROUND)
    free = scale.Setting(rate=10, start=5, image_bytes=0, row=0, task=0)
    assert scale.simulate(1280, 1, free) == pytest.approx(5 + 128)
    assert scale.simulate(2560, 2, free) == pytest.approx(5 + 128)
    # Three tasks by two workers: one of them does two.
    assert scale.simulate(3 * 128, 2, free) == pytest.approx(5 + 2 * 12.8)
    # A file server that is slower than the workers sets the pace.
    slow = scale.Setting(rate=1e9, start=0, image_bytes=1e6, server=1e7, row=0, task=0)
    assert scale.simulate(12_800, 64, slow) == pytest.approx(1280)
