"""How a training went, epoch by epoch: `history.json` as numbers."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pneumocli.core.errors import RunError
from pneumocli.core.reading import read_json
from pneumocli.core.runs import HISTORY

LEARNT = ("loss", "auc", "val_loss", "val_auc")


@dataclass(frozen=True)
class History:
    """One model's epochs, (E,) each, in their order.

    Attributes:
        phase: "head" or "tune".
        epoch: int64, from 1 in each phase; 0 is the start of phase "tune", which competes with its epochs
            where there is early stopping.
        place: float64, the epoch counted through both phases; epoch 0 of "tune" stands half way between
            them.
        loss, auc: float64, on the images trained on; NaN where they are not known.
        val_loss, val_auc: float64, on the validation images.
        kept: where in these arrays the epoch is whose weights the model has.
    """

    phase: tuple[str, ...]
    epoch: NDArray[np.int64]
    place: NDArray[np.float64]
    loss: NDArray[np.float64]
    auc: NDArray[np.float64]
    val_loss: NDArray[np.float64]
    val_auc: NDArray[np.float64]
    kept: int

    @property
    def head_epochs(self) -> int:
        return sum(phase == "head" for phase in self.phase)


def read_history(folder: Path) -> History:
    """Read a model's `history.json`.

    Raises:
        RunError: the file is missing or damaged.
    """
    path = folder / HISTORY
    try:
        entries = read_json(path)["epochs"]
        phase = tuple(str(entry["phase"]) for entry in entries)
        epoch = np.array([entry["epoch"] for entry in entries], np.int64)
        values = {
            # What is not a number is kept as null, which becomes NaN again.
            name: np.array([entry.get(name) for entry in entries], np.float64)
            for name in LEARNT
        }
        kept = [place for place, entry in enumerate(entries) if entry["kept"]][-1]
    except FileNotFoundError:
        raise RunError(f"{path} is missing; the run folder has lost a part") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise RunError(f"{path} cannot be read ({type(error).__name__}); the run folder is damaged") from None
    before = np.where(np.array(phase) == "tune", phase.count("head"), 0)
    place = np.where(epoch == 0, 0.5, epoch) + before
    return History(phase, epoch, place, **values, kept=kept)
