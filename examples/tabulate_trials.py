"""Trials of settings as a Markdown table: of `try_recipe.py` and the other scripts, or of several seeds.

python examples/tabulate_trials.py examples/results/trials.jsonl
"""

import json
import sys
from pathlib import Path
from statistics import mean
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

# Of models trained side by side with several seeds: out-of-fold images, the third of them that misleads, all
# made foreign; and of the trials that hold out others. AUC up to the log losses.
SEED_COLUMNS = {
    "out-of-fold": "out_of_fold",
    "misleads": "misleads",
    "foreign": "foreign",
    "unlike": "unlike",
    "unlike, foreign": "unlike_foreign",
    "misleading": "misleading",
    "misleading, foreign": "misleading_foreign",
    "log loss": "log_loss",
    "log loss, foreign": "foreign_log_loss",
    "threshold": "threshold",
    "foreign at it: specificity": "ruled_specificity",
    "foreign at it: sensitivity": "ruled_sensitivity",
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


def tabulate_disturbed(trials: list[dict[str, Any]]) -> str:
    """Return the table: AUC / log loss / specificity at a sensitivity of 0.97, a row a kind of image."""
    figures = {
        (trial["images"], trial["run"]): " / ".join(
            f"{trial[name]:.4f}" for name in ("roc_auc", "log_loss", "settled_specificity")
        )
        for trial in trials
    }
    kinds, runs = (list(dict.fromkeys(trial[name] for trial in trials)) for name in ("images", "run"))
    lines = [("out-of-fold images", *runs), ("---",) * (len(runs) + 1)]
    lines += [(kind, *(figures.get((kind, run), "-") for run in runs)) for kind in kinds]
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


def tabulate_seeds(trials: list[dict[str, Any]]) -> str:
    """Return the table, a row a name in their order: means over its seeds."""
    lines = [("what was tried", *SEED_COLUMNS), ("---",) * (len(SEED_COLUMNS) + 1)]
    for name in dict.fromkeys(trial["name"] for trial in trials):
        of_name = [trial for trial in trials if trial["name"] == name]
        lines.append(
            (name, *(f"{mean(trial[key] for trial in of_name):.4f}" for key in SEED_COLUMNS.values()))
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def tabulate(trials: list[dict[str, Any]]) -> str:
    """Return the table of trials of any kind."""
    if "center_crop" in trials[0]:
        return tabulate_crops(trials)
    if "settled_specificity" in trials[0]:
        return tabulate_disturbed(trials)
    return tabulate_seeds(trials) if "seed" in trials[0] else tabulate_trials(trials)


if __name__ == "__main__":
    print(tabulate([json.loads(line) for line in Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()]))
