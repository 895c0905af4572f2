"""What the shell offers on Tab: recipes, and runs by name or path. Nothing heavy is loaded for it."""

import os
from pathlib import Path

import typer

from pneumocli.core.config import RECIPES

MODEL_ENDINGS = (".keras", ".onnx")


def complete_recipe(incomplete: str) -> list[str]:
    """Return the recipes that begin so."""
    return [name for name in RECIPES if name.startswith(incomplete)]


def complete_run(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the runs that begin so, by their names in the directory of runs, else by their paths."""
    runs = Path(ctx.params.get("runs") or os.environ.get("PNEUMOCLI_RUNS") or "runs")
    try:
        names = sorted(config.parent.name for config in runs.glob("*/config.json"))
    except OSError:
        names = []
    return [name for name in names if name.startswith(incomplete)] or complete_path(incomplete)


def complete_path(incomplete: str) -> list[str]:
    """Return the folders and model files whose paths begin so."""
    folder, beginning = os.path.split(incomplete)
    try:
        entries = sorted(os.scandir(folder or "."), key=lambda entry: entry.name)
    except OSError:
        return []
    found = []
    for entry in entries:
        if not entry.name.startswith(beginning) or (entry.name.startswith(".") and not beginning):
            continue
        path = os.path.join(folder, entry.name)
        if entry.is_dir():
            found.append(f"{path}/")
        elif entry.name.endswith(MODEL_ENDINGS):
            found.append(path)
    return found
