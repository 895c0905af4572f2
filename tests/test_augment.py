"""Views: bilinear crops of an image, drawn from (seed, image, view) and from nothing else."""

import math
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from pneumocli.core.augment import ASPECTS, View, ViewSource, draw_view, render_views
from pneumocli.core.config import TrainConfig, choose_config
from pneumocli.core.errors import PneumoError, SettingError
from pneumocli.core.seeding import derive_generator

Grey = NDArray[np.float32]
Images = NDArray[np.uint8]

WHOLE = View(0.0, 0.0, 28.0, 28.0, flip=False, brightness=0.0, contrast=1.0)
ALL = TrainConfig(image_size=32, views=4, crop_area=0.4, flip=True, brightness=0.2, contrast=0.3)


@pytest.fixture(scope="module")
def images() -> Images:
    return np.random.default_rng(0).integers(0, 256, (12, 28, 28), dtype=np.uint8)


def render(image: Images, view: View, size: int = 32) -> Grey:
    return render_views(image[np.newaxis], [view], size)[0, :, :, 0]


def read_all(images: Images, config: TrainConfig = ALL, view: int = 0) -> Grey:
    source = ViewSource(images, config, view)
    return source[np.arange(len(source))]


def draw_views(config: TrainConfig, count: int, pixels: int = 28) -> list[View]:
    return [draw_view(derive_generator(0, number), config, pixels) for number in range(count)]


@pytest.mark.parametrize(("pixels", "size"), [(28, 28), (28, 32), (28, 57), (28, 224), (64, 96), (64, 40)])
def test_view_of_the_whole_image_is_what_the_model_enlarges(pixels: int, size: int) -> None:
    images = np.random.default_rng(1).integers(0, 256, (4, pixels, pixels), dtype=np.uint8)
    config = TrainConfig(image_size=max(size, 32), views=1)
    enlarge = keras.layers.Resizing(config.image_size, config.image_size, "bilinear")
    expected = keras.ops.convert_to_numpy(enlarge(images[..., np.newaxis].astype(np.float32)))
    np.testing.assert_allclose(read_all(images, config), expected, rtol=0, atol=1e-3)


def sample(image: Images, view: View, size: int) -> NDArray[np.float64]:
    """Bilinear sampling, one line after the other, the image's edge going on outwards."""
    pixels = np.arange(len(image))
    rows = view.top - 0.5 + view.height / size * (np.arange(size) + 0.5)
    columns = view.left - 0.5 + view.width / size * (np.arange(size) + 0.5)
    wide = np.array([np.interp(columns, pixels, line) for line in image.astype(np.float64)])
    return np.array([np.interp(rows, pixels, line) for line in wide.T]).T


@pytest.mark.parametrize(
    "crop",
    [
        {"left": 7.0, "width": 14.0},
        {"top": 3.0, "height": 20.0},
        {"top": 8.0, "left": 5.0, "height": 16.0, "width": 16.0},
        {"top": 1.25, "left": 6.6, "height": 21.3, "width": 18.7},
        {"top": 0.0, "left": 0.0, "height": 9.1, "width": 9.1},
        {"top": 18.9, "left": 18.9, "height": 9.1, "width": 9.1},
    ],
)
@pytest.mark.parametrize("size", [32, 56, 83])
def test_crop_is_sampled_bilinearly(images: Images, crop: dict[str, float], size: int) -> None:
    view = replace(WHOLE, **crop)
    expected = sample(images[0], view, size)
    np.testing.assert_allclose(render(images[0], view, size), expected, rtol=0, atol=1e-3)


def test_crop_of_the_enlargements_own_pixels_is_the_pixels(images: Images) -> None:
    view = replace(WHOLE, top=8.0, left=5.0, height=16.0, width=16.0)
    np.testing.assert_allclose(render(images[0], view, 16), images[0, 8:24, 5:21], rtol=0, atol=1e-4)


@pytest.mark.parametrize("size", [32, 57, 224])
def test_flip_exchanges_left_and_right(images: Images, size: int) -> None:
    for view in [WHOLE, *draw_views(ALL, 5)]:
        straight, flipped = (render(images[0], replace(view, flip=flip), size) for flip in (False, True))
        assert (straight != straight[:, ::-1]).any()
        np.testing.assert_allclose(flipped, straight[:, ::-1], rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("brightness", "contrast"), [(0.1, 1.0), (-0.3, 1.0), (0.0, 0.5), (0.0, 1.8), (0.2, 1.3), (-0.9, 0.1)]
)
def test_brightness_and_contrast_follow_their_formula(
    images: Images, brightness: float, contrast: float
) -> None:
    view = replace(WHOLE, top=2.0, left=3.5, height=20.0, width=22.0)
    plain = sample(images[1], view, 32)
    changed = (plain - plain.mean()) * contrast + plain.mean() + 255 * brightness
    expected = changed.clip(0, 255)
    ours = render(images[1], replace(view, brightness=brightness, contrast=contrast))
    np.testing.assert_allclose(ours, expected, rtol=0, atol=2e-3)


def test_rotation_turns_about_the_middle(images: Images) -> None:
    turned = render(images[2], replace(WHOLE, rotation=90.0))
    np.testing.assert_allclose(turned, render(np.rot90(images[2]), WHOLE), rtol=0, atol=1e-2)
    spot = np.zeros((28, 28), np.uint8)
    spot[4:7, 13:15] = 200
    # A spot above the middle goes left where the image is turned anticlockwise.
    rows, columns = np.nonzero(render(spot, replace(WHOLE, rotation=30.0)) > 50)
    assert columns.mean() < 12
    assert rows.mean() < 12


def test_what_a_rotation_brings_in_goes_on_from_the_edge() -> None:
    bright = np.full((28, 28), 180, np.uint8)
    np.testing.assert_allclose(render(bright, replace(WHOLE, rotation=33.0)), 180, rtol=0, atol=1e-2)


def test_noise_has_the_size_it_says_and_is_drawn_by_its_seed() -> None:
    grey = np.full((28, 28), 128, np.uint8)
    one, again, other = (
        render(grey, replace(WHOLE, noise=0.05, noise_seed=seed), 28) - 128 for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, again)
    assert (one != other).mean() > 0.99
    assert one.std() == pytest.approx(0.05 * 255, rel=0.1)
    assert abs(one.mean()) < 2


def test_images_of_one_call_do_not_share_their_mean(images: Images) -> None:
    view = replace(WHOLE, contrast=0.5)
    dark = (images[:2] // [[[8]], [[1]]]).astype(np.uint8)
    together = render_views(dark, [view, view], 32)
    for row in range(2):
        np.testing.assert_array_equal(together[row, :, :, 0], render(dark[row], view))


@pytest.mark.parametrize("size", [32, 50])
@pytest.mark.parametrize("strength", [0.1, 0.9])
def test_views_are_grey_levels_of_the_networks_form(images: Images, size: int, strength: float) -> None:
    config = ALL.model_copy(
        update={"image_size": size, "brightness": strength, "contrast": strength, "crop_area": 0.1}
    )
    for view in range(3):
        rendered = read_all(images, config, view)
        assert rendered.shape == (len(images), size, size, 1)
        assert rendered.dtype == np.float32
        assert 0 <= rendered.min() < rendered.max() <= 255


def test_view_depends_on_seed_image_and_number_alone(images: Images) -> None:
    whole = read_all(images, view=2)
    order = np.random.default_rng(2).permutation(len(images))
    np.testing.assert_array_equal(read_all(images[order], view=2), whole[order])
    np.testing.assert_array_equal(read_all(images[3:5], view=2), whole[3:5])
    np.testing.assert_array_equal(read_all(images[7:8], view=2), whole[7:8])
    others = np.roll(images, 1, axis=1)
    others[4] = images[4]
    np.testing.assert_array_equal(read_all(others, view=2)[4], whole[4])


@pytest.mark.parametrize("rows", [[0], [11, 3], [5, 5, 5], list(range(12)), list(range(11, -1, -1))])
def test_view_does_not_depend_on_its_batch(images: Images, rows: list[int]) -> None:
    source = ViewSource(images, ALL, 1)
    assert len(source) == len(images)
    np.testing.assert_array_equal(source[np.array(rows)], read_all(images, view=1)[rows])


def test_view_does_not_depend_on_what_was_drawn_before(images: Images) -> None:
    first = read_all(images, view=1)
    np.random.seed(7)
    keras.utils.set_random_seed(8)
    read_all(images, view=0)
    np.testing.assert_array_equal(read_all(images, view=1), first)


def test_copies_of_an_image_have_the_same_view(images: Images) -> None:
    twice = read_all(np.concatenate([images, images]))
    np.testing.assert_array_equal(twice[: len(images)], twice[len(images) :])


def test_views_of_other_numbers_seeds_and_images_differ(images: Images) -> None:
    reseeded = ALL.model_copy(update={"seed": 1})
    drawn = [read_all(images, view=view) for view in range(4)] + [read_all(images, reseeded)]
    assert len({view[row].tobytes() for view in drawn for row in range(len(images))}) == 5 * len(images)


def test_number_of_views_does_not_change_them(images: Images) -> None:
    more = ALL.model_copy(update={"views": 9})
    np.testing.assert_array_equal(read_all(images, more, 3), read_all(images, ALL, 3))


def test_draws_are_the_same_in_every_version() -> None:
    # A change of these numbers changes every run with views, and makes wrong what is kept of them.
    view = draw_view(derive_generator(0, "view", "image g", 0), ALL, 28)
    assert asdict(view) == pytest.approx(
        {
            "top": 4.4096948754,
            "left": 1.2955284783,
            "height": 22.8170740032,
            "width": 25.4287443554,
            "flip": True,
            "brightness": -0.1640094248,
            "contrast": 0.9636605228,
            "rotation": 0.0,
            "noise": 0.0,
            "noise_seed": 0,
        },
        abs=1e-9,
    )


@pytest.mark.parametrize("pixels", [28, 64, 224])
@pytest.mark.parametrize("crop_area", [0.02, 0.3, 0.6, 0.75, 0.9, 0.99, 1.0])
def test_crops_keep_their_share_and_stay_inside(crop_area: float, pixels: int) -> None:
    drawn = draw_views(TrainConfig(views=1, crop_area=crop_area), 400, pixels)
    shares = [view.height * view.width / pixels**2 for view in drawn]
    assert min(shares) >= crop_area - 1e-9
    assert max(shares) <= 1 + 1e-9
    for view in drawn:
        assert 0 <= view.top <= view.top + view.height <= pixels + 1e-9
        assert 0 <= view.left <= view.left + view.width <= pixels + 1e-9
        assert ASPECTS[0] - 1e-9 <= view.width / view.height <= ASPECTS[1] + 1e-9


def test_crops_take_all_of_their_range() -> None:
    drawn = draw_views(TrainConfig(views=1, crop_area=0.2), 2000)
    shares = [view.height * view.width / 28**2 for view in drawn]
    aspects = [math.log(view.width / view.height) for view in drawn]
    assert min(shares) < 0.22
    assert max(shares) > 0.95
    assert abs(np.mean(aspects)) < 0.02
    for start, length in (("top", "height"), ("left", "width")):
        rooms = [(getattr(view, start), 28 - getattr(view, length)) for view in drawn]
        places = [place / room for place, room in rooms if room]
        assert abs(np.mean(places) - 0.5) < 0.03
        assert min(places) < 0.01
        assert max(places) > 0.99


@pytest.mark.parametrize("zoom_out", [1.05, 1.3, 2.0])
def test_views_show_as_much_beyond_the_image_as_asked_for(zoom_out: float) -> None:
    drawn = draw_views(TrainConfig(views=1, crop_area=0.5, zoom_out=zoom_out), 2000)
    shares = [view.height * view.width / 28**2 for view in drawn]
    assert 0.5 <= min(shares) < 0.52
    assert 0.97 * zoom_out**2 < max(shares) <= zoom_out**2 + 1e-9
    sides = [side for view in drawn for side in (view.height, view.width)]
    assert 28 < max(sides) <= 28 * zoom_out + 1e-9
    for view in drawn:
        assert ASPECTS[0] - 1e-9 <= view.width / view.height <= ASPECTS[1] + 1e-9
        for start, length in ((view.top, view.height), (view.left, view.width)):
            # What is larger than the image has all of it; what is smaller lies within.
            assert min(0, 28 - length) - 1e-9 <= start <= max(0, 28 - length) + 1e-9


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_views_that_are_no_crops_show_the_whole_image(share: float) -> None:
    settings = {"views": 1, "crop_area": 0.25, "zoom_out": 1.2, "flip": True, "brightness": 0.3, "noise": 0.1}
    crops = draw_views(TrainConfig(**settings), 2000)
    drawn = draw_views(TrainConfig(**settings, crop_share=share), 2000)
    is_crop = [view == crop for view, crop in zip(drawn, crops, strict=True)]
    assert abs(np.mean(is_crop) - share) < 0.03
    for view, crop in zip(drawn, crops, strict=True):
        # What a view has beside its crop is the same whatever the share.
        assert view in (crop, replace(crop, top=0.0, left=0.0, height=28.0, width=28.0))


def test_a_share_of_crops_needs_views() -> None:
    with pytest.raises(SettingError, match="--crop-share"):
        choose_config("original", crop_share=0.5)


def test_beyond_the_image_its_edge_goes_on(images: Images) -> None:
    view = replace(WHOLE, top=-7.0, left=-7.0, height=42.0, width=42.0)
    shown = render(images[0], view, 42)
    np.testing.assert_allclose(shown, np.pad(images[0], 7, mode="edge"), rtol=0, atol=1e-3)
    np.testing.assert_allclose(render(images[0], view, 63), sample(images[0], view, 63), rtol=0, atol=1e-3)


def test_flips_brightness_and_contrast_take_all_of_their_range() -> None:
    drawn = draw_views(ALL, 2000)
    assert abs(np.mean([view.flip for view in drawn]) - 0.5) < 0.05
    for name, middle, reach in (("brightness", 0.0, 0.2), ("contrast", 1.0, 0.3)):
        offsets = [getattr(view, name) - middle for view in drawn]
        assert -reach <= min(offsets) < -0.99 * reach
        assert 0.99 * reach < max(offsets) <= reach


def test_what_is_not_asked_for_is_not_done() -> None:
    whole = {**asdict(WHOLE)}
    assert all(asdict(view) == whole for view in draw_views(TrainConfig(views=1), 50))


SINGLE: dict[str, Callable[[View], bool]] = {
    "crop_area": lambda view: view.height < 28 or view.width < 28,
    "flip": lambda view: view.flip,
    "brightness": lambda view: view.brightness != 0,
    "contrast": lambda view: view.contrast != 1,
    "rotation": lambda view: view.rotation != 0,
    "noise": lambda view: view.noise > 0,
}


@pytest.mark.parametrize("setting", SINGLE)
def test_each_setting_does_what_it_says_and_nothing_else(setting: str) -> None:
    config = TrainConfig.model_validate({"views": 1, setting: True if setting == "flip" else 0.5})
    drawn = draw_views(config, 50)
    assert {name for name, is_done in SINGLE.items() if any(map(is_done, drawn))} == {setting}


@pytest.mark.parametrize(
    "changes",
    [
        {"crop_area": 0.9},
        {"flip": True},
        {"brightness": 0.1},
        {"contrast": 0.1},
        {"rotation": 5.0},
        {"noise": 0.01},
    ],
)
def test_augmentation_without_views_is_refused_in_one_line(changes: dict[str, Any]) -> None:
    with pytest.raises(PneumoError, match="views") as caught:
        choose_config("original", **changes)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 200
    assert choose_config("original", **changes, views=1).views == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("views", -1),
        ("crop_area", 0.0),
        ("crop_area", 1.01),
        ("crop_area", float("nan")),
        ("brightness", -0.1),
        ("brightness", 1.1),
        ("contrast", 1.0),
        ("contrast", -0.1),
        ("rotation", 181.0),
        ("noise", -0.1),
        ("flip", "perhaps"),
    ],
)
def test_setting_out_of_its_range_is_named(name: str, value: object) -> None:
    with pytest.raises(PneumoError, match=f"setting {name}:"):
        choose_config("original", **{"views": 1, name: value})
