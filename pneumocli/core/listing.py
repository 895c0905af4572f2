"""Which image files make a data set of one's own: those of class folders, or those a CSV names."""

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePath

from pneumocli.core.data import CLASS_NAMES, SPLIT_NAMES
from pneumocli.core.errors import DataError
from pneumocli.core.progress import Notice, keep_quiet
from pneumocli.core.rows import read_rows
from pneumocli.core.sources import is_image_file, walk_files

LABELS = {name: label for label, name in enumerate(CLASS_NAMES)} | {"0": 0, "1": 1}
NEEDED, OPTIONAL = ("path", "label"), ("split", "group")
KINDS = "PNG, JPEG, TIFF, BMP, WebP or DICOM"
FOLDERS = "normal and pneumonia (any case), or train, val and test with these two in each"
SHOWN = 3  # how many of many faults a line names


@dataclass(frozen=True)
class ImageFile:
    """An image file and what is known of it.

    Attributes:
        path: to open it by.
        name: its path within the folder, or as the CSV has it, with / between the parts.
        label: 0 = normal, 1 = pneumonia.
        split: "train", "val" or "test"; None if the data name no splits.
        group: equal for images that belong together, such as one patient's; None if not known.
    """

    path: Path
    name: str
    label: int
    split: str | None = None
    group: str | None = None


def is_collection(path: Path) -> bool:
    """Return whether own image files are named: by a folder or a CSV."""
    return path.suffix.lower() == ".csv" or path.is_dir()


def name_collection(path: Path) -> str:
    """Return the last part of a path, also of one such as `.`."""
    return os.path.basename(os.path.abspath(path)) or str(path)


def list_files(path: Path, notify: Notice = keep_quiet) -> list[ImageFile]:
    """List the image files of a folder or a CSV; see `list_folder` and `list_rows`."""
    return list_folder(path, notify) if path.is_dir() else list_rows(path)


def list_folder(folder: Path, notify: Notice = keep_quiet) -> list[ImageFile]:
    """List the image files in `normal` and `pneumonia`, or in these two in `train`, `val` and `test`.

    Upper and lower case are the same; below a class folder there may be others. Links are followed,
    each directory once. Hidden files, and files that are neither named as images are nor DICOM by their
    bytes, are passed over.

    Raises:
        DataError: there are no images, images in folders of other names, or a directory cannot be read.
    """
    names, passed_over = _walk(folder)
    others = f"{passed_over} hidden files or files that are not {KINDS}"
    if not names:
        raise DataError(f"{folder} has no image files (but {others}); put them into folders {FOLDERS}")
    files, elsewhere = [], Counter[str]()
    for name in names:
        *parents, _ = name.split("/")
        depth = int(bool(parents) and parents[0].lower() in SPLIT_NAMES)
        found = parents[depth].lower() if len(parents) > depth else None
        if found in CLASS_NAMES:
            split = parents[0].lower() if depth else None
            files.append(ImageFile(folder / name, name, LABELS[found], split))
        else:
            elsewhere["/".join(parents[: depth + 1]) or "."] += 1
    if elsewhere:
        shown = ", ".join(f"{place} ({count})" for place, count in sorted(elsewhere.items())[:5])
        raise DataError(
            f"{folder} has {elsewhere.total()} images in other places: {shown}; name the folders {FOLDERS}"
        )
    if len({file.split is None for file in files}) > 1:
        raise DataError(
            f"{folder} has class folders beside train, val and test; move their images into one of these"
        )
    if passed_over:
        notify(f"{name_collection(folder)}: passed over {others}")
    return files


def _walk(folder: Path) -> tuple[list[str], int]:
    """Return the image files' paths below a folder, with / between the parts, and the number of others."""

    def refuse(error: OSError) -> None:
        raise DataError(f"{error.filename} cannot be read ({error.strerror}); allow it, or take it out")

    names, others = [], 0
    for name in walk_files(folder, refuse):
        if is_image_file(os.path.join(folder, name)):
            names.append(name)
        else:
            others += 1
    return names, others


def list_rows(path: Path) -> list[ImageFile]:
    """List the image files of a CSV with the columns path, label, and if need be split and group.

    Paths are relative to the CSV's folder. Labels are normal or pneumonia, or 0 or 1; splits train, val
    or test; upper and lower case are the same. Other columns are passed over.

    Raises:
        DataError: it cannot be read, a column is missing, a row has a fault, a path is named twice, or
            a file does not exist.
    """
    files: dict[str, ImageFile] = {}
    lines: dict[str, int] = {}
    for line, row in read_rows(path, NEEDED, OPTIONAL):
        file = _check_row(path, line, row)
        place = os.path.abspath(file.path)
        if place in files:
            raise DataError(
                f"{path}, line {line}: {row['path']} is named on line {lines[place]} already; name each once"
            )
        files[place], lines[place] = file, line
    if not files:
        raise DataError(f"{path} names no images; give each a row of path and label")
    missing = [place for place, file in files.items() if not os.path.isfile(file.path)]
    if missing:
        shown = ", ".join(f"{files[place].name} (line {lines[place]})" for place in missing[:SHOWN])
        raise DataError(
            f"{path}: {len(missing)} of {len(files)} files do not exist, first {shown}; "
            "paths are relative to the folder of the CSV"
        )
    return list(files.values())


def _check_row(path: Path, line: int, row: dict[str, str]) -> ImageFile:
    def refuse(column: str, advice: str) -> DataError:
        return DataError(f"{path}, line {line}: {column} is {row[column]!r}; {advice}")

    if not row["path"] or "\0" in row["path"]:
        raise refuse("path", "name an image file")
    label = LABELS.get(row["label"].lower())
    if label is None:
        raise refuse("label", "it must be normal or pneumonia, or 0 or 1")
    split = row["split"].lower() if "split" in row else None
    if split is not None and split not in SPLIT_NAMES:
        raise refuse("split", "it must be train, val or test, or the column be left out")
    if row.get("group") == "":
        raise refuse("group", "give every image one, or leave the column out")
    name = PurePath(os.path.normpath(row["path"])).as_posix()
    return ImageFile(path.parent / row["path"], name, label, split, row.get("group"))
