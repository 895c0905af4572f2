"""Nothing is ever chosen on the test images: with noise in their place, a run keeps the same bytes."""

import io
import json
import re
import shlex
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from test_cli import succeed

from pneumocli.core import records
from pneumocli.core.album import PICTURES
from pneumocli.core.hashes import HASHES
from pneumocli.core.runs import CONFIG, ENSEMBLE, HISTORY, MODEL
from pneumocli.core.scores import OUT_OF_FOLD

pytest_plugins = ["trained"]

SMALL = (
    "--weights none --image-size 32 --precision float32 --head-epochs 2 --head-learning-rate 0.05 "
    "--tune-layers 6"
)
SETTINGS = {
    "original": shlex.split(f"--recipe original {SMALL} --head-units 8 --tune-epochs 1"),
    # Views, a falling rate and no early stopping, as they are in the default.
    "robust": shlex.split(f"--recipe robust {SMALL} --tune-epochs 2 --views 2"),
}

Contents = dict[str, bytes]


class FrozenClock(datetime):
    @classmethod
    def now(cls, tz: Any = None) -> "FrozenClock":
        return cls(2026, 1, 1, tzinfo=UTC)


def read_contents(folder: Path) -> Contents:
    """Every file under a folder; of an archive every member, since its directory has the time of writing."""
    contents: Contents = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        if path.name == HASHES:  # of whole model files, which have times in them; their members are compared
            continue
        contents |= unpack(str(path.relative_to(folder)), path.read_bytes())
    return contents


def unpack(name: str, content: bytes) -> Contents:
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return {name: content}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {f"{name}/{member}": archive.read(member) for member in archive.namelist()}
    for member, inner in members.items():
        if member.endswith(".keras/metadata.json"):
            # Keras's own clock, which cannot be frozen without freezing Python's.
            members[member] = json.dumps(json.loads(inner) | {"date_saved": ""}).encode()
        elif member.endswith(".keras/config.json"):
            members[member] = number_objects(inner)
    return members


def number_objects(config: bytes) -> bytes:
    """Keras names an object that two layers share by its place in memory: here by the order of naming."""
    numbers: dict[bytes, bytes] = {}
    return re.sub(
        rb'(?<="shared_object_id": )\d+',
        lambda found: numbers.setdefault(found[0], str(len(numbers)).encode()),
        config,
    )


@dataclass
class Left:
    """What a chain of commands has left, before and after its runs were scored."""

    trained: Contents
    scored: Contents
    test_figures: dict[str, Any]


@pytest.fixture
def left(
    tiny_commands: None, data_arrays: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, str, dict[str, Any]], Left]:
    """Train, cross-validate, score and join on data of which the given arrays differ."""
    monkeypatch.setattr(records, "datetime", FrozenClock)
    groups = tmp_path / "patients.csv"
    groups.write_text("index,group\n0,a\n5,a\n9,b\n10,b\n")

    def work(name: str, recipe: str, changes: dict[str, Any]) -> Left:
        # Keras numbers layers by what was built before in the same process.
        keras.utils.clear_session()
        folder, runs = tmp_path / name, tmp_path / name / "runs"
        folder.mkdir()
        data = folder / "mine.npz"
        np.savez(data, **{**data_arrays, **changes})
        shared = ("--data", data, "--runs", runs)
        succeed("cv", *shared, "--groups", groups, *SETTINGS[recipe])
        succeed("train", *shared, *SETTINGS[recipe])
        trained = read_contents(runs)
        for split in ("val", "test"):
            for run in ("cv-1", "train-1"):
                succeed("evaluate", run, *shared, "--split", split)
            succeed("ensemble", "cv-1", *shared, "--split", split)
        figures = {
            run: json.loads((runs / run / "metrics_test.json").read_text()) for run in ("cv-1", "train-1")
        }
        return Left(trained, read_contents(runs), figures)

    return work


def drop_test_files(contents: Contents) -> Contents:
    kept = {name: content for name, content in contents.items() if "_test" not in name}
    return {
        name: drop_test_pictures(content) if name.endswith(PICTURES) else content
        for name, content in kept.items()
    }


def drop_test_pictures(listed: bytes) -> bytes:
    content = json.loads(listed)
    pictures = [picture for picture in content["pictures"] if picture["split"] != "test"]
    assert len(pictures) < len(content["pictures"])
    return json.dumps(content | {"pictures": pictures}).encode()


def draw_noise(images: int) -> dict[str, Any]:
    rng = np.random.default_rng(11)
    labels = rng.permutation(np.arange(images) % 2).astype(np.uint8)[:, np.newaxis]
    return {
        "test_images": rng.integers(0, 256, (images, 28, 28), np.uint8),
        "test_labels": labels,
    }


def list_chosen(figures: dict[str, Any]) -> dict[str, Any]:
    """What was chosen before the test images were scored, as the figures of the test images name it."""
    thresholds = {name: model["threshold"] for name, model in figures["models"].items()}
    return {"thresholds": thresholds, "best_single": figures.get("best_single")}


@pytest.mark.parametrize("recipe", SETTINGS)
def test_all_but_the_test_scores_is_the_same_with_noise_for_test_images(
    recipe: str, left: Callable[[str, str, dict[str, Any]], Left]
) -> None:
    real, noise = left("real", recipe, {}), left("noise", recipe, draw_noise(17))

    folds = [f"fold_{fold}/" for fold in (1, 2, 3)]
    for name in (CONFIG, *(f"{fold}{HISTORY}" for fold in folds), f"metrics_{OUT_OF_FOLD}.json"):
        assert f"cv-1/{name}" in real.trained
    for name in (f"train-1/{MODEL}/model.weights.h5", f"cv-1/fold_1/scores_{OUT_OF_FOLD}.npz/y_score.npy"):
        assert name in real.trained
    assert not any("_test" in name for name in real.trained)
    assert real.trained == noise.trained

    for name in (
        f"cv-1/{ENSEMBLE}/config.json",
        "cv-1/metrics_val.json",
        "train-1/roc_val.png",
        f"cv-1/{PICTURES}",
    ):
        assert name in real.scored
    for run in ("cv-1", "train-1"):
        for name in ("scores_test.npz/y_score.npy", "metrics_test.json", "roc_test.png"):
            assert real.scored[f"{run}/{name}"] != noise.scored[f"{run}/{name}"]
        assert list_chosen(real.test_figures[run]) == list_chosen(noise.test_figures[run])
    assert drop_test_files(real.scored) == drop_test_files(noise.scored)
    # Scored anew on val, as the whole model rather than from kept features; and the lists of pictures grow.
    again = re.compile(rf"train-1/\w+_val\.|[\w-]+/{PICTURES}")
    kept = {name: content for name, content in real.trained.items() if not again.match(name)}
    assert kept.items() <= real.scored.items()


def write_archive(path: Path, content: bytes, year: int) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo("member", (year, 1, 1, 0, 0, 0)), content)


def test_contents_follow_every_byte_and_no_clock(tmp_path: Path) -> None:
    for folder, content, year in (("one", b"a", 2024), ("later", b"a", 2025), ("other", b"b", 2024)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "plain").write_bytes(content)
        write_archive(tmp_path / folder / "archive", content, year)
    one, later, other = (read_contents(tmp_path / folder) for folder in ("one", "later", "other"))
    assert one == later == {"plain": b"a", "archive/member": b"a"}
    assert other == {"plain": b"b", "archive/member": b"b"}
