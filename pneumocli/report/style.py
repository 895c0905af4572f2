"""What all pictures have in common: colours, line styles, title, legend, and how they are written."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pneumocli import DISCLAIMER
from pneumocli.core.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, told apart with any colour vision; line styles and markers carry it in grey print.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
STYLES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D")
DPI = 150
NAME_CHARACTERS = 40
TITLE_CHARACTERS_AN_INCH = 11.5
FOOT_INCHES = 0.25
LEGEND_LINE_INCHES = 0.2


def start_figure(width: float, height: float) -> "Figure":
    """Return an empty figure of so many inches with the disclaimer at its foot."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    foot = FOOT_INCHES / height
    figure.text(0.5, foot / 2, DISCLAIMER, fontsize=8, color="0.35", ha="center", va="center")
    _lay_out(figure, FOOT_INCHES)
    return figure


def shorten_name(name: str) -> str:
    """Return a name that fits in a legend; what a user named may be of any length."""
    return name if len(name) <= NAME_CHARACTERS else f"{name[: NAME_CHARACTERS - 4]} ..."


def count_classes(y_true: NDArray[np.int64]) -> str:
    """Return how many images there are of each class, in words."""
    return f"n = {int((y_true == 0).sum())} normal + {int((y_true == 1).sum())} pneumonia"


def write_title(figure: "Figure", *lines: str) -> None:
    """Write a title that breaks into lines rather than being wider than the picture."""
    width = int(figure.get_figwidth() * TITLE_CHARACTERS_AN_INCH)
    # Names come from users: no formulas in them.
    title = "\n".join(textwrap.fill(line, width) for line in lines)
    figure.suptitle(title, fontsize=10, parse_math=False)


def write_legend(figure: "Figure", axes: Sequence["Axes"], columns: int = 1) -> None:
    """Write one legend below all axes, where it hides no line."""
    shown: dict[str, Any] = {}
    for each in axes:
        lines, labels = each.get_legend_handles_labels()
        shown |= zip(labels, lines, strict=True)
    legend = figure.legend(
        list(shown.values()),
        list(shown),
        loc="lower center",
        bbox_to_anchor=(0.5, FOOT_INCHES / figure.get_figheight()),
        ncols=columns,
        fontsize=9,
    )
    _lay_out(figure, FOOT_INCHES + LEGEND_LINE_INCHES * (-(-len(shown) // columns) + 0.5))
    for text in legend.get_texts():
        text.set_parse_math(False)


def _lay_out(figure: "Figure", foot_inches: float) -> None:
    """Let the axes make room for each other above a foot that stays free."""
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    foot = foot_inches / figure.get_figheight()
    figure.set_layout_engine(ConstrainedLayoutEngine(rect=(0, foot, 1, 1 - foot)))


def save_figure(figure: "Figure", path: Path) -> None:
    """Write a PNG, whole or not at all."""
    with replacing(path) as partial:
        figure.savefig(partial, dpi=DPI)
