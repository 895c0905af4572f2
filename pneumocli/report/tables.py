"""Results as Rich tables that keep every number and word at 80 columns."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text, TextType

from pneumocli.core.audit import Audit
from pneumocli.core.examination import Examination
from pneumocli.core.rule import is_threshold
from pneumocli.core.session import DISTANCE, IMAGE, MEANINGS, Contract
from pneumocli.core.wording import show_plain
from pneumocli.report.paths import PathCell

SOURCES = {"out_of_fold": "out-of-fold images", "val": "validation images without a copy in train"}


class _TitledTable(Table):
    """A table whose title and caption are as wide as the screen: Rich breaks them at the table's width."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        title, caption = self.title, self.caption
        if title:
            yield _style(title, "table.title")
        self.title = self.caption = None
        try:
            yield from super().__rich_console__(console, options)
        finally:
            self.title, self.caption = title, caption
        if caption:
            yield _style(caption, "table.caption")
            yield Text("")  # the next table begins below


def _style(words: TextType, style: str) -> Text:
    text = words.copy() if isinstance(words, Text) else Text(words)
    text.style = style
    return text


def start_table(title: str, columns: Sequence[str]) -> Table:
    """Return an empty table; the first column takes what users named, the others numbers and words."""
    table = _TitledTable(
        title=Text(show_plain(title)),
        box=box.SIMPLE_HEAD,
        title_justify="left",
        caption_justify="left",
        pad_edge=False,
    )
    for position, column in enumerate(columns):
        # Numbers and words stay whole; what a user named breaks into lines rather than being cut.
        justify: Literal["left", "right"] = "left" if position == 0 else "right"
        table.add_column(column, justify=justify, no_wrap=position > 0, overflow="fold")
    return table


def write_caption(line: str) -> Text:
    """Return the words below a table, of which nothing is taken for markup."""
    return Text(show_plain(line), style="table.caption")


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
    main = _start_facts("this machine")
    for name, value in found.versions.items():
        main.add_row(name, Text(value))
    main.add_section()
    main.add_row("processor", Text(f"{found.processor}, {found.cores} cores"))
    main.add_row("native bfloat16", "yes" if found.native_bfloat16 else "no")
    main.add_row("trains in", f"{found.precision} (--precision auto)")
    main.add_row("devices", Text(", ".join(found.devices)))
    main.add_row("data", Text(show_plain(found.data or "none yet: pneumocli fetch")))
    main.add_row("weights", Text(show_plain(found.weights or "none yet: pneumocli fetch")))
    main.add_row("cache", Text(f"{found.cache} ({found.free_bytes / 1e9:.0f} GB free)"))
    total = sum(bank.bytes for bank in found.features)
    kept = start_table(f"kept features: {total / 1e9:.2f} GB", ["content", "GB", "last used"])
    for bank in found.features:
        used = datetime.fromtimestamp(bank.used).strftime("%Y-%m-%d %H:%M")
        kept.add_row(Text(show_plain(bank.content)), f"{bank.bytes / 1e9:.2f}", used)
    return [main, kept]


def tabulate_export(contract: Contract, file: Path) -> Table:
    """Return the table of an ONNX file and of how far its answers are from the model's."""
    card, checked = contract.card, contract.checked
    mark = "SYNTHETIC " if card.data.synthetic else ""
    table = _start_facts(f"{mark}{card.name} as ONNX")
    table.add_row("file", Text(f"{show_plain(str(file))} ({file.stat().st_size / 1e6:.0f} MB)"))
    table.add_row("takes", Text(f"{IMAGE}: {card.pixels} x {card.pixels} grey pixels, uint8, as they are"))
    names = [name for name in MEANINGS if name != IMAGE and (name != DISTANCE or card.atypical is not None)]
    table.add_row("gives", Text(", ".join(names)))
    if checked is not None:
        table.add_row("compared on", Text(f"{checked.images} {checked.data}"))
        table.add_row("largest difference", f"{checked.largest_difference:.1e} of a probability")
        if checked.largest_distance_difference is not None:
            table.add_row("", f"{checked.largest_distance_difference:.1e} of a distance, as a share of it")
    return table


def _start_facts(title: str) -> Table:
    """Return an empty table of names and what belongs to them, in words that may break into lines."""
    table = start_table(title, ["", ""])
    table.show_header = False
    table.columns[1].justify, table.columns[1].overflow, table.columns[1].no_wrap = "left", "fold", False
    return table


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
    rows = list(rows)
    has_members = any(len(_members(row)) > 1 for row in rows)
    columns = ["image", "probability", *(["spread"] if has_members else []), "label"]
    table = start_table(f"{mark}Probability of pneumonia by {model}", columns)
    for row in rows:
        spread = [f"{row['spread']:.4f}"] if has_members else []
        label = f"? {row['label']}" if row.get("uncertain") else str(row["label"])
        remarks = (f"atypical: {row['atypical']}",) if row.get("atypical") else ()
        image = PathCell(show_plain(str(row["path"])), remarks)
        table.add_row(image, f"{row['probability']:.4f}", *spread, label)
    reason = "no rule was fixed for this model"
    if rule is not None and source is not None:
        reason = f"given as {rule}" if is_threshold(rule) else f"rule {rule}, fixed on {SOURCES[source]}"
    caption = f"called pneumonia from {called_from:.4f} on: {reason}"
    if has_members:
        caption += "; spread: largest less smallest of its members' probabilities"
    if any(row.get("uncertain") for row in rows):
        caption += "; ?: its members alone would not all call it so"
    table.caption = write_caption(caption)
    return table


def _members(row: Mapping[str, object]) -> list[object]:
    members = row.get("members")
    return members if isinstance(members, list) else []
