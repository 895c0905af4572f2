"""The pictures: what is where on them, and names of any kind."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pneumocli.report.overlay import LONGEST_NAME, draw_overlay, shorten_name

WORDS = {
    "name": "xray.png",
    "label": "pneumonia",
    "probability": 0.91,
    "called_from": 0.5,
    "model": "cv-1, ensemble",
}
HALF = np.full((28, 28), 128, np.uint8)


def draw(
    folder: Path, evidence: NDArray[np.float32], image: NDArray[np.uint8] = HALF, seen: float = 1.0
) -> NDArray[np.int64]:
    path = folder / "drawn.png"
    draw_overlay(path, image, evidence, seen, **WORDS)  # type: ignore[arg-type]
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(np.int64)


def cut_panel(picture: NDArray[np.int64], left: float) -> NDArray[np.int64]:
    height, width = picture.shape[:2]
    rows = slice(round(0.19 * height), round(0.8 * height))
    return picture[rows, round((left + 0.01) * width) : round((left + 0.4) * width)]


def split_in_quarters(panel: NDArray[np.int64]) -> dict[tuple[int, int], NDArray[np.int64]]:
    height, width = panel.shape[0] // 2, panel.shape[1] // 2
    return {
        (row, column): panel[row * height : (row + 1) * height, column * width : (column + 1) * width]
        for row in (0, 1)
        for column in (0, 1)
    }


@pytest.mark.parametrize("corner", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_colours_lie_where_the_evidence_is(corner: tuple[int, int], tmp_path: Path) -> None:
    evidence = np.zeros((2, 2), np.float32)
    evidence[corner] = 0.2
    picture = draw(tmp_path, evidence)
    # Yellow, the upper end, has more green than blue; violet, the lower one, has not.
    yellow = {
        place: (part[..., 1] - part[..., 2]).mean()
        for place, part in split_in_quarters(cut_panel(picture, 0.45)).items()
    }
    assert max(yellow, key=lambda place: yellow[place]) == corner


def test_image_itself_is_shown_grey_and_as_it_lies(tmp_path: Path) -> None:
    image = np.zeros((28, 28), np.uint8)
    image[:14, 14:] = 255
    panel = cut_panel(draw(tmp_path, np.ones((7, 7), np.float32), image), 0.02)
    assert (panel == panel[..., :1]).all()
    light = {place: part.mean() for place, part in split_in_quarters(panel).items()}
    assert light[0, 1] > 230
    assert max(light[place] for place in light if place != (0, 1)) < 25


def test_map_is_of_the_middle_that_the_network_saw(tmp_path: Path) -> None:
    whole, middle = (
        np.ptp(cut_panel(draw(tmp_path, np.ones((4, 4), np.float32), seen=seen), 0.45), axis=-1) > 0
        for seen in (1.0, 0.5)
    )
    height, width = middle.shape
    assert whole.all()
    assert middle[height // 3 : 2 * height // 3, width // 3 : 2 * width // 3].all()
    assert not middle[: height // 5].any() and not middle[-height // 5 :].any()
    assert not middle[:, : width // 5].any() and not middle[:, -width // 5 :].any()
    assert middle.mean() == pytest.approx(0.25, abs=0.04)


def test_colours_are_relative_and_the_bar_tells_the_range(tmp_path: Path) -> None:
    evidence = np.zeros((7, 7), np.float32)
    evidence[2, 3] = 0.5
    strong, weak = draw(tmp_path, evidence), draw(tmp_path, evidence / 100)
    np.testing.assert_array_equal(cut_panel(strong, 0.45), cut_panel(weak, 0.45))
    width = strong.shape[1]
    assert (strong[:, round(0.9 * width) :] != weak[:, round(0.9 * width) :]).any()


def test_map_without_evidence_is_one_colour_and_says_so(tmp_path: Path) -> None:
    panel = cut_panel(draw(tmp_path, np.zeros((7, 7), np.float32)), 0.45)
    is_written_on = (np.abs(panel - panel[0, 0]) > 9).any(axis=-1)
    assert 0 < is_written_on.mean() < 0.1


@pytest.mark.parametrize(
    "name", ["two\nlines.png", "$x^{2$.png", "胸部.png", "broken\udcff.png", "\t.png", "a" * 300, "%s {x}"]
)
def test_any_name_can_be_written_on_a_picture(name: str, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        words = {**WORDS, "name": name, "model": name}
        draw_overlay(tmp_path / "drawn.png", HALF, np.ones((7, 7), np.float32), **words)  # type: ignore[arg-type]
    assert len(shorten_name(name)) <= LONGEST_NAME + 1
    assert shorten_name(name).isprintable()


def test_picture_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure

    def break_off(self: Figure, path: Path, **options: object) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", break_off)
    with pytest.raises(OSError, match="No space"):
        draw(tmp_path, np.ones((7, 7), np.float32))
    assert not list(tmp_path.iterdir())
