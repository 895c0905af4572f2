"""Which data and weights a command is to use: files that are named, or the official ones, fetched once."""

import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urljoin, urlsplit

from pneumocli import __version__
from pneumocli.core.errors import DataError, DownloadError, PneumoError, WeightsError
from pneumocli.core.files import replacing
from pneumocli.core.official import (
    OFFICIAL_SIZES,
    SOURCES,
    WEIGHTS,
    Source,
    cache_directory,
    compute_md5,
    place_of,
    read_named,
)
from pneumocli.core.progress import Listener, Notice, Progress, ignore, keep_quiet

if TYPE_CHECKING:
    from requests import Response

SYNTHETIC: Literal["synthetic"] = "synthetic"
NO_WEIGHTS: Literal["none"] = "none"

TIMEOUT = 30.0  # seconds without an answer or a further byte
RETRY_PAUSES = (1.0, 3.0)  # seconds before the second and the third attempt
# Zenodo turns away the bare agent of the requests library when it is busy.
AGENT = f"pneumocli/{__version__} (command-line tool for PneumoniaMNIST)"


WAYS_OUT = {
    "data": "download it by hand and run: pneumocli fetch --from FILE, "
    "or name a file with --data FILE or PNEUMOCLI_DATA, or try: --data synthetic",
    "weights": "download it by hand and name it with --weights FILE or PNEUMOCLI_WEIGHTS, "
    "or start from random weights with: --weights none",
}


def locate_data(
    data: str | None, size: int, directory: Path, listen: Listener = ignore, notify: Notice = keep_quiet
) -> Path | Literal["synthetic"]:
    """Find the data to use: `data`, else PNEUMOCLI_DATA, else the cached file of `size`, else download it.

    Args:
        data: the name of a file or folder, or "synthetic" for images that the caller is to draw, which
            is then returned.
        size: side of the official file's images; of no account where a file is named.

    Raises:
        DataError: what is named does not exist, or there is no official file of that size.
        DownloadError: the official file could not be downloaded.
    """
    named, origin = _read_choice(data, "--data", "PNEUMOCLI_DATA")
    if named == SYNTHETIC:
        return SYNTHETIC
    if named is not None:
        folder = Path(os.path.expanduser(named))
        if named and os.path.isdir(folder):
            return folder
        advice = (
            "name an .npz file, a folder or a CSV of images, or the word synthetic, or leave it out to use "
            "the official file"
        )
        return _find_file(named, origin, DataError, advice)
    if size not in SOURCES:
        raise DataError(f"there is no official file of {size} px; choose from: {OFFICIAL_SIZES}")
    # Not checked against the MD5: an imported file lies here too, and reading it checks its form.
    cached = place_of(SOURCES[size], directory)
    return cached if os.path.isfile(cached) else fetch_file(SOURCES[size], directory, listen, notify)


def locate_weights(
    weights: str | None, directory: Path, listen: Listener = ignore, notify: Notice = keep_quiet
) -> Path | None:
    """Find the backbone's weights: `weights`, else PNEUMOCLI_WEIGHTS, else "imagenet".

    Args:
        weights: a file's name; "imagenet", the official file, downloaded unless it is in the cache; or
            "none", random weights, for which None is returned.

    Raises:
        WeightsError: the named file does not exist.
        DownloadError: the official file could not be downloaded.
    """
    named, origin = _read_choice(weights, "--weights", "PNEUMOCLI_WEIGHTS")
    if named == NO_WEIGHTS:
        return None
    if named is None or named == "imagenet":
        return fetch_file(WEIGHTS, directory, listen, notify)
    advice = "name a weights file (.h5), or the word imagenet, or none for random weights"
    return _find_file(named, origin, WeightsError, advice)


def check_here(data: str | None, weights: str | None, size: int) -> None:
    """Check that neither data nor weights would have to be downloaded.

    Args:
        data, weights, size: as for `locate_data` and `locate_weights`.

    Raises:
        DataError, WeightsError: they would.
    """
    directory = cache_directory()
    is_named = _read_choice(data, "--data", "PNEUMOCLI_DATA")[0] is not None
    if not is_named and size in SOURCES and not place_of(SOURCES[size], directory).is_file():
        raise DataError(
            f"the official file of {size} px is not here yet, and a dry run downloads nothing; "
            f"get it with: pneumocli fetch --size {size}"
        )
    named = _read_choice(weights, "--weights", "PNEUMOCLI_WEIGHTS")[0]
    if named in (None, "imagenet") and not place_of(WEIGHTS, directory).is_file():
        raise WeightsError(
            "the ImageNet weights are not here yet, and a dry run downloads nothing; "
            "get them with: pneumocli fetch"
        )


def _read_choice(given: str | None, option: str, variable: str) -> tuple[str | None, str]:
    """Return what was chosen, if anything, and by which of the two."""
    if given is not None:
        return given, option
    return read_named(variable), f"the environment variable {variable}"


def _find_file(named: str, origin: str, error: type[PneumoError], advice: str) -> Path:
    path = Path(os.path.expanduser(named))
    if not os.path.isfile(path):
        raise error(f"{origin} names {named!r}, which is not a file; {advice}")
    return path


def import_dataset(path: Path, directory: Path, size: int | None = None) -> Path:
    """Copy a data set into the cache, under the name of its size's official file; return the copy's path.

    Args:
        size: the side its images must have; any of the official ones by default.

    Raises:
        DataError: not a data set of the right form or size, or it cannot be copied. The cache is as before.
    """
    from pneumocli.core.data import SPLIT_NAMES, load_dataset

    dataset = load_dataset(path)
    lost = [name for name in SPLIT_NAMES if name not in dataset.splits]
    if lost:
        raise DataError(
            f"{path} has no {' and '.join(lost)} images; what stands for the official file needs all three "
            "splits: use this one with --data FILE"
        )
    pixels = dataset.pixels
    if size not in (None, pixels):
        raise DataError(f"{path} has images of {pixels} px, not of {size} as asked for; leave --size out")
    if pixels not in SOURCES:
        raise DataError(f"{path} has images of {pixels} px, not {OFFICIAL_SIZES}; use it with: --data FILE")
    target = place_of(SOURCES[pixels], directory)
    try:
        with replacing(target) as partial:
            shutil.copyfile(path, partial)
    except OSError as error:
        raise DataError(
            f"{path} could not be copied to {target} ({error.strerror}); "
            "choose another directory with --dir or PNEUMOCLI_CACHE"
        ) from None
    return target


def fetch_file(
    source: Source, directory: Path, listen: Listener = ignore, notify: Notice = keep_quiet
) -> Path:
    """Download a file unless it is there, and return its path; it takes its name only once verified.

    Args:
        directory: the cache; the file lies in its folder "data" or "weights".
        listen: hears the bytes that came, as stage "download NAME".
        notify: is told in a line what is downloaded, what is replaced, and what is tried again.

    Raises:
        DownloadError: it could not be had; the line names the URL, the reason and the ways out.
    """
    target = place_of(source, directory)
    for pause in (*RETRY_PAUSES, None):
        try:
            if not _is_right(source, target):
                old = ", in place of a damaged or other file" if os.path.exists(target) else ""
                host = urlsplit(source.url).netloc
                notify(f"downloading {source.name} ({source.bytes / 1e6:.1f} MB) from {host}{old}")
                _download(source, target, listen)
            return target
        except (OSError, ValueError) as error:  # every exception of requests is an OSError
            reason, may_pass = _explain_failure(error, target)
        if pause is None or not may_pass:
            break
        notify(f"{source.name}: {reason}; trying again in {pause:g} s")
        time.sleep(pause)
    raise DownloadError(f"{source.url} could not be downloaded: {reason}; {WAYS_OUT[source.folder]}")


def _is_right(source: Source, path: Path) -> bool:
    return os.path.isfile(path) and compute_md5(path) == source.md5


def _download(source: Source, target: Path, listen: Listener) -> None:
    """Download once; raise OSError (also for the network) or ValueError (what came is not the file)."""
    import pooch

    download = pooch.HTTPDownloader(
        progressbar=_Meter(source, listen),
        chunk_size=1 << 16,
        timeout=TIMEOUT,
        headers={"User-Agent": AGENT, "Accept-Encoding": "identity"},
        hooks={"response": _refuse_other_scheme},
    )
    with replacing(target) as partial:
        download(source.url, str(partial), None)
        if not _is_right(source, partial):
            received = f"{partial.stat().st_size} bytes of {source.bytes}"
            raise ValueError(f"what came is not the file ({received}, MD5 not {source.md5})")


def _refuse_other_scheme(response: "Response", *args: Any, **kwargs: Any) -> None:
    """Follow no redirect from https to http, where anyone on the way could answer."""
    from requests.exceptions import InvalidSchema

    if response.is_redirect:
        target = urljoin(response.url, response.headers["location"])
        if urlsplit(target).scheme != urlsplit(response.url).scheme:
            raise InvalidSchema(f"the server sends on to {target}, which is not followed")


class _Meter:
    """What pooch takes for a progress bar."""

    def __init__(self, source: Source, listen: Listener) -> None:
        self.source, self.listen, self.done = source, listen, 0

    def update(self, amount: int) -> None:
        # pooch counts the last, shorter chunk as a whole one, and ends with the server's total or 0.
        self.done = min(self.done + amount, self.source.bytes)
        if amount:
            self.listen(Progress(f"download {self.source.name}", self.done, self.source.bytes, "bytes"))

    def reset(self) -> None:
        self.done = 0

    def close(self) -> None: ...


def _explain_failure(error: Exception, target: Path) -> tuple[str, bool]:
    """Return in a few words why a download failed, and whether it may work a moment later."""
    from http.client import responses

    from requests import exceptions as failures

    if isinstance(error, failures.HTTPError) and error.response is not None:
        status = error.response.status_code
        answer = f"the server answers {status} {responses.get(status, '')}".strip()
        return answer, status == 429 or status >= 500
    broken = failures.ChunkedEncodingError, failures.ContentDecodingError
    if isinstance(error, (failures.ConnectionError, failures.Timeout, *broken)):
        return _find_cause(error), True
    if isinstance(error, OSError) and error.strerror:
        place = f"{target.parent} cannot be used ({error.strerror})"
        return f"{place}, name another with --dir or PNEUMOCLI_CACHE", False
    return " ".join(str(error).split())[:200], False


def _find_cause(error: BaseException) -> str:
    """Return the system's own words from below the layers of requests and urllib3."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        if "Timeout" in type(cause).__name__:
            return f"no answer within {TIMEOUT:g} s"
        cause = cause.__cause__ or cause.__context__
    return "the connection broke off"
