"""The runs of a directory as Rich tables."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from rich.table import Table
from rich.text import Text

from pneumocli.core.inventory import RunEntry
from pneumocli.core.wording import show_plain
from pneumocli.report.tables import start_table, write_caption


def tabulate_inventory(found: Sequence[RunEntry], directory: Path) -> list[Table]:
    """Return a table of what runs there are and one of their main figures, one run a row."""
    main = start_table(f"runs in {directory}", ["run", "state", "kind", "folds", "recipe", "seed", "made"])
    figures = start_table("their figures", ["run", "AUC", "test AUC", "test accuracy", "data"])
    figures.columns[-1].justify = "left"
    figures.columns[-1].no_wrap = False
    figures.columns[-1].overflow = "fold"
    for entry in found:
        folds = "" if entry.folds is None else f"{entry.finished}/{entry.folds}"
        name = Text(show_plain(f"{'SYNTHETIC ' if entry.synthetic else ''}{entry.name}"))
        main.add_row(
            name,
            entry.state,
            entry.kind or "",
            folds,
            Text(show_plain(entry.recipe or "")),
            "" if entry.seed is None else str(entry.seed),
            show_plain(_tell_day(entry.created)),
        )
        if entry.auc is not None:
            values = (entry.auc, entry.test_auc, entry.test_accuracy)
            shown = ("-" if value is None else f"{value:.4f}" for value in values)
            figures.add_row(name, *shown, Text(show_plain(entry.data or "")))
    damaged = [f"{entry.name}: {entry.reason}" for entry in found if entry.reason is not None]
    if damaged:
        main.caption = write_caption("damaged: " + "; ".join(damaged))
    figures.caption = (
        "AUC: out-of-fold, of a single model on val; test: of the ensemble or the single model, the "
        "accuracy at the run's rule; -: not scored yet, or last at another rule"
    )
    return [main, figures] if figures.rows else [main]


def _tell_day(created: str | None) -> str:
    if created is None:
        return ""
    try:
        return datetime.fromisoformat(created).astimezone().strftime("%Y-%m-%d")
    except ValueError:
        return created[:10]
