"""Files as somebody with bad intent, or a bad disk, would make them."""

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

ESCAPE = "\x1b[2J\x1b]0;owned\x07"


def read_entries(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write_entries(path: Path, entries: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)


def change_plan(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the network's plan in a model file in place."""
    entries = read_entries(path)
    plan = json.loads(entries["config.json"])
    change(plan)
    write_entries(path, entries | {"config.json": json.dumps(plan).encode()})


def claim_array(shape: tuple[int, ...], dtype: str = "|u1", content: bytes = b"") -> bytes:
    """Return an .npy file whose header tells of this shape, whatever it holds."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"shape": shape, "fortran_order": False, "descr": dtype})
    return file.getvalue() + content


def find_layer(plan: dict[str, Any], class_name: str) -> dict[str, Any]:
    """Return the first layer of a class in a plan."""
    for layer in plan["config"]["layers"]:
        if layer["class_name"] == class_name:
            return layer
        if layer["class_name"] == "Functional":
            try:
                return find_layer(layer, class_name)
            except LookupError:
                continue
    raise LookupError(class_name)


def write_png_header(path: Path, width: int, height: int) -> None:
    """Write a PNG file of some bytes that says it has so many pixels."""
    import struct
    import zlib

    def pack(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(1_000_000))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + pack(b"IHDR", header) + pack(b"IDAT", rows) + pack(b"IEND", b""))
