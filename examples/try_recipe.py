"""Try settings, and judge them without the test images: by images unlike those trained on.

    python examples/try_recipe.py --data pneumoniamnist.npz --weights weights.h5 --output trials.jsonl \
        --name "crop 0.25" image_size=112 views=8 crop_area=0.25

Images held out at random are nearly always called right, so they cannot tell good settings from better
ones. Here at least a third of each class is held out that differs from the rest, in one of two ways:

- unlike: clusters of 4 x 4 averages of the pixels, those farthest from their class's mean first.
- misleading: those that a logistic regression on the same averages, which has not seen them, takes most
  for the other class. Of the images trained on such averages nearly tell the classes apart; of these not.

The held-out images are scored as they are, and disturbed: cropped, turned, with other brightness and
contrast, and with noise; and made foreign in ways that no setting trains on: smaller in the frame, with
another gamma, lit unevenly, blurred. One model a trial, one line of JSON.
"""

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pneumocli.core.augment import View, ViewSource, render_views
from pneumocli.core.backend import load_backend
from pneumocli.core.cache import Cache
from pneumocli.core.config import TrainConfig, choose_config
from pneumocli.core.data import Dataset, Split, load_dataset
from pneumocli.core.groups import group_images
from pneumocli.core.hardware import choose_precision

CLUSTERS = 8  # a class
HELD_OUT = 1 / 3
DISTURBANCE: dict[str, Any] = {
    "views": 1, "crop_area": 0.6, "brightness": 0.2, "contrast": 0.4, "rotation": 10.0, "noise": 0.05,
}  # fmt: skip


# Of `make_foreign`: what no view is drawn with.
SMALLEST, GAMMA, RAMP, BLUR = 0.7, 2.0, 0.25, 0.8


@dataclass(frozen=True)
class Trial:
    """How settings did; AUCs of one model, and at 0.5 the shares of normal and pneumonia called right.

    Attributes:
        held_out: "unlike" or "misleading".
        plain, disturbed, foreign: held-out images as they are; disturbed, as views are but for their
            strength; made foreign.
        threshold: of Youden's rule on the validation images of `val`; at it `ruled_specificity` and
            `ruled_sensitivity` of the held-out images made foreign.
        flipped, zoomed: the mean with their mirror images; the middle 70 % of their area.
        val: the validation images without a copy in train, which resemble those trained on.
        train: what was trained on, augmented, in the last epoch; of the network without its probe.
        seconds: of the training, features included.
    """

    name: str
    settings: dict[str, Any]
    held_out: str
    plain: float
    plain_specificity: float
    plain_sensitivity: float
    disturbed: float
    disturbed_specificity: float
    disturbed_sensitivity: float
    foreign: float
    foreign_specificity: float
    foreign_sensitivity: float
    threshold: float
    ruled_specificity: float
    ruled_sensitivity: float
    flipped: float
    zoomed: float
    val: float
    train: float
    seconds: float


def average_blocks(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the averages of 4 x 4 pixels of images (N, P, P), (N, (P // 4)**2)."""
    count = images.shape[1] // 4
    blocks = images[:, : 4 * count, : 4 * count].reshape(len(images), count, 4, count, 4)
    return blocks.mean(axis=(2, 4)).reshape(len(images), -1)


def hold_out_unlike(split: Split) -> NDArray[np.int64]:
    """Return the rows of at least a third of each class, whole clusters, those farthest from its mean."""
    from sklearn.cluster import KMeans

    looks = average_blocks(split.images)
    held_out: list[int] = []
    for label in (0, 1):
        rows = np.flatnonzero(split.labels == label)
        number = min(CLUSTERS, len(rows) // 3)
        clusters = KMeans(number, n_init=10, random_state=0).fit(looks[rows])
        away = np.linalg.norm(clusters.cluster_centers_ - looks[rows].mean(axis=0), axis=1)
        taken: list[int] = []
        for cluster in np.argsort(-away):
            if len(taken) >= HELD_OUT * len(rows):
                break
            taken += rows[clusters.labels_ == cluster].tolist()
        held_out += taken
    return np.sort(np.array(held_out))


def hold_out_misleading(split: Split) -> NDArray[np.int64]:
    """Return the rows of the third of each class whose coarse looks most resemble the other class."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=3000))
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    looks, labels = average_blocks(split.images), split.labels
    logits = cross_val_predict(model, looks, labels, cv=folds, method="decision_function")
    held_out: list[int] = []
    for label, towards_truth in ((0, -logits), (1, logits)):
        rows = np.flatnonzero(labels == label)
        held_out += rows[np.argsort(towards_truth[rows])][: round(HELD_OUT * len(rows))].tolist()
    return np.sort(np.array(held_out))


HOLD_OUT = {"unlike": hold_out_unlike, "misleading": hold_out_misleading}


def make_foreign(images: NDArray[np.uint8], smallest: float = SMALLEST) -> NDArray[np.uint8]:
    """Return images uint8 (N, P, P) as another hospital might have made them, drawn from seed 0.

    Each is shrunk to a share of its frame from `smallest` to 1, the border being the edge gone on, given a
    gamma of 1/2 to 2, light that rises or falls by up to 25 % of white along a random direction, and a blur
    of up to 0.8 pixels.
    """
    from scipy.ndimage import affine_transform, gaussian_filter

    rng = np.random.default_rng(0)
    middle = (images.shape[1] - 1) / 2
    down, across = np.mgrid[-1 : 1 : images.shape[1] * 1j, -1 : 1 : images.shape[1] * 1j]
    made = []
    for image in images:
        scale, turn = 1 / rng.uniform(smallest, 1), rng.uniform(0, 2 * np.pi)
        shrunk = affine_transform(
            image / 255, np.eye(2) * scale, middle * (1 - scale), order=1, mode="nearest"
        )
        lit = shrunk**GAMMA ** rng.uniform(-1, 1)
        lit = lit + rng.uniform(0, RAMP) / 2 * (down * np.sin(turn) + across * np.cos(turn))
        made.append(gaussian_filter(lit, rng.uniform(0, BLUR), mode="nearest"))
    return np.rint(255 * np.clip(made, 0, 1)).astype(np.uint8)


def try_settings(
    name: str,
    config: TrainConfig,
    dataset: Dataset,
    weights: Path | None,
    cache: Cache,
    seed: int,
    kind: str,
) -> Trial:
    from sklearn.metrics import roc_auc_score

    from pneumocli.core.backend import has_gpu
    from pneumocli.core.features import compute_features
    from pneumocli.core.material import prepare_material
    from pneumocli.core.metrics import Metrics, compute_metrics
    from pneumocli.core.model import enter_views
    from pneumocli.core.operating import choose_threshold
    from pneumocli.core.training import score_features, train_classifier

    started = time.perf_counter()
    held_out = HOLD_OUT[kind](dataset.train)
    groups = group_images(dataset.train)
    rows = np.flatnonzero(~np.isin(groups, groups[held_out]))  # nor is a copy of what is held out trained on
    precision = choose_precision(config.precision, has_gpu())
    material = prepare_material(dataset, config, weights, cache=cache, precision=precision)
    trained = train_classifier(material, rows, fold=seed)
    seconds = time.perf_counter() - started
    labels = dataset.train.labels[held_out]
    parts = trained.parts

    def score(images: NDArray[np.uint8], **settings: Any) -> NDArray[np.float32]:
        shown = choose_config("original", image_size=config.image_size, **settings)
        source, trunk = ViewSource(images, shown, 0), enter_views(parts.trunk)
        maps = compute_features(trunk, source, cache=None, key={}, stage="held out")
        return score_features(parts, maps, np.arange(len(images)))

    def zoom(images: NDArray[np.uint8], share: float) -> NDArray[np.float32]:
        side = images.shape[1]
        length, start = share**0.5 * side, (1 - share**0.5) / 2 * side
        view = View(start, start, length, length, flip=False, brightness=0.0, contrast=1.0)
        drawn = render_views(images, [view] * len(images), config.image_size)
        maps = compute_features(enter_views(parts.trunk), drawn, cache=None, key={}, stage="zoomed")
        return score_features(parts, maps, np.arange(len(images)))

    def judge(y_score: NDArray[np.float32]) -> Metrics:
        return compute_metrics(labels, y_score)

    images = dataset.train.images[held_out]
    y_plain = score(images, views=1)
    plain, disturbed = judge(y_plain), judge(score(images, **DISTURBANCE))
    y_foreign = score(make_foreign(images), views=1)
    foreign = judge(y_foreign)
    flipped = judge((y_plain + score(np.ascontiguousarray(images[:, :, ::-1]), views=1)) / 2)
    y_val = score_features(parts, material.val.maps, material.stopping_rows)
    val_labels = material.val_labels[material.stopping_rows]
    threshold = choose_threshold("youden", val_labels, y_val)
    ruled = compute_metrics(labels, y_foreign, threshold)
    return Trial(
        name=name,
        settings=config.model_dump(mode="json", exclude_defaults=True),
        held_out=kind,
        plain=plain.roc_auc,
        plain_specificity=plain.specificity,
        plain_sensitivity=plain.sensitivity,
        disturbed=disturbed.roc_auc,
        disturbed_specificity=disturbed.specificity,
        disturbed_sensitivity=disturbed.sensitivity,
        foreign=foreign.roc_auc,
        foreign_specificity=foreign.specificity,
        foreign_sensitivity=foreign.sensitivity,
        threshold=threshold,
        ruled_specificity=ruled.specificity,
        ruled_sensitivity=ruled.sensitivity,
        flipped=flipped.roc_auc,
        zoomed=judge(zoom(images, 0.7)).roc_auc,
        val=float(roc_auc_score(val_labels, y_val)),
        train=trained.history[-1]["auc"],
        seconds=seconds,
    )


def read_value(word: str) -> Any:
    try:
        return json.loads(word)
    except ValueError:
        return word


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "settings", nargs="*", metavar="NAME=VALUE", help="settings that differ from the recipe"
    )
    parser.add_argument("--recipe", default="original")
    parser.add_argument("--name", required=True, help="what is tried, in words")
    parser.add_argument("--held-out", choices=HOLD_OUT, default="unlike", help="how those judged by differ")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, help="none: random ones")
    parser.add_argument("--cache", type=Path, required=True, help="where the frozen layers' outputs are kept")
    parser.add_argument("--seed", type=int, default=0, help="draws the head and the order of the images")
    parser.add_argument("--output", type=Path, required=True, help="a line of JSON is added to it")
    arguments = parser.parse_args()
    changes = {
        name: read_value(value) for name, _, value in (word.partition("=") for word in arguments.settings)
    }
    # Held-out images are scored whole: what of them is best scored is asked by `try_crop.py`.
    config = choose_config(arguments.recipe, **{**changes, "center_crop": 1.0})
    load_backend()
    dataset, cache = load_dataset(arguments.data), Cache(arguments.cache, 40 * 10**9)
    trial = try_settings(
        arguments.name, config, dataset, arguments.weights, cache, arguments.seed, arguments.held_out
    )
    with arguments.output.open("a") as lines:
        lines.write(json.dumps(asdict(trial)) + "\n")
    print(json.dumps(asdict(trial)))


if __name__ == "__main__":
    main()
