"""What there is on this machine: versions, processor, files found, and the kept features."""

import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pneumocli.core.cache import Cache, list_banks
from pneumocli.core.config import Precision
from pneumocli.core.files import find_existing
from pneumocli.core.hardware import choose_precision, count_cores, read_processor
from pneumocli.core.official import SOURCES, WEIGHTS, cache_directory, place_of, read_named
from pneumocli.core.records import describe_versions, find_versions


@dataclass(frozen=True)
class KeptFeatures:
    """One bank of the cache: what is in it, its size in bytes, and when it was last used (epoch seconds)."""

    content: str
    bytes: int
    used: float


@dataclass(frozen=True)
class Examination:
    """What was found.

    Attributes:
        native_bfloat16: whether the processor multiplies bfloat16 numbers itself.
        precision: what `--precision auto` trains in here.
        devices: what Keras computes on.
        data, weights: the file that a command would use without options, or None if it would fetch it.
        cache: the directory of fetched files and kept features.
        free_bytes: room on its disk.
        features: used longest ago first.
    """

    versions: dict[str, str]
    processor: str
    cores: int
    native_bfloat16: bool
    precision: str
    devices: list[str]
    data: str | None
    weights: str | None
    cache: str
    free_bytes: int
    features: list[KeptFeatures]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        return asdict(self)


def examine(cache: Cache, devices: list[str]) -> Examination:
    """Look at the machine.

    Args:
        cache: of the features.
        devices: what Keras computes on.
    """
    directory, processor = cache_directory(), read_processor()
    return Examination(
        versions=describe_versions() | find_versions(("onnxruntime",)),
        processor=processor.name,
        cores=count_cores(),
        native_bfloat16=processor.has_bfloat16,
        precision=choose_precision(Precision.AUTO, any(name.startswith("gpu") for name in devices)).value,
        devices=devices,
        data=_find("PNEUMOCLI_DATA", place_of(SOURCES[28], directory)),
        weights=_find("PNEUMOCLI_WEIGHTS", place_of(WEIGHTS, directory)),
        cache=str(directory),
        free_bytes=shutil.disk_usage(find_existing(directory)).free,
        features=[
            KeptFeatures(_describe_bank(entry.key), entry.bytes, entry.used)
            for entry in sorted(list_banks(cache), key=lambda entry: entry.used)
        ],
    )


def _find(variable: str, fetched: Path) -> str | None:
    named = read_named(variable)
    if named is None or named == "imagenet":
        return str(fetched) if fetched.is_file() else None
    # Data may also be a folder of images.
    if named in ("synthetic", "none") or os.path.exists(named):
        return named
    return f"{named} ({variable} names it, but there is no such file)"


def _describe_bank(key: Any) -> str:
    mark = "SYNTHETIC " if key.get("synthetic") else ""
    view = f", view {key['view'] + 1}" if "view" in key else ""
    names = [str(key.get(name, "?")) for name in ("output", "cut", "image_size", "precision")]
    is_rounded = key.get("stored_as", key.get("precision")) != key.get("precision")
    stored = f" kept in {key['stored_as']}" if is_rounded else ""
    seen = key.get("center_crop", 1.0)
    middle = f", the middle {seen:.0%}" if seen < 1 else ""
    return "{}{} behind {}, {} px, {}{}{}{}".format(mark, *names, stored, view, middle)
