"""Try how much of an image's middle is best scored, by the images that a run's folds have held out.

    python examples/try_crop.py runs/cv-1 --data pneumoniamnist.npz --output crops.jsonl 1 0.96 0.93 0.9

Views, which a model of the recipe `robust` is trained on, show a part of the image, enlarged; the image as a
whole shows everything smaller. Each fold's model scores the images that it was not trained on, as they are
and as another hospital might have made them (`make_foreign`, but none is shrunk, which an enlarged middle
would only undo). Training images alone: nothing here sees validation or test images. One line of JSON a share
and kind of image.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from try_recipe import make_foreign

from pneumocli.core.augment import View, render_views
from pneumocli.core.backend import load_backend
from pneumocli.core.data import Dataset, load_dataset
from pneumocli.core.errors import RunError
from pneumocli.core.runs import MODEL, Run, open_run
from pneumocli.core.scores import OUT_OF_FOLD, read_scores


@dataclass(frozen=True)
class CropTrial:
    """How a run's out-of-fold images are called when the middle of each is scored.

    Attributes:
        images: "as they are" or "in other light".
        center_crop: share of the side that was scored.
        n: how many: all normal ones, and as many with pneumonia, drawn from seed 0.
        threshold: that of Youden's rule, the mean over 100 draws of as many images.
    """

    run: str
    images: str
    center_crop: float
    n: int
    roc_auc: float
    log_loss: float
    specificity: float
    sensitivity: float
    threshold: float


def draw_rows(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows of all normal images and of as many with pneumonia, sorted."""
    normal, pneumonia = np.flatnonzero(labels == 0), np.flatnonzero(labels == 1)
    drawn = np.random.default_rng(0).permutation(pneumonia)[: len(normal)]
    return np.sort(np.concatenate([normal, drawn]))


def show_middle(images: NDArray[np.uint8], share: float, size: int) -> NDArray[np.float32]:
    """Return the middle of images (N, P, P), that share of the side, as the network is fed it."""
    pixels = images.shape[1]
    length, start = share * pixels, (1 - share) / 2 * pixels
    view = View(start, start, length, length, flip=False, brightness=0.0, contrast=1.0)
    return render_views(images, [view] * len(images), size)


def judge(
    run: str, images: str, share: float, y_true: NDArray[np.int64], y_score: NDArray[np.float64]
) -> CropTrial:
    from sklearn.metrics import log_loss

    from pneumocli.core.metrics import compute_metrics
    from pneumocli.core.operating import choose_threshold

    rng = np.random.default_rng(0)
    draws = (rng.integers(0, len(y_true), len(y_true)) for _ in range(100))
    found = compute_metrics(y_true, y_score)
    return CropTrial(
        run=run,
        images=images,
        center_crop=share,
        n=len(y_true),
        roc_auc=found.roc_auc,
        log_loss=float(log_loss(y_true, np.clip(y_score, 1e-6, 1 - 1e-6))),
        specificity=found.specificity,
        sensitivity=found.sensitivity,
        threshold=float(np.mean([choose_threshold("youden", y_true[rows], y_score[rows]) for rows in draws])),
    )


def try_crops(run: Run, dataset: Dataset, shares: Sequence[float]) -> Iterator[CropTrial]:
    from pneumocli.core.artefact import load_model
    from pneumocli.core.features import compute_features
    from pneumocli.core.joining import split_classifier
    from pneumocli.core.model import enter_views
    from pneumocli.core.training import score_features

    if not run.owns(dataset) or run.record.settings.subset is not None:
        raise RunError(
            f"{run.path} was not trained on all of {dataset.name}, so that its folds are not known"
        )
    rows = draw_rows(dataset.train.labels)
    plain = dataset.train.images[rows]
    kinds = {"as they are": plain, "in other light": make_foreign(plain, smallest=1.0)}
    y_score = {(kind, share): np.zeros(len(rows)) for kind in kinds for share in shares}
    for folder in run.member_paths():
        parts = split_classifier(load_model(folder / MODEL)[0])
        trunk = enter_views(parts.trunk)
        held_out = np.flatnonzero(np.isin(rows, read_scores(folder, OUT_OF_FOLD).index))
        for kind, share in y_score:
            shown = show_middle(kinds[kind][held_out], share, trunk.input_shape[1])
            maps = compute_features(trunk, shown, cache=None, key={}, stage=f"{kind}, {share:g}")
            y_score[kind, share][held_out] += score_features(parts, maps, np.arange(len(held_out)))
    for (kind, share), summed in y_score.items():
        # Where the folds were drawn several times, the mean, as the run's own out-of-fold scores are.
        yield judge(run.name, kind, share, dataset.train.labels[rows], summed / run.record.settings.repeats)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("shares", nargs="+", type=float, help="of the side, above 0 and at most 1")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True, help="lines of JSON are added to it")
    arguments = parser.parse_args()
    load_backend()
    run, dataset = open_run(arguments.run), load_dataset(arguments.data)
    for trial in try_crops(run, dataset, arguments.shares):
        with arguments.output.open("a") as lines:
            lines.write(json.dumps(asdict(trial)) + "\n")
        print(json.dumps(asdict(trial)))


if __name__ == "__main__":
    main()
