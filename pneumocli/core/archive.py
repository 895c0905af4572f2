"""Zip archives, which .npz and .keras files are: what they declare, checked before anything is unpacked."""

import math
import zipfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from pneumocli.core.limits import fault_bytes
from pneumocli.core.reading import open_file

MOST_ENTRIES = 10_000  # a checkpoint of the whole network has some 1,100
# The others need a working memory that the file itself can set.
METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
LARGEST_HEADER = 10_000  # bytes, numpy's own limit


def check_entries(archive: zipfile.ZipFile, allowed: Collection[str] | None = None) -> None:
    """Check an archive by its directory alone.

    Args:
        allowed: the only names that entries may have; None allows any, which is for archives that are
            read entry by entry and never unpacked into a folder.

    Raises:
        ValueError: too many entries, two of one name, one of another name than allowed, a method of
            compression that is not taken, or more bytes together than `limits.most_bytes`.
    """
    entries = archive.infolist()
    if len(entries) > MOST_ENTRIES:
        raise ValueError(f"has {len(entries)} entries")
    names = [entry.filename for entry in entries]
    if len(set(names)) < len(names):
        raise ValueError("has two entries of one name")
    for entry in entries:
        if allowed is not None and entry.filename not in allowed:
            raise ValueError(f"has an entry {entry.filename[:80]!r}, which it should not")
        if entry.compress_type not in METHODS:
            raise ValueError(f"{entry.filename[:80]!r} is compressed by another method than deflate")
    fault = fault_bytes(sum(entry.file_size for entry in entries))
    if fault:
        raise ValueError(fault)


def check_arrays(file: BinaryIO) -> None:
    """Check an .npz file by its directory and its arrays' headers; its place in the file stays.

    What is no zip archive is left to numpy, except a single array, which is checked in the same way.

    Raises:
        ValueError: as for `check_entries`; an array's header is damaged, or tells of another size than the
            entry has.
        zipfile.BadZipFile: the archive is damaged.
    """
    start = file.tell()
    magic = file.read(len(np.lib.format.MAGIC_PREFIX))
    file.seek(start)
    if magic == np.lib.format.MAGIC_PREFIX:
        size = file.seek(0, 2) - start
        file.seek(start)
        _check_array(file, size)
    elif magic.startswith(b"PK"):
        with zipfile.ZipFile(file) as archive:
            check_entries(archive)
            for entry in archive.infolist():
                with archive.open(entry) as content:
                    if content.read(len(np.lib.format.MAGIC_PREFIX)) != np.lib.format.MAGIC_PREFIX:
                        continue  # given as bytes, whose number is checked
                with archive.open(entry) as content:
                    _check_array(content, entry.file_size)
    file.seek(start)


def read_arrays(path: Path, names: Sequence[str], optional: Sequence[str] = ()) -> dict[str, NDArray[Any]]:
    """Read arrays of an .npz file by their names; the file is checked first.

    Args:
        optional: names of further arrays, left out where the file has none of that name.

    Raises:
        Exception: of any kind, since numpy and zipfile promise no list of what a damaged file can raise;
            FileNotFoundError where there is none.
    """
    with open_file(path) as file:
        check_arrays(file)
        with np.load(file, allow_pickle=False) as kept:
            found = [*names, *(name for name in optional if name in kept.files)]
            return {name: np.asarray(kept[name]) for name in found}  # what is no array comes as bytes


def _check_array(content: IO[bytes], size: int) -> None:
    start = content.tell()
    version = np.lib.format.read_magic(content)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read_header is None:
        raise ValueError(f"an array has format {version}, which is not read")
    shape, _, dtype = read_header(content, max_header_size=LARGEST_HEADER)
    if dtype.hasobject:
        return  # numpy reads none: allow_pickle=False
    declared = math.prod(shape) * dtype.itemsize
    fault = fault_bytes(declared)
    if fault:
        raise ValueError(f"an array {fault}")
    held = size - (content.tell() - start)
    if declared != held:
        raise ValueError(f"an array's header tells of {declared} bytes, the file holds {held}")
