"""Which files are taken from a folder or a CSV, and the line that says why not."""

import os
from pathlib import Path

import numpy as np
import pytest
from scans import write_dicom

from pneumocli.core.errors import DataError
from pneumocli.core.listing import (
    ImageFile,
    is_collection,
    list_files,
    list_folder,
    list_rows,
    name_collection,
)


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def refuse(path: Path) -> str:
    """The line that says why a folder or CSV is refused."""
    with pytest.raises(DataError) as caught:
        list_files(path)
    line = str(caught.value)
    assert len(line.splitlines()) == 1
    assert str(path) in line
    return line


def summarize(files: list[ImageFile]) -> dict[str, tuple[int, str | None]]:
    return {file.name: (file.label, file.split) for file in files}


# Folders


def test_class_folders_in_any_case_and_with_folders_below(tmp_path: Path) -> None:
    touch(tmp_path, "NORMAL/b.jpeg", "Pneumonia/a.PNG", "Pneumonia/person 1/a.tif")
    assert summarize(list_folder(tmp_path)) == {
        "NORMAL/b.jpeg": (0, None),
        "Pneumonia/a.PNG": (1, None),
        "Pneumonia/person 1/a.tif": (1, None),
    }
    assert all(file.path == tmp_path / file.name and file.group is None for file in list_folder(tmp_path))


def test_split_folders_as_kermany_has_them(tmp_path: Path) -> None:
    names = [
        f"{split}/{label}/a.jpeg" for split in ("train", "val", "TEST") for label in ("NORMAL", "PNEUMONIA")
    ]
    touch(tmp_path, *names)
    assert summarize(list_folder(tmp_path)) == {
        name: (int("PNEUMONIA" in name), name.split("/")[0].lower()) for name in names
    }


def test_hidden_files_and_other_files_are_passed_over_and_counted(tmp_path: Path) -> None:
    touch(tmp_path, "normal/a.png", "normal/._a.png", "pneumonia/a.png", "pneumonia/.DS_Store")
    touch(tmp_path, "pneumonia/Thumbs.db", "README.txt", "notes/more.txt", "pneumonia/scan.dcm")
    touch(tmp_path, ".cache/normal/a.png", "__MACOSX/normal/a.png")
    told: list[str] = []
    assert len(list_folder(tmp_path, told.append)) == 2
    (line,) = told
    assert "passed over 6 " in line and tmp_path.name in line


def test_dicom_is_known_by_its_bytes_as_predict_knows_it(tmp_path: Path) -> None:
    touch(tmp_path, "normal/a.png", "pneumonia/note.dcm")
    for name in ("normal/scan.dcm", "pneumonia/scan"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_dicom(tmp_path / name, np.arange(64, dtype=np.uint16).reshape(8, 8))
    told: list[str] = []
    found = {file.name for file in list_folder(tmp_path, told.append)}
    assert found == {"normal/a.png", "normal/scan.dcm", "pneumonia/scan"}
    assert "passed over 1 " in told[0]


def test_nothing_is_said_where_nothing_is_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, "normal/a.png", "pneumonia/a.png")
    told: list[str] = []
    list_folder(tmp_path, told.append)
    assert told == []


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], "no image files"),
        (["normal/a.dcm", "pneumonia/b.dcm"], "2 hidden files or files that are not PNG"),
        (["normal/a.png", "covid/a.png", "covid/b.png"], "covid (2)"),
        (["train/healthy/a.png", "train/sick/b.png"], "train/healthy (1), train/sick (1)"),
        (["a.png", "normal/a.png"], ". (1)"),
        (["train/a.png"], "train (1)"),
        (["valid/normal/a.png"], "valid (1)"),
        (["0/a.png", "1/a.png"], "0 (1), 1 (1)"),
        (["patient 1/normal/a.png"], "patient 1 (1)"),
        (
            [f"{letter}/a.png" for letter in "abcdefgh"],
            "8 images in other places: a (1), b (1), c (1), d (1), e (1);",
        ),
        (["normal/a.png", "test/normal/a.png"], "beside train, val and test"),
    ],
)
def test_folders_that_are_refused(names: list[str], words: str, tmp_path: Path) -> None:
    assert words in refuse(touch(tmp_path, *names))


def test_what_to_name_folders_is_said(tmp_path: Path) -> None:
    for names in (("healthy/a.png",), ("notes.txt",)):
        assert "normal and pneumonia" in refuse(touch(tmp_path / names[0][0], *names))


def test_links_are_followed_and_end_where_they_lead_back(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "xrays", tmp_path / "elsewhere"
    touch(folder, "normal/a.png")
    touch(elsewhere, "b.png", "deeper/c.png")
    (folder / "pneumonia").symlink_to(elsewhere)
    (elsewhere / "again").symlink_to(elsewhere)
    (folder / "normal" / "up").symlink_to(tmp_path)
    (folder / "normal" / "self").symlink_to("self")
    (folder / "normal" / "linked.png").symlink_to(elsewhere / "b.png")
    assert set(summarize(list_folder(folder))) == {
        "normal/a.png",
        "normal/linked.png",
        "pneumonia/b.png",
        "pneumonia/deeper/c.png",
    }


def test_directory_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "normal/a.png", "pneumonia/a.png")
    scan = os.scandir

    def forbid(place: str) -> object:
        if str(place).endswith("pneumonia"):
            raise PermissionError(13, "Permission denied", place)
        return scan(place)

    monkeypatch.setattr(os, "scandir", forbid)
    assert "Permission denied" in refuse(tmp_path)


# CSV files


def write_csv(folder: Path, *lines: str, end: str = "\n", encoding: str = "utf-8") -> Path:
    path = folder / "labels.csv"
    path.write_bytes("".join(line + end for line in lines).encode(encoding))
    return path


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder with a.png and b.png, and one beside it with c.png."""
    touch(tmp_path, "data/a.png", "data/b.png", "data/one, two.png", "data/Köln.png", "other/c.png")
    return tmp_path / "data"


def test_rows_become_files(images: Path) -> None:
    path = write_csv(images, "path,label,split,group", "b.png,Pneumonia,TRAIN,p 7", "a.png,0,val,p 8")
    assert list_rows(path) == [
        ImageFile(images / "b.png", "b.png", 1, "train", "p 7"),
        ImageFile(images / "a.png", "a.png", 0, "val", "p 8"),
    ]


@pytest.mark.parametrize(
    ("written", "label"),
    [("normal", 0), ("NORMAL", 0), ("0", 0), ("pneumonia", 1), (" PneuMonia ", 1), ("1", 1)],
)
def test_labels(written: str, label: int, images: Path) -> None:
    (file,) = list_rows(write_csv(images, "path,label", f"a.png,{written}"))
    assert (file.label, file.split, file.group) == (label, None, None)


def test_columns_in_another_order_case_and_number(images: Path) -> None:
    path = write_csv(images, "age, LABEL ,Path,note", "3,1,a.png,", '4, 0, b.png, "x, y"')
    assert summarize(list_rows(path)) == {"a.png": (1, None), "b.png": (0, None)}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_line_ends_byte_order_mark_and_empty_lines(end: str, encoding: str, images: Path) -> None:
    path = write_csv(images, "path,label", "a.png,0", "", " ,", "Köln.png,1", "", end=end, encoding=encoding)
    assert summarize(list_rows(path)) == {"a.png": (0, None), "Köln.png": (1, None)}


def test_commas_between_quotation_marks(images: Path) -> None:
    path = write_csv(images, "path,label", '"one, two.png",1')
    assert summarize(list_rows(path)) == {"one, two.png": (1, None)}


def test_absolute_paths_and_those_that_lead_up(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (f"{images / 'a.png'},0", "../other/c.png,1", "./x/../b.png,1")
    path = write_csv(images, "path,label", *lines[:2])
    assert [file.path.resolve() for file in list_rows(path)] == [
        (images / "a.png").resolve(),
        (images.parent / "other" / "c.png").resolve(),
    ]
    monkeypatch.chdir(images)
    assert [file.name for file in list_rows(Path("labels.csv"))] == [str(images / "a.png"), "../other/c.png"]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], "names no images"),
        (["path,label"], "names no images"),
        (["path,diagnosis", "a.png,0"], "no column label (its first line: 'path, diagnosis')"),
        (["a.png,0"], "no column path and label"),
        (["path;label", "a.png;0"], "with commas"),
        (["path,label,Label", "a.png,0,1"], "label more than once"),
        (["path,label", "a.png,0", "b.png,sick"], "line 3: label is 'sick'"),
        (["path,label", "a.png,"], "line 2: label is ''"),
        (["path,label", "a.png,2"], "line 2: label is '2'"),
        (["path,label", ",1"], "line 2: path is ''"),
        (["path,label", "a\0.png,1"], "line 2"),
        (["path,label,split", "a.png,1,dev"], "line 2: split is 'dev'; it must be train, val or test"),
        (["path,label,split", "a.png,1,"], "line 2: split is ''"),
        (["path,label,group", "a.png,1,7", "b.png,1,"], "line 3: group is ''"),
        (["path,label", "a.png"], "line 2: 1 cells where the header has 2"),
        (["path,label", "one, two.png,1"], "line 2: 3 cells where the header has 2"),
        (["path,label", '"a.png,1'], "after line 1: not CSV"),
        (["path,label", '"a.png"x,1'], "after line 1: not CSV"),
        (["path,label", "a.png,1", "b.png,1", "a.png,1"], "line 4: a.png is named on line 2 already"),
        (["path,label", "a.png,1", "x/../a.png,0"], "line 3: x/../a.png is named on line 2 already"),
        (["path,label", "a.png,1", "none.png,0"], "1 of 2 files do not exist, first none.png (line 3)"),
        (["path,label", ".,1"], "1 of 1 files do not exist"),
        (
            ["path,label", *(f"{number}.png,1" for number in range(9))],
            "9 of 9 files do not exist, first 0.png (line 2), 1.png (line 3), 2.png (line 4);",
        ),
    ],
)
def test_csv_that_is_refused(lines: list[str], words: str, images: Path) -> None:
    assert words in refuse(write_csv(images, *lines))


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_csv_in_another_encoding(encoding: str, images: Path) -> None:
    assert "UTF-8" in refuse(write_csv(images, "path,label", "Köln.png,1", encoding=encoding))


def test_link_that_leads_to_itself_is_no_file(images: Path) -> None:
    (images / "self.png").symlink_to("self.png")
    assert "self.png (line 2)" in refuse(write_csv(images, "path,label", "self.png,1"))


def test_csv_that_is_gone(tmp_path: Path) -> None:
    assert "No such file" in refuse(tmp_path / "gone.csv")


# Both


def test_what_is_a_collection(tmp_path: Path, data_file: Path) -> None:
    assert is_collection(tmp_path)
    assert is_collection(tmp_path / "LABELS.CSV")
    assert not is_collection(data_file)
    assert not is_collection(tmp_path / "missing")


def test_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "xrays" / "normal").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "xrays")
    assert [name_collection(Path(path)) for path in (".", "normal/..", "a.csv", "normal/")] == [
        "xrays",
        "xrays",
        "a.csv",
        "normal",
    ]
