"""The worst errors and the least certain images as a picture."""

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pneumocli.core.calibration import apply_temperature
from pneumocli.core.cases import find_errors, find_least_certain, find_worst_errors
from pneumocli.core.data import CLASS_NAMES, Split
from pneumocli.core.errors import RunError
from pneumocli.core.metrics import call_labels
from pneumocli.core.scores import Scores
from pneumocli.report.style import COLOURS, DPI, count_classes, save_figure, start_figure, write_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

COLUMNS = 4
IMAGE_INCHES = 1.55
HEADING_CHARACTERS = 90
FRAMES = "thick frame: called wrong; broken: normal called pneumonia"


def plot_gallery(
    path: Path,
    split: Split,
    scores: Scores,
    threshold: float,
    temperature: float,
    *,
    title: str,
    images: str,
) -> str:
    """Draw up to 8 of the worst errors, and up to 8 of the images that the model is least certain of.

    Each image is enlarged without smoothing; above it stand its index in the split, its true label, what
    it is called and its calibrated probability of pneumonia. Wrong calls have a thick frame, broken for
    normal images called pneumonia.

    Args:
        title: of which run or model.
        images: which images they are, in words.
        split: the images that were scored.
        scores: uncalibrated; their `index` is the row of `split`.
        threshold: on their scale.
        temperature: of the run.

    Returns:
        One sentence that says what the picture shows.

    Raises:
        RunError: the scores are not of these images.
    """
    if scores.index.max() >= len(split) or (split.labels[scores.index] != scores.y_true).any():
        raise RunError(f"{path.parent}: the scores are not of these images; score the run on them anew")
    worst = find_worst_errors(scores.y_true, scores.y_score, threshold, temperature)
    nearest = find_least_certain(scores.y_score, threshold, temperature)
    errors = find_errors(scores.y_true, scores.y_score, threshold)
    missed = int((scores.y_true[errors] == 1).sum())
    probability = apply_temperature(scores.y_score, temperature)
    called_from = float(apply_temperature(threshold, temperature))
    kinds = f"{missed} missed pneumonia and {len(errors) - missed} normal called pneumonia"
    groups = {
        f"Worst errors: {len(worst)} of {len(errors)} ({kinds}), the farthest from {called_from:.4f} "
        "first": worst,
        f"Least certain: the {len(nearest)} nearest to {called_from:.4f}, from which on images are called "
        "pneumonia": nearest,
    }
    figure = start_figure(7.5, 10.8)
    for part, (name, places) in zip(
        figure.subfigures(2, 1, squeeze=False).ravel(), groups.items(), strict=True
    ):
        part.suptitle(textwrap.fill(name, HEADING_CHARACTERS), fontsize=9.5)
        _draw_images(part, split, scores, places, probability, threshold)
    write_title(figure, f"Cases: {title}, {images}", count_classes(scores.y_true), FRAMES)
    save_figure(figure, path)
    farthest = f", the farthest with a probability of {probability[worst[0]]:.4f}" if len(worst) else ""
    return (
        f"Images of {len(worst)} of {len(errors)} errors ({kinds}), {title}, {images}{farthest}, and of the "
        f"{len(nearest)} least certain ones, whose probabilities go from {probability[nearest].min():.4f} to "
        f"{probability[nearest].max():.4f} around the threshold {called_from:.4f}."
    )


def _draw_images(
    part: "SubFigure",
    split: Split,
    scores: Scores,
    places: NDArray[np.int64],
    probability: NDArray[np.float64],
    threshold: float,
) -> None:
    # Enlarged without smoothing; an image of more pixels than the picture has room for must be averaged.
    interpolation = "nearest" if split.pixels <= IMAGE_INCHES * DPI else "antialiased"
    called = call_labels(scores.y_score, threshold)
    panels = part.subplots(2, COLUMNS).ravel()
    for axes in panels[len(places) :]:
        axes.set_visible(False)
    if not len(places):
        part.text(0.5, 0.5, "none", ha="center", fontsize=11)
    for axes, place in zip(panels, places, strict=False):
        axes.imshow(
            split.images[scores.index[place]], cmap="gray", vmin=0, vmax=255, interpolation=interpolation
        )
        axes.set_xticks([])
        axes.set_yticks([])
        truth = int(scores.y_true[place])
        axes.set_title(
            f"image {scores.index[place]}: {CLASS_NAMES[truth]}\n"
            f"called {CLASS_NAMES[called[place]]}\nprobability {probability[place]:.4f}",
            fontsize=8,
        )
        _frame(axes, truth, int(called[place]))


def _frame(axes: "Axes", truth: int, called: int) -> None:
    right = truth == called
    for spine in axes.spines.values():
        spine.set_color("0.5" if right else COLOURS[1])
        spine.set_linewidth(0.8 if right else 3)
        spine.set_linestyle("-" if truth or right else (0, (2.5, 2.5)))
