"""MedMNIST-standard result files: what MedMNIST's own evaluator reads, without depending on it.

    pneumoniamnist_test_[AUC]0.990_[ACC]0.946@cv-1.csv        pneumoniamnist_64_val_... at 64 px
    0,0.9871546                                                row of the split, probability of pneumonia
    1,0.03914189

No header, the size in the name unless it is 28 px, both figures to three digits: `Evaluator.evaluate`,
`get_standard_evaluation_filename` and `parse_and_evaluate` of MedMNIST 3 (medmnist/evaluator.py in
github.com/MedMNIST/MedMNIST). That reader takes the labels from its own copy of the official file, so
its figures are these only for images in the official order.
"""

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pneumocli.core.files import replacing
from pneumocli.core.official import SOURCES

# A file's name has at most 255 bytes nearly everywhere; what stands around the run's takes up to 70.
LONGEST_NAME = 180


def compute_accuracy(y_true: NDArray[np.int64], y_score: NDArray[np.float32]) -> float:
    """Return the format's ACC: pneumonia where the score is above 0.5, so that exactly 0.5 is normal.

    `metrics.compute_metrics` calls a score at the threshold pneumonia, and can differ by such scores.

    Args:
        y_true: (N,), 0 = normal, 1 = pneumonia.
        y_score: (N,), probability of pneumonia.
    """
    return float(np.mean((y_score > 0.5) == (y_true == 1)))


def name_result(run: str, pixels: int, split: str, auc: float, accuracy: float) -> str:
    """Return the file's name.

    Args:
        run: what comes after the @; what is not a letter, digit, - or _ becomes a -, since the reader
            takes the name from the last @ up to the next dot.
        pixels: side of the images: 28, 64, 128 or 224.
        split: "train", "val" or "test".
    """
    flag = Path(SOURCES[pixels].name).stem
    name = re.sub(r"[^\w-]", "-", run).encode()[:LONGEST_NAME].decode(errors="ignore")
    return f"{flag}_{split}_[AUC]{auc:.3f}_[ACC]{accuracy:.3f}@{name}.csv"


def write_result(
    folder: Path, run: str, pixels: int, split: str, y_true: NDArray[np.int64], y_score: NDArray[np.float32]
) -> Path:
    """Write a split's scores as a standard result file; another one of the same split is replaced.

    The scores have as many digits as tell them from each other, so that figures computed from the
    file are those computed from the scores.

    Args:
        y_true: int64 (N,), every image of the split in its order.
        y_score: float32 (N,), probability of pneumonia.
    """
    from sklearn.metrics import roc_auc_score

    auc = float(roc_auc_score(y_true, y_score))
    path = folder / name_result(run, pixels, split, auc, compute_accuracy(y_true, y_score))
    with replacing(path) as partial:
        # str: an f-string would spell out the digits that a float32 has as a float64.
        lines = (f"{row},{score!s}\n" for row, score in enumerate(y_score))
        partial.write_text("".join(lines), encoding="utf-8", newline="\n")
    for other in list_results(folder, split):
        if other != path:
            other.unlink()
    return path


def list_results(folder: Path, split: str) -> list[Path]:
    """Return the standard result files of a split, whatever their size, figures and name."""
    sizes = "|".join(Path(source.name).stem for source in SOURCES.values())
    form = re.compile(rf"({sizes})_{split}_\[AUC\]\d\.\d{{3}}_\[ACC\]\d\.\d{{3}}@.+\.csv")
    return sorted(path for path in folder.iterdir() if form.fullmatch(path.name))
