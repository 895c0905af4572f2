"""ROC and precision-recall curves as pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pneumocli.core.clusters import count_smaller_class
from pneumocli.core.curves import MeanRoc, average_roc, compute_precision_recall
from pneumocli.core.metrics import Metrics, compute_metrics, compute_roc
from pneumocli.core.scores import Scores
from pneumocli.core.uncertainty import Estimate, bound_auc
from pneumocli.report.style import (
    COLOURS,
    MARKERS,
    STYLES,
    count_classes,
    save_figure,
    shorten_name,
    start_figure,
    write_legend,
    write_title,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ENLARGED_FROM = 0.9
INSET = (0.4, 0.07, 0.57, 0.53)
# The line of chance is hidden below the words around the inset. No curve with so large an area comes there.
COVERED = ((0.31, 1.01), (0.005, 0.66))


@dataclass(frozen=True)
class _Band:
    curve: MeanRoc
    folds: int
    auc: float
    sd: float


def plot_roc(
    path: Path,
    models: Mapping[str, Scores],
    *,
    title: str,
    images: str,
    threshold: float = 0.5,
    rule: str | None = None,
    folds: Sequence[Scores] = (),
) -> str:
    """Draw the ROC curves of some models, the threshold marked on each, and how the folds' curves vary.

    The AUC has the 95 % interval of `bound_auc` beside it. The folds' curves are shown by their vertical mean
    and a band of one standard deviation (n - 1) to both sides.

    Args:
        title: of which run or model.
        images: which images they are, in words.
        models: by name, the one that the run stands for first.
        rule: by which the threshold was chosen.
        folds: the folds' own scores; with fewer than two there is no band.

    Returns:
        One sentence that says what the picture shows.
    """
    figure = start_figure(6, 7.8)
    axes = figure.add_subplot()
    found = {
        name: compute_metrics(scores.y_true, scores.y_score, threshold) for name, scores in models.items()
    }
    aucs = {name: f"AUC {found[name].roc_auc:.4f}{_bound(scores)}" for name, scores in models.items()}
    band = _average(folds)
    _draw_roc(axes, models, found, aucs, band)
    main, scores = next(iter(models.items()))
    if found[main].roc_auc > ENLARGED_FROM:
        # The curves lie close together in the corner, and the rest of the square is empty.
        inset = axes.inset_axes(INSET, transform=axes.transData, xlim=(-0.005, 0.3), ylim=(0.7, 1.005))
        axes.fill_between(COVERED[0], *COVERED[1], color="white", linewidth=0, zorder=2.2)
        _draw_roc(inset, models, found, aucs, band)
        inset.set_title("the corner, enlarged", fontsize=8)
        inset.tick_params(labelsize=8)
        inset.grid(alpha=0.3)
        axes.indicate_inset((-0.005, 0.7, 0.305, 0.305), edgecolor="0.4")
    sentences = [
        f"{name} {aucs[name]}, sensitivity {metrics.sensitivity:.4f}, specificity {metrics.specificity:.4f}"
        for name, metrics in found.items()
    ]
    if band is not None:
        sentences.append(f"the mean of the {band.folds} folds' curves AUC {band.auc:.4f} (SD {band.sd:.4f})")
    write_title(figure, f"ROC: {title}, {images}", count_classes(scores.y_true))
    axes.set_xlabel(f"1 - specificity   (markers: {_name_threshold(threshold, rule)})")
    axes.set_ylabel("sensitivity")
    axes.set_aspect("equal")
    axes.grid(alpha=0.3)
    write_legend(figure, [axes])
    save_figure(figure, path)
    return (
        f"ROC curves, {title}, {images}, {count_classes(scores.y_true)}, at the "
        f"{_name_threshold(threshold, rule)}: {'; '.join(sentences)}."
    )


def plot_precision_recall(
    path: Path,
    models: Mapping[str, Scores],
    *,
    title: str,
    images: str,
    threshold: float = 0.5,
    rule: str | None = None,
    average_precision: Mapping[str, Estimate] | None = None,
) -> str:
    """Draw the precision-recall curves of some models, the threshold marked on each.

    Args:
        title: of which run or model.
        images: which images they are, in words.
        models: by name, the one that the run stands for first.
        rule: by which the threshold was chosen.
        average_precision: with its 95 % interval, by model, where it was estimated.

    Returns:
        One sentence that says what the picture shows.
    """
    figure = start_figure(6, 7.4)
    axes = figure.add_subplot()
    main = next(iter(models.values()))
    share = float(np.mean(main.y_true))
    axes.axhline(share, color="0.6", linewidth=1, label=f"chance: {share:.4f}, the share of pneumonia")
    sentences = []
    for number, (name, scores) in enumerate(models.items()):
        curve = compute_precision_recall(scores.y_true, scores.y_score)
        metrics = compute_metrics(scores.y_true, scores.y_score, threshold)
        shown = f"AP {curve.average_precision:.4f}"
        found = (average_precision or {}).get(name)
        if found is not None and found.low is not None:
            shown += f" (95 %: {found.low:.4f} to {found.high:.4f})"
        look: dict[str, Any] = {
            "color": COLOURS[number % len(COLOURS)],
            "linestyle": STYLES[number % len(STYLES)],
        }
        axes.plot(
            curve.recall,
            curve.precision,
            drawstyle="steps-pre",
            marker=MARKERS[number % len(MARKERS)],
            markevery=[],
            label=f"{shown}  {shorten_name(name)}",
            **look,
        )
        called = metrics.tp + metrics.fp
        if called:
            axes.plot(
                metrics.sensitivity,
                metrics.tp / called,
                MARKERS[number % len(MARKERS)],
                color=look["color"],
                markeredgecolor="black",
            )
        precision = f"precision {metrics.tp / called:.4f}" if called else "nothing called pneumonia"
        sentences.append(
            f"{name} average precision{shown[2:]}, {precision}, recall {metrics.sensitivity:.4f}"
        )
    write_title(figure, f"Precision-recall: {title}, {images}", count_classes(main.y_true))
    axes.set_xlabel(f"recall, sensitivity   (markers: {_name_threshold(threshold, rule)})")
    axes.set_ylabel("precision, PPV")
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(-0.03, 1.03)
    axes.grid(alpha=0.3)
    write_legend(figure, [axes])
    save_figure(figure, path)
    return (
        f"Precision-recall curves, {title}, {images}, {count_classes(main.y_true)}, at the "
        f"{_name_threshold(threshold, rule)}: {'; '.join(sentences)}; chance is {share:.4f}."
    )


def _draw_roc(
    axes: "Axes",
    models: Mapping[str, Scores],
    found: Mapping[str, Metrics],
    aucs: Mapping[str, str],
    band: _Band | None,
) -> None:
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1, label="chance")
    if band is not None:
        x, colour = band.curve.false_positive_rate, COLOURS[2]
        axes.fill_between(
            x,
            band.curve.low,
            band.curve.high,
            color=colour,
            alpha=0.25,
            linewidth=0,
            label="band: mean ± 1 SD of the folds' curves",
        )
        mean = f"AUC {band.auc:.4f} ± {band.sd:.4f}  mean of {band.folds} folds"
        axes.plot(x, band.curve.mean, color=colour, linestyle=":", linewidth=2, label=mean)
    for number, (name, scores) in enumerate(models.items()):
        marker = MARKERS[number % len(MARKERS)]
        look: dict[str, Any] = {"color": COLOURS[number % len(COLOURS)], "marker": marker}
        axes.plot(
            *compute_roc(scores.y_true, scores.y_score),
            linestyle=STYLES[number % len(STYLES)],
            markevery=[],  # at the threshold alone, but named in the legend
            label=f"{aucs[name]}  {shorten_name(name)}",
            **look,
        )
        metrics = found[name]
        axes.plot(1 - metrics.specificity, metrics.sensitivity, markeredgecolor="black", **look)


def _average(folds: Sequence[Scores]) -> _Band | None:
    if len(folds) < 2:
        return None
    curve = average_roc([(fold.y_true, fold.y_score) for fold in folds])
    aucs = [compute_metrics(fold.y_true, fold.y_score).roc_auc for fold in folds]
    return _Band(curve, len(folds), float(np.mean(aucs)), float(np.std(aucs, ddof=1)))


def _bound(scores: Scores) -> str:
    """The AUC's interval in words; nothing where the images have no variance, as a single one of a class."""
    if count_smaller_class(scores.y_true, scores.group) < 2:
        return ""
    found = bound_auc(scores.y_true, scores.y_score, scores.group)
    if not found.says_something:
        return ""
    return f" (95 %: {found.low:.4f} to {found.high:.4f})"


def _name_threshold(threshold: float, rule: str | None) -> str:
    return f"threshold {threshold:.4f}" + ("" if rule is None else f", rule {rule}")
