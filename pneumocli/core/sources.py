"""From what a user names to images: files, folders, patterns, lists of paths, one image on standard input."""

import glob
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePath
from typing import BinaryIO

from pneumocli.core.dicom import MAGIC, MAGIC_START, is_dicom
from pneumocli.core.errors import ImageError, SettingError
from pneumocli.core.images import SUFFIXES, Source
from pneumocli.core.limits import fault_bytes, most_bytes
from pneumocli.core.progress import Notice, keep_quiet
from pneumocli.core.reading import LARGEST_TEXT, open_file

STDIN = "-"

# How names begin that systems and archivers leave beside images.
HIDDEN = (".", "__MACOSX")


def list_sources(
    names: Iterable[str],
    listed: Iterable[str] = (),
    *,
    stdin: BinaryIO | None = None,
    notify: Notice = keep_quiet,
) -> list[Source]:
    """Return the images that are meant, in the order given; a folder's are sorted.

    A folder gives way to the files in and below it that are named as images or are DICOM inside; hidden
    files and all others are passed over. What names no image is a source with its fault, so that the
    others are answered.

    Args:
        names: files, folders, patterns such as `xrays/*.png` (`**` goes through folders) where no file has
            that very name, and `-` for one image's bytes on standard input.
        listed: further files and folders, such as `read_list` returns, never taken for patterns or `-`.
        stdin: what `-` is read from.
        notify: is told in a line what is passed over.

    Raises:
        SettingError: standard input is named more than once, or is not to be had.
        ImageError: it holds more bytes than `limits.most_bytes`.
    """
    sources: list[Source] = []
    for name in names:
        if name != STDIN:
            sources.extend(_expand_pattern(name, notify))
        elif stdin is None or any(source.content is not None for source in sources):
            raise SettingError("- means standard input, which can be read once; name it once")
        else:
            content = stdin.read(most_bytes() + 1)
            fault = fault_bytes(len(content))
            if fault:
                raise ImageError(f"standard input has more than fits: it {fault}")
            sources.append(Source(STDIN, content=content))
    for name in listed:
        sources.extend(_expand(name, notify))
    return sources


def read_list(file: BinaryIO) -> list[str]:
    """Return the paths of a list, one a line; empty lines are passed over.

    Raises:
        ImageError: it is larger than `reading.LARGEST_TEXT`.
    """
    content = file.read(LARGEST_TEXT + 1)
    if len(content) > LARGEST_TEXT:
        raise ImageError(f"the list of images is larger than {LARGEST_TEXT / 1e6:g} MB; give it in parts")
    lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    return [os.fsdecode(line) for line in (line.removesuffix(b"\r") for line in lines) if line]


def read_list_file(path: Path) -> list[str]:
    """Return the paths of a list in a regular file; see `read_list`.

    Raises:
        ImageError: as there, or the file cannot be read, or is a pipe or a device.
    """
    try:
        with open_file(path) as file:
            return read_list(file)
    except FileNotFoundError:
        raise ImageError(f"{path} does not exist; --files-from takes a file with one path a line") from None
    except OSError as error:
        raise ImageError(
            f"{path} cannot be read as a list ({error.strerror}); name a regular file, or give the list on "
            "standard input: --files-from -"
        ) from None


def walk_files(folder: str | os.PathLike[str], refuse: Callable[[OSError], None]) -> Iterator[str]:
    """Yield the paths of all files in and below a folder, from there, with / between the parts.

    Links are followed, each directory once; hidden directories are passed over.

    Args:
        refuse: hears of a directory that cannot be read.
    """
    # Directories are known by their real place, so that a link back to one, or to one above, ends there.
    seen = {str(parent) for parent in PurePath(os.path.realpath(folder)).parents}
    for directory, inner, files in os.walk(folder, onerror=refuse, followlinks=True):
        place = os.path.realpath(directory)
        if place in seen:
            inner.clear()
            continue
        seen.add(place)
        inner[:] = sorted(name for name in inner if not name.startswith(HIDDEN))
        for file in files:
            yield PurePath(os.path.relpath(os.path.join(directory, file), folder)).as_posix()


def is_image_name(name: str) -> bool:
    """Return whether a file is named as an image, and not hidden."""
    path = PurePath(name)
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(HIDDEN)


def _expand_pattern(name: str, notify: Notice) -> Iterator[Source]:
    if glob.escape(name) == name or os.path.lexists(name):
        yield from _expand(name, notify)
        return
    matches = sorted(glob.glob(name, recursive=True))
    if not matches:
        yield Source(name, fault=ImageError(f"{name} matches no file"))
    for match in matches:
        yield from _expand(match, notify)


def _expand(name: str, notify: Notice) -> Iterator[Source]:
    if not os.path.isdir(name):
        yield Source(name)
        return
    faults: list[OSError] = []
    found, others = [], 0
    for inside in walk_files(name, faults.append):
        if is_image_file(os.path.join(name, inside)):
            found.append(inside)
        else:
            others += 1
    for inside in sorted(found, key=lambda inside: inside.split("/")):
        yield Source(os.path.join(name, inside), found=True)
    for error in faults:
        place = os.fspath(error.filename)
        yield Source(place, fault=ImageError(f"{place} cannot be read ({error.strerror})"))
    if not found and not faults:
        fault = ImageError(f"{name} is a directory without an image file; name image files")
        yield Source(name, fault=fault)
    if others:
        notify(f"{name}: {others} passed over, hidden or no images")


def is_image_file(path: str) -> bool:
    """Return whether a file in a folder is to be read: by its name, or by its bytes if it is DICOM."""
    if os.path.basename(path).startswith(HIDDEN):
        return False
    if is_image_name(path):
        return True
    try:
        with open_file(path) as file:
            return is_dicom(file.read(MAGIC_START + len(MAGIC)))
    except OSError:
        return False
