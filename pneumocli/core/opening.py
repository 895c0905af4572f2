"""An image in memory: opened only after its header was looked at, turned upright, worked on in strips."""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageChops, ImageOps
from PIL.ExifTags import Base

from pneumocli.core.errors import ImageError
from pneumocli.core.limits import MAX_PIXELS, fault_pixels, most_pixels

# Larger images are decoded one at a time, however many threads read: each takes up to 8 bytes a pixel.
LARGE = 16_000_000
MOST_COPIES = 32  # smaller copies of itself that an image may have in its file
REDUCED = 1  # the bit of TIFF's NewSubfileType that marks such a copy
STRIP = 4_000_000  # pixels that are made grey at once
_one_at_a_time = threading.Lock()


@contextmanager
def open_bounded(file: BinaryIO, formats: tuple[str, ...]) -> Iterator[Image.Image]:
    """Open and decode an image that has no more pixels than `limits.most_pixels`.

    Raises:
        ImageError: it has more, or several pages, by its headers; nothing was decoded.
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
        if _has_pages(image):
            raise ImageError("has more than one page; save the one that is meant as a file of its own")
        with wait_turn(*image.size):
            image.load()
            yield image


def _has_pages(image: Image.Image) -> bool:
    """Return whether there are images behind the first; previews and reduced copies of it are none."""
    if image.format == "MPO":  # a camera's JPEG
        return False
    try:
        for page in range(1, MOST_COPIES + 1):  # not `n_frames`: a file can make it endless
            image.seek(page)
            tags = getattr(image, "tag_v2", {})
            if not tags.get(Base.NewSubfileType, 0) & REDUCED:
                return True
    except EOFError:
        image.seek(0)
        return False
    return True


def wait_turn(width: int, height: int) -> AbstractContextManager[object]:
    """Return what holds other large images back, if one of this size is large."""
    return _one_at_a_time if width * height > LARGE else nullcontext()


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
    strips = _cut(image)
    is_wide = image.mode.startswith("I") and any(
        np.asarray(image.crop(strip)).max() > 255 for strip in strips
    )
    grey = Image.new("L", image.size)
    for strip in strips:
        grey.paste(_strip_to_grey(image.crop(strip), is_wide), strip)
    return grey


def measure_colour(image: Image.Image) -> float:
    """Return how far an image is from grey.

    Returns:
        Mean over the pixels, transparency over black, of the largest less the smallest of red, green and
        blue, 0 to 1.
    """
    if image.mode.startswith(("1", "L", "I", "F")) and image.mode != "LAB":
        return 0.0
    counts = np.zeros(256, np.int64)
    for strip in _cut(image):
        red, green, blue = _show_over_black(image.crop(strip)).convert("RGB").split()
        lightest = ImageChops.lighter(red, ImageChops.lighter(green, blue))
        darkest = ImageChops.darker(red, ImageChops.darker(green, blue))
        counts += np.array(ImageChops.subtract(lightest, darkest).histogram())
    return float(counts @ np.arange(256) / (255 * counts.sum()))


def _cut(image: Image.Image) -> list[tuple[int, int, int, int]]:
    """Return the boxes of strips from top to bottom, each of at most `STRIP` pixels or one row."""
    rows = max(1, STRIP // max(1, image.width))
    tops = range(0, image.height, rows)
    return [(0, top, image.width, min(top + rows, image.height)) for top in tops]


def _strip_to_grey(strip: Image.Image, is_wide: bool) -> Image.Image:
    if strip.mode.startswith("I"):
        levels = np.asarray(strip, dtype=np.float64)
        if is_wide:
            levels = levels / 257  # 65535 / 255
        return Image.fromarray(np.clip(np.rint(levels), 0, 255).astype(np.uint8))
    return _show_over_black(strip).convert("L")


def _show_over_black(strip: Image.Image) -> Image.Image:
    if not strip.has_transparency_data:
        return strip
    shown = strip.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", shown.size, (0, 0, 0, 255)), shown)
