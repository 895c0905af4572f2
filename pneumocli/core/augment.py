"""Augmented views of an image, each drawn from (seed, image, view) and from nothing else.

A view is a random crop or the whole image, enlarged by the same bilinear rule as images that are scored,
perhaps turned and flipped, with other brightness and contrast and with noise. What an image's view looks
like depends neither on the batch nor on the order of the images, so that views can be made once and shared
by all folds.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pneumocli.core.config import TrainConfig
from pneumocli.core.data import hash_images
from pneumocli.core.seeding import derive_generator

# Widths to heights of a random crop, as in Szegedy et al. 2015, arXiv:1409.4842, section 6.
ASPECTS = (3 / 4, 4 / 3)


@dataclass(frozen=True)
class View:
    """How one view is made of an image of P pixels a side.

    Attributes:
        top, left, height, width: the crop, in pixels of the image, not rounded; where it reaches beyond the
            image, that one's edge goes on.
        flip: left and right exchanged.
        brightness: added to the grey levels, as a share of 255.
        contrast: factor of the grey levels' distance from their mean.
        rotation: turn of the image about its middle before the crop, in degrees.
        noise: standard deviation of what is added to each pixel of the image, as a share of 255.
        noise_seed: draws the noise.
    """

    top: float
    left: float
    height: float
    width: float
    flip: bool
    brightness: float
    contrast: float
    rotation: float = 0.0
    noise: float = 0.0
    noise_seed: int = 0


def draw_view(rng: np.random.Generator, config: TrainConfig, pixels: int) -> View:
    """Draw a view of an image of `pixels` a side, within the ranges of the settings."""
    longest = config.zoom_out
    share = rng.uniform(config.crop_area, longest**2)
    # No side can be longer than that, so a large crop is nearly square.
    narrowest, widest = max(ASPECTS[0], share / longest**2), min(ASPECTS[1], longest**2 / share)
    aspect = math.exp(rng.uniform(math.log(narrowest), math.log(widest)))
    width = min(math.sqrt(share * aspect), longest) * pixels
    height = min(math.sqrt(share / aspect), longest) * pixels
    cropped = View(
        top=rng.uniform(0, 1) * (pixels - height),
        left=rng.uniform(0, 1) * (pixels - width),
        height=height,
        width=width,
        flip=bool(rng.random() < 0.5) and config.flip,
        brightness=rng.uniform(-1, 1) * config.brightness,
        contrast=1 + rng.uniform(-1, 1) * config.contrast,
        rotation=rng.uniform(-1, 1) * config.rotation,
        noise=rng.uniform(0, 1) * config.noise,
        noise_seed=int(rng.integers(2**31)) if config.noise else 0,
    )
    # Drawn last, so that a view that is a crop is the same whatever the share.
    if rng.random() < config.crop_share:
        return cropped
    return replace(cropped, top=0.0, left=0.0, height=float(pixels), width=float(pixels))


def render_views(images: NDArray[np.uint8], views: Sequence[View], size: int) -> NDArray[np.float32]:
    """Return the views of images, enlarged to the network's input.

    Args:
        images: uint8 (N, P, P).
        views: one an image.
        size: side of the result, in pixels.

    Returns:
        float32 (N, size, size, 1), grey levels 0 to 255.
    """
    pixels = images.shape[1]
    rows = np.stack([_weigh(view.top, view.height, pixels, size) for view in views])
    columns = np.stack([_weigh(view.left, view.width, pixels, size) for view in views])
    flipped = np.array([view.flip for view in views])
    columns[flipped] = columns[flipped, ::-1]
    pictures = np.stack([_disturb(image, view) for image, view in zip(images, views, strict=True)])
    grey = np.asarray(rows @ pictures @ columns.transpose(0, 2, 1), np.float32)
    mean = grey.mean(axis=(1, 2), keepdims=True)
    contrast = np.array([view.contrast for view in views], np.float32)[:, None, None]
    brightness = np.array([view.brightness for view in views], np.float32)[:, None, None]
    # In place: at 224 px each further array of a batch would be 6 MB of fresh memory.
    grey -= mean
    grey *= contrast
    grey += mean
    grey += 255 * brightness
    np.clip(grey, 0, 255, out=grey)
    return grey[..., np.newaxis]


def _disturb(image: NDArray[np.uint8], view: View) -> NDArray[np.float32]:
    """Return the image (P, P) turned and with noise, float32; what lies outside is the edge gone on."""
    picture = image.astype(np.float32)
    if view.rotation:
        from scipy.ndimage import rotate

        picture = rotate(picture, view.rotation, reshape=False, order=1, mode="nearest")
    if view.noise:
        noise = np.random.default_rng(view.noise_seed).standard_normal(picture.shape, np.float32)
        picture = picture + np.float32(255 * view.noise) * noise
    return picture


def _weigh(start: float, length: float, pixels: int, size: int) -> NDArray[np.float32]:
    """Return the weights (size, pixels) by which bilinear sampling makes a line out of pixels."""
    # Centres of the new pixels in coordinates of the old ones, held at the image's edge.
    at = start + (np.arange(size) + 0.5) * (length / size) - 0.5
    at = np.clip(at, 0, pixels - 1)
    return np.maximum(1 - np.abs(at[:, None] - np.arange(pixels)), 0).astype(np.float32)


class ViewSource:
    """One view of each image, made when asked for; the rows of a bank of trunk outputs.

    The view's number and the image's content draw it, not its row: the same image has the same
    views in a subset and in a file of another order.
    """

    def __init__(self, images: NDArray[np.uint8], config: TrainConfig, view: int) -> None:
        """Take the views numbered `view`, from 0, of images uint8 (N, P, P)."""
        self._images = images
        self._size = config.image_size
        self._views = [
            draw_view(derive_generator(config.seed, "view", digest.decode(), view), config, images.shape[1])
            for digest in hash_images(images)
        ]

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, rows: NDArray[np.int64], /) -> NDArray[np.float32]:
        return render_views(self._images[rows], [self._views[row] for row in rows], self._size)
