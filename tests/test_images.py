"""Image files to pixels: the data set's own steps, every kind of file, and what cannot be read."""

import io
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pneumocli.core import images, opening
from pneumocli.core.data import Dataset
from pneumocli.core.errors import ImageError
from pneumocli.core.images import (
    READ_AHEAD,
    Looks,
    Picture,
    Source,
    describe_preparation,
    prepare_image,
    read_image,
    read_images,
)
from pneumocli.core.limits import MAX_PIXELS

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
    prepared = prepare_image(Image.fromarray(levels), 64).pixels
    assert np.abs(prepared - shrink_by_hand(levels, 64)).max() <= 1


@pytest.mark.parametrize("shape", [(90, 130), (130, 90)])
def test_only_the_middle_square_counts(shape: tuple[int, int]) -> None:
    levels = np.full(shape, 255, np.uint8)
    middle = draw_levels(90, 90)
    inside = (slice(20, 110), slice(None)) if shape[0] > 90 else (slice(None), slice(20, 110))
    levels[inside] = middle
    np.testing.assert_array_equal(
        prepare_image(Image.fromarray(levels), 28).pixels, prepare_image(Image.fromarray(middle), 28).pixels
    )


def test_other_sizes_go_without_jpeg() -> None:
    levels = draw_levels(150, 200)
    square = Image.fromarray(crop_by_hand(levels))
    expected = np.asarray(square.resize((64, 64), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(prepare_image(Image.fromarray(levels), 64).pixels, expected)


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


@pytest.mark.parametrize("suffix", [".tiff", ".png", ".webp"])
def test_a_file_of_several_pages_is_refused(suffix: str, tmp_path: Path) -> None:
    pages = [Image.fromarray(draw_levels(40, 40, seed)) for seed in range(3)]
    path = save(pages[0], tmp_path / f"pages{suffix}", save_all=True, append_images=pages[1:])
    assert "more than one page" in refuse(path)
    one = save(pages[0], tmp_path / f"one{suffix}", save_all=True, lossless=True)
    assert read_image(one, 40).pixels.tobytes() == draw_levels(40, 40, 0).tobytes()


def test_smaller_copies_of_an_image_are_no_pages(tmp_path: Path) -> None:
    levels = draw_levels(40, 40)
    whole, small = Image.fromarray(levels), Image.fromarray(levels[::2, ::2])
    for number, copies in enumerate(([1], [1, 1], [0])):
        path, parts = tmp_path / f"{number}.tiff", []
        for mark in copies:
            small.encoderinfo = {"tiffinfo": {254: mark}}
            parts.append(small.copy())
            parts[-1].encoderinfo = {"tiffinfo": {254: mark}}
        whole.save(path, save_all=True, append_images=parts)
        if copies == [0]:
            assert "more than one page" in refuse(path)
        else:
            assert read_image(path, 40).pixels.tobytes() == levels.tobytes()


def test_the_previews_of_a_camera_are_no_pages(tmp_path: Path) -> None:
    images = [Image.fromarray(draw_levels(64, 64, seed)).convert("RGB") for seed in range(2)]
    path = save(images[0], tmp_path / "photo.jpg", format="MPO", save_all=True, append_images=images[1:])
    with Image.open(path) as image:
        assert (image.format, image.n_frames) == ("MPO", 2)
    alone = save(images[0], tmp_path / "alone.jpg")
    assert read_image(path, 28).pixels.tobytes() == read_image(alone, 28).pixels.tobytes()


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


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, which the command line does not show
def test_damaged_exif_does_not_matter(tmp_path: Path) -> None:
    levels = draw_levels(100, 130)
    plain = save(Image.fromarray(levels), tmp_path / "plain.jpg")
    cut_off = b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01"
    damaged = save(Image.fromarray(levels), tmp_path / "damaged.jpg", exif=cut_off)
    np.testing.assert_array_equal(read_image(damaged, 28).pixels, read_image(plain, 28).pixels)


@pytest.mark.parametrize("lossless", ["png", "tif", "bmp", "webp"])
def test_every_kind_gives_the_same_greys(lossless: str, tmp_path: Path) -> None:
    levels = draw_levels(100, 130)
    options = {"lossless": True} if lossless == "webp" else {}
    path = save(Image.fromarray(levels).convert("RGB"), tmp_path / f"xray.{lossless}", **options)
    np.testing.assert_array_equal(read_image(path, 28).pixels, prepare_by_hand(levels))


def test_the_kind_is_told_by_the_bytes_and_not_by_the_name(tmp_path: Path) -> None:
    levels = draw_levels(40, 50)
    path = tmp_path / "xray.jpg"
    path.write_bytes(save(Image.fromarray(levels), tmp_path / "xray.png").read_bytes())
    np.testing.assert_array_equal(read_image(path, 28).pixels, prepare_by_hand(levels))


def test_bytes_in_place_of_a_file(tmp_path: Path) -> None:
    path = save(Image.fromarray(draw_levels(100, 130)), tmp_path / "xray.png")
    one, two = read_image(Source("-", content=path.read_bytes()), 28), read_image(path, 28)
    assert one.looks == two.looks
    np.testing.assert_array_equal(one.pixels, two.pixels)
    with pytest.raises(ImageError, match="standard input is not an image"):
        read_image(Source("-", content=b""), 28)


def test_a_pipe_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    path = save(Image.fromarray(draw_levels(40, 50)), tmp_path / "xray.png")
    reading, writing = os.pipe()
    os.write(writing, path.read_bytes())
    os.close(writing)
    assert refuse(Path(f"/dev/fd/{reading}")).endswith("(not a regular file)")
    os.close(reading)


def test_looks_are_those_of_the_upright_file(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(Image.fromarray(draw_levels(100, 130)), tmp_path / "xray.png", exif=exif)
    assert read_image(path, 28).looks == Looks(width=100, height=130, colour=0)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "CMYK"])
def test_colour_is_how_far_from_grey(mode: str, tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    image = Image.fromarray(colours).convert(mode)
    path = save(image, tmp_path / ("xray.tif" if mode == "CMYK" else "xray.png"))
    expected = np.ptp(np.asarray(image.convert("RGB")), axis=-1).mean() / 255
    assert expected > 0.3
    assert read_image(path, 28).looks.colour == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("mode", FORMS)
def test_greys_have_no_colour(mode: str, tmp_path: Path) -> None:
    path = save(FORMS[mode](draw_levels(30, 30)), tmp_path / ("xray.tif" if mode == "I" else "xray.png"))
    assert read_image(path, 28).looks.colour == 0


@pytest.mark.parametrize("times", [2, 3, 8])
@pytest.mark.parametrize("pixels", [28, 64])
def test_each_pixel_repeated_is_the_image_itself(times: int, pixels: int) -> None:
    levels = np.random.default_rng(0).integers(0, 256, (pixels, pixels), np.uint8)
    enlarged = np.kron(levels, np.ones((times, times), np.uint8))
    np.testing.assert_array_equal(prepare_image(Image.fromarray(enlarged), pixels).pixels, levels)


@pytest.mark.parametrize("place", [(0, 0), (55, 55), (13, 40)])
def test_one_other_pixel_and_it_is_shrunk_as_any_image(place: tuple[int, int]) -> None:
    enlarged = np.kron(draw_levels(28, 28), np.ones((2, 2), np.uint8))
    enlarged[place] ^= 128
    prepared = prepare_image(Image.fromarray(enlarged), 28).pixels
    np.testing.assert_array_equal(prepared, prepare_by_hand(enlarged))


@pytest.mark.parametrize("name", ["a\nb.png", "a\x1b[31mb.png", "a\u202eb.png", "a\udcffb.png", ""])
def test_names_that_a_terminal_may_not_show_are_written_out(name: str) -> None:
    with pytest.raises(ImageError) as caught:
        read_image(Source(name), 28)
    line = str(caught.value)
    assert line.isprintable()
    assert line == f"{repr(name)[1:-1] if name else repr(name)} does not exist"


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
    monkeypatch.setenv(MAX_PIXELS, "9999")
    line = refuse(path)
    assert "100 x 100 pixels" in line
    assert MAX_PIXELS in line
    monkeypatch.setenv(MAX_PIXELS, "10000")
    assert read_image(path, 28).pixels.shape == (28, 28)


def test_preparation_is_told_in_words() -> None:
    assert "JPEG quality 75" in describe_preparation(28)
    assert "assumption" in describe_preparation(64)
    assert "JPEG" not in describe_preparation(64)


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
            assert isinstance(image, Picture)
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


@pytest.mark.parametrize("kind", ["L", "RGB", "RGBA", "LA", "I;16", "I;16B", "I", "P", "PA"])
def test_strips_are_the_whole_image(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    levels = draw_levels(60, 90)
    if kind.startswith("I"):
        number = {"I": "<i4", "I;16": "<u2", "I;16B": ">u2"}[kind]
        image = Image.fromarray((levels.astype(int) * 255).astype(number))
    else:
        colours = [Image.fromarray(draw_levels(60, 90, seed)) for seed in range(4)]
        image = Image.merge("RGBA", colours).convert({"P": "RGB", "PA": "LA"}.get(kind, kind)).convert(kind)
    assert image.mode == kind
    whole, colour = np.asarray(opening.to_grey(image)), opening.measure_colour(image)
    monkeypatch.setattr(opening, "STRIP", 7 * 90)
    np.testing.assert_array_equal(np.asarray(opening.to_grey(image)), whole)
    assert opening.measure_colour(image) == colour
    assert (colour > 0.01) is (kind in ("RGB", "RGBA", "P"))
    assert len(np.unique(whole)) > 20


def test_many_threads_read_large_images_one_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "LARGE", 100)
    paths = [save(Image.fromarray(draw_levels(30, 40, seed)), tmp_path / f"{seed}.png") for seed in range(20)]
    together, most, lock = 0, 0, threading.Lock()
    whole = opening.to_grey

    def watch(image: Image.Image) -> Image.Image:
        nonlocal together, most
        with lock:
            together += 1
            most = max(most, together)
        time.sleep(0.002)
        with lock:
            together -= 1
        return whole(image)

    monkeypatch.setattr(images, "to_grey", watch)
    monkeypatch.setattr(images, "count_cores", lambda: 4)
    assert all(not isinstance(image, ImageError) for _, image in read_images(paths, 28))
    assert most == 1
