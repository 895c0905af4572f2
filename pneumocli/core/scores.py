"""Scores and figures as files: what the commands hand to each other, split by split."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pneumocli.core.errors import RunError
from pneumocli.core.files import replacing

OUT_OF_FOLD: Final = "out_of_fold"
STOPPING: Final = "stopping"  # the validation images without a copy in train


@dataclass(frozen=True)
class Scores:
    """Scores of one split.

    Attributes:
        index: int64 (N,), row of the split.
        y_true: int64 (N,), 0 = normal, 1 = pneumonia.
        y_score: float32 (N,), probability of pneumonia.
    """

    index: NDArray[np.int64]
    y_true: NDArray[np.int64]
    y_score: NDArray[np.float32]

    def take(self, rows: NDArray[np.integer]) -> "Scores":
        """Return the scores at these places, in their order."""
        return Scores(self.index[rows], self.y_true[rows], self.y_score[rows])


def write_scores(folder: Path, split: str, scores: Scores, data: str) -> None:
    """Write `scores_<split>.npz`: index, y_true, y_score, and `data`, the name of the data set."""
    with replacing(folder / f"scores_{split}.npz") as partial:
        np.savez(
            partial,
            index=scores.index,
            y_true=scores.y_true,
            y_score=scores.y_score,
            data=np.array(data),
        )


def read_scores(folder: Path, split: str) -> Scores:
    """Read `scores_<split>.npz`.

    Raises:
        RunError: the file is missing or damaged.
    """
    path = folder / f"scores_{split}.npz"
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            return Scores(kept["index"], kept["y_true"], kept["y_score"])
    except FileNotFoundError:
        raise RunError(f"{path} is missing; the run folder has lost a part") from None
    except Exception as error:  # numpy and zipfile promise no list of what a damaged file can raise
        raise RunError(f"{path} cannot be read ({type(error).__name__}); the run folder is damaged") from None


def pool_scores(parts: Sequence[Scores]) -> Scores:
    """Return the scores of all folds as one, ordered by index.

    Raises:
        RunError: an image occurs in two folds.
    """
    index = np.concatenate([part.index for part in parts])
    order = np.argsort(index, kind="stable")
    pooled = Scores(
        index[order],
        np.concatenate([part.y_true for part in parts])[order],
        np.concatenate([part.y_score for part in parts])[order],
    )
    if len(np.unique(index)) != len(index):
        raise RunError("an image was held out by two folds; the run folder mixes parts of several runs")
    return pooled
