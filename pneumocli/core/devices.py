"""The GPUs of this machine, divided among processes as its cores are."""

import os
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock, Timeout

VISIBLE = "CUDA_VISIBLE_DEVICES"

_held: list[FileLock] = []  # to the end of this process: a device is its own as long as it lives


def name_devices(count: int) -> tuple[str, ...]:
    """Return the names of so many GPUs, as CUDA_VISIBLE_DEVICES takes them.

    Args:
        count: how many Keras sees here; what the variable leaves out, it does not.
    """
    visible = [name.strip() for name in os.environ.get(VISIBLE, "").split(",") if name.strip()]
    return tuple((visible or [str(number) for number in range(count)])[:count])


def take_device(devices: Sequence[str], places: Path, share: int) -> str | None:
    """Keep one GPU to this process, before Keras is loaded in it, and return its name.

    A process that ends gives its place back, however it ends.

    Args:
        devices: as from `name_devices`; with none nothing is done.
        places: a folder that the processes have in common, and that lies on this machine.
        share: how many processes may take the same one.
    """
    if not devices or _held:
        return None
    for turn in range(share):
        for device in devices:
            place = FileLock(places / f"{device.replace('/', '_')}.{turn}")
            try:
                place.acquire(timeout=0)
            except Timeout:
                continue
            _held.append(place)
            os.environ[VISIBLE] = device
            return device
    raise RuntimeError(f"more than {share} processes a GPU")
