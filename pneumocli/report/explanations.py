"""A folder of overlays: their names, their maps as numbers, and the index of both."""

import re
import tempfile
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray

from pneumocli import DISCLAIMER
from pneumocli.core.errors import PneumoError
from pneumocli.core.files import replacing, write_json
from pneumocli.report.overlay import draw_overlay

INDEX = "index.json"
MAPS = "maps.npz"
LONGEST_STEM = 100  # bytes; file systems take 255 for the whole name


@dataclass
class Explanations:
    """A folder and what has been put into it so far: the index's rows, and the maps, float32 (h, w)."""

    directory: Path
    rows: list[dict[str, object]] = field(default_factory=list)
    maps: list[NDArray[np.float32]] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)
    counts: dict[str, int] = field(default_factory=dict)


def open_explanations(directory: Path) -> Explanations:
    """Return explanations without any; its folder is made if there is none.

    Raises:
        PneumoError: the folder is a file, is not empty, or cannot be made or written to. What is there is
            not replaced: it might be the images themselves.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        is_used = any(directory.iterdir())
        with tempfile.TemporaryFile(dir=directory):
            pass
    except (FileExistsError, NotADirectoryError):
        raise PneumoError(f"{directory} is not a folder, nor can one be made there; name another") from None
    except OSError as error:
        raise PneumoError(
            f"{directory} cannot be made or written to ({error.strerror}); name another folder"
        ) from None
    if is_used:
        raise PneumoError(f"{directory} has files in it already; name a new or an empty folder")
    return Explanations(directory)


def add_explanation(
    explanations: Explanations,
    image: NDArray[np.uint8],
    evidence: NDArray[np.float32],
    seen: float,
    row: Mapping[str, object],
    *,
    called_from: float,
    model: str,
    synthetic: bool,
) -> str:
    """Draw one answer's overlay into the explanations and return its path.

    Args:
        image, evidence, seen, called_from: as for `draw_overlay`.
        row: the answer, with path, label and probability.
    """
    name = _choose_name(explanations, str(row["path"]))
    draw_overlay(
        explanations.directory / name,
        image,
        evidence,
        seen,
        name=str(row["path"]),
        label=str(row["label"]),
        probability=float(str(row["probability"])),
        called_from=called_from,
        model=model,
        synthetic=synthetic,
    )
    kept = {key: row[key] for key in ("path", "probability", "label")}
    explanations.rows.append(
        {"picture": name, **kept, "largest_evidence": float(evidence.max()), "seen": seen}
    )
    explanations.maps.append(evidence)
    return str(explanations.directory / name)


def close_explanations(explanations: Explanations, *, model: str, synthetic: bool) -> None:
    """Write the maps, in the order of the rows, and the index: where there is one, the folder is whole."""
    with replacing(explanations.directory / MAPS) as partial:
        evidence = np.stack(explanations.maps) if explanations.maps else np.empty((0, 0, 0), np.float32)
        np.savez_compressed(
            partial, evidence=evidence, picture=[str(row["picture"]) for row in explanations.rows]
        )
    write_json(
        explanations.directory / INDEX,
        {
            "schema_version": 1,
            "model": model,
            "synthetic": synthetic,
            "method": "Grad-CAM for the label, log-odds a cell, mean of the members",
            "maps": MAPS,
            "pictures": explanations.rows,
            "disclaimer": DISCLAIMER,
        },
    )


def _choose_name(explanations: Explanations, source: str) -> str:
    """Return a file name made of the image's, which no other picture of them has in any case."""
    stem = "stdin" if source == "-" else PurePath(source).stem
    # Letters, digits, points and hyphens of any script: no separators, line ends or broken bytes.
    safe = re.sub(r"[^\w.-]+", "_", unicodedata.normalize("NFC", stem)).strip("._-")
    safe = safe.encode()[:LONGEST_STEM].decode(errors="ignore") or "image"
    key = safe.casefold()
    name, number = safe, explanations.counts.get(key, 1)
    while name.casefold() in explanations.taken:
        number += 1
        name = f"{safe}-{number}"
    explanations.counts[key] = number
    explanations.taken.add(name.casefold())
    return f"{name}.png"
