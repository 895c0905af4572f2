"""Scores and figures as files: what the commands hand to each other, split by split."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pneumocli.core.archive import read_arrays
from pneumocli.core.errors import PneumoError, RunError
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
        group: int64 (N,), images of the same number belong together, such as those of one patient; None if
            nothing is known of it.
    """

    index: NDArray[np.int64]
    y_true: NDArray[np.int64]
    y_score: NDArray[np.float32]
    group: NDArray[np.int64] | None = None

    def take(self, rows: NDArray[np.integer]) -> "Scores":
        """Return the scores at these places, in their order."""
        group = None if self.group is None else self.group[rows]
        return Scores(self.index[rows], self.y_true[rows], self.y_score[rows], group)


def write_scores(folder: Path, split: str, scores: Scores, data: str) -> None:
    """Write `scores_<split>.npz`: index, y_true, y_score, group if known, and `data`, the data set's name."""
    arrays: dict[str, NDArray[Any]] = {
        "index": scores.index,
        "y_true": scores.y_true,
        "y_score": scores.y_score,
    }
    if scores.group is not None:
        arrays["group"] = scores.group
    with replacing(folder / f"scores_{split}.npz") as partial:
        np.savez(partial, allow_pickle=False, **arrays, data=np.array(data))


def read_scores(folder: Path, split: str) -> Scores:
    """Read `scores_<split>.npz`.

    Raises:
        RunError: the file is missing or damaged.
    """
    path = folder / f"scores_{split}.npz"
    try:
        scores = Scores(**read_arrays(path, ("index", "y_true", "y_score"), optional=("group",)))
        _check_form(scores)
        return scores
    except FileNotFoundError:
        raise RunError(f"{path} is missing; the run folder has lost a part") from None
    except PneumoError:
        raise
    except Exception as error:
        raise RunError(f"{path} cannot be read ({type(error).__name__}); the run folder is damaged") from None


def _check_form(scores: Scores) -> None:
    """Raise ValueError where the arrays are not what `write_scores` writes."""
    forms = (scores.index.dtype.kind, scores.y_true.dtype.kind, scores.y_score.dtype.kind)
    n = len(scores.index)
    if scores.group is not None and (scores.group.dtype.kind, scores.group.shape) != ("i", (n,)):
        raise ValueError("groups of another type or shape")
    if forms not in {("i", "i", "f")} or {scores.index.shape, scores.y_true.shape, scores.y_score.shape} != {
        (n,)
    }:
        raise ValueError("arrays of other types or shapes")
    is_right = np.isin(scores.y_true, (0, 1)).all() and ((scores.y_score >= 0) & (scores.y_score <= 1)).all()
    if not n or not is_right:
        raise ValueError("labels or probabilities out of range")


def pool_scores(parts: Sequence[Scores], repeats: int = 1) -> Scores:
    """Return the scores of all folds as one, ordered by index; an image's is the mean over the repeats.

    The groups that images belong to are left out.

    Raises:
        RunError: an image occurs more or less often than once a repeat.
    """
    index, first, row_of, times = np.unique(
        np.concatenate([part.index for part in parts]),
        return_index=True,
        return_inverse=True,
        return_counts=True,
    )
    if (times != repeats).any():
        raise RunError(
            f"an image was held out by {times[times != repeats][0]} folds, not by {repeats}; "
            "the run folder mixes parts of several runs"
        )
    sums = np.bincount(row_of, np.concatenate([part.y_score for part in parts]).astype(np.float64))
    y_true = np.concatenate([part.y_true for part in parts])[first]
    return Scores(index, y_true, (sums / repeats).astype(np.float32))
