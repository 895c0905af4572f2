"""Drawn chest X-rays: a data set made by code alone, for demonstrations and tests without a network."""

import numpy as np
from numpy.typing import NDArray

from pneumocli.core.data import NORMAL, PNEUMONIA, SPLIT_NAMES, Dataset, Split
from pneumocli.core.errors import DataError

NAME = "synthetic"
NORMAL_SHARE = {"train": 0.26, "val": 0.26, "test": 0.375}
SMALLEST_SPLIT = 3
SMALLEST_PIXELS = 16

# Large enough for smooth edges after shrinking; bigger images are drawn at their own size.
CANVAS_PIXELS = 84

# Plain arithmetic and square roots only: quick, and without the differences in the last bit that
# exp and sine have from one processor to the next.
Plane = NDArray[np.float64]

# Kinds of opacity: how often, fewest and most spots, smallest and largest radius, sharpness of edge.
OPACITIES = {
    "lobe": (0.35, 1, 1, 0.45, 0.8, 2.5),
    "patches": (0.4, 4, 9, 0.16, 0.42, 1.6),
    "veil": (0.25, 14, 14, 0.16, 0.42, 0.9),
}


def draw_dataset(
    seed: int = 0, train: int = 360, val: int = 90, test: int = 120, pixels: int = 28
) -> Dataset:
    """Draw the three splits, with about the class shares of PneumoniaMNIST.

    Image and label of a row depend on seed, split and row alone, so a larger data set begins with
    the rows of a smaller one. The same chests come at every size.

    Args:
        seed: 0 or more; every seed gives other images.
        train: how many training images, at least 3.
        val: how many validation images, at least 3.
        test: how many test images, at least 3.
        pixels: side of the square images, at least 16.

    Returns:
        A data set marked as synthetic: images uint8 (N, pixels, pixels), labels int64 (N,); 26 %
        of train and val and 37.5 % of test are normal, to within one image.

    Raises:
        DataError: a number is below its minimum.
    """
    counts = dict(zip(SPLIT_NAMES, (train, val, test), strict=True))
    for name, count in counts.items():
        _check_least(f"{name} images", count, SMALLEST_SPLIT)
    _check_least("pixels", pixels, SMALLEST_PIXELS)
    _check_least("seed", seed, 0)
    splits = {name: _draw_split(seed, name, count, pixels) for name, count in counts.items()}
    return Dataset(NAME, splits, synthetic=True)


def draw_chest(rng: np.random.Generator, pneumonia: bool, pixels: int = 28) -> NDArray[np.uint8]:
    """Draw one chest from the front, the heart on the right of the image.

    Args:
        rng: where every variation comes from; a generator in the same state gives the same image.
        pneumonia: whether the lungs have opacities.
        pixels: side of the image, at least 16.

    Returns:
        uint8 (pixels, pixels), bone and soft tissue bright, air dark.

    Raises:
        DataError: `pixels` is too small for a chest to be seen.
    """
    _check_least("pixels", pixels, SMALLEST_PIXELS)
    oversampling = -(-CANVAS_PIXELS // pixels)
    x, y = _place_body(rng, pixels * oversampling)
    lungs, wall = _draw_lungs(rng, x, y)
    air = lungs * (1 - _draw_vessels(rng, x, y))
    if pneumonia:
        air = air * (1 - _draw_opacities(rng, x, y))
    chest = _draw_tissue(rng, x, y) + _draw_bones(rng, x, y) + rng.uniform(0.03, 0.13) * wall
    chest = chest - rng.uniform(0.24, 0.36) * air
    return _expose(rng, _shrink(chest, oversampling))


def _check_least(what: str, value: int, least: int) -> None:
    if value < least:
        raise DataError(f"synthetic data needs {what} of at least {least}; received {value}")


def _seed_generator(seed: int, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def _draw_split(seed: int, name: str, count: int, pixels: int) -> Split:
    number = SPLIT_NAMES.index(name)
    labels = _draw_labels(_seed_generator(seed, number), count, NORMAL_SHARE[name])
    images = np.empty((count, pixels, pixels), np.uint8)
    for index, label in enumerate(labels):
        images[index] = draw_chest(_seed_generator(seed, number, index), label == PNEUMONIA, pixels)
    return Split(images, labels)


def _draw_labels(rng: np.random.Generator, count: int, normal_share: float) -> NDArray[np.int64]:
    """One normal at a random place in every stretch of 1 / share rows: no label depends on `count`."""
    stretches = int(count * normal_share) + 1
    bounds = np.floor(np.arange(stretches + 1) / normal_share).astype(np.int64)
    normals = bounds[:-1] + (rng.random(stretches) * np.diff(bounds)).astype(np.int64)
    labels = np.full(count, PNEUMONIA, np.int64)
    labels[normals[normals < count]] = NORMAL
    return labels


def _place_body(rng: np.random.Generator, canvas: int) -> tuple[Plane, Plane]:
    """Coordinates of the body at every point: x to the right and y down, about -1 to 1 over the image."""
    line = (np.arange(canvas) + 0.5) * (2 / canvas) - 1
    across, down = line[None, :], line[:, None]
    # The tangent of half the angle gives its sine and cosine without calling either.
    tangent = min(max(rng.normal(0, 0.018), -0.05), 0.05)
    cosine, sine = (1 - tangent**2) / (1 + tangent**2), 2 * tangent / (1 + tangent**2)
    size = rng.uniform(0.9, 1.12)
    width, height = size * rng.uniform(0.95, 1.05), size * rng.uniform(0.95, 1.05)
    shift_x = min(max(rng.normal(0, 0.05), -0.16), 0.16)
    shift_y = min(max(rng.normal(0, 0.07), -0.16), 0.16)
    x = (across * cosine - down * sine - shift_x) / width
    y = (across * sine + down * cosine - shift_y) / height
    return x, y


def _ramp(distance: Plane, softness: float) -> Plane:
    """0 outside (negative distance) to 1 inside, over a border of the width `softness`."""
    return np.clip(distance / softness + 0.5, 0, 1)


def _bump(x: Plane, y: Plane, centre: tuple[float, float], radii: tuple[float, float]) -> Plane:
    """A smooth hill of height 1 that ends at the ellipse of `radii`."""
    across, down = (x - centre[0]) / radii[0], (y - centre[1]) / radii[1]
    return np.square(np.maximum(1 - across * across - down * down, 0))


def _draw_radii(rng: np.random.Generator, smallest: float, largest: float) -> tuple[float, float]:
    return rng.uniform(smallest, largest), rng.uniform(smallest, largest)


def _draw_lungs(rng: np.random.Generator, x: Plane, y: Plane) -> tuple[Plane, Plane]:
    """The air in the lungs, 0 to 1, and the wall of the chest, where the ribs are seen edge on."""
    top, base = rng.uniform(-0.8, -0.66), rng.uniform(0.44, 0.64)
    inner, apex, outer = rng.uniform(0.1, 0.18), rng.uniform(0.24, 0.34), rng.uniform(0.84, 0.94)
    drop, softness = rng.uniform(0.1, 0.35), rng.uniform(0.06, 0.12)
    side = np.abs(x)
    depth = np.clip((y - top) / (base - top), 0, 1)
    outside = apex + (outer - apex) * np.sqrt(depth)
    inside = inner + 0.1 * np.square(depth)
    # The diaphragm is a dome under each lung, a little higher on the side of the liver.
    dome = base + drop * np.square((side - 0.4) / 0.4) + rng.uniform(0.0, 0.1) * (x > 0)
    lungs = _ramp(outside - side, softness) * _ramp(side - inside, softness) * _ramp(dome - y, softness)
    lungs = lungs * _ramp(y - (top + 0.05), 0.15)
    heart = _bump(x, y, (rng.uniform(0.08, 0.2), base - rng.uniform(0.1, 0.25)), _draw_radii(rng, 0.5, 0.75))
    lungs = lungs * (1 - np.clip(heart * 2.5, 0, rng.uniform(0.75, 1)))
    wall = _ramp(0.06 - np.abs(side - outside - 0.05), 0.08) * _ramp(0.7 - y, 0.3)
    return lungs, wall * _ramp(y - top, 0.15)


def _draw_vessels(rng: np.random.Generator, x: Plane, y: Plane) -> Plane:
    """Normal markings, densest at the roots of the lungs; they keep brightness from telling all."""
    vessels = np.zeros_like(x)
    for side in (-1, 1):
        root = (side * rng.uniform(0.22, 0.34), rng.uniform(-0.15, 0.1))
        vessels += rng.uniform(0.1, 0.4) * _bump(x, y, root, _draw_radii(rng, 0.15, 0.4))
        for _ in range(5):
            centre = (side * rng.uniform(0.25, 0.75), rng.uniform(-0.5, 0.5))
            vessels += rng.uniform(0.05, 0.25) * _bump(x, y, centre, _draw_radii(rng, 0.06, 0.2))
    return np.minimum(vessels, 0.8)


def _draw_opacities(rng: np.random.Generator, x: Plane, y: Plane) -> Plane:
    """Share of the air that is filled, 0 to 1: one lobe, scattered patches, or a veil over both lungs."""
    kind = rng.choice(list(OPACITIES), p=[often for often, *_ in OPACITIES.values()])
    _, fewest, most, smallest, largest, sharpness = OPACITIES[kind]
    one_side = kind != "veil" and rng.random() < 0.5
    density, side = rng.uniform(0.35, 1), rng.choice((-1, 1))
    clear = np.ones_like(x)
    for _ in range(rng.integers(fewest, most + 1)):
        here = side if one_side else rng.choice((-1, 1))
        centre = (here * rng.uniform(0.3, 0.7), rng.uniform(-0.55, 0.45))
        spot = np.clip(sharpness * _bump(x, y, centre, _draw_radii(rng, smallest, largest)), 0, 1)
        clear = clear * (1 - density * rng.uniform(0.8, 1) * spot)
    return 1 - clear


def _draw_tissue(rng: np.random.Generator, x: Plane, y: Plane) -> Plane:
    """Soft tissue: trunk, shoulders and chin, brighter in the middle and below the diaphragm."""
    side = np.abs(x)
    shoulder, wide = rng.uniform(-1.3, -0.95), rng.uniform(0.95, 1.25)
    slope = np.clip((y - shoulder) / 0.4, 0, 1)
    half_width = 0.3 + (wide - 0.3) * np.sqrt(slope)
    body = _ramp(half_width - side, 0.16)
    belly = _ramp(y - rng.uniform(0.5, 0.65), 0.5)
    middle = np.square(np.maximum(1 - np.square(side / rng.uniform(0.6, 0.8)), 0))
    chin = _ramp(_bump(x, y, (rng.uniform(-0.1, 0.1), rng.uniform(-1.4, -1.1)), (0.55, 0.45)) - 0.1, 0.2)
    stomach = _bump(x, y, (rng.uniform(0.3, 0.6), rng.uniform(0.75, 1.0)), _draw_radii(rng, 0.15, 0.35))
    trunk = body * (rng.uniform(0.34, 0.42) + 0.17 * belly + 0.11 * middle)
    return 0.12 + trunk + 0.25 * chin - max(rng.uniform(-0.1, 0.2), 0) * stomach


def _draw_bones(rng: np.random.Generator, x: Plane, y: Plane) -> Plane:
    side = np.abs(x)
    gap, start, bend = rng.uniform(0.17, 0.24), rng.uniform(0, 1), rng.uniform(0.25, 0.6)
    wave = (y - bend * side * side) / gap + start
    arcs = np.abs(2 * (wave - np.floor(wave)) - 1)
    cage = _ramp(0.95 - side, 0.2) * _ramp(side - 0.1, 0.5) * _ramp(y + 0.8, 0.2) * _ramp(0.65 - y, 0.3)
    ribs = rng.uniform(0.05, 0.14) * (arcs - 0.5) * cage
    spine = rng.uniform(0.03, 0.1) * _ramp(0.13 - side, 0.14)
    collar_line = y + rng.uniform(0.62, 0.75) + rng.uniform(0.1, 0.3) * side
    collar = _ramp(0.045 - np.abs(collar_line), 0.06) * _ramp(0.75 - side, 0.1) * _ramp(side - 0.15, 0.1)
    return ribs + spine + rng.uniform(0.04, 0.12) * collar


def _shrink(plane: Plane, factor: int) -> Plane:
    """Mean of every `factor` x `factor` block."""
    parts = [plane[row::factor, column::factor] for row in range(factor) for column in range(factor)]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total / len(parts)


def _expose(rng: np.random.Generator, chest: Plane) -> NDArray[np.uint8]:
    """Grey levels under a random exposure, contrast and noise."""
    brightness, contrast, noise = rng.uniform(-0.13, 0.13), rng.uniform(0.65, 1.1), rng.uniform(0.005, 0.02)
    grey = 0.56 + brightness + contrast * (chest - 0.5)
    grey = grey + noise * rng.standard_normal(chest.shape)
    return np.clip(np.rint(255 * grey), 0, 255).astype(np.uint8)
