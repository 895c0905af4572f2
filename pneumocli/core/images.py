"""Images to grey squares, by the same steps that made the data set.

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
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from pneumocli.core.dicom import MAGIC, MAGIC_START, is_dicom, read_dicom
from pneumocli.core.errors import ImageError, PneumoError
from pneumocli.core.hardware import count_cores
from pneumocli.core.opening import measure_colour, open_bounded, to_grey, turn_upright
from pneumocli.core.reading import open_file

# Kept in a run's record; to be raised whenever these steps give other pixels than before.
PREPARATION_VERSION = 2
# Version 1 knew no enlarged images and shrank them as all others; models of it answer as well here.
ALIKE = (1, PREPARATION_VERSION)

MEASURED_PIXELS = 28
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP")
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"})
JPEG_QUALITY = 75

READ_AHEAD = 128  # images that wait, decoded, for whoever takes them


@dataclass(frozen=True)
class Source:
    """Where an image is read from.

    Attributes:
        name: the file's path as it was given, or what stands for it.
        content: the image's bytes, if they are not in a file of that name.
        found: in a folder that was named, rather than named itself.
        fault: why there is no image to read.
    """

    name: str
    content: bytes | None = None
    found: bool = False
    fault: ImageError | None = None


@dataclass(frozen=True)
class Looks:
    """What an image file looked like before it was prepared.

    Attributes:
        width, height: of the upright image, in pixels.
        colour: mean over the pixels of the largest less the smallest of red, green and blue, 0 to 1.
    """

    width: int
    height: int
    colour: float


@dataclass(frozen=True)
class Picture:
    """An image as the network takes it, and what the file looked like.

    Attributes:
        pixels: uint8 (P, P), grey levels 0 to 255.
    """

    pixels: NDArray[np.uint8]  # (P, P)
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


def read_image(source: Path | Source, pixels: int) -> Picture:
    """Read an image as the network takes it.

    A file is DICOM if it has DICOM's mark at byte 128, whatever its name. A pipe, a device or a socket is
    refused, never waited for.

    Args:
        pixels: side of the images that the model was trained on.

    Raises:
        NoImageError: it is a DICOM file of something else than an image.
        ImageError: the file is missing, is no image, or is damaged.
    """
    if isinstance(source, Path):
        source = Source(str(source))
    if source.fault is not None:
        raise source.fault
    name = "standard input" if source.content is not None else source.name or "''"
    try:
        # Opened here: from a path Pillow maps some TIFF files into memory and turns them wrongly.
        with _open(source) as file:
            if is_dicom(file.read(MAGIC_START + len(MAGIC))):
                file.seek(0)
                return prepare_image(Image.fromarray(read_dicom(file)), pixels)
            file.seek(0)
            with open_bounded(file, FORMATS) as image:
                return prepare_image(image, pixels)
    except ImageError as error:
        raise type(error)(f"{name} {error}") from None
    except PneumoError:
        raise
    except FileNotFoundError:
        raise ImageError(f"{name} does not exist") from None
    except IsADirectoryError:
        raise ImageError(f"{name} is a directory; name image files") from None
    except UnidentifiedImageError:
        raise ImageError(
            f"{name} is not an image that can be read; give PNG, JPEG, TIFF, BMP, WebP or DICOM"
        ) from None
    except Exception as error:  # Pillow promises no list of what a damaged file can raise
        words = (isinstance(error, OSError) and error.strerror) or str(error)
        reason = words.splitlines()[0] if words else type(error).__name__
        raise ImageError(f"{name} cannot be read as an image ({reason})") from None


def _open(source: Source) -> BinaryIO:
    if source.content is not None:
        return io.BytesIO(source.content)
    # Not by way of `Path`, to which no name is a name for where one stands.
    return open_file(source.name)


def read_images(
    sources: Iterable[Path | Source], pixels: int
) -> Iterator[tuple[Path | Source, Picture | ImageError]]:
    """Read images by several threads, a few ahead of whoever takes them, in the order given.

    Yields:
        Each source with its picture, as `read_image` returns it, or with the error why there is none.
    """
    waiting: deque[tuple[Path | Source, Future[Picture | ImageError]]] = deque()
    with ThreadPoolExecutor(count_cores()) as readers:
        for source in sources:
            waiting.append((source, readers.submit(_try_image, source, pixels)))
            if len(waiting) >= READ_AHEAD:
                source, picture = waiting.popleft()
                yield source, picture.result()
        while waiting:
            source, picture = waiting.popleft()
            yield source, picture.result()


def _try_image(source: Path | Source, pixels: int) -> Picture | ImageError:
    try:
        return read_image(source, pixels)
    except ImageError as error:
        return error


def prepare_image(image: Image.Image, pixels: int) -> Picture:
    """Return the image as the network takes it, with what it looked like; see `read_image`."""
    upright = turn_upright(image)
    looks = Looks(upright.width, upright.height, measure_colour(upright))
    return Picture(_make_square(to_grey(upright), pixels), looks)


def _make_square(grey: Image.Image, pixels: int) -> NDArray[np.uint8]:
    """Return uint8 (pixels, pixels); an image of exactly that size, or a copy of one, is taken as it is."""
    if grey.width == grey.height and grey.width % pixels == 0:
        levels = np.asarray(grey)
        times = grey.width // pixels
        original = levels[::times, ::times]
        # Each pixel repeated, as nearest neighbour enlarges: taking one of each is the exact way back.
        if np.array_equal(original.repeat(times, axis=0).repeat(times, axis=1), levels):
            return original
    side = min(grey.size)
    left, top = (grey.width - side) // 2, (grey.height - side) // 2
    square = grey.crop((left, top, left + side, top + side))
    shrunk = square.resize((pixels, pixels), Image.Resampling.BILINEAR)
    return np.asarray(_pass_jpeg(shrunk) if pixels == MEASURED_PIXELS else shrunk)


def _pass_jpeg(image: Image.Image) -> Image.Image:
    kept = io.BytesIO()
    image.save(kept, "JPEG", quality=JPEG_QUALITY)
    return Image.open(kept).convert("L")
