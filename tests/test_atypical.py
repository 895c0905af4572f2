"""Unlike the training images: what is seen at once, distances and their cut, and the kept arrays."""

import io
import math
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile import claim_array, write_entries
from numpy.typing import NDArray
from PIL import Image
from sklearn.covariance import LedoitWolf

from pneumocli.core.atypical import (
    AIM,
    ATYPICAL,
    POOLED_MAPS,
    Typical,
    TypicalFigures,
    describe_atypical,
    fit_typical,
    judge_image,
    judge_looks,
    pack_typical,
    read_pooled_maps,
    read_typical,
    take_cut,
    unpack_typical,
    write_pooled_maps,
    write_typical,
)
from pneumocli.core.errors import RunError
from pneumocli.core.images import Looks, Picture, read_image

WIDTH = 12
RNG = np.random.default_rng(0)
MIXING = RNG.normal(size=(WIDTH, WIDTH))


def draw_features(number: int, seed: int) -> NDArray[np.float32]:
    """Correlated features of unlike sizes, (number, WIDTH)."""
    drawn = np.random.default_rng(seed).normal(size=(number, WIDTH)) @ MIXING
    return (drawn * np.geomspace(0.1, 10, WIDTH) + 3).astype(np.float32)


def fit(features: NDArray[np.float32], groups: NDArray[np.int64] | None = None) -> Typical:
    typical = fit_typical(features, np.arange(len(features)) if groups is None else groups)
    assert typical is not None
    return typical


@pytest.fixture(scope="module")
def typical() -> Typical:
    return fit(draw_features(1500, seed=1))


def make_picture(
    width: int = 1200, height: int = 1000, colour: float = 0.0, pixels: int = 28, contrast: float = 1.0
) -> Picture:
    levels = 128 + contrast * np.random.default_rng(0).normal(0, 40, (pixels, pixels)).clip(-120, 120)
    return Picture(levels.astype(np.uint8), Looks(width, height, colour))


@pytest.mark.parametrize(
    ("looks", "reason"),
    [
        ({"contrast": 0.01}, "nearly constant (standard deviation of 0.5 grey levels)"),
        ({"colour": 0.31}, "coloured (0.31)"),
        ({"width": 1450, "height": 500}, "2.9 times as wide as high"),
        ({"width": 500, "height": 1450}, "2.9 times as high as wide"),
        ({"width": 40, "height": 30}, "40 x 30 pixels"),
        ({"width": 28, "height": 29}, "28 x 29 pixels"),
        ({"width": 20, "height": 30, "colour": 0.5, "contrast": 0.0}, "nearly constant"),
    ],
)
def test_what_is_seen_at_once(looks: dict[str, float], reason: str) -> None:
    said = judge_looks(make_picture(**looks))
    assert said is not None
    assert said.startswith(reason)


@pytest.mark.parametrize(
    "looks",
    [
        {},
        {"colour": 0.08},
        {"width": 2400, "height": 1000},
        {"width": 1000, "height": 2400},
        {"width": 64, "height": 64},
        {"width": 28, "height": 28},
        {"width": 32, "height": 32, "pixels": 32},
        {"contrast": 0.15},
    ],
)
def test_what_is_no_reason(looks: dict[str, float]) -> None:
    assert judge_looks(make_picture(**looks)) is None


def save_chest(path: Path, tint: tuple[float, float, float]) -> Path:
    down, across = np.mgrid[0:200, 0:240]
    grey = 40 + 150 * np.abs(np.sin(across / 40) * np.cos(down / 90))
    grey += np.random.default_rng(0).normal(0, 5, grey.shape)
    bands = (np.clip(grey, 0, 255)[..., np.newaxis] * tint).astype(np.uint8)
    Image.fromarray(bands).save(path, quality=60)
    return path


@pytest.mark.parametrize("tint", [(1, 1, 1), (0.85, 0.92, 1), (1, 0.95, 0.85)], ids=["grey", "blue", "sepia"])
def test_grey_and_slightly_tinted_scans_pass(tint: tuple[float, float, float], tmp_path: Path) -> None:
    assert judge_looks(read_image(save_chest(tmp_path / "scan.jpg", tint), 28)) is None


def test_coloured_file_does_not(tmp_path: Path) -> None:
    reason = judge_looks(read_image(save_chest(tmp_path / "scan.jpg", (1, 0.6, 0.3)), 28))
    assert reason is not None
    assert reason.startswith("coloured")


def test_distance_is_mahalanobis(typical: Typical) -> None:
    fitted = LedoitWolf().fit(draw_features(1500, seed=1).astype(np.float64))
    features = draw_features(50, seed=2) * 1.5
    np.testing.assert_allclose(typical.measure(features), np.sqrt(fitted.mahalanobis(features)), rtol=1e-4)
    assert typical.figures.shrinkage == pytest.approx(fitted.shrinkage_)
    assert typical.mean.dtype == typical.whitening.dtype == np.float32


def test_cut_and_false_rejects_are_those_of_held_out_images() -> None:
    features = draw_features(203, seed=3)
    groups = np.arange(len(features)) // 2
    figures = fit(features, groups).figures
    # The second way: whatever the folds are, by scikit-learn's own distance.
    from sklearn.model_selection import GroupKFold

    distances = np.empty(len(features))
    parts = [held_out for _, held_out in GroupKFold(5).split(features, groups=groups)]
    for held_out in parts:
        others = np.setdiff1d(np.arange(len(features)), held_out)
        assert not set(groups[others]) & set(groups[held_out])
        fitted = LedoitWolf().fit(features[others].astype(np.float64))
        distances[held_out] = np.sqrt(fitted.mahalanobis(features[held_out]))
    assert figures.cut == pytest.approx(np.sort(distances)[math.ceil(204 * 0.995) - 1])
    wrong = sum(
        int((distances[held_out] > take_cut(np.delete(distances, held_out))).sum()) for held_out in parts
    )
    assert figures.false_rejects == wrong
    assert figures.false_reject_rate == wrong / 203
    assert (figures.images, figures.aim) == (203, 0.005)


@pytest.mark.parametrize(("number", "rank"), [(1, 1), (198, 198), (199, 199), (200, 200), (1000, 996)])
def test_cut_leaves_a_half_percent_above_it(number: int, rank: int) -> None:
    values = np.random.default_rng(0).permutation(number) + 1.0
    assert take_cut(values) == rank


def test_further_images_are_rejected_as_often_as_aimed(typical: Typical) -> None:
    distances = typical.measure(draw_features(20_000, seed=4))
    assert 0.2 * AIM < (distances > typical.figures.cut).mean() < 2.5 * AIM
    assert 0.2 * AIM < typical.figures.false_reject_rate < 2.5 * AIM


def test_what_lies_elsewhere_is_beyond_the_cut(typical: Typical) -> None:
    turned = draw_features(200, seed=5)[:, ::-1]
    assert (typical.measure(turned) > typical.figures.cut).mean() > 0.95


def test_copies_do_not_make_the_cut_smaller() -> None:
    """What has a copy on the other side of a fold looks nearer than it is."""
    once = draw_features(41, seed=6)
    twice = np.concatenate([once, once])
    together = fit(twice, np.tile(np.arange(41), 2)).figures.cut
    apart = fit(twice).figures.cut
    assert together > 1.05 * apart


def test_feature_that_is_always_0_is_noticed_when_it_is_not() -> None:
    features = draw_features(300, seed=7)
    features[:, 3] = 0
    typical = fit(features)
    unlike = features[:1].copy()
    unlike[0, 3] = 30
    assert typical.measure(features[:1])[0] <= typical.figures.cut < typical.measure(unlike)[0]


def test_more_features_than_images() -> None:
    wide = np.random.default_rng(0).normal(size=(40, 100)).astype(np.float32)
    typical = fit(wide)
    assert np.isfinite(typical.whitening).all()
    assert typical.measure(wide + 20).min() > typical.figures.cut


@pytest.mark.parametrize(
    ("features", "groups"),
    [
        (draw_features(9, seed=8), np.arange(9)),
        (draw_features(30, seed=8), np.zeros(30, np.int64)),
        (np.ones((30, WIDTH), np.float32), np.arange(30)),
    ],
    ids=["few", "one group", "all alike"],
)
def test_nothing_is_fitted_where_nothing_can_be(
    features: NDArray[np.float32], groups: NDArray[np.int64]
) -> None:
    assert fit_typical(features, groups) is None


def test_two_groups_are_enough() -> None:
    assert fit(draw_features(30, seed=8), np.arange(30) % 2).figures.images == 30


def test_image_is_judged_by_its_looks_and_then_by_its_distance(typical: Typical) -> None:
    plain, coloured, cut = make_picture(), make_picture(colour=0.5), typical.figures.cut
    assert judge_image(plain, cut, typical.figures) is None
    assert judge_image(plain, None, None) is None
    assert judge_image(plain, cut + 8, typical.figures) == (
        f"unlike the training images (distance {cut + 8:.1f}, cut {cut:.1f})"
    )
    assert (
        judge_image(coloured, cut + 8, typical.figures)
        == judge_image(coloured, None, None)
        == "coloured (0.50)"
    )


def test_summary_tells_how_often_it_is_wrong() -> None:
    figures = TypicalFigures(images=1000, cut=48.0, aim=0.01, false_rejects=12, shrinkage=0.1)
    assert describe_atypical(1, 3, figures) == (
        "atypical: 1 of 3 images; so are 12 of 1000 training images held out (1.2 %, by their distance)"
    )
    assert "looks alone" in describe_atypical(0, 1, None)
    assert figures.to_dict()["false_reject_rate"] == 0.012


def test_arrays_come_back(typical: Typical, tmp_path: Path) -> None:
    assert read_typical(tmp_path) is None
    write_typical(tmp_path, typical)
    assert [path.name for path in tmp_path.iterdir()] == [ATYPICAL]
    kept = read_typical(tmp_path)
    assert kept is not None
    assert kept.figures == typical.figures
    assert kept.mean.tobytes() == typical.mean.tobytes()
    assert kept.whitening.tobytes() == typical.whitening.tobytes()


def pack(typical: Typical, **changes: NDArray[np.generic]) -> bytes:
    arrays = {
        "mean": typical.mean,
        "whitening": typical.whitening,
        "figures": np.array(typical.figures.model_dump_json()),
    }
    content = io.BytesIO()
    np.savez(content, **arrays | changes)
    return content.getvalue()


BAD_ARRAYS = {
    "another width": {"mean": np.zeros(WIDTH + 1, np.float32)},
    "no matrix": {"whitening": np.zeros(WIDTH, np.float32)},
    "a number": {"mean": np.float32(1)},
    "doubles": {"mean": np.zeros(WIDTH)},
    "NaN": {"mean": np.full(WIDTH, np.nan, np.float32)},
    "infinity": {"whitening": np.full((WIDTH, WIDTH), np.inf, np.float32)},
    "objects": {"mean": np.array([print] * WIDTH, dtype=object)},
    "no figures": {"figures": np.array("{}")},
    "cut below 0": {"figures": np.array('{"images":1,"cut":-1,"aim":0.01,"false_rejects":0,"shrinkage":0}')},
}


@pytest.mark.parametrize("changes", BAD_ARRAYS.values(), ids=BAD_ARRAYS.keys())
def test_other_arrays_are_refused(changes: dict[str, NDArray[np.generic]], typical: Typical) -> None:
    with pytest.raises(RunError, match=r"a\.keras") as caught:
        unpack_typical(io.BytesIO(pack(typical, **changes)), Path("a.keras"))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.95])
def test_cut_off_arrays_are_refused(share: float, typical: Typical, tmp_path: Path) -> None:
    content = pack_typical(typical)
    (tmp_path / ATYPICAL).write_bytes(content[: int(share * len(content))])
    with pytest.raises(RunError, match=ATYPICAL) as caught:
        read_typical(tmp_path)
    assert len(str(caught.value).splitlines()) == 1


def test_headers_that_claim_too_much_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(path: Path, *arguments: object, **options: object) -> None:
        pytest.fail("numpy was asked to read it")

    folders = write_folds(tmp_path, [[0, 1], [2]])
    monkeypatch.setattr(np, "load", read)
    claimed = claim_array((10**12, 4), "<f4")
    write_entries(tmp_path / ATYPICAL, {"mean.npy": claimed})
    with pytest.raises(RunError, match=ATYPICAL):
        read_typical(tmp_path)
    write_entries(folders[0] / POOLED_MAPS, {"index.npy": claimed, "pooled.npy": claimed})
    with pytest.raises(RunError, match=POOLED_MAPS):
        read_pooled_maps(folders)


@pytest.mark.parametrize("name", [ATYPICAL, POOLED_MAPS])
def test_pipes_are_refused(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(RunError, match=name):
        read_typical(tmp_path) if name == ATYPICAL else read_pooled_maps([tmp_path])


@pytest.mark.parametrize(
    "changes",
    [
        {"index": np.array(0)},
        {"index": np.zeros(2)},
        {"pooled": np.zeros((2, 1))},
        {"pooled": np.float32(0)},
        {"pooled": np.array([print, print], object)},
    ],
)
def test_other_pooled_maps_are_refused(changes: dict[str, Any], tmp_path: Path) -> None:
    whole: dict[str, Any] = {"index": np.arange(2), "pooled": np.zeros((2, 1), np.float32)}
    np.savez(tmp_path / POOLED_MAPS, **(whole | changes))
    with pytest.raises(RunError, match=POOLED_MAPS):
        read_pooled_maps([tmp_path])


def write_folds(folder: Path, rows: list[list[int]]) -> list[Path]:
    folders = [folder / f"fold_{number}" for number in range(1, len(rows) + 1)]
    for path, index in zip(folders, rows, strict=True):
        write_pooled_maps(path, np.array(index), np.array([[row, 2 * row] for row in index], np.float32))
    return folders


def test_pooled_maps_of_folds_stand_in_the_order_of_the_split(tmp_path: Path) -> None:
    pooled = read_pooled_maps(write_folds(tmp_path, [[1, 4], [0, 2], [3]]))
    assert pooled.dtype == np.float32
    assert pooled.tolist() == [[row, 2 * row] for row in range(5)]


@pytest.mark.parametrize("rows", [[[0, 1], [1, 2]], [[0, 1], [3]]], ids=["twice", "lost"])
def test_folds_that_do_not_belong_together_are_refused(rows: list[list[int]], tmp_path: Path) -> None:
    with pytest.raises(RunError, match="belong together"):
        read_pooled_maps(write_folds(tmp_path, rows))


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04"], ids=["lost", "empty", "cut off"])
def test_damaged_pooled_maps_are_refused(content: bytes | None, tmp_path: Path) -> None:
    folders = write_folds(tmp_path, [[0, 1], [2]])
    path = folders[1] / POOLED_MAPS
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RunError) as caught:
        read_pooled_maps(folders)
    assert str(path) in str(caught.value)


def test_entry_that_is_no_array_is_refused(typical: Typical) -> None:
    content = io.BytesIO(pack_typical(typical))
    with zipfile.ZipFile(content) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, entry in entries.items():
            archive.writestr(name, b"\x9b" + entry[1:] if name == "mean.npy" else entry)
    with pytest.raises(RunError, match="damaged"):
        unpack_typical(content, Path("a.keras"))
