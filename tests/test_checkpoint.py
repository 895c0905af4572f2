"""The checkpoint file: what it gives back, and which it refuses."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pneumocli.core import files
from pneumocli.core.checkpoint import Best, Checkpoint, CheckpointError, Standing

KEY = {"settings": {"seed": 0, "batch_size": 32}, "versions": {"keras": "3.15.1"}, "fold": 1}


def draw_arrays(seed: int) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape).astype(np.float32) for shape in ((3, 4), (4,), ())] + [np.int64(7)]


STANDING = Standing(
    phase="tune",
    epochs=3,
    is_over=False,
    history=[
        {"phase": "head", "epoch": 1, "loss": 0.1, "val_loss": None, "kept": True},
        {"phase": "tune", "epoch": 1, "loss": 1 / 3, "val_loss": float("nan")},
    ],
    weights=draw_arrays(0),
    optimizer=draw_arrays(1),
    best=Best(loss=0.1 + 0.2, epoch=0, waited=2, weights=draw_arrays(2)),
)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    return Checkpoint(tmp_path / "checkpoint.npz", KEY)


def flatten(standing: Standing) -> str:
    """All of a standing as text, to the last bit."""
    best = standing.best
    parts = [standing.weights, standing.optimizer, [] if best is None else best.weights]
    arrays = [[(np.asarray(array).dtype, np.asarray(array).tobytes()) for array in part] for part in parts]
    rest = replace(standing, weights=[], optimizer=[], best=best and replace(best, weights=[]))
    return f"{rest!r} {arrays!r}"


@pytest.mark.parametrize(
    "standing",
    [
        STANDING,
        replace(STANDING, best=None, is_over=True),
        replace(STANDING, best=Best(0.5, 2, 0, STANDING.weights)),
        replace(STANDING, best=Best(0.5, -1, 3, draw_arrays(3))),
    ],
    ids=["best before", "no early stopping", "last is best", "start is best"],
)
def test_what_is_read_is_what_was_written(checkpoint: Checkpoint, standing: Standing) -> None:
    checkpoint.write(standing)
    read = checkpoint.read()
    assert read is not None
    assert flatten(read) == flatten(standing)
    assert [path.name for path in checkpoint.path.parent.iterdir()] == ["checkpoint.npz"]


def test_weights_that_are_the_best_are_written_once(checkpoint: Checkpoint) -> None:
    large = [np.zeros(100_000, np.float32)]
    other = replace(STANDING, weights=large, best=Best(0.5, 0, 2, large))
    checkpoint.write(other)
    size = checkpoint.path.stat().st_size
    checkpoint.write(replace(other, best=Best(0.5, 2, 0, large)))
    assert size - checkpoint.path.stat().st_size > 400_000


def test_no_file_is_no_standing(checkpoint: Checkpoint) -> None:
    assert checkpoint.read() is None
    checkpoint.remove()


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ({**KEY, "settings": {"seed": 1, "batch_size": 32}}, "settings seed 0, now 1"),
        ({**KEY, "versions": {"keras": "3.16.0"}}, "versions keras 3.15.1, now 3.16.0"),
        ({**KEY, "fold": 2}, "fold 1, now 2"),
        ({**KEY, "weights": {"sha256": "a"}}, "weights None"),
    ],
)
def test_other_work_is_refused_and_said(checkpoint: Checkpoint, key: dict[str, Any], words: str) -> None:
    checkpoint.write(STANDING)
    with pytest.raises(CheckpointError, match=words) as caught:
        replace(checkpoint, key=key).read()
    assert len(str(caught.value).splitlines()) == 1


def test_damage_anywhere_is_found(checkpoint: Checkpoint) -> None:
    checkpoint.write(STANDING)
    whole = checkpoint.path.read_bytes()
    first = whole.index(STANDING.weights[0].tobytes())
    damaged = {
        "cut off": whole[: len(whole) // 2],
        "empty": b"",
        "a bit": whole[:first] + bytes([whole[first] ^ 1]) + whole[first + 1 :],
        "text": b"not an archive",
    }
    for name, content in damaged.items():
        checkpoint.path.write_bytes(content)
        with pytest.raises(CheckpointError, match="damaged"):
            pytest.fail(f"{name}: {checkpoint.read()}")


def test_a_write_that_fails_leaves_the_one_before(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint.write(STANDING)

    def refuse(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", refuse)
    with pytest.raises(OSError, match="No space"):
        checkpoint.write(replace(STANDING, epochs=4))
    read = checkpoint.read()
    assert read is not None
    assert read.epochs == 3
    assert [path.name for path in checkpoint.path.parent.iterdir()] == ["checkpoint.npz"]
