"""From names to images: what folders, patterns and lists give, in which order, and what they pass over."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from pictures import draw_files
from scans import write_dicom

from pneumocli.core import sources
from pneumocli.core.errors import ImageError, SettingError
from pneumocli.core.images import Source, read_image
from pneumocli.core.limits import MAX_GB
from pneumocli.core.sources import list_sources, read_list, read_list_file, walk_files

STORED = np.zeros((8, 8), np.uint8)


def list_names(*names: str) -> list[str]:
    return [source.name for source in list_sources(names)]


def find_fault(*names: str) -> str:
    (source,) = list_sources(names)
    assert source.fault is not None
    return str(source.fault)


@pytest.fixture
def xrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with images, scans and other files, its parent being where one stands."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "xrays"
    draw_files(folder, ["b.png", "a.JPG", "deep/c.tiff", ".hidden.png", ".trash/d.png", "__MACOSX/e.png"])
    for name in ("notes.txt", "deep/d.csv", "empty", "._b.png"):
        (folder / name).write_bytes(b"x" * (name == "notes.txt"))
    for name in ("scan", "deep/scan.dat", "scan.png"):
        write_dicom(folder / name, STORED)
    return folder


IMAGES = ["a.JPG", "b.png", "deep/c.tiff", "deep/scan.dat", "scan", "scan.png"]


def test_a_folder_gives_way_to_its_images_and_scans(xrays: Path) -> None:
    told: list[str] = []
    found = list_sources(["xrays"], notify=told.append)
    assert [source.name for source in found] == [f"xrays/{name}" for name in IMAGES]
    assert all(source.found and source.fault is None for source in found)
    assert told == ["xrays: 5 passed over, hidden or no images"]


@pytest.mark.parametrize("spelled", ["xrays/", "./xrays", "xrays/../xrays"])
def test_paths_are_as_they_were_given(spelled: str, xrays: Path) -> None:
    assert list_names(spelled) == [os.path.join(spelled, name) for name in IMAGES]
    assert list_names("./xrays//b.png") == ["./xrays//b.png"]


def test_the_order_is_that_of_the_names(xrays: Path) -> None:
    assert list_names("xrays/b.png", "xrays/deep", "xrays/b.png", "missing.png") == [
        "xrays/b.png",
        "xrays/deep/c.tiff",
        "xrays/deep/scan.dat",
        "xrays/b.png",
        "missing.png",
    ]


def test_patterns(xrays: Path) -> None:
    assert list_names("xrays/*.png") == ["xrays/b.png", "xrays/scan.png"]
    assert list_names("xrays/[ab].*") == ["xrays/a.JPG", "xrays/b.png"]
    assert list_names("xrays/**/*.tiff") == ["xrays/deep/c.tiff"]
    assert list_names("xr?ys") == [f"xrays/{name}" for name in IMAGES]
    # As if the shell had named them: what is no image is told.
    assert list_names("xrays/n*") == ["xrays/notes.txt"]
    assert find_fault("xrays/*.bmp") == "xrays/*.bmp matches no file"


def test_a_file_named_like_a_pattern_is_that_file(xrays: Path) -> None:
    (xrays / "[b].png").write_bytes(b"")
    assert list_names("xrays/[b].png") == ["xrays/[b].png"]


def test_folders_without_an_image_have_a_fault(xrays: Path) -> None:
    for name in ("void", "text"):
        (xrays / name).mkdir()
    (xrays / "text" / "notes.txt").write_text("x")
    for name in ("xrays/void", "xrays/text"):
        assert find_fault(name) == f"{name} is a directory without an image file; name image files"


def test_what_would_block_or_is_broken_in_a_folder(xrays: Path) -> None:
    os.mkfifo(xrays / "pipe.png")
    os.mkfifo(xrays / "pipe")
    (xrays / "gone.png").symlink_to("nowhere")
    (xrays / "loop").symlink_to(xrays)
    odd = ["xrays/gone.png", "xrays/pipe.png"]
    assert list_names("xrays") == sorted([*(f"xrays/{name}" for name in IMAGES), *odd])
    for name, reason in zip(odd, ("does not exist", "not a regular file"), strict=True):
        with pytest.raises(ImageError, match=reason):
            read_image(Source(name), 28)


def test_a_directory_that_cannot_be_read(xrays: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.scandir

    def scan(path: str) -> object:
        if path.endswith("deep"):
            raise PermissionError(13, "Permission denied", path)
        return whole(path)

    monkeypatch.setattr(os, "scandir", scan)
    *others, last = list_sources(["xrays"])
    assert len(others) == 4
    assert (last.name, str(last.fault)) == ("xrays/deep", "xrays/deep cannot be read (Permission denied)")


def test_lists_name_files_and_folders_and_no_patterns(xrays: Path) -> None:
    (xrays / "*.png").write_bytes(b"")
    found = list_sources([], ["xrays/*.png", "xrays/deep", "-", "xrays/*.gif"])
    assert [source.name for source in found] == [
        "xrays/*.png",
        "xrays/deep/c.tiff",
        "xrays/deep/scan.dat",
        "-",
        "xrays/*.gif",
    ]
    assert all(source.content is None and source.fault is None for source in found)


def test_a_list_is_read_line_by_line() -> None:
    content = b"\xef\xbb\xbfa.png\n\nb c.png \r\n/x/\xff.png\nlast"
    assert read_list(io.BytesIO(content)) == ["a.png", "b c.png ", "/x/\udcff.png", "last"]
    assert read_list(io.BytesIO(b"")) == []


def test_a_list_is_of_bounded_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "LARGEST_TEXT", 10)
    (tmp_path / "list").write_bytes(b"0123456789")
    assert read_list_file(tmp_path / "list") == ["0123456789"]
    (tmp_path / "list").write_bytes(b"0123456789a")
    with pytest.raises(ImageError, match="in parts"):
        read_list_file(tmp_path / "list")


def test_standard_input_is_of_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MAX_GB, "1e-8")
    assert list_sources(["-"], stdin=io.BytesIO(b"0123456789"))[0].content == b"0123456789"
    with pytest.raises(ImageError, match=MAX_GB):
        list_sources(["-"], stdin=io.BytesIO(b"0123456789a"))


def test_standard_input_is_one_image() -> None:
    assert list_sources(["-"], stdin=io.BytesIO(b"bytes")) == [Source("-", content=b"bytes")]
    with pytest.raises(SettingError):
        list_sources(["-", "a.png", "-"], stdin=io.BytesIO(b""))
    with pytest.raises(SettingError):
        list_sources(["-"])


@pytest.mark.parametrize("name", ["a\nb.png", "\x1b[2Jb.png", os.fsdecode(b"a\xffb.png")])
def test_any_name_is_found_and_read(name: str, xrays: Path) -> None:
    os.rename(xrays / "b.png", xrays / name)
    for given in ("xrays", "xrays/*.png"):
        (source,) = (source for source in list_sources([given]) if source.name == f"xrays/{name}")
        assert read_image(source, 28).pixels.shape == (28, 28)


def test_walking_goes_through_links_once(tmp_path: Path) -> None:
    draw_files(tmp_path / "one", ["a.png"])
    draw_files(tmp_path / "two", ["b.png"])
    (tmp_path / "one" / "link").symlink_to(tmp_path / "two")
    (tmp_path / "two" / "back").symlink_to(tmp_path / "one")
    assert sorted(walk_files(tmp_path / "one", lambda error: None)) == ["a.png", "link/b.png"]
