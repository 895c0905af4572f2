"""The trials that `try_recipe.py` has written, as a Markdown table.

python examples/tabulate_trials.py examples/results/trials.jsonl
"""

import json
import sys
from pathlib import Path
from typing import Any

COLUMNS = (
    "what was tried", "unlike: AUC", "spec / sens", "disturbed: AUC", "spec / sens", "with mirror: AUC",
    "val: AUC", "minutes",
)  # fmt: skip


def tabulate_trials(trials: list[dict[str, Any]]) -> str:
    """Return the table, a row a trial, in their order."""
    lines = [" | ".join(COLUMNS), "|".join("---" for _ in COLUMNS)]
    for trial in trials:
        rates = {
            which: " / ".join(f"{trial[f'{which}_{rate}']:.3f}" for rate in ("specificity", "sensitivity"))
            for which in ("unlike", "disturbed")
        }
        cells = (
            trial["name"],
            f"{trial['unlike']:.4f}",
            rates["unlike"],
            f"{trial['disturbed']:.4f}",
            rates["disturbed"],
            f"{trial['flipped']:.4f}",
            f"{trial['val']:.4f}",
            f"{trial['seconds'] / 60:.1f}",
        )
        lines.append(" | ".join(cells))
    return "\n".join(f"| {line} |" for line in lines)


if __name__ == "__main__":
    lines = Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()
    print(tabulate_trials([json.loads(line) for line in lines]))
