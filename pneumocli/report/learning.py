"""Learning curves as a picture."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pneumocli.core.history import History
from pneumocli.report.style import COLOURS, save_figure, shorten_name, start_figure, write_legend, write_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_PANELS = 10
PANELS_A_ROW = 5
MEASURES = (("loss", "loss"), ("auc", "AUC-ROC"))


def plot_learning(
    path: Path,
    histories: Mapping[str, History],
    *,
    title: str,
    images: str,
    early_stopping: bool,
    trained_on: str = "trained on",
) -> str:
    """Draw loss and AUC of the images trained on and of the validation images, epoch by epoch.

    Each model has a pair of panels, or with more than ten of them a line in one pair. Both phases are on
    one axis, parted by an upright line; the epoch that was kept is marked.

    Args:
        histories: by model name.
        images: how many images of which kind, in words.
        early_stopping: whether the validation loss chose the epoch that was kept.
        trained_on: what the images trained on are called; they may be harder than they are.

    Returns:
        One sentence that says what the picture shows.
    """
    together = len(histories) > MOST_PANELS
    columns = 1 if together else min(len(histories), PANELS_A_ROW)
    bands = 1 if together else -(-len(histories) // PANELS_A_ROW)
    figure = start_figure(max(6.5, 2.5 * columns), 2.2 + 4.2 * bands)
    panels = figure.subplots(2 * bands, columns, squeeze=False, sharex=True)
    for number, (name, history) in enumerate(histories.items()):
        band, column = (0, 0) if together else divmod(number, PANELS_A_ROW)
        for row, (measure, _) in enumerate(MEASURES):
            axes = panels[2 * band + row, column]
            _draw(axes, history, measure, trained_on, faint=together)
        if len(histories) > 1:
            head = f"all {len(histories)} models" if together else shorten_name(name)
            panels[2 * band, column].set_title(head, fontsize=10, parse_math=False)
    for row in range(2):
        _share_scale([axes for axes in panels[row::2].ravel() if axes.lines])
    for place, axes in np.ndenumerate(panels):
        axes.set_visible(bool(axes.lines))
        if place[1] == 0:
            axes.set_ylabel(MEASURES[place[0] % 2][1])
        else:
            axes.tick_params(labelleft=False)
        axes.tick_params(labelbottom=place[0] % 2 == 1)
        if place[0] % 2:
            axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
    stopping = (
        "early stopping on the validation loss"
        if early_stopping
        else "no early stopping: all epochs run, the last is kept"
    )
    write_title(figure, f"Learning curves: {title}", images, stopping)
    write_legend(figure, [panels[0, 0]], columns=2)
    save_figure(figure, path)
    told = "; ".join(
        f"{name} keeps epoch {history.epoch[history.kept]} of phase {history.phase[history.kept]} with a "
        f"validation loss of {history.val_loss[history.kept]:.4f} and a validation AUC of "
        f"{history.val_auc[history.kept]:.4f}"
        for name, history in histories.items()
    )
    return f"Learning curves, {title}, {images}, {stopping}: {told}."


def _draw(axes: "Axes", history: History, measure: str, trained_on: str, faint: bool) -> None:
    looks = {
        f"val_{measure}": ("validation", COLOURS[1], "--", "s"),
        measure: (trained_on, COLOURS[0], "-", "o"),
    }
    tune = np.array(history.phase) == "tune"
    for name, (label, colour, style, marker) in looks.items():
        values = getattr(history, name)
        for rows in (~tune, tune):
            axes.plot(
                history.place[rows],
                values[rows],
                color=colour,
                linestyle=style,
                marker=marker,
                markersize=3,
                alpha=0.4 if faint else 1,
                label=label,
            )
    axes.plot(
        history.place[history.kept],
        getattr(history, f"val_{measure}")[history.kept],
        "D",
        color="none",
        markeredgecolor="black",
        markersize=9,
        linestyle="none",
        label="epoch kept",
    )
    if tune.any():
        axes.axvline(
            history.head_epochs + 0.5,
            color="0.4",
            linewidth=1,
            linestyle=":",
            label="left: head alone; right: last layers too",
        )


def _share_scale(panels: list["Axes"]) -> None:
    low = min(axes.get_ylim()[0] for axes in panels)
    high = max(axes.get_ylim()[1] for axes in panels)
    for axes in panels:
        axes.set_ylim(low, high)
