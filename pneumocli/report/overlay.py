"""One image and where the model looked on it, side by side, as a PNG."""

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pneumocli import DISCLAIMER
from pneumocli.core.files import replacing

# Rises in lightness all the way, so that it is told apart with any colour vision and in grey print.
COLOURS = "viridis"
OPACITY = 0.5
SIDE = 448  # of what is drawn, in its own pixels
LONGEST_NAME = 64


def draw_overlay(
    path: Path,
    image: NDArray[np.uint8],
    evidence: NDArray[np.float32],
    seen: float = 1.0,
    *,
    name: str,
    label: str,
    probability: float,
    called_from: float,
    model: str,
    synthetic: bool = False,
) -> None:
    """Draw the image, what the network saw of it framed, beside the same image under its map.

    Colours run from 0 to the map's own largest value, which the colour bar names; a line is drawn at
    half of it.

    Args:
        image: uint8 (P, P).
        evidence: float32 (h, w), log-odds a cell, 0 or more: what spoke for `label`.
        seen: share of the image's side that the network saw, its middle, which the map is of.
        name: of the image, as the user gave it.
        label: what the model called it.
        probability: of pneumonia, 0 to 1.
        called_from: the probability from which on the model calls an image pneumonia.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    # Places are fixed: a computed layout takes longer than all the drawing.
    figure = Figure(figsize=(8.6, 5.6))
    given = figure.add_axes((0.02, 0.19, 0.41, 0.63))
    overlaid = figure.add_axes((0.45, 0.19, 0.41, 0.63))
    bar = figure.add_axes((0.875, 0.19, 0.02, 0.63))
    # Enlarged as the network does it.
    grey = Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    covered = round(SIDE * seen)
    heat = np.asarray(Image.fromarray(evidence).resize((covered, covered), Image.Resampling.BILINEAR))
    # In the pixels of the enlarged image, whose first one's middle is at 0.
    first = (SIDE - covered) / 2 - 0.5
    place = (first, first + covered, first + covered, first)
    words = f"as the network saw it ({_size(image)} pixels)"
    if seen < 1:
        words = f"the image ({_size(image)} pixels); framed: what was seen"
        for colour, style in (("black", "-"), ("white", "--")):
            given.add_patch(
                Rectangle((first, first), covered, covered, fill=False, color=colour, linestyle=style)
            )
    for axes, title in ((given, words), (overlaid, None)):
        axes.imshow(grey, cmap="gray", vmin=0, vmax=255)
        axes.set_title(title or f"where the model looked ({_size(evidence)} cells)", fontsize=10)
        axes.set_axis_off()
    largest = float(evidence.max())
    colours = overlaid.imshow(heat, cmap=COLOURS, vmin=0, vmax=largest or 1, alpha=OPACITY, extent=place)
    overlaid.set(xlim=(-0.5, SIDE - 0.5), ylim=(SIDE - 0.5, -0.5))
    scale = figure.colorbar(colours, cax=bar)
    scale.set_label(f"evidence for {label}, log-odds a cell", fontsize=9)
    if largest > 0:
        steps = first + 0.5 + np.arange(covered)
        overlaid.contour(steps, steps, heat, [largest / 2], colors="black", linewidths=2.4)
        overlaid.contour(steps, steps, heat, [largest / 2], colors="white", linewidths=1.2)
        scale.set_ticks([0, largest / 2, largest], labels=["0", f"{largest / 2:.2g}", f"{largest:.2g}"])
        bar.axhline(largest / 2, color="black", linewidth=2.4)
        bar.axhline(largest / 2, color="white", linewidth=1.2)
    else:
        scale.set_ticks([0], labels=["0"])
        overlaid.text(
            0.5,
            0.5,
            f"nothing here spoke for {label}",
            ha="center",
            color="white",
            transform=overlaid.transAxes,
        )
    mark = "SYNTHETIC: " if synthetic else ""
    lines = {
        0.94: (f"{mark}called {label}, probability of pneumonia {probability:.4f}", 13, "bold"),
        0.89: (f"{shorten_name(name)}   (called pneumonia from {called_from:.4f} on)", 10, "normal"),
        0.125: (
            f"Grad-CAM: where the model looked for what speaks for {label}, not where disease is.",
            10,
            "normal",
        ),
        0.08: (f"model: {shorten_name(model)}", 9, "normal"),
        0.035: (DISCLAIMER, 10, "bold"),
    }
    for height, (words, size, weight) in lines.items():
        # Names come from users: no formulas in them.
        figure.text(0.02, height, words, fontsize=size, weight=weight, parse_math=False)
    with replacing(path) as partial, warnings.catch_warnings():
        # A letter that the font lacks becomes a box, which needs no further words.
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
        figure.savefig(partial, dpi=120)


def shorten_name(name: str) -> str:
    """Return a name as one line of letters that can be drawn; of a long one the middle is left out."""
    line = "".join(letter if letter.isprintable() else "?" for letter in name)
    kept = LONGEST_NAME // 2 - 2
    return line if len(line) <= LONGEST_NAME else f"{line[:kept]} ... {line[-kept:]}"


def _size(pixels: NDArray[np.uint8] | NDArray[np.float32]) -> str:
    return f"{pixels.shape[1]} x {pixels.shape[0]}"
