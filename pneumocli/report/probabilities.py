"""Probabilities as pictures: whether they hold what they say, and how the classes lie on them."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pneumocli.core.calibration import apply_temperature, bin_scores, measure_reliability
from pneumocli.core.curves import count_scores
from pneumocli.core.data import CLASS_NAMES
from pneumocli.core.metrics import call_labels
from pneumocli.core.scores import Scores
from pneumocli.report.style import (
    COLOURS,
    MARKERS,
    STYLES,
    count_classes,
    save_figure,
    start_figure,
    write_legend,
    write_title,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_reliability(path: Path, scores: Scores, temperature: float, *, title: str, images: str) -> str:
    """Draw the share of pneumonia against the mean score, bin by bin, before and after calibration.

    Below it stands how many images are in each bin.

    Args:
        title: of which run or model.
        images: which images they are, in words.
        scores: uncalibrated.
        temperature: of the run.

    Returns:
        One sentence that says what the picture shows.
    """
    figure = start_figure(6, 8.8)
    axes, counts = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1, label="as said: share equal to probability")
    drawn: dict[str, NDArray[np.floating]] = {
        "before": scores.y_score,
        "after": apply_temperature(scores.y_score, temperature),
    }
    sentences = []
    for number, (name, values) in enumerate(drawn.items()):
        found, bins = measure_reliability(scores.y_true, values), bin_scores(scores.y_true, values)
        filled = [part for part in bins if part.n]
        look = {"color": COLOURS[number], "linestyle": STYLES[number]}
        told = f"ECE {found.ece:.4f}, Brier score {found.brier:.4f}"
        axes.plot(
            [part.mean_score for part in filled],
            [part.share for part in filled],
            marker=MARKERS[number],
            markersize=5,
            label=f"{name} calibration: {told}",
            **look,
        )
        edges = [part.low for part in bins] + [bins[-1].high]
        counts.stairs([part.n for part in bins], edges, linewidth=1.5, **look)
        sentences.append(f"{name} calibration {told}")
    write_title(figure, f"Reliability: {title}, {images}", count_classes(scores.y_true))
    axes.set_ylabel("share of pneumonia")
    counts.set_xlabel(f"probability of pneumonia   (after: temperature {temperature:.3f})")
    counts.set_ylabel("images in the bin")
    _scale_counts(counts)
    for panel in (axes, counts):
        panel.grid(alpha=0.3)
    write_legend(figure, [axes])
    save_figure(figure, path)
    return (
        f"Reliability in 15 bins, {title}, {images}, {count_classes(scores.y_true)}: {', '.join(sentences)}, "
        f"with the temperature {temperature:.3f}; lower is better."
    )


def plot_histogram(
    path: Path,
    scores: Scores,
    threshold: float,
    temperature: float,
    *,
    title: str,
    images: str,
    rule: str | None = None,
) -> str:
    """Draw how many images of each class have which calibrated probability, and the threshold.

    Images that are called the other class are drawn darker and hatched.

    Args:
        title: of which run or model.
        images: which images they are, in words.
        scores: uncalibrated.
        threshold: on their scale.
        temperature: of the run.
        rule: by which the threshold was chosen.

    Returns:
        One sentence that says what the picture shows.
    """
    probability = apply_temperature(scores.y_score, temperature)
    called_from = float(apply_temperature(threshold, temperature))
    counts = count_scores(scores.y_true, probability, call_labels(scores.y_score, threshold))
    figure = start_figure(6, 7.2)
    panels = figure.subplots(2, 1, sharex=True)
    sentences = []
    for label, (axes, name) in enumerate(zip(panels, CLASS_NAMES, strict=True)):
        n, wrong = int(counts.counts[label].sum()), int(counts.wrong[label].sum())
        colour = COLOURS[label]
        axes.stairs(
            counts.counts[label],
            counts.edges,
            fill=True,
            facecolor=colour,
            alpha=0.45,
            label=f"{name}: {n - wrong} called {name}",
        )
        axes.stairs(counts.counts[label], counts.edges, color=colour, linewidth=1)
        axes.stairs(
            counts.wrong[label],
            counts.edges,
            fill=True,
            facecolor=colour,
            edgecolor="black",
            hatch="////",
            label=f"{name}: {wrong} called {CLASS_NAMES[1 - label]}",
        )
        axes.axvline(called_from, color="black", linestyle="--", linewidth=1.2)
        axes.set_ylabel(f"{name} images")
        axes.grid(alpha=0.3)
        axes.set_axisbelow(True)
        _scale_counts(axes)
        sentences.append(f"{wrong} of {n} {name} images are called {CLASS_NAMES[1 - label]}")
    chosen = "" if rule is None else f", rule {rule}"
    panels[1].set_xlim(0, 1)
    panels[1].set_xlabel(
        f"calibrated probability of pneumonia\n(line: called pneumonia from {called_from:.4f} on{chosen})",
        parse_math=False,
    )
    write_title(figure, f"Probabilities by class: {title}, {images}", count_classes(scores.y_true))
    write_legend(figure, list(panels), columns=2)
    save_figure(figure, path)
    medians = ", ".join(
        f"{np.median(probability[scores.y_true == label]):.4f} of {name}"
        for label, name in enumerate(CLASS_NAMES)
    )
    return (
        f"Histograms of the calibrated probability of pneumonia by class, {title}, {images}, "
        f"{count_classes(scores.y_true)}: its median is {medians} images, and with the threshold "
        f"{called_from:.4f} {' and '.join(sentences)}."
    )


def _scale_counts(axes: "Axes") -> None:
    # A bin may hold most of the images, and a few in another still show.
    axes.set_yscale("symlog", linthresh=1)
    axes.yaxis.set_major_formatter("{x:.0f}")
    axes.set_ylim(0, 1.7 * axes.get_ylim()[1])
