"""Running the command line in the tests' own process, and what it is run on."""

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
from pictures import draw_files, name_files
from PIL import Image
from typer.testing import CliRunner, Result

from pneumocli.cli import app
from pneumocli.core.data import Dataset
from pneumocli.core.runs import Run
from pneumocli.report.pictures import read_pictures

SMALL = shlex.split("--recipe original --weights none --image-size 32 --head-units 8 --tune-layers 6")
SHORT = (*SMALL, "--head-epochs", "1", "--tune-epochs", "1", "--precision", "float32")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def succeed(*arguments: object) -> Result:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result


def fail(*arguments: object, exit_code: int = 1) -> str:
    """The one line on stderr of a command that cannot work; nothing is on stdout."""
    result = run(*arguments, "--quiet")
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == exit_code, result.output
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    return line.removeprefix("error: ")


def list_runs_made(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "runs").iterdir()) if (tmp_path / "runs").exists() else []


def name_pictures(split: str) -> list[str]:
    kinds = ("roc", "precision_recall", "confusion", "reliability", "histogram", "gallery")
    return [f"{kind}_{split}.png" for kind in kinds]


def list_pictures(folder: Path) -> set[str]:
    """The pictures in a folder, each of which is whole and is listed there."""
    names = {path.name for path in folder.glob("*.png")}
    assert {picture.file for picture in read_pictures(folder)} == names
    assert all(is_picture(folder / name) for name in names)
    return names


def is_picture(path: Path) -> bool:
    with Image.open(path) as picture:
        picture.load()
        return picture.format == "PNG" and min(picture.size) > 500


def read_scored(run_folder: Run, *options: object) -> Any:
    words = ("evaluate", run_folder.path, "--data", "synthetic", "--format", "json", *options)
    return json.loads(succeed(*words).stdout)


def write_labels(folder: Path, *columns: str, label: str = "") -> Path:
    """A CSV beside images of its own; `columns` are further ones, each with its header first."""
    names = name_files((5, 7), "x/")
    draw_files(folder, names, pixels=60)
    lines = ["path,label", *(f"{name},{label or name.split('/')[1]}" for name in names)]
    for column in columns:
        header, *values = column.split()
        lines = [f"{lines[0]},{header}"] + [
            f"{line},{values[number % len(values)]}" for number, line in enumerate(lines[1:])
        ]
    path = folder / "labels.csv"
    path.write_text("\n".join(lines))
    return path


def write_data(path: Path, dataset: Dataset, **changes: Any) -> Path:
    arrays: dict[str, Any] = {}
    for name, split in dataset.splits.items():
        arrays[f"{name}_images"] = split.images
        arrays[f"{name}_labels"] = split.labels.astype(np.uint8)[:, np.newaxis]
    arrays |= changes
    np.savez_compressed(path, **{name: array for name, array in arrays.items() if array is not None})
    return path
