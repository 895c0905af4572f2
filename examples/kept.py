"""What is kept of a run, so that its figures can be computed again without its models.

    NAME/config.json  decision.json  metrics_out_of_fold.json  metrics_val.json  metrics_test.json
         scores.npz   about.json

`scores.npz` has, for out_of_fold, val and test: `SPLIT_index`, `SPLIT_y_true` and `SPLIT_y_score`, which is
the ensemble's score, or out of fold that of the one model that was not trained on the image. The folds are
`SPLIT_member_scores`, one row a fold; out of fold `out_of_fold_fold` says whose score it is, from 1. Where
the folds were drawn several times, that has a row a time, `out_of_fold_repeat_scores` has the scores of each
time, and `out_of_fold_y_score` is their mean.
"""

import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
from checking import DECISION, Model, check_decision, check_figures
from numpy.typing import NDArray

from pneumocli import DISCLAIMER
from pneumocli.core.config import DEFAULT_RECIPE, choose_config
from pneumocli.core.data import join_digests
from pneumocli.core.errors import RunError
from pneumocli.core.figures import ENSEMBLE_NAME, POOLED_NAME, name_fold
from pneumocli.core.files import filling, write_json
from pneumocli.core.records import RunRecord
from pneumocli.core.runs import CONFIG, Run, open_run
from pneumocli.core.scores import OUT_OF_FOLD, pool_scores, read_scores

ABOUT, SCORES = "about.json", "scores.npz"
REPEAT_SCORES = f"{OUT_OF_FOLD}_repeat_scores"
KEPT_SPLITS = (OUT_OF_FOLD, "val", "test")


@dataclass(frozen=True)
class KeptRun:
    """One folder, read and checked.

    Attributes:
        command: by which it is trained now, without its seed; made from the settings, since it names those
            that differ from the recipe, and a recipe can change.
        about: how the run came about (see `describe`).
        test: what `metrics_test.json` holds.
    """

    name: str
    command: str
    about: dict[str, Any]
    test: dict[str, Any]


def keep_run(
    path: Path,
    folder: Path,
    seconds: float | None,
    processor: str,
    cores: int,
    picked: str = "fixed",
) -> Path:
    """Copy what is needed to check a cross-validation's figures into a new folder.

    Args:
        path: a run folder, scored on val and test.
        seconds: how long its training took; None where that was not measured.
        processor, cores: of the machine that trained it.
        picked: by what its settings were, as `results.PICKED` has it.

    Raises:
        RunError: it is no cross-validation of real images, not complete, or not scored on val and test;
            the folder is there already; or its figures are not those of its scores.
    """
    run = open_run(path)
    if run.record.kind != "cv" or run.synthetic:
        raise RunError(f"{path} is not a cross-validation of real images; only these are kept")
    if folder.exists():
        raise RunError(f"{folder} is there already; remove it, or give another name with --as")
    with filling(folder) as partial:
        for name in (CONFIG, DECISION, *(f"metrics_{split}.json" for split in KEPT_SPLITS)):
            if name != DECISION or (path / name).exists():
                write_json(partial / name, drop_directories(_read_json(path / name)))
        np.savez_compressed(partial / SCORES, **_gather_scores(run))
        about = {**describe(run.record, seconds, processor, cores), "picked": picked}
        write_json(partial / ABOUT, drop_directories(about))
        try:
            read_kept(partial)
        except RunError as error:
            raise RunError(str(error).replace(str(partial), str(path))) from None
    return folder


def describe(record: RunRecord, seconds: float | None, processor: str, cores: int) -> dict[str, Any]:
    """Return what `about.json` holds: where and how long the run was trained, and on what."""
    return {
        "schema_version": 1,
        "recipe": record.settings.recipe,
        "seed": record.settings.seed,
        "seconds": seconds,
        "processor": processor,
        "cores": cores,
        "precision": record.precision.value,
        "versions": record.versions,
        "weights": record.weights.model_dump(mode="json"),
        # As the run has it: an earlier version left out what this one says of the data.
        "data": record.data.model_dump(mode="json", exclude_unset=True),
        "disclaimer": DISCLAIMER,
    }


def name_command(record: RunRecord) -> str:
    """Return the command that trains a run, by what differs from the defaults; without its seed."""
    settings = record.settings.model_dump(mode="json")
    recipe = choose_config(settings["recipe"]).model_dump(mode="json")
    changes = {name: value for name, value in settings.items() if name != "seed" and value != recipe[name]}
    words = [f"pneumocli cv --folds {record.folds}"]
    if settings["recipe"] != DEFAULT_RECIPE:
        words.append(f"--recipe {settings['recipe']}")
    if record.versions["backend"] != "tensorflow":
        words.insert(0, f"KERAS_BACKEND={record.versions['backend']}")
    if record.data.pixels != 28:
        words.append(f"--size {record.data.pixels}")
    if record.groups is not None and record.groups.file is not None:
        words.append(f"--groups {record.groups.file.name}")
    for name, value in changes.items():
        flag = name.replace("_", "-")
        words.append(
            f"--{flag} {value}" if not isinstance(value, bool) else f"--{'' if value else 'no-'}{flag}"
        )
    return " ".join(words)


def drop_directories(content: Any) -> Any:
    """Return the same plain data with every absolute path cut down to its last part."""
    if isinstance(content, dict):
        return {name: drop_directories(value) for name, value in content.items()}
    if isinstance(content, list):
        return [drop_directories(value) for value in content]
    if isinstance(content, str):
        for path in (PurePosixPath(content), PureWindowsPath(content)):
            if path.is_absolute():
                return path.name
    return content


def read_kept(folder: Path) -> KeptRun:
    """Read a kept run, and check that its figures are those of its scores.

    Raises:
        RunError: a file is missing or damaged, files do not belong together, or a figure is another.
    """
    about, config = _read_json(folder / ABOUT), _read_json(folder / CONFIG)
    try:
        # Opened here, since numpy leaves a file open that turns out to be no archive.
        with (folder / SCORES).open("rb") as file, np.load(file, allow_pickle=False) as kept:
            arrays = dict(kept)
    except Exception as error:  # numpy and zipfile promise no list of what a damaged file can raise
        raise RunError(f"{folder / SCORES} cannot be read ({type(error).__name__})") from None
    figures = {split: _read_json(folder / f"metrics_{split}.json") for split in KEPT_SPLITS}
    try:
        if any(about[name] != config["settings"][name] for name in ("recipe", "seed")) or any(
            about[name] != config[name] for name in ("weights", "data", "versions", "precision")
        ):
            raise RunError(f"{ABOUT} and {CONFIG} are not of one run")
        command = name_command(RunRecord.model_validate(config))
        models = {split: list_models(arrays, split) for split in KEPT_SPLITS}
        if (folder / DECISION).exists():
            check_decision(_read_json(folder / DECISION), figures, models[OUT_OF_FOLD])
        seen = {"train": figures[OUT_OF_FOLD]["data_digest"], "val": figures["val"]["data_digest"]}
        if join_digests(seen) != config["data"]["digest"]:
            raise RunError("its out-of-fold and val figures are not of the data it was trained on")
        for split in KEPT_SPLITS:
            check_figures(figures[split], models[split], split)
    except RunError as error:
        raise RunError(f"{folder}: {error}") from None
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise RunError(f"{folder} is not what this script keeps ({type(error).__name__}: {error})") from None
    return KeptRun(folder.name, command, about, figures["test"])


def list_models(arrays: dict[str, NDArray[Any]], split: str) -> dict[str, Model]:
    """Return y_true and y_score of every model of a split, by its name in `metrics_<split>.json`.

    Raises:
        RunError: the ensemble's score is not the mean of its members', or rows repeat.
    """
    index, y_true, y_score = (arrays[f"{split}_{part}"] for part in ("index", "y_true", "y_score"))
    if len(np.unique(index)) != len(index):
        raise RunError(f"{split}: a row has two scores")
    if split == OUT_OF_FOLD:
        folds = np.atleast_2d(arrays[f"{split}_fold"])
        repeats = arrays.get(REPEAT_SCORES, y_score[np.newaxis])
        if not np.array_equal(_average(repeats), y_score):
            raise RunError(f"{split}: the pooled scores are not the mean of the repeats'")
        members = {
            name_fold(number): (y_true[fold == number], scores[fold == number])
            for fold, scores in zip(folds, repeats, strict=True)
            for number in np.unique(fold).tolist()
        }
        return {**members, POOLED_NAME: (y_true, y_score)}
    rows = arrays[f"{split}_member_scores"]
    if not np.array_equal(_average(rows), y_score):
        raise RunError(f"{split}: the ensemble's scores are not the mean of its members'")
    members = {name_fold(number): (y_true, row) for number, row in enumerate(rows, start=1)}
    return {**members, ENSEMBLE_NAME: (y_true, y_score)}


def _gather_scores(run: Run) -> dict[str, Any]:
    """Return the arrays of `scores.npz`; whole numbers in few bytes, since the files are kept for good."""
    arrays: dict[str, Any] = {}
    for split in KEPT_SPLITS:
        whole, *members = (read_scores(folder, split) for folder in (run.path, *run.member_paths()))
        arrays |= {
            f"{split}_index": whole.index.astype(np.int32),
            f"{split}_y_true": whole.y_true.astype(np.uint8),
            f"{split}_y_score": whole.y_score,
        }
        if split == OUT_OF_FOLD:
            repeats, folds = run.record.settings.repeats, run.record.folds or 0
            rows = [pool_scores(members[start : start + folds]) for start in range(0, len(members), folds)]
        else:
            rows = members
        for row in rows:
            if not np.array_equal(row.index, whole.index) or not np.array_equal(row.y_true, whole.y_true):
                raise RunError(f"{run.path}: the {split} scores of a fold and of the run are of other images")
        y_score = np.stack([row.y_score for row in rows])
        if split != OUT_OF_FOLD:
            arrays[f"{split}_member_scores"] = y_score
            continue
        fold_of = np.zeros((repeats, len(whole.index)), np.uint16)
        for number, member in zip(run.record.fold_numbers, members, strict=True):
            fold_of[(number - 1) // folds, np.searchsorted(whole.index, member.index)] = number
        arrays[f"{split}_fold"] = fold_of if repeats > 1 else fold_of[0]
        if repeats > 1:
            arrays[REPEAT_SCORES] = y_score
    return arrays


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(
            f"{path} is missing; a run is kept after pneumocli evaluate RUN, with --split val and with test"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path} cannot be read ({type(error).__name__})") from None


def _average(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean over the rows of scores (R, N), as a run's own is computed."""
    return np.mean(rows, axis=0, dtype=np.float64).astype(np.float32)
