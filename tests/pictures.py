"""Small drawn image files."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from pneumocli.core.data import CLASS_NAMES, Split


def draw_files(folder: Path, names: Iterable[str], pixels: int = 28, seed: int = 0) -> None:
    """Write a picture of its own under each name."""
    rng = np.random.default_rng(seed)
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (pixels, pixels), np.uint8)).save(path)


def name_files(counts: tuple[int, int], under: str = "") -> list[str]:
    """Return names of so many normal and pneumonia images, in class folders."""
    return [
        f"{under}{label}/{number:03d}.png"
        for label, count in zip(CLASS_NAMES, counts, strict=True)
        for number in range(count)
    ]


def write_split(folder: Path, split: Split) -> list[str]:
    """Write a split's images as PNG files into class folders; return their names in its order."""
    names = []
    for row, (image, label) in enumerate(zip(split.images, split.labels, strict=True)):
        names.append(f"{CLASS_NAMES[label]}/{row:04d}.png")
        (folder / names[-1]).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / names[-1])
    return names


def sort_by_class(split: Split) -> Split:
    """Return a split in the order of its files' names, as `write_split` gives them."""
    return split.take(np.argsort(split.labels, kind="stable"))
