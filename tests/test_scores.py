"""Score files: what is written is read back, damage is told, folds are pooled by row."""

import gc
from pathlib import Path

import numpy as np
import pytest

from pneumocli.core import scores as module
from pneumocli.core.errors import RunError
from pneumocli.core.scores import Scores, pool_scores, read_scores, write_scores


def make_scores(*index: int) -> Scores:
    rows = np.array(index, dtype=np.int64)
    return Scores(rows, rows % 2, (rows / 100).astype(np.float32))


def refuse(folder: Path) -> str:
    with pytest.raises(RunError) as caught:
        read_scores(folder, "test")
    line = str(caught.value)
    del caught
    gc.collect()  # a file that was left open is told now
    assert len(line.splitlines()) == 1
    assert str(folder / "scores_test.npz") in line
    return line


def test_scores_read_back_what_was_written(tmp_path: Path) -> None:
    written = make_scores(5, 3, 8)
    write_scores(tmp_path, "test", written, "small.npz")
    read = read_scores(tmp_path, "test")
    for name in ("index", "y_true", "y_score"):
        kept, given = getattr(read, name), getattr(written, name)
        assert kept.dtype == given.dtype
        np.testing.assert_array_equal(kept, given)


def test_file_needs_no_pneumocli(tmp_path: Path) -> None:
    write_scores(tmp_path, "val", make_scores(0, 1), "small.npz")
    with np.load(tmp_path / "scores_val.npz", allow_pickle=False) as kept:
        assert set(kept.files) == {"index", "y_true", "y_score", "data"}
        assert kept["data"].item() == "small.npz"


def test_missing_file(tmp_path: Path) -> None:
    assert "missing" in refuse(tmp_path)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04", b"\x80\x04N."])
def test_other_file(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "scores_test.npz").write_bytes(content)
    assert "damaged" in refuse(tmp_path)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.99])
def test_cut_off_file(share: float, tmp_path: Path) -> None:
    write_scores(tmp_path, "test", make_scores(*range(50)), "small.npz")
    path = tmp_path / "scores_test.npz"
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert "damaged" in refuse(tmp_path)


def test_file_without_scores(tmp_path: Path) -> None:
    np.savez(tmp_path / "scores_test.npz", index=np.arange(3))
    assert "damaged" in refuse(tmp_path)


def test_single_array(tmp_path: Path) -> None:
    with (tmp_path / "scores_test.npz").open("wb") as file:
        np.save(file, np.arange(3))
    assert "damaged" in refuse(tmp_path)


def test_nothing_stays_when_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_scores(tmp_path, "test", make_scores(1), "small.npz")
    before = (tmp_path / "scores_test.npz").read_bytes()

    def fail(path: Path, **arrays: object) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.np, "savez", fail)
    with pytest.raises(OSError, match="No space"):
        write_scores(tmp_path, "test", make_scores(2), "small.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["scores_test.npz"]
    assert (tmp_path / "scores_test.npz").read_bytes() == before


def test_folds_are_pooled_by_row() -> None:
    pooled = pool_scores([make_scores(7, 2), make_scores(0, 9), make_scores(4)])
    assert pooled.index.tolist() == [0, 2, 4, 7, 9]
    np.testing.assert_array_equal(pooled.y_true, [0, 0, 0, 1, 1])
    np.testing.assert_array_equal(pooled.y_score, np.float32([0, 0.02, 0.04, 0.07, 0.09]))


def test_row_in_two_folds_is_refused() -> None:
    with pytest.raises(RunError, match="by 2 folds, not by 1"):
        pool_scores([make_scores(1, 2), make_scores(2, 3)])


def test_repeats_are_averaged_by_row() -> None:
    scores = [np.float32([0.1, 0.7]), np.float32([0.3]), np.float32([0.2]), np.float32([0.6, 0.35])]
    rows = [np.array([0, 2]), np.array([1]), np.array([2]), np.array([1, 0])]
    labels = np.array([0, 1, 1])
    parts = [Scores(row, labels[row], part) for row, part in zip(rows, scores, strict=True)]
    pooled = pool_scores(parts, repeats=2)
    np.testing.assert_array_equal(pooled.index, [0, 1, 2])
    np.testing.assert_array_equal(pooled.y_true, labels)
    np.testing.assert_allclose(pooled.y_score, [(0.1 + 0.35) / 2, (0.3 + 0.6) / 2, (0.7 + 0.2) / 2])
    assert pooled.y_score.dtype == np.float32


@pytest.mark.parametrize("lost", range(4))
def test_row_that_a_repeat_lacks_is_refused(lost: int) -> None:
    parts = [make_scores(0), make_scores(1, 2), make_scores(0, 1), make_scores(2)]
    with pytest.raises(RunError, match="by 1 folds, not by 2"):
        pool_scores([part for number, part in enumerate(parts) if number != lost], repeats=2)
