"""The trials that `try_recipe.py` or `try_crop.py` has written, as a Markdown table.

python examples/tabulate_trials.py examples/results/trials.jsonl
"""

import json
import sys
from pathlib import Path
from typing import Any

# Figures of held-out images as they are, disturbed and foreign: see recipe.md. Without another word AUC.
COLUMNS = {
    "held out": "plain",
    "held out: specificity": "plain_specificity",
    "held out: sensitivity": "plain_sensitivity",
    "disturbed": "disturbed",
    "disturbed: specificity": "disturbed_specificity",
    "disturbed: sensitivity": "disturbed_sensitivity",
    "foreign": "foreign",
    "foreign: specificity": "foreign_specificity",
    "foreign: sensitivity": "foreign_sensitivity",
    "threshold of val": "threshold",
    "foreign at it: specificity": "ruled_specificity",
    "foreign at it: sensitivity": "ruled_sensitivity",
    "mirrored": "flipped",
    "zoomed": "zoomed",
    "val": "val",
    "train": "train",
}


def tabulate_trials(trials: list[dict[str, Any]]) -> str:
    """Return the table, a row a trial, in their order; what a trial did not measure is a dash.

    What none of them measured has no column.
    """
    columns = {title: key for title, key in COLUMNS.items() if any(key in trial for trial in trials)}
    lines = [("what was tried", *columns, "minutes"), ("---",) * (len(columns) + 2)]
    for trial in trials:
        figures = (f"{trial[key]:.4f}" if key in trial else "-" for key in columns.values())
        lines.append((trial["name"], *figures, f"{trial['seconds'] / 60:.1f}"))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def tabulate_crops(trials: list[dict[str, Any]]) -> str:
    """Return the table, a row a share of the side: AUC / log loss of each run and kind of image."""
    figures = {
        (
            trial["center_crop"],
            trial["images"],
            trial["run"],
        ): f"{trial['roc_auc']:.4f} / {trial['log_loss']:.4f}"
        for trial in trials
    }
    columns = list(dict.fromkeys((images, run) for _, images, run in figures))
    lines = [
        ("share of the side", *(f"{images}, {run}" for images, run in columns)),
        ("---",) * (len(columns) + 1),
    ]
    for share in sorted({share for share, _, _ in figures}, reverse=True):
        lines.append((f"{share:g}", *(figures.get((share, *column), "-") for column in columns)))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    found = [json.loads(line) for line in Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()]
    print(tabulate_crops(found) if "center_crop" in found[0] else tabulate_trials(found))
