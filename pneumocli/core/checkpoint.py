"""Where the training of a model stands after its last finished epoch, on disk, so that it can go on exactly.

One file a model, replaced at the end of every epoch and removed when the model is whole: an .npz archive
with the weights, the optimizer's variables, the weights of the best epoch so far, and the rest as JSON.
All that an epoch draws (order, view, dropout) derives from (seed, fold, phase, epoch), so nothing of that
is kept. A damaged archive is found by its checksums.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pneumocli.core.archive import check_arrays
from pneumocli.core.errors import PneumoError
from pneumocli.core.files import replacing
from pneumocli.core.reading import open_file
from pneumocli.core.records import RunRecord, describe_versions

FORM = 1  # to be raised whenever the file or what it means changes
Arrays = list[NDArray[Any]]


class CheckpointError(PneumoError):
    """A checkpoint is damaged, or of other work than that which is to go on."""


@dataclass(frozen=True)
class Best:
    """What early stopping knows.

    Attributes:
        loss: the lowest validation loss of the phase so far.
        epoch: that had it, counted from 0; -1 if it is still the end of the phase before.
        waited: epochs since then.
        weights: of that epoch.
    """

    loss: float
    epoch: int
    waited: int
    weights: Arrays


@dataclass(frozen=True)
class Standing:
    """Where training stands between two epochs.

    Attributes:
        phase: "head" or "tune".
        epochs: how many of the phase are finished.
        is_over: whether the phase is: all its epochs, or its patience.
        history: entries of the phases before, as they stay, and of this one.
        weights: of the model that the phase fits.
        optimizer: its variables, with those of the loss scale in float16.
        best: None without early stopping.
    """

    phase: str
    epochs: int
    is_over: bool
    history: list[dict[str, Any]]
    weights: Arrays
    optimizer: Arrays
    best: Best | None


@dataclass(frozen=True)
class Checkpoint:
    """The file of one model's standing.

    Attributes:
        path: where it lies, whether it is there or not.
        key: plain values of all that the standing depends on: one of another key is not gone on with.
    """

    path: Path
    key: Mapping[str, Any]

    def write(self, standing: Standing) -> None:
        """Replace the file by another standing, whole or not at all."""
        best = standing.best
        arrays = {"weights": standing.weights, "optimizer": standing.optimizer}
        facts = asdict(standing, dict_factory=_leave_out_arrays) | {"form": FORM, "key": self.key}
        # Often the last epoch is the best one: its weights are there already.
        if best is not None and best.epoch != standing.epochs - 1:
            arrays["best"] = best.weights
        named: dict[str, Any] = {
            f"{name}_{number}": array for name, part in arrays.items() for number, array in enumerate(part)
        }
        with replacing(self.path) as partial:
            np.savez(partial, facts=np.array(json.dumps(facts)), **named)

    def read(self) -> Standing | None:
        """Return the standing, or None if there is no file.

        Raises:
            CheckpointError: it is damaged, or was made with another key.
        """
        try:
            with open_file(self.path) as file:
                check_arrays(file)
                with np.load(file, allow_pickle=False) as kept:
                    # Not `parse_json`: a loss may be infinite.
                    facts = json.loads(str(kept["facts"]))
                    found = {"form": facts.pop("form"), **facts.pop("key")}
                    arrays = {name: _read_arrays(kept, name) for name in ("weights", "optimizer", "best")}
            standing = _join(facts, arrays)
        except FileNotFoundError:
            return None
        except Exception as error:  # numpy and zipfile promise no list of what a damaged file can raise
            raise CheckpointError(f"{self.path} is damaged ({type(error).__name__})") from None
        differences = _list_differences(found, {"form": FORM, **self.key})
        if differences:
            raise CheckpointError(f"{self.path} was made with other work: {', '.join(differences)}")
        return standing

    def remove(self) -> None:
        """Remove the file if it is there."""
        self.path.unlink(missing_ok=True)


def describe_work(record: RunRecord, fold: int) -> dict[str, Any]:
    """Return a checkpoint's key: the run's record and the fold, with the versions of this moment.

    The system's own version is not in it: the same libraries go on after its update.
    """
    versions = describe_versions()
    del versions["system"]
    kept = record.model_dump(mode="json", exclude={"schema_version", "created", "versions"})
    return {**kept, "versions": versions, "fold": fold}


def _leave_out_arrays(items: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: value for name, value in items if name not in ("weights", "optimizer")}


def _join(facts: dict[str, Any], arrays: Mapping[str, Arrays]) -> Standing:
    best = facts.pop("best")
    last_is_best = best is not None and best["epoch"] == facts["epochs"] - 1
    best_weights = arrays["weights"] if last_is_best else arrays["best"]
    return Standing(
        **facts,
        weights=arrays["weights"],
        optimizer=arrays["optimizer"],
        best=None if best is None else Best(**best, weights=best_weights),
    )


def _read_arrays(kept: Any, name: str) -> Arrays:
    count = sum(entry.startswith(f"{name}_") for entry in kept.files)
    return [kept[f"{name}_{number}"] for number in range(count)]


def _list_differences(found: Mapping[str, Any], asked: Mapping[str, Any], above: str = "") -> list[str]:
    lines = []
    for name in sorted({*found, *asked}):
        one, other = found.get(name), asked.get(name)
        if isinstance(one, dict) and isinstance(other, dict):
            lines += _list_differences(one, other, f"{name} ")
        elif one != other:
            lines.append(f"{above}{name} {str(one)[:12]}, now {str(other)[:12]}")
    return lines
