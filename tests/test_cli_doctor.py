"""`pneumocli doctor`: what there is on this machine."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commandline import succeed

from pneumocli import __version__
from pneumocli.core import backend
from pneumocli.core.bank import fill_bank
from pneumocli.core.config import Precision
from pneumocli.core.hardware import choose_precision, count_cores, read_processor
from pneumocli.core.inputs import feature_cache


def examine(*options: str) -> Any:
    return json.loads(succeed("doctor", "--format", "json", *options).stdout)


def test_machine_and_versions(tmp_path: Path) -> None:
    found = examine()
    assert found["versions"]["pneumocli"] == __version__
    assert {"python", "keras", "numpy"} <= found["versions"].keys()
    assert found["cores"] == count_cores()
    assert found["native_bfloat16"] is read_processor().has_bfloat16
    has_gpu = any(device.startswith("gpu") for device in found["devices"])
    assert found["precision"] == choose_precision(Precision.AUTO, has_gpu)
    assert any(device.startswith(("cpu", "gpu")) for device in found["devices"])
    assert found["cache"] == str(tmp_path / "cache")
    assert found["free_bytes"] == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.2)
    assert (found["data"], found["weights"]) == (None, None)


def test_files_that_are_found_and_that_are_not(
    data_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PNEUMOCLI_DATA", str(data_file))
    monkeypatch.setenv("PNEUMOCLI_WEIGHTS", str(tmp_path / "missing.h5"))
    found = examine()
    assert found["data"] == str(data_file)
    assert "there is no such file" in found["weights"]
    monkeypatch.setenv("PNEUMOCLI_DATA", "~/small.npz")
    monkeypatch.setenv("HOME", str(data_file.parent))
    monkeypatch.setenv("PNEUMOCLI_WEIGHTS", "")  # as if it were not set
    found = examine()
    assert found["data"] == str(data_file.parent / "small.npz")
    assert found["weights"] is None


def test_features_are_shown_and_removed() -> None:
    key = {"output": "maps", "cut": "x", "image_size": 32, "precision": "float32"}
    fill_bank(feature_cache(), key, (4, 2), np.float32, [np.zeros((4, 2), np.float32)])
    (kept,) = examine()["features"]
    assert kept["bytes"] == 32
    assert kept["content"] == "maps behind x, 32 px, float32"
    assert examine("--clear-cache")["features"] == []


def test_features_that_are_kept_in_fewer_bits_are_told() -> None:
    key = {"output": "maps", "cut": "x", "image_size": 32, "precision": "float32", "stored_as": "bfloat16"}
    fill_bank(feature_cache(), {**key, "view": 0}, (1,), np.uint16, [np.zeros(1, np.uint16)])
    (kept,) = examine()["features"]
    assert kept["content"] == "maps behind x, 32 px, float32 kept in bfloat16, view 1"


def test_features_of_the_middle_are_told_from_those_of_the_whole() -> None:
    key = {"output": "maps", "cut": "x", "image_size": 32, "precision": "float32"}
    for center_crop in (1.0, 0.95):
        given = {**key, "center_crop": center_crop}
        fill_bank(feature_cache(), given, (4, 2), np.float32, [np.zeros((4, 2), np.float32)])
    told = {kept["content"] for kept in examine()["features"]}
    assert told == {"maps behind x, 32 px, float32", "maps behind x, 32 px, float32, the middle 95%"}


def test_keras_that_cannot_be_loaded_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail_to_load() -> None:
        raise ImportError("libcuda is broken")

    monkeypatch.setattr(backend, "load_backend", fail_to_load)
    (device,) = examine()["devices"]
    assert "libcuda is broken" in device


@pytest.mark.parametrize("columns", ["80", "120"])
def test_table_keeps_every_word(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    found, shown = examine(), succeed("doctor").stdout
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= int(columns)
    words = "".join(shown.split())
    for value in (*found["versions"].values(), *found["devices"], found["processor"], found["cache"]):
        assert "".join(value.split()) in words
