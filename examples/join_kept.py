"""What several kept runs would be as one, such as those of several seeds: the mean of all their models.

    python examples/join_kept.py robust-0 robust-1 robust-2

This is nearly what `pneumocli cv --repeats` trains at once. Of each training image the scores of the models
that have not seen it are averaged; Youden's rule is fixed on these, and the test images are called by it.
"""

import argparse
from pathlib import Path

import numpy as np
from kept import SCORES, read_kept
from numpy.typing import NDArray
from results import RESULTS

from pneumocli.core.errors import RunError
from pneumocli.core.metrics import Metrics, compute_metrics
from pneumocli.core.operating import choose_threshold
from pneumocli.core.scores import OUT_OF_FOLD


def join_scores(folders: list[Path], split: str) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return y_true and the mean of the runs' scores, ordered by the images' rows.

    Raises:
        RunError: the runs are of other images.
    """
    labels, scores = [], []
    for folder in folders:
        with np.load(folder / SCORES, allow_pickle=False) as kept:
            order = np.argsort(kept[f"{split}_index"])
            labels.append(kept[f"{split}_y_true"][order].astype(np.int64))
            scores.append(kept[f"{split}_y_score"][order].astype(np.float64))
    if any(not np.array_equal(labels[0], others) for others in labels):
        raise RunError(f"the runs' {split} scores are of other images")
    return labels[0], np.mean(scores, axis=0).astype(np.float32)


def judge(folders: list[Path]) -> tuple[float, dict[str, Metrics]]:
    """Return the threshold, and the figures on out-of-fold and test images at 0.5 and at it.

    Raises:
        RunError: a run is damaged, or they are of different images.
    """
    for folder in folders:
        read_kept(folder)
    out_of_fold, test = join_scores(folders, OUT_OF_FOLD), join_scores(folders, "test")
    threshold = choose_threshold("youden", *out_of_fold)
    return threshold, {
        f"{name} at {at:.4g}": compute_metrics(*scored, at)
        for name, scored in (("out-of-fold", out_of_fold), ("test", test))
        for at in (0.5, threshold)
    }


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", help="names of kept runs")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the kept runs are")
    given = parser.parse_args(words)
    threshold, figures = judge([given.results / name for name in given.runs])
    print(f"{len(given.runs)} runs; youden on out-of-fold: {threshold:.4f}")
    print(
        "| images | AUC | accuracy | F1 | sensitivity | specificity |\n| --- | --- | --- | --- | --- | --- |"
    )
    for name, of in figures.items():
        cells = (of.roc_auc, of.accuracy, of.f1, of.sensitivity, of.specificity)
        print(f"| {name} | {' | '.join(f'{cell:.4f}' for cell in cells)} |")


if __name__ == "__main__":
    main()
