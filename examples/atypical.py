"""How often a model calls images atypical: its own kind, the same ones spoilt, and things that are no chests.

    python examples/atypical.py --model runs/train-1 --data pneumoniamnist.npz --xrays xrays/ > table.md

All images go as files through `predict`'s own way. What is spoilt are validation images. Photographs are
scikit-learn's, the CT and MR slices pydicom's (left out if it is not installed), the noise is drawn from
seed 0.
Nothing is fitted here: the cut is the model's, taken from its training images.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pneumocli.core.backend import load_backend
from pneumocli.core.data import load_dataset
from pneumocli.core.sources import list_sources

Grey = NDArray[np.uint8]

SPOILT: dict[str, Callable[[Grey], Grey]] = {
    "mirrored": lambda image: image[:, ::-1],
    "inverted": lambda image: 255 - image,
    "turned by 90 degrees": lambda image: np.rot90(image),
    "turned by 180 degrees": lambda image: np.rot90(image, 2),
}
SLICES = {"CT, a slice": "CT_small.dcm", "MR, a slice": "MR_small.dcm"}
TILE = 200  # pixels a side, of pieces of the photographs


def list_images(data: Path, every: int) -> Iterator[tuple[str, list[NDArray[np.uint8]]]]:
    """Yield what is tried by name, each with its images, grey (H, W) or colour (H, W, 3)."""
    from scipy.ndimage import gaussian_filter
    from sklearn.datasets import load_sample_images

    dataset = load_dataset(data)
    for split in ("val", "test"):
        yield f"{split} images", list(dataset.splits[split].images)
    for name, spoil in SPOILT.items():
        yield f"val images, {name}", [spoil(image) for image in dataset.val.images[::every]]
    photographs = load_sample_images().images
    yield "photographs", photographs
    greys = [np.asarray(Image.fromarray(photograph).convert("L")) for photograph in photographs]
    yield "photographs, grey", greys
    yield (
        f"pieces of the grey photographs, {TILE} px",
        [
            grey[top : top + TILE, left : left + TILE]
            for grey in greys
            for top in (0, 113, 227)
            for left in (0, 110, 220, 330, 440)
        ],
    )
    rng = np.random.default_rng(0)
    side = dataset.pixels
    yield "noise, each pixel", [rng.integers(0, 256, (side, side), np.uint8) for _ in range(20)]
    yield "noise, shrunk from 256 px", [rng.integers(0, 256, (256, 256), np.uint8) for _ in range(20)]
    smooth = [gaussian_filter(rng.standard_normal((side, side)), 3) for _ in range(20)]
    yield (
        "noise, smooth",
        [(255 * (image - image.min()) / np.ptp(image)).astype(np.uint8) for image in smooth],
    )
    yield "one grey level", [np.full((256, 256), 120, np.uint8)]
    try:
        from pydicom import dcmread
        from pydicom.data import get_testdata_file
    except ImportError:
        return
    for name, file in SLICES.items():
        levels = dcmread(get_testdata_file(file)).pixel_array.astype(np.float64)
        low, high = np.quantile(levels, (0.005, 0.995))
        yield name, [(255 * np.clip((levels - low) / (high - low), 0, 1)).astype(np.uint8)]


def save_images(images: list[NDArray[np.uint8]], folder: Path) -> list[Path]:
    folder.mkdir()
    paths = [folder / f"{number:04d}.png" for number in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(np.ascontiguousarray(image)).save(path)
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--model", type=Path, required=True, help="a run folder or a .keras file of pneumocli"
    )
    parser.add_argument("--data", type=Path, required=True, help="PneumoniaMNIST, .npz, of the model's size")
    parser.add_argument("--xrays", type=Path, help="a folder of X-ray image files")
    parser.add_argument("--every", type=int, default=8, metavar="N", help="spoil every N-th validation image")
    arguments = parser.parse_args()
    load_backend()
    from pneumocli.core.evaluation import load_predictor, load_predictor_typical
    from pneumocli.core.finding import find_predictor
    from pneumocli.core.inference import KerasScorer
    from pneumocli.core.prediction import Prediction, predict_files

    found = find_predictor(Path("runs"), arguments.model)
    (model, card), typical = load_predictor(found), load_predictor_typical(found)
    scorer = KerasScorer(model, card, typical)
    if typical is None:
        sys.exit(f"{card.name} keeps nothing of its training images; train a model with this version")
    figures = typical.figures
    print(
        f"{card.name}: {len(typical.mean)} features, {figures.images} training images, cut {figures.cut:.1f},"
    )
    print(f"{figures.false_rejects} of them above it when held out, shrinkage {figures.shrinkage:.3f}.\n")
    print("| images | number | atypical | by looks | by distance | least distance | median | largest |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        tried = [
            (name, save_images(images, Path(folder) / str(number)))
            for number, (name, images) in enumerate(list_images(arguments.data, arguments.every))
        ]
        if arguments.xrays is not None:
            tried.insert(2, ("X-ray image files", list_sources([str(arguments.xrays)])))
        for name, paths in tried:
            answers = [
                answer for answer in predict_files(scorer, card, paths) if isinstance(answer, Prediction)
            ]
            reasons = [answer.atypical for answer in answers if answer.atypical is not None]
            far = sum(reason.startswith("unlike") for reason in reasons)
            away = [answer.distance for answer in answers if answer.distance is not None]
            marks = " | ".join(f"{value:.1f}" for value in np.quantile(away, (0, 0.5, 1)))
            share = f"{len(reasons)} ({100 * len(reasons) / len(answers):.1f} %)"
            print(
                f"| {name} | {len(answers)} | {share} | {len(reasons) - far} | {far} | {marks} |", flush=True
            )


if __name__ == "__main__":
    main()
