"""Files are whole or not there."""

import hashlib
import json
import math
from pathlib import Path

import pytest

from pneumocli.core.files import hash_file, replacing, write_json


def list_names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_written_file_takes_its_place_and_leaves_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "down" / "a.npz"
    with replacing(target) as partial:
        assert partial.parent == target.parent
        assert partial.suffix == ".npz"
        partial.write_bytes(b"new")
        assert not target.exists()
    assert target.read_bytes() == b"new"
    assert list_names(target.parent) == ["a.npz"]


def test_an_older_file_is_there_until_the_new_one_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_bytes(b"old")
    with replacing(target) as partial:
        partial.write_bytes(b"new")
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"new"


@pytest.mark.parametrize("failure", [ValueError, OSError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("old", [None, b"old"])
def test_a_failure_leaves_everything_as_it_was(
    tmp_path: Path, failure: type[BaseException], old: bytes | None
) -> None:
    target = tmp_path / "a.txt"
    if old is not None:
        target.write_bytes(old)
    with pytest.raises(failure), replacing(target) as partial:
        partial.write_bytes(b"half")
        raise failure
    assert list_names(tmp_path) == ([] if old is None else ["a.txt"])
    assert old is None or target.read_bytes() == old


def test_json_reads_back(tmp_path: Path) -> None:
    content = {"name": "Röntgen", "figures": [0.1, 1e-300, 3], "none": None, "right": True}
    write_json(tmp_path / "a.json", content)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == content
    assert text.endswith("\n")


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, {1, 2}, b"bytes"])
def test_what_json_cannot_say_is_refused_and_the_old_file_stays(tmp_path: Path, bad: object) -> None:
    write_json(tmp_path / "a.json", 1)
    with pytest.raises((ValueError, TypeError)):
        write_json(tmp_path / "a.json", {"value": bad})
    assert json.loads((tmp_path / "a.json").read_text()) == 1
    assert list_names(tmp_path) == ["a.json"]


@pytest.mark.parametrize("content", [b"", b"abc", bytes(range(256)) * 5000])
def test_hash_is_sha256_of_the_bytes(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert hash_file(path) == hashlib.sha256(content).hexdigest()


def test_hash_of_a_published_example(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    assert hash_file(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
