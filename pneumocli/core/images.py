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
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from pneumocli.core.errors import ImageError, PneumoError
from pneumocli.core.hardware import count_cores
from pneumocli.core.opening import open_bounded, to_grey, turn_upright
from pneumocli.core.reading import open_file

# Kept in a run's record; to be raised whenever these steps give other pixels than before.
PREPARATION_VERSION = 1

MEASURED_PIXELS = 28
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP")
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"})
JPEG_QUALITY = 75

READ_AHEAD = 128  # images that wait, decoded, for whoever takes them


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
        inside = sorted(
            file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and not file.is_dir()
        )
        found.extend(inside or [path])
    return found


def read_image(path: Path, pixels: int) -> NDArray[np.uint8]:
    """Read an image file as the network takes it, uint8 (pixels, pixels), grey levels 0 to 255.

    Args:
        pixels: side of the images that the model was trained on.

    Raises:
        ImageError: the file is missing, is no image, or is damaged.
    """
    try:
        # Opened here: from a path Pillow maps some TIFF files into memory and turns them wrongly.
        with open_file(path) as file, open_bounded(file, FORMATS) as image:
            return prepare_image(image, pixels)
    except ImageError as error:
        raise ImageError(f"{path} {error}") from None
    except PneumoError:
        raise
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


def read_images(paths: Iterable[Path], pixels: int) -> Iterator[tuple[Path, NDArray[np.uint8] | ImageError]]:
    """Read image files by several threads, a few ahead of whoever takes them, in the order given.

    Yields:
        Each path with its image, as `read_image` returns it, or with the error why there is none.
    """
    waiting: deque[tuple[Path, Future[NDArray[np.uint8] | ImageError]]] = deque()
    with ThreadPoolExecutor(count_cores()) as readers:
        for path in paths:
            waiting.append((path, readers.submit(_try_image, path, pixels)))
            if len(waiting) >= READ_AHEAD:
                path, image = waiting.popleft()
                yield path, image.result()
        for path, image in waiting:
            yield path, image.result()


def _try_image(path: Path, pixels: int) -> NDArray[np.uint8] | ImageError:
    try:
        return read_image(path, pixels)
    except ImageError as error:
        return error


def prepare_image(image: Image.Image, pixels: int) -> NDArray[np.uint8]:
    """Return the image as uint8 (pixels, pixels); one of exactly that size is taken as it is."""
    grey = to_grey(turn_upright(image))
    if grey.size == (pixels, pixels):
        return np.asarray(grey)
    side = min(grey.size)
    left, top = (grey.width - side) // 2, (grey.height - side) // 2
    square = grey.crop((left, top, left + side, top + side))
    shrunk = square.resize((pixels, pixels), Image.Resampling.BILINEAR)
    return np.asarray(_pass_jpeg(shrunk) if pixels == MEASURED_PIXELS else shrunk)


def _pass_jpeg(image: Image.Image) -> Image.Image:
    kept = io.BytesIO()
    image.save(kept, "JPEG", quality=JPEG_QUALITY)
    return Image.open(kept).convert("L")
