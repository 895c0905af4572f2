"""HDF5 files of weights: what they declare, checked before a number is read."""

from typing import BinaryIO

import h5py

from pneumocli.core.limits import fault_bytes


def check_weights(file: BinaryIO) -> None:
    """Check that an HDF5 file holds its arrays itself, none of them as Python objects or too large.

    Links and arrays that lie in another file would have Keras read that one.

    Raises:
        ValueError: it does not; the words say why.
        OSError, RuntimeError: it is no HDF5 file, or damaged.
    """
    declared = 0

    def check_link(name: str, link: object) -> None:
        if not isinstance(link, h5py.HardLink):
            raise ValueError(f"its weights have a link, {name[:80]!r}")

    def check_content(name: str, content: object) -> None:
        nonlocal declared
        if not isinstance(content, h5py.Dataset):
            return
        if content.external or content.is_virtual:
            raise ValueError(f"its weights {name[:80]!r} lie in another file")
        if content.dtype.hasobject:
            raise ValueError(f"its weights {name[:80]!r} are no numbers")
        declared += content.nbytes

    with h5py.File(file, "r") as content:
        content.visititems_links(check_link)
        content.visititems(check_content)
    fault = fault_bytes(declared)
    if fault:
        raise ValueError(f"its weights: {fault}")
