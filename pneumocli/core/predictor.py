"""The files of what answers for new images: a model, or the members of an ensemble; and the same as ONNX."""

import hashlib
from pathlib import Path

from pneumocli.core.atypical import ATYPICAL
from pneumocli.core.files import hash_file
from pneumocli.core.runs import DECISION, ENSEMBLE, MODEL, Run

ONNX_SUFFIX = ".onnx"
ONNX = f"model{ONNX_SUFFIX}"


def place_onnx(found: Run | Path) -> Path:
    """Return where the ONNX file of what `finding.find_predictor` has found lies, be it there or not."""
    return found.path / ONNX if isinstance(found, Run) else found.with_suffix(ONNX_SUFFIX)


def list_model_files(found: Run | Path) -> list[Path]:
    """Return the files that `load_predictor` loads: one model, or the members of an ensemble."""
    if isinstance(found, Path):
        return [found]
    if found.record.kind == "cv" and (found.path / ENSEMBLE).is_file():
        return [found.path / ENSEMBLE]
    return [folder / MODEL for folder in found.member_paths()]


def list_source_files(found: Run | Path) -> list[Path]:
    """Return all files that the answers depend on: an ensemble without a file of its own needs its run's."""
    models = list_model_files(found)
    if not isinstance(found, Run) or len(models) == 1:
        return models
    beside = (found.path / DECISION, found.path / ATYPICAL)
    return [*models, *(path for path in beside if path.is_file())]


def hash_predictor(found: Run | Path) -> str:
    """Return the SHA-256 of the model file that `load_predictor` loads, in hexadecimal digits.

    Of an ensemble that has no file of its own it is the SHA-256 of its members' hashes, one a line in
    the order of the folds.
    """
    hashes = [hash_file(path) for path in list_model_files(found)]
    if len(hashes) == 1:
        return hashes[0]
    return hashlib.sha256("".join(f"{each}\n" for each in hashes).encode()).hexdigest()
