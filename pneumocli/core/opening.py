"""An image in memory: opened only after its header was looked at, turned upright and made grey in strips."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps
from PIL.ExifTags import Base

from pneumocli.core.errors import ImageError
from pneumocli.core.limits import MAX_PIXELS, fault_pixels, most_pixels

# Larger images are decoded one at a time, however many threads read: each takes up to 8 bytes a pixel.
LARGE = 16_000_000
STRIP = 4_000_000  # pixels that are made grey at once
_one_at_a_time = threading.Lock()


@contextmanager
def open_bounded(file: BinaryIO, formats: tuple[str, ...]) -> Iterator[Image.Image]:
    """Open and decode an image that has no more pixels than `limits.most_pixels`.

    Raises:
        ImageError: it has more, by its header; nothing was decoded.
        Exception: whatever Pillow raises for a damaged file.
    """
    most = most_pixels()
    if Image.MAX_IMAGE_PIXELS is not None and most > Image.MAX_IMAGE_PIXELS:
        Image.MAX_IMAGE_PIXELS = most  # Pillow's own limit, which it holds to when an image is cropped
    try:
        image = Image.open(file, formats=formats)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageError(f"has far more than {most} pixels; to read it, set {MAX_PIXELS} higher") from None
    with image:
        fault = fault_pixels(*image.size)
        if fault:
            raise ImageError(fault)
        with _one_at_a_time if image.width * image.height > LARGE else nullcontext():
            image.load()
            yield image


def turn_upright(image: Image.Image) -> Image.Image:
    """Return the image as its camera was held, by its Exif record; the same one if it needs no turn."""
    # Pillow's function copies every image.
    return image if image.getexif().get(Base.Orientation, 1) == 1 else ImageOps.exif_transpose(image)


def to_grey(image: Image.Image) -> Image.Image:
    """Return the image in 8-bit grey: 16-bit greys scaled to their full range, transparency over black.

    Raises:
        ImageError: its grey levels are floating-point numbers.
    """
    if image.mode == "F":
        raise ImageError("holds floating-point grey levels, whose range is not known; save it as 8 or 16 bit")
    if image.mode == "L" and not image.has_transparency_data:
        return image
    rows = max(1, STRIP // max(1, image.width))
    tops = range(0, image.height, rows)
    strips = [(0, top, image.width, min(top + rows, image.height)) for top in tops]
    is_wide = image.mode.startswith("I") and any(
        np.asarray(image.crop(strip)).max() > 255 for strip in strips
    )
    grey = Image.new("L", image.size)
    for strip in strips:
        grey.paste(_strip_to_grey(image.crop(strip), is_wide), strip)
    return grey


def _strip_to_grey(strip: Image.Image, is_wide: bool) -> Image.Image:
    if strip.mode.startswith("I"):
        levels = np.asarray(strip, dtype=np.float64)
        if is_wide:
            levels = levels / 257  # 65535 / 255
        return Image.fromarray(np.clip(np.rint(levels), 0, 255).astype(np.uint8))
    if strip.has_transparency_data:
        shown = strip.convert("RGBA")
        strip = Image.alpha_composite(Image.new("RGBA", shown.size, (0, 0, 0, 255)), shown)
    return strip.convert("L")
