"""Doing a run again from its `config.json`, and telling what would not be the same."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from pneumocli.core.config import TrainConfig, check_config, choose_config
from pneumocli.core.data import SEEN_NAMES
from pneumocli.core.errors import DataError, RunError, SettingError, WeightsError
from pneumocli.core.groups import digest_groups
from pneumocli.core.inputs import DataInput, WeightsInput
from pneumocli.core.reading import read_json
from pneumocli.core.records import Kind, RunRecord, describe_versions
from pneumocli.core.runs import CONFIG

WHAT = {"cv": "cross-validation", "train": "single-model run"}


def read_record(path: Path, kind: Kind) -> RunRecord:
    """Read the `config.json` of a run that is to be done again.

    Args:
        path: the file, or the run folder it is in.
        kind: what the command does.

    Raises:
        RunError: the file is missing, damaged, or of something else than a run of this kind.
        SettingError: it has a setting that does not exist, or a value out of its range.
    """
    file = path / CONFIG if path.is_dir() else path
    try:
        content = read_json(file)
    except FileNotFoundError:
        raise RunError(
            f"{file} does not exist; name a run's {CONFIG}, such as runs/{kind}-1/{CONFIG}"
        ) from None
    except OSError as error:
        raise RunError(f"{file} cannot be read ({error.strerror}); name a run's {CONFIG}") from None
    except (ValueError, RecursionError):
        raise RunError(f"{file} is damaged: it is not JSON; name another run's {CONFIG}") from None
    if not isinstance(content, dict) or not {"kind", "settings"} <= content.keys():
        raise RunError(f"{file} is not a run's {CONFIG}: it names no kind and settings of a run")
    other = content["kind"]
    if other != kind and isinstance(other, str) and other in WHAT:
        raise RunError(f"{file} is of a {WHAT[other]}; repeat it with: pneumocli {other} --config {path}")
    if isinstance(content["settings"], dict):
        _check_settings(file, content["settings"])
    try:
        return RunRecord.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise RunError(f"{file} is not what pneumocli writes ({where}: {first['msg']})") from None


def _check_settings(file: Path, settings: dict[str, Any]) -> None:
    unknown = [name for name in settings if name not in TrainConfig.model_fields]
    if unknown:
        raise SettingError(
            f"{file} has settings that this version of pneumocli does not know: {', '.join(unknown)}"
        )
    try:
        check_config(settings)
    except SettingError as error:
        raise SettingError(f"{file}: {error}") from None


def repeat_settings(record: RunRecord, recipe: str | None, changes: dict[str, Any]) -> TrainConfig:
    """Return a run's settings with what was asked for beside them.

    Args:
        recipe: takes the place of all of the run's settings but the seed, the subset and the repeats; None
            keeps them.
        changes: settings by name; None leaves one as it is.

    Raises:
        SettingError: no such recipe, or a value out of its range.
    """
    made = {name: value for name, value in changes.items() if value is not None}
    if recipe is not None:
        kept = {name: getattr(record.settings, name) for name in ("seed", "subset", "repeats")}
        return choose_config(recipe, **kept | made)
    return check_config(record.settings.model_dump() | made)


def check_same_data(record: RunRecord, found: DataInput) -> None:
    """Check that data which nobody named are those that a run was trained on.

    Raises:
        DataError: they are not.
    """
    if found.dataset.digest(SEEN_NAMES) != record.data.digest:
        raise DataError(
            f"{found.dataset.name} is not what that run was trained on, {record.data.name} at "
            f"{record.data.pixels} px; name its data with --data, which also takes other data on purpose"
        )


def check_same_weights(record: RunRecord, found: WeightsInput) -> None:
    """Check that weights which nobody named are those that a run began with.

    Raises:
        WeightsError: they are not.
    """
    if found.record.sha256 != record.weights.sha256:
        raise WeightsError(
            f"{found.record.name} is not what that run began with, {record.weights.name} (SHA-256 "
            f"{(record.weights.sha256 or 'none')[:8]}...); name it with --weights, which also takes others "
            "on purpose"
        )


def check_same_groups(record: RunRecord) -> None:
    """Check that a run kept nothing together by a file, since nobody named one.

    Raises:
        DataError: it did.
    """
    if record.groups is not None and record.groups.file is not None:
        raise DataError(
            f"that run kept images together by {record.groups.file.name}; name the file with --groups"
        )


def tell_differences(
    record: RunRecord, found: DataInput, weights: WeightsInput, groups: NDArray[np.int64] | None = None
) -> list[str]:
    """Return a line for each thing that is not as it was in the run: data, weights, groups, versions.

    Args:
        groups: int64, one a training image, if they are the images that the run was trained on.
    """
    lines = []
    same_data = found.dataset.digest(SEEN_NAMES) == record.data.digest
    if not same_data:
        lines.append(f"other data than in that run: {found.dataset.name}, not {record.data.name}")
    if weights.record.sha256 != record.weights.sha256:
        lines.append(f"other weights than in that run: {weights.record.name}, not {record.weights.name}")
    kept = None if record.groups is None else record.groups.file
    given = found.groups_file
    if (kept and kept.sha256) != (given and given.sha256):
        lines.append(
            f"other groups than in that run: {'none' if given is None else given.name}, "
            f"not {'none' if kept is None else kept.name}"
        )
    elif same_data and groups is not None and record.groups and record.groups.digest != digest_groups(groups):
        lines.append(
            "other groups than in that run: the column `group`, or what is a near duplicate, has changed"
        )
    versions = describe_versions()
    changed = [
        f"{name} {versions.get(name, 'none')}, not {value}"
        for name, value in record.versions.items()
        if versions.get(name) != value
    ]
    if changed:
        lines.append(f"other versions than in that run: {'; '.join(changed)}")
    return lines
