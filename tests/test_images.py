"""Image files to pixels: the data set's own steps, every kind of file, and what cannot be read."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pneumocli.core.data import Dataset
from pneumocli.core.errors import ImageError
from pneumocli.core.images import (
    READ_AHEAD,
    Looks,
    describe_preparation,
    find_images,
    prepare_image,
    read_image,
    read_images,
)

Grey = NDArray[np.uint8]


def draw_levels(height: int, width: int, seed: int = 0) -> Grey:
    """Grey levels that change slowly and have no symmetry."""
    y, x = np.mgrid[0:height, 0:width]
    noise = np.random.default_rng(seed).normal(0, 4, (height, width))
    levels = 120 + 80 * np.sin(x / 17) * np.cos(y / 23) + 40 * x / width + noise
    return np.clip(levels, 0, 255).astype(np.uint8)


def crop_by_hand(levels: Grey) -> Grey:
    height, width = levels.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return levels[top : top + side, left : left + side]


def pass_jpeg_by_hand(image: Image.Image) -> Grey:
    packed = io.BytesIO()
    image.save(packed, format="JPEG", quality=75)
    with Image.open(packed) as opened:
        return np.asarray(opened)


def prepare_by_hand(levels: Grey) -> Grey:
    square = Image.fromarray(crop_by_hand(levels))
    return pass_jpeg_by_hand(square.resize((28, 28), Image.Resampling.BILINEAR))


def blend_rows(source: int, target: int) -> NDArray[np.float64]:
    """The shares (target, source) of a triangle as wide as two target pixels."""
    scale = source / target
    centres = (np.arange(target)[:, np.newaxis] + 0.5) * scale
    shares = np.maximum(0, 1 - np.abs(np.arange(source) + 0.5 - centres) / max(scale, 1))
    return shares / shares.sum(axis=1, keepdims=True)


def shrink_by_hand(square: Grey, pixels: int) -> NDArray[np.float64]:
    blend = blend_rows(len(square), pixels)
    return blend @ square.astype(np.float64) @ blend.T


def refuse(path: Path) -> str:
    """The line that says why an image is refused."""
    with pytest.raises(ImageError) as caught:
        read_image(path, 28)
    line = str(caught.value)
    assert len(line.splitlines()) == 1
    assert str(path) in line
    return line


def save(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize(
    ("height", "width"), [(150, 200), (200, 150), (151, 200), (200, 151), (60, 60), (20, 27), (1, 300)]
)
def test_28_pixels_are_made_as_the_data_set_was(height: int, width: int, tmp_path: Path) -> None:
    levels = draw_levels(height, width)
    path = save(Image.fromarray(levels), tmp_path / "xray.png")
    prepared = read_image(path, 28).pixels
    assert prepared.shape == (28, 28)
    assert prepared.dtype == np.uint8
    np.testing.assert_array_equal(prepared, prepare_by_hand(levels))


def test_shrinking_averages_over_all_source_pixels() -> None:
    levels = draw_levels(200, 200)
    prepared = prepare_image(Image.fromarray(levels), 64)
    assert np.abs(prepared - shrink_by_hand(levels, 64)).max() <= 1


@pytest.mark.parametrize("shape", [(90, 130), (130, 90)])
def test_only_the_middle_square_counts(shape: tuple[int, int]) -> None:
    levels = np.full(shape, 255, np.uint8)
    middle = draw_levels(90, 90)
    inside = (slice(20, 110), slice(None)) if shape[0] > 90 else (slice(None), slice(20, 110))
    levels[inside] = middle
    np.testing.assert_array_equal(
        prepare_image(Image.fromarray(levels), 28), prepare_image(Image.fromarray(middle), 28)
    )


def test_other_sizes_go_without_jpeg() -> None:
    levels = draw_levels(150, 200)
    square = Image.fromarray(crop_by_hand(levels))
    expected = np.asarray(square.resize((64, 64), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(prepare_image(Image.fromarray(levels), 64), expected)


@pytest.mark.parametrize("pixels", [28, 64])
def test_images_of_the_trained_size_are_taken_as_they_are(pixels: int, tmp_path: Path) -> None:
    levels = np.random.default_rng(0).integers(0, 256, (pixels, pixels), dtype=np.uint8)
    grey = save(Image.fromarray(levels), tmp_path / "grey.png")
    colour = save(Image.fromarray(levels).convert("RGB"), tmp_path / "colour.png")
    np.testing.assert_array_equal(read_image(grey, pixels).pixels, levels)
    np.testing.assert_array_equal(read_image(colour, pixels).pixels, levels)


def test_rows_of_a_data_set_come_back_from_png(small_dataset: Dataset, tmp_path: Path) -> None:
    for number, image in enumerate(small_dataset.test.images):
        path = save(Image.fromarray(image), tmp_path / f"{number}.png")
        assert read_image(path, 28).pixels.tobytes() == image.tobytes()


def with_palette(levels: Grey) -> Image.Image:
    image = Image.fromarray(levels).convert("P")
    image.putdata(levels.ravel().tolist())
    image.putpalette([level for level in range(256) for _ in range(3)])
    return image


def with_alpha(levels: Grey) -> Image.Image:
    image = Image.fromarray(levels)
    image.putalpha(255)
    return image


FORMS = {
    "RGB": lambda levels: Image.fromarray(levels).convert("RGB"),
    "RGBA": lambda levels: with_alpha(levels).convert("RGBA"),
    "LA": with_alpha,
    "P": with_palette,
    "I;16": lambda levels: Image.fromarray(levels.astype(np.uint16) * 257),
    "I": lambda levels: Image.fromarray(levels.astype(np.int32) * 257),
}


@pytest.mark.parametrize("mode", FORMS)
def test_the_same_greys_in_any_form(mode: str, tmp_path: Path) -> None:
    levels = draw_levels(80, 100)
    image = FORMS[mode](levels)
    assert image.mode == mode
    path = save(image, tmp_path / ("xray.tif" if mode == "I" else "xray.png"))
    with Image.open(path) as opened:
        assert opened.mode == mode
    np.testing.assert_array_equal(read_image(path, 28).pixels, prepare_by_hand(levels))


def test_floating_point_levels_are_refused_since_their_range_is_not_known(tmp_path: Path) -> None:
    refuse(save(Image.fromarray(draw_levels(40, 40).astype(np.float32) / 255), tmp_path / "xray.tif"))


def test_colours_are_weighed_as_the_eye_does(tmp_path: Path) -> None:
    red, green, blue = (draw_levels(28, 28, seed) for seed in range(3))
    path = save(Image.fromarray(np.stack([red, green, blue], axis=-1)), tmp_path / "xray.png")
    expected = 0.299 * red + 0.587 * green + 0.114 * blue
    assert np.abs(read_image(path, 28).pixels - expected).max() <= 1


def test_cmyk_jpeg(tmp_path: Path) -> None:
    levels = draw_levels(100, 100)
    path = save(Image.fromarray(levels).convert("RGB").convert("CMYK"), tmp_path / "xray.jpg", quality=100)
    difference = np.abs(read_image(path, 28).pixels.astype(int) - prepare_by_hand(levels))
    assert difference.mean() < 2


def test_black_and_white(tmp_path: Path) -> None:
    path = save(Image.fromarray(np.eye(28) > 0), tmp_path / "xray.png")
    with Image.open(path) as opened:
        assert opened.mode == "1"
    np.testing.assert_array_equal(read_image(path, 28).pixels, 255 * np.eye(28, dtype=np.uint8))


def test_16_bit_greys_keep_their_full_range(tmp_path: Path) -> None:
    levels = np.linspace(0, 65535, 28 * 28).astype(np.uint16).reshape(28, 28)
    prepared = read_image(save(Image.fromarray(levels), tmp_path / "xray.png"), 28).pixels
    assert (prepared.min(), prepared.max()) == (0, 255)
    assert np.abs(prepared - levels / 65535 * 255).max() <= 0.51


def test_transparent_parts_are_black(tmp_path: Path) -> None:
    levels = draw_levels(28, 28)
    image = Image.fromarray(levels)
    alpha = np.full((28, 28), 255, np.uint8)
    alpha[:, :14] = 0
    image.putalpha(Image.fromarray(alpha))
    prepared = read_image(save(image, tmp_path / "xray.png"), 28).pixels
    assert not prepared[:, :14].any()
    np.testing.assert_array_equal(prepared[:, 14:], levels[:, 14:])


# What a camera writes for each way it was held, and how to turn such an image upright.
TURNS = {
    1: lambda levels: levels,
    2: np.fliplr,
    3: lambda levels: np.rot90(levels, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda levels: np.rot90(levels, -1),
    7: lambda levels: np.rot90(levels, 2).T,
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_exif_orientation(orientation: int, suffix: str, tmp_path: Path) -> None:
    levels = draw_levels(100, 130)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(Image.fromarray(levels), tmp_path / f"xray.{suffix}", exif=exif)
    upright = np.ascontiguousarray(TURNS[orientation](levels))
    np.testing.assert_array_equal(read_image(path, 28).pixels, prepare_by_hand(upright))


def look(image: Image.Image, path: Path, **options: object) -> Looks:
    return read_image(save(image, path, **options), 28).looks


def test_looks_are_those_of_the_file_before_it_was_made_grey(tmp_path: Path) -> None:
    bands = np.zeros((30, 50, 3), np.uint8)
    bands[:, :25] = (200, 100, 149)
    bands[:, 25:] = 77
    expected = Looks(width=50, height=30, colour=pytest.approx(100 / 255 / 2))
    assert look(Image.fromarray(bands), tmp_path / "colour.png") == expected
    turned = Image.Exif()
    turned[0x0112] = 6
    looks = look(Image.fromarray(bands), tmp_path / "turned.png", exif=turned)
    assert looks == Looks(width=30, height=50, colour=expected.colour)


@pytest.mark.parametrize("mode", FORMS)
def test_greys_have_no_colour_in_any_form(mode: str, tmp_path: Path) -> None:
    image = FORMS[mode](draw_levels(80, 100))
    looks = look(image, tmp_path / ("xray.tif" if mode == "I" else "xray.png"))
    assert looks == Looks(width=100, height=80, colour=0.0)


def test_jpeg_gives_greys_hardly_a_colour(tmp_path: Path) -> None:
    image = Image.fromarray(draw_levels(200, 300)).convert("RGB")
    assert look(image, tmp_path / "xray.jpg", quality=50).colour < 0.02


def test_what_lies_under_transparency_has_no_colour(tmp_path: Path) -> None:
    image = Image.new("RGBA", (40, 40), (255, 0, 0, 0))
    assert look(image, tmp_path / "xray.png").colour == 0


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, which the command line does not show
def test_damaged_exif_does_not_matter(tmp_path: Path) -> None:
    levels = draw_levels(100, 130)
    plain = save(Image.fromarray(levels), tmp_path / "plain.jpg")
    cut_off = b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01"
    damaged = save(Image.fromarray(levels), tmp_path / "damaged.jpg", exif=cut_off)
    np.testing.assert_array_equal(read_image(damaged, 28).pixels, read_image(plain, 28).pixels)


def test_missing_file(tmp_path: Path) -> None:
    assert "does not exist" in refuse(tmp_path / "missing.png")


def test_directory(tmp_path: Path) -> None:
    assert "directory" in refuse(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"hello\n", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"PK\x03\x04"]
)
def test_not_an_image(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "xray.png"
    path.write_bytes(content)
    refuse(path)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "bmp", "webp"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_cut_off_file(suffix: str, share: float, tmp_path: Path) -> None:
    path = save(Image.fromarray(draw_levels(100, 130)), tmp_path / f"xray.{suffix}")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    refuse(path)


def test_file_of_a_kind_that_pillow_does_not_finish(tmp_path: Path) -> None:
    path = save(Image.fromarray(draw_levels(40, 40)).convert("RGB"), tmp_path / "xray.dds")
    content = bytearray(path.read_bytes())
    content[80] = 26  # flags of a pixel format that Pillow gives up on with NotImplementedError
    path.write_bytes(bytes(content))
    refuse(path)


def test_colours_without_greys(tmp_path: Path) -> None:
    refuse(save(Image.new("LAB", (40, 40)), tmp_path / "xray.tif"))


def test_greys_that_are_no_numbers(tmp_path: Path) -> None:
    refuse(save(Image.fromarray(np.full((40, 40), np.nan, np.float32)), tmp_path / "xray.tif"))


def test_image_too_large_to_unpack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(Image.fromarray(draw_levels(100, 100)), tmp_path / "xray.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    refuse(path)


def test_preparation_is_told_in_words() -> None:
    assert "JPEG quality 75" in describe_preparation(28)
    assert "assumption" in describe_preparation(64)
    assert "JPEG" not in describe_preparation(64)


def test_a_folder_gives_way_to_its_images(tmp_path: Path) -> None:
    for name in ("b.png", "a.JPG", "deep/c.tiff", "notes.txt", "deep/d.csv"):
        path = tmp_path / "xrays" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    named = tmp_path / "named.dat"
    found = find_images([named, tmp_path / "xrays", named])
    inside = [tmp_path / "xrays" / name for name in ("a.JPG", "b.png", "deep/c.tiff")]
    assert found == [named, *inside, named]


def test_many_files_come_in_the_order_given_with_their_errors(tmp_path: Path) -> None:
    paths = [
        save(Image.fromarray(draw_levels(30, 40, seed)), tmp_path / f"{seed}.png")
        for seed in range(READ_AHEAD + 9)
    ]
    paths[4] = tmp_path / "missing.png"
    found = list(read_images(paths[::-1], 28))
    assert [path for path, _ in found] == paths[::-1]
    for path, image in found:
        if path.name == "missing.png":
            assert isinstance(image, ImageError)
        else:
            assert not isinstance(image, ImageError)
            np.testing.assert_array_equal(image.pixels, read_image(path, 28).pixels)


def test_reading_stays_a_little_ahead(tmp_path: Path) -> None:
    asked: list[int] = []

    def name() -> Iterator[Path]:
        for number in range(1000):
            asked.append(number)
            yield tmp_path / "missing.png"

    reading = read_images(name(), 28)
    next(reading)
    assert len(asked) == READ_AHEAD
