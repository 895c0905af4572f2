"""Image files to grey squares, by the same steps that made the data set.

PneumoniaMNIST at 28 px is the grey image, cropped in the middle to a square of its short side,
shrunk by Pillow's bilinear filter and passed once through JPEG at quality 75: on 16 source images
that could be matched with their rows the mean difference is 0.09 grey levels (3.2 without the JPEG
step, 4.1 with a bicubic filter). How the 64, 128 and 224 px files were made is not known; for them,
and every other size, bilinear without JPEG is an assumption.
"""

import io
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from pneumocli.core.errors import ImageError
from pneumocli.core.hardware import count_cores

# Kept in a run's record; to be raised whenever these steps give other pixels than before.
PREPARATION_VERSION = 1

MEASURED_PIXELS = 28
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP")
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"})
JPEG_QUALITY = 75

READ_AHEAD = 128  # images that wait, decoded, for whoever takes them


@dataclass(frozen=True)
class Looks:
    """What an image file looked like before it was made into a grey square.

    Attributes:
        width, height: in pixels, as it is shown.
        colour: mean over the pixels of the largest less the smallest of the channels, 0 to 1.
    """

    width: int
    height: int
    colour: float


@dataclass(frozen=True)
class Picture:
    """An image file as the network takes it, and its looks before.

    Attributes:
        pixels: uint8 (P, P), grey levels.
        looks: of the file.
    """

    pixels: NDArray[np.uint8]
    looks: Looks


def describe_preparation(pixels: int) -> str:
    """Return in words what `read_image` does to an image file that is not of the trained size."""
    steps = describe_steps(pixels)
    if pixels == MEASURED_PIXELS:
        return f"{steps}: as the data set was made"
    return f"{steps}: an assumption, since how the data set was made at this size is not known"


def describe_steps(pixels: int) -> str:
    """Return the steps alone: for images of one's own they are the same in training and prediction."""
    steps = f"grey, cropped to the middle square, bilinear to {pixels} px"
    return f"{steps}, JPEG quality {JPEG_QUALITY}" if pixels == MEASURED_PIXELS else steps


def find_images(paths: Iterable[Path]) -> list[Path]:
    """Return the files of `paths`, a folder giving way to the image files in and below it, sorted.

    A folder without any stays in the list, for `read_image` to say so.
    """
    found: list[Path] = []
    for path in paths:
        inside = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
        found.extend(inside or [path])
    return found


def read_image(path: Path, pixels: int) -> Picture:
    """Read an image file as the network takes it, uint8 (pixels, pixels), with what it looked like.

    Args:
        pixels: side of the images that the model was trained on.

    Raises:
        ImageError: the file is missing, is no image, or is damaged.
    """
    try:
        # Opened here: from a path Pillow maps some TIFF files into memory and turns them wrongly.
        with path.open("rb") as file, Image.open(file, formats=FORMATS) as image:
            image.load()
            return Picture(prepare_image(image, pixels), _look_at(ImageOps.exif_transpose(image)))
    except ImageError as error:
        raise ImageError(f"{path} {error}") from None
    except FileNotFoundError:
        raise ImageError(f"{path} does not exist") from None
    except IsADirectoryError:
        raise ImageError(f"{path} is a directory without an image file; name image files") from None
    except UnidentifiedImageError:
        raise ImageError(
            f"{path} is not an image that can be read; give PNG, JPEG, TIFF, BMP or WebP"
        ) from None
    except Exception as error:  # Pillow promises no list of what a damaged file can raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ImageError(f"{path} cannot be read as an image ({reason})") from None


def read_images(paths: Iterable[Path], pixels: int) -> Iterator[tuple[Path, Picture | ImageError]]:
    """Read image files by several threads, a few ahead of whoever takes them, in the order given.

    Yields:
        Each path with its image, as `read_image` returns it, or with the error why there is none.
    """
    waiting: deque[tuple[Path, Future[Picture | ImageError]]] = deque()
    with ThreadPoolExecutor(count_cores()) as readers:
        for path in paths:
            waiting.append((path, readers.submit(_try_image, path, pixels)))
            if len(waiting) >= READ_AHEAD:
                path, image = waiting.popleft()
                yield path, image.result()
        for path, image in waiting:
            yield path, image.result()


def _try_image(path: Path, pixels: int) -> Picture | ImageError:
    try:
        return read_image(path, pixels)
    except ImageError as error:
        return error


def prepare_image(image: Image.Image, pixels: int) -> NDArray[np.uint8]:
    """Return the image as uint8 (pixels, pixels); one of exactly that size is taken as it is."""
    grey = _to_grey(ImageOps.exif_transpose(image))
    if grey.size == (pixels, pixels):
        return np.asarray(grey)
    side = min(grey.size)
    left, top = (grey.width - side) // 2, (grey.height - side) // 2
    square = grey.crop((left, top, left + side, top + side))
    shrunk = square.resize((pixels, pixels), Image.Resampling.BILINEAR)
    return np.asarray(_pass_jpeg(shrunk) if pixels == MEASURED_PIXELS else shrunk)


def _look_at(image: Image.Image) -> Looks:
    colour = 0.0
    if image.mode not in ("1", "L", "LA", "F") and not image.mode.startswith("I"):
        bands = np.asarray(_show_over_black(image).convert("RGB"))
        colour = float((bands.max(axis=2) - bands.min(axis=2)).mean() / 255)
    return Looks(image.width, image.height, colour)


def _to_grey(image: Image.Image) -> Image.Image:
    """8-bit grey; 16-bit greys are scaled to their full range, transparency lies over black."""
    if image.mode == "F":
        raise ImageError("holds floating-point grey levels, whose range is not known; save it as 8 or 16 bit")
    if image.mode.startswith("I"):
        levels = np.asarray(image, dtype=np.float64)
        if levels.max(initial=0) > 255:
            levels = levels / 257  # 65535 / 255
        return Image.fromarray(np.clip(np.rint(levels), 0, 255).astype(np.uint8))
    return _show_over_black(image).convert("L")


def _show_over_black(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image
    shown = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", shown.size, (0, 0, 0, 255)), shown)


def _pass_jpeg(image: Image.Image) -> Image.Image:
    kept = io.BytesIO()
    image.save(kept, "JPEG", quality=JPEG_QUALITY)
    return Image.open(kept).convert("L")
