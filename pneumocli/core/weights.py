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
    sizes: list[int] = []

    # What a visitor returns ends the visit; what it raises is lost in h5py on the way.
    def look_at_link(name: str, link: object) -> str | None:
        return None if isinstance(link, h5py.HardLink) else f"have a link, {name[:80]!r}"

    def look_at_content(name: str, content: object) -> str | None:
        if not isinstance(content, h5py.Dataset):
            return None
        if content.external or content.is_virtual:
            return f"lie in another file, {name[:80]!r}"
        if content.dtype.hasobject:
            return f"are no numbers, {name[:80]!r}"
        sizes.append(content.nbytes)
        return None

    with h5py.File(file, "r") as content:
        fault = content.visititems_links(look_at_link) or content.visititems(look_at_content)
    fault = fault or fault_bytes(sum(sizes))
    if fault:
        raise ValueError(f"its weights {fault}")
