"""Figures as pictures. Each function draws from numbers and writes one PNG."""

import textwrap
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pneumocli import DISCLAIMER
from pneumocli.core.files import replacing
from pneumocli.core.metrics import compute_metrics, compute_roc

# Okabe and Ito's palette, told apart with any colour vision; line styles carry it in grey print.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
STYLES = ("-", "--", "-.", ":")


def plot_roc(
    path: Path,
    y_true: NDArray[np.int64],
    y_score: Mapping[str, NDArray[np.float32]],
    *,
    title: str,
    threshold: float = 0.5,
) -> None:
    """Draw the ROC curves of one or more models on one split, the threshold marked on each.

    Args:
        y_true: (N,), 0 or 1.
        y_score: (N,) by model name.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 6), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1, label="chance")
    for number, (name, scores) in enumerate(y_score.items()):
        metrics = compute_metrics(y_true, scores, threshold)
        colour = COLOURS[number % len(COLOURS)]
        style = STYLES[number % len(STYLES)]
        axes.plot(
            *compute_roc(y_true, scores),
            color=colour,
            linestyle=style,
            label=f"AUC {metrics.roc_auc:.4f}  {textwrap.shorten(name, 40, placeholder=' ...')}",
        )
        axes.plot(1 - metrics.specificity, metrics.sensitivity, "o", color=colour)
    normal, pneumonia = int((y_true == 0).sum()), int((y_true == 1).sum())
    counts = f"n = {normal} normal + {pneumonia} pneumonia"
    # Names come from users: no formulas in them, and no line wider than the picture.
    axes.set_title(f"{textwrap.fill(title, 60)}\n{counts}", fontsize=11, parse_math=False)
    axes.set_xlabel(f"1 - specificity   (dots: threshold {threshold:g})")
    axes.set_ylabel("sensitivity")
    axes.set_aspect("equal")
    axes.grid(alpha=0.3)
    for text in axes.legend(loc="lower right").get_texts():
        text.set_parse_math(False)
    figure.supxlabel(DISCLAIMER, fontsize=8, color="0.4")
    with replacing(path) as partial:
        figure.savefig(partial, dpi=150)
