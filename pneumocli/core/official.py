"""The official files: what they are, where they are published, and where they lie once fetched."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pneumocli.core.reading import open_file


def read_named(variable: str) -> str | None:
    """Return what an environment variable names, ~ being the home; None if it is not set, or empty."""
    return os.path.expanduser(os.environ.get(variable, "")) or None


@dataclass(frozen=True)
class Source:
    """A file that is downloaded once.

    Attributes:
        folder: "data" or "weights", the folder below the cache directory.
        bytes: its published size, for progress and messages; the MD5 decides.
    """

    folder: Literal["data", "weights"]
    name: str
    url: str
    md5: str
    bytes: int


def _zenodo(name: str, md5: str, size: int) -> Source:
    return Source("data", name, f"https://zenodo.org/records/10519652/files/{name}?download=1", md5, size)


# MedMNIST's files by the images' side in pixels.
SOURCES = {
    28: _zenodo("pneumoniamnist.npz", "28209eda62fecd6e6a2d98b1501bb15f", 4_170_669),
    64: _zenodo("pneumoniamnist_64.npz", "8f4eceb4ccffa70c672198ea285246c6", 20_606_998),
    128: _zenodo("pneumoniamnist_128.npz", "05b46931834c231683c68f40c47b2971", 75_506_212),
    224: _zenodo("pneumoniamnist_224.npz", "d6a3c71de1b945ea11211b03746c1fe1", 214_384_716),
}

# Keras's own ResNet-50 without its top, trained on ImageNet.
_NOTOP = "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
_KERAS = f"https://storage.googleapis.com/tensorflow/keras-applications/resnet/{_NOTOP}"
WEIGHTS = Source("weights", _NOTOP, _KERAS, "4d473c1dd8becc155b73f8504c6f6626", 94_765_736)

OFFICIAL_SIZES = ", ".join(map(str, SOURCES))


def cache_directory() -> Path:
    """Return where files are kept: PNEUMOCLI_CACHE, else the system's directory for caches."""
    named = os.environ.get("PNEUMOCLI_CACHE")
    if named:
        return Path(os.path.expanduser(named))
    from platformdirs import user_cache_path

    return user_cache_path("pneumocli", appauthor=False)


def place_of(source: Source, directory: Path) -> Path:
    """Return where a source's file lies below the cache directory."""
    return directory / source.folder / source.name


def compute_md5(path: Path) -> str:
    """Return a file's MD5 in hexadecimal digits."""
    with open_file(path) as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
