"""How a run's out-of-fold images are called when they are disturbed, by the models that have not seen them.

    python examples/try_disturbed.py runs/cv-1 --data pneumoniamnist.npz --output disturbed.jsonl

Images that resemble those trained on say little of images from elsewhere. So each fold's model scores the
images that it was not trained on as they are, disturbed as the trials disturb them (`try_recipe.py`), by each
part of that alone, and as another hospital might have made them (`make_foreign`). Training images alone:
nothing here sees validation or test images. One line of JSON a kind of image.
"""

import argparse
import json
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from try_recipe import DISTURBANCE, make_foreign

from pneumocli.core.augment import ViewSource
from pneumocli.core.backend import load_backend
from pneumocli.core.config import choose_config
from pneumocli.core.data import Dataset, load_dataset
from pneumocli.core.errors import RunError
from pneumocli.core.inference import Rows
from pneumocli.core.runs import MODEL, Run, open_run
from pneumocli.core.scores import OUT_OF_FOLD, read_scores

FOREIGN = "foreign"
# What is done to an image, as settings of a view.
KINDS: dict[str, dict[str, Any]] = {
    "as they are": {},
    "disturbed": DISTURBANCE,
    "a part": {"crop_area": DISTURBANCE["crop_area"]},
    "turned": {"rotation": DISTURBANCE["rotation"]},
    "noise": {"noise": DISTURBANCE["noise"]},
    "other light": {name: DISTURBANCE[name] for name in ("brightness", "contrast")},
    FOREIGN: {},
}


@dataclass(frozen=True)
class DisturbedTrial:
    """How one kind of out-of-fold images is called; specificity and sensitivity are at 0.5.

    Attributes:
        run: its name.
        images: one of `KINDS`.
        folds: whose models scored the images that they have not seen.
        n: how many images.
        settled_specificity: where the threshold is the highest with a sensitivity of 0.97 on these images.
    """

    run: str
    images: str
    folds: tuple[int, ...]
    n: int
    roc_auc: float
    log_loss: float
    specificity: float
    sensitivity: float
    settled_specificity: float


def judge(
    run: str, images: str, folds: Collection[int], y_true: NDArray[np.int64], y_score: NDArray[np.float64]
) -> DisturbedTrial:
    from sklearn.metrics import log_loss

    from pneumocli.core.metrics import compute_metrics
    from pneumocli.core.operating import choose_threshold

    found = compute_metrics(y_true, y_score)
    settled = compute_metrics(y_true, y_score, choose_threshold("sensitivity:0.97", y_true, y_score))
    return DisturbedTrial(
        run=run,
        images=images,
        folds=tuple(folds),
        n=len(y_true),
        roc_auc=found.roc_auc,
        log_loss=float(log_loss(y_true, np.clip(y_score, 1e-6, 1 - 1e-6))),
        specificity=found.specificity,
        sensitivity=found.sensitivity,
        settled_specificity=settled.specificity,
    )


def score_disturbed(
    run: Run, dataset: Dataset, kinds: Collection[str], folds: Collection[int]
) -> Iterator[tuple[str, NDArray[np.int64], NDArray[np.float64]]]:
    """Yield each kind with the rows that were scored, sorted, and their probabilities.

    Raises:
        RunError: the run was not trained on all of these images, or draws its folds several times.
    """
    from pneumocli.core.artefact import load_model
    from pneumocli.core.features import compute_features
    from pneumocli.core.joining import split_classifier
    from pneumocli.core.model import enter_views
    from pneumocli.core.training import score_features

    settings = run.record.settings
    if not run.owns(dataset) or settings.subset is not None or settings.repeats > 1:
        raise RunError(f"{run.path} was not trained once on all of {dataset.name} in folds")
    images = dataset.train.images
    y_score = {kind: np.full(len(images), np.nan) for kind in kinds}
    for fold in folds:
        folder = run.path / f"fold_{fold}"
        parts, rows = split_classifier(load_model(folder / MODEL)[0]), read_scores(folder, OUT_OF_FOLD).index
        for kind in kinds:
            shown = make_foreign(images[rows]) if kind == FOREIGN else images[rows]
            source: Rows = shown[..., np.newaxis]
            trunk = parts.trunk
            if KINDS[kind]:
                drawn = choose_config(
                    "original", image_size=settings.image_size, **{**KINDS[kind], "views": 1}
                )
                source, trunk = ViewSource(shown, drawn, 0), enter_views(parts.trunk)
            maps = compute_features(trunk, source, cache=None, key={}, stage=kind)
            y_score[kind][rows] = score_features(parts, maps, np.arange(len(rows)))
    for kind, scores in y_score.items():
        scored = np.flatnonzero(~np.isnan(scores))
        yield kind, scored, scores[scored]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True, help="lines of JSON are added to it")
    parser.add_argument("--folds", type=int, nargs="+", help="whose models; all if it is not given")
    parser.add_argument("--kinds", choices=KINDS, nargs="+", default=list(KINDS))
    arguments = parser.parse_args()
    load_backend()
    run, dataset = open_run(arguments.run), load_dataset(arguments.data)
    folds = arguments.folds or list(run.record.fold_numbers)
    for kind, rows, y_score in score_disturbed(run, dataset, arguments.kinds, folds):
        trial = judge(run.name, kind, folds, dataset.train.labels[rows], y_score)
        with arguments.output.open("a") as lines:
            lines.write(json.dumps(asdict(trial)) + "\n")
        print(json.dumps(asdict(trial)), flush=True)


if __name__ == "__main__":
    main()
