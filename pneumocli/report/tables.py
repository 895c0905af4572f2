"""Results as Rich tables that keep every number and word at 80 columns."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Literal

from rich import box
from rich.table import Table
from rich.text import Text

from pneumocli.core.audit import Audit
from pneumocli.core.examination import Examination

SOURCES = {"out_of_fold": "out-of-fold images", "val": "validation images without a copy in train"}


def start_table(title: str, columns: Sequence[str]) -> Table:
    """Return an empty table; the first column takes what users named, the others numbers and words."""
    table = Table(
        title=Text(title), box=box.SIMPLE_HEAD, title_justify="left", caption_justify="left", pad_edge=False
    )
    for position, column in enumerate(columns):
        # Numbers and words stay whole; what a user named breaks into lines rather than being cut.
        justify: Literal["left", "right"] = "left" if position == 0 else "right"
        table.add_column(column, justify=justify, no_wrap=position > 0, overflow="fold")
    return table


def write_caption(line: str) -> Text:
    """Return the words below a table, of which nothing is taken for markup."""
    return Text(line, style="table.caption")


def tabulate_audit(audit: Audit) -> list[Table]:
    """Return a table of the images and exact duplicates of a data set, one split a row."""
    table = start_table(audit.identity.sentence, ["split", "images", "normal", "pneumonia", "exact copies"])
    for name, split in audit.splits.items():
        table.add_row(name, *map(str, (split.images, split.normal, split.pneumonia, split.surplus)))
    table.add_section()
    for pair, images in audit.shared.items():
        table.add_row(f"in both of {pair}", "", "", "", str(images))
    table.caption = (
        f"{audit.groups} groups of byte-equal images ({audit.grouped_images} images), "
        f"{audit.label_conflicts} with differing labels"
    )
    return [table]


def tabulate_examination(found: Examination) -> list[Table]:
    """Return a table of what there is on the machine and one of the kept features."""
    main = start_table("this machine", ["", ""])
    main.show_header = False
    main.columns[1].justify, main.columns[1].overflow, main.columns[1].no_wrap = "left", "fold", False
    for name, value in found.versions.items():
        main.add_row(name, Text(value))
    main.add_section()
    main.add_row("processor", Text(f"{found.processor}, {found.cores} cores"))
    main.add_row("native bfloat16", "yes" if found.native_bfloat16 else "no")
    main.add_row("data", Text(found.data or "none yet: pneumocli fetch"))
    main.add_row("weights", Text(found.weights or "none yet: pneumocli fetch"))
    main.add_row("cache", Text(f"{found.cache} ({found.free_bytes / 1e9:.0f} GB free)"))
    total = sum(bank.bytes for bank in found.features)
    kept = start_table(f"kept features: {total / 1e9:.2f} GB", ["content", "GB", "last used"])
    for bank in found.features:
        used = datetime.fromtimestamp(bank.used).strftime("%Y-%m-%d %H:%M")
        kept.add_row(Text(bank.content), f"{bank.bytes / 1e9:.2f}", used)
    return [main, kept]


def tabulate_predictions(
    rows: Iterable[Mapping[str, object]],
    model: str,
    synthetic: bool,
    *,
    called_from: float = 0.5,
    rule: str | None = None,
    source: str | None = None,
) -> Table:
    """Return the table of answered images.

    Args:
        called_from: calibrated probability from which on an image is called pneumonia.
        rule, source: by which it was chosen, and on which scores; None if there was no rule.
    """
    mark = "SYNTHETIC " if synthetic else ""
    table = start_table(f"{mark}Probability of pneumonia by {model}", ["image", "probability", "label"])
    for row in rows:
        # As text: a path may hold what Rich takes for markup.
        image = Text(str(row["path"]))
        if row.get("atypical"):
            image.append(f"\n  atypical: {row['atypical']}")
        table.add_row(image, f"{row['probability']:.4f}", str(row["label"]))
    reason = "no rule was fixed for this model"
    if rule is not None and source is not None:
        reason = f"rule {rule}, fixed on {SOURCES[source]}"
    table.caption = write_caption(f"called pneumonia from {called_from:.4f} on: {reason}")
    return table
