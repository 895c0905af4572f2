"""How much a single file may ask for, checked before memory is taken; the environment sets it."""

import math
import os

from pneumocli.core.errors import SettingError

MAX_PIXELS, MAX_GB = "PNEUMOCLI_MAX_PIXELS", "PNEUMOCLI_MAX_GB"
# Side of the squares that a model takes; 128 of them wait in memory while files are read.
LARGEST_PIXELS = 4096
# The largest X-ray detectors have about 25 million pixels; the official file at 224 px holds 0.3 GB.
DEFAULT_PIXELS, DEFAULT_GB = 100_000_000, 8.0


def most_pixels() -> int:
    """Return the most pixels that an image file may have: PNEUMOCLI_MAX_PIXELS, else 100 million.

    Raises:
        SettingError: the environment variable is not a number above 0.
    """
    return math.floor(_read_number(MAX_PIXELS, DEFAULT_PIXELS))


def most_bytes() -> int:
    """Return the most bytes that one file's content may take: PNEUMOCLI_MAX_GB times 10^9, else 8 GB.

    Raises:
        SettingError: the environment variable is not a number above 0.
    """
    return math.floor(_read_number(MAX_GB, DEFAULT_GB) * 1e9)


def fault_pixels(width: int, height: int) -> str | None:
    """Return in words that an image has too many pixels; None if it may be read."""
    if width * height <= most_pixels():
        return None
    return f"has {width} x {height} pixels, more than {most_pixels()}; to read it, set {MAX_PIXELS} higher"


def fault_bytes(size: int) -> str | None:
    """Return in words that some content asks for too many bytes; None if it may be read."""
    if size <= most_bytes():
        return None
    return f"asks for {size / 1e9:,.1f} GB, more than {most_bytes() / 1e9:g}; to read it, set {MAX_GB} higher"


def _read_number(variable: str, default: float) -> float:
    given = os.environ.get(variable)
    if not given:
        return default
    try:
        number = float(given)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise SettingError(
            f"the environment variable {variable} must be a number above 0; received {given!r}"
        )
    return number
