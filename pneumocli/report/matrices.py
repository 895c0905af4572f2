"""Confusion matrices as pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pneumocli.core.data import CLASS_NAMES
from pneumocli.core.metrics import Metrics
from pneumocli.report.style import save_figure, start_figure, write_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_confusion(
    path: Path, found: Sequence[Metrics], *, title: str, images: str, rule: str | None = None
) -> str:
    """Draw one model's confusion matrix at each of some thresholds; a cell's shade is its share of the row.

    Args:
        title: of which run or model.
        images: which images they are, in words.
        found: of the same images, at one threshold each; the last is that of the rule.
        rule: by which the last threshold was chosen.

    Returns:
        One sentence that says what the picture shows.
    """
    figure = start_figure(1.2 + 3.9 * max(len(found), 1.4), 4.9)
    panels = figure.subplots(1, len(found), squeeze=False)[0]
    sentences = []
    for axes, metrics in zip(panels, found, strict=True):
        name = f"threshold {metrics.threshold:.4f}"
        if metrics is found[-1] and rule is not None:
            name += f", rule {rule}"
        _draw_matrix(axes, metrics)
        axes.set_title(name, fontsize=10, parse_math=False)
        sentences.append(
            f"at {name} {metrics.tn} normal images are called normal and {metrics.fp} pneumonia, "
            f"{metrics.tp} with pneumonia are called pneumonia and {metrics.fn} normal"
        )
    panels[0].set_ylabel("truth")
    counts = f"n = {found[0].tn + found[0].fp} normal + {found[0].fn + found[0].tp} pneumonia"
    write_title(figure, f"Confusion matrix: {title}, {images}", counts)
    save_figure(figure, path)
    return f"Confusion matrix, {title}, {images}, {counts}: {'; '.join(sentences)}."


def _draw_matrix(axes: "Axes", metrics: Metrics) -> None:
    counts = np.array([[metrics.tn, metrics.fp], [metrics.fn, metrics.tp]])
    shares = counts / counts.sum(axis=1, keepdims=True)
    # Never so dark that black words on it could not be read.
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1.8)
    letters = (("TN", "FP"), ("FN", "TP"))
    for row in range(2):
        for column in range(2):
            axes.text(
                column,
                row,
                f"{letters[row][column]}\n{counts[row, column]}\n{100 * shares[row, column]:.1f} %",
                ha="center",
                va="center",
                fontsize=13,
            )
    axes.set_xticks([0, 1], CLASS_NAMES)
    axes.set_yticks([0, 1], CLASS_NAMES, rotation=90, va="center")
    axes.set_xlabel("called")
    # A line between the cells, which in grey may be of one shade.
    for between in (axes.axhline, axes.axvline):
        between(0.5, color="black", linewidth=0.8)
