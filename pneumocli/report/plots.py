"""Figures as pictures. Each function draws from numbers and writes one PNG."""

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pneumocli import DISCLAIMER
from pneumocli.core.calibration import apply_temperature, bin_scores, measure_reliability
from pneumocli.core.files import replacing
from pneumocli.core.metrics import compute_metrics, compute_roc

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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
    rule: str | None = None,
) -> None:
    """Draw the ROC curves of one or more models on one split, the threshold marked on each.

    Args:
        y_true: (N,), 0 or 1.
        y_score: (N,) by model name.
        rule: by which the threshold was chosen.
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
    _set_title(axes, title, y_true)
    chosen = "" if rule is None else f", rule {rule}"
    axes.set_xlabel(f"1 - specificity   (dots: threshold {threshold:.4g}{chosen})")
    axes.set_ylabel("sensitivity")
    axes.set_aspect("equal")
    axes.grid(alpha=0.3)
    for text in axes.legend(loc="lower right").get_texts():
        text.set_parse_math(False)
    _write(figure, path)


def plot_reliability(
    path: Path,
    y_true: NDArray[np.int64],
    y_score: NDArray[np.float32],
    temperature: float,
    *,
    title: str,
) -> None:
    """Draw the share of pneumonia against the mean score, bin by bin, before and after calibration.

    Below it stands how many images are in each bin.

    Args:
        y_true: (N,), 0 or 1.
        y_score: (N,), uncalibrated.
        temperature: of the run.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 8), layout="constrained")
    axes, counts = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1, label="calibrated")
    after = apply_temperature(y_score, temperature)
    drawn: dict[str, NDArray[np.floating]] = {"before": y_score, "after": after}
    for number, ((name, scores), marker) in enumerate(zip(drawn.items(), "os", strict=True)):
        found, bins = measure_reliability(y_true, scores), bin_scores(y_true, scores)
        filled = [part for part in bins if part.n]
        look = {"color": COLOURS[number], "linestyle": STYLES[number]}
        axes.plot(
            [part.mean_score for part in filled],
            [part.share for part in filled],
            marker=marker,
            markersize=5,
            label=f"{name}  ECE {found.ece:.4f}, Brier {found.brier:.4f}",
            **look,
        )
        edges = [part.low for part in bins] + [bins[-1].high]
        counts.stairs([part.n for part in bins], edges, linewidth=1.5, label=name, **look)
    _set_title(axes, title, y_true)
    axes.set_ylabel("share of pneumonia")
    axes.legend()
    counts.set_xlabel(f"probability of pneumonia   (after: temperature {temperature:.3f})")
    counts.set_ylabel("images in the bin")
    # A bin may hold most of the images, and a few in another still show.
    counts.set_yscale("symlog", linthresh=1)
    counts.yaxis.set_major_formatter("{x:.0f}")
    counts.set_ylim(bottom=0)
    for panel in (axes, counts):
        panel.grid(alpha=0.3)
    _write(figure, path)


def _set_title(axes: "Axes", title: str, y_true: NDArray[np.int64]) -> None:
    normal, pneumonia = int((y_true == 0).sum()), int((y_true == 1).sum())
    counts = f"n = {normal} normal + {pneumonia} pneumonia"
    # Names come from users: no formulas in them, and no line wider than the picture.
    axes.set_title(f"{textwrap.fill(title, 60)}\n{counts}", fontsize=11, parse_math=False)


def _write(figure: "Figure", path: Path) -> None:
    figure.supxlabel(DISCLAIMER, fontsize=8, color="0.4")
    with replacing(path) as partial:
        figure.savefig(partial, dpi=150)
